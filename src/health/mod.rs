//! What measurement says of each target: breakers, speed, tokens, requests in flight.
//!
//! State belongs to a target's name and outlives reloads; a snapshot holds the entries by `TargetId`. A breaker has the
//! scope of what failed: connections are the endpoint's, answers the target's; keys rest apart, in the pool that holds
//! them.

mod breaker;
mod memory;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::error::{Failure, FailureKind, Scope};
use crate::domain::target::{Expectation, Health, Signal, Target, UnixMillis};
use crate::domain::usage::Usage;
use crate::forecast::{Latency, Open, Sample, Volume};

pub use breaker::{Breaker, Event};
pub use memory::{Memory, load, save};

/// Most routes that a target learns apart; further ones use the prior.
const ROUTES: usize = 256;

/// All entries by target name.
#[derive(Debug, Default)]
pub struct Registry {
    targets: Mutex<HashMap<Arc<str>, Arc<TargetHealth>>>,
    endpoints: Mutex<HashMap<Place, Arc<Mutex<Breaker>>>>,
}

/// Provider and endpoint.
type Place = (Arc<str>, Arc<str>);

impl Registry {
    /// The entry of a target, made on first sight.
    #[must_use]
    pub fn entry(&self, target: &Target) -> Arc<TargetHealth> {
        let place = (Arc::clone(&target.provider), Arc::clone(&target.endpoint));
        let endpoint = Arc::clone(lock(&self.endpoints).entry(place).or_default());
        let mut entries = lock(&self.targets);
        let made = || Arc::new(TargetHealth { endpoint, ..TargetHealth::default() });
        Arc::clone(entries.entry(Arc::clone(&target.name)).or_insert_with(made))
    }

    /// What a restart needs to know of every target that has been measured.
    #[must_use]
    pub fn keep(&self, now: UnixMillis) -> Vec<(Arc<str>, Memory)> {
        let entries: Vec<_> = lock(&self.targets).iter().map(|(n, entry)| (Arc::clone(n), Arc::clone(entry))).collect();
        entries.into_iter().filter_map(|(name, entry)| Some((name, entry.keep(now)?))).collect()
    }
}

/// One target's measurements.
#[derive(Debug, Default)]
pub struct TargetHealth {
    breaker: Mutex<Breaker>,
    endpoint: Arc<Mutex<Breaker>>,
    in_flight: AtomicU32,
    /// The sum of the moments at which those in flight began, in milliseconds since 1970.
    begun: AtomicI64,
    latency: Mutex<Latency>,
    routes: papaya::HashMap<Arc<str>, Mutex<Volume>>,
}

impl TargetHealth {
    /// What the planner sees, for a prompt of that many tokens.
    #[must_use]
    pub fn signal(&self, input_tokens: u64, now: UnixMillis) -> Signal {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let speed = lock(&self.latency).expect(input_tokens, self.open(in_flight, now), now);
        let own = *lock(&self.breaker);
        let worst = [own, *lock(&self.endpoint)].into_iter();
        let worst = worst.filter_map(|b| b.down_until(now).map(|until| (until, b.rest(now)))).max_by_key(|(u, _)| *u);
        Signal {
            state: worst.map_or(Health::Up, |(until, rest)| Health::Down { until: Some(until), rest }),
            ttft_ms: speed.ttft_ms,
            ttft_p95_ms: speed.ttft_p95_ms,
            p95_old: speed.p95_old,
            tpot_us: speed.tpot_us,
            usual: speed.usual,
            in_flight,
            crowd_permille: speed.crowd_permille,
            own_key: false,
        }
    }

    fn open(&self, requests: u32, now: UnixMillis) -> Open {
        let ages = now.0.saturating_mul(requests.into()).saturating_sub(self.begun.load(Ordering::Relaxed));
        // The two counts are read one after the other: where they don't belong together, the age is nonsense for once.
        let mean = ages / i64::from(requests.max(1));
        Open { requests, mean_age_ms: u32::try_from(mean.max(0)).unwrap_or(0) }
    }

    /// What is expected of the tokens of a route's requests; `prior` output tokens until something is known.
    #[must_use]
    pub fn expectation(&self, route: &str, prior: u32) -> Expectation {
        let routes = self.routes.pin();
        routes.get(route).map_or(Expectation::UNKNOWN, |volume| lock(volume).expect(prior))
    }

