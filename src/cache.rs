//! The exact response cache: off unless a route asks for it.
//!
//! A key can only be made with a tenant and a policy generation, so that answers never cross tenants and a changed
//! policy never answers with what the old one allowed. Concurrent equal requests share one flight: the first leads, the
//! others wait for its answer; if the leader fails, they go on by themselves, side by side.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::Expiry;
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::domain::money::Money;

/// Largest answer that is kept.
pub const MAX_ENTRY: usize = 1 << 20;

/// What makes two requests the same: a digest over length-prefixed fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// The fields of a key; all are needed.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Answers never cross tenants.
    pub tenant: &'a str,
    /// Hash of catalogue, policies and prices in force.
    pub generation: &'a str,
    /// What every attempt had to fulfil (file, route, principal and header together): a stricter caller never sees a
    /// laxer caller's answer.
    pub requirements: &'a str,
    /// The policy that decided.
    pub policy: &'a str,
    /// The route that decided.
    pub route: &'a str,
    /// The client's dialect.
    pub dialect: &'a str,
    /// What a request says outside its body: model and form of the answer in the path, headers that a provider sees.
    pub beside: &'a str,
}

impl Key {
    /// The key of a request body in a scope.
    #[must_use]
    pub fn new(scope: Scope<'_>, body: &[u8]) -> Self {
        let mut digest = Sha256::new();
        let Scope { tenant, generation, requirements, policy, route, dialect, beside } = scope;
        let fields = [tenant, generation, requirements, policy, route, dialect, beside];
        for field in fields.into_iter().map(str::as_bytes).chain([body]) {
            digest.update((field.len() as u64).to_le_bytes());
            digest.update(field);
        }
        Self(digest.finalize().into())
    }
}

/// A whole answer as it went to the client.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The body.
    pub body: Bytes,
    /// Its media type.
    pub content_type: &'static str,
    /// The target that gave it.
    pub target: Arc<str>,
    /// What was not carried over to the target: told with every hit.
    pub dropped: Vec<String>,
    /// What it cost, where known: the saving of each later hit.
    pub cost: Option<Money>,
    /// How long it is good.
    pub ttl: Duration,
}

struct ByEntry;

impl Expiry<Key, Arc<Entry>> for ByEntry {
    fn expire_after_create(&self, _: &Key, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }
}

/// How long an item is kept after its last use.
const ITEM_IDLE: Duration = Duration::from_secs(30 * 60);

/// Parts of answers that clients may name later instead of repeating them: of their own tenant, for a while, in a bounded
/// memory of this process. What is gone must be repeated.
#[derive(Clone, Debug)]
pub struct Items(Cache<(Arc<str>, Box<str>), Bytes>);

impl Items {
    /// A memory of so many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let weight = |(_, id): &(Arc<str>, Box<str>), item: &Bytes| {
            u32::try_from(id.len() + item.len() + 128).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().weigher(weight).max_capacity(bytes).time_to_idle(ITEM_IDLE).build())
    }

    /// Keeps some.
    pub fn keep(&self, tenant: &Arc<str>, items: Vec<(Box<str>, Bytes)>) {
        for (id, item) in items {
            self.0.insert((Arc::clone(tenant), id), item);
        }
    }

    /// One of a tenant's own.
    #[must_use]
    pub fn find(&self, tenant: &Arc<str>, id: &str) -> Option<Bytes> {
        self.0.get(&(Arc::clone(tenant), id.into()))
    }
}

type Flights = Arc<Mutex<HashMap<Key, watch::Receiver<()>>>>;

/// The cache with its flights.
#[derive(Clone, Debug)]
pub struct ResponseCache {
    entries: Cache<Key, Arc<Entry>>,
    flights: Flights,
}

/// What a lookup found.
#[derive(Debug)]
pub enum Lookup {
    /// An answer.
    Hit(Arc<Entry>),
    /// None; the caller fetches it and fills it in, others wait.
    Lead(Lead),
    /// None, and the flight that was waited for has failed: the caller fetches it for itself. To lead again, one after
    /// the other, would make each wait for all failures before it.
    Alone,
}

/// The duty to fill a key. Dropped unfilled, the next waiter leads.
#[derive(Debug)]
pub struct Lead {
    key: Key,
    cache: ResponseCache,
    _done: watch::Sender<()>,
}

