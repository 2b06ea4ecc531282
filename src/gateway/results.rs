//! Accounting for batches: when one is over, each of its results becomes a request in the ledger, at the prices of batches.
//!
//! The gateway asks by itself, so that nothing is left out that no client comes back for. What has been written is known by
//! ids made of the batch's and the request's own, so that a second reading after a crash writes nothing twice.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use http::Method;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::batch::{self, Question};
use super::errand::is_gone;
use super::settle::Settlement;
use super::snapshot::{Snapshot, Wire};
use super::{Gateway, Shared};
use crate::catalogue::Target;
use crate::dialect::batch::{self as batches, Asks, State};
use crate::dialect::paths::Does;
use crate::dialect::{Batches, Observed};
use crate::domain::error::{Error, ErrorKind, Failure, FailureKind};
use crate::domain::id::RequestId;
use crate::domain::price::ServiceTier;
use crate::domain::receipt::{Beginning, Caller, Receipt};
use crate::domain::target::UnixMillis;
use crate::ledger::objects::{self, Object};
use crate::policy::{Baseline, Requirement};
use crate::upstream::{self, Reply};
use crate::wire::ndjson::NdjsonDecoder;

/// How often batches are looked at that have just begun.
const SOON: Duration = Duration::from_secs(15);
/// How often old ones are.
const LATE: Duration = Duration::from_secs(300);
/// Longest wait for what a provider says of a batch, and for each piece of its results.
const PATIENCE: Duration = Duration::from_secs(60);
/// Batches that are asked about at once.
const AT_ONCE: usize = 4;
/// Longest line of results, in bytes.
const LINE: usize = 32 << 20;
/// Longest answer to a question about a batch, in bytes.
const ANSWER: usize = 1 << 20;

/// Batches that are to be looked at now.
#[derive(Debug, Default)]
pub(super) struct Looks {
    ids: Mutex<Vec<String>>,
    wake: Notify,
}

/// Most that wait for a look.
const WAITING: usize = 1_000;

impl Shared {
    /// A batch may be over.
    pub(super) fn look(&self, id: &str) {
        let mut ids = self.looks.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() < WAITING && !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
        self.looks.wake.notify_one();
    }
}

impl Gateway {
    /// Looks after batches until it is told to stop.
    pub async fn account_batches(self: Arc<Self>, stop: CancellationToken) {
        let mut looked: HashMap<String, Instant> = HashMap::new();
        loop {
            let round = self.look_at_all(&mut looked);
            tokio::select! {
                () = stop.cancelled() => return,
                () = round => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.shared().looks.wake.notified() => {}
                () = tokio::time::sleep(SOON) => {}
            }
        }
    }

    async fn look_at_all(&self, looked: &mut HashMap<String, Instant>) {
        let shared = self.shared();
        let wanted = std::mem::take(&mut *shared.looks.ids.lock().unwrap_or_else(PoisonError::into_inner));
        let open = match batch::stored(shared, objects::open).await {
            Ok(open) => open,
            Err(error) => {
                tracing::warn!(detail = error.detail, "open batches can't be read; trying again");
                return;
            }
        };
        shared.metrics.open_batches.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
        looked.retain(|id, _| open.iter().any(|object| object.id == *id));
        let now = shared.now();
        let due = |object: &&Object| {
            let age = Duration::from_millis(u64::try_from(now.0.saturating_sub(object.made.0)).unwrap_or(0));
            let every = (age / 20).clamp(SOON, LATE);
            let last = looked.get(&object.id);
            wanted.contains(&object.id) || last.is_none_or(|last| last.elapsed() >= every)
        };
        let due: Vec<Object> = open.iter().filter(due).cloned().collect();
        let looks = futures_util::stream::iter(due.clone()).map(|object| self.look_at(object));
        looks.buffer_unordered(AT_ONCE).for_each(|()| std::future::ready(())).await;
        looked.extend(due.into_iter().map(|object| (object.id, Instant::now())));
    }

