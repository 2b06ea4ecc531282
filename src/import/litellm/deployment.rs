//! `model_list`: deployments become targets, those of one name become a group.

use std::collections::BTreeMap;

use super::super::names::{Kind as Known, Names};
use super::super::node::{At, Fields};
use super::super::notes::{Kind, Notes};
use super::super::policy::slug;
use super::super::provider::{Key, Own, OwnFile, Provenance, Shipped, host, text};
use super::facts::{self, Facts};
use super::wildcard::Wildcards;
use super::{credentials, reasons, settings};

/// Deployments of one name.
#[derive(Debug)]
pub(super) struct Group {
    pub name: String,
    pub place: String,
    pub targets: Vec<Deployed>,
}

/// A deployment as a target.
#[derive(Clone, Debug)]
pub(super) struct Deployed {
    /// The target's name; empty until the overlay is made.
    pub target: String,
    own: Own,
    id: String,
    model: toml::Table,
    known: bool,
    place: String,
    pub share: Share,
    pub order: Option<u64>,
    /// In milliseconds.
    pub timeout: Option<u64>,
    pub stream_timeout: Option<u64>,
    pub max_tokens: Option<u64>,
    pub operation: Option<&'static str>,
}

impl Deployed {
    /// Whether it is a target of the catalogue as it is.
    fn plain(&self) -> bool {
        let own = &self.own;
        self.known && own.url.is_none() && own.keys.is_empty() && own.auth.is_none() && own.headers.is_empty()
    }
}

/// What a deployment says of its part of the traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub weight: Option<u64>,
    pub rpm: Option<u64>,
    pub tpm: Option<u64>,
}

impl Share {
    fn plus(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
        Self { weight: sum(self.weight, other.weight), rpm: sum(self.rpm, other.rpm), tpm: sum(self.tpm, other.tpm) }
    }
}

