//! The breaker as a pure state machine: `(state, event, now) → state`.
//!
//! Closed: three failures in a row open it. Open: it rests, for a back-off that doubles with every failed probe, or as
//! long as the upstream asked; what fails meanwhile had begun before and is not counted again. Half open, when the time
//! is up: one attempt is let through as the probe, and nobody else while it is out. An answer that begins closes it.

use std::time::Duration;

use crate::domain::target::{Rest, UnixMillis};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An attempt begins.
    Begins,
    /// Its answer begins.
    Answers,
    /// It went well.
    Success,
    /// It ended without saying anything of the upstream.
    Nothing,
    /// It failed; with the upstream's advice, where it gave one.
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
/// A probe that has said nothing for so long is given up, and another may go.
const PROBE: Duration = Duration::from_secs(30);

/// A breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failures: u32,
    /// Open until then, half open after; none = closed.
    until: Option<UnixMillis>,
    /// When the probe that is out began.
    probe: Option<UnixMillis>,
    /// Until when the upstream itself asked for rest, and whether by limiting our rate.
    asked: Option<(UnixMillis, Rest)>,
}

impl Breaker {
    /// When the target may be tried again, if not now.
    #[must_use]
    pub fn down_until(&self, now: UnixMillis) -> Option<UnixMillis> {
        let until = self.until?;
        if until > now {
            return Some(until);
        }
        self.probe.map(|began| after(began, PROBE)).filter(|end| *end > now)
    }

    /// Who says that it rests.
    #[must_use]
    pub fn rest(&self, now: UnixMillis) -> Rest {
        self.asked.filter(|(until, _)| *until > now).map_or(Rest::Breaker, |(_, rest)| rest)
    }

    /// Whether an answer that began would close it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.until.is_none() && self.failures == 0
    }

    /// Takes an event.
    pub fn on(&mut self, event: Event, now: UnixMillis) {
        let open = self.until.is_some_and(|until| until > now);
        match event {
            Event::Begins => {
                if self.until.is_some() && self.down_until(now).is_none() {
                    self.probe = Some(now);
                }
            }
            // The next failure opens it again: many an answer begins and breaks off.
            Event::Answers if !open => (self.until, self.probe, self.asked) = (None, None, None),
            Event::Answers => {}
            Event::Success => *self = Self::default(),
            Event::Nothing => self.probe = None,
            Event::Failure(advice) if open => {
                if let Some(advice) = advice {
                    self.lie_down(now, advice, Some(Rest::Firm));
                }
            }
            Event::Failure(advice) => {
                self.probe = None;
                self.failures = self.failures.saturating_add(1);
                if self.failures >= THRESHOLD {
                    let doublings = (self.failures - THRESHOLD).min(5);
                    self.lie_down(now, advice.unwrap_or(FIRST_REST * 2_u32.pow(doublings)), advice.map(|_| Rest::Firm));
                } else if let Some(advice) = advice {
                    self.lie_down(now, advice, Some(Rest::Firm));
                }
            }
            Event::Limited(advice) => {
                self.probe = None;
                self.lie_down(now, advice, Some(Rest::Limited));
            }
        }
    }

    fn lie_down(&mut self, now: UnixMillis, rest: Duration, asked: Option<Rest>) {
        let until = after(now, rest.min(LONGEST_REST));
        // A longer rest already set is never cut short.
        self.until = Some(self.until.map_or(until, |old| old.max(until)));
        if let Some(asked) = asked.filter(|_| self.asked.is_none_or(|(old, _)| old <= until)) {
            self.asked = Some((until, asked));
        }
    }
}

fn after(now: UnixMillis, rest: Duration) -> UnixMillis {
    UnixMillis(now.0.saturating_add(i64::try_from(rest.as_millis()).unwrap_or(i64::MAX)))
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
    fn one_probe_at_a_time_and_a_failed_one_doubles_the_rest_up_to_a_minute() {
        let mut b = Breaker::default();
        (0..3).for_each(|_| b.on(Event::Failure(None), T(0)));
        let (mut now, mut rests) = (T(0), Vec::new());
        for _ in 0..7 {
            now = b.down_until(now).unwrap();
            b.on(Event::Begins, now);
            assert_eq!(b.down_until(now), Some(T(now.0 + 30_000)), "nobody else while it is out");
            b.on(Event::Failure(None), now);
            rests.push((b.down_until(now).unwrap().0 - now.0) / 1_000);
        }
        assert_eq!(rests, [4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn many_that_fail_at_once_are_one_failure_of_the_upstream() {
        let mut b = Breaker::default();
        (0..50).for_each(|_| b.on(Event::Failure(None), T(0)));
        assert_eq!(b.down_until(T(0)), Some(T(2_000)));
    }

    #[test]
    fn a_probe_closes_it_when_its_answer_begins_and_a_lost_one_is_given_up() {
        let open = || {
            let mut b = Breaker::default();
            (0..3).for_each(|_| b.on(Event::Failure(None), T(0)));
            b.on(Event::Begins, T(2_000));
            b
        };
        let mut b = open();
        b.on(Event::Answers, T(2_100));
        assert_eq!(b.down_until(T(2_100)), None);
        b.on(Event::Failure(None), T(2_200));
        assert_eq!(b.down_until(T(2_200)), Some(T(6_200)), "it broke off: no three more are needed");
        let mut b = open();
        b.on(Event::Nothing, T(2_100));
        assert_eq!(b.down_until(T(2_100)), None, "a client that went away proves nothing; another probe may go");
        assert_eq!(open().down_until(T(32_000)), None, "given up");
        let mut b = open();
        b.on(Event::Success, T(2_100));
        assert!(b.is_closed());
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
