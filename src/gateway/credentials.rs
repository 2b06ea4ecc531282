//! The credentials of an endpoint, read from where its file says, and the pool of connections that uses them.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::pools::Pools;
use crate::catalogue::{AuthScheme, Endpoint, KeyGrant, KeySource, KeySpec};
use crate::upstream::{
    Account, AwsKey, Credential, CredentialPool, EndpointSpec, Grant, KeyState, Limits, Placement, Pool, Scope,
    ServiceAccount, TokenEndpoint, TokenSource,
};

/// The connections of an endpoint with its credentials; those that are known already, where nothing has changed.
///
/// # Errors
/// What can't be read or used, without its value.
pub(super) fn pool(endpoint: &Endpoint, connect: Duration, known: &Pools) -> Result<Arc<Pool>, String> {
    let spec =
        EndpointSpec { base: endpoint.base_url.clone().unwrap_or_default(), allow_http: endpoint.allow_http, connect };
    let placement = match &endpoint.auth {
        AuthScheme::Bearer => Placement::Bearer,
        AuthScheme::Header(name) => Placement::Header(
            http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no header"))?,
        ),
        AuthScheme::Query(name) => Placement::Query(name.clone()),
        AuthScheme::SigV4(service) => {
            let region = endpoint.region.clone().unwrap_or_default();
            Placement::SigV4(Scope { service: service.clone(), region })
        }
        AuthScheme::None => Placement::None,
    };
    let mut credentials = Vec::new();
    let mut prints = String::new();
    for key in &endpoint.keys {
        if let Some((credential, print)) = credential(endpoint, key, known)? {
            prints.push_str(&print);
            credentials.push(credential);
        }
    }
    known
        .get(format!("{spec:?}{placement:?}{prints}"), || Pool::new(&spec, CredentialPool::new(placement, credentials)))
}

/// One credential, and a print of it that is never shown: a changed key makes another pool. None = it is not there.
fn credential(endpoint: &Endpoint, key: &KeySpec, known: &Pools) -> Result<Option<(Credential, String)>, String> {
    let (label, secret) = match &key.source {
        KeySource::Env(name) => (name.clone(), variable(name)),
        KeySource::File(path) => (path.clone(), Some(file(path)?)),
    };
    let Some(secret) = secret.map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()) else { return Ok(None) };
    let account = key.grant == Some(KeyGrant::ServiceAccount);
    if !account && secret.chars().any(char::is_control) {
        return Err(format!("the key in {label} has control characters"));
    }
    let mut print = format!("{label}:{:x?}:{:?}{};", Sha256::digest(&secret), key.grant, key.weight);
    let (state, more) = state(endpoint, key, &label, &secret, known)?;
    print.push_str(&more);
    let credential = match (&key.grant, &key.secret_env) {
        (Some(KeyGrant::Token), _) => Credential::token(state, key.weight, secret.into()),
        (Some(grant), _) => {
            let Some((source, more)) = granted(endpoint, grant, &label, secret, known)? else { return Ok(None) };
            print.push_str(&more);
            Credential::granted(state, key.weight, source)
        }
        (None, None) => Credential::new(state, key.weight, secret.into()),
        (None, Some(name)) => {
            let Some(own) = variable(name) else { return Ok(None) };
            let session = key.session_env.as_deref().and_then(variable);
            print.push_str(&format!("{:x?}{:x?};", Sha256::digest(&own), session.as_ref().map(Sha256::digest)));
            let key_of = AwsKey { id: secret.into(), secret: own.into(), session: session.map(Into::into) };
            Credential::aws(state, key.weight, key_of)
        }
    };
    Ok(Some((credential, print)))
}

/// What is remembered of a key, and the print of what makes it another one.
fn state(
    endpoint: &Endpoint,
    key: &KeySpec,
    label: &str,
    secret: &str,
    known: &Pools,
) -> Result<(Arc<KeyState>, String), String> {
    let provider = endpoint.name.split('@').next().unwrap_or_default();
    let limits = Limits { rpm: key.rpm, tpm: key.tpm };
    let by_account = endpoint.limits.by_account;
    let print = format!("{provider}:{label}:{:x?}:{limits:?}{:?}{by_account};", Sha256::digest(secret), key.account);
    let account = match &key.account {
        Some(name) => known.account(format!("{provider}:{name:?}"), || Account::new(limits))?,
        None => Arc::new(Account::new(limits)),
    };
    let made = || Ok(KeyState::new(label, limits, account, by_account));
    Ok((known.key(print.clone(), made)?, print))
}

/// The source of tokens for a key, and the print of what makes it another one.
fn granted(
    endpoint: &Endpoint,
    grant: &KeyGrant,
    label: &str,
    secret: String,
    known: &Pools,
) -> Result<Option<(Arc<TokenSource>, String)>, String> {
    let place = endpoint.token.as_ref();
    let Some((place, url)) = place.and_then(|place| Some((place, place.url.clone()?))) else { return Ok(None) };
    let to = TokenEndpoint { url, scope: place.scope.clone(), allow_http: place.allow_http };
    let (grant, print) = match grant {
        KeyGrant::Token => return Ok(None),
        KeyGrant::ServiceAccount => {
            // The variable that Google's own tools read names the file.
            let json = if secret.starts_with('{') { secret } else { file(&secret)? };
            let print = format!("{:x?}", Sha256::digest(&json));
            let account = ServiceAccount::read(&json).map_err(|lacks| format!("the key in {label} {lacks}"))?;
            (Grant::ServiceAccount(account), print)
        }
        KeyGrant::ClientCredentials { id_env } => {
            let Some(id) = variable(id_env) else { return Ok(None) };
            let print = format!("{id}{:x?}", Sha256::digest(&secret));
            (Grant::ClientCredentials { id, secret: secret.into() }, print)
        }
    };
    let print = format!("{to:?}{print};");
    let source = known.tokens(print.clone(), || TokenSource::new(to, grant))?;
    Ok(Some((source, print)))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn file(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("the key file {path} can't be read: {error}"))
}
