//! `--since 30d`: how far to look back.

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
