//! The two tables: sets of files by digest, and when each was in force.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::PolicySet;
use crate::domain::target::UnixMillis;
use crate::store::{Store, StoreError};

/// The author of what somebody edited in the directory.
pub(super) const DISK: &str = "disk";
/// The author of what the gateway itself took back.
pub(super) const GATEWAY: &str = "gateway";

/// The recorded versions.
#[derive(Clone, Debug)]
pub struct Versions {
    store: Store,
}

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being written, or written and not yet taken over by a gateway.
    Applying,
    /// It was put in force.
    InForce,
    /// It was never in force: its writing failed or was overtaken, or the gateway refused it.
    Abandoned,
}

impl State {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::InForce => "in_force",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A set of policies at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number, from 1.
    pub seq: i64,
    /// When it was put in force, or when its writing began.
    pub at: UnixMillis,
    /// Digest of the files.
    pub hash: String,
    /// What lay on the disk before.
    pub previous: Option<String>,
    /// Digest of everything that was in force with it; none = no gateway has taken it over.
    pub config_hash: Option<String>,
    /// Who; `disk` = somebody edited the files, `gateway` = it took a version back.
    pub author: String,
    /// Why.
    pub message: String,
    /// What became of it.
    pub state: State,
}

impl Version {
    /// When, for people: RFC 3339 in UTC.
    #[must_use]
    pub fn time(&self) -> String {
        let at = jiff::Timestamp::from_millisecond(self.at.0);
        at.map_or_else(|_| "?".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }
}

const COLUMNS: &str = "seq, at, hash, previous, config_hash, author, message, state";

fn version(row: &Row<'_>) -> rusqlite::Result<Version> {
    let state: String = row.get(7)?;
    Ok(Version {
        seq: row.get(0)?,
        at: UnixMillis(row.get(1)?),
        hash: row.get(2)?,
        previous: row.get(3)?,
        config_hash: row.get(4)?,
        author: row.get(5)?,
        message: row.get(6)?,
        state: match state.as_str() {
            "applying" => State::Applying,
            "in_force" => State::InForce,
            _ => State::Abandoned,
        },
    })
}

/// A row that is to be written.
pub(super) struct Entry<'a> {
    pub set: &'a PolicySet,
    pub previous: Option<&'a PolicySet>,
    pub config_hash: Option<&'a str>,
    pub author: &'a str,
    pub message: &'a str,
    pub state: State,
}

