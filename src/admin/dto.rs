//! The admin plane's JSON, apart from the domain types on purpose: money as text, names that stay when types change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::error::{Error, ErrorKind};
use crate::domain::target::{Health, UnixMillis};
use crate::domain::usage::{Bucket, Usage};
use crate::gateway::{Load, Snapshot};
use crate::ledger::feedback::{Feedback, Score};
use crate::ledger::query::{AttemptRow, RequestRow};
use crate::policy::Question;

/// `POST /admin/v1/explain`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Explain {
    model: String,
    #[serde(default = "prompt")]
    input_tokens: u64,
    max_output: Option<u64>,
    #[serde(default)]
    stream: bool,
    operation: Option<String>,
    #[serde(default)]
    needs: Vec<String>,
    user: Option<String>,
    key: Option<String>,
    policy: Option<String>,
    require: Option<String>,
    #[serde(default)]
    down: Vec<String>,
    /// `false`: a text for people.
    #[serde(default = "yes")]
    json: bool,
}

fn yes() -> bool {
    true
}

fn prompt() -> u64 {
    1000
}

impl Explain {
    pub(super) fn into_question(self) -> Question {
        Question {
            model: self.model,
            input_tokens: self.input_tokens,
            max_output: self.max_output,
            stream: self.stream,
            operation: self.operation,
            needs: self.needs,
            user: self.user,
            key: self.key,
            policy: self.policy,
            require: self.require,
            down: self.down,
            json: self.json,
        }
    }
}

/// `POST /admin/v1/feedback`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedbackBody {
    request_id: String,
    outcome: Option<String>,
    /// Text or a number: its digits count, not what a float makes of them.
    score: Option<Box<RawValue>>,
    label: Option<String>,
    comment: Option<String>,
}

/// Reads feedback.
///
/// # Errors
/// What is wrong with it, with the member's name.
pub(super) fn feedback(body: &[u8]) -> Result<Feedback, Error> {
    let invalid = |message: String| Error::new(ErrorKind::InvalidRequest, message);
    let given: FeedbackBody =
        serde_json::from_slice(body).map_err(|error| invalid(format!("not a feedback request: {error}")))?;
    let request = given.request_id.parse().map_err(|()| {
        invalid("`request_id` is no request id: `req_` and 32 hexadecimal digits".to_owned()).param("request_id")
    })?;
    let digits = given.score.as_ref().map(|score| score.get().trim_matches('"'));
    let score = match (given.outcome.as_deref(), digits) {
        (Some("good"), None) => Score::GOOD,
        (Some("bad"), None) => Score::BAD,
        (Some(_), None) => return Err(invalid("`outcome` takes `good` or `bad`".to_owned()).param("outcome")),
        (None, Some(text)) => Score::parse(text).ok_or_else(|| {
            let message = "`score` takes a decimal number from 0 to 1 with at most six decimals";
            invalid(message.to_owned()).param("score")
        })?,
        (None, None) | (Some(_), Some(_)) => {
            return Err(invalid("one of `outcome` and `score` must be given".to_owned()).param("outcome"));
        }
    };
    let label = given.label.unwrap_or_default();
    if label.len() > 64 || label.chars().any(char::is_control) {
        let message = "`label` takes at most 64 bytes without control characters";
        return Err(invalid(message.to_owned()).param("label"));
    }
    if given.comment.as_ref().is_some_and(|comment| comment.len() > 2_000) {
        return Err(invalid("`comment` takes at most 2000 bytes".to_owned()).param("comment"));
    }
    Ok(Feedback { request, label, score, comment: given.comment })
}

/// What counts now.
#[derive(Debug, Serialize)]
pub(super) struct Given {
    request_id: String,
    label: String,
    score: String,
    /// Whether it is new: the same said twice is kept once.
    stored: bool,
}

pub(super) fn given(feedback: &Feedback, stored: bool) -> Given {
    Given {
        request_id: feedback.request.to_string(),
        label: feedback.label.clone(),
        score: feedback.score.to_string(),
        stored,
    }
}

/// One target with what is known of it.
#[derive(Debug, Serialize)]
pub(super) struct Target {
    name: String,
    configured: bool,
    state: &'static str,
    until: Option<String>,
    ttft_ms: Option<u32>,
    time_per_output_token_us: Option<u32>,
    in_flight: u32,
}

/// Tokens of prompt for which speeds are told.
const TYPICAL: u64 = 1_000;

