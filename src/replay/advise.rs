//! What could have gone to a cheaper target. Only targets that were admitted for the very request count: whatever a
//! requirement or a missing ability kept out stays out.
//!
//! A saving is the difference of prices for the measured tokens. How talkative the other target would have been is not
//! known, so the saving has a range; whether its answers would have been as good is not known at all, unless shadow runs
//! or feedback say so.

use std::collections::BTreeMap;

use super::{Past, minus, plus};
use crate::catalogue::Catalogue;
use crate::domain::money::Money;
use crate::domain::usage::{Bucket, Usage};
use crate::ledger::decisions::{DecisionRow, Recorded, each};
use crate::ledger::feedback::{self, Verdicts};
use crate::ledger::query::{AttemptRow, Period};
use crate::ledger::shadow::{self, Runs};
use crate::ledger::trail::Admitted;
use crate::store::{Store, StoreError};

/// Most routes that are told apart.
const APART: usize = 1_000;
/// How far the output of another target may lie beside what is expected, in per cent.
const SPREAD: u64 = 25;

/// What is known of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// Answered requests whose cost is known.
    pub requests: u64,
    /// What they cost.
    pub cost: Money,
    /// Of these, by target before and cheaper target: what could have moved.
    pub moves: BTreeMap<(String, String), Advised>,
    /// Requests for which residency kept a cheaper target out.
    pub premium_requests: u64,
    /// What that cost, expected.
    pub premium: Money,
    /// Left out because a price is not known.
    pub unpriced: u64,
    /// What was said of answers, by target and label.
    pub feedback: BTreeMap<(String, String), Verdicts>,
    /// What shadow runs say, by target that answered and shadow.
    pub shadow: BTreeMap<(String, String), Runs>,
}

/// Requests that could have gone to one cheaper target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advised {
    /// How many.
    pub requests: u64,
    /// What they cost.
    pub cost: Money,
    /// What the measured tokens would have saved.
    pub saving: Money,
    /// The least that would have been saved, if the other is as talkative as it may be. May be negative.
    pub low: Money,
    /// The most.
    pub high: Money,
    /// Milliseconds expected: where it went, and where it could have gone.
    pub latency_ms: (u64, u64),
}

/// What the trail of a period says, by route; of one route if `route` is given.
///
/// # Errors
/// The database can't be read.
pub fn advise(
    store: &Store,
    period: &Period,
    catalogue: &Catalogue,
    route: Option<&str>,
) -> Result<BTreeMap<String, Advice>, StoreError> {
    let past = Past::new(catalogue);
    let mut routes: BTreeMap<String, Advice> = BTreeMap::new();
    each(store, period, None, |recorded| {
        let name = &recorded.decision.route;
        if !name.is_empty() && route.is_none_or(|route| route == name) {
            let known = routes.contains_key(name) || routes.len() < APART;
            let name = if known { name.as_str() } else { "(others)" };
            routes.entry(name.to_owned()).or_default().take(&past, &recorded);
        }
        true
    })?;
    for ((name, target, label), verdicts) in feedback::verdicts(store, period.from, period.to)? {
        if let Some(advice) = routes.get_mut(&name) {
            advice.feedback.insert((target, label), verdicts);
        }
    }
    for (pair, runs) in shadow::runs(store, period)? {
        if let Some(advice) = routes.get_mut(&pair.route) {
            advice.shadow.insert((pair.primary, pair.shadow), runs);
        }
    }
    Ok(routes)
}

