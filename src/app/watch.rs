//! What changes while the gateway runs: files, keys.
//!
//! A reload reads everything anew, checks it all, and swaps; a file with a problem never replaces a good one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{ReloadAsk, Sources};
use crate::admission::KeyRing;
use crate::config::Config;
use crate::gateway::{Gateway, LocalModels, Snapshot};
use crate::store::Store;

/// Editors write a file in several steps: wait until it is quiet.
const SETTLE: Duration = Duration::from_millis(200);
/// How soon a key made or revoked by another process is known.
const KEYS: Duration = Duration::from_millis(500);

/// What to watch: the configuration file and the directories it names.
pub(super) fn watched(config: &Config, file: Option<PathBuf>) -> Vec<PathBuf> {
    file.into_iter().chain(config.policies_dir.clone()).chain(config.providers_dir.clone()).collect()
}

/// Asks for a reload whenever a watched file has changed and is quiet again.
pub(super) async fn files(paths: Vec<PathBuf>, reloads: mpsc::Sender<ReloadAsk>, stop: CancellationToken) {
    let (changed, mut changes) = mpsc::channel::<()>(1);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|e| !e.kind.is_access()) {
            // Full = a change is already known.
            let _ = changed.try_send(());
        }
    });
    let Ok(mut watcher) = watcher.inspect_err(|error| tracing::warn!(%error, "files are not watched; use SIGHUP"))
    else {
        return;
    };
    for path in &paths {
        // An editor replaces the file itself, so its directory is what can be watched.
        let watch = if path.is_dir() { path.clone() } else { parent(path) };
        if let Err(error) = watcher.watch(&watch, RecursiveMode::NonRecursive) {
            tracing::warn!(path = %watch.display(), %error, "not watched; use SIGHUP");
        }
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            change = changes.recv() => if change.is_none() { return },
        }
        while tokio::time::timeout(SETTLE, changes.recv()).await.is_ok() {}
        if reloads.send(None).await.is_err() {
            return;
        }
    }
}

fn parent(path: &std::path::Path) -> PathBuf {
    path.parent().filter(|p| !p.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// Reloads one at a time, in the order asked.
pub(super) async fn reload(
    gateway: Arc<Gateway>,
    locals: Arc<LocalModels>,
    sources: Sources,
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
        let problems = once(&gateway, &locals, &sources).await;
        if let Some(answer) = answer {
            let _ = answer.send(problems);
        }
    }
}

async fn once(gateway: &Arc<Gateway>, locals: &Arc<LocalModels>, sources: &Arc<Sources>) -> Vec<String> {
    let shared = Arc::clone(gateway.shared());
    let next = gateway.snapshot().generation + 1;
    let (sources, locals) = (Arc::clone(sources), Arc::clone(locals));
    let work = {
        let shared = Arc::clone(&shared);
        move || {
            let (config, _) = (sources.load)()?;
            let snapshot = Snapshot::load(&config, &shared, &locals, next);
            snapshot.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())
        }
    };
    let loaded = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(vec![error.to_string()]));
    match loaded {
        Ok(snapshot) if snapshot.hash == gateway.snapshot().hash => {
            shared.metrics.reload("unchanged");
            Vec::new()
        }
        Ok(snapshot) => {
            tracing::info!(generation = next, hash = %snapshot.hash, "new configuration in force");
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
