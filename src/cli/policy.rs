//! `stellwerk policy`: the unit tests inside policy files, what a change means, and what policies would have done.

mod diff;
mod versions;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Common, Failed, backtest, say};
use crate::app;
use crate::gateway::{Compiled, now};
use crate::policy::run_tests;

/// Work with policies.
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Run the tests inside policy files.
    Test(Test),
    /// Compare two policies, or two directories of them, by what they mean for the catalogue's targets.
    Diff(diff::Diff),
    /// Decide recorded requests again with the policies of a directory, and compare.
    Backtest(backtest::Backtest),
    /// Check a directory of policies, run its tests, and put it in force as a whole.
    Apply(versions::Apply),
    /// List what was in force when and by whose hand, newest first.
    Versions(versions::List),
    /// Put an earlier version in force again.
    Rollback(versions::Rollback),
}

const TEST_HELP: &str = "\
A test is a [[test]] section of a policy file: what is asked, by whom, what is down, and what must come out. Nobody is
called, no gateway need run; targets are unmeasured, and every provider counts as having its keys.

Exit code: 0 all passed, 1 one failed or the files can't be read (told as `stellwerk check` tells it), 2 wrong command line.

Examples:
  stellwerk policy test                 the policies of the configuration, and those that are compiled in
  stellwerk policy test new/            those of a directory alone, before they are applied
  stellwerk policy test new/ --json     [{\"policy\", \"test\", \"passed\", \"why\"}, ...]";

/// Run the tests inside policy files.
#[derive(Debug, Args)]
#[command(after_help = TEST_HELP)]
pub(super) struct Test {
    /// Policy files; without it those of the configuration.
    dir: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Policy {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        match self {
            Self::Test(test) => test.run(common),
            Self::Diff(diff) => diff.run(common),
            Self::Backtest(command) => command.run(common),
            Self::Apply(apply) => apply.run(common),
            Self::Versions(list) => list.run(common),
            Self::Rollback(rollback) => rollback.run(common),
        }
    }
}

/// The names of a directory's policies.
pub(super) fn names(dir: &Path) -> Result<BTreeSet<String>, Failed> {
    let shown = dir.display();
    let entries = std::fs::read_dir(dir).map_err(|error| format!("{shown} can't be read: {error}"))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let policies = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let names: BTreeSet<_> = policies.filter_map(|p| Some(p.file_stem()?.to_str()?.to_owned())).collect();
    if names.is_empty() { Err(Failed::Message(format!("{shown} has no policy files"))) } else { Ok(names) }
}

impl Test {
    fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        let mut config = common.load()?;
        let names = self.dir.as_deref().map(names).transpose()?;
        config.policies_dir = self.dir.or(config.policies_dir);
        let mut compiled = app::compile(&config)?.into_compiled();
        // What is compiled in beside a directory is not what was asked about.
        compiled.policies.retain(|name, _| names.as_ref().is_none_or(|names| names.contains(&**name)));
        Ok(test(&compiled, self.json))
    }
}

fn test(compiled: &Compiled, json: bool) -> ExitCode {
    let (mut lines, mut rows, mut failed, mut count) = (Vec::new(), Vec::new(), 0, 0);
    for policy in compiled.policies.values() {
        for outcome in run_tests(policy, &*compiled.catalogue, now()) {
            count += 1;
            failed += usize::from(!outcome.passed);
            let mark = if outcome.passed { "ok  " } else { "FAIL" };
            lines.push(format!("{mark}  {}: {}", policy.name, outcome.name));
            lines.extend((!outcome.passed).then(|| format!("        {}", outcome.why)));
            rows.push(serde_json::json!({
                "policy": &*policy.name, "test": outcome.name, "passed": outcome.passed, "why": outcome.why,
            }));
        }
    }
    if json {
        say(&serde_json::Value::from(rows).to_string());
    } else {
        lines.push(format!("\n{} passed, {failed} failed", count - failed));
        say(&lines.join("\n"));
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
