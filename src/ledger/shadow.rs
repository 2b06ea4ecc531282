//! Shadow runs: money that is reserved before a call, and what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{OptionalExtension, Row, TransactionBehavior, params};

use super::query::{ANSWERED, Period};
use super::rows;
use crate::domain::id::RequestId;
use crate::domain::money::Money;
use crate::domain::target::{Residency, UnixMillis};
use crate::domain::usage::Usage;
use crate::store::{Store, StoreError};

const DAY_MS: i64 = 86_400_000;

/// What a shadow run is about to cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The request.
    pub request: RequestId,
    /// The moment; its day in UTC is the day of the limit.
    pub at: UnixMillis,
    /// The policy.
    pub policy: String,
    /// The route: each has its own limit.
    pub route: String,
    /// Where to.
    pub target: String,
    /// Where that is and under whose law, as is known at that moment.
    pub residency: Arc<Residency>,
    /// Most that the route's shadow may cost on a day.
    pub per_day: Money,
}

/// Reserves money for a run. `fit` is told what is left of the day's limit and says what to do with it and how much of it that
/// may cost at most. None: nothing. What has been reserved and has no known cost counts as reserved, so the limit holds over
/// restarts as well.
///
/// # Errors
/// The database can't be written.
pub fn reserve<T>(
    store: &Store,
    wish: &Reservation,
    fit: impl FnOnce(Money) -> Option<(T, Money)>,
) -> Result<Option<T>, StoreError> {
    let mut connection = store.connect()?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let day = wish.at.0.div_euclid(DAY_MS);
    let used: i64 = transaction.query_row(
        "SELECT coalesce(sum(coalesce(r.cost_pico, s.reserved_pico)), 0) FROM shadow s
         LEFT JOIN shadow_result r ON r.request_id = s.request_id WHERE s.day = ?1 AND s.policy = ?2 AND s.route = ?3",
        params![day, wish.policy, wish.route],
        |row| row.get(0),
    )?;
    let left = wish.per_day.checked_sub(Money::from_pico(i128::from(used))).unwrap_or(Money::ZERO);
    let Some((what, worst)) = fit(left).filter(|(_, worst)| *worst <= left) else { return Ok(None) };
    let Ok(worst) = i64::try_from(worst.pico()) else { return Ok(None) };
    let id = wish.request.0.to_be_bytes();
    let made = transaction.execute(
        "INSERT OR IGNORE INTO shadow VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            id.as_slice(),
            day,
            wish.at.0,
            wish.policy,
            wish.route,
            wish.target,
            worst,
            rows::processing(&wish.residency.processing),
            rows::country(wish.residency.operator)
        ],
    )?;
    transaction.commit()?;
    Ok((made == 1).then_some(what))
}

/// What came of a run. Of the texts only whether they agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What went wrong; none = it answered.
    pub failure: Option<&'static str>,
    /// Milliseconds to the whole answer.
    pub duration_ms: u32,
    /// What it used.
    pub usage: Usage,
    /// What it cost; none = not known.
    pub cost: Option<Money>,
    /// Whether the answers agree, where that can be said.
    pub agreement: Agreement,
}

/// Where two answers agree. None: it can't be said, or does not apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// The first answer is JSON as asked for.
    pub json_primary: Option<bool>,
    /// The shadow's is.
    pub json_shadow: Option<bool>,
    /// The same calls with the same arguments.
    pub calls: Option<bool>,
    /// The same text, or the same JSON.
    pub answer: Option<bool>,
    /// The same last number.
    pub number: Option<bool>,
}

/// Keeps what came of a run.
///
/// # Errors
/// The database can't be written.
pub fn settle(store: &Store, request: RequestId, outcome: &Outcome) -> Result<(), StoreError> {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let agreement = &outcome.agreement;
    store.connect()?.execute(
        "INSERT OR IGNORE INTO shadow_result VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            request.0.to_be_bytes().as_slice(),
            outcome.failure,
            outcome.duration_ms,
            count(outcome.usage.input_tokens()),
            count(outcome.usage.output_tokens()),
            outcome.cost.and_then(|cost| i64::try_from(cost.pico()).ok()),
            agreement.json_primary,
            agreement.json_shadow,
            agreement.calls,
            agreement.answer,
            agreement.number,
        ],
    )?;
    Ok(())
}

/// So many of so many.
pub type Share = (u64, u64);

/// The runs of a route at one shadow, against one target that answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// How many.
    pub runs: u64,
    /// Of these, without an answer to compare.
    pub failed: u64,
    /// First answers that are JSON as asked for.
    pub json_primary: Share,
    /// The shadow's.
    pub json_shadow: Share,
    /// Equal calls.
    pub calls: Share,
    /// Equal answers.
    pub answers: Share,
    /// Equal last numbers.
    pub numbers: Share,
    /// What the first answers and the shadow's cost, where both are known.
    pub cost: (Money, Money),
    /// Output tokens of both, where there was an answer.
    pub output: (u64, u64),
    /// Milliseconds of both, where there was an answer.
    pub duration_ms: (u64, u64),
    /// How cost (in pico-dollars), output tokens and milliseconds of the shadow differ from the first answer's.
    pub changes: [Paired; 3],
}

