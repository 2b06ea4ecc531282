//! Shadow runs: money that is reserved before a call, and what came of it.

use rusqlite::{Row, TransactionBehavior, params};

use super::query::Period;
use crate::domain::id::RequestId;
use crate::domain::money::Money;
use crate::domain::target::UnixMillis;
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
    /// What it is expected to cost.
    pub expected: Money,
    /// Most that the route's shadow may cost on a day.
    pub per_day: Money,
}

/// Reserves money for a run. False: it would exceed the day's limit. What has been reserved and has no known cost counts as
/// reserved, so the limit holds over restarts as well.
///
/// # Errors
/// The database can't be written.
pub fn reserve(store: &Store, wish: &Reservation) -> Result<bool, StoreError> {
    let Ok(expected) = i64::try_from(wish.expected.pico()) else { return Ok(false) };
    let mut connection = store.connect()?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let day = wish.at.0.div_euclid(DAY_MS);
    let used: i64 = transaction.query_row(
        "SELECT coalesce(sum(coalesce(r.cost_pico, s.reserved_pico)), 0) FROM shadow s
         LEFT JOIN shadow_result r ON r.request_id = s.request_id WHERE s.day = ?1 AND s.policy = ?2 AND s.route = ?3",
        params![day, wish.policy, wish.route],
        |row| row.get(0),
    )?;
    if i128::from(used) + i128::from(expected) > wish.per_day.pico() {
        return Ok(false);
    }
    let id = wish.request.0.to_be_bytes();
    let made = transaction.execute(
        "INSERT OR IGNORE INTO shadow VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![id.as_slice(), day, wish.at.0, wish.policy, wish.route, wish.target, expected],
    )?;
    transaction.commit()?;
    Ok(made == 1)
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
    /// Of these, without an answer.
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
    let mut statement = connection.prepare(
        "SELECT s.route, a.target, s.target, count(*), sum(r.failure IS NOT NULL),
                coalesce(sum(r.json_primary), 0), count(r.json_primary), coalesce(sum(r.json_shadow), 0), count(r.json_shadow),
                coalesce(sum(r.calls_equal), 0), count(r.calls_equal), coalesce(sum(r.answer_equal), 0), count(r.answer_equal),
                coalesce(sum(r.number_equal), 0), count(r.number_equal),
                coalesce(sum(iif(r.failure IS NULL AND r.cost_pico IS NOT NULL, a.cost_pico, 0)), 0),
                coalesce(sum(iif(r.failure IS NULL AND a.cost_pico IS NOT NULL, r.cost_pico, 0)), 0),
                coalesce(sum(iif(r.failure IS NULL, a.output + a.reasoning, 0)), 0),
                coalesce(sum(iif(r.failure IS NULL, r.output, 0)), 0),
                coalesce(sum(iif(r.failure IS NULL, a.duration_ms, 0)), 0),
                coalesce(sum(iif(r.failure IS NULL, r.duration_ms, 0)), 0)
         FROM shadow s JOIN shadow_result r ON r.request_id = s.request_id
         JOIN attempt a ON a.request_id = s.request_id AND a.no = (SELECT max(no) FROM attempt WHERE request_id = s.request_id)
         WHERE s.at_ms >= ?1 AND s.at_ms < ?2 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    )?;
    let rows = statement.query_map([period.from.0, period.to.0], read)?;
    rows.collect::<Result<_, _>>().map_err(StoreError::from)
}

fn read(row: &Row<'_>) -> Result<(Pair, Runs), rusqlite::Error> {
    let count = |at: usize| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
    let money = |at: usize| row.get::<_, i64>(at).map(|pico| Money::from_pico(i128::from(pico)));
    let share = |at: usize| Ok::<_, rusqlite::Error>((count(at)?, count(at + 1)?));
    let runs = Runs {
        runs: count(3)?,
        failed: count(4)?,
        json_primary: share(5)?,
        json_shadow: share(7)?,
        calls: share(9)?,
        answers: share(11)?,
        numbers: share(13)?,
        cost: (money(15)?, money(16)?),
        output: share(17)?,
        duration_ms: share(19)?,
    };
    Ok((Pair { route: row.get(0)?, primary: row.get(1)?, shadow: row.get(2)? }, runs))
}
