//! `stellwerk policy apply | versions | rollback`: putting policies in force, and what was in force before.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::super::{Common, Failed, running, say};
use crate::app::{self, DATABASE};
use crate::config::Config;
use crate::gateway::{files, now};
use crate::store::{Durability, Store};
use crate::versions::{self, PolicySet, Refused, State, Version, Versions};

const APPLY_HELP: &str = "\
Checks the files as `stellwerk check` does, runs their tests, looks whether keys name a policy that would go, and writes
all files or none, also over a crash. A running gateway is asked to reload and is waited for. The version that was in force
can be had back: `stellwerk policy versions`, `stellwerk policy rollback`.

Exit code: 0 in force (or written, where no gateway runs), 1 refused or failed, with why, 2 wrong command line.

Examples:
  stellwerk policy apply new/ --message 'EU only for the shop'
  stellwerk policy apply new/ --expect 3fa9c1        only if that is what is in force
  stellwerk policy apply new/ --author ci/build-812 --message 'EU only for the shop'";

const ROLLBACK_HELP: &str = "\
The files of that version are checked and put in force like any others, as a new version.

Exit code: 0 in force (or written, where no gateway runs), 1 refused or failed, with why, 2 wrong command line.

Examples:
  stellwerk policy versions
  stellwerk policy rollback 12 --message 'too dear'
  stellwerk policy rollback 12 --author ann";

/// Check a directory of policies, run its tests, and put it in force as a whole.
#[derive(Debug, Args)]
#[command(after_help = APPLY_HELP)]
pub(in crate::cli) struct Apply {
    /// The policy files, all of them: what the configured directory has beside them is removed, and can be had back.
    dir: PathBuf,
    #[command(flatten)]
    by: By,
}

/// Put an earlier version in force again.
#[derive(Debug, Args)]
#[command(after_help = ROLLBACK_HELP)]
pub(in crate::cli) struct Rollback {
    /// Its number, or the beginning of its hash (at least six digits).
    version: String,
    #[command(flatten)]
    by: By,
}

/// List what was in force when and by whose hand, newest first.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Only the newest so many.
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Who, why, and over what.
#[derive(Debug, Args)]
struct By {
    /// Why, on one line.
    #[arg(long)]
    message: Option<String>,
    /// Who; without it the user that is logged in, or whose account runs this.
    #[arg(long)]
    author: Option<String>,
    /// Refuse unless this is in force now: a hash, or its beginning.
    #[arg(long, value_name = "HASH")]
    expect: Option<String>,
    /// Even if tests fail, if keys name a policy that goes, or if edits on the disk that are not in force are replaced
    /// (they stay among the versions). Never with policies that can't be read.
    #[arg(long)]
    force: bool,
}

/// Longest wait for a gateway to reload.
const RELOAD: Duration = Duration::from_secs(60);

