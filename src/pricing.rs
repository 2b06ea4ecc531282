//! What a usage costs: a dot product of disjoint buckets and rates, exact, with unknown as a state of its own.

use std::sync::Arc;

use crate::domain::money::{Money, Rate};
use crate::domain::price::{Currency, Fx, FxRate, PriceBook, Quote, Rates, ServiceTier};
use crate::domain::target::UnixMillis;
use crate::domain::usage::{Bucket, Usage};

/// The moments of a request, of which the price period says which counts, and how it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// When it was sent.
    pub start: UnixMillis,
    /// When it ended.
    pub end: UnixMillis,
    /// In which tier of service.
    pub service: ServiceTier,
}

impl When {
    /// Both at once, in the standard tier: for expectations and baselines.
    #[must_use]
    pub fn at(moment: UnixMillis) -> Self {
        Self { start: moment, end: moment, service: ServiceTier::Standard }
    }
}

/// A price, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// Known.
    Priced(Priced),
    /// Not known.
    Unpriced(Unpriced),
}

/// A known price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    /// In US dollars.
    pub usd: Money,
    /// As the provider bills it, where that is not in dollars.
    pub original: Option<(Money, FxRate)>,
    /// The price period that was applied.
    pub price_id: Arc<str>,
}

/// Why there is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpriced {
    /// No price period holds at the moment.
    NoPeriod,
    /// The tier of service has no price.
    NoServiceTier(ServiceTier),
    /// A bucket was used that has no rate.
    NoRate(Bucket),
    /// The currency has no exchange rate at the moment.
    NoExchangeRate(Currency),
    /// The amount does not fit.
    Overflow,
}

impl Unpriced {
    /// A stable label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NoPeriod => "no_price_period",
            Self::NoServiceTier(_) => "no_price_for_service_tier",
            Self::NoRate(_) => "no_rate_for_bucket",
            Self::NoExchangeRate(_) => "no_exchange_rate",
            Self::Overflow => "overflow",
        }
    }
}

impl Charge {
    /// The dollars, if known.
    #[must_use]
    pub fn usd(&self) -> Option<Money> {
        match self {
            Self::Priced(priced) => Some(priced.usd),
            Self::Unpriced(_) => None,
        }
    }
}

/// The rate of a bucket. Thinking without a price of its own is output, the parts of a prompt cache are input; any
/// other bucket has its own price or none.
#[must_use]
pub fn rate(rates: &Rates, bucket: Bucket) -> Option<Rate> {
    let own = |bucket: Bucket| rates[bucket as usize];
    own(bucket).or_else(|| match bucket {
        Bucket::Reasoning => own(Bucket::Output),
        Bucket::CacheRead | Bucket::CacheWrite => own(Bucket::Input),
        Bucket::CacheWrite1h => own(Bucket::CacheWrite).or_else(|| own(Bucket::Input)),
        Bucket::Input
        | Bucket::Output
        | Bucket::InputAudio
        | Bucket::OutputAudio
        | Bucket::InputImage
        | Bucket::OutputImage
        | Bucket::Search => None,
    })
}

/// Prices a usage.
#[must_use]
pub fn price(usage: &Usage, book: &PriceBook, when: When, fx: &Fx) -> Charge {
    price_part(usage, usage.input_tokens(), true, book, when, fx)
}

/// Prices a part of a request whose whole prompt had `input_tokens` (which choose the context tier). The fee per
/// request belongs to one part only: the one with `fee`.
#[must_use]
pub fn price_part(part: &Usage, input_tokens: u64, fee: bool, book: &PriceBook, when: When, fx: &Fx) -> Charge {
    match try_price(part, input_tokens, fee, book, when, fx) {
        Ok(priced) => Charge::Priced(priced),
        Err(unpriced) => Charge::Unpriced(unpriced),
    }
}

/// What a usage costs in US dollars, if known, without the name of the price: for expectations, of which each decision
/// makes one a target.
#[must_use]
pub fn usd(usage: &Usage, book: &PriceBook, when: When, fx: &Fx) -> Option<Money> {
    let sum = summed(usage, usage.input_tokens(), true, book, when).ok()?;
    exchanged(&sum, when, fx).ok().map(|(usd, _)| usd)
}

