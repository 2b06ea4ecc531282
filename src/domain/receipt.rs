//! What a request cost and did: the record that settlement writes, once, whatever happened.
//!
//! A receipt shares its names with the snapshot and the principal (`Arc`), so that making one costs few allocations.
//! It carries facts, not foreign keys: a year later it still says under which price and whose law a request ran.

use std::sync::Arc;

use super::error::FailureKind;
use super::id::{DialectId, RequestId};
use super::money::Money;
use super::target::{Residency, UnixMillis};
use super::usage::{Basis, Usage};

/// Everything that is known of one request when it is over.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The request.
    pub request: RequestId,
    /// When its head had been read.
    pub started: UnixMillis,
    /// Milliseconds from `started` to the last byte of the answer.
    pub duration_ms: u32,
    /// Microseconds of our own work, waiting for upstreams and client excluded.
    pub overhead_us: u32,
    /// Who asked.
    pub caller: Caller,
    /// The policy's name.
    pub policy: Arc<str>,
    /// Which generation of the snapshot decided.
    pub generation: u64,
    /// The route's name; none where the request was refused before one was found, or the model was named directly.
    pub route: Option<Arc<str>>,
    /// What the client speaks.
    pub dialect: DialectId,
    /// The model the client asked for, in its own words.
    pub model_asked: Arc<str>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Expected input tokens, as the planner took them.
    pub input_estimate: u64,
    /// Every upstream call, in order. Empty for refusals and cache hits.
    pub attempts: Vec<AttemptRecord>,
    /// What the baseline would have cost. Only for successful requests whose route names one.
    pub baseline: Option<BaselineRecord>,
    /// What the response cache did.
    pub cache: CacheRecord,
    /// The HTTP status the client got.
    pub status: u16,
    /// The error code the client got, in the answer or inside the stream.
    pub error: Option<&'static str>,
    /// What the provider stored for the tenant: a digest of tenant and name each.
    pub stored: Vec<StoredKey>,
    /// Where the first of that lies: the answer itself.
    pub stored_at: Option<Arc<Home>>,
}

/// Where something lies that a provider has stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The target's name.
    pub target: Arc<str>,
    /// The provider's key it was made with, by its label: another account does not know it.
    pub key: Option<Arc<str>>,
    /// Whether that was the tenant's own.
    pub own_key: bool,
    /// What every question about it must fulfil.
    pub requires: Arc<str>,
}

/// A digest of a tenant and the name of something that a provider has stored for it.
pub type StoredKey = [u8; 16];

/// What is known of a request when it begins.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// Its id.
    pub request: RequestId,
    /// When its head had been read.
    pub started: UnixMillis,
    /// Who asks.
    pub caller: Caller,
    /// The policy's name.
    pub policy: Arc<str>,
    /// Which generation of the snapshot decides.
    pub generation: u64,
    /// What the client speaks.
    pub dialect: DialectId,
    /// The model it asks for, in its own words.
    pub model_asked: Arc<str>,
}

impl Receipt {
    /// Of a request that has just begun.
    #[must_use]
    pub fn of(beginning: Beginning) -> Self {
        let Beginning { request, started, caller, policy, generation, dialect, model_asked } = beginning;
        Self {
            request,
            started,
            duration_ms: 0,
            overhead_us: 0,
            caller,
            policy,
            generation,
            route: None,
            dialect,
            model_asked,
            stream: false,
            input_estimate: 0,
            attempts: Vec::new(),
            baseline: None,
            cache: CacheRecord::None,
            status: 0,
            error: None,
            stored: Vec::new(),
            stored_at: None,
        }
    }

    /// The sum of the attempts' priced charges. None if it overflows i128 pico-units.
    #[must_use]
    pub fn cost(&self) -> Option<Money> {
        self.attempts.iter().try_fold(Money::ZERO, |sum, attempt| sum.checked_add(attempt.charge.usd()))
    }

    /// Whether every attempt has a known charge, so that [`Receipt::cost`] is the whole truth.
    #[must_use]
    pub fn fully_priced(&self) -> bool {
        self.attempts.iter().all(|a| !matches!(a.charge, ChargeRecord::Unpriced { .. }))
    }
}

/// Who asked: the principal's names at the time.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The tenant.
    pub tenant: Arc<str>,
    /// The team.
    pub team: Arc<str>,
    /// The key's id (not the key).
    pub key_id: Arc<str>,
    /// The key's tags, for example `legal` or `project=atlas`.
    pub tags: Arc<[Arc<str>]>,
}

