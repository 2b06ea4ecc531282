//! Credentials of a provider: where they come from, where they go, and whether they are there.

use std::borrow::Cow;
use std::time::Duration;

use super::raw;
use super::read::Reader;
use super::{AuthScheme, Endpoint, KeyGrant, KeySource, KeySpec, LimitFacts, Surroundings};
use crate::dialect::limits::MINUTE;
use crate::dialect::{Counted, LimitHeader, Refill};
use crate::domain::id::DialectId;
use crate::shape::Spanned;

/// Whether there is a way to the endpoint: an address and, where needed, a credential.
pub(super) fn dialable(endpoint: &Endpoint, dialect: DialectId, around: &Surroundings<'_>) -> bool {
    if dialect == DialectId::Native {
        return true;
    }
    reachable(endpoint)
        && (endpoint.auth == AuthScheme::None || endpoint.keys.iter().any(|key| present(endpoint, key, around)))
}

/// Whether there is a way to it but for a credential.
pub(super) fn reachable(endpoint: &Endpoint) -> bool {
    let signs = matches!(endpoint.auth, AuthScheme::SigV4(_));
    endpoint.base_url.is_some() && !(signs && endpoint.region.is_none())
}

/// Whether a key is there, with all that it needs.
pub(super) fn present(endpoint: &Endpoint, key: &KeySpec, around: &Surroundings<'_>) -> bool {
    let set = |name: &String| (around.env)(name).is_some_and(|value| !value.trim().is_empty());
    let there = match &key.source {
        KeySource::Env(name) => set(name) && key.secret_env.as_ref().is_none_or(set),
        KeySource::File(_) => true,
    };
    let place = || endpoint.token.as_ref().is_some_and(|token| token.url.is_some());
    there
        && match &key.grant {
            None | Some(KeyGrant::Token) => true,
            Some(KeyGrant::ServiceAccount) => place(),
            Some(KeyGrant::ClientCredentials { id_env }) => set(id_env) && place(),
        }
}

pub(super) fn keys(reader: &mut Reader<'_>, provider: &raw::Provider, endpoint: &str) -> Vec<KeySpec> {
    let here = |key: &&raw::Key| key.endpoints.as_ref().is_none_or(|only| only.get_ref().iter().any(|e| e == endpoint));
    let spec = |key: &raw::Key| {
        let grant = key.grant.as_ref().and_then(|at| grant(reader, provider, key, at));
        let source = key.env.clone().map(KeySource::Env).or_else(|| key.file.clone().map(KeySource::File))?;
        let (secret_env, session_env) = (key.secret_env.clone(), key.session_env.clone());
        let account = key.account.clone();
        Some(KeySpec {
            source,
            weight: key.weight,
            secret_env,
            session_env,
            grant,
            rpm: key.rpm,
            tpm: key.tpm,
            account,
        })
    };
    provider.keys.iter().map(Spanned::get_ref).filter(here).filter_map(spec).collect()
}

fn grant(reader: &mut Reader<'_>, provider: &raw::Provider, key: &raw::Key, at: &Spanned<String>) -> Option<KeyGrant> {
    let grant = match (at.get_ref().as_str(), &key.id_env) {
        ("token", None) => KeyGrant::Token,
        ("service-account", None) => KeyGrant::ServiceAccount,
        ("client-credentials", Some(id_env)) => KeyGrant::ClientCredentials { id_env: id_env.clone() },
        ("client-credentials", None) => {
            reader.problem(at, "`client-credentials` needs `id_env`, the variable of the client's id");
            return None;
        }
        ("token" | "service-account", Some(_)) => {
            reader.problem(at, "only `client-credentials` takes `id_env`");
            return None;
        }
        _ => {
            reader.unknown_name(at, "grant", &["token", "service-account", "client-credentials"]);
            return None;
        }
    };
    if grant.asks() && provider.token.is_none() {
        reader.problem(at, "this grant needs a table `[token]`: where tokens come from, with its facts");
    }
    Some(grant)
}

pub(super) fn auth(reader: &mut Reader<'_>, raw: &raw::Auth) -> AuthScheme {
    match (raw.scheme.get_ref().as_str(), &raw.name) {
        ("bearer", None) => AuthScheme::Bearer,
        ("none", None) => AuthScheme::None,
        ("header", Some(name)) => AuthScheme::Header(name.clone()),
        ("query", Some(name)) => AuthScheme::Query(name.clone()),
        ("aws-sigv4", None) => AuthScheme::SigV4(raw.service.clone().unwrap_or_else(|| "bedrock".to_owned())),
        ("header" | "query", None) => {
            reader.problem(&raw.scheme, "this scheme needs a `name`");
            AuthScheme::None
        }
        ("bearer" | "none" | "aws-sigv4", Some(_)) => {
            reader.problem(&raw.scheme, "this scheme takes no `name`");
            AuthScheme::None
        }
        _ => {
            reader.unknown_name(&raw.scheme, "scheme", &["bearer", "header", "query", "aws-sigv4", "none"]);
            AuthScheme::None
        }
    }
}

/// How the provider limits rates.
pub(super) fn limits(reader: &mut Reader<'_>, raw: &raw::Limits) -> LimitFacts {
    let by_account = raw.of.as_ref().is_some_and(|at| match at.get_ref().as_str() {
        "account" => true,
        "key" => false,
        _ => {
            reader.unknown_name(at, "owner of limits", &["key", "account"]);
            false
        }
    });
    let headers = raw.headers.iter().filter_map(|header| limit_header(reader, header)).collect();
    LimitFacts { by_account, headers }
}

fn limit_header(reader: &mut Reader<'_>, raw: &raw::LimitHeader) -> Option<LimitHeader> {
    let name = raw.counts.get_ref().as_str();
    let Some(counts) = Counted::ALL.into_iter().find(|counts| counts.name() == name) else {
        reader.unknown_name(&raw.counts, "limit", &Counted::ALL.map(Counted::name));
        return None;
    };
    let refill = match raw.refill.as_ref().map(|at| (at, at.get_ref().as_str())) {
        None | Some((_, "steady")) => Refill::Steady,
        Some((_, "whole")) => Refill::Whole,
        Some((at, _)) => {
            reader.unknown_name(at, "refill", &["steady", "whole"]);
            return None;
        }
    };
    Some(LimitHeader {
        counts,
        limit: raw.limit.clone().map(Cow::Owned),
        remaining: Cow::Owned(raw.remaining.clone()),
        reset: raw.reset.clone().map(Cow::Owned),
        period: raw.period_s.map_or(MINUTE, |seconds| Duration::from_secs(u64::from(seconds.max(1)))),
        refill,
    })
}
