//! Quantiles of the recent past: two sketches that take turns, so that what is read is between one and two turns old.

use sketches_ddsketch::{Config, DDSketch};

use crate::domain::target::UnixMillis;

/// Relative error of a quantile. Source: Masson, Rim, Lee, "DDSketch", VLDB 2019.
const ACCURACY: f64 = 0.02;
/// From a microsecond to weeks in steps of the accuracy; the smallest are joined first.
const BINS: u32 = 512;
/// What was last seen so long ago says nothing of now.
pub(super) const STALE_MS: i64 = 3_600_000;

/// When the sketches take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// After at least so many samples,
    pub samples: usize,
    /// and so many milliseconds.
    pub millis: i64,
}

/// Decayed quantiles of one quantity.
#[derive(Clone)]
pub struct Quantiles {
    turn: Turn,
    now: DDSketch,
    before: DDSketch,
    /// When the newer one began, and when something was seen last.
    times: Option<(UnixMillis, UnixMillis)>,
}

impl Quantiles {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(turn: Turn) -> Self {
        Self { turn, now: sketch(), before: sketch(), times: None }
    }

    /// Takes a sample. What is no positive number is left out.
    pub fn observe(&mut self, sample: f64, at: UnixMillis) {
        if !sample.is_finite() || sample < 0.0 {
            return;
        }
        if self.silent(at) > STALE_MS {
            self.forget();
        }
        let began = self.times.map_or(at, |(began, _)| began);
        if self.now.count() >= self.turn.samples && at.0.saturating_sub(began.0) >= self.turn.millis {
            self.before = std::mem::replace(&mut self.now, sketch());
            self.times = Some((at, at));
        } else {
            self.times = Some((began, at));
        }
        self.now.add(sample);
    }

    /// Forgets everything.
    pub fn forget(&mut self) {
        *self = Self::new(self.turn);
    }

    /// For how many milliseconds nothing was seen; 0 where nothing ever was.
    #[must_use]
    pub fn silent(&self, at: UnixMillis) -> i64 {
        self.times.map_or(0, |(_, last)| at.0.saturating_sub(last.0))
    }

    /// The value that a share `q` (0 to 1) of the samples does not exceed; none = nothing was seen lately.
    #[must_use]
    pub fn read(&self, q: f64, at: UnixMillis) -> Option<f64> {
        self.times?;
        if self.silent(at) > STALE_MS {
            return None;
        }
        let mut all = self.now.clone();
        // Both have the same shape.
        all.merge(&self.before).ok()?;
        all.quantile(q).ok().flatten()
    }

    /// How many samples a reading rests on.
    #[must_use]
    pub fn count(&self) -> usize {
        self.now.count() + self.before.count()
    }

    /// When something was seen last.
    #[must_use]
    pub fn last(&self) -> Option<UnixMillis> {
        self.times.map(|(_, last)| last)
    }
}

impl std::fmt::Debug for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quantiles").field("count", &self.count()).field("times", &self.times).finish_non_exhaustive()
    }
}

fn sketch() -> DDSketch {
    DDSketch::new(Config::new(ACCURACY, BINS, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: fn(i64) -> UnixMillis = UnixMillis;

    fn near(value: Option<f64>, wanted: f64) -> bool {
        value.is_some_and(|value| (value - wanted).abs() <= wanted * 0.05)
    }

    #[test]
    fn the_present_displaces_the_past_within_two_turns() {
        let mut q = Quantiles::new(Turn { samples: 10, millis: 0 });
        (0..100).for_each(|n| q.observe(100.0, T(n)));
        assert!(near(q.read(0.5, T(100)), 100.0));
        (0..11).for_each(|n| q.observe(1_000.0, T(100 + n)));
        assert!(near(q.read(0.5, T(111)), 1_000.0), "{:?}", q.read(0.5, T(111)));
        assert!(q.count() <= 20);
    }

    #[test]
    fn quantiles_are_those_of_the_samples() {
        let mut q = Quantiles::new(Turn { samples: 1_000, millis: 0 });
        (1..=1_000).for_each(|n| q.observe(f64::from(n), T(0)));
        assert!(near(q.read(0.5, T(0)), 500.0) && near(q.read(0.95, T(0)), 950.0));
    }

    #[test]
    fn what_is_old_is_unknown_and_what_is_no_number_is_left_out() {
        let mut q = Quantiles::new(Turn { samples: 10, millis: 0 });
        assert_eq!(q.read(0.5, T(0)), None);
        q.observe(f64::NAN, T(0));
        q.observe(-1.0, T(0));
        assert_eq!(q.count(), 0);
        q.observe(7.0, T(0));
        assert!(near(q.read(0.5, T(STALE_MS)), 7.0));
        assert_eq!(q.read(0.5, T(STALE_MS + 1)), None);
        q.observe(90.0, T(STALE_MS + 1));
        assert!(near(q.read(0.1, T(STALE_MS + 1)), 90.0), "what is new is not mixed with what is old");
    }
}
