//! The past, decided again: recorded requests through the same pure planner, with the prices and the measurements of
//! their moment.
//!
//! [`backtest`] compares policies with what was in force, [`advise`] says what could have gone to a cheaper target.

mod advise;
mod backtest;
mod shown;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use crate::catalogue::{Catalogue, Target};
use crate::domain::id::{DialectId, TargetId};
use crate::domain::money::Money;
use crate::domain::plan::Operation;
use crate::domain::price::ServiceTier;
use crate::domain::target::{Capabilities, Capability, Expectation, Health, Rest, Signal, UnixMillis, Usual};
use crate::domain::usage::{Bucket, Usage};
use crate::ledger::decisions::{DecisionRow, Recorded};
use crate::ledger::trail::Seen;
use crate::policy::{Ask, Decision, Dice, Market, Policy, Principal, Requirement, plan};

pub use advise::{Advice, Advised, advise};
pub use backtest::{Backtest, Line, backtest};
pub use shown::{advice_json, advice_text, backtest_json, backtest_text};

/// A measurement counts for so long for a target that later requests did not look at.
const FRESH_MS: i64 = 10 * 60_000;

/// Why a request can't be decided again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unplannable {
    /// The policies have none of the name that was in force.
    NoPolicy,
    /// The name of the client's user was too long to be kept.
    User,
    /// A requirement was too long to be kept, or can't be read with today's catalogue.
    Requirement,
    /// It names an operation or dialect that this version does not know.
    Unknown,
}

impl Unplannable {
    /// For people.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::NoPolicy => "no policy of the name that was in force",
            Self::User => "the name of the client's user was too long to be kept",
            Self::Requirement => "a requirement that can't be read again",
            Self::Unknown => "an operation or dialect that is not known",
        }
    }
}

/// The catalogue as it was seen by recorded requests: a target that was dialable then is so here, whatever credentials
/// this machine has.
pub(crate) struct Past<'a> {
    catalogue: &'a Catalogue,
    targets: Vec<Target>,
    by_name: HashMap<std::sync::Arc<str>, TargetId>,
    seen: HashMap<TargetId, (UnixMillis, Signal)>,
}

impl Market for Past<'_> {
    fn targets(&self) -> &[Target] {
        &self.targets
    }

    fn tiers(&self) -> Vec<&str> {
        Market::tiers(self.catalogue)
    }

    fn tier_rank(&self, tier: &str) -> Option<u32> {
        Market::tier_rank(self.catalogue, tier)
    }

    fn providers(&self) -> Vec<&str> {
        Market::providers(self.catalogue)
    }

    fn price(&self, target: &Target, usage: &Usage, at: UnixMillis) -> Option<Money> {
        Market::price(self.catalogue, target, usage, at)
    }

    fn price_in(&self, service: ServiceTier, target: &Target, usage: &Usage, at: UnixMillis) -> Option<Money> {
        Market::price_in(self.catalogue, service, target, usage, at)
    }
}

impl<'a> Past<'a> {
    pub(crate) fn new(catalogue: &'a Catalogue) -> Self {
        let targets = catalogue.targets().to_vec();
        let by_name = targets.iter().map(|t| (std::sync::Arc::clone(&t.name), t.id)).collect();
        Self { catalogue, targets, by_name, seen: HashMap::new() }
    }

    /// A target by the name in the trail.
    pub(crate) fn named(&self, name: &str) -> Option<&Target> {
        self.by_name.get(name).and_then(|id| self.targets.get(id.index()))
    }

    pub(crate) fn target(&self, id: TargetId) -> Option<&Target> {
        self.targets.get(id.index())
    }

    /// Learns what a recorded request knew of targets.
    fn learn(&mut self, recorded: &Recorded) {
        let row = &recorded.decision;
        for admitted in &row.admitted {
            let Some(id) = self.by_name.get(admitted.target.as_str()).copied() else { continue };
            // What was not written had not been measured.
            self.seen.insert(id, (row.at, Signal::COLD));
            if let Some(target) = self.targets.get_mut(id.index()) {
                target.configured = true;
            }
        }
        for seen in &row.signals {
            if let Some(id) = self.by_name.get(seen.target.as_str()) {
                self.seen.insert(*id, (row.at, signal(seen)));
            }
        }
    }

    fn signal(&self, id: TargetId, at: UnixMillis) -> Signal {
        let fresh = self.seen.get(&id).filter(|(when, _)| at.0.saturating_sub(when.0) <= FRESH_MS);
        fresh.map_or(Signal::COLD, |(_, signal)| *signal)
    }