/// One upstream call.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    /// Its number, from 1.
    pub no: u32,
    /// The target's name.
    pub target: Arc<str>,
    /// The provider's name.
    pub provider: Arc<str>,
    /// The model's id in the catalogue.
    pub model: Arc<str>,
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// Where the bytes went and under whose law, as known when the attempt was made.
    pub residency: Arc<Residency>,
    /// When the call began.
    pub started: UnixMillis,
    /// Milliseconds to the first token; none if none came.
    pub first_token_ms: Option<u32>,
    /// Milliseconds to the end.
    pub duration_ms: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// Where `usage` comes from.
    pub basis: Basis,
    /// What that costs.
    pub charge: ChargeRecord,
    /// The upstream's HTTP status, where there was one.
    pub upstream_status: Option<u16>,
    /// Whether the key was the tenant's own: what it costs is on the tenant's own bill.
    pub own_key: bool,
    /// Parameters of the request that this target could not take and that were left out.
    pub dropped_params: Vec<String>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// With a whole answer.
    Completed,
    /// Before anything of it went to the client.
    Failed(FailureKind),
    /// The client went away.
    Cancelled,
    /// Another attempt that was made beside it answered first.
    Hedged,
    /// The answer broke off after a part of it went to the client.
    Truncated(FailureKind),
}

impl Outcome {
    /// The label in metrics and the ledger.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
            Self::Hedged => "hedged",
            Self::Truncated(_) => "truncated",
        }
    }

    /// What went wrong or broke, for failures and truncated answers.
    #[must_use]
    pub fn failure(self) -> Option<FailureKind> {
        match self {
            Self::Failed(kind) | Self::Truncated(kind) => Some(kind),
            Self::Completed | Self::Cancelled | Self::Hedged => None,
        }
    }
}

/// What an attempt costs. Unknown is a state of its own, never zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChargeRecord {
    /// A known amount.
    Priced {
        /// In US dollars, rounded once per line to pico-dollars.
        usd: Money,
        /// The amount as the provider bills it, where that is not in dollars.
        original: Option<Original>,
        /// Which price period was applied, so that the bill can be derived again.
        price_id: Arc<str>,
    },
    /// Something was used that has no known price.
    Unpriced {
        /// Why, as a stable label.
        reason: &'static str,
    },
    /// Nothing was used, so there is nothing to pay: no connection, refused, an error instead of an answer.
    Nothing,
}

impl ChargeRecord {
    /// The dollars that are known: zero for `Nothing` and, for want of better, for `Unpriced`.
    #[must_use]
    pub fn usd(&self) -> Money {
        match self {
            Self::Priced { usd, .. } => *usd,
            Self::Unpriced { .. } | Self::Nothing => Money::ZERO,
        }
    }
}

/// An amount in the currency of the provider's price list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// The amount.
    pub amount: Money,
    /// ISO 4217 code.
    pub currency: Arc<str>,
    /// Nano-dollars per unit of that currency: the exchange rate that was applied.
    pub rate_nanos: i64,
    /// The day of that rate.
    pub rate_date: UnixMillis,
}

/// The same tokens at the baseline's prices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaselineRecord {
    /// The baseline target's name.
    pub target: Arc<str>,
    /// The date whose prices were taken, where the policy pins one; else those of the request's own time.
    pub price_as_of: Option<UnixMillis>,
    /// Since when the baseline can no longer be bought, if so at the time of the request.
    pub retired: Option<UnixMillis>,
    /// What it would have cost.
    pub charge: BaselineCharge,
}

/// What the baseline would have cost. In two parts, because only the output part depends on how talkative the baseline
/// would have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaselineCharge {
    /// A known amount, US dollars.
    Priced {
        /// Everything that is not output: prompt, caches, searches.
        input: Money,
        /// Output and reasoning tokens of every modality.
        output: Money,
        /// Which price period was applied.
        price_id: Arc<str>,
    },
    /// The baseline has no price for something that was used.
    Unpriced {
        /// Why, as a stable label.
        reason: &'static str,
    },
}

impl BaselineCharge {
    /// Both parts, if known and within i128.
    #[must_use]
    pub fn usd(&self) -> Option<Money> {
        match self {
            Self::Priced { input, output, .. } => input.checked_add(*output),
            Self::Unpriced { .. } => None,
        }
    }
}

/// What the response cache did for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheRecord {
    /// Not asked, or it had no answer.
    #[default]
    None,
    /// Answered from the cache: no attempt, no cost, and no baseline, so that nothing is counted twice.
    Hit {
        /// What the stored answer had cost in US dollars, where known.
        saved: Option<Money>,
    },
}
