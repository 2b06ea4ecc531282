//! What other policies would have done with recorded requests, and what it would have cost.
//!
//! The model: a request's measured tokens are priced at the target that the new plan tries first, leaving out targets that
//! failed for this very request and, where the new plan hedges, those that were overtaken. Nothing else is guessed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::{Past, Unplannable, countries, plus};
use crate::catalogue::{Catalogue, Target};
use crate::domain::money::Money;
use crate::domain::target::UnixMillis;
use crate::ledger::decisions::{Recorded, each};
use crate::ledger::query::Period;
use crate::policy::{Decision, Market, Policy};
use crate::store::{Store, StoreError};

/// Most lines, moves and changes that are told apart; more fall together, so that memory is bounded.
const APART: usize = 10_000;
/// Where they fall.
const OTHERS: &str = "(others)";

/// One line: a route and a team.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Answered requests that both could be priced for.
    pub requests: u64,
    /// What they cost.
    pub before: Money,
    /// What they would have cost.
    pub after: Money,
    /// What the new policy's baseline would have cost, for those that have one.
    pub baseline: Money,
    /// What those with a baseline would have cost.
    pub after_with_baseline: Money,
    /// Milliseconds expected before and after, and how many requests have both.
    pub latency_ms: (u64, u64),
    /// How many requests have an expected latency before and after.
    pub timed: u64,
    /// Requests that another target would have answered.
    pub moved: u64,
    /// Refused before and answered now.
    pub newly_admitted: u64,
    /// Answered before and refused now.
    pub newly_refused: u64,
    /// Refused before and after.
    pub refused: u64,
}

/// What a backtest found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backtest {
    /// The moments of the first and the last request.
    pub span: Option<(UnixMillis, UnixMillis)>,
    /// All requests that were looked at.
    pub looked_at: u64,
    /// By route (of the new policy) and team.
    pub lines: BTreeMap<(String, String), Line>,
    /// Requests that would move, by target before and after.
    pub moves: BTreeMap<(String, String), u64>,
    /// Requests whose processing countries change, before and after.
    pub residency: BTreeMap<(String, String), u64>,
    /// New refusals by code.
    pub refusals: BTreeMap<String, u64>,
    /// What can't be decided again, by reason.
    pub unplannable: BTreeMap<Unplannable, u64>,
    /// Answered by the cache: no policy would have been asked for a target.
    pub cached: u64,
    /// Without an answer whose tokens could be priced.
    pub unanswered: u64,
    /// Left out because a price is not known, before or after.
    pub unpriced: u64,
    /// Every target that the new plan tries had failed for this request.
    pub all_failed: u64,
}

impl Backtest {
    /// The sum of all lines.
    #[must_use]
    pub fn total(&self) -> Line {
        self.lines.values().fold(Line::default(), |mut sum, line| {
            sum.requests += line.requests;
            sum.before = plus(sum.before, line.before);
            sum.after = plus(sum.after, line.after);
            sum.baseline = plus(sum.baseline, line.baseline);
            sum.after_with_baseline = plus(sum.after_with_baseline, line.after_with_baseline);
            sum.latency_ms.0 = sum.latency_ms.0.saturating_add(line.latency_ms.0);
            sum.latency_ms.1 = sum.latency_ms.1.saturating_add(line.latency_ms.1);
            sum.timed += line.timed;
            sum.moved += line.moved;
            sum.newly_admitted += line.newly_admitted;
            sum.newly_refused += line.newly_refused;
            sum.refused += line.refused;
            sum
        })
    }

    fn line(&mut self, route: &str, recorded: &Recorded) -> &mut Line {
        let team = format!("{}/{}", recorded.tenant, recorded.team);
        let key = (if route.is_empty() { "(none)" } else { route }.to_owned(), team);
        let key = if self.lines.len() < APART || self.lines.contains_key(&key) {
            key
        } else {
            (OTHERS.to_owned(), OTHERS.to_owned())
        };
        self.lines.entry(key).or_default()
    }
}

/// Decides the recorded requests of a period again with these policies: each with the one of the name that was in force,
/// or all that were under `only` with that one.
///
/// # Errors
/// The database can't be read.
pub fn backtest(
    store: &Store,
    period: &Period,
    limit: Option<u64>,
    catalogue: &Catalogue,
    policies: &BTreeMap<Arc<str>, Policy>,
    only: Option<&str>,
) -> Result<Backtest, StoreError> {
    let mut found = Backtest::default();
    let mut past = Past::new(catalogue);
    each(store, period, limit, |recorded| {
        if only.is_none_or(|name| name == recorded.decision.policy) {
            found.take(&mut past, policies, &recorded);
        }
        true
    })?;
    Ok(found)
}

