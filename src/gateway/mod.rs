//! The gateway: the steps of a request, in order.
//!
//! accept → authenticate → parse the envelope → admit → plan → dispatch → translate → meter → settle → respond.

mod batch;
mod body;
mod call;
mod charge;
mod compare;
mod cost;
mod credentials;
mod detached;
mod dispatch;
mod errand;
pub mod files;
mod hedge;
mod homes;
mod keys;
mod locals;
mod origin;
mod pass;
mod pools;
mod pump;
mod relay;
mod results;
mod retries;
mod retry;
mod settle;
mod shadow;
mod shown;
mod snapshot;
mod tenants;
mod told;
mod trail;
mod turns;
mod views;

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission::Principal;
use crate::cache::{Items, Key, Lead, Lookup, ResponseCache, Scope};
use crate::dialect::{self, Ingress, Located};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::{DialectId, RequestId, TargetId};
use crate::domain::plan::Operation;
use crate::domain::receipt::{Beginning, Caller, Receipt};
use crate::domain::target::UnixMillis;
use crate::health::Registry;
use crate::ledger::Ledger;
use crate::ledger::stored::StoredNames;
use crate::policy::{self, Ask, Decision, Dice};
use crate::telemetry::Metrics;

use call::Call;
use detached::Detached;
use dispatch::{Answer, Dispatch, Dispatched};
use settle::{Settled, Settlement};
use trail::Seen;

pub use body::Body;
pub use errand::Asking;
pub use keys::Load;
pub use locals::LocalModels;
pub use origin::asker;
pub use relay::Relay;
pub use snapshot::{Compiled, Snapshot};
pub use tenants::{Owned, Tenants};

/// What outlives snapshots.
pub struct Shared {
    /// Where receipts go.
    pub ledger: Ledger,
    /// Counters.
    pub metrics: Metrics,
    /// Measurements by target name.
    pub health: Registry,
    /// The exact response cache.
    pub cache: ResponseCache,
    /// Parts of answers that clients may name.
    pub items: Items,
    /// What providers have stored, and for whom.
    pub stored: StoredNames,
    /// Keys that tenants brought.
    pub tenants: Tenants,
    pub(crate) pools: pools::Pools,
    /// How many further attempts there may be.
    retries: retries::Retries,
    /// Where conversations were answered.
    homes: homes::Homes,
    /// Batches that are to be looked at.
    looks: results::Looks,
    /// Shadow runs at once.
    shadows: Arc<tokio::sync::Semaphore>,
    /// Answers that are read on after their client has gone.
    drains: Arc<tokio::sync::Semaphore>,
    /// The end of everything that outlives its client.
    ending: CancellationToken,
    dice: AtomicU64,
}

impl Shared {
    /// What outlives snapshots, fresh.
    #[must_use]
    pub fn new(ledger: Ledger, metrics: Metrics) -> Self {
        let seed = u64::try_from(now().0).unwrap_or(1) | 1;
        Self {
            ledger,
            metrics,
            health: Registry::default(),
            cache: ResponseCache::new(256 << 20),
            items: Items::new(64 << 20),
            stored: StoredNames::default(),
            tenants: Tenants::default(),
            pools: pools::Pools::default(),
            retries: retries::Retries::default(),
            homes: homes::Homes::default(),
            looks: results::Looks::default(),
            shadows: Arc::new(tokio::sync::Semaphore::new(shadow::AT_ONCE)),
            drains: Arc::new(tokio::sync::Semaphore::new(64)),
            ending: CancellationToken::new(),
            dice: AtomicU64::new(seed),
        }
    }

