//! Attempts, until one answers: same bytes to the same dialect, one translation to another, events from the local
//! runtime. Fails over only while nothing has gone to the client.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::call::Call;
use super::cost::CostNote;
use super::keys::{self, Load};
use super::origin;
use super::pump::{Pump, Render, Step};
use super::settle::Settlement;
use super::snapshot::{Snapshot, Wire};
use super::told::Failures;
use super::turns::Turns;
use crate::cache::Items;
use crate::catalogue::Target;
use crate::dialect::{self, CallIds, Destination, Egress, Observed, Passthrough, Renamed, Rendering, Signed, Watching};
use crate::domain::chat::{ChatRequest, ChatResponse, Choice, Loss};
use crate::domain::collect::Collector;
use crate::domain::error::{Error, ErrorKind, Failure, FailureKind};
use crate::domain::id::{DialectId, TargetId};
use crate::domain::plan::Timeouts;
use crate::domain::target::UnixMillis;
use crate::domain::usage::Usage;
use crate::policy::{Candidate, Decision, Lossy, Ticket};
use crate::upstream;

/// The media type of events.
const EVENTS: &str = "text/event-stream";

/// An attempt that answered.
pub(super) enum Answer {
    /// A whole answer, in the client's dialect.
    Whole {
        /// The body.
        body: Bytes,
        /// What was learned of it.
        observed: Box<Observed>,
    },
    /// A stream whose first frame is there.
    Stream {
        /// The rest of it.
        pump: Box<Pump>,
        /// What has been read so far.
        pending: VecDeque<Bytes>,
        /// Where the client wants to see the cost.
        note: Option<CostNote>,
    },
}

/// An answer with the target that gave it.
pub(super) struct Dispatched {
    pub answer: Answer,
    pub target: Arc<str>,
    pub dropped: Vec<String>,
}

/// Everything one dispatch needs. It owns all of it: where the provider bills on, it is finished without its client.
pub(super) struct Dispatch {
    pub shared: Arc<Shared>,
    pub snapshot: Arc<Snapshot>,
    pub call: Call,
    pub decision: Arc<Decision>,
    pub timeouts: Timeouts,
    /// When the whole request must be over.
    pub deadline: Instant,
    /// Until when the client waits, by its own word: what it would not hear any more is not tried.
    pub awaited: Instant,
    /// The request decoded, at most once.
    pub decoded: OnceLock<Arc<ChatRequest>>,
    /// A target has refused what stands signed in the conversation: it is left out from then on.
    pub unsigned: OnceLock<()>,
}

