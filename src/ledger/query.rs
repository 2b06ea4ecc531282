//! Reading the ledger. Totals are queries; sums are made in i128, row by row, so that none overflows.

use std::collections::BTreeMap;

use jiff::civil::Date;
use rusqlite::{Connection, Row, named_params};

use crate::domain::id::RequestId;
use crate::domain::money::Money;
use crate::domain::target::UnixMillis;
use crate::domain::usage::{Bucket, Usage};
use crate::store::{Store, StoreError};

/// From one moment to another, end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// First moment.
    pub from: UnixMillis,
    /// First moment after.
    pub to: UnixMillis,
}

impl Period {
    /// Days in UTC, the last one exclusive; open ends are open.
    ///
    /// # Errors
    /// A day beyond the calendar, or an end before its beginning.
    pub fn between(from: Option<Date>, to: Option<Date>) -> Result<Self, String> {
        let midnight = |day: Date| {
            let at = jiff::tz::TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0));
            at.map(|at| UnixMillis(at.as_millisecond())).map_err(|error| error.to_string())
        };
        let from = from.map(midnight).transpose()?.unwrap_or(UnixMillis(0));
        let to = to.map(midnight).transpose()?.unwrap_or(UnixMillis(i64::MAX));
        if from < to { Ok(Self { from, to }) } else { Err("the period ends before it begins".to_owned()) }
    }
}

/// The attempt that answered the request `r`. It need not be the last: one beside it may have begun later.
pub(super) const ANSWERED: &str =
    "(SELECT max(no) FROM attempt WHERE request_id = r.id AND outcome NOT IN ('failed', 'hedged'))";

/// Where the request `r` ended: the attempt that answered, else the last.
fn last() -> String {
    format!("coalesce({ANSWERED}, (SELECT max(no) FROM attempt WHERE request_id = r.id))")
}

/// What a line of a report stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// A day in UTC.
    Day,
    /// A route.
    Route,
    /// A team.
    Team,
    /// A key's id.
    Key,
    /// A provider.
    Provider,
    /// A model of a provider.
    Model,
    /// A target.
    Target,
}

impl GroupBy {
    /// The heading.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Route => "route",
            Self::Team => "team",
            Self::Key => "key",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Target => "target",
        }
    }

    /// The column: one of these texts, never input.
    fn column(self) -> &'static str {
        match self {
            Self::Day => "strftime('%Y-%m-%d', r.started_ms / 1000, 'unixepoch')",
            Self::Route => "coalesce(r.route, '(direct)')",
            Self::Team => "r.tenant || '/' || r.team",
            Self::Key => "r.key_id",
            Self::Provider => "a.provider",
            Self::Model => "a.provider || '/' || a.model",
            Self::Target => "a.target",
        }
    }
}

/// One line of spend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpendLine {
    /// Requests with at least one attempt.
    pub requests: u64,
    /// Attempts.
    pub attempts: u64,
    /// Tokens of prompts.
    pub input_tokens: u64,
    /// Tokens of answers.
    pub output_tokens: u64,
    /// What they cost.
    pub cost: Money,
    /// Attempts whose price is unknown: the line is incomplete.
    pub unpriced: u64,
    /// Attempts whose usage is estimated.
    pub estimated: u64,
    /// Of `cost`, what is on the bills of tenants, by keys of their own.
    pub own_keys: Money,
}

/// Spend of a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spend {
    /// When the first and the last request of it began.
    pub span: Option<(UnixMillis, UnixMillis)>,
    /// What the lines stand for.
    pub by: GroupBy,
    /// The lines.
    pub lines: Vec<(String, SpendLine)>,
    /// Their sum.
    pub total: SpendLine,
}

/// One line of savings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavingsLine {
    /// Successful requests with a baseline.
    pub requests: u64,
    /// Tokens of prompts of the answers given.
    pub input_tokens: u64,
    /// Tokens of the answers given.
    pub output_tokens: u64,
    /// What these requests cost, failed attempts included.
    pub cost: Money,
    /// The baseline's price of the prompts.
    pub baseline_input: Money,
    /// The baseline's price of the answers.
    pub baseline_output: Money,
    /// Requests where routing cost more than the baseline.
    pub dearer: u64,
    /// Requests left out because a price is unknown: the line is incomplete.
    pub unpriced: u64,
}

impl SavingsLine {
    /// The baseline's whole price.
    #[must_use]
    pub fn baseline(&self) -> Money {
        self.baseline_input.checked_add(self.baseline_output).unwrap_or_default()
    }

    /// Baseline less cost: negative where routing cost more.
    #[must_use]
    pub fn saved(&self) -> Money {
        self.baseline().checked_sub(self.cost).unwrap_or_default()
    }
}