impl By {
    fn put(
        self,
        config: &Config,
        (set, from): (PolicySet, Option<PathBuf>),
        message: String,
    ) -> Result<ExitCode, Failed> {
        let user = |name| std::env::var(name).ok().filter(|user| !user.is_empty());
        let author = self.author.or_else(|| user("USER")).or_else(|| user("LOGNAME")).or_else(account);
        let author = author.ok_or_else(|| "it is not known who does this: say so with --author NAME".to_owned())?;
        let message = self.message.unwrap_or(message);
        let change = versions::Apply { set, from, author, message, expect: self.expect, force: self.force };
        let versions = open(config)?;
        let applied = versions::apply(config, &versions, &change, now()).map_err(failed)?;
        let Some(seq) = applied.seq else {
            say(&format!("{} is in force already", applied.hash));
            return Ok(ExitCode::SUCCESS);
        };
        let written = format!("version {seq} ({})", applied.hash);
        let address = config.admin_listen;
        match running::post(config, "reload", String::new(), RELOAD)? {
            None => say(&format!(
                "{written} is written; no gateway answers at {address}: the next one that reads the files puts it in force"
            )),
            Some((200, _)) => {
                let found = versions.find(&seq.to_string()).map_err(|error| error.to_string())?;
                match found.map(|(version, _)| version.state) {
                    Some(State::InForce) => say(&format!("{written} is in force")),
                    Some(State::Applying) => say(&format!(
                        "{written} is written; the gateway at {address} reads other files, and did not take it over"
                    )),
                    // Another apply, or an editor, was faster than the gateway.
                    Some(State::Abandoned) | None => {
                        return Err(Failed::Message(format!(
                            "{written} was replaced before it was in force: see `stellwerk policy versions`"
                        )));
                    }
                }
            }
            Some((_, answer)) => {
                versions::undo(config, &versions, seq, now()).map_err(failed)?;
                return Err(Failed::Message(format!(
                    "the gateway at {address} refused version {seq}; the files are as they were\n{}",
                    problems(&answer)
                )));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The name of the account that this process runs under, where the system keeps such things in files.
#[cfg(unix)]
fn account() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let id = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    let of = |line: &str| {
        let mut parts = line.split(':');
        let name = parts.next().filter(|name| !name.is_empty())?;
        (parts.nth(1)? == id).then(|| name.to_owned())
    };
    accounts.lines().find_map(of)
}

#[cfg(not(unix))]
fn account() -> Option<String> {
    None
}

/// What a gateway says of a reload that it refused.
fn problems(answer: &str) -> String {
    let told: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    let problems = told["problems"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
    let lines: Vec<&str> = problems.collect();
    if lines.is_empty() { answer.to_owned() } else { lines.join("\n") }
}

impl Apply {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        let config = common.load()?;
        let set = PolicySet::of(&files::policies(&self.dir)?).files().clone();
        let set = PolicySet::new(set).map_err(|why| format!("{}: {why}", self.dir.display()))?;
        self.by.put(&config, (set, Some(self.dir)), String::new())
    }
}

impl Rollback {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        let config = common.load()?;
        let found = open(&config)?.find(&self.version).map_err(|error| error.to_string())?;
        let (version, set) = found.ok_or_else(|| format!("there is no version `{}`", self.version))?;
        self.by.put(&config, (set, None), format!("rollback to version {}", version.seq))
    }
}

impl List {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        let config = common.load()?;
        let versions = open(&config)?;
        let list = versions.list(self.limit).map_err(|error| error.to_string())?;
        let drift = versions::drift(&config, &versions).map_err(failed)?;
        if self.json {
            let told = |v: &Version| {
                serde_json::json!({
                    "version": v.seq, "at": v.time(), "hash": v.hash, "config_hash": v.config_hash,
                    "author": v.author, "message": v.message, "state": v.state.name(),
                })
            };
            let list: Vec<_> = list.iter().map(told).collect();
            say(&serde_json::json!({ "versions": list, "drift": drift }).to_string());
            return Ok(ExitCode::SUCCESS);
        }
        let line = |v: &Version| {
            let state = match v.state {
                State::InForce => "",
                State::Applying => "  (waits for a gateway)",
                State::Abandoned => "  (never in force)",
            };
            let hash = v.hash.get(..12).unwrap_or(&v.hash);
            format!("{:>5}  {}  {hash}  {:<12}  {}{state}", v.seq, v.time(), v.author, v.message).trim_end().to_owned()
        };
        let mut lines: Vec<String> = list.iter().map(line).collect();
        if lines.is_empty() {
            lines.push("no versions yet".to_owned());
        }
        lines.extend(drift.map(|drift| format!("\n{drift}")));
        say(&lines.join("\n"));
        Ok(ExitCode::SUCCESS)
    }
}

fn open(config: &Config) -> Result<Versions, Failed> {
    app::private_dir(&config.data_dir)?;
    let store = Store::open(&config.data_dir.join(DATABASE), Durability::Process).map_err(|error| error.to_string())?;
    Ok(Versions::new(store))
}

fn failed(why: Refused) -> Failed {
    match why {
        Refused::Problems(problems) => Failed::Problems(problems),
        why => why.to_string().into(),
    }
}
