//! Requirements: what a target must fulfil. Hard, fail closed, and they only ever get narrower.
//!
//! Route, team, key and request header each bring one; [`Requirement::narrow`] intersects them, so the order does not
//! matter and none can widen another. An absent part demands nothing; a present part is failed by an unknown fact.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Market;
use super::reason::Reason;
use super::text;
use super::zones::Countries;
use crate::domain::money::Money;
use crate::domain::target::{Country, Fact, Guarantee, Residency, Signal, Target, Training, UnixMillis};

/// What a target must fulfil. The default demands nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// Every country where bytes are processed must be one of these.
    pub processing: Option<Countries>,
    /// The jurisdiction of the operating company must be one of these. This machine is nobody else's: it passes.
    pub operator: Option<Countries>,
    /// The jurisdiction of its ultimate parent must be one of these. Written `operator` alone sets both.
    pub parent: Option<Countries>,
    /// Prompts are kept at most so many days.
    pub retention_days: Option<u32>,
    /// What the provider may do with the data for its own models.
    pub training: Option<TrainingSet>,
    /// How firmly the processing place must be promised.
    pub min_guarantee: Option<Guarantee>,
    /// The least rung of the quality ladder.
    pub min_tier: Option<Tier>,
    /// Most that the request may be expected to cost.
    pub max_cost: Option<Money>,
    /// Within so many milliseconds the first token must have come in 95 of 100 cases of late.
    pub ttft_p95_ms: Option<u32>,
    /// Whether a target fails that has not been measured enough to say how fast it is.
    pub measured_only: bool,
}

/// A rung of the quality ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Its height; more is better.
    pub rank: u32,
    /// Its name.
    pub name: Arc<str>,
}

/// Which training policies are acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingSet(u8);

impl TrainingSet {
    /// None is acceptable.
    pub const NONE: Self = Self(0);

    /// The set with one more.
    #[must_use]
    pub fn with(self, training: Training) -> Self {
        Self(self.0 | 1 << training as u8)
    }

    /// Whether it is in the set.
    #[must_use]
    pub fn has(self, training: Training) -> bool {
        self.0 & (1 << training as u8) != 0
    }
}

/// What is wrong with one part of a requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequirementError {
    /// The part, by its name.
    pub part: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that can be guessed.
    pub hint: Option<String>,
}

impl fmt::Display for RequirementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for RequirementError {}

/// The parts in their text form, in the order they are rendered.
pub(super) const PARTS: [&str; 10] = [
    "processing",
    "operator",
    "parent",
    "retention_days",
    "training",
    "min_guarantee",
    "min_tier",
    "max_cost",
    "ttft_p95",
    "unmeasured",
];

/// Message and hint.
pub(super) type Complaint = (String, Option<String>);

impl Requirement {
    /// Demands nothing.
    pub const ANY: Self = Self {
        processing: None,
        operator: None,
        parent: None,
        retention_days: None,
        training: None,
        min_guarantee: None,
        min_tier: None,
        max_cost: None,
        ttft_p95_ms: None,
        measured_only: false,
    };

    /// Both at once: whatever fulfils the result fulfils each of the two.
    #[must_use]
    pub fn narrow(&self, other: &Self) -> Self {
        Self {
            processing: both(self.processing, other.processing, Countries::and),
            operator: both(self.operator, other.operator, Countries::and),
            parent: both(self.parent, other.parent, Countries::and),
            retention_days: both(self.retention_days, other.retention_days, u32::min),
            training: both(self.training, other.training, |a, b| TrainingSet(a.0 & b.0)),
            min_guarantee: both(self.min_guarantee, other.min_guarantee, Guarantee::max),
            min_tier: both(self.min_tier.clone(), other.min_tier.clone(), |a, b| if b.rank > a.rank { b } else { a }),
            max_cost: both(self.max_cost, other.max_cost, Money::min),
            ttft_p95_ms: both(self.ttft_p95_ms, other.ttft_p95_ms, u32::min),
            measured_only: self.measured_only || other.measured_only,
        }
    }

