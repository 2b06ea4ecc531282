//! Policies: which target answers which request, as a pure decision with a reason for everything.
//!
//! A policy file is read into a [`Policy`] once ([`Policy::compile`], all problems at once), and [`plan`] decides each
//! request from the policy, the catalogue, the request and measured signals. Clock and dice are arguments: the same
//! arguments give the same decision, so live traffic, `explain` and `policy test` cannot disagree.
//!
//! Why an own small language and not a general one: every construct here can only exclude or order targets. None can
//! re-admit what a requirement excluded, so a mistake in a policy costs money or availability, never residency.

mod cases;
mod compile;
mod condition;
mod diff;
mod embedded;
mod errand;
mod examine;
mod explain;
mod market;
mod notes;
mod order;
mod pattern;
mod plan;
mod preference;
mod premium;
mod raw;
mod reach;
mod reason;
mod refuse;
mod require;
mod reserve;
mod select;
mod shadow;
mod split;
mod text;
mod zones;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use globset::GlobSet;

pub use cases::{TestOutcome, run_tests};
pub use diff::{
    Change, CountriesDiff, Direction, MemberDiff, Moved, PolicyDiff, RequirementDiff, RouteDiff, Side, TargetFacts,
    TestDiff, Within, diff,
};
pub use embedded::embedded;
pub use explain::{Question, explain, shown};
pub use order::Lead;
pub use pattern::Pattern;
pub use plan::{Ask, Candidate, Decision, Dice, Principal, Ticket, plan};
pub use premium::{Premium, premium};
pub use reason::{Reason, Rejection, Stage};
pub use require::{Requirement, RequirementError, Tier, TrainingSet};
pub use reserve::PATIENCE_MS;
pub use select::{Names, Selected};
pub use shadow::{Shadow, Shadowed, Worst};
pub use split::{Canary, Share, Split, Sticky};
pub use zones::{Countries, ZONES, Zone};

use crate::domain::id::TargetId;
use crate::domain::money::Money;
use crate::domain::plan::{Operation, Timeouts};
use crate::domain::price::ServiceTier;
use crate::domain::problem::Problem;
use crate::domain::target::{Target, UnixMillis};
use crate::domain::usage::{Bucket, Usage};

/// What deciding needs to know of the catalogue. A trait, so that tests decide over targets and prices of their own.
pub trait Market {
    /// All targets; each one's `id` is its index.
    fn targets(&self) -> &[Target];

    /// The names of the quality ladder, worst first.
    fn tiers(&self) -> Vec<&str>;

    /// The height of a rung; more is better. None: there is no such rung.
    fn tier_rank(&self, tier: &str) -> Option<u32>;

    /// All providers, those without targets included.
    fn providers(&self) -> Vec<&str>;

    /// What that usage costs in USD at that moment. None: not known.
    fn price(&self, target: &Target, usage: &Usage, at: UnixMillis) -> Option<Money>;

    /// The same in a tier of service. What knows no tiers knows no price of one.
    fn price_in(&self, service: ServiceTier, target: &Target, usage: &Usage, at: UnixMillis) -> Option<Money> {
        (service == ServiceTier::Standard).then(|| self.price(target, usage, at)).flatten()
    }

    /// The same of a prompt, of which so many tokens (at most all) come from the cache, and an answer.
    fn expected(
        &self,
        service: ServiceTier,
        target: &Target,
        (input, cached): (u64, u64),
        output: u64,
        at: UnixMillis,
    ) -> Option<Money> {
        let usage = Usage::ZERO.with(Bucket::Input, input - cached).with(Bucket::CacheRead, cached);
        self.price_in(service, target, &usage.with(Bucket::Output, output), at)
    }
}

/// A compiled policy. Valid for the catalogue that it was compiled against.
#[derive(Debug)]
pub struct Policy {
    /// Its name: the file's without `.toml`.
    pub name: Arc<str>,
    /// Its routes, in order.
    pub routes: Vec<Route>,
    /// What is odd at any time but does not stop the file from being used.
    warnings: Vec<Problem>,
    /// What messages call the file.
    file: Arc<str>,
    /// Line and column of each route.
    places: Vec<(u32, u32)>,
    /// What requests that no route matches must fulfil.
    require: Requirement,
    /// What savings are compared with where a route says nothing else.
    baseline: Option<Baseline>,
    names: Names,
    tests: Vec<cases::Case>,
}