pub(super) fn targets(snapshot: &Snapshot, now: UnixMillis) -> Vec<Target> {
    let one = |target: &crate::catalogue::Target| {
        let signal = snapshot.signal(target.id, Load::of(TYPICAL), now);
        let (state, until) = match signal.state {
            Health::Up => ("up", None),
            Health::Down { until, .. } => ("down", until),
        };
        Target {
            name: target.name.to_string(),
            configured: target.configured,
            state,
            until: until.map(time),
            ttft_ms: signal.ttft_ms,
            time_per_output_token_us: signal.tpot_us,
            in_flight: signal.in_flight,
        }
    };
    snapshot.catalogue.targets().iter().map(one).collect()
}

/// The outcome of a reload.
#[derive(Debug, Serialize)]
pub(super) struct Reloaded {
    pub generation: u64,
    pub problems: Vec<String>,
}

/// An error of the admin plane.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    error: ProblemBody,
}

#[derive(Debug, Serialize)]
struct ProblemBody {
    message: String,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<String>,
}

pub(super) fn problem(error: &Error) -> Problem {
    Problem {
        error: ProblemBody { message: error.message.to_string(), code: error.code_str(), param: error.param.clone() },
    }
}

/// One request as the ledger has it.
#[derive(Debug, Serialize)]
pub(super) struct Request {
    id: String,
    started: String,
    duration_ms: u32,
    overhead_us: u32,
    tenant: String,
    team: String,
    key: String,
    tags: Vec<String>,
    policy: String,
    generation: u64,
    route: Option<String>,
    model: String,
    stream: bool,
    status: u16,
    error: Option<String>,
    cost_usd: Option<String>,
    cache_saved_usd: Option<String>,
    baseline: Option<Baseline>,
    attempts: Vec<Attempt>,
}

#[derive(Debug, Serialize)]
struct Baseline {
    target: String,
    cost_usd: Option<String>,
    price_as_of: Option<String>,
    retired: Option<String>,
}

#[derive(Debug, Serialize)]
struct Attempt {
    no: u32,
    target: String,
    outcome: String,
    failure: Option<String>,
    upstream_status: Option<u16>,
    first_token_ms: Option<u32>,
    duration_ms: u32,
    usage: BTreeMap<&'static str, u64>,
    basis: String,
    cost_usd: Option<String>,
    unpriced: Option<String>,
    price_id: Option<String>,
    processing: Option<String>,
    operator: Option<String>,
    dropped_params: Vec<String>,
    /// By a key of the tenant's own, on its own bill.
    own_key: bool,
}

pub(super) fn request(row: &RequestRow) -> Request {
    let baseline = row.baseline.as_ref().map(|facts| Baseline {
        target: facts.target.clone(),
        cost_usd: row.baseline_cost.map(|cost| cost.to_string()),
        price_as_of: facts.price_as_of.map(time),
        retired: facts.retired.map(time),
    });
    Request {
        id: row.id.to_string(),
        started: time(row.started),
        duration_ms: row.duration_ms,
        overhead_us: row.overhead_us,
        tenant: row.tenant.clone(),
        team: row.team.clone(),
        key: row.key_id.clone(),
        tags: row.tags.clone(),
        policy: row.policy.clone(),
        generation: row.generation,
        route: row.route.clone(),
        model: row.model_asked.clone(),
        stream: row.stream,
        status: row.status,
        error: row.error.clone(),
        cost_usd: row.cost().map(|cost| cost.to_string()),
        cache_saved_usd: row.cache_saved.map(|saved| saved.to_string()),
        baseline,
        attempts: row.attempts.iter().map(attempt).collect(),
    }
}

fn attempt(row: &AttemptRow) -> Attempt {
    Attempt {
        no: row.no,
        target: row.target.clone(),
        outcome: row.outcome.clone(),
        failure: row.failure.clone(),
        upstream_status: row.upstream_status,
        first_token_ms: row.first_token_ms,
        duration_ms: row.duration_ms,
        usage: used(&row.usage),
        basis: row.basis.clone(),
        cost_usd: row.cost.map(|cost| cost.to_string()),
        unpriced: row.unpriced.clone(),
        price_id: row.price_id.clone(),
        processing: row.processing.clone(),
        operator: row.operator.clone(),
        dropped_params: row.dropped_params.clone(),
        own_key: row.own_key,
    }
}

fn used(usage: &Usage) -> BTreeMap<&'static str, u64> {
    usage.parts().map(|(bucket, count)| (Bucket::name(bucket), count)).collect()
}

fn time(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| "?".to_owned(), |t| t.to_string())
}
