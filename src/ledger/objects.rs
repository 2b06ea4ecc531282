//! Uploads and batches that lie at providers: whose they are, at which target, and what their results are accounted with.
//!
//! A row is written before the provider is asked, under a name of ours; it gets the provider's with its answer. So nothing
//! is begun that could not be accounted.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

pub use crate::dialect::paths::Lies as Kind;
use crate::domain::id::DialectId;
use crate::domain::plan::Operation;
use crate::domain::target::UnixMillis;
use crate::store::{Store, StoreError};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Whose.
    pub tenant: String,
    /// The provider's id of it.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// In whose words it was made.
    pub dialect: DialectId,
    /// Where it lies: the target's name.
    pub target: String,
    /// What its results are accounted with.
    pub account: Account,
    /// When it was made.
    pub made: UnixMillis,
    /// What the provider last said of it.
    pub shown: Option<String>,
}

/// What is needed to account for results that come when nobody asks any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The caller's team.
    pub team: String,
    /// The caller's key, by its id.
    pub key_id: String,
    /// The key's tags.
    pub tags: Vec<String>,
    /// The policy that decided.
    pub policy: String,
    /// The route.
    pub route: String,
    /// What every question about it must fulfil.
    pub requires: String,
    /// The baseline, by its name.
    pub baseline: Option<String>,
    /// The moment whose prices count for the baseline, where it is pinned.
    pub baseline_as_of_ms: Option<i64>,
    /// The model that was asked for.
    pub model: String,
    /// What the requests ask for: an operation's name.
    pub operation: String,
    /// In whose words: a dialect's name.
    pub answers: String,
    /// The provider's key it was made with, by its label: another account does not know it.
    pub key: Option<String>,
    /// Whether that was the tenant's own.
    pub own_key: bool,
    /// Ids of files that belong to it.
    pub files: Vec<String>,
}

impl Account {
    /// What its requests ask for; none = the row is of a program that knows more.
    #[must_use]
    pub fn asks(&self) -> Option<(Operation, DialectId)> {
        let operation = Operation::ALL.into_iter().find(|operation| operation.name() == self.operation)?;
        let dialect = DialectId::ALL.into_iter().find(|dialect| dialect.name() == self.answers)?;
        Some((operation, dialect))
    }
}

/// Remembers one, or all that has changed of it.
///
/// # Errors
/// The database can't be written.
pub fn keep(store: &Store, object: &Object) -> Result<(), StoreError> {
    put(&store.connect()?, object)
}

/// Remembers what a provider has made in the place of what it was asked for.
///
/// # Errors
/// The database can't be written.
pub fn named(store: &Store, ours: &str, object: &Object) -> Result<(), StoreError> {
    let mut connection = store.connect()?;
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM provider_object WHERE tenant = ?1 AND id = ?2", params![object.tenant, ours])?;
    put(&transaction, object)?;
    Ok(transaction.commit()?)
}

/// Forgets one.
///
/// # Errors
/// The database can't be written.
pub fn forget(store: &Store, tenant: &str, id: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM provider_object WHERE tenant = ?1 AND id = ?2";
    store.connect()?.execute(sql, params![tenant, id])?;
    Ok(())
}

/// A batch's results are in the ledger.
///
/// # Errors
/// The database can't be written.
pub fn settled(store: &Store, tenant: &str, id: &str, at: UnixMillis) -> Result<(), StoreError> {
    let sql = "UPDATE provider_object SET settled_ms = ?3 WHERE tenant = ?1 AND id = ?2";
    store.connect()?.execute(sql, params![tenant, id, at.0])?;
    Ok(())
}

/// A tenant's own, by the provider's id.
///
/// # Errors
/// The database can't be read.
pub fn find(store: &Store, tenant: &str, id: &str) -> Result<Option<Object>, StoreError> {
    let connection = store.connect()?;
    let sql = format!("SELECT {COLUMNS} FROM provider_object WHERE tenant = ?1 AND id = ?2");
    let found = connection.query_row(&sql, params![tenant, id], read).optional()?;
    Ok(found.flatten())
}