    /// Reads the text form that keys, teams and the header `x-stellwerk-require` use:
    /// `processing=EU,local; operator=EU; retention_days=0; training=no; max_cost=0.01 USD`.
    /// Empty text demands nothing.
    ///
    /// # Errors
    /// Unknown or repeated parts and values that cannot be read; a requirement is never read in part.
    pub fn parse(text: &str, market: &dyn Market) -> Result<Self, RequirementError> {
        let mut result = Self::ANY;
        let mut seen: Vec<&str> = Vec::new();
        let mut parent_given = false;
        for part in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
            let fail =
                |name: &str, (message, hint): Complaint| RequirementError { part: name.to_owned(), message, hint };
            let Some((name, value)) = part.split_once('=').map(|(n, v)| (n.trim(), v.trim())) else {
                return Err(fail(part, ("is not written as name=value".to_owned(), None)));
            };
            if seen.contains(&name) {
                return Err(fail(name, ("is given twice".to_owned(), None)));
            }
            seen.push(name);
            parent_given |= name == "parent";
            result.set(name, value, market).map_err(|complaint| fail(name, complaint))?;
        }
        if !parent_given {
            result.parent = result.operator;
        }
        Ok(result)
    }

    fn set(&mut self, name: &str, value: &str, market: &dyn Market) -> Result<(), Complaint> {
        let list = || value.split(',').map(str::trim);
        match name {
            "processing" => self.processing = Some(countries(list())?),
            "operator" => self.operator = Some(countries(list())?),
            "parent" => self.parent = Some(countries(list())?),
            "retention_days" => {
                let days = value.parse().map_err(|_| (format!("`{value}` is not a number of days"), None))?;
                self.retention_days = Some(days);
            }
            "training" => self.training = Some(training(list())?),
            "min_guarantee" => self.min_guarantee = Some(guarantee(value)?),
            "min_tier" => self.min_tier = Some(tier(value, market)?),
            "max_cost" => self.max_cost = Some(text::money(value).map_err(|message| (message, None))?),
            "ttft_p95" => {
                let limit = text::duration(value).map_err(|message| (message, None))?;
                self.ttft_p95_ms = Some(millis(limit));
            }
            "unmeasured" => self.measured_only = unmeasured(value)?,
            _ => return Err(("there is no such requirement".to_owned(), text::did_you_mean(name, PARTS))),
        }
        Ok(())
    }

    /// Whether a target is fast enough, by what was measured of it. True: it was not when it was last seen, which is so long
    /// ago that it is not known any more; where that may be, one request at a time looks at it.
    ///
    /// # Errors
    /// The reason.
    pub fn check_speed(&self, signal: &Signal) -> Result<bool, Reason> {
        match (signal.ttft_p95_ms, self.ttft_p95_ms) {
            (None, _) if self.measured_only => Err(Reason::Unmeasured),
            (Some(p95_ms), Some(limit_ms)) if p95_ms > limit_ms => {
                if signal.p95_old && !self.measured_only {
                    return Ok(true);
                }
                Err(Reason::Slow { p95_ms, limit_ms })
            }
            _ => Ok(false),
        }
    }

    /// Whether what a request is expected to cost is allowed.
    ///
    /// # Errors
    /// The reason: too much, or not known where there is a limit.
    pub fn check_cost(&self, expected: Option<Money>) -> Result<(), Reason> {
        match (self.max_cost, expected) {
            (Some(_), None) => Err(Reason::Unpriced),
            (Some(limit), Some(expected)) if expected > limit => Err(Reason::MaxCost { expected, limit }),
            _ => Ok(()),
        }
    }

    /// Whether a target fulfils everything but `max_cost` and `ttft_p95`, which are about the moment. The first part that
    /// it fails is the reason; facts past their date count as unknown.
    ///
    /// # Errors
    /// The reason.
    pub fn check(&self, target: &Target, market: &dyn Market, at: UnixMillis) -> Result<(), Reason> {
        let facts = &*target.residency;
        let stale = facts.expires.filter(|expires| *expires <= at);
        let found = self.check_facts(facts, stale.is_some());
        found.map_err(|reason| stale.map_or(reason, |since| Reason::StaleFacts { since }))?;
        if let Some(facts) = &target.token_residency {
            // No prompt goes there, so nothing is kept of one and nothing trains on it.
            let place = Self { retention_days: None, training: None, ..self.clone() };
            let stale = facts.expires.is_some_and(|expires| expires <= at);
            place.check_facts(facts, stale).map_err(|reason| Reason::TokenEndpoint(reason.label()))?;
        }
        if let Some(needed) = &self.min_tier {
            let rank = target.tier.as_deref().and_then(|t| market.tier_rank(t));
            if rank.is_none_or(|rank| rank < needed.rank) {
                return Err(Reason::Tier { has: target.tier.clone(), needed: needed.name.clone() });
            }
        }
        Ok(())
    }

    fn check_facts(&self, facts: &Residency, stale: bool) -> Result<(), Reason> {
        if let Some(allowed) = self.processing {
            match &facts.processing {
                // An empty list says nothing about where the bytes go.
                Fact::Known(has) if !stale && !has.is_empty() => {
                    if let Some(outside) = has.iter().copied().find(|c| !allowed.has(*c)) {
                        return Err(Reason::Processing { has: Arc::clone(has), outside });
                    }
                }
                Fact::Known(_) | Fact::Unknown => return Err(Reason::ProcessingUnknown),
            }
        }
        // What runs on this machine nobody else operates: whether it may be used is a matter of where bytes are processed.
        let inside = |allowed: Countries| move |c: &Country| allowed.has(*c) || *c == Country::LOCAL;
        demand(self.operator.map(inside), &facts.operator, stale).map_err(Reason::Operator)?;
        demand(self.parent.map(inside), &facts.parent, stale).map_err(Reason::Parent)?;
        demand(self.retention_days.map(|most| move |d: &u32| *d <= most), &facts.retention_days, stale)
            .map_err(Reason::Retention)?;
        demand(self.training.map(|set| move |t: &Training| set.has(*t)), &facts.training, stale)
            .map_err(Reason::Training)?;
        demand(self.min_guarantee.map(|least| move |g: &Guarantee| *g >= least), &facts.guarantee, stale)
            .map_err(Reason::Guarantee)
    }
}

