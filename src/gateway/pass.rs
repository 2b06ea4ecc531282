//! Operations that are no conversations: they pass through to a provider of the same dialect, metered: embeddings,
//! reranking, moderations, images, sound, and the counting of tokens. Requests for vectors are translated as well.
//!
//! They are planned, priced and recorded like conversations.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response};
use tokio::time::{Instant, timeout_at};

use super::batch;
use super::body::Body;
use super::call::Call;
use super::detached::{Detached, unabandoned};
use super::headers;
use super::keys::{self, Load};
use super::pump::{Pump, Step};
use super::relay::Relay;
use super::settle::{Settled, Settlement};
use super::snapshot::{Snapshot, Wire};
use super::told::Failures;
use super::turns::Turns;
use super::{Gateway, Incoming, Shared, head, ingress, insert, overloaded, receipt};
use crate::catalogue::Target;
use crate::dialect::batch::Batch;
use crate::dialect::{EmbedProvider, Envelope, Observed, Tap};
use crate::domain::chat::Loss;
use crate::domain::error::{Error, ErrorKind, Failure, FailureKind};
use crate::domain::id::DialectId;
use crate::domain::plan::Operation;
use crate::domain::usage::Usage;
use crate::ledger::objects::{Kind, Object};
use crate::policy::{Candidate, Decision, Lossy, Ticket};
use crate::upstream::{self, Lease};
use crate::wire::multipart;
use crate::wire::splice::quote;

/// Where the model stands in the body.
enum Form {
    /// A member of a JSON object.
    Json,
    /// A field of a form with files.
    Multipart(Range<usize>),
    /// In the path.
    Path,
    /// In each request of a batch.
    Batch(Box<Batch>),
}

/// Everything that one such request needs.
struct Pass {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    call: Call,
    form: Form,
    content_type: Option<HeaderValue>,
    decision: Arc<Decision>,
    deadline: Instant,
}

/// What came back.
struct Passed {
    answer: Answer,
    content_type: Option<HeaderValue>,
    dropped: Vec<String>,
}

/// An answer that is there, or one that has begun.
enum Answer {
    Whole { body: Bytes, observed: Box<Observed> },
    Stream { pump: Box<Pump>, pending: VecDeque<Bytes>, target: Arc<str> },
}

/// Answers with no more bytes than this, as their head says, are read whole: the next target may still take over.
const SMALL: u64 = 256 * 1024;

/// Why an attempt did not answer.
enum Stop {
    /// This target's dialect can't carry the request; the next one's may. Nothing was sent.
    Refused(Box<Error>),
    /// The request is wrong in the client's own dialect.
    Wrong(Box<Error>),
    /// Nothing was sent: no key of the target has room.
    NoRoom(Failure),
    /// The attempt failed.
    Failed {
        failure: Failure,
        /// It was about one key, and the target has another one that is ready.
        other_key: bool,
    },
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed { failure, other_key: false }
    }
}

/// What an attempt sends.
struct Prepared {
    path: Cow<'static, str>,
    pieces: Vec<Bytes>,
    dropped: Vec<String>,
    /// The answer is to be translated.
    translated: Option<&'static dyn EmbedProvider>,
}

impl Gateway {
    /// Answers an operation that is no conversation.
    ///
    /// # Errors
    /// Why not, to be rendered in the caller's dialect.
    pub(super) async fn pass(&self, incoming: Incoming) -> Result<Response<Body>, Error> {
        let snapshot = self.snapshot();
        let accepted = incoming.accepted;
        let content_type = incoming.content_type.clone();
        let dry_run = incoming.dry_run;
        let (mut call, form) = if incoming.operation == Operation::Batch {
            // Thousands of requests are read.
            let read = tokio::task::spawn_blocking(move || read(incoming)).await;
            read.map_err(|error| Error::new(ErrorKind::Internal, "the batch can't be read").detail(error.to_string()))??
        } else {
            read(incoming)?
        };
        call.own = self.shared().tenants.of(&call.principal.tenant);
        if let Form::Batch(batch) = &form {
            batch::owned(self.shared(), &call, batch)?;
        }
        let shared = Arc::clone(self.shared());
        let permit = shared.ledger.reserve().await.map_err(|_| overloaded())?;
        if dry_run {
            return self.rehearse(&call, &snapshot);
        }
        let receipt = receipt(&call, &snapshot, shared.now());
        let mut settlement = Settlement::new(Arc::clone(&shared), Arc::clone(&snapshot), permit, receipt, accepted);
        let (call, planned) = self.decide(call, &snapshot, &mut settlement);
        let decision = match planned {
            Ok(decision) => decision,
            Err(error) => {
                settlement.failed(&error);
                return Err(error);
            }
        };
        settlement.overhead(accepted.elapsed());
        if call.operation == Operation::CountTokens && !counts(&snapshot, &decision, call.dialect) {
            return Ok(counted(&call, &decision, settlement));
        }
        let deadline = accepted + decision.timeouts.total;
        let held = settlement.held();
        let pass = Pass { shared, snapshot, call, form, content_type, decision, deadline };
        if matches!(pass.form, Form::Batch(_)) {
            return unabandoned(pass.answer(settlement)).await;
        }
        Detached::new(pass.answer(settlement), held).await
    }
}