/// Groups and overlay so far.
pub(super) struct Builder<'a> {
    names: &'a Names,
    shipped: &'a Shipped,
    from: &'a Provenance<'a>,
    secrets: credentials::Secrets,
    wild: Wildcards,
    pub groups: Vec<Group>,
    pub files: Vec<OwnFile>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(names: &'a Names, shipped: &'a Shipped, from: &'a Provenance<'a>) -> Self {
        let (secrets, wild) = (credentials::Secrets::default(), Wildcards::default());
        Self { names, shipped, from, secrets, wild, groups: Vec::new(), files: Vec::new() }
    }

    /// One entry of the list.
    pub(super) fn entry(&mut self, at: &At<'_>, notes: &mut Notes) {
        let Some(mut fields) = at.fields() else {
            return notes.add(Kind::LeftOut, at, "is no table");
        };
        let group = fields.take("model_name");
        let params = fields.table("litellm_params", notes);
        let info = fields.table("model_info", notes);
        for (name, at) in fields.rest() {
            reasons::left(&at, name, notes);
        }
        let (Some(group), Some(mut params)) = (group.as_ref().and_then(At::word), params) else {
            return notes.add(Kind::LeftOut, at, "the whole entry: it has no `model_name` or no `litellm_params`");
        };
        let Some(found) = self.find(at, group, &mut params, notes) else { return };
        if found.1.contains('*') || group.contains('*') {
            let (mut info, also) = (info, (&mut self.secrets, self.shipped));
            return self.wild.entry((at, group), (found.0, &found.1), (&mut params, info.as_mut()), also, notes);
        }
        let deployed = self.deployed(at, found, params, info, notes);
        match self.groups.iter_mut().find(|known| known.name == group) {
            Some(known) => known.targets.push(deployed),
            None => {
                let place = format!("{}, line {}", at.path, at.node.line);
                self.groups.push(Group { name: group.to_owned(), place, targets: vec![deployed] });
            }
        }
    }

    /// The provider and the model's name there.
    fn find(
        &self,
        at: &At<'_>,
        group: &str,
        params: &mut Fields<'_>,
        notes: &mut Notes,
    ) -> Option<(&'a Known, String)> {
        let whole = |notes: &mut Notes, why: &str| {
            notes.add(Kind::LeftOut, at, format!("the whole entry: {why}"));
            None
        };
        let (model, provider) = (params.take("model"), params.take("custom_llm_provider"));
        let Some(model) = model.as_ref().and_then(At::word) else { return whole(notes, "it names no model") };
        if (model, group) == ("*", "*") && params.take("api_key").is_none() && params.take("api_base").is_none() {
            let why = "models of the catalogue answer as `provider/MODEL`, and as `MODEL` where one provider has it";
            notes.add(Kind::AlwaysSo, at, why);
            return None;
        }
        let names: &'a Names = self.names;
        let split = model.split_once('/').and_then(|(prefix, rest)| Some((names.of_prefix(prefix)?, rest)));
        let given = provider.as_ref().and_then(At::word);
        let found = match (split, given) {
            (Some(found), _) => Some(found),
            (None, Some(provider)) => names.of_prefix(provider).map(|kind| (kind, model)),
            (None, None) => names.of_model(model).map(|kind| (kind, model)),
        };
        let Some((kind, id)) = found else {
            let why = match model.split_once('/') {
                Some((prefix, _)) => {
                    format!("no provider here is known as `{prefix}`; add a file for it to the overlay")
                }
                None => "no provider here is known to have this model; write it as provider/model".to_owned(),
            };
            return whole(notes, &why);
        };
        if id.contains('*') || group.contains('*') {
            return Some((kind, id.to_owned()));
        }
        let id = id.trim_start_matches("converse/").trim_start_matches("invoke/");
        if !kind.serves(id) {
            return whole(notes, &format!("only {} are spoken to there", kind.only.join(", ")));
        }
        Some((kind, id.to_owned()))
    }

    fn deployed<'t>(
        &mut self,
        at: &At<'t>,
        (kind, id): (&Known, String),
        mut params: Fields<'t>,
        mut info: Option<Fields<'t>>,
        notes: &mut Notes,
    ) -> Deployed {
        let mut own = self.own(kind, &mut params, notes);
        let limits = self.limits(&mut own, &mut params, notes);
        let facts = Facts::take(&mut params, info.as_mut(), notes);
        let endpoint = own.endpoint(self.shipped, self.from);
        let endpoint = text(&endpoint, "name").unwrap_or_default();
        let facts::Model { table: model, known, priced } =
            facts::model(self.shipped, (&own.base, endpoint, &id), &facts, self.from, &at.path, notes);
        let known = known && !priced;
        if let Some(version) = params.take("api_version") {
            notes.add(Kind::Differs, &version, "the v1 API is spoken, which takes no version");
        }
        let share = Share { weight: whole(params.take("weight"), notes), ..limits };
        let order = whole(params.take("order"), notes);
        let max_tokens = whole(params.take("max_tokens"), notes);
        let mut time = |name: &str, notes: &mut Notes| settings::time(&params.take(name)?, notes);
        let (timeout, stream_timeout) = (time("timeout", notes), time("stream_timeout", notes));
        for (name, at) in params.rest().into_iter().chain(info.iter_mut().flat_map(Fields::rest)) {
            reasons::left(&at, name, notes);
        }
        let operation = facts::operation(&model);
        let (target, place) = (String::new(), at.path.clone());
        Deployed { target, own, id, model, known, place, share, order, timeout, stream_timeout, max_tokens, operation }
    }

    /// What LiteLLM counts in a minute: limits of the deployment's keys, and its share of the requests.
    fn limits(&self, own: &mut Own, params: &mut Fields<'_>, notes: &mut Notes) -> Share {
        let open = own.auth.as_ref().is_some_and(|auth| text(auth, "scheme") == Some("none"));
        let mut limit = |name: &str| {
            let at = params.take(name)?;
            let limit = whole(Some(at.clone()), notes)?;
            let why = if open {
                "is the share of the requests; there is no key that it could limit"
            } else {
                "is the limit of the key until the provider's answers tell its own, and the share of the requests"
            };
            notes.add(Kind::Differs, &at, why);
            Some(limit)
        };
        let (rpm, tpm) = (limit("rpm"), limit("tpm"));
        if rpm.or(tpm).is_some() && !open {
            if own.keys.is_empty() {
                own.keys = self.shipped.envs(&own.base).first().map(|env| Key::of(env)).into_iter().collect();
            }
            own.keys.iter_mut().for_each(|key| (key.rpm, key.tpm) = (rpm, tpm));
        }
        Share { weight: None, rpm, tpm }
    }

    /// Where the deployment is and how one gets in.
    fn own(&mut self, kind: &Known, params: &mut Fields<'_>, notes: &mut Notes) -> Own {
        let given = params.take("api_base").or_else(|| params.take("base_url"));
        // What may hold a password is not copied.
        let odd = |at: &At<'_>| at.word().is_some_and(|base| base.contains(['@', '?']));
        let mut url = match &given {
            Some(at) if odd(at) => {
                Some(format!("${{{}}}{}", self.secrets.variable(at, &kind.provider, notes), kind.suffix))
            }
            given => given.as_ref().and_then(At::word).map(|base| address(base, kind)),
        };
        let known: Vec<&str> =
            self.shipped.endpoints(&kind.provider).iter().filter_map(|e| text(e, "base_url")).collect();
        // Where the shipped address is the operator's own to fill in, LiteLLM's variable names it.
        if url.is_none() && known.first().is_some_and(|base| host(base).contains('$')) {
            url = kind.base_env.first().map(|env| format!("${{{env}}}{}", kind.suffix));
        }
        let elsewhere = url.as_ref().is_some_and(|url| known.iter().all(|base| host(base) != host(url)));
        let base = kind.elsewhere.as_ref().filter(|_| elsewhere).unwrap_or(&kind.provider).clone();
        if url.as_deref().is_some_and(|url| known.first().is_some_and(|base| base.trim_end_matches('/') == url)) {
            url = None;
        }
        let mut own = Own { base, url, region: None, keys: Vec::new(), auth: None, headers: BTreeMap::new() };
        self.secrets.fill(&mut own, kind, self.shipped, params, notes);
        if let Some(at) = params.take("organization") {
            match at.text().filter(|text| !text.starts_with(credentials::ENVIRON)) {
                Some(text) => drop(own.headers.insert("OpenAI-Organization".to_owned(), text.to_owned())),
                None => notes.add(
                    Kind::LeftOut,
                    &at,
                    "one organization by its name; write `headers` into the provider file",
                ),
            }
        }
        own
    }

    /// Files that stand for those of the catalogue.
    pub(super) fn replaced(&self, notes: &mut Notes) -> Vec<(String, String)> {
        let usual = |provider: &str| {
            let mut all = self.groups.iter().flat_map(|group| &group.targets);
            all.any(|deployed| deployed.plain() && deployed.own.base == provider)
        };
        self.wild.files(&usual, self.shipped, self.from, notes)
    }

    /// Makes the overlay, now that all deployments are known.
    pub(super) fn finish(&mut self) {
        let mut groups = std::mem::take(&mut self.groups);
        for group in &mut groups {
            group.targets = pooled(std::mem::take(&mut group.targets));
            for deployed in &mut group.targets {
                deployed.target = self.target(deployed);
            }
            let mut seen: Vec<String> = Vec::new();
            group.targets.retain(|deployed| {
                let new = !seen.contains(&deployed.target);
                seen.push(deployed.target.clone());
                new
            });
        }
        self.groups = groups;
    }

    fn target(&mut self, deployed: &Deployed) -> String {
        let Deployed { own, id, model, place, .. } = deployed;
        if deployed.plain() {
            let endpoints = self.shipped.endpoints(&own.base);
            let at = endpoints.first().filter(|_| endpoints.len() > 1).and_then(|e| text(e, "name"));
            return at.map_or_else(|| format!("{}/{id}", own.base), |at| format!("{}/{id}@{at}", own.base));
        }
        let fits = |file: &&mut OwnFile| {
            file.own == *own && file.models.iter().all(|known| text(known, "id") != Some(id) || known == model)
        };
        if let Some(file) = self.files.iter_mut().find(fits) {
            if !file.models.contains(model) {
                file.models.push(model.clone());
            }
            file.places.push(place.clone());
            return format!("{}/{id}", file.name);
        }
        let files = &self.files;
        let taken = |name: &str| files.iter().any(|file| file.name == name) || self.shipped.get(name).is_some();
        let name = slug(&format!("{}-{}", own.base, hint(own)), &taken);
        let (places, models) = (vec![place.clone()], vec![model.clone()]);
        self.files.push(OwnFile { name: name.clone(), own: own.clone(), places, models });
        format!("{name}/{id}")
    }
}

