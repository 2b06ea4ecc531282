//! Inserts of the writer: the text made by the compiler, prepared once a batch, values bound by their place. Looking them
//! up by name, and the text in a cache, costs more than the insert.

use rusqlite::{CachedStatement, Connection};
use serde::Serialize;

use super::common::Common;
use crate::domain::id::DialectId;
use crate::domain::target::Capabilities;
use crate::policy::Requirement;

/// The statements of a batch, by table, each prepared when it is first needed.
pub(super) struct Inserts<'c> {
    pub connection: &'c Connection,
    pub common: &'c mut Common,
    pub request: Option<CachedStatement<'c>>,
    pub attempt: Option<CachedStatement<'c>>,
    pub decision: Option<CachedStatement<'c>>,
    /// The last requirement, written out. Requests of one key mostly have the same, and its zones take longer to write
    /// than the row.
    pub required: (Requirement, String),
    /// What the last conversation asked of dialects, and what each of them can't express of it, written out.
    pub lacking: Option<(Asked, String)>,
}

/// What decides which dialects can express a conversation.
#[derive(PartialEq)]
pub(super) struct Asked {
    pub dialect: DialectId,
    pub members: Vec<Box<str>>,
    pub choices: u32,
    pub needs: Capabilities,
}

impl<'c> Inserts<'c> {
    pub(super) fn new(connection: &'c Connection, common: &'c mut Common) -> Self {
        let required = (Requirement::ANY, Requirement::ANY.to_string());
        Self { connection, common, request: None, attempt: None, decision: None, required, lacking: None }
    }

    /// Writes a requirement out into `required`, if it is not there.
    pub(super) fn write_out(&mut self, requirement: &Requirement) {
        if self.required.0 != *requirement {
            self.required = (requirement.clone(), requirement.to_string());
        }
    }
}

/// A list as JSON; none for an empty one, which the views show as an empty list.
pub(super) fn filled(list: &[impl Serialize]) -> Option<String> {
    (!list.is_empty()).then(|| serde_json::to_string(list).unwrap_or_default())
}

/// Inserts a row, each value beside its column. What is there already stays.
macro_rules! insert {
    ($inserts:ident, $table:ident { $first:ident: $value:expr, $($column:ident: $values:expr,)* }) => {{
        const SQL: &str = concat!(
            "INSERT OR IGNORE INTO ", stringify!($table), " (", stringify!($first), $(", ", stringify!($column),)*
            ") VALUES (?", $($crate::ledger::insert::place!($column),)* ")"
        );
        let statement = match &mut $inserts.$table {
            Some(statement) => statement,
            none => none.insert($inserts.connection.prepare_cached(SQL)?),
        };
        statement.execute(::rusqlite::params![$value, $($values),*])
    }};
}

/// One more place; takes the column to be repeated with it.
macro_rules! place {
    ($column:ident) => {
        ", ?"
    };
}

pub(super) use {insert, place};