    async fn look_at(&self, object: Object) {
        match self.account(&object).await {
            Ok(true) => {
                tracing::info!(batch = %object.id, target = %object.target, "the batch is over and in the ledger")
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(
                batch = %object.id, target = %object.target, code = error.code_str(), reason = %error.message,
                "the batch can't be accounted yet; trying again"
            ),
        }
    }

    /// Asks for a batch and accounts for it when it is over. Whether it was.
    async fn account(&self, object: &Object) -> Result<bool, Error> {
        let (snapshot, written) = (self.snapshot(), batch::written(object.dialect)?);
        let (shared, path) = (self.shared(), written.place(object.kind, &object.id, Does::Show));
        let (target, wire) = question(shared, &snapshot, object).place()?;
        let ledger = Results { gateway: self, snapshot: &snapshot, object, target, wire };
        let state = match ledger.ask(&path).await? {
            Ok(reply) => {
                let body = timeout_at(Instant::now() + PATIENCE, upstream::collect(reply.body, ANSWER)).await;
                let late = |_| failed(&Failure::new(FailureKind::Timeout, "no answer within the limit"));
                let body = body.map_err(late)?.map_err(|failure| failed(&failure))?;
                let unknown = || Error::new(ErrorKind::UpstreamFailed, "the provider's answer is no batch");
                let state: State = written.state(&body).ok_or_else(unknown)?;
                self.learnt(written, object, &body, &written.shown(&body)).await?;
                state
            }
            // Removed past the gateway: what it used is not known any more.
            Err(failure) if is_gone(&failure) => {
                ledger.row("", &Observed { unreported: true, finished: true, ..Observed::default() }).await;
                return ledger.close().await;
            }
            Err(failure) => return Err(failed(&failure)),
        };
        if !state.ended {
            return Ok(false);
        }
        for path in &state.results {
            ledger.read(written, path).await?;
        }
        ledger.close().await
    }
}

fn question<'q>(shared: &'q Shared, snapshot: &'q Snapshot, object: &'q Object) -> Question<'q> {
    Question {
        shared,
        snapshot,
        object,
        own: shared.tenants.of(&object.tenant),
        policy: &object.account.policy,
        require: Requirement::ANY,
        deadline: Instant::now() + PATIENCE,
    }
}

fn failed(failure: &Failure) -> Error {
    Error::new(ErrorKind::UpstreamFailed, "the provider does not answer as it should")
        .detail(failure.for_log().to_string())
}

/// The results of one batch on their way into the ledger.
struct Results<'r> {
    gateway: &'r Gateway,
    snapshot: &'r Arc<Snapshot>,
    object: &'r Object,
    target: &'r Target,
    wire: &'r Wire,
}

