//! Connections outlive reloads: an endpoint whose facts have not changed keeps its pool.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::upstream::Pool;

/// Pools by everything that makes them what they are. A pool that no snapshot uses any more is let go.
#[derive(Debug, Default)]
pub(crate) struct Pools(Mutex<HashMap<String, Weak<Pool>>>);

impl Pools {
    /// The pool of these facts, made if it is not there.
    pub(super) fn get(&self, facts: String, make: impl FnOnce() -> Result<Pool, String>) -> Result<Arc<Pool>, String> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&facts).and_then(Weak::upgrade) {
            return Ok(pool);
        }
        let pool = Arc::new(make()?);
        pools.retain(|_, pool| pool.strong_count() > 0);
        pools.insert(facts, Arc::downgrade(&pool));
        Ok(pool)
    }
}
