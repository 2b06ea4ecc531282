//! Clients' questions about batches and their files: answered from what is known, or by the provider where they lie.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Response};
use tokio::time::{Instant, timeout_at};

use super::batch::{self, Question};
use super::body::Body;
use super::detached::unabandoned;
use super::headers;
use super::origin;
use super::pump::Pump;
use super::relay::Relay;
use super::settle::Settlement;
use super::snapshot::{Snapshot, Wire};
use super::told::Failures;
use super::{Gateway, JSON, caller, insert, overloaded};
use crate::admission::Principal;
use crate::dialect::paths::{Does, Errand};
use crate::dialect::{Batches, Observed, Tap};
use crate::domain::error::{Error, ErrorKind, Failure, FailureKind};
use crate::domain::id::{DialectId, RequestId};
use crate::domain::plan::Timeouts;
use crate::domain::receipt::{Beginning, Receipt};
use crate::domain::target::UnixMillis;
use crate::domain::usage::Usage;
use crate::ledger::objects::{self, Account, Kind, Object};
use crate::upstream::{self, Reply};
use crate::wire::splice::Members;

/// A question, as it came in.
pub struct Asking {
    /// Its id.
    pub request: RequestId,
    /// When its head had been read.
    pub accepted: Instant,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// What the client speaks.
    pub dialect: DialectId,
    /// What is asked.
    pub errand: Errand,
    /// Headers of the client's dialect, for a provider of the same.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `x-stellwerk-require`.
    pub require: Option<String>,
    /// The body, where a batch is to begin.
    pub body: Bytes,
}

/// What a list holds where nothing is told, and at most.
const LISTED: (usize, usize) = (20, 100);

impl Gateway {
    /// Answers a question about a batch or a file.
    ///
    /// # Errors
    /// Why not, to be rendered in the caller's dialect.
    pub async fn errand(self: Arc<Self>, asking: Asking) -> Result<Response<Body>, Error> {
        if asking.errand.does == Does::Begin {
            return unabandoned(async move { self.answered(asking).await }).await;
        }
        self.answered(asking).await
    }

    async fn answered(&self, mut asking: Asking) -> Result<Response<Body>, Error> {
        if asking.errand.does == Does::List {
            return self.listed(&asking).await;
        }
        if asking.errand.does == Does::Begin {
            asking.errand.kind = Kind::File;
            asking.errand.id = member(&asking.body, "input_file_id")?;
        }
        let id = asking.errand.id.clone();
        let object = match asking.errand.kind {
            Kind::Response => self.answer_of(&asking, &id)?,
            _ => batch::find(self.shared(), &asking.principal, (asking.dialect, &asking.errand), &id).await?,
        };
        if asking.errand.does == Does::Remove {
            self.accounted(&object).await?;
        }
        let snapshot = self.snapshot();
        let permit = self.shared().ledger.reserve().await.map_err(|_| overloaded())?;
        let receipt = receipt(&asking, &object, &snapshot, self.shared().now());
        let (shared, accepted) = (Arc::clone(self.shared()), asking.accepted);
        let mut settlement = Settlement::new(shared, Arc::clone(&snapshot), permit, receipt, accepted);
        match self.asked(&asking, &object, &snapshot, &mut settlement).await {
            Ok(Asked::Whole(body)) => {
                let observed =
                    Observed { usage: Some(Usage::ZERO), finished: true, began: true, ..Observed::default() };
                let settled = settlement.completed(&observed);
                let mut response = Response::new(Body::whole(body));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
                insert(&mut response, &headers::TARGET, settled.target.as_deref().unwrap_or_default());
                Ok(response)
            }
            Ok(Asked::Streamed(reply)) => {
                let media = reply.headers.get(CONTENT_TYPE).cloned();
                let pump = Pump::Identity { body: reply.body, tap: Box::new(Fetched::default()), pieces: Vec::new() };
                let timeouts = Timeouts::default();
                let deadline = asking.accepted + timeouts.total;
                let relay = Relay::new(pump, VecDeque::new(), None, settlement, None, timeouts, deadline);
                let mut response = Response::new(Body::Stream(Box::new(relay)));
                let media = media.unwrap_or(HeaderValue::from_static("application/octet-stream"));
                response.headers_mut().insert(CONTENT_TYPE, media);
                insert(&mut response, &headers::TARGET, &object.target);
                Ok(response)
            }
            Err(error) => {
                settlement.failed(&error);
                Err(error)
            }
        }
    }

