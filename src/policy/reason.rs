//! Why a target was rejected. Every rejection has exactly one reason: the first that was met, in the order of
//! [`Stage`].

use std::fmt;
use std::sync::Arc;

use super::require::{guarantee_name, training_name};
use super::text;
use crate::domain::id::TargetId;
use crate::domain::money::Money;
use crate::domain::plan::Operation;
use crate::domain::target::{Capability, Country, Guarantee, Rest, Training, UnixMillis};

/// A candidate that was not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Which.
    pub target: TargetId,
    /// Why.
    pub reason: Reason,
}

/// Why a target was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The model is not yet served.
    NotYet {
        /// First moment of service.
        from: UnixMillis,
    },
    /// The model is no longer served.
    Retired {
        /// First moment after service.
        to: UnixMillis,
    },
    /// A requirement asks where bytes are processed, and the catalogue does not know.
    ProcessingUnknown,
    /// Bytes are processed in a country that is not allowed.
    Processing {
        /// Where they are processed.
        has: Arc<[Country]>,
        /// The first of these that is not allowed.
        outside: Country,
    },
    /// The operating company's jurisdiction is not allowed, or (none) not known.
    Operator(Option<Country>),
    /// The ultimate parent's jurisdiction is not allowed, or (none) not known.
    Parent(Option<Country>),
    /// Prompts are kept longer than allowed (days), or (none) nobody knows how long.
    Retention(Option<u32>),
    /// The provider's use of the data is not allowed, or (none) not known.
    Training(Option<Training>),
    /// The processing place is not promised firmly enough, or (none) it is not known how firmly.
    Guarantee(Option<Guarantee>),
    /// The place where its access tokens are granted does not fulfil a part of the requirement, by the label of the reason.
    TokenEndpoint(&'static str),
    /// A requirement asks for a fact whose catalogue entry is past its date.
    StaleFacts {
        /// Since when.
        since: UnixMillis,
    },
    /// The model stands too low on the quality ladder, or (none) nowhere.
    Tier {
        /// Where it stands.
        has: Option<Arc<str>>,
        /// What is asked.
        needed: Arc<str>,
    },
    /// The request is expected to cost more than allowed.
    MaxCost {
        /// What it is expected to cost.
        expected: Money,
        /// What is allowed.
        limit: Money,
    },
    /// There is a limit on the cost, and the price is not known. Unknown is not zero.
    Unpriced,
    /// The target cannot be dialled: no base URL, no credential, or no local worker.
    NotConfigured,
    /// The model lacks something that the request needs.
    Capability(Capability),
    /// The target's dialect does not have the operation that is asked.
    Operation(Operation),
    /// The target's dialect cannot express a parameter that changes the answer.
    Parameter(Arc<str>),
    /// The client asks for a longer answer than the model can give.
    Output {
        /// What is asked, in tokens.
        asked: u64,
        /// What the model can give.
        has: u64,
    },
    /// Prompt and answer do not fit the context window.
    Context {
        /// What is needed, in tokens.
        needed: u64,
        /// What the window holds.
        has: u64,
    },
    /// It has not been measured enough to say how fast it is, and unmeasured targets are not allowed.
    Unmeasured,
    /// Its first token comes later than allowed.
    Slow {
        /// Within so many milliseconds it comes in 95 of 100 cases.
        p95_ms: u32,
        /// What is allowed, in milliseconds.
        limit_ms: u32,
    },
    /// It is admitted by everything else, but failing or saturated now.
    Down {
        /// When it may be tried again, where known.
        until: Option<UnixMillis>,
        /// Who says so.
        rest: Rest,
    },
}

/// The order in which a candidate is examined. A later stage is reached only by what passed all earlier ones, so the
/// furthest stage that any candidate reached says why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Whether the model is served at all at this moment.
    Service,
    /// Residency, data handling, quality.
    Policy,
    /// The price limit.
    Price,
    /// Whether it can be dialled.
    Configuration,
    /// Whether it can carry this request.
    Request,
    /// Whether it is fast enough.
    Speed,
    /// Whether it is up.
    Health,
}

