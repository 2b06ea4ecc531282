//! Keys of providers at an attempt: which may be used for this request, and what an answer says of the one that was.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Shared;
use super::call::{self, Call};
use super::snapshot::{Snapshot, Wire};
use super::tenants::Owned;
use crate::catalogue::Target;
use crate::dialect::limits::{self, Told};
use crate::domain::error::{Failure, FailureKind, Scope};
use crate::domain::id::TargetId;
use crate::domain::plan::Operation;
use crate::domain::target::{Health, Signal, UnixMillis};
use crate::upstream::{Lease, Need, Pool, Wanted};

/// How long a key rests that was refused, in milliseconds: it may have been given its right meanwhile.
const REFUSED_MS: i64 = 30_000;
/// How long an exhausted account rests: somebody has to pay first.
const EXHAUSTED_MS: i64 = 300_000;
/// Longest rest for a provider's advice.
const LONGEST_MS: i64 = 300_000;

/// What a request brings along, as far as keys are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// The model's name in the request; none = not known. A target that takes any has limits for each.
    pub asked: Option<&'a str>,
    /// Tokens of prompt, estimated.
    pub input: u64,
    /// The limit of its answers in tokens; none = it has none.
    pub output: Option<u64>,
    /// How many answers.
    pub choices: u32,
    /// Keys that its tenant brought.
    pub own: Option<&'a Owned>,
}

impl<'a> Load<'a> {
    /// A request with so much prompt.
    #[must_use]
    pub fn of(input: u64) -> Self {
        Self { asked: None, input, output: None, choices: 1, own: None }
    }

    pub(super) fn of_call(call: &'a Call) -> Self {
        let talks = matches!(call.operation, Operation::Chat | Operation::Completions);
        let output = if talks { call.envelope.max_output } else { Some(0) };
        Self {
            asked: Some(&call.envelope.model),
            input: call.input_estimate(),
            output,
            choices: call.envelope.choices.max(1),
            own: call.own.as_deref(),
        }
    }

    /// What it is expected to take at a target: an answer as long as is usual there.
    fn need(self, target: &Target) -> Need {
        let usual = u64::from(target.prior.output_tokens);
        let each = self.output.map_or(usual, |limit| limit.min(usual));
        Need { input: self.input, output: each.saturating_mul(u64::from(self.choices)) }
    }

