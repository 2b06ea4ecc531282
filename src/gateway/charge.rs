//! Usage as money: what an attempt costs, and what the baseline would have.

use std::sync::Arc;

use super::snapshot::Snapshot;
use crate::catalogue::Target;
use crate::domain::receipt::{BaselineCharge, BaselineRecord, ChargeRecord, Original};
use crate::domain::usage::{Bucket, Usage};
use crate::policy::Baseline;
use crate::pricing::{self, Charge, When};

/// What so much usage costs at a target.
pub(super) fn charge(snapshot: &Snapshot, target: &Target, usage: &Usage, when: When) -> ChargeRecord {
    if usage.is_zero() {
        return ChargeRecord::Nothing;
    }
    match pricing::price(usage, &target.prices, when, snapshot.fx()) {
        Charge::Priced(priced) => ChargeRecord::Priced {
            usd: priced.usd,
            original: priced.original.map(|(amount, rate)| Original {
                amount,
                currency: rate.currency.code().into(),
                rate_nanos: rate.nanos,
                rate_date: rate.from,
            }),
            price_id: priced.price_id,
        },
        Charge::Unpriced(unpriced) => ChargeRecord::Unpriced { reason: unpriced.label() },
    }
}

/// What it would have cost at the baseline.
pub(super) fn baseline(snapshot: &Snapshot, baseline: &Baseline, usage: &Usage, when: When) -> BaselineRecord {
    let target = snapshot.catalogue.target(baseline.target);
    let at = baseline.price_as_of.map_or(when, When::at);
    let (input, output) = split(usage);
    let tokens = usage.input_tokens();
    let price = |part: &Usage, fee| pricing::price_part(part, tokens, fee, &target.prices, at, snapshot.fx());
    let charge = match (price(&input, true), price(&output, false)) {
        (Charge::Priced(i), Charge::Priced(o)) => {
            BaselineCharge::Priced { input: i.usd, output: o.usd, price_id: i.price_id }
        }
        (Charge::Unpriced(reason), _) | (_, Charge::Unpriced(reason)) => {
            BaselineCharge::Unpriced { reason: reason.label() }
        }
    };
    BaselineRecord {
        target: Arc::clone(&baseline.name),
        price_as_of: baseline.price_as_of,
        retired: target.available_to.filter(|to| *to <= when.start),
        charge,
    }
}

/// Input parts and output parts.
fn split(usage: &Usage) -> (Usage, Usage) {
    let (mut input, mut output) = (Usage::ZERO, Usage::ZERO);
    for (bucket, count) in usage.parts() {
        let side = if bucket.is_input() || bucket == Bucket::Search { &mut input } else { &mut output };
        side.set(bucket, count);
    }
    (input, output)
}