impl Results<'_> {
    async fn ask(&self, path: &str) -> Result<Result<Reply, Failure>, Error> {
        let question = question(self.gateway.shared(), self.snapshot, self.object);
        let mut lease = match question.lease(self.target, self.wire) {
            Ok(lease) => lease,
            Err(failure) => return Ok(Err(failure)),
        };
        let reply = match question.ask(&mut lease, (Method::GET, path), &[], None).await? {
            Ok(reply) if (200..300).contains(&reply.status) => Ok(reply),
            Ok(reply) => {
                let body = timeout_at(Instant::now() + PATIENCE, upstream::collect(reply.body, ANSWER)).await;
                let body = body.ok().and_then(Result::ok).unwrap_or_default();
                Err(Failure { status: Some(reply.status), ..self.wire.egress.decode_error(reply.status, &body) })
            }
            Err(failure) => Err(failure),
        };
        Ok(reply)
    }

    /// Reads results, a line at a time.
    async fn read(&self, written: &dyn Batches, path: &str) -> Result<(), Error> {
        let mut reply = self.ask(path).await?.map_err(|failure| failed(&failure))?;
        let mut decoder = NdjsonDecoder::new(LINE);
        let too_long = |_| Error::new(ErrorKind::UpstreamFailed, "a line of the results is longer than the limit");
        loop {
            let mut lines = Vec::new();
            let chunk = timeout_at(Instant::now() + PATIENCE, poll_fn(|cx| reply.body.poll_data(cx))).await;
            let late = |_| failed(&Failure::new(FailureKind::Timeout, "the results stopped coming"));
            let chunk = chunk.map_err(late)?.transpose().map_err(|failure| failed(&failure))?;
            let mut on = |line: &str| lines.push(line.to_owned());
            match &chunk {
                Some(chunk) => decoder.push(chunk, &mut on),
                None => decoder.finish(&mut on),
            }
            .map_err(too_long)?;
            for line in &lines {
                self.line(written, line).await;
            }
            if chunk.is_none() {
                return Ok(());
            }
        }
    }

    async fn line(&self, written: &dyn Batches, line: &str) {
        let unread = Observed { unreported: true, finished: true, ..Observed::default() };
        let Some(read) = written.result(line.as_bytes()) else {
            // Something was done that can't be read: it is there, without a price.
            let digest: [u8; 32] = Sha256::digest(line).into();
            return self.row(&format!("{digest:x?}"), &unread).await;
        };
        let Some(answer) = read.answer else { return };
        let asks = self.object.account.asks().map(|(operation, dialect)| Asks { operation, dialect });
        let observed = asks.and_then(|asks| batches::observe(asks, answer, &self.wire.quirks).ok());
        let mut observed = observed.unwrap_or(unread);
        observed.unreported |= observed.usage.is_none();
        self.row(&read.custom_id, &observed).await;
    }

    /// One result in the ledger.
    async fn row(&self, custom_id: &str, observed: &Observed) {
        let shared = self.gateway.shared();
        let permit = loop {
            match shared.ledger.try_reserve() {
                Ok(permit) => break permit,
                // Requests go first.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let object = self.object;
        let observed = Observed { service: Some(ServiceTier::Batch), stored: Vec::new(), ..observed.clone() };
        let receipt = receipt(object, custom_id, self.snapshot.generation);
        let (shared, snapshot) = (Arc::clone(shared), Arc::clone(self.snapshot));
        let mut settlement = Settlement::new(shared, snapshot, permit, receipt, Instant::now());
        settlement.accounted(self.baseline());
        settlement.errand(self.target.id, object.made, object.account.own_key);
        settlement.head(200);
        settlement.completed(&observed);
    }

    fn baseline(&self) -> Option<Baseline> {
        let account = &self.object.account;
        let target = self.snapshot.catalogue.exactly(account.baseline.as_deref()?)?;
        Some(Baseline {
            target: target.id,
            name: Arc::clone(&target.name),
            price_as_of: account.baseline_as_of_ms.map(UnixMillis),
            retired: target.available_to.is_some(),
        })
    }

    /// All of it is in the ledger.
    async fn close(&self) -> Result<bool, Error> {
        let shared = self.gateway.shared();
        shared.ledger.flush().await;
        let (tenant, id, now) = (self.object.tenant.clone(), self.object.id.clone(), shared.now());
        batch::stored(shared, move |store| objects::settled(store, &tenant, &id, now)).await?;
        Ok(true)
    }
}

/// The receipt of one result. Its id is the same at every reading.
fn receipt(object: &Object, custom_id: &str, generation: u64) -> Receipt {
    let mut digest = Sha256::new();
    for field in [&*object.tenant, &*object.target, &*object.id, custom_id] {
        digest.update((field.len() as u64).to_le_bytes());
        digest.update(field);
    }
    let whole: [u8; 32] = digest.finalize().into();
    let mut id = [0; 16];
    id.copy_from_slice(&whole[..16]);
    let account = &object.account;
    let answers = account.asks().map_or(object.dialect, |(_, dialect)| dialect);
    let beginning = Beginning {
        request: RequestId(u128::from_be_bytes(id)),
        started: object.made,
        caller: Caller {
            tenant: object.tenant.as_str().into(),
            team: account.team.as_str().into(),
            key_id: account.key_id.as_str().into(),
            tags: account.tags.iter().map(|tag| tag.as_str().into()).collect(),
        },
        policy: account.policy.as_str().into(),
        generation,
        dialect: answers,
        model_asked: account.model.as_str().into(),
    };
    Receipt { route: Some(account.route.as_str().into()), ..Receipt::of(beginning) }
}
