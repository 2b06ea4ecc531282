//! Batches: uploads that begin them, and questions about them and their files.
//!
//! An upload is planned like a request, at the prices of batches. What comes of it lies at one provider, under one of its
//! accounts: every later question goes there, by a ticket of its own, and only for the tenant whose it is. Results are
//! accounted when the batch is over (`gateway::results`), whether the client fetches them or not.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::call::Call;
use super::keys::{self, Load};
use super::snapshot::{Snapshot, Wire};
use super::tenants::Owned;
use super::{Shared, now};
use crate::admission::Principal;
use crate::catalogue::Target;
use crate::dialect::batch::Batch;
use crate::dialect::paths::{Does, Errand};
use crate::dialect::{self, Batches, Envelope};
use crate::domain::error::{Error, ErrorKind, Failure, FailureKind};
use crate::domain::id::{DialectId, RequestId};
use crate::ledger::objects::{self, Account, Kind, Object};
use crate::policy::{Decision, Requirement};
use crate::store::{Store, StoreError};
use crate::upstream::{Lease, Line, Reply};
use crate::wire::multipart;

/// Longest id of a provider's that is passed on.
const ID: usize = 200;

/// How a dialect writes batches.
///
/// # Errors
/// It has none here.
pub(super) fn written(dialect: DialectId) -> Result<&'static dyn Batches, Error> {
    dialect::egress(dialect).and_then(dialect::Egress::batches).ok_or_else(not_offered)
}

fn not_offered() -> Error {
    Error::new(ErrorKind::UnknownPath, "this API is not offered by the gateway").code("api_not_offered")
}

/// An upload that begins a batch, or the file of one.
///
/// # Errors
/// What is wrong with it.
pub(super) fn upload(dialect: DialectId, media: &str, body: &Bytes) -> Result<(Envelope, Batch), Error> {
    let batches = written(dialect)?;
    let within = match multipart::boundary(media) {
        Some(boundary) => file(body, boundary)?,
        None if batches.by_file() => {
            let message = "a file is uploaded as `multipart/form-data` with `purpose` and `file`";
            return Err(Error::new(ErrorKind::InvalidRequest, message).param("file"));
        }
        None => 0..body.len(),
    };
    let batch = Batch::read(batches, body, within)?;
    let envelope = Envelope {
        model: batch.model.clone(),
        max_output: batch.max_output,
        choices: batch.choices,
        needs: batch.needs,
        prompt_bytes: batch.prompt_bytes,
        ..Envelope::default()
    };
    Ok((envelope, batch))
}

/// Where the file of a form stands that is for a batch.
fn file(body: &Bytes, boundary: &str) -> Result<Range<usize>, Error> {
    let one = |name: &'static str| {
        let mut found = multipart::fields(body, boundary, name).into_iter();
        let field = found.next().ok_or_else(|| {
            Error::new(ErrorKind::InvalidRequest, format!("the form has no field `{name}`")).param(name)
        })?;
        if found.next().is_some() {
            let message = format!("the form has the field `{name}` twice");
            return Err(Error::new(ErrorKind::InvalidRequest, message).param(name));
        }
        Ok(field)
    };
    if body[one("purpose")?].trim_ascii() != b"batch" {
        let message =
            "only files for batches are offered by the gateway: others would lie at one provider, past every policy";
        return Err(Error::new(ErrorKind::InvalidRequest, message).code("api_not_offered").param("purpose"));
    }
    one("file")
}

/// Whether all that a batch names of a provider's store was stored for its tenant.
///
/// # Errors
/// What was not.
pub(super) fn owned(shared: &Shared, call: &Call, batch: &Batch) -> Result<(), Error> {
    let tenant = &call.principal.tenant;
    match batch.stored.iter().find(|named| !call.alone && !shared.stored.has(tenant, &named.id)) {
        None => Ok(()),
        Some(named) => {
            let message = format!("nothing that `{}` names is stored for this tenant", named.param);
            Err(Error::new(ErrorKind::InvalidRequest, message).code(named.unknown).param(named.param.clone()))
        }
    }
}

