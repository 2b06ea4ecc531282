//! `stellwerk advise`: what could have gone to a cheaper admitted target.

use std::process::ExitCode;

use clap::Args;

use super::{Common, Failed, past, say, since};
use crate::app;
use crate::replay;

/// Say which requests could have gone to a cheaper admitted target, and what is not known.
#[derive(Debug, Args)]
pub(super) struct Advise {
    /// How far to look back.
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