    /// Counts an attempt as in flight until the guard is dropped. Where the breaker is half open, this is its probe.
    #[must_use]
    pub fn enter(self: &Arc<Self>, now: UnixMillis) -> InFlight {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(now.0, Ordering::Relaxed);
        self.both(Event::Begins, now);
        InFlight { target: Arc::clone(self), before, since: now }
    }

    /// The answer to an attempt begins. How long that took is taken at once: until a slow answer is over, many more
    /// requests would have gone the same way.
    pub fn answers(&self, now: UnixMillis, sample: Sample) {
        lock(&self.latency).observe(sample, now);
        self.both(Event::Answers, now);
    }

    /// An attempt went well.
    pub fn succeeded(&self, now: UnixMillis, sample: Sample) {
        lock(&self.latency).observe(sample, now);
        self.both(Event::Success, now);
    }

    /// What a complete request of a route used, where `estimated` tokens of prompt were expected.
    pub fn used(&self, route: &Arc<str>, usage: &Usage, estimated: u64, choices: u32) {
        let routes = self.routes.pin();
        if let Some(volume) = routes.get(route) {
            lock(volume).observe(usage, estimated, choices);
        } else if routes.len() < ROUTES {
            let mut volume = Volume::default();
            volume.observe(usage, estimated, choices);
            routes.insert(Arc::clone(route), Mutex::new(volume));
        }
    }

    /// An attempt failed. What is about the request (`Rejected`), one credential or the client says nothing of the target.
    pub fn failed(&self, now: UnixMillis, failure: &Failure) {
        let advice = failure.retry_after;
        match failure.scope() {
            Scope::Account | Scope::Key | Scope::Nothing => self.both(Event::Nothing, now),
            Scope::Endpoint => self.each(Event::Nothing, Event::Failure(advice), now),
            Scope::Front => self.both(Event::Failure(advice), now),
            Scope::Limit => {
                let rest = advice.unwrap_or(Duration::from_secs(1));
                self.each(Event::Limited(rest), Event::Success, now);
            }
            // Whether anybody listens there is not known.
            Scope::Target if matches!(failure.kind, FailureKind::Timeout | FailureKind::Worker) => {
                self.each(Event::Failure(advice), Event::Nothing, now);
            }
            Scope::Target => self.each(Event::Failure(advice), Event::Success, now),
        }
    }

    /// An attempt was given up before its answer began: it would have taken so long at least. `prior`: until one is expected
    /// to begin, where nothing is known.
    pub fn outlasted(&self, now: UnixMillis, (waited, prior): (Duration, Duration), input_tokens: u64) {
        lock(&self.latency).outlasted((waited, prior), input_tokens, now);
        self.said_nothing(now);
    }

    /// A whole answer was given up before it came: each token would have taken so long at least.
    pub fn outlasted_whole(&self, now: UnixMillis, per_token: (Duration, Duration), waited: Duration) {
        lock(&self.latency).outlasted_whole(per_token, waited, now);
        self.said_nothing(now);
    }

    /// An attempt ended without saying anything of the target.
    pub fn said_nothing(&self, now: UnixMillis) {
        self.both(Event::Nothing, now);
    }

    fn both(&self, event: Event, now: UnixMillis) {
        self.each(event, event, now);
    }

    fn each(&self, own: Event, endpoint: Event, now: UnixMillis) {
        lock(&self.breaker).on(own, now);
        lock(&self.endpoint).on(endpoint, now);
    }

    fn keep(&self, now: UnixMillis) -> Option<Memory> {
        let speed = lock(&self.latency).keep(now);
        let routes = self.routes.pin();
        let routes: Vec<_> = routes.iter().map(|(route, volume)| (route.to_string(), *lock(volume))).collect();
        (speed.is_some() || !routes.is_empty()).then_some(Memory { speed, routes })
    }

    /// Takes what was kept over a restart.
    pub fn restore(&self, memory: &Memory) {
        if let Some(kept) = &memory.speed {
            *lock(&self.latency) = Latency::restore(kept);
        }
        let routes = self.routes.pin();
        for (route, volume) in memory.routes.iter().take(ROUTES) {
            routes.insert(route.as_str().into(), Mutex::new(*volume));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps an attempt counted.
#[derive(Debug)]
pub struct InFlight {
    target: Arc<TargetHealth>,
    before: u32,
    since: UnixMillis,
}

impl InFlight {
    /// How many were in flight when this one began.
    #[must_use]
    pub fn before(&self) -> u32 {
        self.before
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.target.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.target.begun.fetch_sub(self.since.0, Ordering::Relaxed);
    }
}
