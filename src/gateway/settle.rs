//! Settlement: the one place where every request ends, once, whatever happened.
//!
//! A settlement is made when a request has been admitted; it owns the ledger permit, so the row can't be lost. It is
//! consumed by the end of the request; if it is dropped instead (the client went away, a handler panicked), the drop
//! settles what is known.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::charge;
use super::cost::Pricer;
use super::detached::Held;
use super::shown::Shown;
use super::snapshot::Snapshot;
use crate::catalogue::Target;
use crate::dialect::Observed;
use crate::domain::error::{Error, Failure, FailureKind, Scope};
use crate::domain::id::TargetId;
use crate::domain::money::Money;
use crate::domain::price::ServiceTier;
use crate::domain::receipt::{AttemptRecord, CacheRecord, ChargeRecord, Home, Outcome, Receipt, StoredKey};
use crate::domain::target::{Capability, UnixMillis};
use crate::domain::usage::{Basis, Bucket, Usage};
use crate::forecast::Sample;
use crate::health::InFlight;
use crate::ledger::stored::StoredNames;
use crate::ledger::{LedgerPermit, Trail};
use crate::policy::{Baseline, Candidate, Decision};
use crate::pricing::When;
use crate::upstream::Lease;

/// What a request cost, for headers and the cache.
#[derive(Clone, Debug, Default)]
pub(super) struct Settled {
    /// The request's cost, unless some of it is unknown.
    pub cost: Option<Money>,
    /// What the baseline would have cost.
    pub baseline: Option<Money>,
    /// The target that answered.
    pub target: Option<Arc<str>>,
    /// Whether its usage is our estimate.
    pub estimated: bool,
}

/// A request on its way to its end.
pub(super) struct Settlement {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    permit: Option<LedgerPermit>,
    receipt: Box<Receipt>,
    began: Instant,
    baseline: Option<Baseline>,
    /// Why it goes where it goes.
    trail: Option<Box<Trail>>,
    decision: Option<Arc<Decision>>,
    attempt: Option<Attempt>,
    held: Held,
    /// The attempt's failure says nothing of its target.
    spared: bool,
    /// The whole answer came, whoever has gone.
    whole: bool,
    /// Attempts that were made beside this settlement's own, for the receipt.
    beside: Arc<Mutex<Vec<AttemptRecord>>>,
    /// Answers that were asked for.
    choices: u32,
    /// The tier of service that was asked for.
    service: ServiceTier,
}

/// The attempt in flight.
struct Attempt {
    target: TargetId,
    started: UnixMillis,
    began: Instant,
    first: Option<Instant>,
    status: Option<u16>,
    dropped: Vec<String>,
    /// What the local runtime has counted so far.
    counted: Option<Usage>,
    /// What the provider says of its limits, in the client's headers.
    limits: Vec<(HeaderName, HeaderValue)>,
    /// None: it was made elsewhere and in its own time, and says nothing of speed or health.
    in_flight: Option<InFlight>,
    /// By a key of the tenant's own.
    own_key: bool,
    /// The key's label.
    key: Option<Arc<str>>,
}

impl Attempt {
    fn new(target: TargetId, started: UnixMillis, own_key: bool) -> Self {
        Self {
            target,
            started,
            began: Instant::now(),
            first: None,
            status: None,
            dropped: Vec::new(),
            counted: None,
            limits: Vec::new(),
            in_flight: None,
            own_key,
            key: None,
        }
    }
}

impl Settlement {
    pub(super) fn new(
        shared: Arc<Shared>,
        snapshot: Arc<Snapshot>,
        permit: LedgerPermit,
        receipt: Receipt,
        began: Instant,
    ) -> Self {
        shared.metrics.in_flight.inc();
        let (permits, ending) = (Arc::clone(&shared.drains), shared.ending.clone());
        Self {
            spared: false,
            whole: false,
            beside: Arc::default(),
            choices: 1,
            service: ServiceTier::Standard,
            held: Held { bills_on: Arc::default(), abandoned: Arc::default(), permits, ending },
            shared,
            snapshot,
            permit: Some(permit),
            receipt: Box::new(receipt),
            began,
            baseline: None,
            trail: None,
            decision: None,
            attempt: None,
        }
    }