impl ResponseCache {
    /// A cache of at most so many bytes of answers.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        let entries = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, entry: &Arc<Entry>| u32::try_from(entry.body.len() + 256).unwrap_or(u32::MAX))
            .expire_after(ByEntry)
            .build();
        Self { entries, flights: Arc::default() }
    }

    /// An answer, or the lead. Waits for a flight in progress, once.
    pub async fn lookup(&self, key: Key) -> Lookup {
        let mut waited = false;
        loop {
            if let Some(entry) = self.entries.get(&key) {
                return Lookup::Hit(entry);
            }
            if waited {
                return Lookup::Alone;
            }
            let mut flight = {
                let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
                match flights.get(&key) {
                    Some(flight) => flight.clone(),
                    // The leader may have landed between the two looks.
                    None if self.entries.contains_key(&key) => continue,
                    None => {
                        let (done, flight) = watch::channel(());
                        flights.insert(key, flight);
                        return Lookup::Lead(Lead { key, cache: self.clone(), _done: done });
                    }
                }
            };
            // Ends when the leader is dropped, filled or not.
            let _ = flight.changed().await;
            waited = true;
        }
    }
}

impl Lead {
    /// Keeps an answer, unless it is too large.
    pub fn fill(self, entry: Entry) {
        if entry.body.len() <= MAX_ENTRY {
            self.cache.entries.insert(self.key, Arc::new(entry));
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.cache.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: Scope<'_> = Scope {
        tenant: "a",
        generation: "g",
        requirements: "",
        policy: "p",
        route: "r",
        dialect: "openai-chat",
        beside: "",
    };

    fn entry(ttl: Duration) -> Entry {
        let (body, content_type, dropped) = (Bytes::from_static(b"{}"), "application/json", Vec::new());
        Entry { body, content_type, target: "t".into(), dropped, cost: None, ttl }
    }

    #[test]
    fn every_field_of_the_scope_partitions() {
        let base = Key::new(SCOPE, b"x");
        assert_ne!(base, Key::new(Scope { tenant: "b", ..SCOPE }, b"x"));
        assert_ne!(base, Key::new(Scope { generation: "h", ..SCOPE }, b"x"));
        assert_ne!(base, Key::new(Scope { requirements: "EU", ..SCOPE }, b"x"));
        assert_ne!(base, Key::new(Scope { policy: "q", ..SCOPE }, b"x"));
        assert_ne!(base, Key::new(Scope { route: "s", ..SCOPE }, b"x"));
        assert_ne!(base, Key::new(Scope { beside: "m", ..SCOPE }, b"x"));
        assert_ne!(base, Key::new(SCOPE, b"y"));
        // Length prefixes: moving a letter over a border makes another key.
        assert_ne!(Key::new(Scope { tenant: "ag", generation: "", ..SCOPE }, b"x"), base);
    }

    #[test]
    fn items_are_found_by_their_own_tenant_only_and_memory_is_bounded() {
        let (items, ours, others) = (Items::new(4096), Arc::from("a"), Arc::from("b"));
        items.keep(&ours, vec![("fc_1".into(), Bytes::from_static(b"{}"))]);
        assert_eq!(items.find(&ours, "fc_1").as_deref(), Some(&b"{}"[..]));
        assert_eq!((items.find(&others, "fc_1"), items.find(&ours, "fc_2")), (None, None));
        for number in 0..500 {
            items.keep(&ours, vec![(format!("m_{number}").into(), Bytes::from(vec![b' '; 100]))]);
        }
        items.0.run_pending_tasks();
        assert!(items.0.weighted_size() <= 4096);
    }

    #[tokio::test]
    async fn one_leads_the_others_wait_and_hit() {
        let cache = ResponseCache::new(1 << 20);
        let key = Key::new(SCOPE, b"x");
        let Lookup::Lead(lead) = cache.lookup(key).await else { panic!("the first leads") };
        let waiting = tokio::spawn({
            let cache = cache.clone();
            async move { cache.lookup(key).await }
        });
        tokio::task::yield_now().await;
        lead.fill(entry(Duration::from_secs(60)));
        assert!(matches!(waiting.await.unwrap(), Lookup::Hit(_)));
    }

    #[tokio::test]
    async fn when_the_leader_fails_the_others_go_on_by_themselves() {
        let cache = ResponseCache::new(1 << 20);
        let key = Key::new(SCOPE, b"x");
        let Lookup::Lead(lead) = cache.lookup(key).await else { panic!("the first leads") };
        let waiting = tokio::spawn({
            let cache = cache.clone();
            async move { cache.lookup(key).await }
        });
        tokio::task::yield_now().await;
        drop(lead);
        assert!(matches!(waiting.await.unwrap(), Lookup::Alone));
        assert!(matches!(cache.lookup(key).await, Lookup::Lead(_)), "the next one who asks leads again");
    }
}
