//! Reading the trail.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row};
use serde::de::DeserializeOwned;

use super::feedback::{self, Score};
use super::query::{self, AttemptRow, Period, RequestRow};
use super::shadow::{self, Run};
use super::trail::{Admitted, Rejected, Seen};
use crate::domain::id::RequestId;
use crate::domain::money::Money;
use crate::domain::target::UnixMillis;
use crate::store::{Store, StoreError};

/// All that is known of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What was asked, and the attempts.
    pub request: RequestRow,
    /// Why it went where it went; none = it was refused before a decision, or the trail is too old.
    pub decision: Option<DecisionRow>,
    /// The run beside it.
    pub shadow: Option<Run>,
    /// What was said of its answer, by label.
    pub feedback: Vec<(String, Score)>,
}

/// Everything about one request; none = there is no such request.
///
/// # Errors
/// The database can't be read.
pub fn told(store: &Store, id: RequestId) -> Result<Option<Told>, StoreError> {
    let Some(request) = query::request(store, id)? else { return Ok(None) };
    let (decision, shadow, feedback) = (decision(store, id)?, shadow::run(store, id)?, feedback::said(store, id)?);
    Ok(Some(Told { request, decision, shadow, feedback }))
}

/// One decision as the trail has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRow {
    /// The request.
    pub id: RequestId,
    /// The moment.
    pub at: UnixMillis,
    /// The throw that broke near-ties.
    pub dice: u64,
    /// The digest of the files that were in force.
    pub snapshot: String,
    /// The policy.
    pub policy: String,
    /// The route.
    pub route: String,
    /// What was asked of the gateway.
    pub operation: String,
    /// What the client spoke.
    pub dialect: String,
    /// Tokens of prompt, as the planner took them.
    pub input_tokens: u64,
    /// The client's output limit.
    pub max_output: Option<u64>,
    /// How many answers.
    pub choices: u32,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// What the target had to be able to do.
    pub needs: Vec<String>,
    /// The first parameter that a dialect could not express, by dialect; empty text: it could express all.
    pub inexpressible: BTreeMap<String, String>,
    /// The requirements of tenant, team and key; none = too long to be kept.
    pub key_requires: Option<Vec<String>>,
    /// The requirement of the request.
    pub request_requires: Option<String>,
    /// All requirements together.
    pub requires: String,
    /// Whether parameters might be dropped.
    pub lossy: bool,
    /// Most attempts.
    pub max_attempts: u8,
    /// The code of the refusal.
    pub refusal: Option<String>,
    /// Cheapest admitted less cheapest overall; none = residency was not asked for, or a price was not known.
    pub premium: Option<Money>,
    /// The cheaper target that residency kept out.
    pub premium_target: Option<String>,
    /// The admitted targets in their order.
    pub admitted: Vec<Admitted>,
    /// The others.
    pub rejected: Vec<Rejected>,
    /// What the plan saw of targets.
    pub signals: Vec<Seen>,
    /// Candidates that the row had no room for.
    pub left_out: u32,
    /// The tier of service that was asked for.
    pub service: String,
    /// The client's user, where the request named one; the empty text for one that was too long to be kept.
    pub user: Option<String>,
    /// The conversation, where the plan asked for it.
    pub session: Option<u64>,
    /// The target that answered the conversation last, where the plan asked for it.
    pub home: Option<String>,
}

impl Admitted {
    /// What the request was expected to cost.
    #[must_use]
    pub fn cost(&self) -> Option<Money> {
        self.cost.map(|pico| Money::from_pico(i128::from(pico)))
    }
}

/// One decision by its request; none = there is none, or it is too old.
///
/// # Errors
/// The database can't be read.
pub fn decision(store: &Store, id: RequestId) -> Result<Option<DecisionRow>, StoreError> {
    let connection = store.connect()?;
    let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM decisions d WHERE d.request_id = ?1"))?;
    let found = statement.query_row([id.0.to_be_bytes().as_slice()], |row| Ok(read(row))).optional()?;
    found.transpose()
}

/// The columns that [`read`] takes.
pub(super) const COLUMNS: &str = "d.request_id, d.at_ms, d.dice, d.snapshot, d.policy AS d_policy, d.route AS d_route, \
    d.operation, d.dialect AS d_dialect, d.input_tokens, d.max_output, d.choices, d.stream AS d_stream, d.needs, \
    d.inexpressible, d.key_requires, d.request_requires, d.requires, d.lossy, d.max_attempts, d.refusal, \
    d.premium_pico, d.premium_target, d.admitted, d.rejected, d.signals, d.left_out, d.service, d.user, d.session, d.home";