    /// The policy decided.
    pub(super) fn decided(&mut self, decision: &Arc<Decision>, choices: u32, trail: Option<Box<Trail>>) {
        self.choices = choices;
        self.service = decision.service;
        self.decision = Some(Arc::clone(decision));
        self.receipt.route = Some(Arc::clone(&decision.route));
        self.baseline.clone_from(&decision.baseline);
        self.trail = trail;
    }

    /// For a second attempt of the same request at the same time. It holds no place in the ledger: its attempts join this
    /// one's, also when it is dropped.
    pub(super) fn twin(&self) -> Self {
        let mut receipt = self.receipt.clone();
        receipt.attempts = Vec::new();
        Self {
            shared: Arc::clone(&self.shared),
            snapshot: Arc::clone(&self.snapshot),
            permit: None,
            receipt,
            began: self.began,
            baseline: self.baseline.clone(),
            trail: None,
            decision: self.decision.clone(),
            attempt: None,
            held: Held { bills_on: Arc::default(), ..self.held.clone() },
            spared: false,
            whole: false,
            choices: self.choices,
            service: self.service,
            beside: Arc::clone(&self.beside),
        }
    }

    /// The attempt in flight has lost against the one beside it.
    pub(super) fn beaten(&mut self) {
        self.close(Outcome::Hedged, &Observed::default(), None);
    }

