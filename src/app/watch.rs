//! What changes while the gateway runs: files, keys.
//!
//! A reload reads everything anew, checks it all, and swaps; a file with a problem never replaces a good one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{ReloadAsk, Sources};
use crate::admission::{KeyRing, Vault};
use crate::config::Config;
use crate::domain::problem::Problem;
use crate::gateway::{Gateway, LocalModels, Snapshot, now};
use crate::health;
use crate::store::Store;
use crate::versions::{self, PolicySet, Versions};

/// How often the files are looked at. Looking needs no kernel queues, sees through replaced directories and links
/// (as mounted configuration is), and costs a few system calls.
const LOOK: Duration = Duration::from_millis(250);
/// How often measurements are written down.
const MEASUREMENTS: Duration = Duration::from_secs(30);
/// How soon it is said that residency facts turn stale, or have.
const FACTS: Duration = Duration::from_secs(60);
/// How soon a key made or revoked by another process is known.
const KEYS: Duration = Duration::from_millis(500);

/// What can be seen of the files without reading them; a change of any of these is a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen(BTreeMap<PathBuf, (Option<SystemTime>, u64, u64)>);

impl Seen {
    /// The configuration file, the `*.toml` files of the directories it names, and the files that hold credentials.
    fn look(file: Option<&Path>, config: &Config, keys: &[PathBuf]) -> Self {
        let dirs = [config.policies_dir.as_deref(), config.providers_dir.as_deref()].into_iter().flatten();
        let listed = dirs.filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().filter_map(Result::ok);
        let tables = listed.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "toml"));
        let mut seen = BTreeMap::new();
        for path in file.into_iter().map(Path::to_path_buf).chain(tables).chain(keys.iter().cloned()) {
            if let Ok(meta) = std::fs::metadata(&path) {
                seen.insert(path, (meta.modified().ok(), meta.len(), inode(&meta)));
            }
        }
        Self(seen)
    }
}

#[cfg(unix)]
fn inode(meta: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

/// Asks for a reload whenever a file has changed and is quiet again: two looks in a row that agree with each other and
/// not with what is known. What was refused is known as well, so a bad file is told once.
pub(super) async fn files(
    gateway: Arc<Gateway>,
    file: Option<PathBuf>,
    reloads: mpsc::Sender<ReloadAsk>,
    stop: CancellationToken,
) {
    let look = || {
        let (snapshot, file) = (gateway.snapshot(), file.clone());
        let look = move || {
            let keys: Vec<PathBuf> = snapshot.catalogue.key_files().map(PathBuf::from).collect();
            Seen::look(file.as_deref(), &snapshot.config, &keys)
        };
        async move { tokio::task::spawn_blocking(look).await.unwrap_or_default() }
    };
    // Nothing is known at first: a change between the first load and the first look is not missed.
    let (mut known, mut last) = (Seen::default(), Seen::default());
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = look().await;
        if now == last && now != known {
            known = now.clone();
            if reloads.send(None).await.is_err() {
                return;
            }
        }
        last = now;
    }
}

/// Reloads one at a time, in the order asked.
pub(super) async fn reload(
    gateway: Arc<Gateway>,
    locals: Arc<ArcSwap<LocalModels>>,
    sources: Sources,
    versions: Versions,
    mut asked: mpsc::Receiver<ReloadAsk>,
    stop: CancellationToken,
) {
    let sources = Arc::new(sources);
    loop {
        let ask = tokio::select! {
            () = stop.cancelled() => return,
            ask = asked.recv() => ask,
        };
        let Some(answer) = ask else { return };
        let problems = once(&gateway, &locals, &sources, &versions).await;
        if problems.is_empty() {
            let (versions, snapshot) = (versions.clone(), gateway.snapshot());
            let _ = tokio::task::spawn_blocking(move || record(&versions, &snapshot)).await;
        }
        if let Some(answer) = answer {
            let _ = answer.send(problems);
        }
    }
}

/// Notes in the database what is in force. What can't be noted is in force nevertheless.
pub(super) fn record(versions: &Versions, snapshot: &Snapshot) {
    let set = PolicySet::of(&snapshot.policy_files);
    if let Err(error) = versions.in_force(&set, &snapshot.hash, now()) {
        tracing::warn!(%error, "the version in force could not be recorded");
    }
}

