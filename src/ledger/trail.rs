//! The trail: why a request went where it went. One row a request, written with its receipt and dropped when it is old.
//!
//! The caller hands over what it has (shared, not copied); texts are made here, on the writer's thread. Prompts and
//! answers are not among it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::common::{number, text as value};
use super::insert::{Asked, Inserts, filled, insert};
use crate::catalogue::Catalogue;
use crate::dialect::{self, Envelope};
use crate::domain::id::{DialectId, RequestId, TargetId};
use crate::domain::money::Money;
use crate::domain::plan::Operation;
use crate::domain::target::{Capability, Health, Rest, Signal, UnixMillis};
use crate::policy::{self, Ask, Decision, Lossy};

/// Most candidates of a kind in a row; the others are counted.
const CANDIDATES: usize = 48;
/// Longest text of a reason, in bytes.
const WHY: usize = 160;
/// Longest name of a client's user, in bytes. For a longer one stands the empty text.
const USER: usize = 256;
/// Longest text of a requirement, in bytes. One that is longer is not kept, and its request can't be planned again.
const REQUIREMENT: usize = 2_000;

/// A decision with what it was made from.
#[derive(Clone, Debug)]
pub struct Trail {
    /// The catalogue that was decided over.
    pub catalogue: Arc<Catalogue>,
    /// The digest of the files that were in force.
    pub snapshot: Arc<str>,
    /// The decision.
    pub decision: Arc<Decision>,
    /// What was asked of the gateway.
    pub operation: Operation,
    /// What the client speaks.
    pub dialect: DialectId,
    /// The request's envelope.
    pub envelope: Arc<Envelope>,
    /// Tokens of prompt, as the planner took them.
    pub input_tokens: u64,
    /// The requirements of tenant, team and key.
    pub key_requires: Arc<[Arc<str>]>,
    /// The requirement of the request itself.
    pub request_requires: Option<String>,
    /// What the plan saw of targets.
    pub signals: Vec<(TargetId, Signal)>,
    /// Dialects that the plan asked about, with the first parameter that each can't express.
    pub inexpressible: Vec<(DialectId, Option<String>)>,
    /// The client's user, where the request named one.
    pub user: Option<String>,
    /// The conversation, where the plan asked for it.
    pub session: Option<u64>,
    /// The target that answered the conversation last, where the plan asked for it and there was one.
    pub home: Option<TargetId>,
}

/// An admitted target in a row. The short names are the column's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted<S = String> {
    /// Its name.
    #[serde(rename = "t")]
    pub target: S,
    /// What the request was expected to cost there, in pico-dollars.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<i64>,
    /// Output tokens that were expected.
    #[serde(rename = "o")]
    pub output: u64,
    /// Tokens of prompt that were expected to be counted there; none = as many as were estimated.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    /// How many of them were expected to come from the provider's cache.
    #[serde(rename = "h", default, skip_serializing_if = "is_zero")]
    pub cached: u64,
    /// Milliseconds until the whole answer was expected.
    #[serde(rename = "l")]
    pub latency_ms: u64,
    /// Whether that was measured.
    #[serde(rename = "m", default, skip_serializing_if = "std::ops::Not::not")]
    pub measured: bool,
    /// What it was ordered by.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub score: Option<i64>,
    /// Why it was the first, where it was not simply the best: a word of [`policy::Lead`].
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<S>,
}

/// A target that was not admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected<S = String> {
    /// Its name.
    #[serde(rename = "t")]
    pub target: S,
    /// Why not, as a stable word.
    #[serde(rename = "r")]
    pub reason: S,
    /// Why not, for people.
    #[serde(rename = "w")]
    pub why: String,
}

/// What was known of a target by measurement, where anything was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen<S = String> {
    /// Its name.
    #[serde(rename = "t")]
    pub target: S,
    /// Whether it was down.
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    pub down: bool,
    /// Until when, in milliseconds since 1970, where that was known.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// Whether that was our own breaker's guess.
    #[serde(rename = "o", default, skip_serializing_if = "std::ops::Not::not")]
    pub own_rest: bool,
    /// Within so many milliseconds the first token came in 95 of 100 cases.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub ttft_p95_ms: Option<u32>,
    /// Whether that might have been over.
    #[serde(rename = "a", default, skip_serializing_if = "std::ops::Not::not")]
    pub p95_old: bool,
    /// Milliseconds to the first token.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<u32>,
    /// Microseconds per output token.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub tpot_us: Option<u32>,
    /// How fast it usually was, where it may be so again: milliseconds to the first token, microseconds per output token.
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub usual: Option<(Option<u32>, u32)>,
    /// Requests in flight.
    #[serde(rename = "n", default)]
    pub in_flight: u32,
    /// By how much a crowd stretched its latency, in thousandths; none = not at all.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub crowd_permille: Option<u32>,
    /// Whether the tenant had a key of its own for it.
    #[serde(rename = "k", default, skip_serializing_if = "std::ops::Not::not")]
    pub own_key: bool,
}

