//! The cost of a stream inside its usage report, for clients that ask (`x-stellwerk-usage: cost`).
//!
//! A stream's cost is known with its usage, long after the head went out. The note is put into the usage object of
//! whatever dialect the stream has, so nothing else of a frame changes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;

use super::snapshot::Snapshot;
use crate::domain::id::TargetId;
use crate::domain::money::Money;
use crate::domain::price::ServiceTier;
use crate::domain::usage::Usage;
use crate::policy::Baseline;
use crate::pricing::{self, Charge, When};

/// Prices the current attempt's usage before the request is settled.
pub(super) struct Pricer {
    snapshot: Arc<Snapshot>,
    target: TargetId,
    baseline: Option<Baseline>,
    when: When,
}

impl Pricer {
    /// For an attempt at a target.
    pub(super) fn new(snapshot: Arc<Snapshot>, target: TargetId, baseline: Option<Baseline>, when: When) -> Self {
        Self { snapshot, target, baseline, when }
    }

    /// What so much usage costs at the target and at the baseline, where known.
    pub(super) fn price(&self, usage: &Usage) -> (Option<Money>, Option<Money>) {
        let at = |target: TargetId, when: When| {
            let prices = &self.snapshot.catalogue.target(target).prices;
            match pricing::price(usage, prices, when, self.snapshot.fx()) {
                Charge::Priced(priced) => Some(priced.usd),
                Charge::Unpriced(_) => None,
            }
        };
        let standard = When { service: ServiceTier::Standard, ..self.when };
        let baseline = self.baseline.as_ref();
        let baseline = baseline.and_then(|b| at(b.target, b.price_as_of.map_or(standard, When::at)));
        (at(self.target, self.when), baseline)
    }
}

/// Members that hold usage in the client dialects. Inside a JSON string the quotes would be escaped, so these texts
/// occur as members only.
const MEMBERS: [&[u8]; 2] = [b"\"usage\"", b"\"usageMetadata\""];

/// Adds the cost to usage reports.
pub(super) struct CostNote(pub Arc<Pricer>);

impl CostNote {
    /// Adds the note to the frames from that place on. Frames are whole.
    pub(super) fn add(&self, usage: Option<Usage>, frames: &mut VecDeque<Bytes>, from: usize) {
        let Some(usage) = usage else { return };
        for frame in frames.iter_mut().skip(from) {
            if let Some(noted) = noted(frame, || self.text(&usage)) {
                *frame = noted;
            }
        }
    }

    fn text(&self, usage: &Usage) -> String {
        let (cost, baseline) = self.0.price(usage);
        let money = |money: Option<crate::domain::money::Money>| {
            money.map_or_else(|| "null".to_owned(), |money| format!("\"{money}\""))
        };
        let (cost, baseline) = (money(cost), money(baseline));
        format!("\"stellwerk\":{{\"cost\":{cost},\"baseline_cost\":{baseline},\"currency\":\"USD\"}}")
    }
}

/// The frame with the note at the beginning of every usage object; none = it has no such object.
fn noted(frame: &[u8], text: impl Fn() -> String) -> Option<Bytes> {
    let places: Vec<usize> = MEMBERS.iter().flat_map(|member| objects(frame, member)).collect();
    let mut places = places;
    places.sort_unstable();
    if places.is_empty() {
        return None;
    }
    let text = text();
    let mut out = Vec::with_capacity(frame.len() + places.len() * (text.len() + 1));
    let mut from = 0;
    for at in places {
        out.extend_from_slice(&frame[from..at]);
        out.extend_from_slice(text.as_bytes());
        if frame[at..].trim_ascii_start().first() != Some(&b'}') {
            out.push(b',');
        }
        from = at;
    }
    out.extend_from_slice(&frame[from..]);
    Some(Bytes::from(out))
}

/// Places just after the opening brace of the member's object.
fn objects(frame: &[u8], member: &[u8]) -> Vec<usize> {
    let after = |at: usize| {
        let rest = frame[at + member.len()..].trim_ascii_start().strip_prefix(b":")?;
        let rest = rest.trim_ascii_start().strip_prefix(b"{")?;
        Some(frame.len() - rest.len())
    };
    memmem::find_iter(frame, member).filter_map(after).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(frame: &str) -> Option<String> {
        noted(frame.as_bytes(), || "\"n\":1".to_owned()).map(|b| String::from_utf8(b.to_vec()).unwrap())
    }

    #[test]
    fn only_usage_objects_are_noted() {
        assert_eq!(note("data: {\"usage\":{\"a\":2}}\n\n").unwrap(), "data: {\"usage\":{\"n\":1,\"a\":2}}\n\n");
        assert_eq!(note("{\"usageMetadata\" : { }}").unwrap(), "{\"usageMetadata\" : {\"n\":1 }}");
        assert_eq!(note("data: {\"usage\":null}\n\n"), None);
        assert_eq!(note("data: {\"text\":\"say \\\"usage\\\":{\"}\n\n"), None, "a quoted text is no member");
    }
}
