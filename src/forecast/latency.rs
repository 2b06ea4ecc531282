//! How long a target takes to begin, by the size of the prompt and the crowd in front of it, and per token after.

use std::time::Duration;

use super::quantiles::{Quantiles, STALE_MS, Turn};
use crate::domain::target::{UnixMillis, Usual};

/// The middle must follow within about ten requests when a target degrades; the tail needs many samples and changes
/// slowly.
const MIDDLE: Turn = Turn { samples: 10, millis: 0 };
const TAIL: Turn = Turn { samples: 100, millis: 300_000 };
/// The tail is told from this many samples on.
const ENOUGH: usize = 20;
/// Each sample of the slope weighs this much of the next one.
const FADE: f64 = 0.98;
/// So many requests more than usual may be in flight before a crowd is suspected: what is new gets no stampede.
const ROOM: f64 = 4.0;
/// A crowd never counts for more than this factor.
const MOST_CROWDED: f64 = 8.0;
/// What is in flight counts against so many imagined requests of the usual age: one long answer is no slow target.
const DOUBT: f64 = 4.0;
/// Ages up to this factor of the usual are chance.
const CHANCE: f64 = 1.3;
/// Whole requests from which their usual age is known.
const KNOWN: u32 = 8;

/// What was last seen so long ago, and was worse than usual then, may be over. Each look that finds it unchanged makes
/// the next one wait as much longer, up to [`LOOKS`] times as long.
const DOUBTED_MS: i64 = 60_000;
const LOOKS: u32 = 10;
/// So many answers are what is usual.
const USUALLY: u32 = 512;

/// What one answer showed: when it began, when it was over, or both at once.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Until the first token; none = nobody saw it, or it has been told.
    pub ttft: Option<Duration>,
    /// Mean time of each later token; none = there were none.
    pub per_token: Option<Duration>,
    /// Tokens of prompt.
    pub input_tokens: u64,
    /// Requests in flight there when it began, itself not counted; none = that has been told.
    pub in_flight: Option<u32>,
    /// How long all of it took; none = it is not over.
    pub took: Option<Duration>,
    /// It was a look at whether a target is fast again of which old knowledge says that it does not begin within so long.
    pub look: Option<Duration>,
}

/// What is in flight at a target.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open {
    /// How many.
    pub requests: u32,
    /// How long they have been so on the average, in milliseconds.
    pub mean_age_ms: u32,
}

/// What is expected of the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speed {
    /// Milliseconds to the first token.
    pub ttft_ms: Option<u32>,
    /// Within so many milliseconds it comes in 95 of 100 cases.
    pub ttft_p95_ms: Option<u32>,
    /// Microseconds per later token.
    pub tpot_us: Option<u32>,
    /// Whether that may be over: the beginning of an answer was last seen minutes ago, and nothing is in flight.
    pub p95_old: bool,
    /// How fast it usually was, where it was slower than that when it was last seen and that is some time ago.
    pub usual: Option<Usual>,
    /// By how much a crowd stretches it all, in thousandths; 1000 = not at all.
    pub crowd_permille: u32,
}

/// What is read from the sketches, once a sample and not once a question.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    middle: Option<f64>,
    tail: Option<f64>,
    per_token: Option<f64>,
    last: UnixMillis,
}

/// One target's latency.
#[derive(Clone, Debug)]
pub struct Latency {
    reading: Reading,
    /// Time to the first token without what the size of the prompt adds, in microseconds.
    middle: Quantiles,
    tail: Quantiles,
    per_token: Quantiles,
    slope: Slope,
    /// What the first two are in the long run.
    typical: (Typical, Typical),
    /// How often it was looked at in vain since it has been slower than that.
    looks: u32,
    /// The usual number of requests in flight.
    usual: f64,
    lasting: Lasting,
}

impl Default for Latency {
    fn default() -> Self {
        let (middle, tail, per_token) = (Quantiles::new(MIDDLE), Quantiles::new(TAIL), Quantiles::new(MIDDLE));
        Self {
            reading: Reading::default(),
            middle,
            tail,
            per_token,
            slope: Slope::default(),
            typical: Default::default(),
            looks: 0,
            usual: 0.0,
            lasting: Lasting::default(),
        }
    }
}