    /// An answer that a provider has stored for the tenant.
    fn answer_of(&self, asking: &Asking, id: &str) -> Result<Object, Error> {
        let none = || {
            let message = "no provider keeps a response of this name for you; send the conversation with each request";
            Error::new(ErrorKind::UnknownPath, message).code("response_not_kept").param("response_id")
        };
        let tenant = &asking.principal.tenant;
        let home = self.shared().stored.home(tenant, id).filter(|_| batch::is_id(id)).ok_or_else(none)?;
        Ok(Object {
            tenant: tenant.to_string(),
            id: id.to_owned(),
            kind: Kind::Response,
            dialect: asking.dialect,
            target: home.target.to_string(),
            account: Account {
                requires: home.requires.to_string(),
                key: home.key.as_deref().map(ToOwned::to_owned),
                own_key: home.own_key,
                ..Account::default()
            },
            made: self.shared().now(),
            shown: None,
        })
    }

    async fn listed(&self, asking: &Asking) -> Result<Response<Body>, Error> {
        let batches = batch::written(asking.dialect)?;
        let (usual, most) = LISTED;
        let limit = asking.errand.limit.unwrap_or(usual).clamp(1, most);
        let (tenant, after) = (asking.principal.tenant.to_string(), asking.errand.after.clone());
        let (kind, dialect) = (asking.errand.kind, asking.dialect);
        let list = batch::stored(self.shared(), move |store| {
            objects::list(store, (&tenant, kind, dialect), after.as_deref(), limit)
        });
        let mut found = list.await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let shown: Vec<_> = found.into_iter().filter_map(|object| Some((object.id, object.shown?))).collect();
        let mut response = Response::new(Body::whole(batches.list(&shown, more)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        Ok(response)
    }

    /// Whether something may be removed: not before all that came of it is in the ledger.
    async fn accounted(&self, object: &Object) -> Result<(), Error> {
        let open = batch::stored(self.shared(), objects::open).await?;
        let holds = |open: &&Object| match object.kind {
            Kind::Batch => open.id == object.id,
            Kind::File => open.account.files.contains(&object.id),
            Kind::Response => false,
        };
        let Some(batch) = open.iter().filter(|open| open.tenant == object.tenant).find(holds) else { return Ok(()) };
        self.shared().look(&batch.id);
        let error = Error::new(ErrorKind::InvalidRequest, "what came of this batch is not in the ledger yet");
        let error = error.code("not_accounted_yet").told_status(Some(409)).again(Some(true));
        Err(error.retry_after(Some(std::time::Duration::from_secs(2))))
    }

    async fn asked(
        &self,
        asking: &Asking,
        object: &Object,
        snapshot: &Arc<Snapshot>,
        settlement: &mut Settlement,
    ) -> Result<Asked, Error> {
        let shared = self.shared();
        let own = origin::requirement(&asking.principal, &*snapshot.catalogue)?;
        let header = origin::required(asking.require.as_deref(), &*snapshot.catalogue)?;
        let question = Question {
            shared,
            snapshot,
            object,
            own: shared.tenants.of(&asking.principal.tenant),
            policy: asking.principal.policy.as_deref().unwrap_or("default"),
            require: own.narrow(&header),
            deadline: asking.accepted + Timeouts::default().total,
        };
        let (target, wire) = question.place()?;
        let does = asking.errand.does;
        let begun = (does == Does::Begin).then(|| begun(asking, object));
        let path = place(asking, object, wire)?;
        let body = (does == Does::Begin).then(|| asking.body.clone());
        let mut lease = question.lease(target, wire).map_err(told)?;
        if let Some(begun) = &begun {
            batch::announce(shared, begun).await?;
        }
        settlement.errand(target.id, shared.now(), lease.own());
        let reply = match question.ask(&mut lease, (method(does), &path), &asking.headers, body).await {
            Ok(reply) => reply,
            Err(error) => {
                let nothing = Failure::new(FailureKind::Rejected, "nothing was sent");
                self.failed(begun.as_ref(), nothing, settlement).await;
                return Err(error);
            }
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(failure) => return Err(self.failed(begun.as_ref(), failure, settlement).await),
        };
        settlement.head(reply.status);
        if is_long(asking, &reply) && (200..300).contains(&reply.status) {
            return Ok(Asked::Streamed(reply));
        }
        let whole = timeout_at(question.deadline, whole(wire, reply, snapshot.config.max_answer, shared.now())).await;
        let late = |_| Err(Failure::new(FailureKind::Timeout, "no whole answer within the limit"));
        let body = match whole.unwrap_or_else(late) {
            Ok(body) => body,
            Err(failure) => return Err(self.failed(begun.as_ref(), failure, settlement).await),
        };
        let id = match begun.as_ref().map(|_| batch::id_of(&body)).transpose() {
            Ok(id) => id,
            Err(failure) => return Err(self.failed(begun.as_ref(), failure, settlement).await),
        };
        self.kept(does, object, begun.zip(id), body).await.map(Asked::Whole)
    }

    /// Keeps what came of a question, and gives what the client is to see of it. `begun`: what has a name now.
    async fn kept(
        &self,
        does: Does,
        object: &Object,
        begun: Option<(Object, String)>,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        let shared = self.shared();
        if object.kind == Kind::Response {
            if does == Does::Remove {
                let (names, tenant, id) = (shared.stored.clone(), object.tenant.clone(), object.id.clone());
                batch::stored(shared, move |store| names.forget(store, &tenant, &id)).await?;
            }
            return Ok(body);
        }
        let batches = batch::written(object.dialect)?;
        let shown = batches.shown(&body);
        match begun {
            Some((begun, id)) => {
                let ours = begun.id.clone();
                batch::named(shared, ours, Object { id, shown: text(&shown), ..begun }).await?;
            }
            None if does == Does::Remove => {
                let (tenant, id) = (object.tenant.clone(), object.id.clone());
                batch::stored(shared, move |store| objects::forget(store, &tenant, &id)).await?;
            }
            None if self.learnt(batches, object, &body, &shown).await? => shared.look(&object.id),
            None => {}
        }
        Ok(shown)
    }

    /// The provider did not do what it was asked for.
    async fn failed(&self, begun: Option<&Object>, failure: Failure, settlement: &mut Settlement) -> Error {
        settlement.attempt_failed(&failure, &Observed::default(), true);
        if let Some(begun) = begun {
            batch::given_up(self.shared(), begun, &failure).await;
        }
        told(failure)
    }

    /// Keeps what the provider says of something, and what it has made. Whether that is a batch that is over.
    pub(super) async fn learnt(
        &self,
        batches: &dyn Batches,
        object: &Object,
        body: &[u8],
        shown: &Bytes,
    ) -> Result<bool, Error> {
        let shared = self.shared();
        let mut object = Object { shown: text(shown), ..object.clone() };
        let state = batches.state(body).filter(|_| object.kind == Kind::Batch);
        let mut files = Vec::new();
        for file in state.iter().flat_map(|state| &state.files).filter(|file| batch::is_id(file)) {
            if !object.account.files.contains(file) {
                object.account.files.push(file.clone());
                files.push(Object { id: file.clone(), kind: Kind::File, shown: None, ..object.clone() });
            }
        }
        batch::stored(shared, move |store| {
            files.iter().chain([&object]).try_for_each(|object| objects::keep(store, object))
        })
        .await?;
        Ok(state.is_some_and(|state| state.ended))
    }
}

/// Where the question goes, below the provider's base URL.
fn place(asking: &Asking, object: &Object, wire: &Wire) -> Result<String, Error> {
    let Errand { kind, does, query, .. } = &asking.errand;
    if *kind != Kind::Response {
        return Ok(batch::written(object.dialect)?.place(*kind, &object.id, *does));
    }
    let none = || Error::new(ErrorKind::UnknownPath, "the provider keeps no responses").code("response_not_kept");
    let path = wire.egress.place_of_stored(&object.id, *does).ok_or_else(none)?;
    Ok(query.as_ref().map_or_else(|| path.clone(), |query| format!("{path}?{query}")))
}

/// Whether an answer is passed on as it comes: results of batches, files, and streams.
fn is_long(asking: &Asking, reply: &Reply) -> bool {
    let media = reply.headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    match asking.errand.kind {
        Kind::Response => media.starts_with("text/event-stream"),
        Kind::Batch | Kind::File => asking.errand.does == Does::Results,
    }
}

fn method(does: Does) -> Method {
    match does {
        Does::Show | Does::Results | Does::List => Method::GET,
        Does::Cancel | Does::Begin => Method::POST,
        Does::Remove => Method::DELETE,
    }
}

/// The body of a good answer.
async fn whole(wire: &Wire, reply: Reply, limit: usize, now: UnixMillis) -> Result<Bytes, Failure> {
    let Reply { status, headers, body } = reply;
    let body = upstream::collect(body, limit).await?;
    if (200..300).contains(&status) {
        return Ok(body);
    }
    Err(super::retry::refused(wire.egress.decode_error(status, &body), status, &headers, now))
}

/// A failure as the client may see it.
fn told(failure: Failure) -> Error {
    let mut failures = Failures::default();
    failures.add(failure);
    failures.told(None, 1)
}

/// What came of a question.
enum Asked {
    Whole(Bytes),
    Streamed(Reply),
}

/// A batch of an uploaded file, before it has a name.
fn begun(asking: &Asking, file: &Object) -> Object {
    let mut account = file.account.clone();
    account.files = vec![file.id.clone()];
    account.team = asking.principal.team.to_string();
    account.key_id = asking.principal.key_id.to_string();
    account.tags = asking.principal.tags.iter().map(ToString::to_string).collect();
    let id = batch::ours(asking.request);
    Object { id, kind: Kind::Batch, account, made: super::now(), shown: None, ..file.clone() }
}

fn text(shown: &[u8]) -> Option<String> {
    std::str::from_utf8(shown).ok().map(ToOwned::to_owned)
}

/// A member of the body that is a string.
fn member(body: &Bytes, name: &'static str) -> Result<String, Error> {
    let wrong = || Error::new(ErrorKind::InvalidRequest, format!("`{name}` must be a string")).param(name);
    let members = Members::scan(body)
        .map_err(|_| Error::new(ErrorKind::InvalidRequest, "the body must be a JSON object").code("invalid_json"))?;
    let value = members.value(body, name).ok_or_else(wrong)?;
    serde_json::from_slice(value).map_err(|_| wrong())
}

fn receipt(asking: &Asking, object: &Object, snapshot: &Snapshot, now: UnixMillis) -> Receipt {
    let named = |text: &str| Some(Arc::from(text)).filter(|_| !text.is_empty());
    let beginning = Beginning {
        request: asking.request,
        started: now,
        caller: caller(&asking.principal),
        policy: origin::policy_of(&asking.principal),
        generation: snapshot.generation,
        dialect: asking.dialect,
        model_asked: named(&object.account.model).unwrap_or_else(|| object.target.as_str().into()),
    };
    Receipt { route: named(&object.account.route), ..Receipt::of(beginning) }
}

/// What is fetched has been paid for, or will be accounted with its batch.
#[derive(Default)]
struct Fetched(Observed);

impl Tap for Fetched {
    fn chunk(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<(), Failure> {
        self.0.began = true;
        self.0.usage = Some(Usage::ZERO);
        out.push(chunk);
        Ok(())
    }

    fn end(&mut self, _: &mut Vec<Bytes>) -> Result<(), Failure> {
        (self.0.finished, self.0.usage) = (true, Some(Usage::ZERO));
        Ok(())
    }

    /// There is no place for words: the connection is cut.
    fn broken(&mut self, _: &Error) -> Bytes {
        Bytes::new()
    }

    fn observed(&self) -> &Observed {
        &self.0
    }
}

/// For callers outside of requests: a failure as it would be told.
pub(super) fn is_gone(failure: &Failure) -> bool {
    matches!(failure.status, Some(404 | 410)) || failure.kind == FailureKind::NoModel
}