    /// Decides a recorded request again.
    pub(crate) fn decide(&mut self, policy: &Policy, recorded: &Recorded) -> Result<Decision, Unplannable> {
        self.learn(recorded);
        let row = &recorded.decision;
        let operation = Operation::by_name(&row.operation).ok_or(Unplannable::Unknown)?;
        let dialect = DialectId::by_name(&row.dialect).ok_or(Unplannable::Unknown)?;
        let needs = needs(&row.needs).ok_or(Unplannable::Unknown)?;
        let read = |text: &str| Requirement::parse(text, self).map_err(|_| Unplannable::Requirement);
        let mut own = Requirement::ANY;
        for text in row.key_requires.as_ref().ok_or(Unplannable::Requirement)? {
            own = own.narrow(&read(text)?);
        }
        let of_request = read(row.request_requires.as_deref().unwrap_or_default())?;
        let conversation = matches!(operation, Operation::Chat | Operation::Completions);
        let inexpressible = |to: DialectId| match row.inexpressible.get(to.name()) {
            _ if to == dialect => Vec::new(),
            Some(first) if first.is_empty() => Vec::new(),
            Some(first) => vec![first.clone()],
            None if conversation => Vec::new(),
            // Nobody asked then, so nobody knows.
            None => vec!["model".to_owned()],
        };
        let service = ServiceTier::by_name(&row.service).ok_or(Unplannable::Unknown)?;
        if row.user.as_deref() == Some("") {
            return Err(Unplannable::User);
        }
        let home = row.home.as_deref().and_then(|name| Some(self.named(name)?.id));
        let tags: Vec<Arc<str>> = recorded.tags.iter().map(|tag| tag.as_str().into()).collect();
        let (key, team, tenant) = (&recorded.key_id, &recorded.team, &recorded.tenant);
        let principal = Principal { key, team, tenant, tags: &tags, require: &own };
        let ask = Ask {
            operation,
            dialect,
            input_tokens: row.input_tokens,
            max_output: row.max_output,
            choices: row.choices,
            stream: row.stream,
            service,
            needs,
            inexpressible: &inexpressible,
            user: row.user.as_deref(),
            session: &|| row.session,
            home: &|| home,
            principal,
            require: &of_request,
            expect: &|_, target| expectation(row, target),
            ..Ask::of(&recorded.model_asked, row.at)
        };
        Ok(plan(policy, self, &ask, &|id| self.signal(id, row.at), Dice(row.dice)))
    }

    /// What measured tokens would have cost at another target at that moment. A move begins without the provider's
    /// prompt cache: cached tokens count as plain ones. The tier of service is the one that was asked for, where the target
    /// has tiers.
    pub(crate) fn moved(&self, target: &Target, usage: &Usage, row: &DecisionRow) -> Option<Money> {
        let service = ServiceTier::by_name(&row.service)?;
        let client = DialectId::by_name(&row.dialect)?;
        self.price_in(target.served(service, client), target, &uncached(usage), row.at)
    }
}

/// The same tokens without a cache.
pub(crate) fn uncached(usage: &Usage) -> Usage {
    let cached = [Bucket::CacheRead, Bucket::CacheWrite, Bucket::CacheWrite1h];
    let plain = cached.iter().fold(usage.get(Bucket::Input), |sum, bucket| sum.saturating_add(usage.get(*bucket)));
    cached.into_iter().fold(usage.with(Bucket::Input, plain), |usage, bucket| usage.with(bucket, 0))
}

fn needs(names: &[String]) -> Option<Capabilities> {
    names.iter().try_fold(Capabilities::NONE, |set, name| {
        Capability::ALL.into_iter().find(|c| c.name() == name).map(|c| set.with(c))
    })
}

/// What was expected of a target's tokens then: of those that were admitted it is known.
fn expectation(row: &DecisionRow, target: &Target) -> Expectation {
    let Some(known) = row.admitted.iter().find(|admitted| *admitted.target == *target.name) else {
        return Expectation::UNKNOWN;
    };
    // Rounded up, since what is made of it is rounded down.
    let ppm = |part: u64, of: u64| {
        let ppm = (u128::from(part) * 1_000_000).div_ceil(u128::from(of.max(1)));
        u32::try_from(ppm).unwrap_or(u32::MAX)
    };
    let input = known.input.unwrap_or(row.input_tokens);
    Expectation {
        output_tokens: u32::try_from(known.output / u64::from(row.choices.max(1))).ok(),
        input_ppm: ppm(input, row.input_tokens),
        cached_ppm: ppm(known.cached, input),
    }
}

fn signal(seen: &Seen) -> Signal {
    let mut signal = Signal::COLD;
    if seen.down {
        let rest = if seen.own_rest { Rest::Breaker } else { Rest::Firm };
        signal.state = Health::Down { until: seen.until.map(UnixMillis), rest };
    }
    signal.ttft_ms = seen.ttft_ms;
    signal.ttft_p95_ms = seen.ttft_p95_ms;
    signal.p95_old = seen.p95_old;
    signal.tpot_us = seen.tpot_us;
    signal.usual = seen.usual.map(|(ttft_ms, tpot_us)| Usual { ttft_ms, tpot_us });
    signal.in_flight = seen.in_flight;
    signal.crowd_permille = seen.crowd_permille.unwrap_or(1_000);
    signal.own_key = seen.own_key;
    signal
}

/// `DE,FR` as is known at that moment, or `unknown`.
pub(crate) fn countries(target: &Target, at: UnixMillis) -> String {
    match &target.residency.at(at).processing {
        crate::domain::target::Fact::Known(countries) => {
            countries.iter().map(crate::domain::target::Country::code).collect::<Vec<_>>().join(",")
        }
        crate::domain::target::Fact::Unknown => "unknown".to_owned(),
    }
}

/// The sum; what does not fit is at the end of all money.
pub(crate) fn plus(sum: Money, more: Money) -> Money {
    sum.checked_add(more).unwrap_or(sum)
}

pub(crate) fn minus(a: Money, b: Money) -> Money {
    a.checked_sub(b).unwrap_or_default()
}
