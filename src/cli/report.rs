//! `stellwerk report`: what was spent and what was saved, from the ledger.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::{Common, Failed, past, say, since};
use crate::ledger::query::{self, GroupBy};
use crate::ledger::residency;
use crate::report;

/// Read the ledger.
#[derive(Debug, Subcommand)]
pub(super) enum Report {
    /// What was spent.
    Spend(Options),
    /// What the same tokens would have cost at the baseline, and the difference.
    Savings(Options),
    /// Where bytes went and under whose law, and what the requirements cost.
    Residency(Residency),
}

/// Which rows, how grouped, in which form.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    span: since::Span,
    /// What a line of the table stands for.
    #[arg(long, value_enum, default_value_t = By::Model)]
    by: By,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What a line stands for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Day,
    Route,
    Team,
    Key,
    Provider,
    Model,
    Target,
}

/// Which rows, in which form.
#[derive(Debug, Args)]
pub(super) struct Residency {
    #[command(flatten)]
    span: since::Span,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Residency {
    fn run(&self, common: &Common) -> Result<ExitCode, Failed> {
        let period = self.span.period()?;
        let found = residency::residency(&past::open(common)?, &period).map_err(text)?;
        say(&if self.json { report::residency_json(&found) } else { report::residency_table(&found) });
        Ok(ExitCode::SUCCESS)
    }
}

impl Report {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        let (savings, options) = match self {
            Self::Spend(options) => (false, options),
            Self::Savings(options) => (true, options),
            Self::Residency(residency) => return residency.run(common),
        };
        let period = options.span.period()?;
        let store = past::open(common)?;
        let by = options.by.into();
        say(&if savings {
            let found = query::savings(&store, &period, by).map_err(text)?;
            if options.json { report::savings_json(&found) } else { report::savings_table(&found) }
        } else {
            let found = query::spend(&store, &period, by).map_err(text)?;
            if options.json { report::spend_json(&found) } else { report::spend_table(&found) }
        });
        Ok(ExitCode::SUCCESS)
    }
}

impl From<By> for GroupBy {
    fn from(by: By) -> Self {
        match by {
            By::Day => Self::Day,
            By::Route => Self::Route,
            By::Team => Self::Team,
            By::Key => Self::Key,
            By::Provider => Self::Provider,
            By::Model => Self::Model,
            By::Target => Self::Target,
        }
    }
}

fn text(error: impl std::fmt::Display) -> Failed {
    Failed::Message(error.to_string())
}
