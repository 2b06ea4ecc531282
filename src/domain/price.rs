//! Dated prices as data: which rates hold for a model at an endpoint at a moment.

use std::sync::Arc;

use super::money::{Money, Rate};
use super::target::UnixMillis;
use super::usage::Bucket;

/// Rates by bucket; none = no price of its own.
pub type Rates = [Option<Rate>; Bucket::COUNT];

/// An ISO 4217 currency code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The currency of all totals.
    pub const USD: Self = Self(*b"USD");

    /// Three upper-case letters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [a, b, c] if text.bytes().all(|x| x.is_ascii_uppercase()) => Some(Self([*a, *b, *c])),
            _ => None,
        }
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl std::fmt::Debug for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// The tier of service in which a provider works: slower and cheaper, or faster and dearer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ServiceTier {
    /// What everybody gets who asks for nothing.
    #[default]
    Standard,
    /// Slower and cheaper.
    Flex,
    /// Preferred.
    Priority,
    /// Within a day.
    Batch,
    /// Faster answers.
    Fast,
    /// Another one. It has no price here.
    Other,
}

impl ServiceTier {
    /// Those that may have prices of their own.
    pub const PRICED: [Self; 4] = [Self::Flex, Self::Priority, Self::Batch, Self::Fast];

    /// A stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Batch => "batch",
            Self::Fast => "fast",
            Self::Other => "other",
        }
    }

    /// By its stable name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let all = [Self::Standard, Self::Flex, Self::Priority, Self::Batch, Self::Fast, Self::Other];
        all.into_iter().find(|tier| tier.name() == name)
    }

    /// By the word of a request or an answer, as the providers say it; none = it says nothing (`auto`).
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "" | "auto" | "unspecified" => return None,
            "default" | "standard" | "standard_only" | "on_demand" => Self::Standard,
            "flex" => Self::Flex,
            "priority" => Self::Priority,
            "batch" => Self::Batch,
            "fast" => Self::Fast,
            _ => Self::Other,
        })
    }
}

/// Which moment of a request chooses its price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Basis {
    /// When it was sent.
    #[default]
    RequestStart,
    /// When it ended.
    RequestEnd,
}

/// All price periods of one model at one endpoint, in order of time and never overlapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceBook {
    /// The periods.
    pub periods: Vec<PricePeriod>,
}

/// Prices from one moment to another, end exclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PricePeriod {
    /// Names the period for ever: `provider/model@endpoint#date`.
    pub id: Arc<str>,
    /// First moment.
    pub from: UnixMillis,
    /// First moment after it; none = until the next period.
    pub to: Option<UnixMillis>,
    /// What the rates are in.
    pub currency: Currency,
    /// Which moment of a request counts.
    pub basis: Basis,
    /// Outside all windows, below all tiers.
    pub rates: Rates,
    /// A fee per request.
    pub per_request: Option<Money>,
    /// Other rates at certain times; the first that holds wins.
    pub windows: Vec<Window>,
    /// Other rates for the whole request above so many input tokens, ascending.
    pub tiers: Vec<Tier>,
    /// Rates of other tiers of service.
    pub services: Vec<Service>,
}

/// Rates of a tier of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Which.
    pub tier: ServiceTier,
    /// Names these rates for ever: the period's name and the tier's.
    pub id: Arc<str>,
    /// First moment for which they are known; none = the period's.
    pub from: Option<UnixMillis>,
    /// The rates, below all context tiers. A bucket that has a rate of its own in the period and none here is not known.
    pub rates: Rates,
    /// Other rates above so many input tokens, ascending.
    pub tiers: Vec<Tier>,
}

/// Rates at certain times of day, UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Names it within its period.
    pub name: Arc<str>,
    /// Minutes of the day, start inclusive, end exclusive; a range may cross midnight.
    pub ranges: Vec<(u16, u16)>,
    /// Days of the week on which a range may start, Monday first.
    pub days: [bool; 7],
    /// The rates then.
    pub rates: Rates,
}

