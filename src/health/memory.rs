//! What is kept of the measurements over a restart: a row a target, in the database of the ledger.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::params;

use crate::domain::target::UnixMillis;
use crate::forecast::{Kept, Volume};
use crate::store::{Store, StoreError};

/// What was not measured for so long is forgotten.
const FORGET_MS: i64 = 30 * 86_400_000;

/// A target's measurements, as they outlive the process.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Memory {
    pub(super) speed: Option<Kept>,
    pub(super) routes: Vec<(String, Volume)>,
}

/// Writes the measurements of targets by name. Blocks.
///
/// # Errors
/// The database can't be written.
pub fn save(store: &Store, memories: &[(Arc<str>, Memory)], now: UnixMillis) -> Result<(), StoreError> {
    let mut connection = store.connect()?;
    let transaction = connection.transaction()?;
    {
        let mut put =
            transaction.prepare("INSERT OR REPLACE INTO measurements (target, at, data) VALUES (?1, ?2, ?3)")?;
        for (name, memory) in memories {
            let data = serde_json::to_string(memory).map_err(|error| StoreError::Row(error.to_string()))?;
            put.execute(params![&**name, now.0, data])?;
        }
    }
    transaction.execute("DELETE FROM measurements WHERE at < ?1", params![now.0.saturating_sub(FORGET_MS)])?;
    transaction.commit()?;
    Ok(())
}

/// Reads them. A row that can't be read is left out, with a word in the log: it is only a memory. Blocks.
///
/// # Errors
/// The database can't be read.
pub fn load(store: &Store) -> Result<HashMap<String, Memory>, StoreError> {
    let connection = store.connect()?;
    let mut rows = connection.prepare("SELECT target, data FROM measurements")?;
    let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut memories = HashMap::new();
    for row in rows {
        let (name, data) = row?;
        match serde_json::from_str(&data) {
            Ok(memory) => {
                memories.insert(name, memory);
            }
            Err(error) => tracing::warn!(target = name, %error, "measurements of before can't be read"),
        }
    }
    Ok(memories)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::usage::{Bucket, Usage};
    use crate::forecast::Sample;
    use crate::health::TargetHealth;
    use crate::store::Durability;

    #[test]
    fn measurements_outlive_the_process_and_a_broken_row_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), Durability::Process).unwrap();
        let (now, health) = (UnixMillis(1_000_000), TargetHealth::default());
        let sample = Sample {
            ttft: Some(Duration::from_millis(300)),
            per_token: Some(Duration::from_millis(7)),
            input_tokens: 10,
            in_flight: Some(0),
            took: None,
            look: None,
        };
        let usage = Usage::ZERO.with(Bucket::Input, 10).with(Bucket::Output, 900);
        for _ in 0..50 {
            health.succeeded(now, sample);
            health.used(&"r".into(), &usage, 10, 1);
        }
        let (signal, expected) = (health.signal(10, now), health.expectation("r", 1));
        assert_eq!(TargetHealth::default().keep(now).map(|_| ()), None, "what was never measured is not kept");
        save(&store, &[("a/m".into(), health.keep(now).unwrap())], now).unwrap();
        store
            .connect()
            .unwrap()
            .execute("INSERT INTO measurements VALUES ('b/m', 1000000, '{\"speed\":7}')", [])
            .unwrap();
        let kept = load(&store).unwrap();
        assert_eq!(kept.len(), 1);
        let again = TargetHealth::default();
        again.restore(&kept["a/m"]);
        assert_eq!((again.signal(10, now), again.expectation("r", 1)), (signal, expected));
        let later = UnixMillis(now.0 + FORGET_MS + 1);
        save(&store, &[], later).unwrap();
        assert!(load(&store).unwrap().is_empty());
    }
}