    /// The moment.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        now()
    }

    /// Ends what outlives its client and waits until every request is settled, at most so long: a row that comes after
    /// the ledger's end would be lost.
    pub async fn settle_all(&self, within: Duration) {
        self.ending.cancel();
        let settled = async {
            while self.metrics.in_flight.get() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(within, settled).await.is_err() {
            tracing::error!(requests = self.metrics.in_flight.get(), "requests could not be settled");
        }
    }

    fn after(&self, rest: Duration) -> UnixMillis {
        UnixMillis(now().0.saturating_add(i64::try_from(rest.as_millis()).unwrap_or(i64::MAX)))
    }

    /// A throw of the dice (splitmix64): for spreading load, not for secrets.
    fn dice(&self) -> u64 {
        let mut z = self.dice.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// The moment.
#[must_use]
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The gateway.
pub struct Gateway {
    shared: Arc<Shared>,
    snapshot: ArcSwap<Snapshot>,
}

/// A request as it comes from the data plane: authenticated, its body read.
pub struct Incoming {
    /// Its id.
    pub request: RequestId,
    /// When its head had been read.
    pub accepted: Instant,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// Whether nobody else does: there is one tenant only.
    pub alone: bool,
    /// What the client speaks.
    pub dialect: DialectId,
    /// What is asked.
    pub operation: Operation,
    /// Below the version: the path at a provider of the same dialect.
    pub path: &'static str,
    /// What the request line says of the request.
    pub located: Located,
    /// Headers of the client's dialect, for a provider of the same.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body's media type.
    pub content_type: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
    /// `x-stellwerk-require`.
    pub require: Option<String>,
    /// `x-stellwerk-session`, or the header of the client's dialect for it: which conversation the request belongs to, in
    /// the client's words.
    pub session: Option<String>,
    /// How long the client will wait.
    pub patience: Option<Duration>,
    /// `x-stellwerk-usage: cost`: the cost is wanted in the usage report of a stream.
    pub show_cost: bool,
    /// `x-stellwerk-dry-run: true`: only the plan is wanted.
    pub dry_run: bool,
}

impl Gateway {
    /// A gateway with its first snapshot.
    #[must_use]
    pub fn new(shared: Arc<Shared>, snapshot: Arc<Snapshot>) -> Self {
        Self { shared, snapshot: ArcSwap::new(snapshot) }
    }

    /// The snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Puts a snapshot in force. Requests in progress keep theirs.
    pub fn swap(&self, snapshot: Arc<Snapshot>) {
        self.shared.metrics.generation.set(i64::try_from(snapshot.generation).unwrap_or(i64::MAX));
        self.snapshot.store(snapshot);
    }

    /// What outlives snapshots.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Answers a request.
    ///
    /// # Errors
    /// Why not, to be rendered in the caller's dialect.
    pub async fn work(&self, mut incoming: Incoming) -> Result<Response<Body>, Error> {
        if let Some(model) = incoming.located.unnamed.take() {
            incoming.body = call::named(incoming.body, &model);
        }
        match incoming.operation {
            Operation::Chat | Operation::Completions => self.chat(incoming).await,
            // Boxed, since every conversation would carry its size.
            _ => Box::pin(self.pass(incoming)).await,
        }
    }

    async fn chat(&self, incoming: Incoming) -> Result<Response<Body>, Error> {
        let snapshot = self.snapshot.load_full();
        let accepted = incoming.accepted;
        let dry_run = incoming.dry_run;
        let mut call = parse(incoming, &self.shared.items)?;
        call.own = self.shared.tenants.of(&call.principal.tenant);
        let permit = self.shared.ledger.reserve().await.map_err(|_| overloaded())?;
        if dry_run {
            return self.rehearse(&call, &snapshot);
        }
        let receipt = receipt(&call, &snapshot, self.shared.now());
        let mut settlement =
            Settlement::new(Arc::clone(&self.shared), Arc::clone(&snapshot), permit, receipt, accepted);
        let (call, decided) = self.decide(call, &snapshot, &mut settlement);
        let decision = match decided {
            Ok(decision) => decision,
            Err(error) => {
                settlement.failed(&error);
                return Err(error);
            }
        };
        settlement.overhead(accepted.elapsed());
        let (settlement, lead) = match self.cached(&call, &snapshot, &decision, settlement).await {
            Found::Answer(response) => return Ok(response),
            Found::Miss(settlement, lead) => (settlement, lead),
        };
        self.dispatch(call, snapshot, decision, settlement, lead, accepted).await
    }

    /// Decides, and tells the settlement: a refusal has a route as well.
    fn decide(
        &self,
        call: Call,
        snapshot: &Snapshot,
        settlement: &mut Settlement,
    ) -> (Call, Result<Arc<Decision>, Error>) {
        let mut seen = Seen::default();
        let planned = self.plan(&call, snapshot, &mut seen).map(Arc::new);
        if let Ok(decision) = &planned {
            settlement.decided(decision, call.envelope.choices, trail::of(&call, snapshot, decision, seen));
        }
        let decided = planned.and_then(|decision| match decision.refusal.clone() {
            Some(error) => Err(call.in_its_words(error)),
            None => Ok(decision),
        });
        match &decided {
            Ok(_) => self.shared.retries.earn(),
            Err(error) => self.shared.metrics.refused(error.code_str()),
        }
        (call, decided)
    }

    /// Plans. `seen` gets what the planner asked about.
    fn plan(&self, call: &Call, snapshot: &Snapshot, seen: &mut Seen) -> Result<Decision, Error> {
        let now = self.shared.now();
        let market = &*snapshot.catalogue;
        // Some providers are told the model in the path, where these would lead elsewhere.
        if call.envelope.model.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(Error::new(ErrorKind::UnknownModel, "no model has a name with such parts").param("model"));
        }
        let own = origin::requirement(&call.principal, market)?;
        let header = origin::required(call.require.as_deref(), market)?;
        let inexpressible = |to: DialectId| match call.operation {
            _ if to == call.dialect => Vec::new(),
            Operation::Chat | Operation::Completions => dialect::inexpressible(&call.envelope, call.dialect, to),
            // Counting is done here where nobody else can.
            Operation::CountTokens => Vec::new(),
            Operation::Embeddings => call.vectors_missing(to).0,
            // The others are not translated.
            _ => call.passing_missing(to),
        };
        let user = origin::user(call);
        seen.user = user.as_deref().filter(|user| !user.is_empty()).map(ToOwned::to_owned);
        let seen = RefCell::new(seen);
        let session = || {
            let session = origin::session(call);
            seen.borrow_mut().session = session;
            session
        };
        let home = || {
            let home = self.home(call, session()?, snapshot, now);
            seen.borrow_mut().home = home;
            home
        };
        let inexpressible = |to| {
            let names = inexpressible(to);
            seen.borrow_mut().inexpressible.push((to, names.first().cloned()));
            names
        };
        let ask = Ask {
            model: &call.envelope.model,
            operation: call.operation,
            dialect: call.dialect,
            input_tokens: call.input_estimate(),
            max_output: call.envelope.max_output,
            choices: call.envelope.choices,
            stream: call.envelope.stream,
            service: call.service(),
            needs: call.envelope.needs,
            inexpressible: &inexpressible,
            user: user.as_deref(),
            session: &session,
            home: &home,
            principal: asker(&call.principal, &own),
            require: &header,
            expect: &|route, target| snapshot.expectation(route, target),
            at: now,
        };
        let policy = snapshot.policy(&call.principal)?;
        let signals = |id| {
            let signal = snapshot.signal(id, Load::of_call(call), now);
            seen.borrow_mut().signals.push((id, signal));
            signal
        };
        let decision = policy::plan(policy, market, &ask, &signals, Dice(self.shared.dice()));
        if decision.refusal.as_ref().is_some_and(|error| error.kind == ErrorKind::PolicyFailed) {
            self.shared.metrics.policy_error(&decision.policy, &decision.route);
        }
        Ok(decision)
    }

    /// The target that answered the call's conversation last.
    fn home(&self, call: &Call, session: u64, snapshot: &Snapshot, now: UnixMillis) -> Option<TargetId> {
        let name = self.shared.homes.find(&call.principal.tenant, session, now)?;
        snapshot.catalogue.exactly(&name).map(|target| target.id)
    }

    async fn cached(&self, call: &Call, snapshot: &Snapshot, decision: &Decision, settlement: Settlement) -> Found {
        // What it cost is part of such an answer, and another time it costs nothing.
        let Some(ttl) = decision.cache.filter(|_| call.envelope.cacheable && !call.show_cost) else {
            return Found::Miss(settlement, None);
        };
        let (requirements, beside) = (format!("{:?}", decision.requirement), call.beside());
        let scope = Scope {
            tenant: &call.principal.tenant,
            generation: &snapshot.hash,
            requirements: &requirements,
            policy: &decision.policy,
            route: &decision.route,
            dialect: call.dialect.name(),
            beside: &beside,
        };
        match self.shared.cache.lookup(Key::new(scope, &call.body)).await {
            Lookup::Lead(lead) => {
                self.shared.metrics.cache(scope.route, "miss", None);
                Found::Miss(settlement, Some((lead, ttl)))
            }
            Lookup::Alone => {
                self.shared.metrics.cache(scope.route, "miss", None);
                Found::Miss(settlement, None)
            }
            Lookup::Hit(entry) => {
                self.shared.metrics.cache(scope.route, "hit", entry.cost);
                let mut response = Response::new(Body::whole(entry.body.clone()));
                let target = Some(Arc::clone(&entry.target));
                let settled = Settled { cost: Some(Default::default()), target, ..Settled::default() };
                head(&mut response, entry.content_type, decision, &settled, &entry.dropped);
                insert(&mut response, "x-stellwerk-cache", "hit");
                settlement.cached(entry.cost);
                Found::Answer(response)
            }
        }
    }

    async fn dispatch(
        &self,
        call: Call,
        snapshot: Arc<Snapshot>,
        decision: Arc<Decision>,
        settlement: Settlement,
        lead: Option<(Lead, Duration)>,
        accepted: Instant,
    ) -> Result<Response<Body>, Error> {
        let timeouts = decision.timeouts;
        let deadline = accepted + timeouts.total;
        let awaited = call.awaited(accepted, deadline);
        let (decoded, unsigned) = (OnceLock::new(), OnceLock::new());
        let shared = Arc::clone(&self.shared);
        let dispatch = Dispatch { shared, snapshot, call, decision, timeouts, deadline, awaited, decoded, unsigned };
        let held = settlement.held();
        Detached::new(answer(dispatch, settlement, lead), held).await
    }
}

/// Makes the attempts and the response.
async fn answer(
    dispatch: Dispatch,
    mut settlement: Settlement,
    lead: Option<(Lead, Duration)>,
) -> Result<Response<Body>, Error> {
    let outcome = dispatch.run(&mut settlement).await;
    let shadow = shadow::Shadow::of(&dispatch);
    let Dispatch { shared, call, decision, timeouts, deadline, .. } = dispatch;
    let Dispatched { answer, target, dropped } = match outcome {
        Ok(dispatched) => dispatched,
        Err(error) => {
            settlement.failed(&error);
            return Err(error);
        }
    };
    if let Some((stay, session)) = decision.affinity.and_then(|stay| Some((stay, origin::session(&call)?))) {
        shared.homes.keep(&call.principal.tenant, session, Arc::clone(&target), shared.after(stay));
    }
    let limits = settlement.take_limits();
    let mut response = match answer {
        Answer::Whole { body, observed } => {
            let settled = settlement.completed(&observed);
            if let Some(shadow) = shadow {
                shadow.start(&target, Some(body.clone()));
            }
            let mut response = Response::new(Body::whole(body.clone()));
            head(&mut response, JSON, &decision, &settled, &dropped);
            if let Some((lead, ttl)) = lead {
                relay::Recorder::whole(lead, ttl, JSON, dropped, &body).keep(&settled);
            }
            response
        }
        Answer::Stream { pump, pending, note } => {
            if let Some(shadow) = shadow {
                shadow.start(&target, None);
            }
            let stream_type = call.ingress.stream_type(&call.envelope);
            let recorder = lead.map(|(lead, ttl)| relay::Recorder::stream(lead, ttl, stream_type, dropped.clone()));
            let settled = Settled { target: Some(target), ..Settled::default() };
            let relay = Relay::new(*pump, pending, note, settlement, recorder, timeouts, deadline);
            let mut response = Response::new(Body::Stream(Box::new(relay)));
            head(&mut response, stream_type, &decision, &settled, &dropped);
            // nginx and its like would buffer the stream otherwise.
            insert(&mut response, "x-accel-buffering", "no");
            response
        }
    };
    response.headers_mut().extend(limits);
    Ok(response)
}

const JSON: &str = "application/json";

#[expect(clippy::large_enum_variant, reason = "made and taken apart once, on the spot")]
enum Found {
    Answer(Response<Body>),
    Miss(Settlement, Option<(Lead, Duration)>),
}

fn parse(mut incoming: Incoming, items: &Items) -> Result<Call, Error> {
    let (mut dialect, mut ingress) = (incoming.dialect, ingress(incoming.dialect)?);
    let filled = ingress.fill(&incoming.body, &|id| items.find(&incoming.principal.tenant, id));
    incoming.body = filled.unwrap_or(incoming.body);
    let envelope = match (ingress.envelope(&incoming.body, &incoming.located), dialect::crossed(dialect)) {
        (Err(error), Some(other)) if error.code == Some("wrong_api") => {
            (dialect, ingress) = other;
            ingress.envelope(&incoming.body, &incoming.located)?
        }
        (envelope, _) => envelope?,
    };
    Ok(Call {
        request: incoming.request,
        dialect,
        operation: incoming.operation,
        path: incoming.path,
        headers: incoming.headers,
        ingress,
        principal: incoming.principal,
        alone: incoming.alone,
        body: incoming.body,
        model_asked: envelope.model.as_str().into(),
        envelope: Arc::new(envelope),
        require: incoming.require,
        session: incoming.session,
        patience: incoming.patience,
        show_cost: incoming.show_cost,
        vectors: OnceLock::new(),
        own: None,
    })
}

fn ingress(dialect: DialectId) -> Result<&'static dyn Ingress, Error> {
    dialect::ingress(dialect).ok_or_else(|| Error::new(ErrorKind::Internal, "no such client dialect"))
}

