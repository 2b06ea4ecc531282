//! The catalogue: providers, endpoints, models and prices, compiled from files that people edit.
//!
//! A provider is one TOML file and no Rust. The shipped files are compiled in; a directory overlays them: a file with
//! the name of a shipped provider replaces it, another adds to it. Everything is checked, all problems are reported.

mod build;
mod embedded;
mod keys;
mod places;
mod raw;
mod read;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::dialect::{LimitHeader, Quirks};
use crate::domain::id::{DialectId, TargetId};
use crate::domain::price::Fx;
use crate::domain::problem::Problem;
use crate::shape;

pub use crate::domain::target::Target;
pub use embedded::embedded;
pub use places::FactsEnd;

/// The quality ladder, lowest first. `min_tier` admits a rung and what stands above it.
pub const TIERS: [&str; 7] = ["test", "tiny", "small", "standard", "reasoning", "frontier", "frontier-reasoning"];

/// The height of a rung.
#[must_use]
pub fn tier_rank(tier: &str) -> Option<u32> {
    (0..).zip(TIERS).find(|(_, name)| *name == tier).map(|(rank, _)| rank)
}

/// One file of the catalogue.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// As shown in problems.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What the machine gives: environment, local models, the moment.
pub struct Surroundings<'a> {
    /// The value of an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Ids of local models that are served.
    pub served: &'a [&'a str],
}

/// Where a credential goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthScheme {
    /// `Authorization: Bearer …`
    Bearer,
    /// A header.
    Header(String),
    /// A query parameter.
    Query(String),
    /// An AWS signature (version 4) for this service.
    SigV4(String),
    /// None is needed.
    None,
}

/// Where a credential comes from; never the credential itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// An environment variable.
    Env(String),
    /// A file.
    File(String),
}

/// One credential of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Where it comes from.
    pub source: KeySource,
    /// Share of the traffic.
    pub weight: u32,
    /// For signatures: the variable of the secret key.
    pub secret_env: Option<String>,
    /// For signatures: the variable of the session's token.
    pub session_env: Option<String>,
    /// How it becomes an access token; none = it goes where the scheme says.
    pub grant: Option<KeyGrant>,
    /// Requests a minute that the provider lets through, until its answers tell.
    pub rpm: Option<u64>,
    /// Tokens a minute, likewise.
    pub tpm: Option<u64>,
    /// The account that it belongs to; none = one of its own.
    pub account: Option<String>,
}

/// How a provider limits rates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitFacts {
    /// Whether it counts by account, whatever key is used.
    pub by_account: bool,
    /// The headers in which it tells, where they are not those of the dialect.
    pub headers: Vec<LimitHeader>,
}

/// How a key becomes an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyGrant {
    /// It is one.
    Token,
    /// It is Google's key file, or the path of one.
    ServiceAccount,
    /// It is the secret of a client.
    ClientCredentials {
        /// The variable of the client's id.
        id_env: String,
    },
}

impl KeyGrant {
    /// Whether another place is asked for the token.
    #[must_use]
    pub fn asks(&self) -> bool {
        match self {
            Self::Token => false,
            Self::ServiceAccount | Self::ClientCredentials { .. } => true,
        }
    }
}

/// Where access tokens are granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPlace {
    /// Its address, placeholders filled; none = not configured.
    pub url: Option<String>,
    /// What tokens are to be good for.
    pub scope: String,
    /// Plain HTTP may be used.
    pub allow_http: bool,
}

/// A provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name in targets.
    pub name: Arc<str>,
    /// Its name for people.
    pub title: String,
    /// Its documentation.
    pub docs: Option<String>,
}

/// How to reach one endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `provider@endpoint`.
    pub name: String,
    /// Base URL, placeholders filled; none = not configured.
    pub base_url: Option<String>,
    /// Path instead of the dialect's.
    pub path: Option<String>,
    /// Other dialects that are spoken here.
    pub also: Vec<AlsoSpoken>,
    /// The region that signatures name.
    pub region: Option<String>,
    /// Query parameters.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Plain HTTP may be used.
    pub allow_http: bool,
    /// Where the credential goes.
    pub auth: AuthScheme,
    /// The pool of credentials.
    pub keys: Vec<KeySpec>,
    /// Where access tokens are granted to those that need it.
    pub token: Option<TokenPlace>,
    /// Peculiarities of the dialect.
    pub quirks: Arc<Quirks>,
    /// How the provider limits rates.
    pub limits: Arc<LimitFacts>,
}

/// Another dialect of an endpoint.
#[derive(Clone, Debug)]
pub struct AlsoSpoken {
    /// Which.
    pub dialect: DialectId,
    /// Its base URL, where it is another than the endpoint's; it must be of the same host.
    pub base_url: Option<String>,
    /// Its path instead of the dialect's own.
    pub path: Option<String>,
}

/// Everything that can be routed to.
#[derive(Debug, Default)]
pub struct Catalogue {
    providers: Vec<Provider>,
    endpoints: Vec<Arc<Endpoint>>,
    targets: Vec<Target>,
    target_endpoint: Vec<usize>,
    places: Vec<places::Places>,
    by_name: HashMap<Arc<str>, Vec<TargetId>>,
    fx: Fx,
}