impl Trail {
    fn name(&self, id: TargetId) -> &str {
        self.catalogue.targets().get(id.index()).map_or("?", |target| &target.name)
    }

    /// Dialects with the first parameter that they can't express; empty text: they can express all. Of conversations every
    /// dialect that can't, of other operations those that the plan asked about.
    fn inexpressible(&self, inserts: &mut Inserts<'_>) -> String {
        if !self.is_conversation() {
            let asked = self.inexpressible.iter();
            let asked = asked.map(|(to, first)| (to.name(), clipped(first.clone().unwrap_or_default(), WHY)));
            return text(&asked.collect::<BTreeMap<_, _>>());
        }
        let envelope = &*self.envelope;
        let same = |asked: &Asked| {
            asked.dialect == self.dialect
                && asked.members == envelope.members
                && asked.choices == envelope.choices
                && asked.needs == envelope.needs
        };
        // Requests of one program are mostly alike in this.
        let known = inserts.lacking.take().filter(|(asked, _)| same(asked));
        let (_, lacking) = inserts.lacking.insert(known.unwrap_or_else(|| {
            let first = |to: DialectId| Some((to.name(), clipped(self.missing(to).into_iter().next()?, WHY)));
            let asked = Asked {
                dialect: self.dialect,
                members: envelope.members.clone(),
                choices: envelope.choices,
                needs: envelope.needs,
            };
            (asked, text(&DialectId::ALL.into_iter().filter_map(first).collect::<BTreeMap<_, _>>()))
        }));
        lacking.clone()
    }

    fn is_conversation(&self) -> bool {
        matches!(self.operation, Operation::Chat | Operation::Completions)
    }

    fn missing(&self, to: DialectId) -> Vec<String> {
        if to == self.dialect {
            return Vec::new();
        }
        if self.is_conversation() {
            return dialect::inexpressible(&self.envelope, self.dialect, to);
        }
        let unknown = || vec!["model".to_owned()];
        let asked = self.inexpressible.iter().find(|(asked, _)| *asked == to);
        asked.map_or_else(unknown, |(_, first)| first.iter().cloned().collect())
    }

    fn admitted(&self) -> Vec<Admitted<&str>> {
        let lead = Some(self.decision.lead).filter(|lead| *lead != policy::Lead::Best);
        let one = |(number, c): (usize, &policy::Candidate)| Admitted {
            lead: lead.filter(|_| number == 0).map(policy::Lead::label),
            target: self.name(c.target),
            cost: c.expected_cost.and_then(pico),
            output: c.expected_output,
            input: Some(c.expected_input.0).filter(|input| *input != self.input_tokens),
            cached: c.expected_input.1,
            latency_ms: c.latency_ms,
            measured: c.measured,
            score: c.score.and_then(|score| i64::try_from(score).ok()),
        };
        self.decision.admitted.iter().take(CANDIDATES).enumerate().map(one).collect()
    }

    fn rejected(&self) -> Vec<Rejected<&str>> {
        let one = |r: &policy::Rejection| Rejected {
            target: self.name(r.target),
            reason: r.reason.label(),
            why: clipped(r.reason.to_string(), WHY),
        };
        self.decision.rejected.iter().take(CANDIDATES).map(one).collect()
    }

    fn seen(&self) -> Vec<Seen<&str>> {
        let known = self.signals.iter().filter(|(_, signal)| *signal != Signal::COLD);
        let one = |(id, signal): &(TargetId, Signal)| {
            let (down, until) = match signal.state {
                Health::Up => (false, None),
                Health::Down { until, .. } => (true, until),
            };
            Seen {
                target: self.name(*id),
                own_rest: matches!(signal.state, Health::Down { rest: Rest::Breaker, .. }),
                ttft_p95_ms: signal.ttft_p95_ms,
                p95_old: signal.p95_old,
                down,
                until: until.map(|at| at.0),
                ttft_ms: signal.ttft_ms,
                tpot_us: signal.tpot_us,
                usual: signal.usual.map(|usual| (usual.ttft_ms, usual.tpot_us)),
                in_flight: signal.in_flight,
                crowd_permille: Some(signal.crowd_permille).filter(|permille| *permille > 1_000),
                own_key: signal.own_key,
            }
        };
        known.take(2 * CANDIDATES).map(one).collect()
    }

