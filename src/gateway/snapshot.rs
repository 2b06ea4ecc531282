//! One immutable compile of everything that files say. A request loads it once and keeps it to its end.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use sha2::{Digest, Sha256};

use super::credentials;
use super::files;
use super::keys::Load;
use super::locals::LocalModels;
use super::pools::Pools;
use super::{Shared, now};
use crate::admission::Principal;
use crate::catalogue::{Catalogue, Endpoint, LimitFacts, SourceFile, Surroundings, Target};
use crate::config::Config;
use crate::dialect::{self, Egress, Envelope, LimitHeader, Passthrough, Quirks};
use crate::domain::error::{Error, ErrorKind, Failure, FailureKind};
use crate::domain::id::{DialectId, TargetId};
use crate::domain::price::Fx;
use crate::domain::problem::Problem;
use crate::domain::target::{Capability, Expectation, Health, Rest, Signal, UnixMillis};
use crate::health::{Memory, TargetHealth};
use crate::local::{LocalModel, ModelState};
use crate::policy::Policy;
use crate::telemetry::{Metrics, TargetMetrics};
use crate::upstream::{self, Line, Pool};

/// Catalogue and policies, compiled from files.
pub struct Compiled {
    /// Providers, targets, prices.
    pub catalogue: Arc<Catalogue>,
    /// Policies by name.
    pub policies: BTreeMap<Arc<str>, Policy>,
    /// Digest over all files, 16 hex digits.
    pub hash: Arc<str>,
    /// The policy files of the configured directory, as read.
    pub own: Arc<[SourceFile]>,
}

/// How to put a request to a hosted target.
pub(super) struct Wire {
    dialect: DialectId,
    pub egress: &'static dyn Egress,
    address: Address,
    pools: Vec<(Duration, Arc<Pool>)>,
    pub quirks: Arc<Quirks>,
    limits: Arc<LimitFacts>,
}

/// Where a dialect is spoken at an endpoint.
struct Address {
    base: String,
    path: Option<String>,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    /// Made once, where the model's name on the wire is fixed: for whole answers and for streams.
    fixed: Option<(Uri, Uri)>,
}

/// Everything a request needs to know.
pub struct Snapshot {
    /// Its number in this process.
    pub generation: u64,
    /// Digest over all files.
    pub hash: Arc<str>,
    /// The configuration.
    pub config: Arc<Config>,
    /// Providers, targets, prices.
    pub catalogue: Arc<Catalogue>,
    /// The policy files of the configured directory, as read.
    pub policy_files: Arc<[SourceFile]>,
    policies: BTreeMap<Arc<str>, Policy>,
    health: Vec<Arc<TargetHealth>>,
    wires: Vec<Vec<Wire>>,
    locals: Vec<Option<Arc<LocalModel>>>,
    handles: papaya::HashMap<(Arc<str>, TargetId), Arc<TargetMetrics>>,
}

impl Compiled {
    /// Reads and compiles the files a configuration names.
    ///
    /// # Errors
    /// All problems of all files.
    pub fn read(config: &Config) -> Result<Self, Vec<Problem>> {
        let (compiled, problems) = Self::examine(config);
        if problems.is_empty() { Ok(compiled) } else { Err(problems) }
    }

    /// The same, and with problems as much as can be read.
    #[must_use]
    pub fn examine(config: &Config) -> (Self, Vec<Problem>) {
        match config.policies_dir.as_deref().map_or_else(|| Ok(Vec::new()), files::policies) {
            Ok(own) => Self::with_policies(config, own),
            Err(mut problems) => {
                let (compiled, more) = Self::with_policies(config, Vec::new());
                problems.extend(more);
                (compiled, problems)
            }
        }
    }