impl Reason {
    /// Where in the examination the reason belongs.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Self::NotYet { .. } | Self::Retired { .. } => Stage::Service,
            Self::ProcessingUnknown | Self::Processing { .. } | Self::Operator(_) | Self::Parent(_) => Stage::Policy,
            Self::Retention(_) | Self::Training(_) | Self::Guarantee(_) => Stage::Policy,
            Self::StaleFacts { .. } | Self::Tier { .. } | Self::TokenEndpoint(_) => Stage::Policy,
            Self::MaxCost { .. } | Self::Unpriced => Stage::Price,
            Self::NotConfigured => Stage::Configuration,
            Self::Capability(_) | Self::Operation(_) | Self::Parameter(_) => Stage::Request,
            Self::Output { .. } | Self::Context { .. } => Stage::Request,
            Self::Slow { .. } | Self::Unmeasured => Stage::Speed,
            Self::Down { .. } => Stage::Health,
        }
    }

    /// Whether it is about where bytes go, under whose law, and what becomes of them there.
    #[must_use]
    pub fn is_residency(&self) -> bool {
        self.stage() == Stage::Policy && !matches!(self, Self::Tier { .. })
    }

    /// A stable word for it, in metrics and JSON.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotYet { .. } => "not_yet_available",
            Self::Retired { .. } => "retired",
            Self::ProcessingUnknown => "processing_unknown",
            Self::Processing { .. } => "processing",
            Self::Operator(_) => "operator",
            Self::Parent(_) => "parent",
            Self::Retention(_) => "retention",
            Self::Training(_) => "training",
            Self::Guarantee(_) => "guarantee",
            Self::StaleFacts { .. } => "stale_facts",
            Self::TokenEndpoint(_) => "token_endpoint",
            Self::Tier { .. } => "tier",
            Self::MaxCost { .. } => "max_cost",
            Self::Unpriced => "unpriced",
            Self::NotConfigured => "not_configured",
            Self::Capability(_) => "capability",
            Self::Operation(_) => "operation",
            Self::Parameter(_) => "parameter",
            Self::Output { .. } => "max_output",
            Self::Context { .. } => "context",
            Self::Unmeasured => "unmeasured",
            Self::Slow { .. } => "slow",
            Self::Down { rest: Rest::Limited, .. } => "rate_limited",
            Self::Down { .. } => "down",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet { from } => write!(f, "not served before {}", text::date(*from)),
            Self::Retired { to } => write!(f, "not served since {}", text::date(*to)),
            Self::ProcessingUnknown => f.write_str("where it processes is not known"),
            Self::Processing { has, outside } => {
                let codes: Vec<&str> = has.iter().take(8).map(Country::code).collect();
                let more = if has.len() > codes.len() { ", ..." } else { "" };
                write!(f, "processes in {}{more}; {} is not allowed", codes.join(", "), outside.code())
            }
            Self::Operator(Some(has)) => write!(f, "operated from {}, which is not allowed", has.code()),
            Self::Operator(None) => f.write_str("the operator's jurisdiction is not known"),
            Self::Parent(Some(has)) => write!(f, "its parent company sits in {}, which is not allowed", has.code()),
            Self::Parent(None) => f.write_str("the parent company's jurisdiction is not known"),
            Self::Retention(Some(days)) => write!(f, "keeps prompts {days} days"),
            Self::Retention(None) => f.write_str("how long it keeps prompts is not known"),
            Self::Training(Some(has)) => write!(f, "training on the data: {}", training_name(*has)),
            Self::Training(None) => f.write_str("whether it trains on the data is not known"),
            Self::Guarantee(Some(has)) => write!(f, "the processing place is promised by: {}", guarantee_name(*has)),
            Self::Guarantee(None) => f.write_str("how firmly the processing place is promised is not known"),
            Self::StaleFacts { since } => write!(f, "its residency facts are stale since {}", text::date(*since)),
            Self::TokenEndpoint(part) => write!(f, "its access tokens come from a place that is not allowed ({part})"),
            Self::Tier { has: Some(has), needed } => write!(f, "tier {has} is below {needed}"),
            Self::Tier { has: None, needed } => write!(f, "it has no tier, {needed} is needed"),
            Self::MaxCost { expected, limit } => write!(f, "expected to cost {expected} USD, the limit is {limit} USD"),
            Self::Unpriced => f.write_str("its price is not known and there is a limit on the cost"),
            Self::NotConfigured => f.write_str("not configured: no credential, base URL or local worker"),
            Self::Capability(missing) => write!(f, "the model does not support `{}`", missing.name()),
            Self::Operation(asked) => write!(f, "its dialect does not offer `{}`", asked.name()),
            Self::Parameter(name) => write!(f, "parameter `{name}` cannot be expressed"),
            Self::Output { asked, has } => write!(f, "{asked} output tokens asked, the model gives at most {has}"),
            Self::Context { needed, has } => write!(f, "{needed} tokens needed, the context holds {has}"),
            Self::Slow { p95_ms: p95, limit_ms } => {
                write!(f, "its first token takes up to {p95} ms (p95), {limit_ms} ms are allowed")
            }
            Self::Unmeasured => f.write_str("how fast it is has not been measured"),
            Self::Down { until, rest } => {
                f.write_str(if *rest == Rest::Limited { "limits our rate" } else { "down" })?;
                match until.and_then(|until| jiff::Timestamp::from_millisecond(until.0).ok()) {
                    Some(until) => write!(f, " until {}", until.strftime("%Y-%m-%dT%H:%M:%SZ")),
                    None => Ok(()),
                }
            }
        }
    }
}