/// Differences between two measurements of the same things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paired {
    pairs: u64,
    sum: i128,
    /// None: more than fits.
    squares: Option<i128>,
}

impl Paired {
    fn take(&mut self, first: i64, second: i64) {
        let difference = i128::from(second) - i128::from(first);
        let squares = if self.pairs == 0 { Some(0) } else { self.squares };
        self.squares = squares.and_then(|squares| squares.checked_add(difference.checked_mul(difference)?));
        self.sum = self.sum.saturating_add(difference);
        self.pairs += 1;
    }

    /// How many pairs.
    #[must_use]
    pub fn pairs(&self) -> u64 {
        self.pairs
    }

    /// The interval in which the mean difference lies with 95 % confidence (Student, 1908), rounded outwards; whole numbers,
    /// as money is. None: fewer than two pairs, or numbers beyond all measure.
    #[must_use]
    pub fn interval(&self) -> Option<(i128, i128)> {
        let pairs = i128::from(self.pairs);
        if pairs < 2 {
            return None;
        }
        let spread = pairs.checked_mul(self.squares?)?.checked_sub(self.sum.checked_mul(self.sum)?)?.max(0);
        let (by, of) = (student(self.pairs - 1), pairs.checked_mul(pairs)?.checked_mul(pairs - 1)?);
        let by = by * by;
        // Numbers that are large bear to be divided first.
        let square = match spread.checked_mul(by) {
            Some(product) => product / of.checked_mul(1_000_000)?,
            None => (spread / of).checked_mul(by)? / 1_000_000,
        };
        let half = square.isqrt() + 1;
        let mean = self.sum / pairs;
        Some((mean - half, mean + half))
    }
}

/// Student's two-sided 97.5 % quantile by degrees of freedom, in thousandths; never too small between those of the table.
fn student(freedom: u64) -> i128 {
    const UP_TO_30: [u16; 30] = [
        12_706, 4_303, 3_182, 2_776, 2_571, 2_447, 2_365, 2_306, 2_262, 2_228, 2_201, 2_179, 2_160, 2_145, 2_131,
        2_120, 2_110, 2_101, 2_093, 2_086, 2_080, 2_074, 2_069, 2_064, 2_060, 2_056, 2_052, 2_048, 2_045, 2_042,
    ];
    let at = usize::try_from(freedom.saturating_sub(1)).unwrap_or(usize::MAX);
    let beyond = match freedom {
        ..60 => 2_042,
        60..120 => 2_000,
        _ => 1_980,
    };
    i128::from(UP_TO_30.get(at).copied().unwrap_or(beyond))
}

/// Which runs belong together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The route.
    pub route: String,
    /// The target that answered.
    pub primary: String,
    /// The shadow.
    pub shadow: String,
}

/// The runs of a period.
///
/// # Errors
/// The database can't be read.
pub fn runs(store: &Store, period: &Period) -> Result<Vec<(Pair, Runs)>, StoreError> {
    let connection = store.connect()?;
    let mut statement = connection.prepare(&format!(
        "SELECT s.route, a.target, s.target, o.failure IS NOT NULL, o.json_primary, o.json_shadow, o.calls_equal,
                o.answer_equal, o.number_equal, a.cost_pico, o.cost_pico, a.output + a.reasoning, o.output,
                a.duration_ms, o.duration_ms
         FROM shadow s JOIN shadow_result o ON o.request_id = s.request_id JOIN request r ON r.id = s.request_id
         JOIN attempts a ON a.request_id = r.id AND a.no = {ANSWERED}
         WHERE s.at_ms >= ?1 AND s.at_ms < ?2"
    ))?;
    let mut found: BTreeMap<Pair, Runs> = BTreeMap::new();
    let mut rows = statement.query([period.from.0, period.to.0])?;
    while let Some(row) = rows.next()? {
        let pair = Pair { route: row.get(0)?, primary: row.get(1)?, shadow: row.get(2)? };
        found.entry(pair).or_default().take(row)?;
    }
    Ok(found.into_iter().collect())
}

/// The run beside one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where to.
    pub target: String,
    /// The countries that the target processed in, as was known; none = not known.
    pub processing: Option<String>,
    /// Whose law its operator was under.
    pub operator: Option<String>,
    /// What was reserved for it.
    pub reserved: Money,
    /// What came of it; none = it is still on its way, or the gateway ended.
    pub came: Option<Came>,
}