impl Latency {
    /// Takes what an answer showed.
    pub fn observe(&mut self, sample: Sample, at: UnixMillis) {
        if let Some(in_flight) = sample.in_flight {
            self.usual += (f64::from(in_flight) - self.usual) / 16.0;
        }
        if let Some(ttft) = sample.ttft.map(micros) {
            let kilotokens = kilo(sample.input_tokens);
            self.slope.observe(kilotokens, ttft);
            let base = (ttft - self.slope.per_kilotoken() * kilotokens).max(0.0);
            self.looks += u32::from(self.middle.silent(at) >= DOUBTED_MS);
            recover(&mut self.middle, self.reading.middle, base, at);
            if sample.look.is_some_and(|within| ttft <= micros(within)) {
                self.tail.forget();
            }
            self.typical.0.observe(base);
            self.middle.observe(base, at);
            self.tail.observe(base, at);
        }
        if let Some(per_token) = sample.per_token {
            let per_token = micros(per_token);
            recover(&mut self.per_token, self.reading.per_token, per_token, at);
            self.typical.1.observe(per_token);
            self.per_token.observe(per_token, at);
        }
        if let Some(took) = sample.took {
            self.lasting.observe(took.as_secs_f64() * 1e3);
        }
        self.read(at);
    }

    /// Takes that an answer had not begun when nobody waited for it any longer: it would have taken so long at least. Where
    /// it had not been waited for longer than is usual (`prior`, where nothing was seen yet), that says nothing.
    pub fn outlasted(&mut self, (waited, prior): (Duration, Duration), input_tokens: u64, at: UnixMillis) {
        let base = micros(waited) - self.slope.per_kilotoken() * kilo(input_tokens);
        if base > self.reading.middle.unwrap_or_else(|| micros(prior)) {
            self.looks += u32::from(self.middle.silent(at) >= DOUBTED_MS);
            self.middle.observe(base, at);
            self.tail.observe(base, at);
            self.read(at);
        }
    }

    /// The same of a whole answer, which shows nothing before its end: each of the tokens that were expected of it would have
    /// taken so long at least.
    pub fn outlasted_whole(&mut self, (per_token, prior): (Duration, Duration), waited: Duration, at: UnixMillis) {
        let each = micros(per_token);
        if each > self.reading.per_token.unwrap_or_else(|| micros(prior)) {
            self.looks += u32::from(self.per_token.silent(at) >= DOUBTED_MS);
            self.per_token.observe(each, at);
            self.lasting.observe(waited.as_secs_f64() * 1e3);
            self.read(at);
        }
    }

    fn read(&mut self, at: UnixMillis) {
        let told = self.tail.count();
        if told < 64 || told.is_multiple_of(16) {
            self.reading.tail = self.tail.read(0.95, at).filter(|_| told >= ENOUGH);
        }
        self.reading.middle = self.middle.read(0.5, at);
        self.reading.per_token = self.per_token.read(0.5, at);
        self.reading.last = at;
        if self.better().is_none() {
            self.looks = 0;
        }
    }

    /// What is expected of a prompt of that size with so much in flight.
    #[must_use]
    pub fn expect(&self, input_tokens: u64, open: Open, at: UnixMillis) -> Speed {
        let crowd_permille = whole(self.crowd(open.requests).max(self.lasting.stretch(open)) * 1_000.0);
        let Reading { middle, tail, per_token, last } = self.reading;
        if at.0.saturating_sub(last.0) > STALE_MS {
            return Speed { crowd_permille, ..Speed::default() };
        }
        let growth = self.slope.per_kilotoken() * kilo(input_tokens);
        let ttft = |base: f64| whole((base + growth) / 1_000.0);
        let doubted = at.0.saturating_sub(last.0) >= DOUBTED_MS * i64::from((1 + self.looks).min(LOOKS));
        let better = if doubted { self.better() } else { None };
        let usual = better.map(|(base, each)| Usual { ttft_ms: base.map(ttft), tpot_us: whole(each) });
        let (ttft_ms, ttft_p95_ms) = (middle.map(ttft), tail.map(ttft));
        let p95_old = open.requests == 0 && self.tail.silent(at) >= TAIL.millis;
        Speed { ttft_ms, ttft_p95_ms, p95_old, tpot_us: per_token.map(whole), usual, crowd_permille }
    }

    /// What is usual, where what was seen last is worse than chance explains. Of a target that gives whole answers only
    /// nobody has seen how one begins: then the time per token has all of it.
    fn better(&self) -> Option<(Option<f64>, f64)> {
        let begins = match self.reading.middle {
            Some(seen) => Some((seen, self.typical.0.value()?)),
            None => None,
        };
        let (each, usual) = (self.reading.per_token?, self.typical.1.value()?);
        let worse = begins.is_some_and(|(seen, usual)| usual * CHANCE < seen) || usual * CHANCE < each;
        worse.then(|| (begins.map(|(seen, usual)| usual.min(seen)), usual.min(each)))
    }

