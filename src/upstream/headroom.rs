//! How much a provider still lets through, as a pure state: what answers told, less what is on its way.
//!
//! Each answer tells what was left when the provider took the request. Requests that were sent and have not been answered
//! are not in it, so they are subtracted. Between answers what was used comes back, evenly or at the reset, as the
//! provider does it. Where an answer tells nothing, what was sent is subtracted by our own estimate: so a limit that only
//! the file names is kept too. Nothing told and nothing named: no limit is known, and nothing is held back.

use std::time::Duration;

use crate::dialect::{Counted, Refill, Told};
use crate::domain::target::UnixMillis;

/// What was told is believed for so long at most: a provider may not switch a key off for a day.
const BELIEVED_MS: i64 = 300_000;
/// Until when to wait where nobody can know.
const BLIND_MS: i64 = 1_000;

/// What one request takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Expected tokens of prompt.
    pub input: u64,
    /// Expected tokens of answer.
    pub output: u64,
}

impl Need {
    fn of(self, counts: Counted) -> u64 {
        match counts {
            Counted::Requests => 1,
            Counted::Tokens => self.input.saturating_add(self.output),
            Counted::Input => self.input,
            Counted::Output => self.output,
        }
    }
}

/// Limits that a file names: what there is before anything was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Requests a minute.
    pub rpm: Option<u64>,
    /// Tokens of prompt and answer a minute.
    pub tpm: Option<u64>,
}

/// The state of one key, or account, at one target.
#[derive(Clone, Debug, Default)]
pub struct Headroom {
    gauges: [Option<Gauge>; Counted::ALL.len()],
    /// Sent and not yet answered, by what it counts.
    unanswered: [u64; Counted::ALL.len()],
    /// Requests begun so far.
    begun: u64,
    /// The number of the youngest request that has told something.
    youngest: u64,
}

/// One limit.
#[derive(Clone, Copy, Debug)]
struct Gauge {
    limit: Option<u64>,
    /// What was left at `at`.
    remaining: u64,
    at: i64,
    /// When all of it is there again.
    full: i64,
    /// In which time a whole limit comes back.
    period: i64,
    refill: Refill,
}

impl Headroom {
    /// The state before anything was told.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let mut new = Self::default();
        for (counts, limit) in [(Counted::Requests, limits.rpm), (Counted::Tokens, limits.tpm)] {
            new.gauges[counts as usize] = limit.map(|limit| Gauge {
                limit: Some(limit),
                remaining: limit,
                at: 0,
                full: 0,
                period: 60_000,
                refill: Refill::Steady,
            });
        }
        new
    }

    /// Whether there is room for a request.
    ///
    /// # Errors
    /// When there will be, as far as is known.
    pub fn room(&self, need: Need, now: UnixMillis) -> Result<(), UnixMillis> {
        let missing = Counted::ALL.into_iter().filter_map(|counts| {
            let gauge = self.gauges[counts as usize]?;
            gauge.short(need.of(counts), self.unanswered[counts as usize], now.0)
        });
        missing.max().map_or(Ok(()), |until| Err(UnixMillis(until)))
    }

    /// A request is sent. Its number is needed when it is answered.
    pub fn begin(&mut self, need: Need) -> u64 {
        for counts in Counted::ALL {
            let sent = &mut self.unanswered[counts as usize];
            *sent = sent.saturating_add(need.of(counts));
        }
        self.begun += 1;
        self.begun
    }

    /// The head of its answer is there, with what it tells. What an older request tells is older news and not taken.
    pub fn answered(&mut self, number: u64, need: Need, told: impl Iterator<Item = Told>, now: UnixMillis) {
        self.gone(need);
        let mut silent = [true; Counted::ALL.len()];
        for told in told {
            silent[told.counts as usize] = false;
            if number > self.youngest {
                let gauge = &mut self.gauges[told.counts as usize];
                *gauge = Some(Gauge::told(told, *gauge, now.0));
            }
        }
        if silent.contains(&false) {
            self.youngest = self.youngest.max(number);
        }
        for counts in Counted::ALL.into_iter().filter(|counts| silent[*counts as usize]) {
            self.take(counts, need, now);
        }
    }

    /// It was sent, and nothing more is known of it: it may have been counted.
    pub fn lost(&mut self, need: Need, now: UnixMillis) {
        self.gone(need);
        Counted::ALL.into_iter().for_each(|counts| self.take(counts, need, now));
    }

    /// It was not sent.
    pub fn unsent(&mut self, need: Need) {
        self.gone(need);
    }

    /// What is left of each limit that is known, less what is on its way.
    pub fn left(&self, now: UnixMillis) -> impl Iterator<Item = (Counted, u64)> {
        Counted::ALL.into_iter().filter_map(move |counts| {
            let level = self.gauges[counts as usize]?.level(now.0)?;
            Some((counts, level.saturating_sub(self.unanswered[counts as usize])))
        })
    }

    fn gone(&mut self, need: Need) {
        for counts in Counted::ALL {
            let sent = &mut self.unanswered[counts as usize];
            *sent = sent.saturating_sub(need.of(counts));
        }
    }

    fn take(&mut self, counts: Counted, need: Need, now: UnixMillis) {
        if let Some(gauge) = &mut self.gauges[counts as usize] {
            gauge.take(need.of(counts), now.0);
        }
    }
}

