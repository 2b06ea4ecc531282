//! Which part of the ledger is looked at: `--since 30d`, or days.

use clap::Args;

use super::Failed;
use crate::domain::quantity::parse_duration;
use crate::domain::target::UnixMillis;
use crate::gateway::now;
use crate::ledger::query::Period;

/// From so long ago until now.
///
/// # Errors
/// It is no duration.
pub(super) fn period(since: &str) -> Result<Period, Failed> {
    let back = parse_duration(since).map_err(|message| format!("--since: {message}"))?;
    let to = now();
    let back = i64::try_from(back.as_millis()).unwrap_or(i64::MAX);
    Ok(Period { from: UnixMillis(to.0.saturating_sub(back).max(0)), to: UnixMillis(to.0.saturating_add(1)) })
}

/// Days, or so long ago until now; without either all of the ledger.
#[derive(Debug, Args)]
pub(super) struct Span {
    /// How far to look back: a number with s, m, h or d; without it, and without days, all of the ledger.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["from", "to"])]
    since: Option<String>,
    /// First day, inclusive, UTC (`2026-11-01`).
    #[arg(long, value_name = "DAY")]
    from: Option<jiff::civil::Date>,
    /// Last day, exclusive, UTC.
    #[arg(long, value_name = "DAY")]
    to: Option<jiff::civil::Date>,
}

impl Span {
    /// # Errors
    /// It is no duration, or the days are none.
    pub(super) fn period(&self) -> Result<Period, Failed> {
        match &self.since {
            Some(since) => period(since),
            None => Period::between(self.from, self.to).map_err(Failed::Message),
        }
    }
}
