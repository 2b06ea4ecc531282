//! Operations that pass through to a provider of the same dialect, metered: embeddings, reranking, moderations, images,
//! sound, and the counting of tokens.
//!
//! They are planned, priced and recorded like conversations; only the body is not translated.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use tokio::time::{Instant, timeout_at};

use super::body::Body;
use super::call::Call;
use super::detached::Detached;
use super::dispatch::told;
use super::settle::{Settled, Settlement};
use super::snapshot::Snapshot;
use super::{Gateway, Incoming, Shared, head, ingress, insert, overloaded, receipt};
use crate::dialect::{Envelope, Observed};
use crate::domain::error::{Error, ErrorKind, Failure, FailureKind};
use crate::domain::id::DialectId;
use crate::domain::plan::Operation;
use crate::domain::usage::Usage;
use crate::policy::{Candidate, Decision, Ticket};
use crate::upstream;
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
}

/// Everything that one such request needs.
struct Pass {
    shared: Arc<Shared>,
    snapshot: Arc<Snapshot>,
    call: Call,
    form: Form,
    path: &'static str,
    content_type: Option<HeaderValue>,
    decision: Decision,
    deadline: Instant,
}

/// What came back.
struct Passed {
    body: Bytes,
    content_type: Option<HeaderValue>,
    observed: Observed,
}

impl Gateway {
    /// Answers an operation that is not translated.
    ///
    /// # Errors
    /// Why not, to be rendered in the caller's dialect.
    pub(super) async fn pass(&self, incoming: Incoming) -> Result<Response<Body>, Error> {
        let snapshot = self.snapshot();
        let (accepted, path) = (incoming.accepted, incoming.path);
        let content_type = incoming.content_type.clone();
        let (call, form) = read(incoming)?;
        let shared = Arc::clone(self.shared());
        let permit = shared.ledger.reserve().map_err(|_| overloaded())?;
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
        let pass = Pass { shared, snapshot, call, form, path, content_type, decision, deadline };
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
    head(&mut response, call.request, "application/json", decision, &Settled::default(), &[]);
    insert(&mut response, "x-stellwerk-count", "estimated");
    response
}

/// Finds the model and the size of the prompt.
fn read(incoming: Incoming) -> Result<(Call, Form), Error> {
    let ingress = ingress(incoming.dialect)?;
    let media = incoming.content_type.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (envelope, form) = match (&incoming.located.model, multipart::boundary(media)) {
        (Some(model), _) => (by_path(model, &incoming.body)?, Form::Path),
        (None, Some(boundary)) => by_field(&incoming.body, boundary)?,
        (None, None) => (ingress.envelope_of_other(&incoming.body)?, Form::Json),
    };
    let call = Call {
        request: incoming.request,
        dialect: incoming.dialect,
        operation: incoming.operation,
        headers: incoming.headers,
        ingress,
        principal: incoming.principal,
        body: incoming.body,
        model_asked: envelope.model.as_str().into(),
        envelope,
        require: incoming.require,
        session: incoming.session,
        show_cost: false,
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
    let range = multipart::field(body, boundary, "model").ok_or_else(missing)?;
    let model = std::str::from_utf8(&body[range.clone()]).map_err(|_| missing())?.trim().to_owned();
    if model.is_empty() || model.len() > 256 || model.chars().any(char::is_control) {
        return Err(missing());
    }
    // Files are no prompt in tokens: what they cost is in the provider's report or nowhere.
    Ok((Envelope { model, choices: 1, ..Envelope::default() }, Form::Multipart(range)))
}

impl Pass {
    async fn answer(self, mut settlement: Settlement) -> Result<Response<Body>, Error> {
        let (mut last, mut made) = (None, 0);
        for (number, candidate) in self.decision.admitted.iter().enumerate() {
            let now = self.shared.now();
            let signals = |id| self.snapshot.signal(id, now);
            let ticket = self.decision.ticket(number, made, &*self.snapshot.catalogue, &signals, now);
            let Ok(ticket) = ticket else { continue };
            match self.attempt(candidate, ticket, &mut settlement).await {
                Ok(passed) => return Ok(self.respond(passed, settlement)),
                Err(failure) => {
                    made += 1;
                    settlement.attempt_failed(&failure, &Observed::default(), false);
                    let fail_over = failure.fail_over();
                    last = Some(failure);
                    if !fail_over {
                        break;
                    }
                }
            }
        }
        let error = match last {
            Some(failure) => told(&failure, settlement.attempts()),
            None => Error::new(ErrorKind::PolicyRefused, "no target is admitted any more"),
        };
        settlement.failed(&error);
        Err(error)
    }

    fn respond(&self, passed: Passed, settlement: Settlement) -> Response<Body> {
        let settled = settlement.completed(&passed.observed);
        let mut response = Response::new(Body::whole(passed.body));
        head(&mut response, self.call.request, "application/json", &self.decision, &settled, &[]);
        if let Some(content_type) = passed.content_type {
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        response
    }

    async fn attempt(
        &self,
        candidate: &Candidate,
        ticket: Ticket,
        settlement: &mut Settlement,
    ) -> Result<Passed, Failure> {
        let target = self.snapshot.catalogue.target(candidate.target);
        let not_there = || Failure::new(FailureKind::NoModel, "the target does not offer this operation");
        let wire = self.snapshot.wire(target.id, self.call.dialect).ok_or_else(not_there)?;
        let model = self.call.upstream_model(target);
        let path = wire.egress.path_of_other(self.call.operation, self.path, model).ok_or_else(not_there)?;
        let mut line = wire.line_to(&path, &self.call.headers)?;
        if let Some(media) = &self.content_type
            && matches!(self.form, Form::Multipart(_))
        {
            line.headers.insert(CONTENT_TYPE, media.clone());
        }
        settlement.attempt(target.id, Vec::new());
        let pool = wire.pool(self.decision.timeouts.connect);
        let pool = pool.ok_or_else(|| Failure::new(FailureKind::Connect, "the target has no connections"))?;
        let lease = pool.lease(self.shared.now(), self.shared.dice());
        let late = |_| Failure::new(FailureKind::Timeout, "no answer within the limit");
        let sent = timeout_at(self.deadline, pool.send(ticket, &lease, line, self.body(model))).await;
        let reply = sent.map_err(late)??;
        settlement.head(reply.status);
        let content_type = reply.headers.get(CONTENT_TYPE).cloned();
        let retry_after = super::retry::advice(&reply.headers, self.shared.now());
        let limit = self.snapshot.config.max_answer;
        let body = timeout_at(self.deadline, upstream::collect(reply.body, limit)).await.map_err(late)??;
        if !(200..300).contains(&reply.status) {
            let mut failure = wire.egress.decode_error(reply.status, &body);
            failure.status = Some(reply.status);
            failure.retry_after = failure.retry_after.or(retry_after);
            return Err(failure);
        }
        let mut observed = wire.egress.observe_other(self.call.operation, &body);
        if self.call.operation == Operation::CountTokens {
            // Providers count for nothing.
            observed.usage = Some(Usage::ZERO);
        }
        observed.finished = true;
        Ok(Passed { body, content_type, observed })
    }

    /// The client's body with the model's name on the wire.
    fn body(&self, model: &str) -> Vec<Bytes> {
        let body = &self.call.body;
        match &self.form {
            Form::Path => vec![body.clone()],
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
