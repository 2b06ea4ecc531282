//! Shadow runs: a sample of a route's requests also goes to another target, whose answers nobody gets and which are
//! compared. What may be sent there is decided like everything else: by the requirements of the very request.

use super::premium::carries;
use super::raw::RawShadow;
use super::{Ask, Decision, Dice, Market, Requirement};
use crate::domain::id::TargetId;
use crate::domain::money::Money;
use crate::domain::target::{Health, Signal, Target};
use crate::domain::usage::{Bucket, Usage};

/// The shadow of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Where sampled requests go besides.
    pub target: TargetId,
    /// How many of a million requests.
    pub sample_ppm: u32,
    /// Most that it may cost on a day in UTC.
    pub per_day: Money,
}

/// A request that goes to its route's shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// Where to.
    pub target: TargetId,
    /// What it is expected to cost there.
    pub expected_cost: Money,
    /// The output limit, per answer.
    pub max_output: Option<u64>,
    /// Most that the route's shadow may cost on a day.
    pub per_day: Money,
}

impl Shadow {
    /// Whether a decided request goes to the shadow as well: it is drawn, the target is not the one that would answer,
    /// fulfils the same requirements, can carry the request, is up, and has a known price.
    pub(super) fn of(
        &self,
        decision: &Decision,
        market: &dyn Market,
        ask: &Ask<'_>,
        signals: &dyn Fn(TargetId) -> Signal,
        dice: Dice,
    ) -> Option<Shadowed> {
        let first = decision.admitted.first().filter(|first| first.target != self.target)?;
        if !drawn(dice, self.sample_ppm) {
            return None;
        }
        let target = market.targets().get(self.target.index())?;
        let serves = target.configured && target.is_available(ask.at);
        let fits = decision.requirement.check(target, market, ask.at).is_ok() && carries(target, ask, decision.lossy);
        if !serves || !fits || !matches!(signals(self.target).state, Health::Up) {
            return None;
        }
        let max_output = ask.max_output.or(first.max_output).or(target.max_output);
        let expected_cost = cost(&decision.requirement, market, target, ask, max_output)?;
        Some(Shadowed { target: self.target, expected_cost, max_output, per_day: self.per_day })
    }
}

/// What the request is expected to cost there; none = not known, or more than the request may.
fn cost(
    requirement: &Requirement,
    market: &dyn Market,
    target: &Target,
    ask: &Ask<'_>,
    max_output: Option<u64>,
) -> Option<Money> {
    let each = u64::from(target.prior.output_tokens).min(max_output.unwrap_or(u64::MAX));
    let output = each.saturating_mul(u64::from(ask.choices.max(1)));
    let usage = Usage::ZERO.with(Bucket::Input, ask.input_tokens).with(Bucket::Output, output);
    let expected = market.price_in(target.served(ask.service, ask.dialect), target, &usage, ask.at)?;
    requirement.max_cost.is_none_or(|limit| expected <= limit).then_some(expected)
}

/// Whether a request is in the sample. Zero is no throw: nothing is drawn then.
fn drawn(dice: Dice, ppm: u32) -> bool {
    // Other bits than those that break near-ties (splitmix64).
    let mut z = dice.0.wrapping_add(0x5AAD_0E5A_3B1E_D00D);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    dice.0 != 0 && (u128::from(z) * 1_000_000) >> 64 < u128::from(ppm)
}

/// What a route says of its shadow, read: parts per million, and money a day.
pub(super) fn read(raw: &RawShadow) -> (Result<u32, String>, Result<Money, String>) {
    let sample = *raw.sample.get_ref();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a million")]
    let ppm = if sample > 0.0 && sample <= 1.0 { Some((sample * 1e6).round() as u32) } else { None };
    let ppm = ppm.filter(|ppm| *ppm > 0);
    let ppm = ppm.ok_or_else(|| format!("`{sample}` is no share: from 0.000001 to 1, 0.02 is two of a hundred"));
    let text = raw.max_cost.get_ref();
    let bad = || format!("`{text}` is no limit such as \"5 USD/day\"");
    let per_day = text.trim().strip_suffix("/day").ok_or_else(bad).and_then(super::text::money);
    (ppm, per_day)
}