/// A demand on one fact. The error is the fact, or nothing where it is unknown.
fn demand<T: Copy>(wanted: Option<impl Fn(&T) -> bool>, fact: &Fact<T>, stale: bool) -> Result<(), Option<T>> {
    let Some(wanted) = wanted else { return Ok(()) };
    match fact {
        Fact::Known(value) if !stale => {
            if wanted(value) {
                Ok(())
            } else {
                Err(Some(*value))
            }
        }
        Fact::Known(_) | Fact::Unknown => Err(None),
    }
}

fn both<T>(a: Option<T>, b: Option<T>, join: impl Fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(join(a, b)),
        (one, None) | (None, one) => one,
    }
}

/// Zones and country codes, at least one.
pub(super) fn countries<'a>(names: impl Iterator<Item = &'a str>) -> Result<Countries, Complaint> {
    let mut set = Countries::NONE;
    for name in names {
        set = set.or(Countries::parse(name)?);
    }
    if set.is_empty() { Err(("names no country or zone".to_owned(), None)) } else { Ok(set) }
}

/// `no`, `opt-out`, `yes`, at least one.
pub(super) fn training<'a>(names: impl Iterator<Item = &'a str>) -> Result<TrainingSet, Complaint> {
    let mut set = TrainingSet::NONE;
    for name in names {
        let known = TRAINING.into_iter().find(|(n, _)| *n == name).map(|(_, t)| t);
        set = set.with(known.ok_or_else(|| {
            (format!("`{name}` is not one of no, opt-out, yes"), text::did_you_mean(name, TRAINING.map(|(n, _)| n)))
        })?);
    }
    if set == TrainingSet::NONE { Err(("names none of no, opt-out, yes".to_owned(), None)) } else { Ok(set) }
}

/// `none`, `documented` or `contract`.
pub(super) fn guarantee(name: &str) -> Result<Guarantee, Complaint> {
    GUARANTEES.into_iter().find(|(n, _)| *n == name).map(|(_, g)| g).ok_or_else(|| {
        let hint = text::did_you_mean(name, GUARANTEES.map(|(n, _)| n));
        (format!("`{name}` is not one of none, documented, contract"), hint)
    })
}

/// A rung that the catalogue's ladder has.
pub(super) fn tier(name: &str, market: &dyn Market) -> Result<Tier, Complaint> {
    market.tier_rank(name).map(|rank| Tier { rank, name: name.into() }).ok_or_else(|| {
        let names = market.tiers();
        let hint = text::did_you_mean(name, names.iter().copied());
        (format!("there is no tier `{name}`; the ladder is {}", names.join(" < ")), hint)
    })
}

/// `allow` or `refuse`; the latter is true.
pub(super) fn unmeasured(name: &str) -> Result<bool, Complaint> {
    match name {
        "allow" => Ok(false),
        "refuse" => Ok(true),
        other => {
            Err((format!("`{other}` is not one of allow, refuse"), text::did_you_mean(other, ["allow", "refuse"])))
        }
    }
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

const TRAINING: [(&str, Training); 3] = [("no", Training::No), ("opt-out", Training::OptOut), ("yes", Training::Yes)];
const GUARANTEES: [(&str, Guarantee); 3] =
    [("none", Guarantee::None), ("documented", Guarantee::Documented), ("contract", Guarantee::Contract)];

pub(super) fn training_name(value: Training) -> &'static str {
    TRAINING.into_iter().find(|(_, t)| *t == value).map_or("?", |(name, _)| name)
}

pub(super) fn guarantee_name(value: Guarantee) -> &'static str {
    GUARANTEES.into_iter().find(|(_, g)| *g == value).map_or("?", |(name, _)| name)
}

impl fmt::Display for Requirement {
    /// The text form. Reads back as the same requirement; one that demands nothing is empty text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        let mut push = |name: &str, value: Option<String>| parts.extend(value.map(|v| format!("{name}={v}")));
        push("processing", self.processing.map(|c| c.to_string()));
        push("operator", self.operator.map(|c| c.to_string()));
        push("parent", self.parent.filter(|_| self.parent != self.operator).map(|c| c.to_string()));
        push("retention_days", self.retention_days.map(|d| d.to_string()));
        push(
            "training",
            self.training.map(|set| {
                let names: Vec<&str> = TRAINING.into_iter().filter(|(_, t)| set.has(*t)).map(|(n, _)| n).collect();
                if names.is_empty() { "none".to_owned() } else { names.join(",") }
            }),
        );
        push("min_guarantee", self.min_guarantee.map(|g| guarantee_name(g).to_owned()));
        push("min_tier", self.min_tier.as_ref().map(|t| t.name.to_string()));
        push("max_cost", self.max_cost.map(|m| format!("{m} USD")));
        push("ttft_p95", self.ttft_p95_ms.map(|ms| format!("{ms}ms")));
        push("unmeasured", self.measured_only.then(|| "refuse".to_owned()));
        f.write_str(&parts.join("; "))
    }
}