/// Whether the target that would be asked can count for clients of that dialect.
fn counts(snapshot: &Snapshot, decision: &Decision, dialect: DialectId) -> bool {
    let first = decision.admitted.first().map(|c| snapshot.catalogue.target(c.target));
    first.is_some_and(|target| target.spoken(dialect) == dialect)
}

/// An estimate where nobody who could count understands the request. Nothing leaves the gateway for it.
fn counted(call: &Call, decision: &Decision, settlement: Settlement) -> Response<Body> {
    let mut response = Response::new(Body::whole(call.ingress.encode_count(call.input_estimate())));
    settlement.answered_here();
    head(&mut response, "application/json", decision, &Settled::default(), &[]);
    insert(&mut response, &headers::COUNT, "estimated");
    response
}

/// Finds the model and the size of the prompt.
fn read(incoming: Incoming) -> Result<(Call, Form), Error> {
    let ingress = ingress(incoming.dialect)?;
    let media = incoming.content_type.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (envelope, form) = match (&incoming.located.model, multipart::boundary(media)) {
        _ if incoming.operation == Operation::Batch => {
            let (envelope, batch) = batch::upload(incoming.dialect, media, &incoming.body)?;
            (envelope, Form::Batch(Box::new(batch)))
        }
        (Some(model), _) => (by_path(model, &incoming.body)?, Form::Path),
        (None, Some(boundary)) => by_field(&incoming.body, boundary)?,
        (None, None) => (ingress.envelope_of_other(&incoming.body)?, Form::Json),
    };
    let call = Call {
        request: incoming.request,
        dialect: incoming.dialect,
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
        show_cost: false,
        vectors: OnceLock::new(),
        own: None,
    };
    Ok((call, form))
}

fn by_path(model: &str, body: &Bytes) -> Result<Envelope, Error> {
    let well_formed = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    if !well_formed {
        return Err(Error::new(ErrorKind::InvalidRequest, "the body is not valid JSON").code("invalid_json"));
    }
    Ok(Envelope { model: model.to_owned(), prompt_bytes: body.len(), choices: 1, ..Envelope::default() })
}

fn by_field(body: &Bytes, boundary: &str) -> Result<(Envelope, Form), Error> {
    let missing = || Error::new(ErrorKind::InvalidRequest, "the form has no field `model`").param("model");
    let mut found = multipart::fields(body, boundary, "model").into_iter();
    let range = found.next().ok_or_else(missing)?;
    // Which of two counts would be the provider's choice, past the policy and its price.
    if found.next().is_some() {
        return Err(Error::new(ErrorKind::InvalidRequest, "the form has the field `model` twice").param("model"));
    }
    let model = std::str::from_utf8(&body[range.clone()]).map_err(|_| missing())?.trim().to_owned();
    if model.is_empty() || model.len() > 256 || model.chars().any(char::is_control) {
        return Err(missing());
    }
    // Files are no prompt in tokens: what they cost is in the provider's report or nowhere.
    Ok((Envelope { model, choices: 1, ..Envelope::default() }, Form::Multipart(range)))
}

