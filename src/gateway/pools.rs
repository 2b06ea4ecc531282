//! Connections outlive reloads: an endpoint whose facts have not changed keeps its pool, a grant its token, and a key what
//! is remembered of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::upstream::{Account, KeyState, Pool, TokenSource};

/// Pools, sources of tokens, and what is remembered of keys.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    pools: Shelf<Pool>,
    tokens: Shelf<TokenSource>,
    keys: Shelf<KeyState>,
    accounts: Shelf<Account>,
}

/// Things by everything that makes them what they are. What no snapshot uses any more is let go.
#[derive(Debug)]
struct Shelf<T>(Mutex<HashMap<String, Weak<T>>>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Shelf<T> {
    fn get(&self, facts: String, make: impl FnOnce() -> Result<T, String>) -> Result<Arc<T>, String> {
        let mut things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thing) = things.get(&facts).and_then(Weak::upgrade) {
            return Ok(thing);
        }
        let thing = Arc::new(make()?);
        things.retain(|_, thing| thing.strong_count() > 0);
        things.insert(facts, Arc::downgrade(&thing));
        Ok(thing)
    }
}

impl Pools {
    /// The pool of these facts, made if it is not there.
    pub(super) fn get(&self, facts: String, make: impl FnOnce() -> Result<Pool, String>) -> Result<Arc<Pool>, String> {
        self.pools.get(facts, make)
    }

    /// The source of tokens of these facts: one for all pools, so that a token is fetched once.
    pub(super) fn tokens(
        &self,
        facts: String,
        make: impl FnOnce() -> Result<TokenSource, String>,
    ) -> Result<Arc<TokenSource>, String> {
        self.tokens.get(facts, make)
    }

    /// What is remembered of a key: one for all pools and endpoints that use it.
    pub(super) fn key(
        &self,
        facts: String,
        make: impl FnOnce() -> Result<KeyState, String>,
    ) -> Result<Arc<KeyState>, String> {
        self.keys.get(facts, make)
    }

    /// An account: one for all keys that are of it.
    pub(super) fn account(&self, facts: String, make: impl FnOnce() -> Account) -> Result<Arc<Account>, String> {
        self.accounts.get(facts, || Ok(make()))
    }
}
