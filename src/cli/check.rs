//! `stellwerk check`: everything that a start would check, all problems at once.

use std::process::ExitCode;

use clap::Args;

use super::{Common, Failed, say};
use crate::app;
use crate::domain::problem::Problem;

/// Check config, catalogue and policies.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        let checked = common.load().and_then(|config| app::check(&config).map_err(Failed::from));
        let (problems, warnings) = match checked {
            Ok(checked) => {
                let warnings = checked.warnings();
                if !self.json {
                    warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
                    say(&checked.summary());
                }
                (Vec::new(), warnings)
            }
            Err(Failed::Problems(problems)) => (problems, Vec::new()),
            Err(failed) => return Err(failed),
        };
        if self.json {
            let texts = |list: &[Problem]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
            let (problems, warnings) = (texts(&problems), texts(&warnings));
            let told = serde_json::json!({ "ok": problems.is_empty(), "problems": problems, "warnings": warnings });
            say(&told.to_string());
        } else if !problems.is_empty() {
            let count = problems.len();
            problems.iter().for_each(|problem| say(&problem.to_string()));
            say(&format!("{count} problem{}", if count == 1 { "" } else { "s" }));
        }
        Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
