//! Shadow runs: a decided request goes to its route's shadow as well, in the background. The client never waits for it, and
//! nobody is charged; what it may cost at most is reserved before the call out of a day's limit.
//!
//! At most a few run at once; when they do, a request simply has no shadow. Texts are compared here and forgotten.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use super::compare::compare;
use super::dispatch::Dispatch;
use super::keys::{self, Load};
use super::snapshot::Snapshot;
use super::{Shared, now};
use crate::catalogue::Target;
use crate::dialect::{self, Destination, Envelope, Ingress, Quirks, Renamed};
use crate::domain::chat::{ChatRequest, ChatResponse, FinishReason, Loss};
use crate::domain::collect::Collector;
use crate::domain::error::{Failure, FailureKind};
use crate::domain::id::{DialectId, RequestId};
use crate::domain::money::Money;
use crate::domain::price::ServiceTier;
use crate::domain::target::UnixMillis;
use crate::domain::usage::Usage;
use crate::ledger::shadow::{self, Agreement, Outcome, Reservation};
use crate::policy::{Decision, Lossy, Market, Shadowed, Ticket, Worst};
use crate::upstream;

/// What a shadow run needs of its request.
pub(super) struct Shadow {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    decision: Arc<Decision>,
    planned: Shadowed,
    request: RequestId,
    dialect: DialectId,
    ingress: &'static dyn Ingress,
    envelope: Arc<Envelope>,
    body: Bytes,
}

impl Shadow {
    /// The shadow of a request; none where it has none, or where the tenant wants its own key and no other used at that
    /// provider: the run would be by the operator's.
    pub(super) fn of(dispatch: &Dispatch) -> Option<Self> {
        let planned = dispatch.decision.shadow?;
        let call = &dispatch.call;
        let provider = &dispatch.snapshot.catalogue.target(planned.target).provider;
        if call.own.as_deref().is_some_and(|owned| owned.alone(provider)) {
            dispatch.shared.metrics.shadow("own_key");
            return None;
        }
        Some(Self {
            shared: Arc::clone(&dispatch.shared),
            snapshot: Arc::clone(&dispatch.snapshot),
            decision: Arc::clone(&dispatch.decision),
            planned,
            request: call.request,
            dialect: call.dialect,
            ingress: call.ingress,
            envelope: Arc::clone(&call.envelope),
            body: call.body.clone(),
        })
    }

    /// Runs in the background, unless the shadow itself has answered or as many run as may. `answer` is what the client got,
    /// where it is at hand.
    pub(super) fn start(self, answered_by: &str, answer: Option<Bytes>) {
        let itself = &*self.snapshot.catalogue.target(self.planned.target).name == answered_by;
        let Some(permit) = (!itself).then(|| Arc::clone(&self.shared.shadows).try_acquire_owned().ok()).flatten()
        else {
            if !itself {
                self.shared.metrics.shadow("no_place");
            }
            return;
        };
        tokio::spawn(async move {
            let (ending, shared) = (self.shared.ending.clone(), Arc::clone(&self.shared));
            let word = tokio::select! {
                word = self.run(answer) => word,
                // What was reserved stays reserved.
                () = ending.cancelled() => "ended",
            };
            shared.metrics.shadow(word);
            drop(permit);
        });
    }