impl Dispatch {
    /// Tries the admitted targets in order.
    ///
    /// # Errors
    /// The last failure as the caller may see it.
    pub(super) async fn run(&self, settlement: &mut Settlement) -> Result<Dispatched, Error> {
        let (mut failures, mut refused, mut made, mut second) = (Failures::default(), None, 0, None);
        let mut turns = Turns::new(&self.shared, &self.snapshot, &self.decision, self.awaited);
        'targets: while let Some(number) = turns.next(made == 0, self.load()).await {
            let Some(candidate) = self.decision.candidate(number).filter(|_| second != Some(number)) else { continue };
            // More than once only with another key.
            while made < self.decision.max_attempts {
                // Facts may have turned stale since the decision: asked again before every attempt.
                let now = self.shared.now();
                let signals = |id| self.snapshot.signal(id, self.load(), now);
                let ticket = self.decision.ticket(number, made, &*self.snapshot.catalogue, &signals, now);
                let Ok(ticket) = ticket else { continue 'targets };
                if made > 0 && !self.may_retry(now) {
                    break 'targets;
                }
                let left = usize::from(self.decision.max_attempts - made) - 1;
                let after = left.min(turns.after(number));
                let hedged = second.is_none();
                let tried = self.tried((number, candidate), ticket, (made, after), hedged, settlement).await;
                made += u8::from(tried.second.is_some());
                second = second.or(tried.second);
                match tried.outcome {
                    Ok((answer, dropped)) => {
                        let target = Arc::clone(&self.snapshot.catalogue.target(tried.target).name);
                        return Ok(Dispatched { answer, target, dropped });
                    }
                    // Wrong in the client's own dialect: no target changes that.
                    Err(Stop::Wrong(error)) => return Err(*error),
                    // This dialect can't carry the request; the next one may. Nothing was sent: no attempt.
                    Err(Stop::Refused(error)) => {
                        refused.get_or_insert(*error);
                        continue 'targets;
                    }
                    // No key has room for it, though one had when it was planned. Nothing was sent either.
                    Err(Stop::NoRoom(failure)) => {
                        failures.add(*failure);
                        continue 'targets;
                    }
                    Err(Stop::Failed(failed)) => {
                        made += 1;
                        let Failed { failure, observed, other_key } = *failed;
                        let failure = self.in_its_words(failure, tried.target);
                        settlement.attempt_failed(&failure, &observed, other_key);
                        // Another provider of its dialect, or another account, has signed: once more without that.
                        let unsigned = failure.foreign_thinking && self.unsigned.set(()).is_ok();
                        let fail_over = failure.fail_over() || unsigned;
                        failures.add(failure);
                        match (fail_over, (other_key || unsigned) && tried.number == number) {
                            (false, _) => break 'targets,
                            (true, true) => {}
                            (true, false) => continue 'targets,
                        }
                    }
                }
            }
            break;
        }
        Err(failures.told(refused, settlement.attempts()))
    }