impl Pass {
    async fn answer(self, mut settlement: Settlement) -> Result<Response<Body>, Error> {
        let (mut failures, mut refused, mut made) = (Failures::default(), None, 0);
        let mut turns = Turns::new(&self.shared, &self.snapshot, &self.decision, self.deadline);
        'targets: while let Some(number) = turns.next(made == 0, self.load()).await {
            let Some(candidate) = self.decision.candidate(number) else { continue };
            // More than once only with another key.
            while made < self.decision.max_attempts {
                let now = self.shared.now();
                let signals = |id| self.snapshot.signal(id, self.load(), now);
                let ticket = self.decision.ticket(number, made, &*self.snapshot.catalogue, &signals, now);
                let Ok(ticket) = ticket else { continue 'targets };
                if made > 0 && !self.shared.retries.take(now) {
                    self.shared.metrics.retry_refused("budget");
                    break 'targets;
                }
                let mut begun = None;
                let outcome = self.attempt(candidate, ticket, &mut begun, &mut settlement).await;
                match self.begun_at(begun, outcome).await {
                    Ok(passed) => return Ok(self.respond(passed, settlement)),
                    Err(Stop::Wrong(error)) => {
                        settlement.failed(&error);
                        return Err(*error);
                    }
                    Err(Stop::Refused(error)) => {
                        refused.get_or_insert(*error);
                        continue 'targets;
                    }
                    Err(Stop::NoRoom(failure)) => {
                        failures.add(failure);
                        continue 'targets;
                    }
                    Err(Stop::Failed { failure, other_key }) => {
                        made += 1;
                        settlement.attempt_failed(&failure, &Observed::default(), other_key);
                        // A batch that may have begun is not begun again elsewhere.
                        let twice = matches!(self.form, Form::Batch(_)) && batch::is_uncertain(&failure);
                        let fail_over = failure.fail_over() && !twice;
                        failures.add(failure);
                        match (fail_over, other_key) {
                            (false, _) => break 'targets,
                            (true, true) => {}
                            (true, false) => continue 'targets,
                        }
                    }
                }
            }
            break;
        }
        let error = failures.told(refused, settlement.attempts());
        settlement.failed(&error);
        Err(error)
    }