/// What results of a batch are accounted with.
pub(super) fn account(call: &Call, decision: &Decision, batch: &Batch, lease: &Lease) -> Account {
    let principal = &call.principal;
    Account {
        team: principal.team.to_string(),
        key_id: principal.key_id.to_string(),
        tags: principal.tags.iter().map(ToString::to_string).collect(),
        policy: decision.policy.to_string(),
        route: decision.route.to_string(),
        // What a request may cost and how fast it must be was for the upload alone.
        requires: decision.requirement.lasting().to_string(),
        baseline: decision.baseline.as_ref().map(|b| b.name.to_string()),
        baseline_as_of_ms: decision.baseline.as_ref().and_then(|b| b.price_as_of).map(|at| at.0),
        model: batch.model.clone(),
        operation: batch.asks.operation.name().to_owned(),
        answers: batch.asks.dialect.name().to_owned(),
        key: lease.key().map(|key| key.label().to_string()),
        own_key: lease.own(),
        files: Vec::new(),
    }
}

/// Remembers, before the provider is asked, that something will lie there. The name is ours until it has one.
///
/// # Errors
/// It can't be remembered; then nothing is begun.
pub(super) async fn announce(shared: &Shared, object: &Object) -> Result<(), Error> {
    let object = object.clone();
    stored(shared, move |store| objects::keep(store, &object)).await
}

/// The provider answered: what was announced has a name.
///
/// # Errors
/// It can't be remembered.
pub(super) async fn named(shared: &Shared, ours: String, object: Object) -> Result<(), Error> {
    stored(shared, move |store| objects::named(store, &ours, &object)).await
}

/// The provider was asked and made nothing, or it is not known whether it did.
pub(super) async fn given_up(shared: &Shared, object: &Object, failure: &Failure) {
    if is_uncertain(failure) {
        // It may cost money that nobody can account.
        tracing::error!(target = %object.target, reason = failure.for_log(), "a batch may have been begun that is not known");
    }
    let (tenant, id, now) = (object.tenant.clone(), object.id.clone(), shared.now());
    if is_uncertain(failure) {
        // It has been told: the next start need not tell it again.
        let _ = stored(shared, move |store| objects::settled(store, &tenant, &id, now)).await;
        return;
    }
    let _ = stored(shared, move |store| objects::forget(store, &tenant, &id)).await;
}

/// Whether the provider may have done what it was asked for. Then nobody else is asked for it.
pub(super) fn is_uncertain(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Timeout | FailureKind::Truncated | FailureKind::Malformed)
}

/// The database, off the async threads.
///
/// # Errors
/// It can't be used just now.
pub(super) async fn stored<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Error> {
    let store = shared.ledger.store().clone();
    let done = tokio::task::spawn_blocking(move || work(&store)).await;
    let failed = |detail: String| {
        Error::new(ErrorKind::Overloaded, "the gateway can't use its database just now").detail(detail)
    };
    done.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

/// The id that a provider gave.
///
/// # Errors
/// None, or one that can't stand in a path.
pub(super) fn id_of(body: &[u8]) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let named = serde_json::from_slice::<Named>(body).ok().map(|named| named.id).filter(|id| is_id(id));
    named.ok_or_else(|| Failure::new(FailureKind::Malformed, "the provider's answer has no id"))
}

/// Whether it can be an id, and can stand in a path.
pub(super) fn is_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !id.is_empty() && id.len() <= ID && id.bytes().all(plain) && !id.bytes().all(|byte| byte == b'.')
}

/// A name of ours for something that has none yet. No provider's id begins so.
pub(super) fn ours(request: RequestId) -> String {
    format!("pending:{request}")
}

/// A question to where something lies.
pub(super) struct Question<'q> {
    pub shared: &'q Shared,
    pub snapshot: &'q Snapshot,
    pub object: &'q Object,
    /// Keys of the tenant's own.
    pub own: Option<Arc<Owned>>,
    /// Whose policy must let it go there.
    pub policy: &'q str,
    /// What the asking key requires besides.
    pub require: Requirement,
    pub deadline: Instant,
}

