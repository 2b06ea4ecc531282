//! SQLite: opening and migrating. What the tables mean is the business of those who use them.
//!
//! A gateway that serves holds a shared lock on a file beside the database, and whoever changes the form of the tables
//! holds it alone: a newer command never takes the tables from under an older gateway. The lock is `flock`'s, on a file of
//! its own, since closing a second handle of the database's file would let go of `SQLite`'s own locks.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
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
    /// The tables would have to be brought up to date, and a gateway works with them as they are.
    #[error(
        "{0} was written by an older version, and a gateway serves with it: stop that gateway before a newer one, or a \
         newer command, brings the database up to date"
    )]
    Served(PathBuf),
    /// A row does not hold what it must.
    #[error("a row of the database is not as it must be: {0}")]
    Row(String),
    /// No randomness, no keys.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

/// Where the database is. Cheap to clone; each user opens its own connection, and those who look often share one.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    durability: Durability,
    kept: Kept,
    /// Held as long as a clone of this lives.
    _served: Option<Arc<File>>,
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
    /// The file can't be used, was written by a newer version, or by an older one of which a gateway serves.
    pub fn open(path: &Path, durability: Durability) -> Result<Self, StoreError> {
        private(path)?;
        let store = Self { path: path.to_owned(), durability, kept: Kept::default(), _served: None };
        store.bring_up_to_date(&lock_file(path)?)?;
        Ok(store)
    }

    /// As [`Store::open`], for a gateway: as long as a clone of the store lives, nobody changes the form of the tables.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn serve(path: &Path, durability: Durability) -> Result<Self, StoreError> {
        private(path)?;
        let lock = lock_file(path)?;
        let mut store = Self { path: path.to_owned(), durability, kept: Kept::default(), _served: None };
        loop {
            store.bring_up_to_date(&lock)?;
            // Waits for another who migrates. Between the two somebody newer may have been here.
            lock.lock_shared().map_err(|error| store.unlockable(error))?;
            if missing(&store.connect()?)?.is_none() {
                store._served = Some(Arc::new(lock));
                return Ok(store);
            }
            lock.unlock().map_err(|error| store.unlockable(error))?;
        }
    }

    /// Applies the steps that are missing, alone.
    fn bring_up_to_date(&self, lock: &File) -> Result<(), StoreError> {
        let mut connection = self.connect()?;
        for _ in 0..TRIES {
            if missing(&connection)?.is_none() {
                return Ok(());
            }
            match lock.try_lock() {
                Ok(()) => {
                    // A step may make a table anew that others refer to.
                    connection.pragma_update(None, "foreign_keys", false)?;
                    let migrated = migrate(&mut connection);
                    lock.unlock().map_err(|error| self.unlockable(error))?;
                    return migrated;
                }
                // Somebody serves, or somebody migrates: that one is waited for, and may have done it for us.
                Err(TryLockError::WouldBlock) => {
                    lock.lock_shared().and_then(|()| lock.unlock()).map_err(|error| self.unlockable(error))?;
                }
                Err(TryLockError::Error(error)) => return Err(self.unlockable(error)),
            }
        }
        match missing(&connection)? {
            None => Ok(()),
            Some(_) => Err(StoreError::Served(self.path.clone())),
        }
    }

    fn unlockable(&self, error: std::io::Error) -> StoreError {
        StoreError::File(lock_path(&self.path), error)
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

    /// Looks at the database by a connection that is kept for those who do it often: opening one reads the whole schema,
    /// which takes a hundred times as long as a look. Who finds it taken opens another.
    ///
    /// # Errors
    /// SQLite can't open the file, or what `read` says.
    pub fn look<T, E: From<StoreError>>(&self, read: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E> {
        let kept = || self.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = kept().take();
        let connection = taken.map_or_else(|| self.connect(), Ok)?;
        let found = read(&connection)?;
        *kept() = Some(connection);
        Ok(found)
    }
}

/// A connection between two looks. One that failed is not kept.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Option<Connection>>>);

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
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

/// How often one who must migrate asks for the lock: more than once, since it is held for a moment by those who wait.
const TRIES: usize = 3;

/// Makes the file if it is not there. `SQLite` would make it readable for others.
fn private(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    made.map(drop).map_err(|error| StoreError::File(path.to_owned(), error))
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn lock_file(path: &Path) -> Result<File, StoreError> {
    let path = lock_path(path);
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    opened.map_err(|error| StoreError::File(path, error))
}

/// The first step that the database lacks, and its number.
fn missing(connection: &Connection) -> Result<Option<(u32, &'static str)>, StoreError> {
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    Ok(MIGRATIONS.get(found as usize).map(|step| (found, *step)))
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let mut first = true;
    loop {
        // The version is read inside the transaction that changes it: programs older than the lock know nothing of it.
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let Some((found, step)) = missing(&transaction)? else { return Ok(()) };
        // Told once, and not of a database that has just been made.
        if std::mem::take(&mut first) && found > 0 {
            tracing::info!(
                from = found,
                to = MIGRATIONS.len(),
                "bringing the database up to date; a large one takes its time"
            );
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
    fn a_look_sees_what_others_wrote_since_the_last_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("x.db"), Durability::Process).unwrap();
        let count = |connection: &Connection| -> Result<i64, StoreError> {
            Ok(connection.query_row("SELECT count(*) FROM scope", [], |row| row.get(0))?)
        };
        assert_eq!(store.look(count).unwrap(), 0);
        assert!(store.kept.0.lock().unwrap().is_some());
        let other = store.connect().unwrap();
        other.execute("INSERT INTO scope (kind, name) VALUES ('tenant', 'acme')", []).unwrap();
        assert_eq!(store.look(count).unwrap(), 1);
        let failed: Result<(), StoreError> = store.look(|connection| {
            let within = store.look(count)?;
            assert_eq!(within, 1, "one who finds it taken has a connection of their own");
            Ok(connection.execute_batch("SELECT * FROM nothing")?)
        });
        assert!(matches!(failed, Err(StoreError::Sqlite(_))));
        assert_eq!(store.look(count).unwrap(), 1);
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let store = Store::open(&path, Durability::Process).unwrap();
        store.connect().unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Store::open(&path, Durability::Process), Err(StoreError::Newer { found: 99, .. })));
    }

    #[test]
    fn tables_that_a_gateway_works_with_keep_their_form() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        drop(as_of(&path, 12));
        // The older gateway.
        let older = lock_file(&path).unwrap();
        older.lock_shared().unwrap();
        for refused in [Store::open(&path, Durability::Process), Store::serve(&path, Durability::Process)] {
            let error = refused.unwrap_err();
            assert!(matches!(error, StoreError::Served(_)));
            assert!(error.to_string().contains("stop that gateway"), "{error}");
        }
        let version = |path| Connection::open(path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0));
        assert_eq!(version(&path), Ok(12));
        drop(older);
        Store::open(&path, Durability::Process).unwrap();
        assert_eq!(version(&path), Ok(13));
    }

    #[test]
    fn a_gateway_holds_the_lock_while_a_clone_of_its_store_lives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let serving = Store::serve(&path, Durability::Process).unwrap();
        // Others of this version come in beside it: there is nothing to change.
        Store::open(&path, Durability::Process).unwrap();
        let beside = Store::serve(&path, Durability::Process).unwrap();
        let newer = lock_file(&path).unwrap();
        let clone = serving.clone();
        drop((serving, beside));
        assert!(matches!(newer.try_lock(), Err(TryLockError::WouldBlock)));
        drop(clone);
        newer.try_lock().unwrap();
    }

    #[test]
    fn all_who_find_an_older_database_at_once_get_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        drop(as_of(&path, 1));
        std::thread::scope(|scope| {
            let mut all = Vec::new();
            for place in 0..8 {
                let path = &path;
                all.push(scope.spawn(move || match place % 2 {
                    0 => Store::open(path, Durability::Process),
                    _ => Store::serve(path, Durability::Process),
                }));
            }
            // Held until all are in, as gateways do.
            let stores: Vec<_> = all.into_iter().map(|one| one.join().unwrap().unwrap()).collect();
            assert_eq!(stores.len(), 8);
        });
    }
}
