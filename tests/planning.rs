//! What a decision allocates: nothing for a target that is rejected, however many there are.

#![allow(clippy::unwrap_used, reason = "tests may fail loudly")]

#[path = "planning/market.rs"]
mod market;

use stellwerk::domain::target::{Signal, UnixMillis};
use stellwerk::policy::{Ask, Dice, plan};

/// Allocations of one decision where so many targets are rejected, and how many those were.
fn allocations(rejected: usize) -> (u64, usize) {
    let catalogue = market::catalogue(3, rejected);
    let policy = market::policy(&catalogue);
    let mut decision = None;
    let measured = allocation_counter::measure(|| {
        let ask = Ask { input_tokens: 1_000, max_output: Some(500), ..Ask::of("auto", UnixMillis(1_795_500_000_000)) };
        decision = Some(plan(&policy, &catalogue, &ask, &|_| Signal::COLD, Dice(7)));
    });
    let decision = decision.unwrap();
    assert_eq!(&*decision.route, "r9");
    assert_eq!(decision.admitted.len(), 3);
    (measured.count_total, decision.rejected.len())
}

#[test]
fn a_rejected_target_costs_no_allocation() {
    let (few, many) = (allocations(4), allocations(64));
    assert_eq!((few.1, many.1), (4, 64));
    assert_eq!(few.0, many.0, "allocations with 4 and with 64 rejected targets");
}
