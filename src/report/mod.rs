//! Reports for people and programs: text and JSON from what the ledger's queries found. Money is text everywhere.

mod decision;
mod keys;
mod residency;
mod savings;
mod spend;
mod table;

pub use decision::{decision_json, decision_text};
pub use keys::{keys_json, keys_table, tenant_keys_json, tenant_keys_table};
pub use residency::{residency_json, residency_table};
pub use savings::{savings_json, savings_table};
pub use spend::{spend_json, spend_table};
pub(crate) use table::{amount, count, places, table};

use crate::domain::target::UnixMillis;

/// A day in UTC.
fn day(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| "?".to_owned(), |t| t.strftime("%Y-%m-%d").to_string())
}

/// `2025-02-03 to 2025-02-04`, or one day.
pub(crate) fn span(span: Option<(UnixMillis, UnixMillis)>) -> String {
    match span.map(|(first, last)| (day(first), day(last))) {
        None => "no requests".to_owned(),
        Some((first, last)) if first == last => first,
        Some((first, last)) => format!("{first} to {last}"),
    }
}

#[cfg(test)]
mod tests;
