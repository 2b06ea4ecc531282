//! What users of an answer say of it. Append-only; of one request and label the latest counts.

use rusqlite::{OptionalExtension, TransactionBehavior, params};

use super::query::ANSWERED;
use crate::domain::id::RequestId;
use crate::domain::target::UnixMillis;
use crate::store::{Store, StoreError};

/// Most labels of one request.
const LABELS: i64 = 64;

/// A score of 0 to 1 in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score(u32);

impl Score {
    /// All is well.
    pub const GOOD: Self = Self(1_000_000);
    /// Nothing is.
    pub const BAD: Self = Self(0);

    /// Decimal text from `0` to `1` with at most six decimals. None: it is not.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.len() <= 6 && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return None;
        }
        let whole: u32 = whole.parse().ok()?;
        let fraction: u32 = format!("{fraction:0<6}").parse().ok()?;
        let all = whole.checked_mul(1_000_000)?.checked_add(fraction)?;
        (all <= 1_000_000).then_some(Self(all))
    }

    /// In millionths.
    #[must_use]
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// Whether it counts as good: at least half.
    #[must_use]
    pub fn is_good(self) -> bool {
        self.0 >= 500_000
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// One word about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// The request.
    pub request: RequestId,
    /// What is judged; empty = the answer as a whole.
    pub label: String,
    /// How good it is.
    pub score: Score,
    /// In words. Kept, never logged.
    pub comment: Option<String>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// It counts now.
    Stored,
    /// The same had been said already.
    Known,
    /// There is no such request.
    NoRequest,
    /// The request has as many labels as it may.
    TooMany,
}

/// Stores feedback.
///
/// # Errors
/// The database can't be written.
pub fn give(store: &Store, feedback: &Feedback, now: UnixMillis) -> Result<Given, StoreError> {
    let mut connection = store.connect()?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let id = feedback.request.0.to_be_bytes();
    let known = transaction.query_row("SELECT 1 FROM request WHERE id = ?1", [id.as_slice()], |_| Ok(())).optional()?;
    if known.is_none() {
        return Ok(Given::NoRequest);
    }
    let last = transaction
        .query_row(
            "SELECT score_millionths, comment FROM feedback WHERE request_id = ?1 AND label = ?2 ORDER BY seq DESC LIMIT 1",
            params![id.as_slice(), feedback.label],
            |row| Ok((row.get::<_, u32>(0)?, row.get::<_, Option<String>>(1)?)),
        )
        .optional()?;
    match last {
        Some((score, comment)) if score == feedback.score.0 && comment == feedback.comment => return Ok(Given::Known),
        Some(_) => {}
        None => {
            let labels = "SELECT count(DISTINCT label) FROM feedback WHERE request_id = ?1";
            if transaction.query_row(labels, [id.as_slice()], |row| row.get::<_, i64>(0))? >= LABELS {
                return Ok(Given::TooMany);
            }
        }
    }
    transaction.execute(
        "INSERT INTO feedback (request_id, label, score_millionths, comment, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![id.as_slice(), feedback.label, feedback.score.0, feedback.comment, now.0],
    )?;
    transaction.commit()?;
    Ok(Given::Stored)
}

/// The latest words about one request, by label. Never the comments.
///
/// # Errors
/// The database can't be read.
pub fn said(store: &Store, request: RequestId) -> Result<Vec<(String, Score)>, StoreError> {
    let connection = store.connect()?;
    let mut statement = connection.prepare(
        "SELECT label, score_millionths FROM feedback f WHERE request_id = ?1
               AND seq = (SELECT max(seq) FROM feedback l WHERE l.request_id = f.request_id AND l.label = f.label)
         ORDER BY label",
    )?;
    let rows =
        statement.query_map([request.0.to_be_bytes().as_slice()], |row| Ok((row.get(0)?, Score(row.get(1)?))))?;
    rows.collect::<Result<_, _>>().map_err(StoreError::from)
}

/// Good and all words about the answers of a target on a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Scores of at least half.
    pub good: u64,
    /// All of them.
    pub all: u64,
}

/// Route, target and label.
pub type Judged = (String, String, String);

/// The latest feedback of requests of a period, by route, target and label.
///
/// # Errors
/// The database can't be read.
pub fn verdicts(store: &Store, from: UnixMillis, to: UnixMillis) -> Result<Vec<(Judged, Verdicts)>, StoreError> {
    let connection = store.connect()?;
    let mut statement = connection.prepare(&format!(
        "SELECT coalesce(nullif(r.route, ''), 'direct'), a.target, f.label, sum(f.score_millionths >= 500000), count(*)
         FROM feedback f
         JOIN requests r ON r.id = f.request_id
         JOIN attempts a ON a.request_id = r.id AND a.no = {ANSWERED}
         WHERE r.started_ms >= ?1 AND r.started_ms < ?2
               AND f.seq = (SELECT max(seq) FROM feedback l WHERE l.request_id = f.request_id AND l.label = f.label)
         GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    ))?;
    let read = |row: &rusqlite::Row<'_>| {
        let count = |at: usize| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
        Ok(((row.get(0)?, row.get(1)?, row.get(2)?), Verdicts { good: count(3)?, all: count(4)? }))
    };
    let rows = statement.query_map([from.0, to.0], read)?;
    rows.collect::<Result<_, _>>().map_err(StoreError::from)
}