impl Backtest {
    fn take(&mut self, past: &mut Past<'_>, policies: &BTreeMap<Arc<str>, Policy>, recorded: &Recorded) {
        let row = &recorded.decision;
        self.looked_at += 1;
        self.span = Some((self.span.map_or(row.at, |(first, _)| first), row.at));
        let policy = policies.get(row.policy.as_str()).ok_or(Unplannable::NoPolicy);
        let decision = match policy.and_then(|policy| past.decide(policy, recorded)) {
            Ok(decision) => decision,
            Err(why) => {
                *self.unplannable.entry(why).or_default() += 1;
                return;
            }
        };
        if let Some(error) = &decision.refusal {
            *self.refusals.entry(error.code_str().to_owned()).or_default() += 1;
        }
        let (before, after) = (row.refusal.is_some(), decision.refusal.is_some());
        if !before && !after {
            self.compare(past, &decision, recorded);
            return;
        }
        let line = self.line(&decision.route, recorded);
        line.refused += u64::from(before && after);
        line.newly_admitted += u64::from(before && !after);
        line.newly_refused += u64::from(!before && after);
    }

    fn compare(&mut self, past: &Past<'_>, decision: &Decision, recorded: &Recorded) {
        if recorded.cache_hit {
            self.cached += 1;
            return;
        }
        let Some(answered) = recorded.answered() else {
            self.unanswered += 1;
            return;
        };
        let Some(((target, latency), paid)) = chosen(past, decision, recorded, &answered.target) else {
            self.all_failed += 1;
            return;
        };
        let at = recorded.decision.at;
        let stays = *target.name == *answered.target;
        let price = if stays { answered.cost } else { past.moved(target, &answered.usage, &recorded.decision) };
        let after = price.zip(paid).and_then(|(price, paid)| price.checked_add(paid));
        let Some((before, after)) = recorded.cost().zip(after) else {
            self.unpriced += 1;
            return;
        };
        self.changes((target, at), answered, stays);
        let expected = recorded.decision.admitted.iter().find(|a| a.target == answered.target).map(|a| a.latency_ms);
        let baseline = decision.baseline.as_ref().and_then(|baseline| {
            past.price(past.target(baseline.target)?, &answered.usage, baseline.price_as_of.unwrap_or(at))
        });
        let line = self.line(&decision.route, recorded);
        line.requests += 1;
        line.before = plus(line.before, before);
        line.after = plus(line.after, after);
        line.moved += u64::from(!stays);
        if let Some(baseline) = baseline {
            line.baseline = plus(line.baseline, baseline);
            line.after_with_baseline = plus(line.after_with_baseline, after);
        }
        if let Some(expected) = expected {
            line.timed += 1;
            line.latency_ms.0 = line.latency_ms.0.saturating_add(expected);
            line.latency_ms.1 = line.latency_ms.1.saturating_add(latency);
        }
    }

    fn changes(
        &mut self,
        (target, at): (&Target, UnixMillis),
        answered: &crate::ledger::query::AttemptRow,
        stays: bool,
    ) {
        if stays {
            return;
        }
        count(&mut self.moves, (answered.target.clone(), target.name.to_string()));
        let before = answered.processing.clone().unwrap_or_else(|| "unknown".to_owned());
        let after = countries(target, at);
        let set = |text: &str| text.split(',').map(ToOwned::to_owned).collect::<HashSet<String>>();
        if set(&before) != set(&after) {
            count(&mut self.residency, (before, after));
        }
    }
}

/// The target that would have answered with its expected latency, and what the attempts in vain would have cost: what failed
/// then fails again, and what was overtaken is overtaken again where the plan hedges, and both are paid for again.
fn chosen<'p>(
    past: &'p Past<'_>,
    decision: &Decision,
    recorded: &Recorded,
    answered: &str,
) -> Option<((&'p Target, u64), Option<Money>)> {
    let hedges = decision.hedge.is_some();
    let mut vain: HashMap<&str, Option<Money>> = HashMap::new();
    for attempt in recorded.attempts.iter().filter(|a| a.outcome == "failed" || (hedges && a.in_vain())) {
        let cost = vain.entry(&attempt.target).or_insert(Some(Money::ZERO));
        *cost = cost.zip(attempt.cost).and_then(|(sum, cost)| sum.checked_add(cost));
    }
    let (mut paid, mut chosen) = (Some(Money::ZERO), None);
    for candidate in decision.attempts() {
        let Some(target) = past.target(candidate.target) else { continue };
        match vain.get(&*target.name).filter(|_| *target.name != *answered) {
            // Behind the one that answers, only a hedge was asked.
            Some(cost) if chosen.is_none() || hedges => {
                paid = paid.zip(*cost).and_then(|(sum, cost)| sum.checked_add(cost));
            }
            Some(_) => {}
            None => {
                chosen.get_or_insert((target, candidate.latency_ms));
            }
        }
    }
    Some((chosen?, paid))
}

fn count(map: &mut BTreeMap<(String, String), u64>, key: (String, String)) {
    let key = if map.len() < APART || map.contains_key(&key) { key } else { (OTHERS.to_owned(), OTHERS.to_owned()) };
    *map.entry(key).or_default() += 1;
}
