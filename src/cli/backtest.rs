//! `stellwerk policy backtest`: what other policies would have done with recorded requests.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Common, Failed, past, policy, say, since};
use crate::app;
use crate::replay;

const HELP: &str = "\
Every request of the period goes through the planner again, with the prices, measurements, requirements and facts of its
moment. Needs a ledger with decisions (`ledger.decisions_days`); nobody is called and nothing is written.

By route and team: requests, cost before and after, saving against the baseline, expected latency before and after, and
how many move. Below: who moves where, where bytes would be processed instead, refusals, what was left out and why, and
what all this assumes.

Exit code: 0 compared, 1 no ledger, no such policy, or files that can't be read, 2 wrong command line.

Examples:
  stellwerk policy backtest new/ --since 30d
  stellwerk policy backtest new/ --since 7d --policy eu-only --json";

/// Decide recorded requests again with the policies of a directory, and compare.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Backtest {
    /// Policy files; each recorded request is decided again by the one of the name that was in force.
    dir: PathBuf,
    /// How far to look back: a number with s, m, h or d.
    #[arg(long, default_value = "30d", value_name = "TIME")]
    since: String,
    /// Only requests that were under the policy of this name.
    #[arg(long)]
    policy: Option<String>,
    /// The newest so many requests only.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Backtest {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        let period = since::period(&self.since)?;
        let names = policy::names(&self.dir)?;
        let store = past::open(common)?;
        let mut config = common.load()?;
        config.policies_dir = Some(self.dir);
        let mut compiled = app::compile(&config)?.into_compiled();
        // What is compiled in beside the directory is not what was asked about.
        compiled.policies.retain(|name, _| names.contains(&**name));
        let only = self.policy.as_deref();
        if let Some(name) = only.filter(|name| !names.contains(*name)) {
            return Err(Failed::Message(format!("the directory has no policy `{name}`")));
        }
        let found = replay::backtest(&store, &period, self.limit, &compiled.catalogue, &compiled.policies, only);
        let found = found.map_err(|error| error.to_string())?;
        say(&if self.json { replay::backtest_json(&found) } else { replay::backtest_text(&found) });
        Ok(ExitCode::SUCCESS)
    }
}