    /// Where more is in flight than the target has shown to bear, each part more than that waits for its turn.
    fn crowd(&self, in_flight: u32) -> f64 {
        let bears = 2.0 * self.usual + ROOM;
        (f64::from(in_flight) / bears).clamp(1.0, MOST_CROWDED)
    }

    /// What a restart needs, in as few numbers as will do.
    #[must_use]
    pub fn keep(&self, at: UnixMillis) -> Option<Kept> {
        let grid = |quantiles: &Quantiles| (0..GRID).filter_map(|n| quantiles.read(step(n), at)).map(whole).collect();
        let base_us: Vec<u32> = grid(&self.tail);
        let last = self.middle.last().or_else(|| self.per_token.last())?;
        Some(Kept {
            base_us,
            per_token_us: grid(&self.per_token),
            per_kilotoken_us: whole(self.slope.per_kilotoken()),
            typical_us: (self.typical.0.keep(), self.typical.1.keep()),
            last,
        })
    }

    /// The state after a restart: the kept values stand for the samples they came from, and give way to new ones soon.
    #[must_use]
    pub fn restore(kept: &Kept) -> Self {
        let mut latency = Self::default();
        for base in &kept.base_us {
            latency.tail.observe(f64::from(*base), kept.last);
        }
        // The middle's turn is short: few values, from the middle of the grid.
        let middle = |values: &[u32]| -> Vec<f64> {
            let quarter = values.len() / 4;
            values.iter().skip(quarter).take(values.len() - 2 * quarter).map(|value| f64::from(*value)).collect()
        };
        middle(&kept.base_us).into_iter().for_each(|base| latency.middle.observe(base, kept.last));
        middle(&kept.per_token_us).into_iter().for_each(|each| latency.per_token.observe(each, kept.last));
        latency.slope.known = f64::from(kept.per_kilotoken_us);
        latency.typical = (Typical::restore(kept.typical_us.0), Typical::restore(kept.typical_us.1));
        latency.read(kept.last);
        latency
    }
}

/// The first sample after a silence that is far better than what was seen before it: the target has recovered, and what
/// was bad is no part of what is to be expected any more.
fn recover(quantiles: &mut Quantiles, seen: Option<f64>, sample: f64, at: UnixMillis) {
    if quantiles.silent(at) >= DOUBTED_MS && seen.is_some_and(|seen| 2.0 * sample < seen) {
        quantiles.forget();
    }
}

/// The long run: a decayed mean of logarithms, on which some very slow answers weigh little.
#[derive(Clone, Copy, Debug, Default)]
struct Typical {
    samples: u32,
    log: f64,
}

impl Typical {
    fn observe(&mut self, sample: f64) {
        self.samples = (self.samples + 1).min(USUALLY);
        self.log += (sample.max(1.0).ln() - self.log) / f64::from(self.samples);
    }

    fn value(self) -> Option<f64> {
        (self.samples > 0).then(|| self.log.exp())
    }

    /// As one number; 0 = nothing was seen.
    fn keep(self) -> u32 {
        self.value().map_or(0, whole)
    }

    fn restore(kept: u32) -> Self {
        if kept == 0 { Self::default() } else { Self { samples: USUALLY, log: f64::from(kept).ln() } }
    }
}

/// How long whole requests last, decayed: by it the age of those that are not over tells that a target has become slow,
/// long before they are.
#[derive(Clone, Copy, Debug, Default)]
struct Lasting {
    requests: u32,
    mean_ms: f64,
    mean_square: f64,
}

impl Lasting {
    fn observe(&mut self, took_ms: f64) {
        /// About so many requests are remembered.
        const TURN: u32 = 32;
        self.requests = (self.requests + 1).min(TURN);
        let weight = 1.0 / f64::from(self.requests);
        self.mean_ms += (took_ms - self.mean_ms) * weight;
        self.mean_square += (took_ms * took_ms - self.mean_square) * weight;
    }