impl Versions {
    /// The versions of a database.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The newest versions, newest first.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn list(&self, most: u32) -> Result<Vec<Version>, StoreError> {
        let connection = self.store.connect()?;
        let mut query =
            connection.prepare(&format!("SELECT {COLUMNS} FROM policy_version ORDER BY turn DESC LIMIT ?1"))?;
        let rows = query.query_map([most], version)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What is in force, or will be as soon as a gateway looks: the version that is being applied, else the last that was
    /// put in force.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn current(&self) -> Result<Option<Version>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM policy_version WHERE state <> 'abandoned' ORDER BY state = 'applying' DESC, turn DESC LIMIT 1"
        );
        Ok(self.store.connect()?.query_row(&sql, [], version).optional()?)
    }

    /// A version by its number, or the newest whose digest begins so (at least six digits), with its files.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn find(&self, id: &str) -> Result<Option<(Version, PolicySet)>, StoreError> {
        let connection = self.store.connect()?;
        let by = |condition: &str, value: &dyn rusqlite::ToSql| {
            let sql = format!("SELECT {COLUMNS} FROM policy_version WHERE {condition} ORDER BY turn DESC LIMIT 1");
            connection.query_row(&sql, [value], version).optional()
        };
        let hex = id.len() >= 6 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let found = match id.parse::<i64>() {
            Ok(seq) if id.len() < 6 => by("seq = ?1", &seq)?,
            _ if hex => by("hash GLOB ?1", &format!("{}*", id.to_ascii_lowercase()))?,
            _ => None,
        };
        let Some(found) = found else { return Ok(None) };
        let set = files(&connection, &found.hash)?;
        Ok(set.map(|set| (found, set)))
    }

    /// The files of a digest.
    pub(super) fn set(&self, hash: &str) -> Result<Option<PolicySet>, StoreError> {
        files(&self.store.connect()?, hash)
    }

    /// Records that these files are in force. Finishes the version that is being applied, if it is this one; what nobody
    /// applied was edited on the disk. What is in force already is not recorded twice.
    ///
    /// # Errors
    /// The database can't be written.
    pub fn in_force(&self, set: &PolicySet, config_hash: &str, now: UnixMillis) -> Result<(), StoreError> {
        let mut connection = self.store.connect()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let hash = set.hash();
        // One that gave way to another while a gateway was reading its files was in force all the same.
        let open = "SELECT seq FROM policy_version WHERE hash = ?1 AND (state = 'applying' OR (
                        state = 'abandoned' AND previous IS NOT NULL AND turn > (
                            SELECT COALESCE(MAX(turn), 0) FROM policy_version WHERE state = 'in_force')))
                    ORDER BY state = 'applying' DESC, turn DESC LIMIT 1";
        let open: Option<i64> = transaction.query_row(open, [&hash], |row| row.get(0)).optional()?;
        let last = "SELECT hash, config_hash FROM policy_version WHERE state = 'in_force' ORDER BY turn DESC LIMIT 1";
        let last = transaction.query_row(last, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let last: Option<(String, Option<String>)> = last;
        if let Some(seq) = open {
            let finish = "UPDATE policy_version SET turn = (SELECT MAX(turn) + 1 FROM policy_version), at = ?2,
                          config_hash = ?3, state = 'in_force' WHERE seq = ?1";
            transaction.execute(finish, params![seq, now.0, config_hash])?;
        } else if last.as_ref().is_none_or(|(last, config)| *last != hash || config.as_deref() != Some(config_hash)) {
            let before = last.map(|(last, _)| files(&transaction, &last)).transpose()?.flatten();
            let message = before.map_or_else(|| "found at the first start".to_owned(), |before| set.since(&before));
            let (config_hash, state) = (Some(config_hash), State::InForce);
            let entry = Entry { set, previous: None, config_hash, author: DISK, message: &message, state };
            insert(&transaction, &entry, now)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Writes a row; its number. A version that is being applied gives way to another one.
    pub(super) fn record(&self, entry: &Entry<'_>, now: UnixMillis) -> Result<i64, StoreError> {
        let mut connection = self.connect_durably()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if entry.state == State::Applying {
            transaction.execute("UPDATE policy_version SET state = 'abandoned' WHERE state = 'applying'", [])?;
        }
        let seq = insert(&transaction, entry, now)?;
        transaction.commit()?;
        Ok(seq)
    }

    /// The policies that keys which work, teams and tenants name.
    pub(super) fn policies_named(&self) -> Result<Vec<String>, StoreError> {
        let connection = self.store.connect()?;
        let sql = "SELECT policy FROM virtual_key WHERE policy IS NOT NULL AND revoked_ms IS NULL
                   UNION SELECT policy FROM scope WHERE policy IS NOT NULL ORDER BY policy";
        let mut query = connection.prepare(sql)?;
        let rows = query.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The version that is being applied.
    pub(super) fn open(&self) -> Result<Option<Version>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM policy_version WHERE state = 'applying'");
        Ok(self.store.connect()?.query_row(&sql, [], version).optional()?)
    }

    /// Gives up a version that is being applied.
    pub(super) fn abandon(&self, seq: i64) -> Result<(), StoreError> {
        let sql = "UPDATE policy_version SET state = 'abandoned' WHERE seq = ?1 AND state = 'applying'";
        self.connect_durably()?.execute(sql, [seq])?;
        Ok(())
    }

    /// A connection whose rows are on the disk when a file that they speak of is touched: losing power must not lose the
    /// row and keep the file.
    fn connect_durably(&self) -> Result<Connection, StoreError> {
        let connection = self.store.connect()?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(connection)
    }
}

fn insert(transaction: &Transaction<'_>, entry: &Entry<'_>, now: UnixMillis) -> Result<i64, StoreError> {
    for set in [Some(entry.set), entry.previous].into_iter().flatten() {
        let files = serde_json::to_string(set.files()).map_err(|error| StoreError::Row(error.to_string()))?;
        transaction.execute("INSERT OR IGNORE INTO policy_set (hash, files) VALUES (?1, ?2)", [set.hash(), files])?;
    }
    let sql = "INSERT INTO policy_version (turn, at, hash, previous, config_hash, author, message, state)
               VALUES ((SELECT COALESCE(MAX(turn), 0) + 1 FROM policy_version), ?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let Entry { set, previous, config_hash, author, message, state } = entry;
    let previous = previous.map(PolicySet::hash);
    transaction.execute(sql, params![now.0, set.hash(), previous, config_hash, author, message, state.name()])?;
    Ok(transaction.last_insert_rowid())
}

fn files(connection: &Connection, hash: &str) -> Result<Option<PolicySet>, StoreError> {
    let sql = "SELECT files FROM policy_set WHERE hash = ?1";
    let Some(text) = connection.query_row(sql, [hash], |row| row.get::<_, String>(0)).optional()? else {
        return Ok(None);
    };
    let files: BTreeMap<String, String> =
        serde_json::from_str(&text).map_err(|error| StoreError::Row(format!("policy_set {hash}: {error}")))?;
    let set = PolicySet(files);
    // A set that was tampered with must not come back as what it once was.
    if set.hash() == hash { Ok(Some(set)) } else { Err(StoreError::Row(format!("policy_set {hash} has changed"))) }
}