    /// What the request brings along.
    fn load(&self) -> Load<'_> {
        Load::of_call(&self.call)
    }

    fn respond(&self, passed: Passed, mut settlement: Settlement) -> Response<Body> {
        let limits = settlement.take_limits();
        let (body, settled, streamed) = match passed.answer {
            Answer::Whole { body, observed } => (Body::whole(body), settlement.completed(&observed), false),
            Answer::Stream { pump, pending, target } => {
                let settled = Settled { target: Some(target), ..Settled::default() };
                let (timeouts, deadline) = (self.decision.timeouts, self.deadline);
                let relay = Relay::new(*pump, pending, None, settlement, None, timeouts, deadline);
                (Body::Stream(Box::new(relay)), settled, true)
            }
        };
        let mut response = Response::new(body);
        head(&mut response, "application/json", &self.decision, &settled, &passed.dropped);
        if streamed {
            insert(&mut response, &headers::ACCEL_BUFFERING, "no");
        }
        if let Some(content_type) = passed.content_type {
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        response.headers_mut().extend(limits);
        response
    }

    async fn attempt(
        &self,
        candidate: &Candidate,
        ticket: Ticket,
        begun: &mut Option<Object>,
        settlement: &mut Settlement,
    ) -> Result<Passed, Stop> {
        let target = self.snapshot.catalogue.target(candidate.target);
        let not_there = || Failure::new(FailureKind::NoModel, "the target does not offer this operation");
        let wire = self.snapshot.wire(target.id, self.call.dialect).ok_or_else(not_there)?;
        let model = self.call.upstream_model(target);
        let Prepared { path, pieces, dropped, translated } = self.prepare(wire, model)?;
        let forwarded = if translated.is_some() { &[] } else { self.call.headers.as_slice() };
        let mut line = wire.line_to(&path, forwarded)?;
        if let Some(media) = &self.content_type
            && matches!(self.form, Form::Multipart(_) | Form::Batch(_))
        {
            line.headers.insert(CONTENT_TYPE, media.clone());
        }
        let pool = wire.pool(self.decision.timeouts.connect);
        let pool = pool.ok_or_else(|| Failure::new(FailureKind::Connect, "the target has no connections"))?;
        let lease = keys::lease(pool, self.load(), target, (None, &self.shared));
        let mut lease = lease.map_err(Stop::NoRoom)?;
        if let Form::Batch(batch) = &self.form {
            let object = self.object(target, batch, &lease)?;
            batch::announce(&self.shared, &object).await.map_err(|error| Stop::Wrong(Box::new(error)))?;
            *begun = Some(object);
        }
        settlement.attempt(target.id, dropped.clone(), lease.own());
        let late = |_| Failure::new(FailureKind::Timeout, "no answer within the limit");
        let sent = timeout_at(self.deadline, pool.send(ticket, &mut lease, line, pieces)).await;
        let reply = sent.map_err(late)??;
        settlement.head(reply.status);
        let now = self.shared.now();
        let told = keys::answered(&mut lease, wire, target, &reply.headers, now);
        settlement.limits(keys::told(pool, &self.call, told, now));
        let content_type = reply.headers.get(CONTENT_TYPE).cloned();
        let good = (200..300).contains(&reply.status);
        if let Some(tap) = self.tap(wire, &reply).filter(|_| good && translated.is_none()) {
            let target = Arc::clone(&target.name);
            let answer = self.begun(tap, reply.body, target, settlement).await?;
            return Ok(Passed { answer, content_type, dropped });
        }
        let limit = self.snapshot.config.max_answer;
        let upstream::Reply { status, headers, body } = reply;
        let body = timeout_at(self.deadline, upstream::collect(body, limit)).await.map_err(late)?;
        if !good {
            let said = wire.egress.decode_error(status, &body.unwrap_or_default());
            let mut failure = super::retry::refused(said, status, &headers, self.shared.now());
            let other_key = keys::blamed((&lease, pool), self.load(), target, &mut failure, &self.shared);
            return Err(Stop::Failed { failure, other_key });
        }
        let body = body?;
        if let Some(provider) = translated {
            return self.rendered(provider, &body, dropped);
        }
        let mut observed = wire.egress.observe_other(self.call.operation, &body);
        if matches!(self.call.operation, Operation::CountTokens | Operation::Batch) {
            // Providers count for nothing; what a batch uses stands in its results.
            observed.usage = Some(Usage::ZERO);
        }
        observed.finished = true;
        Ok(Passed { answer: Answer::Whole { body, observed: Box::new(observed) }, content_type, dropped })
    }

    /// What will lie at a target, before it has a name.
    fn object(&self, target: &Target, batch: &Batch, lease: &Lease) -> Result<Object, Stop> {
        let batches = batch::written(self.call.dialect).map_err(|error| Stop::Wrong(Box::new(error)))?;
        Ok(Object {
            tenant: self.call.principal.tenant.to_string(),
            id: batch::ours(self.call.request),
            kind: if batches.by_file() { Kind::File } else { Kind::Batch },
            dialect: self.call.dialect,
            target: target.name.to_string(),
            account: batch::account(&self.call, &self.decision, batch, lease),
            made: self.shared.now(),
            shown: None,
        })
    }

    /// What came of an upload: it lies there now, by the provider's name, or it does not.
    async fn begun_at(&self, begun: Option<Object>, outcome: Result<Passed, Stop>) -> Result<Passed, Stop> {
        let Some(begun) = begun else { return outcome };
        let failed = match outcome {
            Ok(Passed { answer: Answer::Whole { body, observed }, content_type, dropped }) => match batch::id_of(&body)
            {
                Ok(id) => {
                    let wrong = |error| Stop::Wrong(Box::new(error));
                    let body = batch::written(self.call.dialect).map_err(wrong)?.shown(&body);
                    let shown = std::str::from_utf8(&body).ok().map(ToOwned::to_owned);
                    let (ours, object) = (begun.id.clone(), Object { id, shown, ..begun });
                    batch::named(&self.shared, ours, object).await.map_err(wrong)?;
                    return Ok(Passed { answer: Answer::Whole { body, observed }, content_type, dropped });
                }
                Err(failure) => Stop::from(failure),
            },
            Ok(_) => Stop::from(Failure::new(FailureKind::Malformed, "the provider's answer is none")),
            Err(stop) => stop,
        };
        let nothing = Failure::new(FailureKind::Rejected, "nothing was sent");
        let failure = if let Stop::Failed { failure, .. } = &failed { failure } else { &nothing };
        batch::given_up(&self.shared, &begun, failure).await;
        Err(failed)
    }

    /// What watches an answer that is passed on as it comes; none = it is read whole.
    fn tap(&self, wire: &Wire, reply: &upstream::Reply) -> Option<Box<dyn Tap>> {
        let header = |name| reply.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let media_type = header(CONTENT_TYPE).unwrap_or_default();
        let length = header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let small = media_type.starts_with("application/json") && length.is_some_and(|length| length <= SMALL);
        if small { None } else { wire.egress.tap_other(self.call.operation, media_type) }
    }

    /// Reads until there is something to pass on: up to here the next target may take over.
    async fn begun(
        &self,
        tap: Box<dyn Tap>,
        body: upstream::ReplyBody,
        target: Arc<str>,
        settlement: &mut Settlement,
    ) -> Result<Answer, Stop> {
        let mut pump = Pump::Identity { body, tap, pieces: Vec::new() };
        let mut pending = VecDeque::new();
        while !pump.began() {
            let step = timeout_at(self.deadline, poll_fn(|cx| pump.poll_step(cx, &mut pending))).await;
            match step.map_err(|_| Failure::new(FailureKind::Timeout, "no answer within the limit"))? {
                Step::More => {}
                Step::Failed(failure) => return Err(failure.into()),
                Step::End => {
                    let mut body = BytesMut::new();
                    pending.iter().for_each(|piece| body.extend_from_slice(piece));
                    return Ok(Answer::Whole { body: body.freeze(), observed: Box::new(pump.observed()) });
                }
            }
        }
        settlement.first_token();
        Ok(Answer::Stream { pump: Box::new(pump), pending, target })
    }

    /// What goes to a target: the client's bytes where it speaks the client's dialect, else a translation.
    fn prepare(&self, wire: &Wire, model: &str) -> Result<Prepared, Stop> {
        let (call, not_there) = (&self.call, "the target does not offer this operation");
        let not_there = || Stop::from(Failure::new(FailureKind::NoModel, not_there));
        let own_form = || wire.egress.embeddings().is_some_and(|provider| provider.differs(model, &wire.quirks));
        if call.operation != Operation::Embeddings || (wire.speaks(call.dialect) && !own_form()) {
            let path = wire.egress.path_of_other(call.operation, call.path, model).ok_or_else(not_there)?;
            let pieces = self.body(wire, model);
            return Ok(Prepared { path, pieces, dropped: Vec::new(), translated: None });
        }
        let provider = wire.egress.embeddings().ok_or_else(not_there)?;
        let request = call.vectors().map_err(|error| Stop::Wrong(Box::new(error)))?;
        let (semantic, hints) = call.vectors_missing(wire.dialect());
        if let Some(param) = semantic.first().filter(|_| self.decision.lossy == Lossy::Refuse) {
            let error = Error::new(ErrorKind::UnsupportedParameter, format!("no admitted target can take `{param}`"));
            return Err(Stop::Refused(Box::new(error.param(param.clone()))));
        }
        let encoded = provider.encode(request, model, &wire.quirks);
        let (path, body) = encoded.map_err(|error| Stop::Refused(Box::new(call.vectors_in_its_words(error))))?;
        let dropped = Loss { semantic, advisory: hints }.names();
        Ok(Prepared { path, pieces: vec![body], dropped, translated: Some(provider) })
    }

    /// A provider's vectors in the client's words.
    fn rendered(&self, provider: &dyn EmbedProvider, body: &[u8], dropped: Vec<String>) -> Result<Passed, Stop> {
        let request = self.call.vectors().map_err(|error| Stop::Wrong(Box::new(error)))?;
        let answer = provider.decode(body)?;
        if answer.vectors.len() != request.inputs.len() {
            let message = "the answer has another number of vectors than the request has inputs";
            return Err(Failure::new(FailureKind::Malformed, message).into());
        }
        let client = self.call.ingress.embeddings();
        let client = client.ok_or_else(|| Failure::new(FailureKind::NoModel, "no client of this dialect asks"))?;
        let observed = Observed {
            usage: answer.usage,
            model: answer.model.clone(),
            finished: true,
            began: true,
            ..Observed::default()
        };
        let body = client.encode(&answer, request, &self.call.envelope.model, self.call.input_estimate());
        let content_type = Some(HeaderValue::from_static("application/json"));
        Ok(Passed { answer: Answer::Whole { body, observed: Box::new(observed) }, content_type, dropped })
    }

    /// The client's body with the model's name on the wire.
    fn body(&self, wire: &Wire, model: &str) -> Vec<Bytes> {
        let body = &self.call.body;
        match &self.form {
            Form::Batch(batch) => batch.renamed(body, model),
            Form::Path if self.call.envelope.model == model => vec![body.clone()],
            Form::Path => vec![wire.egress.rename_other(body, model)],
            Form::Json => {
                let mut splice = self.call.envelope.spans.splice();
                if self.call.envelope.model != model {
                    splice.set("model", quote(model));
                }
                splice.apply(body)
            }
            Form::Multipart(range) => {
                let model = Bytes::from(model.to_owned());
                vec![body.slice(..range.start), model, body.slice(range.end..)]
            }
        }
    }
}