/// Rates for large prompts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// The tier holds above so many input tokens, cached ones included.
    pub above_input: u64,
    /// The rates then.
    pub rates: Rates,
}

/// What holds at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Quote<'a> {
    /// The period.
    pub period: &'a PricePeriod,
    /// The rates.
    pub rates: &'a Rates,
    /// Which tier of service they are of; none = the standard.
    pub service: Option<&'a Service>,
}

impl PriceBook {
    /// The prices of a moment for a prompt of so many tokens in a tier of service; none = unknown. Where windows or context
    /// tiers change the standard price, those of another tier of service are known only where they are given apart.
    #[must_use]
    pub fn at(
        &self,
        (start, end): (UnixMillis, UnixMillis),
        input_tokens: u64,
        service: ServiceTier,
    ) -> Option<Quote<'_>> {
        let period = self.periods.iter().rev().find(|period| period.holds(period.moment(start, end)))?;
        let moment = period.moment(start, end);
        let window = period.windows.iter().find(|window| window.holds(moment)).map(|window| &window.rates);
        let above = |tiers: &'_ [Tier]| tiers.iter().rposition(|tier| input_tokens > tier.above_input);
        let tier = above(&period.tiers).map(|at| &period.tiers[at]);
        if service == ServiceTier::Standard {
            let rates = window.or(tier.map(|tier| &tier.rates)).unwrap_or(&period.rates);
            return Some(Quote { period, rates, service: None });
        }
        let known = |s: &&Service| s.tier == service && s.from.is_none_or(|from| from <= moment);
        let service = period.services.iter().find(known).filter(|_| window.is_none())?;
        let rates = match (tier, above(&service.tiers).map(|at| &service.tiers[at])) {
            (Some(_), None) => return None,
            (_, Some(tier)) => &tier.rates,
            (None, None) => &service.rates,
        };
        Some(Quote { period, rates, service: Some(service) })
    }

    /// Whether there is any price at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.periods.is_empty()
    }
}

impl PricePeriod {
    fn moment(&self, start: UnixMillis, end: UnixMillis) -> UnixMillis {
        match self.basis {
            Basis::RequestStart => start,
            Basis::RequestEnd => end,
        }
    }

    fn holds(&self, moment: UnixMillis) -> bool {
        self.from <= moment && self.to.is_none_or(|to| moment < to)
    }
}

impl Window {
    /// Whether the window is open at a moment. A range that crosses midnight belongs to the day it starts on.
    #[must_use]
    pub fn holds(&self, moment: UnixMillis) -> bool {
        const DAY: i64 = 86_400_000;
        let day = moment.0.div_euclid(DAY);
        let minute = u16::try_from(moment.0.rem_euclid(DAY) / 60_000).unwrap_or(0);
        // 1970-01-01 was a Thursday: day 3 of a week that begins on Monday.
        let starts_on = |day: i64| usize::try_from((day + 3).rem_euclid(7)).is_ok_and(|weekday| self.days[weekday]);
        self.ranges.iter().any(|&(from, to)| {
            if from < to {
                from <= minute && minute < to && starts_on(day)
            } else {
                (from <= minute && starts_on(day)) || (minute < to && starts_on(day - 1))
            }
        })
    }
}

/// Dated exchange rates to US dollars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fx {
    /// In order of time.
    pub rates: Vec<FxRate>,
}

/// One exchange rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FxRate {
    /// Of this currency.
    pub currency: Currency,
    /// From this day on, until a later one is given.
    pub from: UnixMillis,
    /// Nano-dollars per unit.
    pub nanos: i64,
}

impl Fx {
    /// The rate of a moment; none = unknown, and what is priced in that currency is unpriced.
    #[must_use]
    pub fn at(&self, currency: Currency, moment: UnixMillis) -> Option<FxRate> {
        let known = self.rates.iter().filter(|rate| rate.currency == currency && rate.from <= moment);
        known.max_by_key(|rate| rate.from).copied()
    }
}
