//! `stellwerk policy backtest`: what other policies would have done with recorded requests.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Common, Failed, past, say, since};
use crate::app;
use crate::replay;

/// Decide recorded requests again with the policies of a directory, and compare.
#[derive(Debug, Args)]
pub(super) struct Backtest {
    /// Policy files; each recorded request is decided again by the one of the name that was in force.
    dir: PathBuf,
    /// How far to look back.
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
        let names = self.names()?;
        let store = past::open(common)?;
        let mut config = common.load()?;
        config.policies_dir = Some(self.dir);
        let mut compiled = app::compile(&config)?.into_compiled();
        // What is compiled in beside the directory is not what was asked about.
        compiled.policies.retain(|name, _| names.contains(&**name));
        let policy = self.policy.as_deref();
        if let Some(name) = policy.filter(|name| !names.contains(*name)) {
            return Err(Failed::Message(format!("the directory has no policy `{name}`")));
        }
        let found = replay::backtest(&store, &period, self.limit, &compiled.catalogue, &compiled.policies, policy);
        let found = found.map_err(|error| error.to_string())?;
        say(&if self.json { replay::backtest_json(&found) } else { replay::backtest_text(&found) });
        Ok(ExitCode::SUCCESS)
    }

    /// The names of the directory's policies.
    fn names(&self) -> Result<BTreeSet<String>, Failed> {
        let shown = self.dir.display();
        let entries = std::fs::read_dir(&self.dir).map_err(|error| format!("{shown} can't be read: {error}"))?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let policies = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
        let names: BTreeSet<_> = policies.filter_map(|p| Some(p.file_stem()?.to_str()?.to_owned())).collect();
        if names.is_empty() { Err(Failed::Message(format!("{shown} has no policy files"))) } else { Ok(names) }
    }
}