/// A whole number above nothing; anything else is noted.
fn whole(at: Option<At<'_>>, notes: &mut Notes) -> Option<u64> {
    let at = at?;
    let number = at.whole().filter(|number| *number > 0);
    if number.is_none() {
        notes.add(Kind::LeftOut, &at, "is no whole number above 0");
    }
    number
}

/// Deployments that differ in their keys only are one target with a pool of keys.
fn pooled(targets: Vec<Deployed>) -> Vec<Deployed> {
    let mut out: Vec<Deployed> = Vec::new();
    for next in targets {
        let alike = |known: &&mut Deployed| {
            let rest = |own: &Own| Own { keys: Vec::new(), ..own.clone() };
            let keys = !known.own.keys.is_empty() && !next.own.keys.is_empty();
            keys && rest(&known.own) == rest(&next.own)
                && (&known.id, &known.model, known.order) == (&next.id, &next.model, next.order)
        };
        let Some(known) = out.iter_mut().find(alike) else {
            out.push(next);
            continue;
        };
        for key in weighted(&next) {
            if known.own.keys.iter().all(|there| there.env != key.env) {
                if known.own.keys.len() == 1 {
                    known.own.keys = weighted(known);
                }
                known.own.keys.push(key);
            }
        }
        known.share = known.share.plus(next.share);
        known.place = format!("{} and {}", known.place, next.place);
    }
    out
}

