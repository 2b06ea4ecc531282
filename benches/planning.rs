//! What a decision costs: 20 targets, 10 routes with conditions of which the last holds.
//!
//! Instructions, which no other load disturbs: `valgrind --tool=callgrind` over this program with `--bench --profile-time 1`,
//! then the inclusive cost of `one_decision` by its calls.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

#[path = "../tests/planning/market.rs"]
mod market;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use stellwerk::catalogue::Catalogue;
use stellwerk::domain::target::{Signal, UnixMillis};
use stellwerk::policy::{Ask, Decision, Dice, Policy, plan};

/// A frame of its own, to be found by a profiler.
#[inline(never)]
fn one_decision(policy: &Policy, catalogue: &Catalogue, dice: u64) -> Decision {
    let at = UnixMillis(1_795_500_000_000);
    let ask = Ask { input_tokens: 1_000, max_output: Some(500), stream: true, ..Ask::of(black_box("auto"), at) };
    plan(policy, catalogue, &ask, &|_| Signal::COLD, Dice(dice))
}

fn decide(c: &mut Criterion) {
    for (eu, us) in [(20, 0), (10, 10), (2, 18)] {
        let catalogue = market::catalogue(eu, us);
        let policy = market::policy(&catalogue);
        assert_eq!(one_decision(&policy, &catalogue, 7).admitted.len(), eu);
        c.bench_function(&format!("plan: 10 routes with conditions, 20 targets, {us} rejected"), |b| {
            b.iter(|| one_decision(&policy, &catalogue, black_box(7)));
        });
    }
}

criterion_group!(benches, decide);
criterion_main!(benches);