/// What came of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Came {
    /// What went wrong; none = it answered.
    pub failure: Option<String>,
    /// Milliseconds to the whole answer.
    pub duration_ms: u32,
    /// What it cost; none = not known.
    pub cost: Option<Money>,
    /// Whether the answers agree, where that can be said.
    pub agreement: Agreement,
}

/// The run beside a request; none = there was none.
///
/// # Errors
/// The database can't be read.
pub fn run(store: &Store, request: RequestId) -> Result<Option<Run>, StoreError> {
    let connection = store.connect()?;
    let mut statement = connection.prepare(
        "SELECT s.target, s.processing, s.operator, s.reserved_pico, o.duration_ms, o.failure, o.cost_pico,
                o.json_primary, o.json_shadow, o.calls_equal, o.answer_equal, o.number_equal
         FROM shadow s LEFT JOIN shadow_result o ON o.request_id = s.request_id WHERE s.request_id = ?1",
    )?;
    let money = |pico: i64| Money::from_pico(i128::from(pico));
    let read = |row: &Row<'_>| {
        let came = row.get::<_, Option<u32>>(4)?.map(|duration_ms| -> Result<Came, rusqlite::Error> {
            let agreement = Agreement {
                json_primary: row.get(7)?,
                json_shadow: row.get(8)?,
                calls: row.get(9)?,
                answer: row.get(10)?,
                number: row.get(11)?,
            };
            let cost = row.get::<_, Option<i64>>(6)?.map(money);
            Ok(Came { failure: row.get(5)?, duration_ms, cost, agreement })
        });
        Ok(Run {
            target: row.get(0)?,
            processing: row.get(1)?,
            operator: row.get(2)?,
            reserved: money(row.get(3)?),
            came: came.transpose()?,
        })
    };
    let found = statement.query_row([request.0.to_be_bytes().as_slice()], read).optional();
    found.map_err(StoreError::from)
}

impl Runs {
    fn take(&mut self, row: &Row<'_>) -> Result<(), rusqlite::Error> {
        self.runs += 1;
        let shares =
            [&mut self.json_primary, &mut self.json_shadow, &mut self.calls, &mut self.answers, &mut self.numbers];
        for (share, at) in shares.into_iter().zip(4..) {
            if let Some(good) = row.get::<_, Option<bool>>(at)? {
                *share = (share.0 + u64::from(good), share.1 + 1);
            }
        }
        if row.get(3)? {
            self.failed += 1;
            return Ok(());
        }
        let number = |at: usize| row.get::<_, Option<i64>>(at);
        let [cost, output, duration] = &mut self.changes;
        if let Some((first, second)) = number(9)?.zip(number(10)?) {
            let plus = |sum: Money, pico: i64| sum.checked_add(Money::from_pico(i128::from(pico))).unwrap_or(sum);
            self.cost = (plus(self.cost.0, first), plus(self.cost.1, second));
            cost.take(first, second);
        }
        for (sums, change, at) in [(&mut self.output, output, 11), (&mut self.duration_ms, duration, 13)] {
            let (first, second) = (number(at)?.unwrap_or(0), number(at + 1)?.unwrap_or(0));
            let plus = |sum: u64, more: i64| sum.saturating_add(u64::try_from(more).unwrap_or(0));
            *sums = (plus(sums.0, first), plus(sums.1, second));
            change.take(first, second);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(i64, i64)]) -> Paired {
        let mut paired = Paired::default();
        pairs.iter().for_each(|(first, second)| paired.take(*first, *second));
        paired
    }

    #[test]
    fn intervals_of_differences_are_students() {
        assert_eq!((of(&[]).interval(), of(&[(1, 5)]).interval()), (None, None), "one says nothing of the spread");
        assert_eq!(of(&[(1, 5), (2, 6), (3, 7)]).interval(), Some((3, 5)), "four each time, rounded outwards");
        // Differences 10, 20, 30, 40: mean 25, standard error 6.455, three degrees of freedom: 25 +- 20.5.
        assert_eq!(of(&[(0, 10), (0, 20), (0, 30), (0, 40)]).interval(), Some((4, 46)));
        // The same in pico-dollars of a dollar each.
        let dollars = 1_000_000_000_000;
        let (low, high) =
            of(&[(0, 10 * dollars), (0, 20 * dollars), (0, 30 * dollars), (0, 40 * dollars)]).interval().unwrap();
        assert_eq!((low / 1_000_000_000, high / 1_000_000_000), (4_460, 45_539), "25 +- 20.540 dollars");
        assert!(of(&[(0, -5), (0, -7)]).interval().is_some_and(|(low, high)| low < -6 && high > -6));
        let huge = of(&[(i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (0, 0)]);
        assert!(huge.interval().is_none_or(|(low, high)| low <= high), "no overflow: {huge:?}");
    }
}