/// The baseline of a report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaselineFacts {
    /// The target.
    pub target: String,
    /// Prices of this date; none = of each request's own time.
    pub price_as_of: Option<UnixMillis>,
    /// Since when it can't be bought.
    pub retired: Option<UnixMillis>,
}

/// Savings of a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Savings {
    /// When the first and the last request of it began.
    pub span: Option<(UnixMillis, UnixMillis)>,
    /// What the lines stand for.
    pub by: GroupBy,
    /// The baselines that were compared with.
    pub baselines: Vec<BaselineFacts>,
    /// The lines.
    pub lines: Vec<(String, SavingsLine)>,
    /// Their sum.
    pub total: SavingsLine,
    /// Requests answered from the cache, and what their first answers had cost: another kind of saving.
    pub cache_hits: (u64, Money),
    /// Requests without a baseline.
    pub without_baseline: u64,
    /// Requests that gave no answer and cost money all the same, and how much.
    pub unanswered: (u64, Money),
}

/// Spend of a period.
///
/// # Errors
/// The database can't be read.
pub fn spend(store: &Store, period: &Period, by: GroupBy) -> Result<Spend, StoreError> {
    let connection = store.connect()?;
    let sql = format!(
        "SELECT {}, a.no = {}, a.basis, a.cost_pico, a.own_key, {BUCKETS} FROM attempts a JOIN requests r ON r.id = a.request_id
         WHERE r.started_ms >= :from AND r.started_ms < :to",
        by.column(),
        last()
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(named_params! { ":from": period.from.0, ":to": period.to.0 })?;
    let mut groups: BTreeMap<String, SpendLine> = BTreeMap::new();
    let mut total = SpendLine::default();
    while let Some(row) = rows.next()? {
        let usage = usage(row, 5)?;
        let own: bool = row.get(4)?;
        // A request counts where it was answered, or failed for good; its other attempts are cost all the same.
        let (last, basis, cost): (bool, String, Option<i64>) = (row.get(1)?, row.get(2)?, row.get(3)?);
        for line in [groups.entry(row.get(0)?).or_default(), &mut total] {
            line.requests += u64::from(last);
            line.attempts += 1;
            line.input_tokens += usage.input_tokens();
            line.output_tokens += usage.output_tokens();
            line.cost = plus(line.cost, cost)?;
            line.own_keys = plus(line.own_keys, cost.filter(|_| own))?;
            line.unpriced += u64::from(cost.is_none());
            line.estimated += u64::from(basis == "estimated");
        }
    }
    let lines = sorted(groups, |line| line.cost);
    Ok(Spend { span: span(&connection, period)?, by, lines, total })
}

/// Savings of a period.
///
/// # Errors
/// The database can't be read.
pub fn savings(store: &Store, period: &Period, by: GroupBy) -> Result<Savings, StoreError> {
    let connection = store.connect()?;
    // Attempts that did not answer are cost all the same.
    let sql = format!(
        "SELECT {}, r.baseline_target, r.baseline_as_of_ms, r.baseline_retired_ms, r.baseline_input_pico,
                r.baseline_output_pico, f.cost, f.unpriced, {BUCKETS}
         FROM requests r
         JOIN attempts a ON a.request_id = r.id AND a.no = {}
         JOIN (SELECT request_id, sum(cost_pico) AS cost, sum(cost_pico IS NULL) AS unpriced FROM attempt GROUP BY request_id) f
              ON f.request_id = r.id
         WHERE r.started_ms >= :from AND r.started_ms < :to AND r.baseline_target IS NOT NULL",
        by.column(),
        last()
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(named_params! { ":from": period.from.0, ":to": period.to.0 })?;
    let mut groups: BTreeMap<String, SavingsLine> = BTreeMap::new();
    let mut total = SavingsLine::default();
    let mut baselines = std::collections::BTreeSet::new();
    while let Some(row) = rows.next()? {
        baselines.insert(BaselineFacts {
            target: row.get(1)?,
            price_as_of: row.get::<_, Option<i64>>(2)?.map(UnixMillis),
            retired: row.get::<_, Option<i64>>(3)?.map(UnixMillis),
        });
        let (input, output): (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
        let (cost, unpriced): (Option<i64>, i64) = (row.get(6)?, row.get(7)?);
        let usage = usage(row, 8)?;
        for line in [groups.entry(row.get(0)?).or_default(), &mut total] {
            let (Some(input), Some(output), Some(cost), 0) = (input, output, cost, unpriced) else {
                line.unpriced += 1;
                continue;
            };
            line.requests += 1;
            line.input_tokens += usage.input_tokens();
            line.output_tokens += usage.output_tokens();
            line.cost = plus(line.cost, Some(cost))?;
            line.baseline_input = plus(line.baseline_input, Some(input))?;
            line.baseline_output = plus(line.baseline_output, Some(output))?;
            line.dearer += u64::from(i128::from(cost) > i128::from(input) + i128::from(output));
        }
    }
    let (cache_hits, without_baseline) = aside(&connection, period)?;
    let unanswered = unanswered(&connection, period)?;
    let lines = sorted(groups, SavingsLine::saved);
    let baselines = baselines.into_iter().collect();
    let span = span(&connection, period)?;
    Ok(Savings { span, by, baselines, lines, total, cache_hits, without_baseline, unanswered })
}

/// Cache hits with their savings, and requests without a baseline.
fn aside(connection: &Connection, period: &Period) -> Result<((u64, Money), u64), StoreError> {
    let mut statement = connection.prepare(
        "SELECT cache_hit, cache_saved_pico FROM requests
         WHERE started_ms >= :from AND started_ms < :to AND baseline_target IS NULL AND status = 200",
    )?;
    let mut rows = statement.query(named_params! { ":from": period.from.0, ":to": period.to.0 })?;
    let (mut hits, mut saved, mut without) = (0, Money::ZERO, 0);
    while let Some(row) = rows.next()? {
        if row.get::<_, bool>(0)? {
            hits += 1;
            saved = plus(saved, row.get(1)?)?;
        } else {
            without += 1;
        }
    }
    Ok(((hits, saved), without))
}

/// Requests that nobody got an answer of. Nothing is saved by them, so they are not compared; they are not hidden either.
fn unanswered(connection: &Connection, period: &Period) -> Result<(u64, Money), StoreError> {
    let mut statement = connection.prepare(
        "SELECT a.cost_pico, a.no = (SELECT min(no) FROM attempt WHERE request_id = r.id AND cost_pico > 0)
         FROM requests r JOIN attempt a ON a.request_id = r.id
         WHERE r.started_ms >= :from AND r.started_ms < :to AND r.baseline_target IS NULL AND r.status <> 200
               AND a.cost_pico > 0",
    )?;
    let mut rows = statement.query(named_params! { ":from": period.from.0, ":to": period.to.0 })?;
    let (mut requests, mut cost) = (0, Money::ZERO);
    while let Some(row) = rows.next()? {
        requests += u64::from(row.get::<_, bool>(1)?);
        cost = plus(cost, row.get(0)?)?;
    }
    Ok((requests, cost))
}

fn span(connection: &Connection, period: &Period) -> Result<Option<(UnixMillis, UnixMillis)>, StoreError> {
    let sql = "SELECT min(started_ms), max(started_ms) FROM request WHERE started_ms >= ?1 AND started_ms < ?2";
    let read = |row: &Row<'_>| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?));
    let (first, last) = connection.query_row(sql, [period.from.0, period.to.0], read)?;
    Ok(first.zip(last).map(|(first, last)| (UnixMillis(first), UnixMillis(last))))
}

/// One request with its attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the ledger, documented with the receipt")]
pub struct RequestRow {
    pub id: RequestId,
    pub started: UnixMillis,
    pub duration_ms: u32,
    pub overhead_us: u32,
    pub tenant: String,
    pub team: String,
    pub key_id: String,
    pub tags: Vec<String>,
    pub policy: String,
    pub generation: u64,
    pub route: Option<String>,
    pub model_asked: String,
    pub stream: bool,
    pub status: u16,
    pub error: Option<String>,
    pub cache_hit: bool,
    pub cache_saved: Option<Money>,
    pub baseline: Option<BaselineFacts>,
    pub baseline_cost: Option<Money>,
    pub attempts: Vec<AttemptRow>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the ledger, documented with the receipt")]
pub struct AttemptRow {
    pub no: u32,
    pub target: String,
    pub outcome: String,
    pub failure: Option<String>,
    pub upstream_status: Option<u16>,
    pub first_token_ms: Option<u32>,
    pub duration_ms: u32,
    pub usage: Usage,
    pub basis: String,
    pub cost: Option<Money>,
    pub unpriced: Option<String>,
    pub price_id: Option<String>,
    pub processing: Option<String>,
    pub operator: Option<String>,
    pub dropped_params: Vec<String>,
    pub own_key: bool,
}

impl AttemptRow {
    /// Whether nobody got anything of it: it failed, or another one was faster.
    #[must_use]
    pub fn in_vain(&self) -> bool {
        matches!(&*self.outcome, "failed" | "hedged")
    }
}

impl RequestRow {
    /// What it cost, unless some of it is unknown.
    #[must_use]
    pub fn cost(&self) -> Option<Money> {
        self.attempts.iter().try_fold(Money::ZERO, |sum, attempt| sum.checked_add(attempt.cost?))
    }
}

/// One request by its id.
///
/// # Errors
/// The database can't be read.
pub fn request(store: &Store, id: RequestId) -> Result<Option<RequestRow>, StoreError> {
    let connection = store.connect()?;
    let key = id.0.to_be_bytes();
    let mut statement = connection.prepare("SELECT * FROM requests WHERE id = ?1")?;
    let mut rows = statement.query([key.as_slice()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (input, output): (Option<i64>, Option<i64>) =
        (row.get("baseline_input_pico")?, row.get("baseline_output_pico")?);
    let target: Option<String> = row.get("baseline_target")?;
    let moment = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(UnixMillis));
    let (price_as_of, retired) = (moment("baseline_as_of_ms")?, moment("baseline_retired_ms")?);
    let tags: String = row.get("tags")?;
    Ok(Some(RequestRow {
        id,
        started: UnixMillis(row.get("started_ms")?),
        duration_ms: row.get("duration_ms")?,
        overhead_us: row.get("overhead_us")?,
        tenant: row.get("tenant")?,
        team: row.get("team")?,
        key_id: row.get("key_id")?,
        tags: serde_json::from_str(&tags).unwrap_or_default(),
        policy: row.get("policy")?,
        generation: u64::try_from(row.get::<_, i64>("generation")?).unwrap_or(0),
        route: row.get("route")?,
        model_asked: row.get("model_asked")?,
        stream: row.get("stream")?,
        status: row.get("status")?,
        error: row.get("error")?,
        cache_hit: row.get("cache_hit")?,
        cache_saved: row.get::<_, Option<i64>>("cache_saved_pico")?.map(money),
        baseline: target.map(|target| BaselineFacts { target, price_as_of, retired }),
        baseline_cost: input.zip(output).map(|(i, o)| Money::from_pico(i128::from(i) + i128::from(o))),
        attempts: attempts(&connection, &key)?,
    }))
}

pub(super) fn attempts(connection: &Connection, id: &[u8]) -> Result<Vec<AttemptRow>, StoreError> {
    let sql = format!(
        "SELECT {BUCKETS}, no, target, outcome, failure, upstream_status, first_token_ms, duration_ms, basis, cost_pico,
                unpriced, price_id, processing, operator, dropped_params, own_key FROM attempts a WHERE request_id = ?1 ORDER BY no"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let read = |row: &Row<'_>| {
        let dropped: String = row.get("dropped_params")?;
        Ok(AttemptRow {
            no: row.get("no")?,
            own_key: row.get("own_key")?,
            target: row.get("target")?,
            outcome: row.get("outcome")?,
            failure: row.get("failure")?,
            upstream_status: row.get("upstream_status")?,
            first_token_ms: row.get("first_token_ms")?,
            duration_ms: row.get("duration_ms")?,
            usage: usage(row, 0)?,
            basis: row.get("basis")?,
            cost: row.get::<_, Option<i64>>("cost_pico")?.map(money),
            unpriced: row.get("unpriced")?,
            price_id: row.get("price_id")?,
            processing: row.get("processing")?,
            operator: row.get("operator")?,
            dropped_params: serde_json::from_str(&dropped).unwrap_or_default(),
        })
    };
    let rows = statement.query_map([id], read)?;
    rows.collect::<Result<_, _>>().map_err(StoreError::from)
}

/// The usage columns in the order of `Bucket::ALL`.
const BUCKETS: &str = "a.input, a.cache_read, a.cache_write, a.cache_write_1h, a.output, a.reasoning, a.input_audio,
    a.output_audio, a.input_image, a.output_image, a.search";

fn usage(row: &Row<'_>, first: usize) -> Result<Usage, rusqlite::Error> {
    let mut usage = Usage::ZERO;
    for (offset, bucket) in Bucket::ALL.into_iter().enumerate() {
        usage.set(bucket, u64::try_from(row.get::<_, i64>(first + offset)?).unwrap_or(0));
    }
    Ok(usage)
}

fn money(pico: i64) -> Money {
    Money::from_pico(i128::from(pico))
}

fn plus(sum: Money, pico: Option<i64>) -> Result<Money, StoreError> {
    sum.checked_add(money(pico.unwrap_or(0))).ok_or_else(|| StoreError::Row("a sum beyond all money".to_owned()))
}

/// The dearest first.
fn sorted<L>(groups: BTreeMap<String, L>, by: impl Fn(&L) -> Money) -> Vec<(String, L)> {
    let mut lines: Vec<_> = groups.into_iter().collect();
    lines.sort_by(|(a, x), (b, y)| by(y).cmp(&by(x)).then_with(|| a.cmp(b)));
    lines
}
