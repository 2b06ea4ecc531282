//! `stellwerk advise`: what could have gone to a cheaper admitted target.

use std::process::ExitCode;

use clap::Args;

use super::{Common, Failed, past, say, since};
use crate::app;
use crate::replay;

const HELP: &str = "\
For each route: what was spent, which requests had a cheaper target among those that were admitted for that very request,
and what the measured tokens would have saved there, with a range. What is not known from prices (whether the answers are
as good) is said; shadow runs (`shadow` of a route) and feedback (`POST /admin/v1/feedback`) are shown beside it.

Exit code: 0 told, 1 no ledger or files that can't be read, 2 wrong command line.

Examples:
  stellwerk advise --since 30d
  stellwerk advise --since 7d --route reasoning --json";

/// Say which requests could have gone to a cheaper admitted target, and what is not known.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Advise {
    /// How far to look back: a number with s, m, h or d.
    #[arg(long, default_value = "30d", value_name = "TIME")]
    since: String,
    /// One route only.
    #[arg(long)]
    route: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Advise {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        let period = since::period(&self.since)?;
        let store = past::open(common)?;
        let checked = app::compile(&common.load()?)?;
        let catalogue = &checked.compiled().catalogue;
        let found = replay::advise(&store, &period, catalogue, self.route.as_deref());
        let found = found.map_err(|error| error.to_string())?;
        say(&if self.json { replay::advice_json(&found) } else { replay::advice_text(&found) });
        Ok(ExitCode::SUCCESS)
    }
}
