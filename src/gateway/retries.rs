//! The retry budget: how many attempts beyond each request's first the gateway may make.
//!
//! A token bucket. Each request earns a fifth of an attempt, each further attempt takes a whole one. So an outage adds at
//! most a fifth to the load of what is left, instead of multiplying it. A reserve and a trickle let a quiet gateway fail
//! over as well. With an empty bucket the error that there is is the answer.

use std::sync::{Mutex, PoisonError};

use crate::domain::target::UnixMillis;

/// Thousandths of an attempt that a request earns: 20 %.
const EARNED: i64 = 200;
/// Thousandths of an attempt.
const WHOLE: i64 = 1_000;
/// Most that is kept, and what there is at the start.
const RESERVE: i64 = 100 * WHOLE;
/// Thousandths of an attempt that come with every second: one in five seconds.
const TRICKLE: i64 = 200;

/// The bucket.
#[derive(Debug, Default)]
pub(super) struct Retries(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    level: i64,
    at: Option<UnixMillis>,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { level: RESERVE, at: None }
    }
}

impl Retries {
    /// A request came.
    pub(super) fn earn(&self) {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.add(EARNED);
    }

    /// Takes a further attempt out; false = there is none.
    pub(super) fn take(&self, now: UnixMillis) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }
}

impl Bucket {
    fn add(&mut self, thousandths: i64) {
        self.level = self.level.saturating_add(thousandths).min(RESERVE);
    }

    fn take(&mut self, now: UnixMillis) -> bool {
        let waited = self.at.map_or(0, |at| now.0.saturating_sub(at.0).max(0));
        // Not moved on by less than what adds something: many looks must not eat the trickle.
        let trickled = waited.saturating_mul(TRICKLE) / 1_000;
        if self.at.is_none() || trickled > 0 {
            self.at = Some(now);
            self.add(trickled);
        }
        if self.level < WHOLE {
            return false;
        }
        self.level -= WHOLE;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_requests_and_a_reserve() {
        let mut bucket = Bucket::default();
        let now = UnixMillis(1_000);
        assert_eq!((0..500).filter(|_| bucket.take(now)).count(), 100, "the reserve");
        let retried = (0..10_000).filter(|_| {
            bucket.add(EARNED);
            bucket.take(now)
        });
        assert_eq!(retried.count(), 2_000, "every request would retry: one in five may");
    }

    #[test]
    fn a_quiet_gateway_may_fail_over_again() {
        let mut bucket = Bucket { level: 0, at: None };
        assert!(!bucket.take(UnixMillis(0)));
        for moment in 1..5_000 {
            assert!(!bucket.take(UnixMillis(moment)), "{moment}");
        }
        assert!(bucket.take(UnixMillis(5_000)));
        assert!(!bucket.take(UnixMillis(4_000)), "a clock that goes back gives nothing");
        assert!(bucket.take(UnixMillis(3_600_000)));
        assert!(bucket.level <= RESERVE);
    }
}
