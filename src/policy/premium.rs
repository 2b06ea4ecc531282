//! What residency costs: the cheapest admitted target against the cheapest one that only residency keeps out.

use super::{Ask, Decision, Lossy, Market, Requirement};
use crate::domain::id::TargetId;
use crate::domain::money::Money;
use crate::domain::plan::WHOLE_OPERATION;
use crate::domain::target::{Capability, Target};
use crate::domain::usage::{Bucket, Usage};

/// What the residency requirements of a request cost. The same tokens are priced at both targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Premium {
    /// Cheapest admitted less cheapest overall; zero where nothing cheaper is kept out.
    pub over: Money,
    /// The cheaper target that is kept out; none where there is none.
    pub cheapest: Option<TargetId>,
}

/// The residency premium of a decision. None: nothing is admitted, no price is known, or residency is not asked for.
#[must_use]
pub fn premium(decision: &Decision, market: &dyn Market, ask: &Ask<'_>) -> Option<Premium> {
    let asked = &decision.requirement;
    let facts = asked.processing.is_some() || asked.operator.is_some() || asked.parent.is_some();
    let handling = asked.retention_days.is_some() || asked.training.is_some() || asked.min_guarantee.is_some();
    if !facts && !handling {
        return None;
    }
    let priced = decision.admitted.iter().filter_map(|c| Some((c.expected_cost?, c.expected_output, c.expected_input)));
    let (least, output, (input, cached)) = priced.min()?;
    let usage = Usage::ZERO.with(Bucket::Input, input - cached.min(input)).with(Bucket::CacheRead, cached.min(input));
    let usage = usage.with(Bucket::Output, output);
    let quality = Requirement { min_tier: asked.min_tier.clone(), ..Requirement::ANY };
    let kept_out = decision.rejected.iter().filter(|rejection| rejection.reason.is_residency());
    let kept_out = kept_out.filter_map(|rejection| market.targets().get(rejection.target.index()));
    let usable = kept_out.filter(|target| {
        target.configured && quality.check(target, market, decision.at).is_ok() && carries(target, ask, decision.lossy)
    });
    let cheapest = usable
        .filter_map(|target| {
            Some((
                market.price_in(target.served(decision.service, ask.dialect), target, &usage, decision.at)?,
                target.id,
            ))
        })
        .min();
    Some(match cheapest.filter(|(price, _)| *price < least) {
        Some((price, target)) => Premium { over: least.checked_sub(price)?, cheapest: Some(target) },
        None => Premium { over: Money::ZERO, cheapest: None },
    })
}

/// Whether a target could have carried the request.
pub(super) fn carries(target: &Target, ask: &Ask<'_>, lossy: Lossy) -> bool {
    let needs = ask.needs.with(ask.operation.capability());
    let needs = if ask.stream { needs.with(Capability::Stream) } else { needs };
    let asked = ask.max_output.unwrap_or(1).max(1);
    target.supports.missing(needs).is_none()
        && target.max_output.is_none_or(|has| asked <= has)
        && target.context.is_none_or(|has| ask.input_tokens.saturating_add(asked) <= has)
        && match (ask.inexpressible)(target.spoken(ask.dialect)).first() {
            Some(name) => lossy == Lossy::Allow && name != WHOLE_OPERATION,
            None => true,
        }
}
