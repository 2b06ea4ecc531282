//! `stellwerk check`: everything that a start would check, all problems at once.

use std::process::ExitCode;

use clap::Args;

use super::{Common, Failed, say};
use crate::app;

/// Check config, catalogue and policies.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        let compiled = common.load().and_then(|config| app::compile(&config).map_err(Failed::from));
        let problems = match compiled {
            Ok(checked) => {
                if !self.json {
                    say(&checked.summary());
                }
                Vec::new()
            }
            Err(Failed::Problems(problems)) => problems,
            Err(failed) => return Err(failed),
        };
        if self.json {
            let list: Vec<_> = problems.iter().map(ToString::to_string).collect();
            say(&serde_json::json!({ "ok": list.is_empty(), "problems": list }).to_string());
        } else if !problems.is_empty() {
            let count = problems.len();
            problems.iter().for_each(|problem| say(&problem.to_string()));
            say(&format!("{count} problem{}", if count == 1 { "" } else { "s" }));
        }
        Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