/// The same of a prompt, of which so many tokens come from the cache, and an answer: what [`usd`] says of such a usage, without
/// going through all that a usage may have. The planner asks this of each target.
#[must_use]
pub fn expected_usd((input, cached): (u64, u64), output: u64, book: &PriceBook, when: When, fx: &Fx) -> Option<Money> {
    let quote = book.at((when.start, when.end), input, when.service)?;
    let mut amount = quote.period.per_request.unwrap_or(Money::ZERO);
    for (bucket, count) in [(Bucket::Input, input - cached), (Bucket::CacheRead, cached), (Bucket::Output, output)] {
        if count > 0 {
            amount = amount.checked_add(rated(&quote, bucket)?.cost(count))?;
        }
    }
    if quote.period.currency == Currency::USD {
        return Some(amount);
    }
    exchanged(&Sum { quote, amount }, when, fx).ok().map(|(usd, _)| usd)
}

/// An amount in the currency of the prices that it was summed by.
struct Sum<'a> {
    quote: Quote<'a>,
    amount: Money,
}

fn summed<'a>(
    part: &Usage,
    input_tokens: u64,
    fee: bool,
    book: &'a PriceBook,
    when: When,
) -> Result<Sum<'a>, Unpriced> {
    let at = |service| book.at((when.start, when.end), input_tokens, service);
    let quote = at(when.service).ok_or_else(|| match at(ServiceTier::Standard) {
        Some(_) => Unpriced::NoServiceTier(when.service),
        None => Unpriced::NoPeriod,
    })?;
    let mut amount = quote.period.per_request.filter(|_| fee).unwrap_or(Money::ZERO);
    for (_, _, _, line) in lines(part, &quote) {
        amount = amount.checked_add(line?).ok_or(Unpriced::Overflow)?;
    }
    Ok(Sum { quote, amount })
}

/// In US dollars, and by which rate where that is another currency.
fn exchanged(sum: &Sum<'_>, when: When, fx: &Fx) -> Result<(Money, Option<FxRate>), Unpriced> {
    let currency = sum.quote.period.currency;
    if currency == Currency::USD {
        return Ok((sum.amount, None));
    }
    let rate = fx.at(currency, when.end).ok_or(Unpriced::NoExchangeRate(currency))?;
    Ok((sum.amount.convert(rate.nanos).ok_or(Unpriced::Overflow)?, Some(rate)))
}

fn try_price(
    part: &Usage,
    input_tokens: u64,
    fee: bool,
    book: &PriceBook,
    when: When,
    fx: &Fx,
) -> Result<Priced, Unpriced> {
    let sum = summed(part, input_tokens, fee, book, when)?;
    let (usd, rate) = exchanged(&sum, when, fx)?;
    let price_id = Arc::clone(sum.quote.service.map_or(&sum.quote.period.id, |service| &service.id));
    Ok(Priced { usd, original: rate.map(|rate| (sum.amount, rate)), price_id })
}

/// The rate of a bucket at a moment. What has a rate of its own in the standard tier has an unknown one in another, where none is
/// given.
fn rated(quote: &Quote<'_>, bucket: Bucket) -> Option<Rate> {
    let own = |rates: &Rates| rates[bucket as usize].is_some();
    let unknown = quote.service.is_some() && own(&quote.period.rates) && !own(quote.rates);
    rate(quote.rates, bucket).filter(|_| !unknown)
}

/// A line of a bill: bucket, count, rate, amount in the period's currency.
pub type Line = (Bucket, u64, Option<Rate>, Result<Money, Unpriced>);

/// The lines of a usage; with the fee per request they add up to the price, to the last pico-unit.
pub fn lines<'a>(usage: &'a Usage, quote: &'a Quote<'a>) -> impl Iterator<Item = Line> + 'a {
    usage.parts().map(move |(bucket, count)| match rated(quote, bucket) {
        Some(rate) => (bucket, count, Some(rate), Ok(rate.cost(count))),
        None => (bucket, count, None, Err(Unpriced::NoRate(bucket))),
    })
}

#[cfg(test)]
mod tests;