fn overloaded() -> Error {
    let error = Error::new(ErrorKind::Overloaded, "the gateway has as many requests as it may; try again soon");
    error.retry_after(Some(Duration::from_secs(1)))
}

fn receipt(call: &Call, snapshot: &Snapshot, now: UnixMillis) -> Receipt {
    let beginning = Beginning {
        request: call.request,
        started: now,
        caller: caller(&call.principal),
        policy: origin::policy_of(&call.principal),
        generation: snapshot.generation,
        dialect: call.dialect,
        model_asked: Arc::clone(&call.model_asked),
    };
    Receipt { stream: call.envelope.stream, input_estimate: call.input_estimate(), ..Receipt::of(beginning) }
}

/// Who asks, for the ledger.
fn caller(principal: &Principal) -> Caller {
    Caller {
        tenant: Arc::clone(&principal.tenant),
        team: Arc::clone(&principal.team),
        key_id: Arc::clone(&principal.key_id),
        tags: Arc::clone(&principal.tags),
    }
}

/// The headers of design section 8.
fn head(
    response: &mut Response<Body>,
    content_type: &'static str,
    decision: &Decision,
    settled: &Settled,
    dropped: &[String],
) {
    response.headers_mut().reserve(8);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    insert(response, "x-stellwerk-route", &decision.route);
    if let Some(target) = &settled.target {
        insert(response, "x-stellwerk-target", target);
    }
    if let Some(cost) = settled.cost {
        insert(response, "x-stellwerk-cost", &format!("{cost} USD"));
    }
    if let Some(baseline) = settled.baseline {
        insert(response, "x-stellwerk-baseline-cost", &format!("{baseline} USD"));
    }
    if settled.estimated {
        insert(response, "x-stellwerk-usage", "estimated");
    }
    if !dropped.is_empty() {
        insert(response, "x-stellwerk-dropped-params", &told::listed(dropped));
    }
}

fn insert(response: &mut Response<Body>, name: &'static str, value: &str) {
    // A name with a control character can't be a header; it is left out rather than failing the answer.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}