impl<'q> Question<'q> {
    /// The target, and how to speak to it.
    ///
    /// # Errors
    /// The catalogue has it no more.
    pub(super) fn place(&self) -> Result<(&'q Target, &'q Wire), Error> {
        let gone = || {
            let message = format!("`{}`, where this lies, is not in the catalogue any more", self.object.target);
            Error::new(ErrorKind::Unavailable, message)
        };
        let target = self.snapshot.catalogue.exactly(&self.object.target).ok_or_else(gone)?;
        let wire = self.snapshot.wire(target.id, self.object.dialect).ok_or_else(gone)?;
        Ok((target, wire))
    }

    /// Chooses the key that it was made with.
    ///
    /// # Errors
    /// There is none now.
    pub(super) fn lease(&self, target: &Target, wire: &Wire) -> Result<Lease, Failure> {
        let pool = wire.pool(CONNECT).ok_or_else(|| Failure::new(FailureKind::Connect, "no connections"))?;
        let account = &self.object.account;
        let load = Load { own: self.own.as_deref().filter(|_| account.own_key), ..Load::of(0) };
        let lease = keys::lease_again(pool, load, target, (account.key.as_deref(), self.shared))?;
        if account.own_key && !lease.own() {
            // It lies in the tenant's account, which the operator's key has no business with.
            let gone = Failure::new(FailureKind::Credentials, "the tenant's own key that it was made with is gone");
            return Err(Failure { own_key: true, ..gone });
        }
        Ok(lease)
    }

    /// Asks. Nobody else can be asked.
    ///
    /// # Errors
    /// Policy forbids it by now, or there is no answer.
    pub(super) async fn ask(
        &self,
        lease: &mut Lease,
        (method, path): (Method, &str),
        forwarded: &[(HeaderName, HeaderValue)],
        body: Option<Bytes>,
    ) -> Result<Result<Reply, Failure>, Error> {
        let (target, wire) = self.place()?;
        let market = &*self.snapshot.catalogue;
        let made = Requirement::parse(&self.object.account.requires, market);
        let made = made.map_err(|error| {
            let refused = Error::new(ErrorKind::PolicyRefused, "what this was made under can't be read any more");
            refused.detail(error.to_string())
        })?;
        let policy = self.snapshot.policy_named(self.policy)?;
        let ticket = policy.errand(&made.narrow(&self.require), (target.id, lease.own()), market, now());
        let ticket = ticket.map_err(|reason| {
            let message = format!("`{}`, where this lies, is not admitted any more: {reason}", target.name);
            Error::new(ErrorKind::PolicyRefused, message)
        })?;
        let line = wire.line_to(path, forwarded);
        let pool = wire.pool(CONNECT).ok_or_else(|| Failure::new(FailureKind::Connect, "no connections"));
        let (line, pool) = match (line, pool) {
            (Ok(line), Ok(pool)) => (Line { method, ..line }, pool),
            (Err(failure), _) | (_, Err(failure)) => return Ok(Err(failure)),
        };
        let sent = timeout_at(self.deadline, pool.send(ticket, lease, line, body.into_iter().collect())).await;
        let late = |_| Err(Failure::new(FailureKind::Timeout, "no answer within the limit"));
        let reply = sent.unwrap_or_else(late);
        if let Ok(reply) = &reply {
            keys::answered(lease, wire, target, &reply.headers, self.shared.now());
        }
        Ok(reply)
    }
}

const CONNECT: std::time::Duration = std::time::Duration::from_secs(10);

/// Something that a client asks about.
///
/// # Errors
/// The tenant has no such thing.
pub(super) async fn find(
    shared: &Shared,
    principal: &Principal,
    (dialect, errand): (DialectId, &Errand),
    id: &str,
) -> Result<Object, Error> {
    let kind = errand.kind;
    let none = || {
        let message = format!("there is no {} `{id}` of yours", kind.name());
        let code = if kind == Kind::File { "file_not_found" } else { "batch_not_found" };
        let param = if errand.does == Does::Begin { "input_file_id" } else { "id" };
        Error::new(ErrorKind::UnknownPath, message).code(code).param(param)
    };
    if !is_id(id) {
        return Err(none());
    }
    let (tenant, name) = (principal.tenant.to_string(), id.to_owned());
    let found = stored(shared, move |store| objects::find(store, &tenant, &name)).await?;
    found.filter(|object| object.kind == kind && object.dialect == dialect).ok_or_else(none)
}