    /// The same with these policy files instead of those of the configured directory.
    #[must_use]
    pub fn with_policies(config: &Config, own: Vec<SourceFile>) -> (Self, Vec<Problem>) {
        let (overlay, catalogue, mut problems) = catalogue(config);
        let kept = own.clone().into();
        let policies = Self::with_shipped(own);
        let broken: Vec<String> = problems.iter().filter_map(|p| Some(stem_of(&p.file)?.to_owned())).collect();
        let served = config.local.iter().map(|model| model.name.as_str());
        let unknown = served.filter(|name| catalogue.exactly(&format!("local/{name}")).is_none());
        problems.extend(unknown.map(|name| unknown_local(&catalogue, name)));
        let catalogue = Arc::new(catalogue);
        let mut compiled = BTreeMap::new();
        for file in &policies {
            let name =
                Path::new(&file.name).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
            match Policy::compile(&name, &file.name, &file.text, &*catalogue) {
                Ok(policy) => {
                    compiled.insert(Arc::clone(&policy.name), policy);
                }
                // What a policy says of a provider whose file is broken can't be judged.
                Err(more) => problems.extend(more.into_iter().filter(|p| broken.iter().all(|b| !names(p, b)))),
            }
        }
        if problems.is_empty() && !compiled.contains_key("default") {
            problems.push(Problem::new("policies", "there is no policy named `default`"));
        }
        // A key that has been exchanged is a change as well; one that can't be read is told when it is needed.
        let keys: Vec<u8> = catalogue.key_files().flat_map(|path| fs::read(path).unwrap_or_default()).collect();
        let rest = format!("{config:?}{:x?}", Sha256::digest(&keys));
        let hash = digest(overlay.iter().chain(&policies), &rest);
        (Self { catalogue, policies: compiled, hash, own: kept }, problems)
    }

    /// The catalogue alone, and what is wrong with it.
    #[must_use]
    pub fn catalogue(config: &Config) -> (Catalogue, Vec<Problem>) {
        let (_, catalogue, problems) = catalogue(config);
        (catalogue, problems)
    }

    /// A file stands for the compiled-in one of its name; the other compiled-in ones hold beside it.
    #[must_use]
    pub fn with_shipped(own: Vec<SourceFile>) -> Vec<SourceFile> {
        let stem = |file: &SourceFile| Path::new(&file.name).file_stem().map(ToOwned::to_owned);
        let mut files = crate::policy::embedded();
        files.retain(|file| own.iter().all(|o| stem(o) != stem(file)));
        files.extend(own);
        files
    }

    /// What a start would find wrong beside: addresses, keys in files. Connects to nothing.
    ///
    /// # Errors
    /// All of it.
    pub fn check_wires(&self) -> Result<(), Vec<Problem>> {
        self.wires(&Pools::default()).map(drop)
    }

    /// The ways to every target.
    fn wires(&self, pools: &Pools) -> Result<Vec<Vec<Wire>>, Vec<Problem>> {
        let default = crate::domain::plan::Timeouts::default();
        let routes = self.policies.values().flat_map(|policy| &policy.routes);
        let mut connects: Vec<Duration> = routes.map(|r| r.timeouts.connect).chain([default.connect]).collect();
        connects.sort_unstable();
        connects.dedup();
        let (mut wires, mut problems) = (Vec::new(), Vec::new());
        for target in self.catalogue.targets() {
            match wires_of(&self.catalogue, target, &connects, pools) {
                Ok(ways) => wires.push(ways),
                Err(message) => problems.push(Problem::new(format!("providers/{}.toml", target.provider), message)),
            }
        }
        // Models of one endpoint share its mistakes.
        problems.dedup();
        if problems.is_empty() { Ok(wires) } else { Err(problems) }
    }
}

impl Snapshot {
    /// Compiles everything. Reads files and the trust store, so not for async threads.
    ///
    /// # Errors
    /// All problems of all files.
    pub fn load(config: &Config, shared: &Shared, locals: &LocalModels, generation: u64) -> Result<Self, Vec<Problem>> {
        let compiled = Compiled::read(config)?;
        let wires = compiled.wires(&shared.pools)?;
        let Compiled { catalogue, policies, hash, own } = compiled;
        let local = |target: &Target| target.dialect.is_native().then(|| locals.get(&target.model).cloned()).flatten();
        let models = catalogue.targets().iter().map(local).collect();
        Ok(Self {
            generation,
            hash,
            config: Arc::new(config.clone()),
            health: catalogue.targets().iter().map(|target| shared.health.entry(target)).collect(),
            catalogue,
            policy_files: own,
            policies,
            wires,
            locals: models,
            handles: papaya::HashMap::new(),
        })
    }

    /// Takes what was measured before a restart.
    pub fn remember(&self, memories: &HashMap<String, Memory>) {
        for target in self.catalogue.targets() {
            if let Some(memory) = memories.get(&*target.name) {
                self.health(target.id).restore(memory);
            }
        }
    }

