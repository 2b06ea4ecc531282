//! Whose is what a provider has stored. A provider knows its key and not our tenants: with one key for all of them, each
//! could name what was stored for another. So what an answer stored is remembered for its tenant, and a name that is not
//! remembered is not passed on.
//!
//! Remembered are digests, in memory and in the ledger, as long as providers keep such things, and a bounded number.

use std::sync::Arc;

use moka::sync::Cache;
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use crate::domain::receipt::{Home, StoredKey};
use crate::domain::target::UnixMillis;
use crate::store::{Store, StoreError};

/// Providers keep answers for thirty days.
const KEPT_MS: i64 = 30 * 86_400_000;

/// Most names that are remembered, of all tenants together.
const MOST: u32 = 500_000;

/// Rows that are dropped at once.
const STEP: usize = 10_000;

/// What is stored for whom.
#[derive(Clone, Debug)]
pub struct StoredNames(Cache<StoredKey, Option<Arc<Home>>>);

impl Default for StoredNames {
    fn default() -> Self {
        let kept = std::time::Duration::from_millis(KEPT_MS.unsigned_abs());
        Self(Cache::builder().max_capacity(u64::from(MOST)).time_to_live(kept).build())
    }
}

impl StoredNames {
    /// The digest of a name of a tenant's.
    #[must_use]
    pub fn key(tenant: &str, name: &str) -> StoredKey {
        let mut digest = Sha256::new();
        for field in [tenant, name] {
            digest.update((field.len() as u64).to_le_bytes());
            digest.update(field);
        }
        let whole: [u8; 32] = digest.finalize().into();
        let mut key = StoredKey::default();
        key.copy_from_slice(&whole[..16]);
        key
    }

    /// Remembers names; the first is that of the answer, which lies there.
    pub fn keep(&self, keys: &[StoredKey], home: &Arc<Home>) {
        for (number, key) in keys.iter().enumerate() {
            self.0.insert(*key, (number == 0).then(|| Arc::clone(home)));
        }
    }

    /// Where an answer of this tenant's lies; none = it has none of this name.
    #[must_use]
    pub fn home(&self, tenant: &str, name: &str) -> Option<Arc<Home>> {
        self.0.get(&Self::key(tenant, name)).flatten()
    }

    /// An answer has been removed.
    ///
    /// # Errors
    /// The database can't be written.
    pub fn forget(&self, store: &Store, tenant: &str, name: &str) -> Result<(), StoreError> {
        let key = Self::key(tenant, name);
        self.0.invalidate(&key);
        store.connect()?.execute("DELETE FROM stored WHERE key = ?1", params![key])?;
        Ok(())
    }

    /// Whether something is stored for this tenant by this name.
    #[must_use]
    pub fn has(&self, tenant: &str, name: &str) -> bool {
        self.0.contains_key(&Self::key(tenant, name))
    }

    /// Learns what was stored before this process began.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn load(&self, store: &Store) -> Result<(), StoreError> {
        let connection = store.connect()?;
        let sql = "SELECT key, target, provider_key, own_key, requires FROM stored ORDER BY at_ms DESC LIMIT ?1";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([MOST])?;
        while let Some(row) = rows.next()? {
            let text = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(column)?.map(Arc::from));
            let (target, key, requires): (_, _, Option<Arc<str>>) = (text(1)?, text(2)?, text(4)?);
            let own_key = row.get::<_, Option<bool>>(3)?.unwrap_or_default();
            let home = |(target, requires)| Arc::new(Home { target, key, own_key, requires });
            self.0.insert(row.get(0)?, target.zip(requires).map(home));
        }
        Ok(())
    }
}

/// Writes what an answer stored.
pub(super) fn insert(
    connection: &Connection,
    (keys, home): (&[StoredKey], Option<&Home>),
    at: UnixMillis,
) -> Result<(), rusqlite::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO stored (key, at_ms, target, provider_key, own_key, requires)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    keys.iter().enumerate().try_for_each(|(number, key)| {
        let home = home.filter(|_| number == 0);
        let (target, label) = (home.map(|h| &*h.target), home.and_then(|h| h.key.as_deref()));
        let (own, requires) = (home.map(|h| h.own_key), home.map(|h| &*h.requires));
        statement.execute(params![key, at.0, target, label, own, requires]).map(drop)
    })
}

/// Drops what is older than providers keep it, a bounded number at a time; says whether there may be more.
pub(super) fn prune(connection: &Connection, now: UnixMillis) -> Result<bool, rusqlite::Error> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM stored WHERE key IN (SELECT key FROM stored WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)",
    )?;
    let dropped = statement.execute(params![now.0 - KEPT_MS, i64::try_from(STEP).unwrap_or(0)])?;
    Ok(dropped == STEP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Durability;

    #[test]
    fn names_are_a_tenants_own_and_outlive_the_process_but_not_the_provider() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("x.db"), Durability::Process).unwrap();
        let connection = store.connect().unwrap();
        let key = StoredNames::key("a", "resp_1");
        let home = Home { target: "a/b".into(), key: None, own_key: true, requires: "".into() };
        insert(&connection, (&[key, StoredNames::key("ar", "esp_1")], None), UnixMillis(1_000)).unwrap();
        insert(&connection, (&[key, StoredNames::key("a", "part")], Some(&home)), UnixMillis(2_000)).unwrap();
        let names = StoredNames::default();
        assert!(!names.has("a", "resp_1"));
        names.load(&store).unwrap();
        assert!(names.has("a", "resp_1") && !names.has("b", "resp_1") && !names.has("a", "resp_2"));
        assert_eq!(names.home("a", "resp_1").as_deref(), Some(&home));
        assert_eq!((names.home("b", "resp_1"), names.home("a", "part")), (None, None));
        assert!(!prune(&connection, UnixMillis(1_500 + KEPT_MS)).unwrap());
        let left = StoredNames::default();
        left.load(&store).unwrap();
        assert!(left.has("a", "resp_1") && !left.has("ar", "esp_1"), "the older one is gone");
        left.forget(&store, "a", "resp_1").unwrap();
        assert!(!left.has("a", "resp_1") && left.has("a", "part"));
    }
}