impl Gauge {
    fn told(told: Told, before: Option<Self>, now: i64) -> Self {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        // A limit that is told at times only still holds.
        let limit = told.limit.or(before.and_then(|gauge| gauge.limit)).map(|limit| limit.max(told.remaining));
        let used = limit.map(|limit| limit - told.remaining);
        let reset = told.reset.map(ms);
        let period = match (told.refill, reset, limit.zip(used)) {
            (Refill::Steady, Some(reset), Some((limit, used))) if used > 0 => scaled(reset, limit, used),
            (Refill::Whole, Some(reset), _) => reset,
            _ => ms(told.period),
        };
        let back = match (told.refill, reset, limit.zip(used)) {
            (_, Some(reset), _) => reset,
            (Refill::Steady, None, Some((limit, used))) => scaled(period, used, limit),
            (_, None, _) => period,
        };
        let full = now.saturating_add(back);
        Self { limit, remaining: told.remaining, at: now, full, period: period.max(1), refill: told.refill }
    }

    /// What is left at a moment; none = not known any more.
    fn level(&self, now: i64) -> Option<u64> {
        if now >= self.full {
            return self.limit;
        }
        if now.saturating_sub(self.at) >= BELIEVED_MS {
            return None;
        }
        match (self.refill, self.limit) {
            (Refill::Steady, Some(limit)) => {
                let waited = u128::from(now.saturating_sub(self.at).max(0).unsigned_abs());
                let back = waited * u128::from(limit) / u128::from(self.period.unsigned_abs());
                Some(self.remaining.saturating_add(u64::try_from(back).unwrap_or(u64::MAX)).min(limit))
            }
            _ => Some(self.remaining),
        }
    }

    /// When there is room for so much beside what is on its way; none = now.
    fn short(&self, need: u64, unanswered: u64, now: i64) -> Option<i64> {
        let level = self.level(now)?;
        // What is larger than the whole limit is the provider's to judge, once all of it is there.
        let need = self.limit.map_or(need, |limit| need.min(limit));
        let wanted = need.saturating_add(unanswered);
        if wanted <= level {
            return None;
        }
        let until = match (self.refill, self.limit) {
            (Refill::Steady, Some(limit)) => {
                self.at.saturating_add(scaled(self.period, wanted - self.remaining, limit))
            }
            _ => self.full,
        };
        let until = until.min(self.full);
        let until = if until > now { until } else { now.saturating_add(BLIND_MS) };
        Some(until.min(self.at.max(now).saturating_add(BELIEVED_MS)))
    }

    fn take(&mut self, amount: u64, now: i64) {
        let Some(level) = self.level(now) else { return };
        let back = match (self.refill, self.limit) {
            (Refill::Steady, Some(limit)) => scaled(self.period, (limit - level).saturating_add(amount), limit),
            _ if self.full > now => self.full - now,
            _ => self.period,
        };
        (self.remaining, self.at, self.full) = (level.saturating_sub(amount), now, now.saturating_add(back));
    }
}

