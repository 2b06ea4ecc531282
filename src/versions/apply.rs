//! Putting a set of policies in force: checked as a whole, then written as a whole.

use std::path::{Path, PathBuf};

use super::PolicySet;
use super::disk::{self, Lock};
use super::table::{DISK, Entry, GATEWAY, State, Version, Versions};
use crate::config::Config;
use crate::domain::problem::Problem;
use crate::domain::target::UnixMillis;
use crate::gateway::Compiled;
use crate::gateway::files::POLICY_LOCK;
use crate::policy::run_tests;
use crate::store::StoreError;

/// Longest name of an author, in characters.
const AUTHOR: usize = 100;
/// Longest message, in characters.
const MESSAGE: usize = 1000;

/// What is to be put in force.
#[derive(Clone, Debug)]
pub struct Apply {
    /// The files, all of them: others in the directory are removed.
    pub set: PolicySet,
    /// Where they come from, as problems of theirs are told; none = where they are to be.
    pub from: Option<PathBuf>,
    /// Who.
    pub author: String,
    /// Why.
    pub message: String,
    /// The digest that must be in force now, or its beginning.
    pub expect: Option<String>,
    /// Also over edits on the disk that are not in force, with tests that fail, and without policies that keys name.
    pub force: bool,
}

/// A set that has been written. The gateway takes it over when it reads the files next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The version's number; none = this set was in force already.
    pub seq: Option<i64>,
    /// Its digest.
    pub hash: String,
}

/// Why a set is not put in force.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no directory to write to.
    #[error("no policies.dir is configured: the compiled-in policies hold, and there is nowhere to write others")]
    NoDirectory,
    /// The set is too large, empty, or has odd names; or author or message are odd.
    #[error("{0}")]
    Set(String),
    /// The files, or what they go with, have problems.
    #[error("the policies have problems:\n{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
    /// Tests inside the files fail.
    #[error("tests of the policies fail:\n{}", .0.join("\n"))]
    Tests(Vec<String>),
    /// Keys, teams or tenants name policies that would no longer exist.
    #[error("keys, teams or tenants name policies that would no longer be there, and would be refused: {}", .0.join(", "))]
    Named(Vec<String>),
    /// Somebody edited the files, and the edits are not in force.
    #[error(
        "the files in {dir} are not those of version {version}: edits that are not in force would be lost (force replaces \
         them; they stay among the versions)"
    )]
    Edited {
        /// Where.
        dir: String,
        /// What is in force.
        version: i64,
    },
    /// A set was half written when its writer died, and can't be finished.
    #[error(
        "{dir} holds half of a set, and files of it were edited since, or the database knows nothing of it. Apply a set with \
         force, or remove {dir}/{lock} to take the files as they are", lock = POLICY_LOCK
    )]
    Half {
        /// Where.
        dir: String,
    },
    /// Something else is in force than the caller thinks.
    #[error("{found} is in force, not {expected}")]
    Unexpected {
        /// What the caller thinks.
        expected: String,
        /// What is.
        found: String,
    },
    /// The directory can't be read or written.
    #[error("{0}")]
    Disk(String),
    /// The database can't be read or written.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl Apply {
    /// Whether author and message can stand in a list.
    fn check(&self) -> Result<(), Refused> {
        let odd = |text: &str, most: usize| text.chars().count() > most || text.chars().any(char::is_control);
        if self.author.trim().is_empty() || odd(&self.author, AUTHOR) || [DISK, GATEWAY].contains(&&*self.author) {
            let message = format!(
                "an author has 1 to {AUTHOR} characters, no control characters, and is neither `{DISK}` nor `{GATEWAY}`"
            );
            return Err(Refused::Set(message));
        }
        if odd(&self.message, MESSAGE) {
            let message = format!("a message has at most {MESSAGE} characters, on one line");
            return Err(Refused::Set(message));
        }
        Ok(())
    }
}

