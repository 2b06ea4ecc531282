//! The one thread that writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::common::Common;
use super::insert::Inserts;
use super::{Trail, rows, trail};
use crate::domain::receipt::Receipt;
use crate::domain::target::UnixMillis;
use crate::store::{Store, StoreError};

/// Receipts in one transaction, at most.
const BATCH: usize = 1024;
/// How long rows are gathered before they are written together: a transaction and a wake-up for each row would cost
/// more than the row. Busy gateways write a page with many rows in it once instead of often.
const GATHER: Duration = Duration::from_millis(20);
/// How long a request waits for a place where all are taken. A disk that is busy for half a second, with a checkpoint for
/// one, is no reason to refuse anybody.
const PATIENCE: Duration = Duration::from_secs(1);
/// A failed write is tried again after this long; receipts wait in the queue meanwhile.
const RETRY: Duration = Duration::from_millis(200);
/// How often old decisions are looked for.
const PRUNE: Duration = Duration::from_secs(60);

/// A request's end: its receipt, and why it went where it went.
type Ended = (Box<Receipt>, Option<Box<Trail>>);

enum Entry {
    Receipt(Ended),
    Flush(oneshot::Sender<()>),
    Stop,
}

/// The way into the ledger.
#[derive(Clone, Debug)]
pub struct Ledger {
    queue: mpsc::Sender<Entry>,
    /// As many may wait for a place as there are places.
    waiting: Arc<Semaphore>,
    store: Store,
    healthy: Arc<AtomicBool>,
}

/// A place in the queue.
#[derive(Debug)]
pub struct LedgerPermit(mpsc::OwnedPermit<Entry>);

/// All places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger has no place left")]
pub struct Full;

/// The thread, to be waited for at the end.
#[derive(Debug)]
pub struct LedgerWriter(JoinHandle<()>);

impl Ledger {
    /// Takes a place for one request. Where there is none, one is waited for, a second at most.
    ///
    /// # Errors
    /// There is none: too many requests at once, or the writer can't write.
    pub async fn reserve(&self) -> Result<LedgerPermit, Full> {
        match self.try_reserve() {
            Ok(permit) => Ok(permit),
            // Boxed: every request would carry its size.
            Err(Full) => Box::pin(self.wait()).await,
        }
    }

    /// Takes a place that is free.
    ///
    /// # Errors
    /// There is none.
    pub fn try_reserve(&self) -> Result<LedgerPermit, Full> {
        self.queue.clone().try_reserve_owned().map(LedgerPermit).map_err(|_| Full)
    }

    async fn wait(&self) -> Result<LedgerPermit, Full> {
        let _waiting = self.waiting.try_acquire().map_err(|_| Full)?;
        let place = tokio::time::timeout(PATIENCE, self.queue.clone().reserve_owned()).await;
        place.map_err(|_| Full)?.map(LedgerPermit).map_err(|_| Full)
    }

    /// Where the rows are, for what is written beside the queue.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether the last write went well.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Waits until everything sent so far is written.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.queue.send(Entry::Flush(done)).await.is_ok() {
            let _ = written.await;
        }
    }
}

impl LedgerPermit {
    /// Writes a receipt, and the trail of its decision where there was one.
    pub fn send(self, receipt: Box<Receipt>, trail: Option<Box<Trail>>) {
        self.0.send(Entry::Receipt((receipt, trail)));
    }
}

