//! `stellwerk check`: everything that a start would check, all problems at once, and warnings apart from them.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Common, Failed, say};
use crate::app;
use crate::domain::problem::Problem;
use crate::gateway::now;

/// Check config, catalogue and policies.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// One finding, for programs.
#[derive(Serialize)]
struct Finding<'a> {
    file: &'a str,
    /// From 1; 0 where the finding has no place.
    line: u32,
    column: u32,
    severity: &'static str,
    /// The key path; may be empty.
    path: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
}

impl<'a> Finding<'a> {
    fn new(severity: &'static str, problem: &'a Problem) -> Self {
        let Problem { file, line, column, path, message, hint } = problem;
        Self { file, line: *line, column: *column, severity, path, message, hint: hint.as_deref() }
    }
}

impl Check {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        let (config, mut problems) = common.examine()?;
        let (checked, more) = app::check(&config);
        problems.extend(more);
        let warnings = checked.warnings(now());
        let ok = problems.is_empty();
        if self.json {
            let errors = problems.iter().map(|problem| Finding::new("error", problem));
            let findings: Vec<_> =
                errors.chain(warnings.iter().map(|warning| Finding::new("warning", warning))).collect();
            say(&serde_json::json!({ "ok": ok, "findings": findings }).to_string());
        } else {
            problems.iter().for_each(|problem| say(&format!("error: {problem}")));
            warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            say(&if ok { checked.summary() } else { count(problems.len(), "problem") });
        }
        Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