    /// What the request brings along.
    pub(super) fn load(&self) -> Load<'_> {
        Load::of_call(&self.call)
    }

    /// The conversation, where it stays where it was answered.
    fn session(&self) -> Option<u64> {
        self.decision.affinity.and_then(|_| origin::session(&self.call))
    }

    /// Whether a further attempt may be made at all. The gateway's own budget, not the request's: an outage must not
    /// multiply the load of what is left.
    pub(super) fn may_retry(&self, now: UnixMillis) -> bool {
        let may = self.shared.retries.take(now);
        if !may {
            self.shared.metrics.retry_refused("budget");
        }
        may
    }

    /// Until when the first sign of an answer must be there. A stream shows its first token. Another answer shows
    /// nothing until it is whole, so a slow target and a dead one look alike: each gets its share of the time that is
    /// left, and the last one all of it.
    fn first_by(&self, started: Instant, after: usize) -> Instant {
        if self.call.envelope.stream {
            return self.deadline.min(started + self.timeouts.first_token);
        }
        let shares = u32::try_from(after).unwrap_or(u32::MAX).saturating_add(1);
        started + self.deadline.saturating_duration_since(started) / shares
    }

    pub(super) async fn attempt(
        &self,
        candidate: &Candidate,
        ticket: Ticket,
        after: usize,
        settlement: &mut Settlement,
    ) -> Result<(Answer, Vec<String>), Stop> {
        let started = Instant::now();
        let snapshot = &self.snapshot;
        let target = snapshot.catalogue.target(ticket.target());
        let Some(wire) = snapshot.wire_for(target.id, self.call.dialect, &self.call.envelope) else {
            return self.local(target, candidate.max_output, settlement, self.first_by(started, after)).await;
        };
        let egress = wire.egress;
        let passes = wire.passthrough(self.call.dialect, &self.call.envelope).filter(|_| self.call.ingress.passes());
        let (pieces, loss) = self.encode(target, wire, candidate.max_output, passes)?;
        let stream = self.call.envelope.stream;
        let forwarded = if passes.is_some() { self.call.headers.as_slice() } else { &[] };
        let line = wire.line(self.call.upstream_model(target), stream, forwarded).map_err(Stop::from)?;
        let Some(pool) = wire.pool(self.timeouts.connect) else {
            return Err(Failure::new(FailureKind::Connect, "the target has no connections").into());
        };
        let lease = keys::lease(pool, self.load(), target, (self.session(), &self.shared));
        let mut lease = lease.map_err(|failure| Stop::NoRoom(Box::new(failure)))?;
        settlement.attempt(target.id, loss.clone(), lease.own());
        settlement.leased(&lease);
        let deadline = self.first_by(started, after);
        let sent = timeout_at(deadline, pool.send(ticket, &mut lease, line, pieces)).await;
        let reply = sent.unwrap_or_else(|_| Err(Failure::new(FailureKind::Timeout, "no answer within the limit")))?;
        settlement.head(reply.status);
        let now = self.shared.now();
        let told = keys::answered(&mut lease, wire, target, &reply.headers, now);
        settlement.limits(keys::told(pool, &self.call, told, now));
        if !(200..300).contains(&reply.status) {
            let mut failure = self.refused(egress, reply, deadline).await;
            let other_key = keys::blamed((&lease, pool), self.load(), target, &mut failure, &self.shared);
            return Err(Stop::Failed(Box::new(Failed { failure, observed: Observed::default(), other_key })));
        }
        let answer = if stream {
            self.streamed(wire, reply.body, passes, settlement, deadline).await?
        } else {
            self.whole(wire, reply.body, passes, deadline).await?
        };
        Ok((answer, loss))
    }

    /// The body for a target, and the names of what it can't carry.
    fn encode(
        &self,
        target: &Target,
        wire: &Wire,
        max_output: Option<u64>,
        passes: Option<&dyn Passthrough>,
    ) -> Result<(Vec<Bytes>, Vec<String>), Stop> {
        let to = Destination {
            model: self.call.upstream_model(target),
            default_max_output: max_output.unwrap_or(self.snapshot.config.default_max_output),
            max_output: self.decision.max_output.and(max_output),
            quirks: &wire.quirks,
        };
        if let Some(passes) = passes {
            self.owned()?;
            let members = self.call.envelope.members.iter().map(|name| &**name);
            if let Some(name) = wire.quirks.refused(to.model, members) {
                return Err(Stop::refused(unsupported(name.to_owned())));
            }
            let given = |name: &&String| self.call.envelope.members.iter().any(|m| **m == ***name);
            let mut dropped: Vec<String> = wire.quirks.drop.iter().filter(given).cloned().collect();
            let pieces = passes.retarget(&self.call.body, &self.call.envelope, &to);
            let signed = if self.unsigned.get().is_some() { Signed::Anywhere } else { Signed::Elsewhere };
            let thinks = self.call.envelope.spans.thinks() || wire.quirks.call_id_length.is_some();
            let thinks = thinks || signed == Signed::Anywhere;
            let moved = thinks.then(|| passes.unmoved(&self.call.body, &pieces, &wire.quirks, signed)).flatten();
            let Some(moved) = moved else { return Ok((pieces, dropped)) };
            dropped.extend(moved.gone);
            return Ok((vec![moved.body], dropped));
        }
        let mut request = self.decoded()?;
        if self.unsigned.get().is_some() {
            Arc::make_mut(&mut request).forget_signatures(wire.egress.transcode().speaks());
        }
        let encoded = wire.egress.transcode().encode_request(&request, &to);
        let (body, loss) = encoded.map_err(Stop::refused)?;
        Ok((vec![body], self.bearable(loss)?))
    }

    /// Whether all that the request names of a provider's store was stored for its tenant.
    fn owned(&self) -> Result<(), Stop> {
        let (call, shared) = (&self.call, &self.shared);
        if call.alone {
            return Ok(());
        }
        let names = call.ingress.names_stored(&call.body, &call.envelope);
        match names.into_iter().find(|named| !shared.stored.has(&call.principal.tenant, &named.id)) {
            None => Ok(()),
            Some(named) => {
                let message = format!("nothing that `{}` names is stored for this tenant", named.param);
                Err(Stop::refused(
                    Error::new(ErrorKind::InvalidRequest, message).code(named.unknown).param(named.param),
                ))
            }
        }
    }

    /// The names of what is lost, if the route lets it be.
    fn bearable(&self, loss: Loss) -> Result<Vec<String>, Stop> {
        match loss.semantic.first() {
            Some(param) if self.decision.lossy == Lossy::Refuse => Err(Stop::refused(unsupported(param.clone()))),
            _ => Ok(loss.names()),
        }
    }

    fn decoded(&self) -> Result<Arc<ChatRequest>, Stop> {
        if let Some(request) = self.decoded.get() {
            return Ok(Arc::clone(request));
        }
        let decoded = self.call.ingress.decode_request(&self.call.body, &self.call.envelope);
        let request = Arc::new(decoded.map_err(|error| Stop::Wrong(Box::new(error)))?);
        Ok(Arc::clone(self.decoded.get_or_init(|| request)))
    }

    /// A stream, in whatever form the provider gives it: some give a whole answer all the same.
    async fn streamed(
        &self,
        wire: &Wire,
        mut body: upstream::ReplyBody,
        passes: Option<&dyn Passthrough>,
        settlement: &mut Settlement,
        deadline: Instant,
    ) -> Result<Answer, Stop> {
        let late = |_| Failure::new(FailureKind::Timeout, "no token within the limit");
        // No event begins like that, and no other form that the dialect streams in.
        let whole = wire.egress.accept() == EVENTS
            && timeout_at(deadline, poll_fn(|cx| body.poll_first(cx))).await.map_err(late)?? == Some(b'{');
        if !whole {
            let pump = self.pump(wire, body, passes)?;
            return self.first_frame(pump, settlement, deadline).await;
        }
        let collected = timeout_at(deadline, upstream::collect(body, self.snapshot.config.max_answer)).await;
        let response = wire.egress.transcode().decode_response(&collected.map_err(late)??, &wire.quirks)?;
        let unreadable = |_| Failure::new(FailureKind::Malformed, "a whole answer to a request for a stream");
        let render = self.render(self.renamed(wire)?).map_err(unreadable)?;
        let observed = Observed { began: true, ..observed(&response) };
        let mut pending = VecDeque::new();
        render.whole(response, &observed, &mut pending);
        let note = if self.call.show_cost { settlement.pricer() } else { None };
        let note = note.map(|pricer| CostNote(Arc::new(pricer)));
        if let Some(note) = &note {
            note.add(observed.usage, &mut pending, 0);
        }
        settlement.first_token();
        Ok(Answer::Stream { pump: Box::new(Pump::Ended { observed }), pending, note })
    }

    fn pump(&self, wire: &Wire, body: upstream::ReplyBody, passes: Option<&dyn Passthrough>) -> Result<Pump, Stop> {
        Ok(if let Some(passes) = passes {
            let watching = Watching { hide_usage: !self.call.shows_usage(), array: self.call.envelope.array };
            Pump::Identity { body, tap: passes.tap(&wire.quirks, watching), pieces: Vec::new() }
        } else {
            let decode = wire.egress.transcode().decode_stream(&wire.quirks);
            Pump::Transcode { body, decode, render: self.render(self.renamed(wire)?)? }
        })
    }

    fn render(&self, renamed: Renamed) -> Result<Render, Stop> {
        let rendering = self.rendering()?;
        let request = Arc::clone(&rendering.request);
        let (ids, prompt) = (CallIds::new(&rendering.id), self.call.prompt_estimate());
        Ok(Render::new(self.call.ingress.encode_stream(rendering), &request, renamed, ids, self.keep(), prompt))
    }

    /// The names of tools that the target was not told as the client wrote them.
    fn renamed(&self, wire: &Wire) -> Result<Renamed, Stop> {
        Ok(Renamed::of(&*self.decoded()?, wire.egress.transcode().names()))
    }

    /// Where parts of the answer are kept for a client that may name them later, and for whom.
    fn keep(&self) -> Option<(Items, Arc<str>)> {
        let call = &self.call;
        let keeps = call.ingress.keeps(&call.body, &call.envelope);
        keeps.then(|| (self.shared.items.clone(), Arc::clone(&call.principal.tenant)))
    }

    fn rendering(&self) -> Result<Rendering, Stop> {
        Ok(Rendering {
            model: self.call.envelope.model.clone(),
            include_usage: self.call.shows_usage(),
            array: self.call.envelope.array,
            created: self.shared.now().0 / 1000,
            id: format!("{:032x}", self.call.request.0),
            request: self.decoded()?,
        })
    }

    /// Reads until something is there that the client would see: up to here there is fail-over.
    async fn first_frame(
        &self,
        mut pump: Pump,
        settlement: &mut Settlement,
        deadline: Instant,
    ) -> Result<Answer, Stop> {
        let mut pending = VecDeque::new();
        let mut ended = false;
        let pricer = if self.call.show_cost { settlement.pricer() } else { None };
        let note = pricer.map(|pricer| CostNote(Arc::new(pricer)));
        while !pump.began() && !ended {
            let from = pending.len();
            let step = timeout_at(deadline, poll_fn(|cx| pump.poll_step(cx, &mut pending))).await;
            if let Some(note) = &note {
                note.add(pump.observed().usage, &mut pending, from);
            }
            match step {
                Ok(Step::More) => {}
                Ok(Step::End) => ended = true,
                Ok(Step::Failed(failure)) => return Err(Stop::failed(failure, pump.observed())),
                Err(_) => {
                    let failure = Failure::new(FailureKind::Timeout, "no token within the limit");
                    return Err(Stop::failed(failure, pump.observed()));
                }
            }
        }
        settlement.first_token();
        if ended {
            pump = Pump::Ended { observed: pump.observed() };
        }
        Ok(Answer::Stream { pump: Box::new(pump), pending, note })
    }

    async fn whole(
        &self,
        wire: &Wire,
        body: upstream::ReplyBody,
        passes: Option<&dyn Passthrough>,
        deadline: Instant,
    ) -> Result<Answer, Stop> {
        let collected = timeout_at(deadline, upstream::collect(body, self.snapshot.config.max_answer)).await;
        let body = collected
            .unwrap_or_else(|_| Err(Failure::new(FailureKind::Timeout, "no whole answer within the limit")))?;
        if let Some(passes) = passes {
            let observed = passes.observe_response(&body, &wire.quirks)?;
            return Ok(Answer::Whole { body, observed: Box::new(observed) });
        }
        let mut response = wire.egress.transcode().decode_response(&body, &wire.quirks)?;
        self.renamed(wire)?.restore_all(&mut response);
        self.rendered(response)
    }

    fn rendered(&self, mut response: ChatResponse) -> Result<Answer, Stop> {
        response.created.get_or_insert(self.shared.now().0 / 1000);
        let observed = observed(&response);
        // What the ledger will say as well.
        let estimate = || Usage::estimated(self.call.prompt_estimate(), observed.output_bytes);
        response.usage.get_or_insert_with(estimate);
        let rendering = self.rendering()?;
        CallIds::new(&rendering.id).fill_all(&mut response);
        if rendering.request.parallel_tool_calls == Some(false) {
            response.choices.iter_mut().for_each(|choice| choice.tool_calls.truncate(1));
        }
        if rendering.request.hide_thinking {
            response.choices.iter_mut().for_each(Choice::hide_thinking);
        }
        let body = self.call.ingress.encode_response(&response, &rendering);
        if let Some((items, tenant)) = self.keep() {
            items.keep(&tenant, self.call.ingress.kept(&response, &rendering));
        }
        Ok(Answer::Whole { body, observed: Box::new(observed) })
    }

    /// A failure with the parameter as the client names it, where the target speaks another dialect: its numbers of turns
    /// are those of our translation.
    fn in_its_words(&self, failure: Failure, target: TargetId) -> Failure {
        let wire = self.snapshot.wire_for(target, self.call.dialect, &self.call.envelope);
        let provider = wire.map_or(DialectId::OpenAiChat, Wire::dialect);
        if wire.is_some() && provider == self.call.dialect {
            return failure;
        }
        let param = failure.param.as_deref().and_then(|name| dialect::param_of(provider, self.call.dialect, name));
        Failure { param, ..failure }
    }

    /// The embedded runtime: canonical events, rendered in the client's dialect.
    async fn local(
        &self,
        target: &Target,
        max_output: Option<u64>,
        settlement: &mut Settlement,
        deadline: Instant,
    ) -> Result<(Answer, Vec<String>), Stop> {
        let model = self
            .snapshot
            .local(target.id)
            .ok_or_else(|| Stop::from(Failure::new(FailureKind::Worker, "the local model is not loaded")))?;
        let max_output = max_output.unwrap_or(self.snapshot.config.default_max_output);
        let stream = self.call.envelope.stream;
        let request = self.decoded()?;
        let (request, loss) = dialect::native::told(&request).map_err(Stop::refused)?;
        let dropped = self.bearable(loss)?;
        settlement.attempt(target.id, dropped.clone(), false);
        let generated = timeout_at(deadline, model.generate(&request, max_output)).await;
        let mut generation =
            generated.unwrap_or_else(|_| Err(Failure::new(FailureKind::Timeout, "no token within the limit")))?;
        if stream {
            let observed = Observed { counted: true, ..Observed::default() };
            let pump =
                Pump::Local { generation: Box::new(generation), render: self.render(Renamed::default())?, observed };
            let answer = self.first_frame(pump, settlement, deadline).await?;
            return Ok((answer, dropped));
        }
        let mut collector = Collector::default();
        let gathered = timeout_at(deadline, async {
            while let Some(event) = generation.next().await {
                settlement.counted(generation.usage_so_far());
                collector.take(event)?;
            }
            collector.finish()
        });
        let gathered = gathered.await;
        let gathered =
            gathered.unwrap_or_else(|_| Err(Failure::new(FailureKind::Timeout, "no whole answer within the limit")));
        let mut answer = self.rendered(gathered?)?;
        if let Answer::Whole { observed, .. } = &mut answer {
            observed.counted = true;
        }
        Ok((answer, dropped))
    }

    /// An answer that is an error: read it, bounded, and classify.
    async fn refused(&self, egress: &dyn Egress, reply: upstream::Reply, deadline: Instant) -> Failure {
        const LIMIT: usize = 256 * 1024;
        let body = timeout_at(deadline, upstream::collect(reply.body, LIMIT)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        super::retry::refused(egress.decode_error(reply.status, &body), reply.status, &reply.headers, self.shared.now())
    }
}