async fn once(
    gateway: &Arc<Gateway>,
    locals: &Arc<ArcSwap<LocalModels>>,
    sources: &Arc<Sources>,
    versions: &Versions,
) -> Vec<String> {
    let shared = Arc::clone(gateway.shared());
    let old = gateway.snapshot();
    let next = old.generation + 1;
    let (sources, served) = (Arc::clone(sources), locals.load_full());
    let work = {
        let (shared, versions) = (Arc::clone(&shared), versions.clone());
        move || {
            let told = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
            let (config, _) = (sources.load)()?;
            versions::recover(&config, &versions).map_err(|error| vec![error.to_string()])?;
            // New models begin to load; if the rest is refused they are dropped, and stop.
            let models = served.next(&config).map_err(told)?;
            Ok((Snapshot::load(&config, &shared, &models, next).map_err(told)?, models))
        }
    };
    let loaded = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(vec![error.to_string()]));
    match loaded {
        Ok((snapshot, _)) if snapshot.hash == old.hash => {
            shared.metrics.reload("unchanged");
            Vec::new()
        }
        Ok((snapshot, models)) => {
            tracing::info!(generation = next, hash = %snapshot.hash, "new configuration in force");
            let later = old.config.fixed_at_start(&snapshot.config);
            if !later.is_empty() {
                tracing::warn!(settings = %later.join(", "), "these take a restart");
            }
            locals.store(Arc::new(models));
            gateway.swap(Arc::new(snapshot));
            shared.metrics.reload("applied");
            Vec::new()
        }
        Err(problems) => {
            problems.iter().for_each(|problem| tracing::error!("{problem}"));
            tracing::error!(count = problems.len(), "reload refused: the configuration in force stays");
            shared.metrics.reload("refused");
            problems
        }
    }
}

/// Writes down what was measured, now and then and at the end.
pub(super) async fn measurements(gateway: Arc<Gateway>, store: Store, stop: CancellationToken) {
    let mut tick = tokio::time::interval(MEASUREMENTS);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        let last = tokio::select! {
            () = stop.cancelled() => true,
            _ = tick.tick() => false,
        };
        let (gateway, store) = (Arc::clone(&gateway), store.clone());
        let saved = tokio::task::spawn_blocking(move || {
            let now = gateway.shared().now();
            health::save(&store, &gateway.shared().health.keep(now), now)
        });
        if let Ok(Err(error)) = saved.await {
            tracing::warn!(%error, "measurements could not be kept; the next start may have to begin from older ones");
        }
        if last {
            return;
        }
    }
}

/// Says once of residency facts that they will turn stale soon, and once that they have: from then on requirements refuse
/// what was admitted.
pub(super) async fn facts(gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(FACTS);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut said = BTreeSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = gateway.shared().now();
        let ends = gateway.snapshot().catalogue.facts_end();
        let told: BTreeSet<String> = ends.iter().filter_map(|end| end.warning(now)).collect();
        told.difference(&said).for_each(|warning| tracing::warn!("{warning}"));
        said = told;
    }
}

/// Learns of keys that another process made or revoked.
pub(super) async fn keys(keys: Arc<KeyRing>, store: Store, stop: CancellationToken) {
    let mut tick = tokio::time::interval(KEYS);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let (ring, store) = (Arc::clone(&keys), store.clone());
        let refreshed = tokio::task::spawn_blocking(move || ring.refresh(&store)).await;
        if let Ok(Err(error)) = refreshed {
            tracing::warn!(%error, "keys could not be refreshed; known keys go on working");
        }
    }
}

/// Learns of tenants' keys that another process brought or took.
pub(super) async fn tenants(vault: Arc<Vault>, gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(KEYS);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let vault = Arc::clone(&vault);
        match tokio::task::spawn_blocking(move || vault.changes()).await {
            Ok(Ok(Some(opened))) => {
                opened.broken.iter().for_each(|error| tracing::error!(%error, "a tenant's key can't be used"));
                gateway.shared().tenants.take(opened.keys);
            }
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!(%error, "tenants' keys could not be refreshed; known ones go on working"),
        }
    }
}