    /// What measurement says of a target, for a prompt of that many tokens.
    pub(super) fn measured(&self, id: TargetId, input_tokens: u64, now: UnixMillis) -> Signal {
        let mut signal = self.health(id).signal(input_tokens, now);
        if let Some(local) = self.local(id)
            && !matches!(local.state(), ModelState::Up)
        {
            signal.state = Health::Down { until: None, rest: Rest::Firm };
        }
        signal
    }

    /// What is expected of the tokens of a route's requests at a target.
    #[must_use]
    pub fn expectation(&self, route: &str, target: &Target) -> Expectation {
        self.health(target.id).expectation(route, target.prior.output_tokens)
    }

    pub(super) fn health(&self, id: TargetId) -> &Arc<TargetHealth> {
        &self.health[id.index()]
    }

    /// The way to a target for a client of that dialect: in its own dialect where the target speaks it.
    pub(super) fn wire(&self, id: TargetId, client: DialectId) -> Option<&Wire> {
        let wires = self.wires.get(id.index())?;
        wires.iter().find(|wire| wire.dialect == client).or_else(|| wires.first())
    }

    /// The same for a conversation. Where a schema must be told in words, the provider's main dialect is the way.
    pub(super) fn wire_for(&self, id: TargetId, client: DialectId, envelope: &Envelope) -> Option<&Wire> {
        let wires = self.wires.get(id.index())?;
        wires.first().filter(|wire| wire.in_words(envelope)).or_else(|| self.wire(id, client))
    }

    /// Connections to a target, whichever: all of them use the same keys. None = it is not dialled.
    pub(super) fn any_pool(&self, id: TargetId) -> Option<&Pool> {
        self.wires.get(id.index())?.first()?.pools.first().map(|(_, pool)| &**pool)
    }

    pub(super) fn local(&self, id: TargetId) -> Option<&Arc<LocalModel>> {
        self.locals.get(id.index()).and_then(Option::as_ref)
    }

    /// The policy of a principal: its own, its team's, its tenant's, else `default`.
    ///
    /// # Errors
    /// The key names a policy that does not exist: it is refused, never sent to another policy.
    pub fn policy(&self, principal: &Principal) -> Result<&Policy, Error> {
        self.policy_named(principal.policy.as_deref().unwrap_or("default"))
    }

    /// The names of all policies.
    pub(super) fn policy_names(&self) -> Vec<&str> {
        self.policies.keys().map(|name| &**name).collect()
    }

    /// A policy by name.
    ///
    /// # Errors
    /// There is none.
    pub fn policy_named(&self, name: &str) -> Result<&Policy, Error> {
        self.policies.get(name).ok_or_else(|| {
            Error::new(ErrorKind::Forbidden, "the key's policy does not exist")
                .code("policy_missing")
                .detail(name.to_owned())
        })
    }

    /// Exchange rates.
    pub(super) fn fx(&self) -> &Fx {
        self.catalogue.fx()
    }

    /// Names that answer right now: routes whose targets are up, the local ones first; where no route has any, targets by
    /// their own names.
    #[must_use]
    pub fn ready_models(&self) -> Vec<String> {
        let now = now();
        let up = |id: TargetId| {
            let target = self.catalogue.target(id);
            target.configured
                && target.is_available(now)
                && matches!(self.signal(id, Load::of(0), now).state, Health::Up)
        };
        let Some(policy) = self.policies.get("default") else { return Vec::new() };
        let mut names: Vec<(bool, String)> = Vec::new();
        for route in &policy.routes {
            let ready = |pick: &crate::policy::Pick| {
                let target = self.catalogue.target(pick.target);
                up(pick.target) && route.require.check(target, &*self.catalogue, now).is_ok()
            };
            let ready: Vec<_> = route.picks.iter().filter(|pick| ready(pick)).collect();
            let local = ready.iter().any(|pick| self.local(pick.target).is_some());
            if let Some(name) = route.literal_models.first().filter(|_| !ready.is_empty()) {
                names.push((!local, name.to_string()));
            }
        }
        names.sort_by_key(|(hosted, _)| *hosted);
        if names.is_empty() {
            let admitted =
                |target: &&Target| up(target.id) && policy.require().check(target, &*self.catalogue, now).is_ok();
            let admitted = self.catalogue.targets().iter().filter(admitted);
            return admitted.map(|target| target.name.replace('*', "MODEL")).collect();
        }
        names.into_iter().map(|(_, name)| name).collect()
    }

