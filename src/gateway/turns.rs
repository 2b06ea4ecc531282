//! Whose turn it is: the admitted targets in order, and when all of them have failed, those that rest.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::Snapshot;
use super::{Shared, keys::Load};
use crate::domain::target::{Health, Rest, UnixMillis};
use crate::policy::{Decision, PATIENCE_MS};

/// No provider answers within less.
const SHORTEST: Duration = Duration::from_millis(20);

/// The turns of one request.
pub(super) struct Turns<'a> {
    shared: &'a Shared,
    snapshot: &'a Snapshot,
    decision: &'a Decision,
    /// When the whole request must be over, or its client will have left.
    deadline: Instant,
    next: usize,
    /// Those that rest, to be tried last.
    put_off: VecDeque<usize>,
}

enum Worth {
    Trying,
    /// Only where nothing else is left, and not before then.
    Last(UnixMillis),
    Nothing,
}

impl<'a> Turns<'a> {
    /// Before the first turn.
    pub(super) fn new(shared: &'a Shared, snapshot: &'a Snapshot, decision: &'a Decision, deadline: Instant) -> Self {
        Self { shared, snapshot, decision, deadline, next: 0, put_off: VecDeque::new() }
    }

    /// The number of the next candidate. `first`: nothing has been tried; what was planned a moment ago is then as
    /// planned. Waits for one whose provider asked for a short rest, where nothing else is left.
    pub(super) async fn next(&mut self, first: bool, load: Load<'_>) -> Option<usize> {
        while self.next < self.decision.admitted.len() {
            let number = self.next;
            self.next += 1;
            match if first { Worth::Trying } else { self.worth(number, load) } {
                Worth::Trying => return Some(number),
                Worth::Last(_) => self.put_off.push_back(number),
                Worth::Nothing => {}
            }
        }
        if self.next == self.decision.admitted.len() {
            self.put_off.extend(self.next..self.next + self.decision.reserve.len());
            self.next += 1;
        }
        while let Some(number) = self.put_off.pop_front() {
            match self.worth(number, load) {
                Worth::Trying => return Some(number),
                Worth::Last(from) => {
                    tokio::time::sleep(millis(from.0.saturating_sub(self.shared.now().0))).await;
                    return Some(number);
                }
                Worth::Nothing => {}
            }
        }
        None
    }

    /// How many more may be tried after this one, as far as can be told: all that rest count as one.
    pub(super) fn after(&self, number: usize) -> usize {
        let admitted = self.decision.admitted.len();
        let reserve = if self.next > admitted { 0 } else { self.decision.reserve.len() };
        admitted.saturating_sub(number + 1) + (self.put_off.len() + reserve).min(1)
    }

    /// Whether a further target is worth an attempt: a first frame can come in the time that is left, and it does not rest
    /// by now. A prior is no knowledge and forbids nothing; a guess of ours forbids nothing where nothing else is left,
    /// and what the provider asked for is waited for, if it is short.
    fn worth(&self, number: usize, load: Load<'_>) -> Worth {
        let Some(candidate) = self.decision.candidate(number) else { return Worth::Nothing };
        let now = self.shared.now();
        let rest = match self.snapshot.signal(candidate.target, load, now).state {
            Health::Down { until, rest } if until.is_none_or(|until| until > now) => {
                let until = until.unwrap_or(UnixMillis(i64::MAX));
                Some(if rest == Rest::Breaker { now } else { until })
            }
            _ => None,
        };
        let wait = rest.map_or(0, |until| until.0.saturating_sub(now.0));
        if wait > PATIENCE_MS {
            self.shared.metrics.retry_refused("down");
            return Worth::Nothing;
        }
        let first = Duration::from_millis(u64::from(candidate.ttft_ms.unwrap_or(0))).max(SHORTEST);
        if self.deadline.saturating_duration_since(Instant::now()) < first + millis(wait) {
            self.shared.metrics.retry_refused("deadline");
            return Worth::Nothing;
        }
        rest.map_or(Worth::Trying, Worth::Last)
    }
}

fn millis(wait: i64) -> Duration {
    Duration::from_millis(u64::try_from(wait).unwrap_or(0))
}