/// A compiled route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: Arc<str>,
    /// Model names that it answers to, globs left out: for listing.
    pub literal_models: Vec<Arc<str>>,
    /// Its targets before any requirement, each with the place of the first pattern that names it.
    pub picks: Arc<[Pick]>,
    /// What every attempt must fulfil: the file's and the route's requirement.
    pub require: Requirement,
    /// The preference among what is admitted.
    pub prefer: Preference,
    /// The groups of [`Preference::Weighted`].
    pub split: Option<Arc<Split>>,
    /// What a share of the requests tries first.
    pub canary: Option<Canary>,
    /// How long a conversation stays with its target; none = it does not.
    pub affinity: Option<Duration>,
    /// How many of the requests try a target first that has not been measured.
    pub explore: Option<Share>,
    /// When a second target is asked as well.
    pub hedge: Option<Hedge>,
    /// What savings are compared with.
    pub baseline: Option<Baseline>,
    /// Where a sample goes besides, to be compared.
    pub shadow: Option<Shadow>,
    /// Whether parameters may be dropped.
    pub lossy: Lossy,
    /// How long an answer may be served again; none = no cache.
    pub cache: Option<Duration>,
    /// Output limit for requests that set none.
    pub max_output: Option<u64>,
    /// Most output tokens that a request may ask for, per answer; also the limit of requests that set none.
    pub output_cap: Option<u64>,
    /// Most attempts.
    pub attempts: u8,
    /// The waits.
    pub timeouts: Timeouts,
    /// None: any model.
    models: Option<GlobSet>,
    /// None: any operation.
    operations: Option<Vec<Operation>>,
    /// Beside `match`.
    when: Option<condition::Condition>,
}

/// A target of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Which.
    pub target: TargetId,
    /// The place of the first pattern that names it.
    pub position: u16,
}

/// How to choose among admitted targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// The least expected cost, where a second of waiting counts as so much money. Zero: the cheapest.
    Exchange {
        /// What a second is worth.
        second: Money,
    },
    /// The least expected latency, then the least cost.
    Fastest,
    /// As listed; within one pattern the least cost.
    Listed,
    /// By shares of the requests; within one share the least cost.
    Weighted,
}

/// When a second target is asked beside the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// How long the first one has.
    pub after: HedgeAfter,
    /// Most that the second attempt may be expected to cost.
    pub max_extra_cost: Money,
}

/// How long a first target has until a second is asked as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    /// As long as its first token takes in 95 of 100 cases; where that is not known, there is no second.
    P95,
    /// So long.
    Fixed(Duration),
}

/// Whether parameters that a target cannot express may be dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lossy {
    /// Such a target is not admitted.
    #[default]
    Refuse,
    /// They are dropped, and listed for the caller and in the ledger.
    Allow,
}

/// What savings are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// The target. It need not be in service.
    pub target: TargetId,
    /// Its name.
    pub name: Arc<str>,
    /// The moment whose prices count; none = the moment of the request.
    pub price_as_of: Option<UnixMillis>,
    /// Whether the target had an end of service when the policy was compiled: reports say so.
    pub retired: bool,
}

impl Policy {
    /// Reads a policy file. `name` is what keys and the ledger call it, `file` is what messages call it.
    ///
    /// # Errors
    /// All problems that were found, in the order of the file.
    pub fn compile(name: &str, file: &str, text: &str, market: &dyn Market) -> Result<Self, Vec<Problem>> {
        compile::compile(name, file, text, market)
    }

    /// The JSON Schema of a policy file.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        crate::shape::schema::<raw::RawPolicy>("A policy of Stellwerk: policies/NAME.toml")
    }

    /// The requirement of the whole file.
    #[must_use]
    pub fn require(&self) -> &Requirement {
        &self.require
    }

    /// Which route a request takes.
    #[must_use]
    pub fn select(&self, ask: &Ask<'_>) -> Selected<'_> {
        select::select(self, ask)
    }

    /// Model names that clients may ask for: the routes' literal names in order, without repetition.
    pub fn model_names(&self) -> impl Iterator<Item = &str> {
        let all = self.routes.iter().flat_map(|r| r.literal_models.iter().map(|m| &**m));
        let mut seen = std::collections::HashSet::new();
        all.filter(move |m| seen.insert(*m))
    }
}