impl Advice {
    fn take(&mut self, past: &Past<'_>, recorded: &Recorded) {
        let row = &recorded.decision;
        if let Some(premium) = row.premium.filter(|premium| *premium > Money::ZERO) {
            self.premium_requests += 1;
            self.premium = plus(self.premium, premium);
        }
        let Some(answered) = recorded.answered() else { return };
        let Some(cost) = answered.cost else {
            self.unpriced += 1;
            return;
        };
        self.requests += 1;
        self.cost = plus(self.cost, cost);
        let in_vain = |name: &str| recorded.attempts.iter().any(|a| a.in_vain() && a.target == name);
        let others = row.admitted.iter().filter(|a| a.target != answered.target && !in_vain(&a.target));
        let priced = others.filter_map(|other| {
            let price = past.moved(past.named(&other.target)?, &answered.usage, row)?;
            Some((price, other))
        });
        let Some((price, other)) = priced.min_by_key(|(price, _)| *price).filter(|(price, _)| *price < cost) else {
            return;
        };
        let Some((low, high)) = range(past, row, answered, other, cost) else { return };
        let move_ = self.moves.entry((answered.target.clone(), other.target.clone())).or_default();
        move_.requests += 1;
        move_.cost = plus(move_.cost, cost);
        move_.saving = plus(move_.saving, minus(cost, price));
        move_.low = plus(move_.low, low);
        move_.high = plus(move_.high, high);
        let here = row.admitted.iter().find(|a| a.target == answered.target).map_or(0, |a| a.latency_ms);
        move_.latency_ms.0 = move_.latency_ms.0.saturating_add(here);
        move_.latency_ms.1 = move_.latency_ms.1.saturating_add(other.latency_ms);
    }

    /// What the most likely moves would have saved together.
    #[must_use]
    pub fn saving(&self) -> (Money, Money, Money) {
        self.moves.values().fold((Money::ZERO, Money::ZERO, Money::ZERO), |(saving, low, high), advised| {
            (plus(saving, advised.saving), plus(low, advised.low), plus(high, advised.high))
        })
    }
}

/// The least and the most that would have been saved: with the output that was measured, and with the output in the ratio
/// that the planner expected of the two, each a quarter more or less.
fn range(
    past: &Past<'_>,
    row: &DecisionRow,
    answered: &AttemptRow,
    other: &Admitted,
    cost: Money,
) -> Option<(Money, Money)> {
    let target = past.named(&other.target)?;
    let here = row.admitted.iter().find(|a| a.target == answered.target).map_or(other.output, |a| a.output);
    let price = |by: u64, of: u64| past.moved(target, &talkative(&answered.usage, by, of), row);
    let (here, there) = (here.max(1), other.output.max(1));
    let most = price(there.max(here).saturating_mul(100 + SPREAD), here.saturating_mul(100))?;
    let least = price(there.min(here).saturating_mul(100 - SPREAD), here.saturating_mul(100))?;
    Some((minus(cost, most), minus(cost, least)))
}

/// The usage with so many times the output.
fn talkative(usage: &Usage, by: u64, of: u64) -> Usage {
    let scaled = |count: u64| {
        let scaled = u128::from(count) * u128::from(by) / u128::from(of.max(1));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    };
    [Bucket::Output, Bucket::Reasoning, Bucket::OutputAudio, Bucket::OutputImage]
        .into_iter()
        .fold(*usage, |usage, bucket| usage.with(bucket, scaled(usage.get(bucket))))
}

/// The interval in which a proportion lies with 95 % confidence (Wilson, 1927), in per mille. None: nothing was counted.
#[must_use]
pub(super) fn wilson(good: u64, all: u64) -> Option<(u32, u32)> {
    const Z: f64 = 1.959_964;
    if all == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a proportion of counts, shown with one decimal")]
    let (good, all) = (good.min(all) as f64, all as f64);
    let share = good / all;
    let scale = 1.0 + Z * Z / all;
    let middle = (share + Z * Z / (2.0 * all)) / scale;
    let half = Z * (share * (1.0 - share) / all + Z * Z / (4.0 * all * all)).sqrt() / scale;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
    let per_mille = |value: f64| (value.clamp(0.0, 1.0) * 1000.0).round() as u32;
    Some((per_mille(middle - half), per_mille(middle + half)))
}
