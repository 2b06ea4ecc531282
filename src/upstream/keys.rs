//! What is remembered of keys and of the accounts behind them: who rests, and how much the provider still lets through.
//!
//! Kept by everything that makes a key what it is, so that all pools that use a key know the same of it, and that a reload
//! forgets nothing. A key that was refused rests everywhere; an account that is exhausted rests with all its keys; a rate
//! limit rests the key, or its account where the provider counts by account, at one target only, since providers count
//! each model apart; at a target that takes any model, for the model that was asked for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::credentials::Wanted;
use super::headroom::{Headroom, Limits, Need};
use crate::dialect::{Counted, Told};
use crate::domain::target::{Rest, UnixMillis};

/// Until when something rests, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rested {
    /// Until then.
    pub until: UnixMillis,
    /// Our own guess, or a limit.
    pub rest: Rest,
}

/// An account at a provider.
#[derive(Debug, Default)]
pub struct Account {
    rests_until: AtomicI64,
    allowances: Arc<Allowances>,
}

impl Account {
    /// An account with what its limits are said to be.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { rests_until: AtomicI64::new(0), allowances: Arc::new(Allowances::new(limits)) }
    }
}

/// One key.
#[derive(Debug)]
pub struct KeyState {
    label: Arc<str>,
    rests_until: AtomicI64,
    account: Arc<Account>,
    /// Its own, or its account's.
    allowances: Arc<Allowances>,
}

impl KeyState {
    /// A key of an account. `counted`: the provider counts by account, else by key.
    #[must_use]
    pub fn new(label: impl Into<Arc<str>>, limits: Limits, account: Arc<Account>, counted: bool) -> Self {
        let allowances = if counted { Arc::clone(&account.allowances) } else { Arc::new(Allowances::new(limits)) };
        Self { label: label.into(), rests_until: AtomicI64::new(0), account, allowances }
    }

    /// A key of an account of its own, of which nothing is known.
    #[must_use]
    pub fn alone(label: impl Into<Arc<str>>) -> Self {
        Self::new(label, Limits::default(), Arc::default(), false)
    }

    /// Its name for logs and metrics (the environment variable or file it came from), never its value.
    #[must_use]
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// It was refused.
    pub fn rest_until(&self, until: UnixMillis) {
        self.rests_until.fetch_max(until.0, Ordering::Relaxed);
    }

    /// Its account is exhausted.
    pub fn account_rests_until(&self, until: UnixMillis) {
        self.account.rests_until.fetch_max(until.0, Ordering::Relaxed);
    }

    /// Whether it may be used for such a request at a target.
    ///
    /// # Errors
    /// Until when not.
    pub fn standing(&self, wanted: Wanted<'_>) -> Result<(), Rested> {
        let Wanted { target, named, need, now, .. } = wanted;
        let until = self.rests_until.load(Ordering::Relaxed).max(self.account.rests_until.load(Ordering::Relaxed));
        let mut rested = (until > now.0).then_some(Rested { until: UnixMillis(until), rest: Rest::Breaker });
        let limited = self.allowances.find(target).and_then(|allowance| lock(&allowance).standing(need, now).err());
        let named = named.and_then(|model| self.allowances.limited(target, model, now));
        // All must be over.
        for until in limited.into_iter().chain(named) {
            if rested.is_none_or(|known| known.until < until) {
                rested = Some(Rested { until, rest: Rest::Limited });
            }
        }
        rested.map_or(Ok(()), Err)
    }

    pub(super) fn allowance(&self, target: &Arc<str>) -> Arc<Mutex<Allowance>> {
        self.allowances.at(target)
    }

    /// What is left at each target, as far as it is known.
    pub fn left(&self, now: UnixMillis) -> Vec<(Arc<str>, Counted, u64)> {
        let known: Vec<_> = lock(&self.allowances.of).iter().map(|(t, a)| (Arc::clone(t), Arc::clone(a))).collect();
        let each = known.into_iter().flat_map(|(target, allowance)| {
            let left: Vec<_> = lock(&allowance).headroom.left(now).collect();
            left.into_iter().map(move |(counts, left)| (Arc::clone(&target), counts, left))
        });
        each.collect()
    }
}

/// Limits by target. The names are those of the catalogue, so there are not many.
#[derive(Debug, Default)]
struct Allowances {
    limits: Limits,
    of: Mutex<HashMap<Arc<str>, Arc<Mutex<Allowance>>>>,
    /// Models of targets that take any, which are limited until then. The names are the clients', so there may be many.
    named: Mutex<HashMap<Box<str>, i64>>,
}

/// So many limits of models with clients' names are remembered for a key.
const MOST_NAMED: usize = 256;

impl Allowances {
    fn new(limits: Limits) -> Self {
        Self { limits, of: Mutex::default(), named: Mutex::default() }
    }