impl Catalogue {
    /// Compiles the shipped files with an overlay.
    ///
    /// # Errors
    /// All problems of all files.
    pub fn compile(overlay: &[SourceFile], around: &Surroundings<'_>) -> Result<Self, Vec<Problem>> {
        let (catalogue, problems) = Self::examine(overlay, around);
        if problems.is_empty() { Ok(catalogue) } else { Err(problems) }
    }

    /// The same, and with problems as much of the catalogue as can be read: other files can then be checked against it.
    #[must_use]
    pub fn examine(overlay: &[SourceFile], around: &Surroundings<'_>) -> (Self, Vec<Problem>) {
        let stem = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
        let replaced: Vec<_> = overlay.iter().map(|file| stem(&file.name)).collect();
        let shipped = embedded().into_iter().filter(|file| !replaced.contains(&stem(&file.name)));
        let files: Vec<_> = shipped.chain(overlay.iter().cloned()).collect();
        build::build(&files, around)
    }

    /// Compiles exactly these files.
    ///
    /// # Errors
    /// All problems of all files.
    pub fn compile_only(files: &[SourceFile], around: &Surroundings<'_>) -> Result<Self, Vec<Problem>> {
        let (catalogue, problems) = build::build(files, around);
        if problems.is_empty() { Ok(catalogue) } else { Err(problems) }
    }

    /// The JSON Schema of a provider file.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        crate::shape::schema::<raw::Provider>("A provider of Stellwerk: providers/NAME.toml")
    }

    /// The JSON Schema of the file of exchange rates.
    #[must_use]
    pub fn currencies_schema() -> serde_json::Value {
        crate::shape::schema::<raw::Currencies>("Exchange rates of Stellwerk: providers/currencies.toml")
    }

    /// Takes relative paths of key files from this directory: that of the configuration file.
    pub fn root_key_files(&mut self, base: &Path) {
        for endpoint in &mut self.endpoints {
            for key in &mut Arc::make_mut(endpoint).keys {
                if let KeySource::File(path) = &mut key.source {
                    *path = base.join(&*path).display().to_string();
                }
            }
        }
    }

    /// All providers.
    #[must_use]
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// All targets; a target's id is its index.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// A target by its id.
    #[must_use]
    pub fn target(&self, id: TargetId) -> &Target {
        &self.targets[id.index()]
    }

    /// How to reach a target.
    #[must_use]
    pub fn endpoint(&self, target: &Target) -> &Arc<Endpoint> {
        &self.endpoints[self.target_endpoint[target.id.index()]]
    }

    /// Files that hold credentials.
    pub fn key_files(&self) -> impl Iterator<Item = &str> {
        self.endpoints.iter().flat_map(|endpoint| &endpoint.keys).filter_map(|key| match &key.source {
            KeySource::File(path) => Some(path.as_str()),
            KeySource::Env(_) => None,
        })
    }

    /// Exchange rates.
    #[must_use]
    pub fn fx(&self) -> &Fx {
        &self.fx
    }

    /// Targets of a name: `provider/model@endpoint`, `provider/model` (all endpoints), or a model id that one provider
    /// alone has. `provider/anything` also finds that provider's wildcard model.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<TargetId> {
        if let Some(found) = self.by_name.get(name) {
            return found.clone();
        }
        let Some((provider, model)) = name.split_once('/') else { return Vec::new() };
        let (_, endpoint) = model.rsplit_once('@').map_or((model, None), |(m, e)| (m, Some(e)));
        let wild = |t: &&Target| &*t.provider == provider && &*t.model == "*";
        let at = |t: &&Target| endpoint.is_none_or(|e| &*t.endpoint == e);
        self.targets.iter().filter(wild).filter(at).map(|t| t.id).collect()
    }

    /// Exactly one target by its full name.
    #[must_use]
    pub fn exactly(&self, name: &str) -> Option<&Target> {
        self.targets.iter().find(|t| &*t.name == name || &*t.full_name == name)
    }

    /// Whether a provider is there and takes keys.
    ///
    /// # Errors
    /// Why not, with the nearest name.
    pub fn takes_keys(&self, provider: &str) -> Result<(), String> {
        if !self.providers.iter().any(|known| &*known.name == provider) {
            let near = shape::nearest(provider, self.providers.iter().map(|known| &*known.name));
            let hint = near.map_or_else(String::new, |near| format!(": did you mean `{near}`?"));
            return Err(format!("there is no provider `{provider}`{hint}"));
        }
        let mut of = self.targets.iter().filter(|target| &*target.provider == provider);
        let takes = |target: &Target| !target.dialect.is_native() && self.endpoint(target).auth != AuthScheme::None;
        if of.any(takes) { Ok(()) } else { Err(format!("`{provider}` takes no keys")) }
    }

    /// Names that can be asked for, for finding the nearest.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(|name| &**name)
    }
}

#[cfg(test)]
mod tests;