/// `a · b / c`, rounded up; the largest where it does not fit.
fn scaled(a: i64, b: u64, c: u64) -> i64 {
    let product = u128::from(a.max(0).unsigned_abs()) * u128::from(b);
    i64::try_from(product.div_ceil(u128::from(c.max(1)))).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: fn(i64) -> UnixMillis = UnixMillis;

    fn tokens(remaining: u64, reset_ms: u64) -> Told {
        Told {
            counts: Counted::Tokens,
            limit: Some(6_000),
            remaining,
            reset: Some(Duration::from_millis(reset_ms)),
            period: Duration::from_secs(60),
            refill: Refill::Steady,
        }
    }

    fn need(tokens: u64) -> Need {
        Need { input: tokens, output: 0 }
    }

    fn told(state: &mut Headroom, told: Told, now: i64) {
        let number = state.begin(need(0));
        state.answered(number, need(0), [told].into_iter(), T(now));
    }

    fn left(state: &Headroom, counts: Counted, now: i64) -> Option<u64> {
        state.left(T(now)).find(|(c, _)| *c == counts).map(|(_, left)| left)
    }

    #[test]
    fn nothing_known_holds_nothing_back() {
        let state = Headroom::default();
        assert_eq!(state.room(need(1 << 40), T(0)), Ok(()));
        assert_eq!(state.left(T(0)).count(), 0);
    }

    #[test]
    fn what_comes_back_evenly_is_counted_until_it_is_enough() {
        let mut state = Headroom::default();
        told(&mut state, tokens(0, 60_000), 1_000);
        assert_eq!(state.room(need(600), T(1_000)), Err(T(7_000)));
        assert_eq!(left(&state, Counted::Tokens, 4_000), Some(300));
        assert_eq!(state.room(need(600), T(7_000)), Ok(()));
        assert_eq!(state.room(need(60_000), T(7_000)), Err(T(61_000)), "more than all of it waits for all of it");
        assert_eq!(state.room(need(60_000), T(61_000)), Ok(()));
    }

    #[test]
    fn what_comes_back_at_once_waits_for_the_reset() {
        let mut state = Headroom::default();
        told(&mut state, Told { refill: Refill::Whole, limit: None, ..tokens(100, 5_000) }, 0);
        assert_eq!(state.room(need(100), T(10)), Ok(()));
        assert_eq!(state.room(need(101), T(4_999)), Err(T(5_000)));
        assert_eq!(state.room(need(101), T(5_000)), Ok(()));
    }

    #[test]
    fn what_is_on_its_way_is_subtracted_and_an_answer_takes_it_off() {
        let mut state = Headroom::default();
        told(&mut state, tokens(1_000, 50_000), 0);
        let first = state.begin(need(600));
        assert_eq!(left(&state, Counted::Tokens, 0), Some(400));
        assert!(state.room(need(600), T(0)).is_err());
        // The provider has counted it less than we did.
        state.answered(first, need(600), [tokens(950, 50_500)].into_iter(), T(10));
        assert_eq!(state.room(need(600), T(10)), Ok(()));
        let second = state.begin(need(600));
        state.unsent(need(600));
        assert_eq!(left(&state, Counted::Tokens, 10), Some(950));
        assert_eq!(second, first + 1);
    }

    #[test]
    fn older_news_are_not_taken() {
        let mut state = Headroom::default();
        let (old, young) = (state.begin(need(10)), state.begin(need(10)));
        state.answered(young, need(10), [tokens(100, 59_000)].into_iter(), T(0));
        state.answered(old, need(10), [tokens(5_000, 10_000)].into_iter(), T(1));
        assert_eq!(left(&state, Counted::Tokens, 1), Some(100));
    }

    #[test]
    fn a_limit_of_the_file_is_kept_where_nothing_is_told() {
        let mut state = Headroom::new(Limits { rpm: Some(2), tpm: None });
        for _ in 0..2 {
            assert_eq!(state.room(need(9), T(50)), Ok(()));
            let number = state.begin(need(9));
            state.answered(number, need(9), std::iter::empty(), T(50));
        }
        assert_eq!(state.room(need(9), T(50)), Err(T(30_050)), "one request comes back in half a minute");
        assert_eq!(state.room(need(9), T(30_050)), Ok(()));
        state.begin(need(9));
        state.lost(need(9), T(30_050));
        assert_eq!(state.room(need(9), T(30_051)), Err(T(60_050)), "what was sent may have been counted");
    }

    #[test]
    fn what_is_told_takes_the_place_of_the_files_limit() {
        let mut state = Headroom::new(Limits { rpm: None, tpm: Some(100) });
        told(&mut state, tokens(5_000, 10_000), 0);
        assert_eq!(state.room(need(4_000), T(0)), Ok(()));
    }

    #[test]
    fn a_reset_of_a_day_is_not_believed_for_a_day() {
        let mut state = Headroom::default();
        told(&mut state, Told { refill: Refill::Whole, ..tokens(0, 86_400_000) }, 0);
        assert_eq!(state.room(need(1), T(10)), Err(T(10 + BELIEVED_MS)));
        assert_eq!(state.room(need(1), T(BELIEVED_MS)), Ok(()), "somebody has to look");
    }

    #[test]
    fn many_at_once_never_take_more_than_is_left() {
        let mut state = Headroom::default();
        told(&mut state, tokens(1_000, 50_000), 0);
        let mut sent = 0;
        while state.room(need(90), T(0)).is_ok() {
            state.begin(need(90));
            sent += 90;
        }
        assert_eq!(sent, 990);
    }
}