    /// By how much requests in flight are older than they should be. Whoever looks at a moment sees long requests more
    /// often than short ones, and each in its middle: the mean age is E\[T²\] / 2 E\[T\] (renewal theory's inspection
    /// paradox).
    fn stretch(&self, open: Open) -> f64 {
        if self.requests < KNOWN || self.mean_ms <= 0.0 {
            return 1.0;
        }
        let usual = self.mean_square / (2.0 * self.mean_ms);
        let requests = f64::from(open.requests);
        let age = (requests * f64::from(open.mean_age_ms) + DOUBT * usual) / (requests + DOUBT);
        let stretch = age / usual;
        if stretch <= CHANCE { 1.0 } else { stretch.min(MOST_CROWDED) }
    }
}

/// How many quantiles stand for a distribution.
const GRID: u32 = 20;

fn step(n: u32) -> f64 {
    (f64::from(n) + 0.5) / f64::from(GRID)
}

/// A target's latency in few numbers.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Kept {
    base_us: Vec<u32>,
    per_token_us: Vec<u32>,
    per_kilotoken_us: u32,
    #[serde(default)]
    typical_us: (u32, u32),
    #[serde(with = "millis")]
    last: UnixMillis,
}

mod millis {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::domain::target::UnixMillis;

    pub(super) fn serialize<S: Serializer>(at: &UnixMillis, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(at.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<UnixMillis, D::Error> {
        i64::deserialize(from).map(UnixMillis)
    }
}

/// Microseconds that a thousand tokens of prompt add, by decayed least squares.
#[derive(Clone, Copy, Debug, Default)]
struct Slope {
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    /// From before a restart; used until the samples say something.
    known: f64,
}

/// Weight and spread (thousand tokens, squared) from which a slope means something.
const SAMPLES: f64 = 12.0;
const SPREAD: f64 = 0.05;

impl Slope {
    fn observe(&mut self, x: f64, y: f64) {
        let fade = |sum: &mut f64, add: f64| *sum = *sum * FADE + add;
        fade(&mut self.weight, 1.0);
        fade(&mut self.x, x);
        fade(&mut self.y, y);
        fade(&mut self.xx, x * x);
        fade(&mut self.xy, x * y);
    }

    fn per_kilotoken(&self) -> f64 {
        if self.weight < SAMPLES {
            return self.known;
        }
        let (x, y) = (self.x / self.weight, self.y / self.weight);
        let spread = self.xx / self.weight - x * x;
        if spread < SPREAD {
            return self.known;
        }
        ((self.xy / self.weight - x * y) / spread).max(0.0)
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[expect(clippy::cast_precision_loss, reason = "a prompt has far fewer than 2^53 tokens")]
fn kilo(tokens: u64) -> f64 {
    tokens as f64 / 1_000.0
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, which is meant")]
fn whole(value: f64) -> u32 {
    value.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: fn(i64) -> UnixMillis = UnixMillis;

    fn sample(ttft_ms: u64, input_tokens: u64) -> Sample {
        let (ttft, per_token) = (Some(Duration::from_millis(ttft_ms)), Some(Duration::from_millis(10)));
        Sample { ttft, per_token, input_tokens, in_flight: Some(0), took: None, look: None }
    }

    fn open(requests: u32) -> Open {
        Open { requests, mean_age_ms: 0 }
    }

    fn near(value: Option<u32>, wanted: u32) -> bool {
        value.is_some_and(|value| value.abs_diff(wanted) <= wanted / 10)
    }

    #[test]
    fn nothing_is_known_of_what_was_never_seen() {
        let speed = Latency::default().expect(1_000, open(0), T(0));
        assert_eq!(speed, Speed { crowd_permille: 1_000, ..Speed::default() });
    }

    #[test]
    fn the_size_of_the_prompt_is_told_apart_from_the_target() {
        let mut latency = Latency::default();
        for n in 0..200_u64 {
            let tokens = 500 + (n % 10) * 2_000;
            latency.observe(sample(200 + tokens / 20, tokens), T(i64::try_from(n).unwrap()));
        }
        assert!(near(latency.expect(500, open(0), T(200)).ttft_ms, 225), "{:?}", latency.expect(500, open(0), T(200)));
        assert!(
            near(latency.expect(20_000, open(0), T(200)).ttft_ms, 1_200),
            "{:?}",
            latency.expect(20_000, open(0), T(200))
        );
        assert!(near(latency.expect(1, open(0), T(200)).tpot_us, 10_000));
    }

    #[test]
    fn what_was_slower_than_usual_may_be_over_and_one_good_answer_says_so() {
        let mut latency = Latency::default();
        let minute = |n: i64| T(n * 60_000);
        let seen = |latency: &Latency, at| latency.expect(100, open(0), at);
        (0..100).for_each(|_| latency.observe(sample(400, 100), minute(0)));
        assert_eq!(seen(&latency, minute(5)).usual, None, "as fast as ever when it was last seen");
        (0..30).for_each(|_| latency.observe(sample(4_000, 100), minute(1)));
        assert_eq!(seen(&latency, minute(1)).usual, None, "just seen");
        let usual = seen(&latency, minute(2)).usual.unwrap();
        assert!(usual.ttft_ms.is_some_and(|ms| (400..800).contains(&ms)), "{usual:?}");
        // Looked at in vain: the next look comes later each time, and never as late as never.
        latency.observe(sample(4_000, 100), minute(2));
        assert_eq!(seen(&latency, minute(3)).usual, None);
        assert!(seen(&latency, minute(4)).usual.is_some());
        latency.outlasted((Duration::from_secs(9), Duration::ZERO), 100, minute(4));
        assert_eq!(seen(&latency, minute(6)).usual, None, "a look that nobody waited for is one too");
        assert!(seen(&latency, minute(7)).usual.is_some());
        (4..40).for_each(|n| latency.observe(sample(4_000, 100), minute(2 * n)));
        assert_eq!(seen(&latency, minute(87)).usual, None);
        assert!(seen(&latency, minute(88)).usual.is_some());
        latency.observe(sample(400, 100), minute(88));
        let speed = seen(&latency, minute(88));
        assert!(near(speed.ttft_ms, 400) && speed.usual.is_none(), "{speed:?}");
        assert_eq!(latency.looks, 0);
    }

    #[test]
    fn the_tail_is_told_when_there_is_enough_to_tell() {
        let mut latency = Latency::default();
        (0..19).for_each(|n| latency.observe(sample(100, 100), T(n)));
        assert_eq!(latency.expect(100, open(0), T(19)).ttft_p95_ms, None);
        (0..100).for_each(|n| latency.observe(sample(if n % 10 == 0 { 2_000 } else { 100 }, 100), T(20 + n)));
        assert!(near(latency.expect(100, open(0), T(120)).ttft_p95_ms, 2_000));
        assert!(near(latency.expect(100, open(0), T(120)).ttft_ms, 100));
    }

    #[test]
    fn what_nobody_waited_for_to_its_end_took_so_long_at_least() {
        let mut latency = Latency::default();
        (0..50).for_each(|n| latency.observe(sample(100, 100), T(n)));
        let given_up = |latency: &mut Latency, ms| {
            let waited = (Duration::from_millis(ms), Duration::from_millis(200));
            (0..20).for_each(|n| latency.outlasted(waited, 100, T(60 + n)));
            latency.expect(100, open(0), T(80)).ttft_ms
        };
        assert!(near(given_up(&mut latency, 50), 100), "who leaves early says nothing");
        assert!(near(given_up(&mut latency, 400), 400));
        assert!(near(given_up(&mut Latency::default(), 400), 400), "also of a target that never answered");
        assert_eq!(
            given_up(&mut Latency::default(), 50),
            None,
            "who leaves before anything is expected has measured nothing"
        );
    }

    #[test]
    fn whole_answers_that_nobody_waited_for_took_so_long_at_least() {
        let whole = |ms| Sample { per_token: Some(Duration::from_millis(ms)), ttft: None, ..sample(0, 100) };
        let minute = |n: i64| T(n * 60_000);
        let mut latency = Latency::default();
        let left = |latency: &mut Latency, ms, at| {
            let each = (Duration::from_millis(ms), Duration::from_millis(20));
            latency.outlasted_whole(each, Duration::from_secs(9), at);
        };
        (0..20).for_each(|_| left(&mut latency, 15, minute(0)));
        assert_eq!(latency.expect(100, open(0), minute(0)).tpot_us, None, "no longer than was expected");
        (0..50).for_each(|_| latency.observe(whole(10), minute(0)));
        (0..20).for_each(|_| left(&mut latency, 9, minute(0)));
        assert!(near(latency.expect(100, open(0), minute(0)).tpot_us, 10_000), "who leaves early says nothing");
        (0..20).for_each(|_| left(&mut latency, 40, minute(0)));
        assert!(near(latency.expect(100, open(0), minute(0)).tpot_us, 40_000));
        // Nobody has seen a first token there, and still it is looked at again, and found well.
        let usual = latency.expect(100, open(0), minute(1)).usual.unwrap();
        assert!(usual.ttft_ms.is_none() && near(Some(usual.tpot_us), 10_000), "{usual:?}");
        latency.observe(whole(10), minute(1));
        let speed = latency.expect(100, open(0), minute(1));
        assert!(near(speed.tpot_us, 10_000) && speed.usual.is_none(), "{speed:?}");
    }

    #[test]
    fn what_is_known_of_the_tail_gets_old_and_a_look_within_the_limit_ends_it() {
        let minute = |n: i64| T(n * 60_000);
        let mut latency = Latency::default();
        (0..200).for_each(|_| latency.observe(sample(3_000, 100), minute(0)));
        let tail = |latency: &Latency, requests, at| {
            let speed = latency.expect(100, open(requests), at);
            (speed.ttft_p95_ms.is_some_and(|ms| ms > 2_000), speed.p95_old)
        };
        assert_eq!(tail(&latency, 0, minute(4)), (true, false));
        assert_eq!((tail(&latency, 0, minute(5)), tail(&latency, 1, minute(5))), ((true, true), (true, false)));
        let look = |ms| Sample { look: Some(Duration::from_secs(2)), ..sample(ms, 100) };
        latency.observe(look(2_500), minute(5));
        assert_eq!((tail(&latency, 0, minute(9)), tail(&latency, 0, minute(10))), ((true, false), (true, true)));
        latency.observe(Sample { per_token: Some(Duration::from_millis(9)), ttft: None, ..sample(0, 100) }, minute(10));
        assert_eq!(tail(&latency, 0, minute(10)), (true, true), "a whole answer shows nothing of it");
        latency.observe(look(1_900), minute(10));
        assert_eq!(latency.expect(100, open(0), minute(10)).ttft_p95_ms, None, "too little is known to say");
        (0..20).for_each(|_| latency.observe(sample(500, 100), minute(11)));
        assert!(latency.expect(100, open(0), minute(11)).ttft_p95_ms.is_some_and(|ms| ms < 2_000));
    }

    #[test]
    fn a_crowd_stretches_and_what_a_target_bears_is_learned() {
        let mut latency = Latency::default();
        assert_eq!(latency.expect(1, open(4), T(0)).crowd_permille, 1_000);
        assert_eq!(latency.expect(1, open(12), T(0)).crowd_permille, 3_000);
        assert_eq!(latency.expect(1, open(10_000), T(0)).crowd_permille, 8_000);
        (0..200).for_each(|n| latency.observe(Sample { in_flight: Some(20), ..sample(100, 100) }, T(n)));
        assert_eq!(latency.expect(1, open(40), T(0)).crowd_permille, 1_000);
    }

    #[test]
    fn requests_that_are_older_than_usual_tell_before_they_are_over() {
        let mut latency = Latency::default();
        let stretch = |latency: &Latency, requests, mean_age_ms| {
            latency.expect(1, Open { requests, mean_age_ms }, T(0)).crowd_permille
        };
        assert_eq!(stretch(&latency, 3, 600_000), 1_000, "nothing is usual yet");
        // Five seconds each: in their middle, on the average, whoever looks.
        (0..50).for_each(|n| latency.observe(Sample { took: Some(Duration::from_secs(5)), ..sample(100, 100) }, T(n)));
        assert_eq!(stretch(&latency, 4, 2_500), 1_000);
        assert_eq!(stretch(&latency, 1, 5_000), 1_000, "one that is long is chance");
        assert_eq!(stretch(&latency, 4, 7_500), 2_000);
        assert_eq!(stretch(&latency, 4, 600_000), 8_000);
        assert_eq!(stretch(&latency, 0, 0), 1_000);
    }

    #[test]
    fn what_is_kept_over_a_restart_expects_the_same() {
        let mut latency = Latency::default();
        for n in 0..200_u64 {
            latency.observe(sample(200 + n % 7, 1_000 * (n % 9)), T(i64::try_from(n).unwrap()));
        }
        let (before, kept) = (latency.expect(4_000, open(0), T(200)), latency.keep(T(200)).unwrap());
        let text = serde_json::to_string(&kept).unwrap();
        let after = Latency::restore(&serde_json::from_str(&text).unwrap()).expect(4_000, open(0), T(200));
        assert!(near(after.ttft_ms, before.ttft_ms.unwrap()) && near(after.tpot_us, before.tpot_us.unwrap()));
        assert!(near(after.ttft_p95_ms, before.ttft_p95_ms.unwrap()), "{after:?} {before:?}");
        assert_eq!(Latency::default().keep(T(0)), None);
    }
}
