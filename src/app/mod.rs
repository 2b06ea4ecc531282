//! Assembly: builds the parts in order, reloads them, drains them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::admin::AdminPlane;
use crate::admission::{KeyRing, MASTER_KEY_ENV, Vault};
use crate::config::Config;
use crate::gateway::{self, Gateway, LocalModels, Shared, Snapshot};
use crate::health;
use crate::ledger::{Ledger, LedgerWriter, objects};
use crate::server::{self, DataPlane, Limits, Stop};
use crate::store::{Durability, Store};
use crate::telemetry::Metrics;
use crate::versions::{self, Versions};

mod files;
mod watch;

pub use files::{Checked, check, compile, private_dir};

/// Reads the configuration and names its file; all problems if it can't.
type Load = dyn Fn() -> Result<(Config, Option<PathBuf>), Vec<String>> + Send + Sync;

/// How to read the configuration, again and again: the command line and the environment stay as they were.
pub struct Sources {
    load: Box<Load>,
}

impl Sources {
    /// Sources from a function.
    pub fn new(load: impl Fn() -> Result<(Config, Option<PathBuf>), Vec<String>> + Send + Sync + 'static) -> Self {
        Self { load: Box::new(load) }
    }
}

/// What the first screen shows.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Address of the data plane.
    pub data: SocketAddr,
    /// Address of the admin plane.
    pub admin: SocketAddr,
    /// Models that answer right now, best first.
    pub models: Vec<String>,
    /// The policy file in force.
    pub policy: String,
    /// Where the first key is.
    pub first_key: PathBuf,
    /// Something worth knowing.
    pub note: Option<String>,
}

/// A running gateway.
pub struct App {
    gateway: Arc<Gateway>,
    facts: Facts,
    stop: Stop,
    servers: TaskTracker,
    locals: Arc<ArcSwap<LocalModels>>,
    writer: LedgerWriter,
    reloads: mpsc::Sender<ReloadAsk>,
}

/// Somebody who waits for a reload, or nobody.
type ReloadAsk = Option<oneshot::Sender<Vec<String>>>;

impl App {
    /// Starts everything and returns when requests are answered.
    ///
    /// # Errors
    /// What is wrong, for a person: all problems of all files, or what the system refused.
    pub async fn start(sources: Sources) -> Result<Self, String> {
        let (config, file) = (sources.load)().map_err(|lines| lines.join("\n"))?;
        let dir = config.data_dir.clone();
        let durability = if config.durable_power { Durability::Power } else { Durability::Process };
        let (capacity, days) = (config.max_in_flight, config.decision_days);
        let (store, keys, vault, token, ledger, writer) =
            blocking(move || open(&dir, durability, capacity, days)).await?;
        let versions = Versions::new(store.clone());
        let metrics = Metrics::new().map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared::new(ledger, metrics));
        tenants_keys(&vault, &shared).await?;
        let locals = Arc::new(LocalModels::default().next(&config).map_err(|p| lines(&p))?);
        let snapshot = {
            let (shared, locals, config) = (Arc::clone(&shared), Arc::clone(&locals), config.clone());
            let (store, versions) = (store.clone(), versions.clone());
            blocking(move || {
                versions::recover(&config, &versions).map_err(|error| error.to_string())?;
                let snapshot = Snapshot::load(&config, &shared, &locals, 1).map_err(|p| lines(&p))?;
                shared.stored.load(&store).map_err(|e| e.to_string())?;
                snapshot.remember(&health::load(&store).map_err(|e| e.to_string())?);
                watch::record(&versions, &snapshot);
                Ok(snapshot)
            })
            .await?
        };
        let locals = Arc::new(ArcSwap::new(locals));
        let gateway = Arc::new(Gateway::new(Arc::clone(&shared), Arc::new(snapshot)));
        shared.metrics.generation.set(1);