    /// Handles of a route and target, made on first use.
    pub(super) fn target_metrics(&self, metrics: &Metrics, route: &Arc<str>, target: &Target) -> Arc<TargetMetrics> {
        let handles = self.handles.pin();
        let key = (Arc::clone(route), target.id);
        let make = || metrics.target(route, &target.provider, &target.model);
        Arc::clone(handles.get_or_insert_with(key, make))
    }

    /// Local models and whether they serve.
    pub fn locals(&self) -> impl Iterator<Item = (&str, bool)> {
        let targets = self.catalogue.targets().iter().zip(&self.locals);
        targets.filter_map(|(t, local)| Some((&*t.model, matches!(local.as_ref()?.state(), ModelState::Up))))
    }
}

impl Wire {
    /// The way on which bytes pass, for a client of the same dialect whose request needs no other words.
    pub(super) fn passthrough(&self, client: DialectId, envelope: &Envelope) -> Option<&'static dyn Passthrough> {
        if self.dialect == client && !self.in_words(envelope) { self.egress.passthrough() } else { None }
    }

    /// What is spoken on it.
    pub(super) fn dialect(&self) -> DialectId {
        self.dialect
    }

    /// In which headers the provider tells of its limits.
    pub(super) fn limits(&self) -> &[LimitHeader] {
        if self.limits.headers.is_empty() { self.egress.limits() } else { &self.limits.headers }
    }

    /// Whether bytes pass for clients of that dialect, whatever they ask.
    pub(super) fn speaks(&self, client: DialectId) -> bool {
        self.dialect == client
    }

    /// Whether the request has a schema for its answer that this provider must be told in words.
    fn in_words(&self, envelope: &Envelope) -> bool {
        self.quirks.json_schema_in_words && envelope.needs.has(Capability::JsonSchema)
    }

    /// Where one request goes and with which headers; the client's own stand for the dialect's.
    pub(super) fn line(
        &self,
        model: &str,
        stream: bool,
        forwarded: &[(HeaderName, HeaderValue)],
    ) -> Result<Line, Failure> {
        let to = match &self.address.fixed {
            Some((whole, streamed)) => if stream { streamed } else { whole }.clone(),
            None => self.address.url(self.egress, model, stream).map_err(|e| Failure::new(FailureKind::Connect, e))?,
        };
        let mut headers = self.address.headers.clone();
        headers.extend(forwarded.iter().map(|(name, value)| (Some(name.clone()), value.clone())));
        let accept = if stream { self.egress.accept() } else { "application/json" };
        headers.insert(http::header::ACCEPT, HeaderValue::from_static(accept));
        Ok(Line { method: Method::POST, to, headers })
    }

    /// The line to another path of the same place.
    pub(super) fn line_to(&self, path: &str, forwarded: &[(HeaderName, HeaderValue)]) -> Result<Line, Failure> {
        let to = self.address.joined(path).map_err(|e| Failure::new(FailureKind::Connect, e))?;
        let mut headers = self.address.headers.clone();
        headers.extend(forwarded.iter().map(|(name, value)| (Some(name.clone()), value.clone())));
        Ok(Line { method: Method::POST, to, headers })
    }

    /// The connections with this connect timeout.
    pub(super) fn pool(&self, connect: Duration) -> Option<&Pool> {
        self.pools
            .iter()
            .find(|(timeout, _)| *timeout == connect)
            .or_else(|| self.pools.first())
            .map(|(_, pool)| &**pool)
    }
}

