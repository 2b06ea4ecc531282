//! `stellwerk policy`: the unit tests inside policy files, what a change means, and what policies would have done.

mod diff;
mod versions;

use std::process::ExitCode;

use clap::Subcommand;

use super::{Common, Failed, backtest, say};
use crate::app;
use crate::gateway::now;
use crate::policy::run_tests;

/// Work with policies.
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Run the `[[test]]` sections of all policy files; the exit code says whether all passed.
    Test {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
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

impl Policy {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        match self {
            Self::Test { json } => test(common, json),
            Self::Diff(diff) => diff.run(common),
            Self::Backtest(command) => command.run(common),
            Self::Apply(apply) => apply.run(common),
            Self::Versions(list) => list.run(common),
            Self::Rollback(rollback) => rollback.run(common),
        }
    }
}

fn test(common: &Common, json: bool) -> Result<ExitCode, Failed> {
    let checked = app::compile(&common.load()?)?;
    let compiled = checked.compiled();
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
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