    fn find(&self, target: &str) -> Option<Arc<Mutex<Allowance>>> {
        lock(&self.of).get(target).map(Arc::clone)
    }

    /// Until when a model of a target that takes any is limited.
    fn limited(&self, target: &str, model: &str, now: UnixMillis) -> Option<UnixMillis> {
        let named = lock(&self.named);
        let until = if named.is_empty() { None } else { named.get(&*name(target, model)).copied() };
        until.map(UnixMillis).filter(|until| *until > now)
    }

    /// It is, until then. Where there is no place left, the limit that ends first is forgotten.
    fn limit(&self, name: &str, until: UnixMillis, now: UnixMillis) {
        let mut named = lock(&self.named);
        named.retain(|_, until| *until > now.0);
        if named.len() >= MOST_NAMED
            && !named.contains_key(name)
            && let Some(first) = named.iter().min_by_key(|(_, until)| **until).map(|(name, _)| name.clone())
        {
            named.remove(&first);
        }
        let known = named.entry(name.into()).or_insert(until.0);
        *known = until.0.max(*known);
    }

    fn at(&self, target: &Arc<str>) -> Arc<Mutex<Allowance>> {
        let mut all = lock(&self.of);
        if let Some(known) = all.get(&**target) {
            return Arc::clone(known);
        }
        let made = Arc::new(Mutex::new(Allowance { headroom: Headroom::new(self.limits), limited_until: 0 }));
        all.insert(Arc::clone(target), Arc::clone(&made));
        made
    }
}

/// A model at a target, as limits of it are remembered.
fn name(target: &str, model: &str) -> Box<str> {
    format!("{target} {model}").into()
}

/// What a key, or an account, may do at one target.
#[derive(Debug)]
pub(super) struct Allowance {
    headroom: Headroom,
    limited_until: i64,
}

impl Allowance {
    fn standing(&self, need: Need, now: UnixMillis) -> Result<(), UnixMillis> {
        let limited = (self.limited_until > now.0).then_some(UnixMillis(self.limited_until));
        let room = self.headroom.room(need, now).err();
        limited.into_iter().chain(room).max().map_or(Ok(()), Err)
    }
}

/// A request's part of the headroom, from its sending to the head of its answer.
#[derive(Debug)]
pub(super) struct Hold {
    allowance: Arc<Mutex<Allowance>>,
    /// Where a limit is remembered that holds for one model of a target that takes any.
    named: Option<(Arc<Allowances>, Box<str>)>,
    number: u64,
    need: Need,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Held,
    Sent,
    Over,
}

impl Hold {
    /// Takes its part, if there is room.
    ///
    /// # Errors
    /// When there will be.
    pub(super) fn take(key: &KeyState, wanted: Wanted<'_>) -> Result<Self, UnixMillis> {
        let Wanted { target, named, need, now, .. } = wanted;
        if let Some(until) = named.and_then(|model| key.allowances.limited(target, model, now)) {
            return Err(until);
        }
        let allowance = key.allowance(target);
        let named = named.map(|model| (Arc::clone(&key.allowances), name(target, model)));
        let number = {
            let mut held = lock(&allowance);
            // Looked at and taken under one lock: many at once never take more than there is.
            held.standing(need, now)?;
            held.headroom.begin(need)
        };
        Ok(Self { allowance, named, number, need, stage: Stage::Held })
    }

    pub(super) fn sent(&mut self) {
        self.stage = Stage::Sent;
    }

    pub(super) fn unsent(&mut self) {
        self.stage = Stage::Held;
    }

    pub(super) fn answered(&mut self, told: impl Iterator<Item = Told>, now: UnixMillis) {
        if self.stage != Stage::Over {
            self.stage = Stage::Over;
            lock(&self.allowance).headroom.answered(self.number, self.need, told, now);
        }
    }

    /// The provider limits the rate: until then, or until what it told says that there is room.
    pub(super) fn limited(&self, until: Option<UnixMillis>, now: UnixMillis) -> UnixMillis {
        let mut allowance = lock(&self.allowance);
        let room = allowance.headroom.room(self.need, now).err();
        let until = until.or(room).unwrap_or(UnixMillis(now.0.saturating_add(BARE_MS)));
        match &self.named {
            Some((allowances, name)) => allowances.limit(name, until, now),
            None => allowance.limited_until = allowance.limited_until.max(until.0),
        }
        until
    }
}

/// How long a limit rests that says nothing of its end.
const BARE_MS: i64 = 1_000;

impl Drop for Hold {
    fn drop(&mut self) {
        let now = super::now();
        match self.stage {
            Stage::Held => lock(&self.allowance).headroom.unsent(self.need),
            Stage::Sent => lock(&self.allowance).headroom.lost(self.need, now),
            Stage::Over => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