/// The ways to a hosted target, its main dialect first; none for the embedded runtime and for targets without
/// credentials.
fn wires_of(catalogue: &Catalogue, target: &Target, connects: &[Duration], known: &Pools) -> Result<Vec<Wire>, String> {
    let endpoint = catalogue.endpoint(target);
    let main = (target.dialect, endpoint.base_url.as_ref(), endpoint.path.as_ref());
    let others = endpoint
        .also
        .iter()
        .map(|also| (also.dialect, also.base_url.as_ref().or(endpoint.base_url.as_ref()), also.path.as_ref()));
    let mut wires = Vec::new();
    for (dialect, base, path) in [main].into_iter().chain(others) {
        let Some(egress) = dialect::egress(dialect).filter(|_| target.configured || target.reachable) else { continue };
        let mut address = Address {
            base: base.map_or("", String::as_str).trim_end_matches('/').to_owned(),
            path: path.cloned(),
            query: endpoint.query.clone(),
            headers: headers(egress, endpoint)?,
            fixed: None,
        };
        // Every address is tried now, so that a bad one is a problem of the file and not of a request.
        let model = &target.upstream_model;
        let urls = (address.url(egress, model, false)?, address.url(egress, model, true)?);
        address.fixed = (&**model != "*").then_some(urls);
        let pools = connects.iter().map(|connect| Ok((*connect, credentials::pool(endpoint, *connect, known)?)));
        let pools = pools.collect::<Result<_, String>>()?;
        let (quirks, limits) = (Arc::clone(&endpoint.quirks), Arc::clone(&endpoint.limits));
        wires.push(Wire { dialect, egress, address, pools, quirks, limits });
    }
    Ok(wires)
}

fn headers(egress: &dyn Egress, endpoint: &Endpoint) -> Result<HeaderMap, String> {
    let own = egress.headers().iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let agent = concat!("stellwerk/", env!("CARGO_PKG_VERSION"));
    headers.insert(http::header::USER_AGENT, HeaderValue::from_static(agent));
    for (name, value) in own.chain(endpoint.headers.iter().cloned()) {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no header"))?;
        let value = HeaderValue::from_str(&value).map_err(|_| format!("the value of header `{name}` can't be sent"))?;
        headers.insert(header, value);
    }
    Ok(headers)
}

impl Address {
    fn url(&self, egress: &dyn Egress, model: &str, stream: bool) -> Result<Uri, String> {
        let path = match &self.path {
            Some(path) => Cow::Owned(path.replace("{model}", model)),
            None => egress.path(model, stream),
        };
        self.joined(&path)
    }

    fn joined(&self, path: &str) -> Result<Uri, String> {
        let url = format!("{}{path}", self.base);
        let mut url = reqwest::Url::parse(&url).map_err(|error| format!("`{url}` is not a URL: {error}"))?;
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        upstream::address(&url)
    }
}

/// The overlay's files and the catalogue, as far as they can be read, and everything that is wrong with them.
fn catalogue(config: &Config) -> (Vec<SourceFile>, Catalogue, Vec<Problem>) {
    let (overlay, mut problems) = match config.providers_dir.as_deref().map_or_else(|| Ok(Vec::new()), files::tables) {
        Ok(overlay) => (overlay, Vec::new()),
        Err(problems) => (Vec::new(), problems),
    };
    let served: Vec<&str> = config.local.iter().map(|model| model.name.as_str()).collect();
    let around = Surroundings { env: &|name| std::env::var(name).ok(), served: &served };
    let (mut catalogue, more) = Catalogue::examine(&overlay, &around);
    catalogue.root_key_files(&config.base);
    problems.extend(more);
    (overlay, catalogue, problems)
}

fn stem_of(file: &str) -> Option<&str> {
    Path::new(file).file_stem()?.to_str()
}

/// Whether a problem is about targets of that provider.
fn names(problem: &Problem, provider: &str) -> bool {
    problem.message.contains(&format!("{provider}/"))
}

fn unknown_local(catalogue: &Catalogue, name: &str) -> Problem {
    let known: Vec<&str> = catalogue.targets().iter().filter(|t| t.dialect.is_native()).map(|t| &*t.model).collect();
    let near = known.iter().min_by_key(|known| strsim::damerau_levenshtein(name, known));
    let message = format!("the local model `{name}` is not in providers/local.toml ({})", known.join(", "));
    Problem::new("local.model", message).hint(near.map(|near| format!("did you mean `{near}`? or overlay the file")))
}

fn digest<'a>(files: impl Iterator<Item = &'a SourceFile>, config: &str) -> Arc<str> {
    let mut digest = Sha256::new();
    for text in files.map(|file| file.text.as_str()).chain([config]) {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    digest.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect::<String>().into()
}