    fn premium(&self) -> Option<(Option<i64>, Option<&str>)> {
        let inexpressible = |to| self.missing(to);
        let ask = Ask {
            operation: self.operation,
            dialect: self.dialect,
            input_tokens: self.input_tokens,
            max_output: self.envelope.max_output,
            choices: self.envelope.choices,
            stream: self.envelope.stream,
            service: self.decision.service,
            needs: self.envelope.needs,
            inexpressible: &inexpressible,
            ..Ask::of(&self.envelope.model, self.decision.at)
        };
        let premium = policy::premium(&self.decision, &*self.catalogue, &ask)?;
        Some((pico(premium.over), premium.cheapest.map(|id| self.name(id))))
    }
}

pub(super) fn insert(inserts: &mut Inserts<'_>, id: RequestId, trail: &Trail) -> Result<(), rusqlite::Error> {
    let (decision, envelope) = (&*trail.decision, &*trail.envelope);
    let over = |kind: usize| u32::try_from(kind.saturating_sub(CANDIDATES)).unwrap_or(u32::MAX);
    let (premium, cheapest) = trail.premium().unwrap_or((None, None));
    let common = common(inserts, trail)?;
    inserts.write_out(&decision.requirement);
    let lacking = trail.inexpressible(inserts);
    insert!(
        inserts,
        decision {
            request_id: id.0.to_be_bytes().as_slice(),
            common: common,
            at_ms: decision.at.0,
            dice: decision.dice.0.cast_signed(),
            input_tokens: count(trail.input_tokens),
            max_output: envelope.max_output.map(count),
            choices: envelope.choices,
            stream: envelope.stream,
            inexpressible: Some(lacking).filter(|lacking| lacking != "{}"),
            request_requires: trail.request_requires.as_deref().filter(|text| text.len() <= REQUIREMENT),
            requires: &inserts.required.1[..cut(&inserts.required.1, REQUIREMENT)],
            refusal: decision.refusal.as_ref().map(|error| error.code_str()),
            premium_pico: premium,
            premium_target: cheapest,
            admitted: text(&trail.admitted()),
            rejected: filled(&trail.rejected()),
            signals: filled(&trail.seen()),
            left_out: over(decision.admitted.len()) + over(decision.rejected.len()),
            user: trail.user.as_deref().map(|user| if user.len() <= USER { user } else { "" }),
            session: trail.session.map(u64::cast_signed),
            home: trail.home.map(|id| trail.name(id)),
        }
    )?;
    Ok(())
}

/// What a decision was made under, and nothing that a client can make up: such rows stay.
fn common(inserts: &mut Inserts<'_>, trail: &Trail) -> Result<i64, rusqlite::Error> {
    let (decision, envelope) = (&*trail.decision, &*trail.envelope);
    let needs: Vec<&str> =
        Capability::ALL.into_iter().filter(|c| envelope.needs.has(*c)).map(Capability::name).collect();
    let key: Vec<&str> = trail.key_requires.iter().map(|text| &**text).collect();
    let key = Some(text(&key)).filter(|text| text.len() <= REQUIREMENT);
    let needs = needs.join(",");
    let row = [
        ("snapshot", value(&*trail.snapshot)),
        ("policy", value(&*decision.policy)),
        ("route", value(&*decision.route)),
        ("operation", value(trail.operation.name())),
        ("dialect", value(trail.dialect.name())),
        ("needs", value(&*needs)),
        ("key_requires", value(key.as_deref())),
        ("lossy", number(i64::from(decision.lossy == Lossy::Allow))),
        ("max_attempts", number(i64::from(decision.max_attempts))),
        ("service", value(decision.service.name())),
    ];
    inserts.common.number(inserts.connection, "decision_common", &row)
}

/// Drops a bounded number of rows that are older than that moment. Whether there may be more.
pub(super) fn prune(connection: &Connection, before: UnixMillis) -> Result<bool, rusqlite::Error> {
    const STEP: usize = 500;
    let mut statement = connection.prepare_cached(
        // Names are in the order of time: the first are the oldest.
        "DELETE FROM decision WHERE request_id IN
         (SELECT request_id FROM (SELECT request_id, at_ms FROM decision ORDER BY request_id LIMIT ?2) WHERE at_ms < ?1)",
    )?;
    let dropped = statement.execute(rusqlite::params![before.0, i64::try_from(STEP).unwrap_or(0)])?;
    Ok(dropped == STEP)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The text, at most so long.
fn clipped(mut text: String, most: usize) -> String {
    text.truncate(cut(&text, most));
    text
}

/// Where a text of at most so many bytes ends.
fn cut(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)
}

fn pico(money: Money) -> Option<i64> {
    i64::try_from(money.pico()).ok()
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