impl LedgerWriter {
    /// Starts the writer with a queue of so many places. Decisions are kept for so many days; zero: none are written.
    ///
    /// # Errors
    /// The database can't be opened, or there is no thread.
    pub fn start(store: &Store, places: usize, decision_days: u32) -> Result<(Ledger, Self), StoreError> {
        let connection = store.connect()?;
        // A batch holds the request of each of its attempts and decisions: looking each up again costs as much as the row.
        connection.pragma_update(None, "foreign_keys", false)?;
        let (queue, entries) = mpsc::channel(places);
        let healthy = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&healthy);
        let mut output =
            Output { connection, healthy: flag, keep: Keep::new(decision_days), common: Common::default() };
        let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || run(&mut output, entries));
        let thread = thread.map_err(|error| StoreError::File("ledger thread".into(), error))?;
        let waiting = Arc::new(Semaphore::new(places));
        Ok((Ledger { queue, waiting, store: store.clone(), healthy }, Self(thread)))
    }

    /// Writes everything that has been sent and ends the thread; for when no request is open any more.
    ///
    /// # Errors
    /// The thread panicked.
    pub async fn shutdown(self, ledger: &Ledger) -> Result<(), String> {
        // If the thread has ended already there is nothing to stop.
        let _ = ledger.queue.send(Entry::Stop).await;
        let joined = tokio::task::spawn_blocking(move || self.0.join()).await;
        joined.map_err(|error| error.to_string())?.map_err(|_| "the ledger's thread panicked".to_owned())
    }
}

/// Where rows go.
struct Output {
    connection: Connection,
    healthy: Arc<AtomicBool>,
    keep: Keep,
    common: Common,
}

/// How long decisions are kept.
struct Keep {
    days: u32,
    /// When old ones are looked for again.
    next: Instant,
}

impl Keep {
    fn new(days: u32) -> Self {
        Self { days, next: Instant::now() }
    }

    /// Drops old decisions, a bounded number at a time, so that no receipt waits for it.
    fn prune(&mut self, connection: &Connection) {
        if Instant::now() < self.next {
            return;
        }
        let day = 86_400_000;
        // The first day is never dropped.
        let before = jiff::Timestamp::now().as_millisecond() - i64::from(self.days.max(1)) * day;
        let stored = || super::stored::prune(connection, UnixMillis(jiff::Timestamp::now().as_millisecond()));
        match trail::prune(connection, UnixMillis(before)).and_then(|more| Ok(stored()? || more)) {
            // There may be more: at the next batch.
            Ok(true) => {}
            Ok(false) => self.next = Instant::now() + PRUNE,
            Err(error) => {
                tracing::warn!(%error, "old decisions can't be dropped; trying again");
                self.next = Instant::now() + PRUNE;
            }
        }
    }
}

fn run(output: &mut Output, mut entries: mpsc::Receiver<Entry>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut waiting = Vec::new();
    let mut stop = false;
    while !stop && let Some(first) = entries.blocking_recv() {
        if matches!(first, Entry::Receipt(_)) {
            std::thread::sleep(GATHER);
        }
        let mut next = Some(first);
        while let Some(entry) = next {
            match entry {
                Entry::Receipt(ended) => batch.push(ended),
                Entry::Flush(done) => waiting.push(done),
                Entry::Stop => stop = true,
            }
            next = if batch.len() < BATCH { entries.try_recv().ok() } else { None };
        }
        output.write_until_done(&batch);
        batch.clear();
        waiting.drain(..).for_each(|done| {
            let _ = done.send(());
        });
        output.keep.prune(&output.connection);
    }
}

impl Output {
    /// A full disk is no reason to lose a row: the batch is kept and tried again, and the queue behind it fills up.
    fn write_until_done(&mut self, batch: &[Ended]) {
        while let Err(error) = self.write(batch) {
            self.common.forget();
            if self.healthy.swap(false, Ordering::Relaxed) {
                tracing::error!(%error, rows = batch.len(), "the ledger can't be written; trying again");
            }
            std::thread::sleep(RETRY);
        }
        if !self.healthy.swap(true, Ordering::Relaxed) {
            tracing::info!("the ledger is written again");
        }
    }

    fn write(&mut self, batch: &[Ended]) -> Result<(), rusqlite::Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut inserts = Inserts::new(&transaction, &mut self.common);
        for (receipt, trail) in batch {
            rows::insert(&mut inserts, receipt)?;
            if let Some(trail) = trail.as_deref().filter(|_| self.keep.days > 0) {
                trail::insert(&mut inserts, receipt.request, trail)?;
            }
        }
        drop(inserts);
        transaction.commit()
    }
}
