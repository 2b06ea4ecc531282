//! SQLite: opening and migrating. What the tables mean is the business of those who use them.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

/// When a row is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives the death of the process once written. (`synchronous = NORMAL` in WAL mode.)
    Process,
    /// Synced to the disk with every batch: survives the loss of power once written. (`synchronous = FULL`.)
    Power,
}

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite said so.
    #[error("the database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file could not be made or read.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The file was written by a newer version.
    #[error("the database has schema version {found}, this program knows {known}: use the newer program")]
    Newer {
        /// What the file says.
        found: u32,
        /// What we know.
        known: u32,
    },
    /// A row does not hold what it must.
    #[error("a row of the database is not as it must be: {0}")]
    Row(String),
    /// No randomness, no keys.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

/// Where the database is. Cheap to clone; each user opens its own connection.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    durability: Durability,
}

/// Each step is applied once, in order, in a transaction of its own. Steps are only ever added.
const MIGRATIONS: &[&str] = &[
    include_str!("store/001.sql"),
    include_str!("store/002.sql"),
    include_str!("store/003.sql"),
    include_str!("store/004.sql"),
    include_str!("store/005.sql"),
    include_str!("store/006.sql"),
    include_str!("store/007.sql"),
    include_str!("store/008.sql"),
    include_str!("store/009.sql"),
    include_str!("store/010.sql"),
    include_str!("store/011.sql"),
    include_str!("store/012.sql"),
    include_str!("store/013.sql"),
];

impl Store {
    /// Opens the database, makes it if it is not there (readable by its owner only), and brings it up to date.
    ///
    /// # Errors
    /// The file can't be used, or was written by a newer version.
    pub fn open(path: &Path, durability: Durability) -> Result<Self, StoreError> {
        let made = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        made.map_err(|error| StoreError::File(path.to_owned(), error))?;
        let store = Self { path: path.to_owned(), durability };
        let mut connection = store.connect()?;
        // A step may make a table anew that others refer to.
        connection.pragma_update(None, "foreign_keys", false)?;
        migrate(&mut connection)?;
        Ok(store)
    }

    /// A connection of one's own.
    ///
    /// # Errors
    /// SQLite can't open the file.
    pub fn connect(&self) -> Result<Connection, StoreError> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let synchronous = match self.durability {
            Durability::Process => "NORMAL",
            Durability::Power => "FULL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Ok(connection)
    }
}

/// A database as an older version of the program left it, after so many steps.
#[cfg(test)]
pub(crate) fn as_of(path: &Path, steps: u32) -> Connection {
    let connection = Connection::open(path).unwrap();
    MIGRATIONS.iter().take(steps as usize).for_each(|step| connection.execute_batch(step).unwrap());
    connection.pragma_update(None, "user_version", steps).unwrap();
    connection
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let mut first = true;
    loop {
        // Two processes may start at once: the version is read inside the transaction that changes it.
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
        let Some(step) = MIGRATIONS.get(found as usize) else { return Ok(()) };
        // Told once, and not of a database that has just been made.
        if std::mem::take(&mut first) && found > 0 {
            tracing::info!(from = found, to = known, "bringing the database up to date; a large one takes its time");
        }
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", found + 1)?;
        transaction.commit()?;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_library_is_new_enough_for_its_wal() {
        // 3.51.3 mends a loss of commits at the reset of the log.
        assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
    }

    #[test]
    fn a_database_is_private_and_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        Store::open(&path, Durability::Process).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        Store::open(&path, Durability::Power).unwrap();
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let store = Store::open(&path, Durability::Process).unwrap();
        store.connect().unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Store::open(&path, Durability::Process), Err(StoreError::Newer { found: 99, .. })));
    }
}