    /// The twin's attempt takes the place of this one's, which is closed.
    pub(super) fn goes_on_as(&mut self, mut twin: Self) {
        self.attempt = twin.attempt.take();
        self.held.bills_on.store(twin.held.bills_on.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Our own work before the first dispatch is over.
    pub(super) fn overhead(&mut self, took: Duration) {
        self.receipt.overhead_us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.shared.metrics.overhead.observe(took.as_secs_f64());
    }

    /// An attempt begins.
    pub(super) fn attempt(&mut self, target: TargetId, dropped: Vec<String>, own_key: bool) {
        let started = self.shared.now();
        let in_flight = self.snapshot.health(target).enter(started);
        let facts = self.snapshot.catalogue.target(target);
        self.held.bills_on.store(!facts.cancel_stops_billing && !facts.dialect.is_native(), Ordering::Relaxed);
        let begun = Attempt::new(target, started, own_key);
        self.attempt = Some(Attempt { dropped, in_flight: Some(in_flight), ..begun });
    }

    /// A question begins, about something that lies at a target since `started`: it says nothing of the target's speed or
    /// health.
    pub(super) fn errand(&mut self, target: TargetId, started: UnixMillis, own_key: bool) {
        self.held.bills_on.store(false, Ordering::Relaxed);
        self.attempt = Some(Attempt::new(target, started, own_key));
    }

    /// The provider's key of the attempt in flight.
    pub(super) fn leased(&mut self, lease: &Lease) {
        if let Some(attempt) = &mut self.attempt {
            attempt.key = lease.key().map(|key| Arc::clone(key.label()));
        }
    }

    /// The local runtime has counted so much of a whole answer that is being made.
    pub(super) fn counted(&mut self, usage: Usage) {
        if let Some(attempt) = &mut self.attempt {
            attempt.counted = Some(usage);
        }
    }

    /// A pricer of the attempt in flight.
    pub(super) fn pricer(&self) -> Option<Pricer> {
        let attempt = self.attempt.as_ref()?;
        let service = self.snapshot.catalogue.target(attempt.target).served(self.service, self.receipt.dialect);
        let when = When { start: attempt.started, end: self.shared.now(), service };
        let (snapshot, baseline) = (Arc::clone(&self.snapshot), self.baseline.clone());
        Some(Pricer::new(snapshot, attempt.target, baseline, when))
    }

    /// What decides whether the request outlives its client.
    pub(super) fn held(&self) -> Held {
        self.held.clone()
    }

    /// The head of the answer arrived.
    pub(super) fn head(&mut self, status: u16) {
        if let Some(attempt) = &mut self.attempt {
            attempt.status = Some(status);
        }
    }

    /// It tells of the provider's limits.
    pub(super) fn limits(&mut self, told: Vec<(HeaderName, HeaderValue)>) {
        if let Some(attempt) = &mut self.attempt {
            attempt.limits = told;
        }
    }

    /// What the answer that goes to the client tells of limits.
    pub(super) fn take_limits(&mut self) -> Vec<(HeaderName, HeaderValue)> {
        self.attempt.as_mut().map(|attempt| std::mem::take(&mut attempt.limits)).unwrap_or_default()
    }

    /// What was planned of a target.
    fn planned(&self, target: TargetId) -> Option<&Candidate> {
        let decision = self.decision.as_ref()?;
        decision.admitted.iter().chain(&decision.reserve).find(|candidate| candidate.target == target)
    }

    /// The first token arrived.
    pub(super) fn first_token(&mut self) {
        let look = self.attempt.as_ref().and_then(|attempt| self.planned(attempt.target)).filter(|c| c.look);
        let look = look.and_then(|_| self.decision.as_ref()?.requirement.ttft_p95_ms);
        if let Some(attempt) = &mut self.attempt
            && attempt.first.is_none()
        {
            let first = Instant::now();
            attempt.first = Some(first);
            let sample = Sample {
                ttft: Some(first.duration_since(attempt.began)),
                per_token: None,
                input_tokens: self.receipt.input_estimate,
                in_flight: attempt.in_flight.as_ref().map(InFlight::before),
                took: None,
                look: look.map(|ms| Duration::from_millis(ms.into())),
            };
            self.snapshot.health(attempt.target).answers(self.shared.now(), sample);
        }
    }

    /// How many attempts have been made, the current one included.
    pub(super) fn attempts(&self) -> usize {
        self.receipt.attempts.len() + usize::from(self.attempt.is_some())
    }

    /// The end of the process.
    pub(super) fn ending(&self) -> CancellationToken {
        self.shared.ending.clone()
    }

    /// The right to read on after the client has gone: where the provider bills on when we hang up, and if not too many
    /// are reading on already.
    pub(super) fn drain_permit(&self) -> Option<OwnedSemaphorePermit> {
        let bills_on =
            self.attempt.as_ref().is_some_and(|a| !self.snapshot.catalogue.target(a.target).cancel_stops_billing);
        bills_on.then(|| Arc::clone(&self.shared.drains).try_acquire_owned().ok()).flatten()
    }

    /// The current attempt failed before anything went to the client; another may follow. `other_key`: it was about one
    /// key and says nothing of the target.
    pub(super) fn attempt_failed(&mut self, failure: &Failure, observed: &Observed, other_key: bool) {
        if let Some(attempt) = &mut self.attempt
            && attempt.status.is_none()
        {
            attempt.status = failure.status;
        }
        self.spared = other_key;
        self.close(Outcome::Failed(failure.kind), observed, Some(failure));
        self.spared = false;
    }

    /// What the client was told of the end of its stream.
    pub(super) fn told(&mut self, error: &Error) {
        self.receipt.error = Some(error.code_str());
    }

    /// A stream ended, well or not.
    pub(super) fn streamed(mut self, outcome: Outcome, observed: &Observed, failure: Option<Failure>) -> Settled {
        if matches!(outcome, Outcome::Truncated(_)) {
            self.receipt.error.get_or_insert("upstream_error");
        }
        self.receipt.status = if outcome == Outcome::Cancelled { 499 } else { 200 };
        self.close(outcome, observed, failure.as_ref());
        self.finish()
    }

    /// What holds for all answers of a batch.
    pub(super) fn accounted(&mut self, baseline: Option<Baseline>) {
        self.service = ServiceTier::Batch;
        self.baseline = baseline;
    }

    /// A whole answer arrived.
    pub(super) fn completed(mut self, observed: &Observed) -> Settled {
        // Finished for the sake of its usage alone.
        let abandoned = self.held.abandoned.load(Ordering::Relaxed);
        self.receipt.status = if abandoned { 499 } else { 200 };
        self.whole = true;
        self.close(if abandoned { Outcome::Cancelled } else { Outcome::Completed }, observed, None);
        self.finish()
    }

    /// An answer came from the cache: no attempt, no cost; the saving stands apart.
    pub(super) fn cached(mut self, saved: Option<Money>) {
        self.receipt.status = 200;
        self.receipt.cache = CacheRecord::Hit { saved };
        self.finish();
    }

    /// The gateway itself knew the answer: no attempt, no cost.
    pub(super) fn answered_here(mut self) {
        self.receipt.status = 200;
        self.finish();
    }

    /// The request is refused or failed.
    pub(super) fn failed(mut self, error: &Error) {
        self.receipt.status = error.status();
        self.receipt.error = Some(error.code_str());
        self.finish();
    }

    /// Ends the current attempt: prices it, records it, tells health and metrics.
    fn close(&mut self, outcome: Outcome, observed: &Observed, failure: Option<&Failure>) {
        let Some(attempt) = self.attempt.take() else { return };
        let snapshot = Arc::clone(&self.snapshot);
        let target = snapshot.catalogue.target(attempt.target);
        let ended = self.shared.now();
        self.remember(target, &attempt, observed);
        let took = attempt.began.elapsed();
        let ttft = attempt.first.map(|first| first.duration_since(attempt.began));
        let (usage, basis) = match attempt.counted.filter(|_| observed.usage.is_none()) {
            Some(counted) => (counted, Basis::Counted),
            None => self.usage(outcome, observed, attempt.status),
        };
        let charge = if observed.unreported {
            ChargeRecord::Unpriced { reason: "usage_not_reported" }
        } else {
            // What the provider says it did counts, not what was asked of it.
            let service = observed.service.unwrap_or_else(|| target.served(self.service, self.receipt.dialect));
            charge::charge(&self.snapshot, target, &usage, When { start: attempt.started, end: ended, service })
        };
        let before = attempt.in_flight.as_ref().map(InFlight::before);
        // What an account of the tenant's may not do says nothing of the target for others.
        let apart = failure.is_some_and(|f| matches!(f.scope(), Scope::Limit) || f.kind == FailureKind::NoModel);
        self.spared |= attempt.own_key && apart;
        if let Some(before) = before {
            let (key, choices) = (attempt.key.clone(), self.choices);
            let shown = Shown { took, ttft, usage, basis, before, choices, key };
            self.judge(target, outcome, failure, ended, &shown);
        }
        let success = matches!(outcome, Outcome::Completed | Outcome::Cancelled | Outcome::Truncated(_));
        // A saving is claimed for what was delivered, not for what nobody received.
        let delivered = outcome != Outcome::Cancelled || (self.receipt.stream && observed.began);
        if success && delivered && !usage.is_zero() {
            let when = When { start: attempt.started, end: ended, service: ServiceTier::Standard };
            let baseline = self.baseline.as_ref();
            self.receipt.baseline = baseline.map(|b| charge::baseline(&self.snapshot, b, &usage, when));
        }
        let route = self.receipt.route.clone().unwrap_or_else(|| "direct".into());
        let handles = self.snapshot.target_metrics(&self.shared.metrics, &route, target);
        let cost = match &charge {
            ChargeRecord::Priced { usd, .. } => Some(*usd),
            ChargeRecord::Unpriced { reason } => {
                self.shared.metrics.unpriced(reason);
                None
            }
            ChargeRecord::Nothing => None,
        };
        handles.settled(&usage, cost, self.receipt.baseline.as_ref().and_then(|b| b.charge.usd()));
        if before.is_some() {
            handles.timed(ttft.map(|t| t.as_secs_f64()), took.as_secs_f64());
        }
        let label = match outcome {
            Outcome::Failed(kind) => kind.label(),
            other => other.label(),
        };
        self.shared.metrics.attempt(&target.name, label);
        self.receipt.attempts.push(AttemptRecord {
            no: u32::try_from(self.receipt.attempts.len() + 1).unwrap_or(u32::MAX),
            target: Arc::clone(&target.name),
            provider: Arc::clone(&target.provider),
            model: Arc::clone(&target.model),
            endpoint: Arc::clone(&target.endpoint),
            residency: target.residency.at(attempt.started),
            started: attempt.started,
            first_token_ms: ttft.map(millis),
            duration_ms: millis(took),
            outcome,
            usage,
            basis,
            charge,
            upstream_status: attempt.status,
            dropped_params: attempt.dropped,
            own_key: attempt.own_key,
        });
    }

    /// What the provider stored is the tenant's from now on.
    fn remember(&mut self, target: &Target, attempt: &Attempt, observed: &Observed) {
        if observed.stored.is_empty() {
            return;
        }
        let tenant = &self.receipt.caller.tenant;
        let keys: Vec<StoredKey> = observed.stored.iter().map(|name| StoredNames::key(tenant, name)).collect();
        let requires = self.decision.as_ref().map_or_else(String::new, |d| d.requirement.lasting().to_string());
        let (key, own_key) = (attempt.key.clone(), attempt.own_key);
        let home = Arc::new(Home { target: Arc::clone(&target.name), key, own_key, requires: requires.into() });
        self.shared.stored.keep(&keys, &home);
        self.receipt.stored = keys;
        self.receipt.stored_at = Some(home);
    }

    /// The provider's numbers, else an estimate from bytes; nothing when the upstream gave no answer at all.
    fn usage(&self, outcome: Outcome, observed: &Observed, status: Option<u16>) -> (Usage, Basis) {
        if let Some(usage) = observed.usage {
            // The local runtime counts its own tokens: exact, and so marked.
            let basis = if observed.counted { Basis::Counted } else { Basis::Provider };
            return (usage, basis);
        }
        if observed.unreported {
            return (Usage::ZERO, Basis::Estimated);
        }
        // A stream that broke may have reported its prompt, exactly, before its answer.
        if let Some(prompt) = observed.prompt {
            return (Usage::estimated(prompt, observed.output_bytes), Basis::Estimated);
        }
        let answered = observed.began || (status == Some(200) && !matches!(outcome, Outcome::Failed(_)));
        // The request was sent and its end is not known: the prompt at least may be billed.
        let uncertain = [FailureKind::Timeout, FailureKind::Truncated, FailureKind::Malformed];
        let asked = matches!(outcome, Outcome::Cancelled | Outcome::Hedged)
            || outcome.failure().is_some_and(|kind| uncertain.contains(&kind));
        if !answered && !asked {
            return (Usage::ZERO, Basis::Provider);
        }
        let prompt = Usage::ZERO.with(Bucket::Input, self.receipt.input_estimate);
        (Usage::estimated(prompt, observed.output_bytes), Basis::Estimated)
    }

    /// Tells health, and what expects the next request's speed and tokens.
    fn judge(&self, target: &Target, outcome: Outcome, failure: Option<&Failure>, now: UnixMillis, shown: &Shown) {
        let health = self.snapshot.health(target.id);
        // A name that a client mistyped says nothing of an endpoint that takes any name, and a limit of one model nothing
        // of the others: the key remembers it.
        let keyed = || self.snapshot.any_pool(target.id).is_some_and(|pool| pool.keys().next().is_some());
        let one_models = |f: &Failure| f.kind == FailureKind::NoModel || (matches!(f.scope(), Scope::Limit) && keyed());
        let one_models = &*target.upstream_model == "*" && failure.is_some_and(one_models);
        match (if self.whole { Outcome::Completed } else { outcome }, failure) {
            (Outcome::Completed, _) => {
                health.succeeded(now, shown.sample(target));
                // What we estimated ourselves teaches nothing.
                if let (Some(route), Basis::Provider | Basis::Counted) = (&self.receipt.route, shown.basis) {
                    health.used(route, &shown.usage, self.receipt.input_estimate, self.choices);
                }
            }
            (_, Some(failure)) => {
                tracing::warn!(
                    request = %self.receipt.request, target = %target.name, key = shown.key.as_deref(),
                    kind = failure.kind.label(), status = failure.status, reason = failure.for_log(), "attempt failed"
                );
                if self.spared || one_models {
                    health.said_nothing(now);
                } else {
                    health.failed(now, failure);
                }
            }
            // A stream that nobody waited for any longer, since another target was faster or the client had enough, tells
            // how long that was: else a target that is always overtaken would be the first one for ever.
            (Outcome::Hedged | Outcome::Cancelled, None) if self.receipt.stream && shown.ttft.is_none() => {
                let prior = Duration::from_millis(target.prior.ttft_ms.into());
                health.outlasted(now, (shown.took, prior), self.receipt.input_estimate);
            }
            // Whole answers that take too long are left as well, and those who leave are all that is seen of such a target.
            (Outcome::Cancelled, None) if target.supports.has(Capability::Chat) && !self.receipt.stream => {
                let planned = self.planned(target.id).map(|c| c.expected_output / u64::from(self.choices.max(1)));
                match planned.and_then(|tokens| shown.per_token(tokens, target)) {
                    Some(per_token) => {
                        let prior = Duration::from_micros(target.prior.tpot_us.into());
                        health.outlasted_whole(now, (per_token, prior), shown.took);
                    }
                    None => health.said_nothing(now),
                }
            }
            // A client that went away says nothing more of the target.
            (_, None) => health.said_nothing(now),
        }
    }

    fn finish(&mut self) -> Settled {
        let last = self.receipt.attempts.last();
        let target = last.map(|a| Arc::clone(&a.target));
        let estimated = last.is_some_and(|a| a.basis == Basis::Estimated && !a.usage.is_zero());
        self.join();
        let settled = Settled {
            cost: self.receipt.fully_priced().then(|| self.receipt.cost()).flatten(),
            baseline: self.receipt.baseline.as_ref().and_then(|b| b.charge.usd()),
            target,
            estimated,
        };
        if let Some(permit) = self.permit.take() {
            self.shared.metrics.in_flight.dec();
            let route = self.receipt.route.as_deref().unwrap_or("direct");
            self.shared.metrics.request(route, self.receipt.status, self.receipt.error.unwrap_or(""));
            self.receipt.duration_ms = millis(self.began.elapsed());
            permit.send(self.receipt.clone(), self.trail.take());
        }
        settled
    }
}

impl Settlement {
    /// Takes in the attempts that were made beside its own, in the order in which they began.
    fn join(&mut self) {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        if beside.is_empty() {
            return;
        }
        let attempts = &mut self.receipt.attempts;
        attempts.append(&mut beside);
        attempts.sort_by_key(|attempt| attempt.started);
        for (number, attempt) in (1..).zip(attempts.iter_mut()) {
            attempt.no = number;
        }
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        if self.permit.is_none() {
            // A twin, or one that is settled.
            self.close(Outcome::Cancelled, &Observed::default(), None);
            let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
            beside.append(&mut self.receipt.attempts);
        }
        if self.permit.is_some() {
            self.receipt.status = 499;
            self.close(Outcome::Cancelled, &Observed::default(), None);
            self.finish();
        }
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