    /// Reserves, asks, compares, keeps. The word says what became of it.
    async fn run(self, answer: Option<Bytes>) -> &'static str {
        let Ok(request) = self.ingress.decode_request(&self.body, &self.envelope) else { return "failed" };
        if dialect::has_server_tools(&request) {
            return "unbounded";
        }
        let limit = match self.reserve().await {
            Ok(Some(limit)) => limit,
            Ok(None) => return "limit",
            Err(word) => return word,
        };
        let max_output_tokens = request.max_output_tokens.or(Some(limit));
        let request = ChatRequest { stream: false, include_usage: false, max_output_tokens, ..request };
        let (began, started) = (Instant::now(), now());
        let asked = timeout(self.decision.timeouts.total, self.ask(&request, limit)).await;
        let asked = asked.unwrap_or_else(|_| Err(Failure::new(FailureKind::Timeout, "no answer within the limit")));
        let duration_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
        let outcome = match asked {
            Ok((response, usage)) => {
                let cost = usage.and_then(|usage| self.price(&usage, response.served, started));
                let cut = self.cut_short(&response, limit);
                let primary = self.primary(answer);
                // A large answer and a large schema take their time.
                let compared = tokio::task::spawn_blocking(move || compare(&request, primary.as_ref(), &response));
                let agreement = if cut { Agreement::default() } else { compared.await.unwrap_or_default() };
                let failure = cut.then_some("cut_short");
                Outcome { failure, duration_ms, usage: usage.unwrap_or(Usage::ZERO), cost, agreement }
            }
            Err(failure) => Outcome {
                failure: Some(failure.kind.label()),
                duration_ms,
                cost: free(&failure).then_some(Money::ZERO),
                ..Outcome::default()
            },
        };
        let (store, request) = (self.shared.ledger.store().clone(), self.request);
        let kept = tokio::task::spawn_blocking(move || shadow::settle(&store, request, &outcome)).await;
        match kept {
            Ok(Ok(())) if outcome.failure.is_none() => "compared",
            Ok(Ok(())) => "failed",
            Ok(Err(_)) | Err(_) => "not_kept",
        }
    }

    /// Reserves what the run may cost at most, and says how long its answers may be then. None: that is not left of the day.
    async fn reserve(&self) -> Result<Option<u64>, &'static str> {
        let (at, target) = (now(), self.snapshot.catalogue.target(self.planned.target));
        let wish = Reservation {
            request: self.request,
            at,
            policy: self.decision.policy.to_string(),
            route: self.decision.route.to_string(),
            target: target.name.to_string(),
            residency: target.residency.at(at),
            per_day: self.planned.per_day,
        };
        let until = self.shared.after(self.decision.timeouts.total);
        let limit = self.envelope.max_output.or(self.planned.max_output);
        let limit = limit.unwrap_or(self.snapshot.config.default_max_output);
        let least = self.envelope.max_output.unwrap_or(self.planned.expected_output.saturating_mul(ROOM));
        let (store, bytes, envelope) =
            (self.shared.ledger.store().clone(), self.body.len(), Arc::clone(&self.envelope));
        let (snapshot, decision) = (Arc::clone(&self.snapshot), Arc::clone(&self.decision));
        let reserved = tokio::task::spawn_blocking(move || {
            let asks = (bytes, envelope.needs, envelope.choices);
            let worst = Worst::of(&decision, &*snapshot.catalogue, asks, [at, until])?;
            Some(shadow::reserve(&store, &wish, |left| worst.within(left, limit, least)))
        });
        match reserved.await {
            Ok(Some(Ok(reserved))) => Ok(reserved),
            Ok(None) => Err("unbounded"),
            Ok(Some(Err(error))) => {
                tracing::warn!(%error, "money for a shadow run can't be reserved");
                Err("not_reserved")
            }
            Err(_) => Err("not_reserved"),
        }
    }

    /// Whether an answer ends at a limit that the request would not have had there but for the day's money: it compares with
    /// nothing.
    fn cut_short(&self, response: &ChatResponse, limit: u64) -> bool {
        let ours = self.envelope.max_output.is_none() && self.planned.max_output != Some(limit);
        ours && response.choices.iter().any(|choice| choice.finish == FinishReason::Length)
    }

    /// Asks the shadow for a whole answer. Only a ticket lets it dial: the facts are looked at again now.
    async fn ask(&self, request: &ChatRequest, limit: u64) -> Result<(ChatResponse, Option<Usage>), Failure> {
        let refused = |message: &'static str| Failure::new(FailureKind::Rejected, message);
        let ticket = self.decision.shadow_ticket(&*self.snapshot.catalogue, now());
        let ticket = ticket.map_err(|_| refused("the shadow is not admitted any more"))?;
        let target = self.snapshot.catalogue.target(ticket.target());
        // Health is told nothing: a run that is not judged must not be taken for a probe.
        match self.snapshot.wire_for(target.id, self.dialect, &self.envelope) {
            Some(_) => self.hosted(target, ticket, request, limit).await,
            None => self.local(target, request, limit).await,
        }
    }

    async fn hosted(
        &self,
        target: &Target,
        ticket: Ticket,
        request: &ChatRequest,
        limit: u64,
    ) -> Result<(ChatResponse, Option<Usage>), Failure> {
        let none = || Failure::new(FailureKind::Connect, "the shadow has no connections");
        let wire = self.snapshot.wire_for(target.id, self.dialect, &self.envelope).ok_or_else(none)?;
        let to = Destination {
            model: &target.upstream_model,
            default_max_output: limit,
            max_output: Some(limit),
            quirks: &wire.quirks,
        };
        let encoded = wire.egress.transcode().encode_request(request, &to);
        let (body, loss) = encoded.map_err(|error| Failure::new(FailureKind::Rejected, error.code_str()))?;
        self.bearable(&loss)?;
        let line = wire.line(&target.upstream_model, false, &[])?;
        let pool = wire.pool(self.decision.timeouts.connect).ok_or_else(none)?;
        let load = Load {
            asked: None,
            input: self.envelope.prompt_bytes as u64 / 4,
            output: Some(limit),
            choices: 1,
            own: None,
        };
        // The operator's experiment: never by a tenant's own key.
        let mut lease = keys::lease(pool, load, target, (None, &self.shared))?;
        let reply = pool.send(ticket, &mut lease, line, vec![body]).await?;
        keys::answered(&mut lease, wire, target, &reply.headers, self.shared.now());
        let status = reply.status;
        let body = upstream::collect(reply.body, self.snapshot.config.max_answer).await?;
        if !(200..300).contains(&status) {
            let mut failure = Failure { status: Some(status), ..wire.egress.decode_error(status, &body) };
            keys::blamed((&lease, pool), load, target, &mut failure, &self.shared);
            return Err(failure);
        }
        let mut response = wire.egress.transcode().decode_response(&body, &wire.quirks)?;
        Renamed::of(request, wire.egress.transcode().names()).restore_all(&mut response);
        let usage = response.usage;
        Ok((response, usage))
    }

    fn bearable(&self, loss: &Loss) -> Result<(), Failure> {
        if !loss.semantic.is_empty() && self.decision.lossy == Lossy::Refuse {
            return Err(Failure::new(FailureKind::Rejected, "the shadow can't take a parameter"));
        }
        Ok(())
    }

    async fn local(
        &self,
        target: &Target,
        request: &ChatRequest,
        limit: u64,
    ) -> Result<(ChatResponse, Option<Usage>), Failure> {
        let none = || Failure::new(FailureKind::Worker, "the local model is not loaded");
        let model = self.snapshot.local(target.id).ok_or_else(none)?;
        let told = dialect::native::told(request);
        let (request, loss) = told.map_err(|error| Failure::new(FailureKind::Rejected, error.code_str()))?;
        self.bearable(&loss)?;
        let mut generation = model.generate(&request, limit).await?;
        let mut collector = Collector::default();
        while let Some(event) = generation.next().await {
            collector.take(event)?;
        }
        let usage = generation.usage_so_far();
        Ok((collector.finish()?, Some(usage)))
    }

    /// What the client got, read in its own dialect.
    fn primary(&self, answer: Option<Bytes>) -> Option<ChatResponse> {
        dialect::egress(self.dialect)?.transcode().decode_response(&answer?, &Quirks::default()).ok()
    }

    fn price(&self, usage: &Usage, served: Option<ServiceTier>, at: UnixMillis) -> Option<Money> {
        let catalogue = &*self.snapshot.catalogue;
        let target = catalogue.target(self.planned.target);
        let service = served.unwrap_or_else(|| target.served(self.decision.service, self.decision.client));
        Market::price_in(catalogue, service, target, usage, at)
    }
}

/// Whether a failure surely cost nothing: nothing was sent, or it was refused.
fn free(failure: &Failure) -> bool {
    match failure.kind {
        FailureKind::Timeout | FailureKind::Truncated | FailureKind::Malformed => false,
        _ => failure.status.is_none_or(|status| status >= 400),
    }
}

/// A run without a limit of its client's is given room for at least so many times what is expected of it.
const ROOM: u64 = 4;
/// Most shadow runs at once.
pub(super) const AT_ONCE: usize = 8;