/// Whether a set could be put in force: it compiles with the catalogue of the configuration, and its tests hold. `from`: where
/// its problems are told to be, if not where its files are to be.
///
/// # Errors
/// All problems, or all tests that fail.
pub fn validate(config: &Config, set: &PolicySet, from: Option<&Path>, now: UnixMillis) -> Result<(), Refused> {
    let dir = from.or(config.policies_dir.as_deref()).unwrap_or(Path::new("policies"));
    let (compiled, mut problems) = Compiled::with_policies(config, set.sources(dir));
    problems.extend(compiled.check_wires().err().into_iter().flatten());
    if !problems.is_empty() {
        return Err(Refused::Problems(problems));
    }
    let mut failed = Vec::new();
    // Shipped policies that hold beside the set are not what is being changed.
    let own = |name: &str| set.files().contains_key(&format!("{name}.toml"));
    for policy in compiled.policies.values().filter(|policy| own(&policy.name)) {
        let outcomes = run_tests(policy, &*compiled.catalogue, now).into_iter().filter(|outcome| !outcome.passed);
        failed.extend(outcomes.map(|outcome| format!("{}: {}: {}", policy.name, outcome.name, outcome.why)));
    }
    if failed.is_empty() { Ok(()) } else { Err(Refused::Tests(failed)) }
}

/// Policies that keys, teams and tenants name and that neither the set nor the binary has.
fn missing(set: &PolicySet, versions: &Versions) -> Result<Vec<String>, StoreError> {
    let files = Compiled::with_shipped(set.sources(Path::new("")));
    let stem = |name: &str| Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let there: Vec<String> = files.iter().filter_map(|file| stem(&file.name)).collect();
    let mut named = versions.policies_named()?;
    named.retain(|name| !there.contains(name));
    Ok(named)
}

/// Checks a set and writes it. Blocks: not for async threads.
///
/// # Errors
/// Why not; then the directory is as it was.
pub fn apply(config: &Config, versions: &Versions, change: &Apply, now: UnixMillis) -> Result<Applied, Refused> {
    let dir = config.policies_dir.as_deref().ok_or(Refused::NoDirectory)?;
    change.check()?;
    match validate(config, &change.set, change.from.as_deref(), now) {
        Err(Refused::Tests(_)) if change.force => {}
        checked => checked?,
    }
    let missing = missing(&change.set, versions)?;
    if !missing.is_empty() && !change.force {
        return Err(Refused::Named(missing));
    }
    let mut lock = Lock::take(dir).map_err(Refused::Disk)?;
    match recover_locked(dir, &mut lock, versions) {
        Err(Refused::Half { .. }) if change.force => {}
        recovered => recovered?,
    }
    let there = lock.read().map_err(Refused::Disk)?;
    let current = versions.current()?;
    let in_force = current.as_ref().map_or_else(|| there.hash(), |version| version.hash.clone());
    if let Some(expected) = change.expect.as_ref().filter(|expected| !in_force.starts_with(expected.as_str())) {
        return Err(Refused::Unexpected { expected: expected.clone(), found: in_force });
    }
    let hash = change.set.hash();
    if there == change.set && in_force == hash && current.is_some() {
        return Ok(Applied { seq: None, hash });
    }
    keep(dir, &there, current.as_ref(), change, versions, now)?;
    // What needs space is done before anything is noted or changed.
    let staged = lock.stage(&there, change.set.clone()).map_err(Refused::Disk)?;
    let Apply { set, author, message, .. } = change;
    let entry = Entry { set, previous: Some(&there), config_hash: None, author, message, state: State::Applying };
    let seq = versions.record(&entry, now).inspect_err(|_| lock.clear(&staged))?;
    if let Err(error) = lock.commit(&staged, seq) {
        // What can't be undone now is seen at the next start.
        if let Err(why) = take_back(&mut lock, versions, seq, "it could not be written", now) {
            tracing::error!(%why, version = seq, "a version that could not be written could not be taken back either");
        }
        return Err(Refused::Disk(error));
    }
    Ok(Applied { seq: Some(seq), hash })
}

/// Records what lies on the disk and nobody knows, so that there is something to go back to.
fn keep(
    dir: &Path,
    there: &PolicySet,
    current: Option<&Version>,
    change: &Apply,
    versions: &Versions,
    now: UnixMillis,
) -> Result<(), Refused> {
    let (message, state) = match current {
        None => ("found at the first apply", State::InForce),
        Some(version) if version.hash != there.hash() && *there != change.set => {
            if !change.force {
                return Err(Refused::Edited { dir: dir.display().to_string(), version: version.seq });
            }
            ("edits that were never in force, replaced by force", State::Abandoned)
        }
        Some(_) => return Ok(()),
    };
    versions.record(&Entry { set: there, previous: None, config_hash: None, author: DISK, message, state }, now)?;
    Ok(())
}

/// Takes a version back that the gateway refused: the files that lay there before are written again, unless somebody has
/// put others there since.
///
/// # Errors
/// It can't be done.
pub fn undo(config: &Config, versions: &Versions, seq: i64, now: UnixMillis) -> Result<(), Refused> {
    let dir = config.policies_dir.as_deref().ok_or(Refused::NoDirectory)?;
    let mut lock = Lock::take(dir).map_err(Refused::Disk)?;
    take_back(&mut lock, versions, seq, "the gateway refused it", now)
}