    fn wanted(self, target: &'a Target, now: UnixMillis) -> Wanted<'a> {
        let own = self.own.and_then(|owned| owned.at(&target.provider));
        let named = self.asked.filter(|_| &*target.upstream_model == "*").map(|asked| call::model_at(asked, target));
        Wanted { target: &target.name, named, need: self.need(target), own, now }
    }
}

impl Snapshot {
    /// What measurement says of a target for a request, and whether there is a key for it.
    #[must_use]
    pub fn signal(&self, id: TargetId, load: Load<'_>, now: UnixMillis) -> Signal {
        let mut signal = self.measured(id, load.input, now);
        let target = self.catalogue.target(id);
        signal.own_key = load.own.is_some_and(|owned| owned.has(&target.provider));
        let wanted = load.wanted(target, now);
        if let Some(Err(rested)) = self.any_pool(id).map(|pool| pool.standing(wanted)) {
            let down = Health::Down { until: Some(rested.until), rest: rested.rest };
            signal.state = match signal.state {
                Health::Up => down,
                // Both must be over.
                Health::Down { until: Some(until), .. } if until < rested.until => down,
                known @ Health::Down { .. } => known,
            };
        }
        signal
    }
}

/// A key for an attempt at a target. For a conversation that stays where it was the dice are its own, so that it also
/// stays with the key: prompts are cached by account.
///
/// # Errors
/// No key may be used: the provider limits the rate of each.
pub(super) fn lease(
    pool: &Pool,
    load: Load<'_>,
    target: &Target,
    (session, shared): (Option<u64>, &Shared),
) -> Result<Lease, Failure> {
    let now = shared.now();
    let wanted = load.wanted(target, now);
    let dice = session.unwrap_or_else(|| shared.dice());
    pool.lease(wanted, dice).map_err(|rested| {
        shared.metrics.key(&target.provider, "any", "no_room");
        let wait = u64::try_from(rested.until.0.saturating_sub(now.0)).unwrap_or(0);
        let mut failure = Failure::new(FailureKind::RateLimited, "no key has room for the request");
        failure.retry_after = Some(Duration::from_millis(wait));
        failure
    })
}

/// The key of that label, for what was made with it; where there is none of that label, any.
///
/// # Errors
/// No key may be used: the provider limits its rate.
pub(super) fn lease_again(
    pool: &Pool,
    load: Load<'_>,
    target: &Target,
    (label, shared): (Option<&str>, &Shared),
) -> Result<Lease, Failure> {
    let Some(label) = label else { return lease(pool, load, target, (None, shared)) };
    let found = pool.lease_again(load.wanted(target, shared.now()), label, shared.dice());
    found.map_err(|_| Failure::new(FailureKind::RateLimited, "the key that it was made with rests"))
}

/// Takes what the head of an answer tells of the provider's limits, and returns it. A wildcard's models have limits of their
/// own, which say nothing of the next one.
pub(super) fn answered(
    lease: &mut Lease,
    wire: &Wire,
    target: &Target,
    headers: &HeaderMap,
    now: UnixMillis,
) -> Vec<Told> {
    let find = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let told: Vec<Told> = limits::told(wire.limits(), &find, now).collect();
    let known = if &*target.upstream_model == "*" { &[][..] } else { &told };
    lease.answered(known.iter().copied(), now);
    told
}

/// What was told of the provider's limits, in the headers of the client's dialect. Only where the provider has one key for
/// the target: with several, the next request may go out with another, and what is left of one is not what is left.
pub(super) fn told(pool: &Pool, call: &Call, told: Vec<Told>, now: UnixMillis) -> Vec<(HeaderName, HeaderValue)> {
    if told.is_empty() || pool.keys().count() != 1 {
        return Vec::new();
    }
    let write = |reset| call.ingress.reset(reset, now);
    let shown = limits::shown(told.into_iter(), call.ingress.limit_headers(), &write);
    let header = |(name, value): (&str, String)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(&value).ok()?))
    };
    shown.filter_map(header).collect()
}

/// What a refusal says of the key, with the end of its rest; the failure learns whose key it was. Whether another key of the
/// target may be tried.
pub(super) fn blamed(
    (lease, pool): (&Lease, &Pool),
    load: Load<'_>,
    target: &Target,
    failure: &mut Failure,
    shared: &Shared,
) -> bool {
    failure.own_key = lease.own();
    let Some(key) = lease.key() else { return false };
    let now = shared.now();
    let advised = failure.retry_after.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).min(LONGEST_MS));
    let after = |rest: i64| UnixMillis(now.0.saturating_add(rest));
    let outcome = match failure.scope() {
        Scope::Account => {
            key.account_rests_until(after(advised.unwrap_or(EXHAUSTED_MS)));
            "exhausted"
        }
        Scope::Key => {
            key.rest_until(after(advised.unwrap_or(REFUSED_MS)));
            "refused"
        }
        Scope::Limit => {
            lease.limited(advised.map(after), now);
            "limited"
        }
        Scope::Endpoint | Scope::Front | Scope::Target | Scope::Nothing => return false,
    };
    // Tenants are no labels.
    let label = if lease.own() { "tenant" } else { &**key.label() };
    shared.metrics.key(&target.provider, label, outcome);
    pool.standing(load.wanted(target, now)).is_ok()
}

impl Snapshot {
    /// What is left of the limits of every key at every target, as far as it is known: provider, key, target, limit, rest.
    pub fn headroom(&self, now: UnixMillis) -> Vec<(Arc<str>, String, String, &'static str, u64)> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for target in self.catalogue.targets() {
            for key in self.any_pool(target.id).into_iter().flat_map(Pool::keys) {
                if seen.insert(Arc::as_ptr(key)) {
                    let left = key.left(now).into_iter().map(|(at, counts, left)| {
                        let provider = Arc::clone(&target.provider);
                        (provider, key.label().to_string(), at.to_string(), counts.name(), left)
                    });
                    found.extend(left);
                }
            }
        }
        found
    }
}