/// What is known of an answer that was read whole.
fn observed(response: &ChatResponse) -> Observed {
    Observed {
        usage: response.usage,
        model: Some(response.model.clone()),
        service: response.served,
        finished: true,
        output_bytes: response.output_bytes(),
        ..Observed::default()
    }
}

/// Why an attempt did not answer.
pub(super) enum Stop {
    /// The request can't be put to this dialect: the caller's to mend.
    Refused(Box<Error>),
    /// The request is wrong in the client's own dialect.
    Wrong(Box<Error>),
    /// Nothing was sent: no key of the target has room.
    NoRoom(Box<Failure>),
    /// The attempt failed; another may follow.
    Failed(Box<Failed>),
}

/// An attempt that failed.
pub(super) struct Failed {
    pub failure: Failure,
    pub observed: Observed,
    /// It was about one key, and the target has another one that is ready.
    pub other_key: bool,
}

impl Stop {
    fn refused(error: Error) -> Self {
        Self::Refused(Box::new(error))
    }

    fn failed(failure: Failure, observed: Observed) -> Self {
        Self::Failed(Box::new(Failed { failure, observed, other_key: false }))
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::failed(failure, Observed::default())
    }
}

fn unsupported(param: String) -> Error {
    let error = Error::new(ErrorKind::UnsupportedParameter, format!("no admitted target can take `{param}`"));
    error.param(param)
}