pub(super) fn read(row: &Row<'_>) -> Result<DecisionRow, StoreError> {
    let id: Vec<u8> = row.get("request_id")?;
    let id: [u8; 16] = id.try_into().map_err(|_| StoreError::Row("the id of a decision".to_owned()))?;
    let needs: String = row.get("needs")?;
    let unsigned = |column: &str| row.get::<_, i64>(column).map(|n| u64::try_from(n).unwrap_or(0));
    let key: Option<String> = row.get("key_requires")?;
    Ok(DecisionRow {
        id: RequestId(u128::from_be_bytes(id)),
        at: UnixMillis(row.get("at_ms")?),
        dice: row.get::<_, i64>("dice")?.cast_unsigned(),
        snapshot: row.get("snapshot")?,
        policy: row.get("d_policy")?,
        route: row.get("d_route")?,
        operation: row.get("operation")?,
        dialect: row.get("d_dialect")?,
        input_tokens: unsigned("input_tokens")?,
        max_output: row.get::<_, Option<i64>>("max_output")?.and_then(|n| u64::try_from(n).ok()),
        choices: row.get("choices")?,
        stream: row.get("d_stream")?,
        needs: needs.split(',').filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect(),
        inexpressible: json(row, "inexpressible")?,
        key_requires: key.as_deref().map(serde_json::from_str).transpose().map_err(|_| bad("key_requires"))?,
        request_requires: row.get("request_requires")?,
        requires: row.get("requires")?,
        lossy: row.get("lossy")?,
        max_attempts: row.get("max_attempts")?,
        refusal: row.get("refusal")?,
        premium: row.get::<_, Option<i64>>("premium_pico")?.map(|pico| Money::from_pico(i128::from(pico))),
        premium_target: row.get("premium_target")?,
        admitted: json(row, "admitted")?,
        rejected: json(row, "rejected")?,
        signals: json(row, "signals")?,
        left_out: row.get("left_out")?,
        service: row.get("service")?,
        user: row.get("user")?,
        session: row.get::<_, Option<i64>>("session")?.map(i64::cast_unsigned),
        home: row.get("home")?,
    })
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T, StoreError> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|_| bad(column))
}

fn bad(column: &str) -> StoreError {
    StoreError::Row(format!("`{column}` of a decision"))
}

/// A decision with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The decision.
    pub decision: DecisionRow,
    /// Who asked: the tenant.
    pub tenant: String,
    /// The team.
    pub team: String,
    /// The key's id.
    pub key_id: String,
    /// The key's tags.
    pub tags: Vec<String>,
    /// The model asked for.
    pub model_asked: String,
    /// The status that the client got.
    pub status: u16,
    /// Whether the cache answered.
    pub cache_hit: bool,
    /// What the baseline would have cost.
    pub baseline: Option<Money>,
    /// The attempts.
    pub attempts: Vec<AttemptRow>,
}

impl Recorded {
    /// The attempt that answered; none = nobody did.
    #[must_use]
    pub fn answered(&self) -> Option<&AttemptRow> {
        // One that was made beside it may have begun later.
        let mut answered = self.attempts.iter().rev().filter(|attempt| !attempt.in_vain());
        answered.next().filter(|attempt| !attempt.usage.is_zero())
    }

    /// What it cost, unless some of it is unknown.
    #[must_use]
    pub fn cost(&self) -> Option<Money> {
        self.attempts.iter().try_fold(Money::ZERO, |sum, attempt| sum.checked_add(attempt.cost?))
    }
}

/// Every decision of a period with what became of it, oldest first, one at a time; of more than `limit` the newest.
/// `each` says whether to go on.
///
/// # Errors
/// The database can't be read.
pub fn each(
    store: &Store,
    period: &Period,
    limit: Option<u64>,
    mut each: impl FnMut(Recorded) -> bool,
) -> Result<(), StoreError> {
    let connection = store.connect()?;
    // All rows of one reading are of the same moment, though the gateway writes on.
    let transaction = connection.unchecked_transaction()?;
    let skip = i64::try_from(limit.unwrap_or(u64::MAX).saturating_sub(1)).unwrap_or(i64::MAX);
    let newest = "SELECT r.started_ms FROM request r JOIN decision d ON d.request_id = r.id
                  WHERE r.started_ms >= ?1 AND r.started_ms < ?2 ORDER BY r.started_ms DESC LIMIT 1 OFFSET ?3";
    let cut =
        transaction.query_row(newest, [period.from.0, period.to.0, skip], |row| row.get::<_, i64>(0)).optional()?;
    let from = cut.unwrap_or(period.from.0);
    let sql = format!(
        "SELECT {COLUMNS}, r.tenant, r.team, r.key_id, r.tags, r.model_asked, r.status, r.cache_hit,
                r.baseline_input_pico, r.baseline_output_pico
         FROM requests r JOIN decisions d ON d.request_id = r.id
         WHERE r.started_ms >= ?1 AND r.started_ms < ?2 ORDER BY r.started_ms, r.id"
    );
    let mut statement = transaction.prepare(&sql)?;
    let mut rows = statement.query([from, period.to.0])?;
    while let Some(row) = rows.next()? {
        let decision = read(row)?;
        let tags: String = row.get("tags")?;
        let part = |column: &str| row.get::<_, Option<i64>>(column);
        let baseline = part("baseline_input_pico")?.zip(part("baseline_output_pico")?);
        let recorded = Recorded {
            attempts: query::attempts(&transaction, &decision.id.0.to_be_bytes())?,
            decision,
            tenant: row.get("tenant")?,
            team: row.get("team")?,
            key_id: row.get("key_id")?,
            tags: serde_json::from_str(&tags).unwrap_or_default(),
            model_asked: row.get("model_asked")?,
            status: row.get("status")?,
            cache_hit: row.get("cache_hit")?,
            baseline: baseline.map(|(input, output)| Money::from_pico(i128::from(input) + i128::from(output))),
        };
        if !each(recorded) {
            break;
        }
    }
    Ok(())
}
