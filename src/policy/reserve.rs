//! Targets that rest: behind the admitted ones, for when all of those have failed.

use super::plan::{Candidate, Decision};
use super::reason::{Reason, Rejection};
use crate::domain::id::TargetId;
use crate::domain::target::{Rest, UnixMillis};

/// So many milliseconds a rest that a provider asked for is waited for where all else has failed: less than a client would
/// wait before it asks again.
pub const PATIENCE_MS: i64 = 2_000;

impl Decision {
    /// The candidate of that number, from 0: the admitted ones, then the reserve.
    #[must_use]
    pub fn candidate(&self, number: usize) -> Option<&Candidate> {
        self.admitted.get(number).or_else(|| self.reserve.get(number.checked_sub(self.admitted.len())?))
    }

    /// Whether the target is of the reserve.
    #[must_use]
    pub fn is_reserve(&self, target: TargetId) -> bool {
        self.reserve.iter().any(|candidate| candidate.target == target)
    }
}

/// Which of these rest for a while that may be over when all else has failed, and whether that is a guess of ours: one may be well
/// long before its rest is over. Guesses first, then the first to be up again.
pub(super) fn rests(rejected: &[Rejection], now: UnixMillis) -> Vec<(TargetId, bool)> {
    let patience = UnixMillis(now.0.saturating_add(PATIENCE_MS));
    let resting = rejected.iter().filter_map(|rejection| match rejection.reason {
        Reason::Down { until: Some(until), rest } if rest == Rest::Breaker || until <= patience => {
            Some((until, rejection.target, rest == Rest::Breaker))
        }
        _ => None,
    });
    let mut resting: Vec<_> = resting.collect();
    resting.sort_by_key(|(until, _, guessed)| (!guessed, *until));
    resting.into_iter().map(|(_, target, guessed)| (target, guessed)).collect()
}
