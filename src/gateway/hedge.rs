//! Hedging: when the first frame of a stream does not come in time, a second target is asked too, once, within the
//! route's limit on cost and the gateway's retry budget. The first good frame wins; the other attempt is hung up, and its
//! row says so.
//!
//! Only streams: another answer shows nothing until it is whole, so a slow one and a long one look alike.

use std::time::Duration;

use super::dispatch::{Answer, Dispatch, Failed, Stop};
use super::settle::Settlement;
use crate::domain::id::TargetId;
use crate::domain::target::Health;
use crate::policy::{Candidate, HedgeAfter, Ticket};

/// What came of one attempt, or of two at once.
pub(super) struct Tried {
    /// The admitted target that answered; where none did, the first.
    pub number: usize,
    /// Which that is.
    pub target: TargetId,
    /// The admitted target that was asked as well.
    pub second: Option<usize>,
    pub outcome: Outcome,
}

type Outcome = Result<(Answer, Vec<String>), Stop>;

enum Raced {
    First(Outcome),
    Second(Outcome),
}

impl Dispatch {
    /// Makes an attempt; `hedged`: whether another may be made beside it. `made`: attempts before it.
    pub(super) async fn tried(
        &self,
        (number, candidate): (usize, &Candidate),
        ticket: Ticket,
        (made, after): (u8, usize),
        hedged: bool,
        settlement: &mut Settlement,
    ) -> Tried {
        let target = candidate.target;
        let Some(delay) = self.hedge_delay(candidate).filter(|_| hedged) else {
            let outcome = self.attempt(candidate, ticket, after, settlement).await;
            return Tried { number, target, second: None, outcome };
        };
        let mut twin = settlement.twin();
        let mut first = Box::pin(self.attempt(candidate, ticket, after, settlement));
        tokio::select! {
            biased;
            outcome = &mut first => return Tried { number, target, second: None, outcome },
            () = tokio::time::sleep(delay) => {}
        }
        let Some((other, ticket)) = self.second(number, made + 1) else {
            let outcome = first.await;
            return Tried { number, target, second: None, outcome };
        };
        let twins = &self.decision.admitted[other];
        let mut second = Box::pin(self.attempt(twins, ticket, 0, &mut twin));
        let raced = tokio::select! {
            biased;
            outcome = &mut first => Raced::First(outcome),
            outcome = &mut second => Raced::Second(outcome),
        };
        let (number, outcome) = match raced {
            Raced::First(Ok(answer)) => {
                drop((first, second));
                twin.beaten();
                (number, Ok(answer))
            }
            Raced::Second(Ok(answer)) => {
                drop((first, second));
                settlement.beaten();
                settlement.goes_on_as(twin);
                (other, Ok(answer))
            }
            Raced::First(Err(stop)) => {
                let outcome = second.await;
                drop(first);
                close(&stop, settlement);
                settlement.goes_on_as(twin);
                (other, outcome)
            }
            Raced::Second(Err(stop)) => {
                drop(second);
                close(&stop, &mut twin);
                let outcome = first.await;
                (number, outcome)
            }
        };
        self.shared.metrics.hedged(if number == other && outcome.is_ok() { "won" } else { "lost" });
        let target = if number == other { twins.target } else { target };
        Tried { number, target, second: Some(other), outcome }
    }

    fn hedge_delay(&self, candidate: &Candidate) -> Option<Duration> {
        let hedge = self.decision.hedge.filter(|_| self.call.envelope.stream)?;
        match hedge.after {
            HedgeAfter::Fixed(delay) => Some(delay),
            HedgeAfter::P95 => candidate.ttft_p95_ms.map(|ms| Duration::from_millis(u64::from(ms))),
        }
    }

    /// Leave to ask another target as well.
    fn second(&self, number: usize, made: u8) -> Option<(usize, Ticket)> {
        let now = self.shared.now();
        let signals = |id| self.snapshot.signal(id, self.load(), now);
        let up = |candidate: &Candidate| signals(candidate.target).state == Health::Up;
        let found = self.decision.second(number, made, &up, &*self.snapshot.catalogue, &signals, now)?;
        self.may_retry(now).then_some(found)
    }
}

/// Ends an attempt that failed while another was going on.
fn close(stop: &Stop, settlement: &mut Settlement) {
    if let Stop::Failed(failed) = stop {
        let Failed { failure, observed, other_key } = &**failed;
        settlement.attempt_failed(failure, observed, *other_key);
    }
}