fn take_back(lock: &mut Lock, versions: &Versions, seq: i64, why: &str, now: UnixMillis) -> Result<(), Refused> {
    let Some((version, set)) = versions.find(&seq.to_string())? else { return Ok(()) };
    let there = lock.read().map_err(Refused::Disk)?;
    let before = version.previous.as_deref().map(|hash| versions.set(hash)).transpose()?.flatten();
    let half = lock.half_written();
    let ours = |before: &PolicySet| if half { disk::between(&there, before, &set) } else { there == set };
    if half && before.as_ref() == Some(&there) {
        lock.whole().map_err(Refused::Disk)?;
    }
    match before.filter(|before| *before != there && ours(before)) {
        None => versions.abandon(seq)?,
        Some(before) => {
            let staged = lock.stage(&there, before.clone()).map_err(Refused::Disk)?;
            let (message, state) = (format!("version {seq} taken back: {why}"), State::Applying);
            let previous = Some(&there);
            let entry = Entry { set: &before, previous, config_hash: None, author: GATEWAY, message: &message, state };
            let back = versions.record(&entry, now).inspect_err(|_| lock.clear(&staged))?;
            lock.commit(&staged, back).map_err(Refused::Disk)?;
        }
    }
    Ok(())
}

/// Finishes what a crash left: a set that was being written is written to its end if nobody has edited the files since.
/// To be called before a start or a reload reads them.
///
/// # Errors
/// The directory or the database can't be read or written, or what is there can't be finished.
pub fn recover(config: &Config, versions: &Versions) -> Result<(), Refused> {
    let Some(dir) = config.policies_dir.as_deref().filter(|dir| dir.is_dir()) else { return Ok(()) };
    if versions.open()?.is_none() && !dir.join(POLICY_LOCK).exists() {
        return Ok(());
    }
    let mut lock = match Lock::take(dir) {
        Ok(lock) => lock,
        Err(error) => {
            // A directory that can't be written holds nothing half-written, or its readers say so.
            tracing::warn!(error, "the policies can't be locked: nothing is finished that an apply may have left");
            return Ok(());
        }
    };
    recover_locked(dir, &mut lock, versions)
}

fn recover_locked(dir: &Path, lock: &mut Lock, versions: &Versions) -> Result<(), Refused> {
    let (open, half) = (versions.open()?, lock.half_written());
    let there = lock.read().map_err(Refused::Disk)?;
    let Some(version) = open else {
        return if half { Err(Refused::Half { dir: dir.display().to_string() }) } else { Ok(()) };
    };
    let set = versions.set(&version.hash)?;
    let before = version.previous.as_deref().map(|hash| versions.set(hash)).transpose()?.flatten();
    match set.zip(before) {
        Some((set, before)) if half => {
            if !disk::between(&there, &before, &set) {
                return Err(Refused::Half { dir: dir.display().to_string() });
            }
            let staged = lock.stage(&there, set).map_err(Refused::Disk)?;
            lock.commit(&staged, version.seq).map_err(Refused::Disk)?;
            tracing::warn!(version = version.seq, "policies that were being written have been written to their end");
        }
        // It is written, and waits for a gateway.
        Some((set, _)) if set == there => {}
        _ => {
            versions.abandon(version.seq)?;
            tracing::warn!(version = version.seq, "a version was never written, or edited since: it is abandoned");
        }
    }
    Ok(())
}

/// What is not as it should be: files on the disk that are not in force. None = all is well.
///
/// # Errors
/// The directory or the database can't be read.
pub fn drift(config: &Config, versions: &Versions) -> Result<Option<String>, Refused> {
    let Some(dir) = config.policies_dir.as_deref() else { return Ok(None) };
    let files = match crate::gateway::files::policies(dir) {
        Ok(files) => files,
        Err(problems) => return Ok(problems.first().map(ToString::to_string)),
    };
    let (there, current) = (PolicySet::of(&files), versions.current()?);
    let Some(current) = current.filter(|current| current.hash != there.hash()) else { return Ok(None) };
    let edits = versions.set(&current.hash)?.map(|set| there.since(&set)).unwrap_or_default();
    let (dir, seq) = (dir.display(), current.seq);
    Ok(Some(format!("the files in {dir} are not those of version {seq} and not in force ({edits})")))
}
