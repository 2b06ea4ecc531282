//! One candidate against one request: what it would cost and take, or why it can't be used.

use std::sync::Arc;

use super::plan::{Ask, Candidate, Sealed};
use super::reason::Reason;
use super::{Lossy, Market, Pick, Preference, Requirement, Split};
use crate::domain::id::DialectId;
use crate::domain::money::Money;
use crate::domain::plan::{Operation, WHOLE_OPERATION};
use crate::domain::price::ServiceTier;
use crate::domain::target::{Capability, Health, Signal, Target, UnixMillis};
use crate::domain::usage::{Bucket, Usage};

/// What all candidates of one decision are held against.
pub(super) struct Examiner<'a> {
    pub(super) route: &'a str,
    pub(super) market: &'a dyn Market,
    pub(super) ask: &'a Ask<'a>,
    pub(super) requirement: &'a Requirement,
    pub(super) lossy: Lossy,
    pub(super) default_output: Option<u64>,
    pub(super) prefer: Preference,
    /// The shares of a weighted route and their ranks for this request.
    pub(super) ranks: Option<(&'a Split, &'a [usize])>,
    /// The first parameter that each dialect cannot express, once asked.
    pub(super) inexpressible: [Option<Option<Arc<str>>>; DialectId::COUNT],
}