/// A tenant's own of a kind, newest first, those after `after`; one more than `limit` where there are more.
///
/// # Errors
/// The database can't be read.
pub fn list(
    store: &Store,
    (tenant, kind, dialect): (&str, Kind, DialectId),
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Object>, StoreError> {
    let connection = store.connect()?;
    let sql = format!(
        "SELECT {COLUMNS} FROM provider_object WHERE tenant = ?1 AND kind = ?2 AND dialect = ?3 AND shown IS NOT NULL
         AND (?4 IS NULL OR (made_ms, id) <
              (SELECT made_ms, id FROM provider_object AS other WHERE other.tenant = ?1 AND other.id = ?4))
         ORDER BY made_ms DESC, id DESC LIMIT ?5"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map(params![tenant, kind.name(), dialect.name(), after, limit], read)?;
    let rows: Result<Vec<_>, _> = rows.collect();
    Ok(rows?.into_iter().flatten().collect())
}

/// Batches whose results are not in the ledger yet, oldest first, a bounded number.
///
/// # Errors
/// The database can't be read.
pub fn open(store: &Store) -> Result<Vec<Object>, StoreError> {
    const MOST: u32 = 10_000;
    let connection = store.connect()?;
    let sql = format!(
        "SELECT {COLUMNS} FROM provider_object WHERE kind = 'batch' AND settled_ms IS NULL AND shown IS NOT NULL
         ORDER BY made_ms LIMIT {MOST}"
    );
    let mut statement = connection.prepare(&sql)?;
    let rows: Result<Vec<_>, _> = statement.query_map([], read)?.collect();
    Ok(rows?.into_iter().flatten().collect())
}

/// What a provider was asked for and never got a name here, as a process leaves it that is killed before the answer. Each is
/// told once.
///
/// # Errors
/// The database can't be read or written.
pub fn left_nameless(store: &Store, now: UnixMillis) -> Result<Vec<Object>, StoreError> {
    let mut connection = store.connect()?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let of = "shown IS NULL AND settled_ms IS NULL";
    let left = {
        let sql = format!("SELECT {COLUMNS} FROM provider_object WHERE {of} ORDER BY made_ms");
        let mut statement = transaction.prepare(&sql)?;
        statement.query_map([], read)?.collect::<Result<Vec<_>, _>>()?
    };
    transaction.execute(&format!("UPDATE provider_object SET settled_ms = ?1 WHERE {of}"), [now.0])?;
    transaction.commit()?;
    Ok(left.into_iter().flatten().collect())
}

const COLUMNS: &str = "tenant, id, kind, dialect, target, account, made_ms, shown";

fn put(connection: &Connection, object: &Object) -> Result<(), StoreError> {
    let account = serde_json::to_string(&object.account).map_err(|error| StoreError::Row(error.to_string()))?;
    connection.execute(
        "INSERT INTO provider_object (tenant, id, kind, dialect, target, account, made_ms, shown)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (tenant, id) DO UPDATE SET shown = excluded.shown, account = excluded.account",
        params![
            object.tenant,
            object.id,
            object.kind.name(),
            object.dialect.name(),
            object.target,
            account,
            object.made.0,
            object.shown
        ],
    )?;
    Ok(())
}

/// A row; none = it is of a program that knows more.
fn read(row: &Row<'_>) -> Result<Option<Object>, rusqlite::Error> {
    let kind: String = row.get(2)?;
    let dialect: String = row.get(3)?;
    let account: String = row.get(5)?;
    let parts = (
        [Kind::File, Kind::Batch].into_iter().find(|known| known.name() == kind),
        DialectId::ALL.into_iter().find(|known| known.name() == dialect),
        serde_json::from_str(&account).ok(),
    );
    let (Some(kind), Some(dialect), Some(account)) = parts else { return Ok(None) };
    Ok(Some(Object {
        tenant: row.get(0)?,
        id: row.get(1)?,
        kind,
        dialect,
        target: row.get(4)?,
        account,
        made: UnixMillis(row.get(6)?),
        shown: row.get(7)?,
    }))
}
