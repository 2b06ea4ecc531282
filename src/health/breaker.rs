//! The breaker as a pure state machine: `(state, event, now) → state`.
//!
//! Three failures in a row open it; it stays open for a back-off that doubles with every failed probe, or as long as
//! the upstream asked. When the time is up, the next attempt is the probe. A longer rest already set is never cut short.

use std::time::Duration;

use crate::domain::target::{Rest, UnixMillis};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An attempt went well.
    Success,
    /// An attempt failed; with the upstream's advice, where it gave one.
    Failure(Option<Duration>),
    /// The upstream limits our rate: rest at once, this long.
    Limited(Duration),
}

/// Failures in a row that open the breaker.
const THRESHOLD: u32 = 3;
/// First rest.
const FIRST_REST: Duration = Duration::from_secs(2);
/// Longest rest, also for advice: an upstream may not switch a target off for a day.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// A target's breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    until: Option<UnixMillis>,
    /// Until when the upstream itself asked for rest, and whether by limiting our rate.
    asked: Option<(UnixMillis, Rest)>,
}

impl Breaker {
    /// When the target may be tried again, if not now.
    #[must_use]
    pub fn down_until(&self, now: UnixMillis) -> Option<UnixMillis> {
        self.until.filter(|until| *until > now)
    }

    /// Who says that it rests.
    #[must_use]
    pub fn rest(&self, now: UnixMillis) -> Rest {
        self.asked.filter(|(until, _)| *until > now).map_or(Rest::Breaker, |(_, rest)| rest)
    }

    /// Takes an event.
    pub fn on(&mut self, event: Event, now: UnixMillis) {
        match event {
            Event::Success => *self = Self::default(),
            Event::Failure(advice) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= THRESHOLD {
                    let doublings = (self.failures - THRESHOLD).min(5);
                    self.lie_down(now, advice.unwrap_or(FIRST_REST * 2_u32.pow(doublings)), advice.map(|_| Rest::Firm));
                } else if let Some(advice) = advice {
                    self.lie_down(now, advice, Some(Rest::Firm));
                }
            }
            Event::Limited(advice) => self.lie_down(now, advice, Some(Rest::Limited)),
        }
    }

    fn lie_down(&mut self, now: UnixMillis, rest: Duration, asked: Option<Rest>) {
        let millis = i64::try_from(rest.min(LONGEST_REST).as_millis()).unwrap_or(i64::MAX);
        let until = UnixMillis(now.0.saturating_add(millis));
        self.until = Some(self.until.map_or(until, |old| old.max(until)));
        if let Some(asked) = asked.filter(|_| self.asked.is_none_or(|(old, _)| old <= until)) {
            self.asked = Some((until, asked));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: fn(i64) -> UnixMillis = UnixMillis;

    #[test]
    fn opens_after_three_failures_in_a_row_only() {
        let mut b = Breaker::default();
        b.on(Event::Failure(None), T(0));
        b.on(Event::Failure(None), T(0));
        b.on(Event::Success, T(0));
        b.on(Event::Failure(None), T(0));
        b.on(Event::Failure(None), T(0));
        assert_eq!(b.down_until(T(0)), None);
        b.on(Event::Failure(None), T(0));
        assert_eq!(b.down_until(T(0)), Some(T(2000)));
        assert_eq!(b.down_until(T(2000)), None, "the probe may go");
    }

    #[test]
    fn a_failed_probe_doubles_the_rest_up_to_a_minute() {
        let mut b = Breaker::default();
        (0..20).for_each(|_| b.on(Event::Failure(None), T(0)));
        assert_eq!(b.down_until(T(0)), Some(T(60_000)));
    }

    #[test]
    fn a_rest_that_was_asked_for_is_told_from_our_own() {
        let mut b = Breaker::default();
        (0..3).for_each(|_| b.on(Event::Failure(None), T(0)));
        assert_eq!((b.down_until(T(0)), b.rest(T(0))), (Some(T(2_000)), Rest::Breaker));
        b.on(Event::Limited(Duration::from_secs(1)), T(0));
        assert_eq!(b.rest(T(0)), Rest::Limited);
        assert_eq!((b.down_until(T(1_000)), b.rest(T(1_000))), (Some(T(2_000)), Rest::Breaker));
        b.on(Event::Failure(Some(Duration::from_secs(9))), T(1_000));
        assert_eq!((b.down_until(T(1_000)), b.rest(T(1_000))), (Some(T(10_000)), Rest::Firm));
    }

    #[test]
    fn a_limit_rests_at_once_and_a_shorter_one_does_not_cut_it() {
        let mut b = Breaker::default();
        b.on(Event::Limited(Duration::from_secs(10)), T(0));
        b.on(Event::Limited(Duration::from_secs(1)), T(0));
        assert_eq!(b.down_until(T(0)), Some(T(10_000)));
        b.on(Event::Limited(Duration::from_secs(86_400)), T(0));
        assert_eq!(b.down_until(T(0)), Some(T(60_000)), "advice is bounded");
    }
}