        let (data, admin) = (server::bind(config.listen).await?, server::bind(config.admin_listen).await?);
        let address = |listener: &tokio::net::TcpListener| listener.local_addr().map_err(|e| e.to_string());
        let facts = Facts {
            data: address(&data)?,
            admin: address(&admin)?,
            models: Vec::new(),
            policy: files::policy_shown(&config),
            first_key: config.data_dir.join(FIRST_KEY),
            note: None,
        };
        let (stop, servers) = (Stop::default(), TaskTracker::new());
        let (reloads, asked) = mpsc::channel(8);
        let limits = Limits { connections: config.max_connections, head: Duration::from_secs(10), drain: config.drain };
        let plane = Arc::new(DataPlane::new(Arc::clone(&gateway), Arc::clone(&keys)));
        servers.spawn(server::serve(data, plane, limits, stop.clone()));
        let plane = Arc::new(AdminPlane::new(
            Arc::clone(&gateway),
            store.clone(),
            (Arc::clone(&keys), Arc::clone(&vault)),
            token,
            asker(reloads.clone()),
        ));
        servers.spawn(server::serve(admin, plane, limits, stop.clone()));
        let drain = || stop.drain.clone();
        servers.spawn(watch::reload(Arc::clone(&gateway), Arc::clone(&locals), sources, versions, asked, drain()));
        servers.spawn(watch::files(Arc::clone(&gateway), file, reloads.clone(), drain()));
        servers.spawn(watch::facts(Arc::clone(&gateway), drain()));
        servers.spawn(watch::keys(keys, store.clone(), drain()));
        servers.spawn(watch::tenants(vault, Arc::clone(&gateway), drain()));
        servers.spawn(watch::measurements(Arc::clone(&gateway), store, drain()));
        servers.spawn(Arc::clone(&gateway).account_batches(drain()));
        servers.close();
        let app = Self { gateway, facts, stop, servers, locals, writer, reloads };
        Ok(app)
    }

    /// What the first screen shows. Waits for local models that are still loading.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let mut facts = self.facts.clone();
        facts.models = self.gateway.snapshot().ready_models();
        facts
    }

    /// Waits until every local model is up or has failed, at most so long.
    pub async fn settle_locals(&self, within: Duration) {
        let _ = tokio::time::timeout(within, self.locals.load_full().settled()).await;
    }

    /// The gateway.
    #[must_use]
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Serves until SIGTERM or SIGINT; SIGHUP reloads. A second signal to stop cuts the answers that are still open.
    pub async fn run_until_signal(self) {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut term), Ok(mut hup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else {
            tracing::error!("cannot listen for signals");
            return;
        };
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => break,
                _ = term.recv() => break,
                _ = hup.recv() => {
                    // Full = a reload is already on its way, which will read the newest files.
                    let _ = self.reloads.try_send(None);
                }
            }
        }
        tracing::info!("stopping: no new requests, open answers may finish; stop once more to cut them");
        let cut = self.stop.cut.clone();
        let again = async {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = term.recv() => {}
            }
            cut.cancel();
            std::future::pending().await
        };
        tokio::select! {
            () = self.shutdown() => {}
            () = again => {}
        }
    }

    /// Drains: answers finish within their time, every receipt is written, workers exit.
    pub async fn shutdown(self) {
        self.stop.drain.cancel();
        self.servers.wait().await;
        self.gateway.shared().settle_all(SETTLING).await;
        self.locals.load_full().shutdown().await;
        if let Err(error) = self.writer.shutdown(&self.gateway.shared().ledger).await {
            tracing::error!(%error, "the ledger could not be written to its end");
        }
    }
}

/// Longest wait for what outlives its client to be settled, once it has been told to end.
const SETTLING: Duration = Duration::from_secs(5);
/// The file with the first key.
pub const FIRST_KEY: &str = "first-key";
/// The file with the admin token.
pub const ADMIN_TOKEN: &str = "admin-token";
/// The ledger and the keys.
pub const DATABASE: &str = "stellwerk.db";

type Opened = (Store, Arc<KeyRing>, Arc<Vault>, SecretString, Ledger, LedgerWriter);

/// Opens what lies on disk; makes the secrets on the first start.
fn open(dir: &Path, durability: Durability, capacity: usize, days: u32) -> Result<Opened, String> {
    files::private_dir(dir)?;
    let store = Store::serve(&dir.join(DATABASE), durability).map_err(|e| e.to_string())?;
    let keys = KeyRing::open(&store, dir).map_err(|e| e.to_string())?;
    keys.ensure_first_key(&store, &dir.join(FIRST_KEY)).map_err(|e| e.to_string())?;
    let token = files::secret(&dir.join(ADMIN_TOKEN))?;
    let (ledger, writer) = LedgerWriter::start(&store, capacity, days).map_err(|e| e.to_string())?;
    for left in objects::left_nameless(&store, gateway::now()).map_err(|e| e.to_string())? {
        tracing::error!(
            name = %left.id, kind = left.kind.name(), target = %left.target, tenant = %left.tenant,
            "the process ended before the provider's answer: something may lie there that has no name here, and if it is a \
             batch, its results will not be in the ledger"
        );
    }
    let vault = Vault::new(store.clone(), dir.to_owned(), std::env::var(MASTER_KEY_ENV).ok().map(Into::into));
    Ok((store, Arc::new(keys), Arc::new(vault), token, ledger, writer))
}

/// Opens the keys that tenants brought. One that can't be opened stops the start: its tenant's requests would go by another
/// key than the one that was brought.
async fn tenants_keys(vault: &Arc<Vault>, shared: &Arc<Shared>) -> Result<(), String> {
    let vault = Arc::clone(vault);
    let opened = blocking(move || vault.changes().map_err(|e| e.to_string())).await?.unwrap_or_default();
    if !opened.broken.is_empty() {
        return Err(opened.broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
    shared.tenants.take(opened.keys);
    Ok(())
}

fn asker(reloads: mpsc::Sender<ReloadAsk>) -> crate::admin::Reload {
    Box::new(move || {
        let (answer, answered) = oneshot::channel();
        // A full queue drops the answerer: the caller sees that the gateway is busy reloading.
        let _ = reloads.try_send(Some(answer));
        answered
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

fn lines(problems: &[crate::domain::problem::Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
