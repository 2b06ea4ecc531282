//! What measurement says of each target: a breaker, latencies, requests in flight.
//!
//! State belongs to a target's name and outlives reloads; a snapshot holds the entries by `TargetId`.

mod breaker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::error::{Failure, FailureKind};
use crate::domain::target::{Health, Signal, UnixMillis};

pub use breaker::{Breaker, Event};

/// All entries by target name.
#[derive(Debug, Default)]
pub struct Registry(Mutex<HashMap<Arc<str>, Arc<TargetHealth>>>);

impl Registry {
    /// The entry of a target, made on first sight.
    #[must_use]
    pub fn entry(&self, name: &Arc<str>) -> Arc<TargetHealth> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(entries.entry(Arc::clone(name)).or_default())
    }
}

/// One target's measurements.
#[derive(Debug, Default)]
pub struct TargetHealth {
    breaker: Mutex<Breaker>,
    in_flight: AtomicU32,
    ttft_us: Decayed,
    tpot_us: Decayed,
}

impl TargetHealth {
    /// What the planner sees.
    #[must_use]
    pub fn signal(&self, now: UnixMillis) -> Signal {
        let breaker = *self.breaker();
        let down = breaker.down_until(now);
        Signal {
            state: down.map_or(Health::Up, |until| Health::Down { until: Some(until), rest: breaker.rest(now) }),
            ttft_p95_ms: None,
            ttft_ms: self.ttft_us.get().map(|us| us / 1000),
            tpot_us: self.tpot_us.get(),
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }

    /// Counts an attempt as in flight until the guard is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// An attempt went well. `ttft` is the wait for the first token, where there was one to see; `tpot` the mean time
    /// per later token.
    pub fn succeeded(&self, now: UnixMillis, ttft: Option<Duration>, tpot: Option<Duration>) {
        if let Some(ttft) = ttft {
            self.ttft_us.observe(ttft);
        }
        if let Some(tpot) = tpot {
            self.tpot_us.observe(tpot);
        }
        self.breaker().on(Event::Success, now);
    }

    /// An attempt failed. What is about the request (`Rejected`), one credential or the client says nothing of the target.
    pub fn failed(&self, now: UnixMillis, failure: &Failure) {
        let event = match failure.kind {
            FailureKind::Rejected | FailureKind::Credentials | FailureKind::SlowReader => return,
            FailureKind::RateLimited => Event::Limited(failure.retry_after.unwrap_or(Duration::from_secs(1))),
            FailureKind::Connect
            | FailureKind::Timeout
            | FailureKind::Upstream
            | FailureKind::NoModel
            | FailureKind::Malformed
            | FailureKind::Truncated
            | FailureKind::Worker => Event::Failure(failure.retry_after),
        };
        self.breaker().on(event, now);
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps an attempt counted.
#[derive(Debug)]
pub struct InFlight(Arc<TargetHealth>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An exponentially decayed mean in microseconds: each observation weighs a fifth. Zero = none yet.
#[derive(Debug, Default)]
struct Decayed(AtomicU64);

impl Decayed {
    fn get(&self) -> Option<u32> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            us => Some(u32::try_from(us).unwrap_or(u32::MAX)),
        }
    }

    fn observe(&self, sample: Duration) {
        let sample = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX));
        // A lost race loses one sample of a mean: harmless.
        let old = self.0.load(Ordering::Relaxed);
        let new = if old == 0 { sample } else { (old * 4 + sample) / 5 };
        self.0.store(new.max(1), Ordering::Relaxed);
    }
}