impl Examiner<'_> {
    /// One candidate, through the stages of [`super::Stage`] in their order.
    pub(super) fn examine(&mut self, pick: Pick, signal: &Signal) -> Result<Candidate, Reason> {
        let (market, ask) = (self.market, self.ask);
        // A pick of another catalogue would be a defect of the caller; it is not dialled.
        let target = market.targets().get(pick.target.index()).ok_or(Reason::NotConfigured)?;
        in_service(target, ask.at)?;
        self.requirement.check(target, market, ask.at)?;
        let max_output = output_limit(target, ask, self.default_output);
        let (expected_input, each, expected_output) = expected_tokens(target, ask, self.route, max_output);
        let expected_cost = expected_cost(
            market,
            (target, target.served(ask.service, ask.dialect)),
            expected_input,
            expected_output,
            ask.at,
        );
        self.requirement.check_cost(expected_cost)?;
        if !target.is_usable(signal.own_key) {
            return Err(Reason::NotConfigured);
        }
        self.can_carry(target)?;
        let look = self.requirement.check_speed(signal)?;
        if let Health::Down { until, rest } = signal.state
            && until.is_none_or(|until| until > ask.at)
        {
            return Err(Reason::Down { until, rest });
        }
        let ttft = signal.ttft_ms.unwrap_or(target.prior.ttft_ms);
        let tpot = signal.tpot_us.unwrap_or(target.prior.tpot_us);
        let waits = |ttft: u32, tpot: u32| {
            // Several answers are written side by side, so their number does not lengthen the wait.
            let alone = u64::from(ttft).saturating_add(each.saturating_mul(u64::from(tpot)) / 1_000);
            alone.saturating_mul(u64::from(signal.crowd_permille.max(1_000))) / 1_000
        };
        let latency_ms = waits(ttft, tpot);
        let usual = signal.usual.map(|usual| waits(usual.ttft_ms.unwrap_or(target.prior.ttft_ms), usual.tpot_us));
        // The time per token of whole answers has all of it.
        let measured = signal.tpot_us.is_some() && (signal.ttft_ms.is_some() || !ask.stream);
        Ok(Candidate {
            target: pick.target,
            position: pick.position,
            expected_cost,
            expected_output,
            expected_input,
            max_output,
            latency_ms,
            measured: measured && !look,
            look,
            ttft_ms: signal.ttft_ms,
            ttft_p95_ms: signal.ttft_p95_ms,
            in_flight: signal.in_flight,
            score: self.score(pick, expected_cost, latency_ms),
            hope: usual.and_then(|usual| self.score(pick, expected_cost, usual)),
            sealed: Sealed,
        })
    }

    /// Whether the target can carry this very request.
    fn can_carry(&mut self, target: &Target) -> Result<(), Reason> {
        let ask = self.ask;
        let needs = ask.needs.with(ask.operation.capability());
        let needs = if ask.stream { needs.with(Capability::Stream) } else { needs };
        if let Some(missing) = target.supports.missing(needs) {
            return Err(Reason::Capability(missing));
        }
        // A route may do without parameters, never without the operation.
        if self.lossy == Lossy::Refuse || !matches!(ask.operation, Operation::Chat | Operation::Completions) {
            let spoken = target.spoken(ask.dialect);
            let slot = &mut self.inexpressible[spoken as usize];
            let first = slot.get_or_insert_with(|| (ask.inexpressible)(spoken).into_iter().next().map(Into::into));
            match first {
                Some(name) if **name == *WHOLE_OPERATION => return Err(Reason::Operation(ask.operation)),
                Some(name) if self.lossy == Lossy::Refuse => return Err(Reason::Parameter(Arc::clone(name))),
                Some(_) | None => {}
            }
        }
        if let (Some(asked), Some(has)) = (ask.max_output, target.max_output)
            && asked > has
        {
            return Err(Reason::Output { asked, has });
        }
        let needed = ask.input_tokens.saturating_add(ask.max_output.unwrap_or(1).max(1));
        match target.context {
            Some(has) if needed > has => Err(Reason::Context { needed, has }),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a target of number `home` is the best once its prompt is read from its cache.
    pub(super) fn worth_staying(&self, admitted: &[Candidate], home: usize) -> bool {
        let (Some(best), Some(candidate)) = (admitted.first(), admitted.get(home)) else { return false };
        let Preference::Exchange { second } = self.prefer else { return false };
        let Some(target) = self.market.targets().get(candidate.target.index()) else { return false };
        let output = candidate.expected_output;
        let usage = Usage::ZERO.with(Bucket::CacheRead, self.ask.input_tokens).with(Bucket::Output, output);
        let cached = self
            .market
            .price_in(target.served(self.ask.service, self.ask.dialect), target, &usage, self.ask.at)
            .or(candidate.expected_cost);
        let score = cached.map(|cost| exchanged(cost, candidate.latency_ms, second));
        home == 0 || score.zip(best.score).is_some_and(|(score, best)| score <= best)
    }

    fn score(&self, pick: Pick, cost: Option<Money>, latency_ms: u64) -> Option<i128> {
        match self.prefer {
            Preference::Exchange { second } => cost.map(|cost| exchanged(cost, latency_ms, second)),
            Preference::Fastest => Some(i128::from(latency_ms)),
            Preference::Listed => Some(i128::from(pick.position)),
            Preference::Weighted => {
                let (split, ranks) = self.ranks?;
                // Targets without a weight stand behind all that have one.
                let rank = split.group(pick.target).and_then(|group| ranks.get(group).copied());
                i128::try_from(rank.unwrap_or(ranks.len())).ok()
            }
        }
    }
}

/// Cost and waiting as one number, in pico-USD.
fn exchanged(cost: Money, latency_ms: u64, second: Money) -> i128 {
    // Reckoning in small numbers, which nearly all are, costs a tenth.
    let small = u64::try_from(second.pico()).ok().and_then(|second| second.checked_mul(latency_ms));
    let wide = || second.pico().saturating_mul(i128::from(latency_ms)) / 1_000;
    cost.pico().saturating_add(small.map_or_else(wide, |waiting| i128::from(waiting / 1_000)))
}

/// The output limit per answer. The client's is its own; the route's default is ours and gives way to what the model can do.
pub(super) fn output_limit(target: &Target, ask: &Ask<'_>, default: Option<u64>) -> Option<u64> {
    ask.max_output.or_else(|| {
        let room = target.context.map(|context| context.saturating_sub(ask.input_tokens));
        [default, target.max_output, room].into_iter().flatten().min()
    })
}

/// Tokens that are expected at a target: of the prompt with how many of them come from its cache, of each answer, and of all
/// answers.
pub(super) fn expected_tokens(
    target: &Target,
    ask: &Ask<'_>,
    route: &str,
    max_output: Option<u64>,
) -> ((u64, u64), u64, u64) {
    let expected = (ask.expect)(route, target);
    let each = u64::from(expected.output_tokens.unwrap_or(target.prior.output_tokens));
    let each = each.min(max_output.unwrap_or(u64::MAX));
    let input = per_million(ask.input_tokens, expected.input_ppm);
    let cached = per_million(input, expected.cached_ppm).min(input);
    ((input, cached), each, each.saturating_mul(u64::from(ask.choices.max(1))))
}

/// What so many tokens are expected to cost, in USD; none = not known.
/// `input`: tokens of prompt, and how many of them come from the cache.
pub(super) fn expected_cost(
    market: &dyn Market,
    (target, service): (&Target, ServiceTier),
    input: (u64, u64),
    output: u64,
    at: UnixMillis,
) -> Option<Money> {
    market.expected(service, target, (input.0, input.1.min(input.0)), output, at)
}

fn per_million(tokens: u64, ppm: u32) -> u64 {
    match ppm {
        0 => return 0,
        1_000_000 => return tokens,
        _ => {}
    }
    if let Some(small) = tokens.checked_mul(u64::from(ppm)) {
        return small / 1_000_000;
    }
    u64::try_from(u128::from(tokens) * u128::from(ppm) / 1_000_000).unwrap_or(u64::MAX)
}

pub(super) fn in_service(target: &Target, at: UnixMillis) -> Result<(), Reason> {
    if let Some(from) = target.available_from.filter(|from| *from > at) {
        return Err(Reason::NotYet { from });
    }
    target.available_to.filter(|to| *to <= at).map_or(Ok(()), |to| Err(Reason::Retired { to }))
}