/// The keys of a deployment with its weight in the pool.
fn weighted(deployed: &Deployed) -> Vec<Key> {
    let share = deployed.share.weight.or(deployed.share.rpm).or(deployed.share.tpm).unwrap_or(1);
    let weight = u32::try_from(share).unwrap_or(u32::MAX);
    deployed.own.keys.iter().map(|key| Key { weight, ..key.clone() }).collect()
}

/// LiteLLM's address as ours: without what it takes for granted, with what we do.
fn address(base: &str, kind: &Known) -> String {
    let mut base = match base.strip_prefix(credentials::ENVIRON) {
        Some(name) => format!("${{{name}}}"),
        None => base.trim().trim_end_matches('/').to_owned(),
    };
    for tail in ["/chat/completions", "/v1/messages", "/embeddings"] {
        base = base.strip_suffix(tail).unwrap_or(&base).to_owned();
    }
    if !kind.suffix.is_empty() && !base.ends_with(&kind.suffix) {
        base = format!("{}{}", base.strip_suffix("/openai").unwrap_or(&base), kind.suffix);
    }
    base
}

/// What tells a provider of the overlay from others that are made after the same one: its host, or its key.
fn hint(own: &Own) -> String {
    let lower = |text: &str| text.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    if let Some(region) = own.region.as_ref().filter(|region| !region.contains('$')) {
        return lower(region);
    }
    if let Some(url) = own.url.as_deref().filter(|url| !url.starts_with("${")) {
        let (name, rest) = (host(url), url.split_once("://").map_or(url, |(_, rest)| rest));
        let port = rest.split('/').next().and_then(|place| place.rsplit_once(':')).map(|(_, port)| port);
        let label = name.split('.').find(|label| !["api", "www"].contains(label)).unwrap_or(name);
        let numbers = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let label = if numbers { name } else { label };
        return lower(&port.map_or_else(|| label.to_owned(), |port| format!("{label}-{port}")));
    }
    let env = own.keys.first().map_or("", |key| key.env.as_str()).to_ascii_lowercase();
    let own_name = own.base.replace('-', "_");
    let env = env.replace("_api_key", "").replace("_key", "").replace(&own_name, "");
    let env = env.trim_matches('_');
    if env.is_empty() { "more".to_owned() } else { lower(env) }
}
