//! A streamed answer on its way to the client: what was read before the head went out, then the rest, then settlement.
//!
//! The relay is the response body, so hyper polls it as fast as the client reads: a slow client slows the upstream and
//! nothing is buffered without bound. When the client goes away, hyper drops the relay, and the drop settles.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use super::body::Cut;
use super::cost::CostNote;
use super::pump::{Pump, Step};
use super::settle::Settled;
use super::settle::Settlement;
use super::told::broke;
use crate::cache::{Entry, Lead, MAX_ENTRY};
use crate::domain::error::{Failure, FailureKind};
use crate::domain::plan::Timeouts;
use crate::domain::receipt::Outcome;

/// A stream that settles itself: at its end, at its failure, or when it is dropped.
pub struct Relay {
    /// There until it is settled or drained.
    pump: Option<Pump>,
    pending: VecDeque<Bytes>,
    note: Option<CostNote>,
    settlement: Option<Settlement>,
    recorder: Option<Recorder>,
    timeouts: Timeouts,
    deadline: Instant,
    clock: Clock,
    /// It broke and could not say so.
    cut: bool,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("pump", &self.pump).field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

impl Relay {
    pub(super) fn new(
        pump: Pump,
        pending: VecDeque<Bytes>,
        note: Option<CostNote>,
        settlement: Settlement,
        recorder: Option<Recorder>,
        timeouts: Timeouts,
        deadline: Instant,
    ) -> Self {
        Self {
            pump: Some(pump),
            pending,
            note,
            settlement: Some(settlement),
            recorder,
            timeouts,
            deadline,
            clock: Clock::new(timeouts, deadline),
            cut: false,
        }
    }

    /// The next bytes for the client; none at the end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        loop {
            if let Some(bytes) = self.pending.pop_front() {
                if let Some(recorder) = &mut self.recorder {
                    recorder.push(&bytes);
                }
                return Poll::Ready(Some(Ok(bytes)));
            }
            if std::mem::take(&mut self.cut) {
                return Poll::Ready(Some(Err(Cut)));
            }
            if self.settlement.is_none() {
                return Poll::Ready(None);
            }
            let Some(pump) = &mut self.pump else { return Poll::Ready(None) };
            let from = self.pending.len();
            let step = pump.poll_step(cx, &mut self.pending);
            if let Some(note) = &self.note {
                note.add(pump.observed().usage, &mut self.pending, from);
            }
            match step {
                Poll::Ready(Step::More) => self.clock.alive(),
                Poll::Ready(Step::End) => self.finish(),
                Poll::Ready(Step::Failed(failure)) => self.fail(failure),
                Poll::Pending => match self.clock.poll(cx) {
                    Poll::Ready(Tick::Late(message)) => self.fail(Failure::new(FailureKind::Timeout, message)),
                    // Thinking models are silent for minutes; what stands between would hang up.
                    Poll::Ready(Tick::Quiet) => self.pending.extend(pump.ping()),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    /// The good end. The last bytes may still be pending; they are recorded before the answer is cached.
    fn finish(&mut self) {
        let (Some(settlement), Some(pump)) = (self.settlement.take(), self.pump.take()) else { return };
        let observed = pump.observed();
        let settled = settlement.streamed(Outcome::Completed, &observed, None);
        if let Some(mut recorder) = self.recorder.take() {
            self.pending.iter().for_each(|bytes| recorder.push(bytes));
            recorder.keep(&settled);
        }
    }

    /// The answer broke after it began: the client is told in its own dialect, never shown a clean end.
    fn fail(&mut self, failure: Failure) {
        let (Some(mut settlement), Some(mut pump)) = (self.settlement.take(), self.pump.take()) else { return };
        self.recorder = None;
        let error = broke(&failure);
        settlement.told(&error);
        let words = pump.broken(&error);
        self.cut = words.is_empty();
        self.pending.extend((!words.is_empty()).then_some(words));
        let observed = pump.observed();
        settlement.streamed(Outcome::Truncated(failure.kind), &observed, Some(failure));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let (Some(settlement), Some(pump)) = (self.settlement.take(), self.pump.take()) else { return };
        // Dropping the pump hangs up. Where the provider bills on regardless, the rest is read to learn the true
        // usage; a bounded number of such readers at once, the others are settled by estimate.
        match settlement.drain_permit().zip(tokio::runtime::Handle::try_current().ok()) {
            Some((permit, runtime)) => {
                let clock = Clock::new(self.timeouts, self.deadline);
                runtime.spawn(drain(pump, settlement, clock, permit));
            }
            None => {
                let observed = pump.observed();
                settlement.streamed(Outcome::Cancelled, &observed, None);
            }
        }
    }
}

/// Reads an answer that nobody waits for to its end, within the limits that hold for any answer.
async fn drain(mut pump: Pump, settlement: Settlement, mut clock: Clock, permit: OwnedSemaphorePermit) {
    let mut unread = VecDeque::new();
    let ending = settlement.ending();
    loop {
        let step = std::future::poll_fn(|cx| match pump.poll_step(cx, &mut unread) {
            Poll::Pending => loop {
                match clock.poll(cx) {
                    Poll::Ready(Tick::Quiet) => {}
                    Poll::Ready(Tick::Late(_)) => return Poll::Ready(Step::End),
                    Poll::Pending => return Poll::Pending,
                }
            },
            ready => ready,
        });
        let step = tokio::select! {
            step = step => step,
            () = ending.cancelled() => Step::End,
        };
        match step {
            Step::More => clock.alive(),
            Step::End | Step::Failed(_) => break,
        }
        unread.clear();
    }
    let observed = pump.observed();
    settlement.streamed(Outcome::Cancelled, &observed, None);
    drop(permit);
}

/// How long a stream may be silent before the client gets a sign of life.
const QUIET: Duration = Duration::from_secs(15);

/// What the time says.
enum Tick {
    /// The upstream has been silent for a while.
    Quiet,
    /// A limit is over; which.
    Late(&'static str),
}

/// Idle and total limits with one timer that is moved only when it fires, not with every chunk.
struct Clock {
    idle: Duration,
    deadline: Instant,
    last: Instant,
    /// When the last sign of life went out.
    sign: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Clock {
    fn new(timeouts: Timeouts, deadline: Instant) -> Self {
        let now = Instant::now();
        let sleep = Box::pin(tokio::time::sleep_until(deadline.min(now + timeouts.idle.min(QUIET))));
        Self { idle: timeouts.idle, deadline, last: now, sign: now, sleep }
    }

    fn alive(&mut self) {
        self.last = Instant::now();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Tick> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now >= self.deadline {
                return Poll::Ready(Tick::Late("the answer took longer than the total limit"));
            }
            if now >= self.last + self.idle {
                return Poll::Ready(Tick::Late("the upstream was silent for longer than the idle limit"));
            }
            let heard = self.sign.max(self.last);
            let quiet = now >= heard + QUIET;
            if quiet {
                self.sign = now;
            }
            let next = self.deadline.min(self.last + self.idle).min(self.sign.max(self.last) + QUIET);
            self.sleep.as_mut().reset(next);
            if quiet {
                return Poll::Ready(Tick::Quiet);
            }
        }
        Poll::Pending
    }
}

/// Keeps a copy of an answer for the cache; gives up when it grows too large.
pub(super) struct Recorder {
    lead: Lead,
    ttl: Duration,
    content_type: &'static str,
    dropped: Vec<String>,
    copy: Option<Vec<u8>>,
}

impl Recorder {
    /// For a stream.
    pub(super) fn stream(lead: Lead, ttl: Duration, content_type: &'static str, dropped: Vec<String>) -> Self {
        Self { lead, ttl, content_type, dropped, copy: Some(Vec::new()) }
    }

    /// For a whole answer.
    pub(super) fn whole(
        lead: Lead,
        ttl: Duration,
        content_type: &'static str,
        dropped: Vec<String>,
        body: &Bytes,
    ) -> Self {
        let mut recorder = Self::stream(lead, ttl, content_type, dropped);
        recorder.push(body);
        recorder
    }

    fn push(&mut self, bytes: &Bytes) {
        if let Some(copy) = &mut self.copy {
            if copy.len() + bytes.len() > MAX_ENTRY {
                self.copy = None;
            } else {
                copy.extend_from_slice(bytes);
            }
        }
    }

    /// The answer is whole: later equal requests may have it.
    pub(super) fn keep(self, settled: &Settled) {
        if let (Some(copy), Some(target)) = (self.copy, &settled.target) {
            let body = Bytes::from(copy);
            let entry = Entry {
                body,
                content_type: self.content_type,
                target: target.clone(),
                dropped: self.dropped,
                cost: settled.cost,
                ttl: self.ttl,
            };
            self.lead.fill(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(idle: u64, total: u64) -> Clock {
        let timeouts = Timeouts { idle: Duration::from_secs(idle), ..Timeouts::default() };
        Clock::new(timeouts, Instant::now() + Duration::from_secs(total))
    }

    async fn ticks(clock: &mut Clock) -> (usize, &'static str) {
        let mut quiet = 0;
        loop {
            match std::future::poll_fn(|cx| clock.poll(cx)).await {
                Tick::Quiet => quiet += 1,
                Tick::Late(why) => return (quiet, why),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_filled_until_a_limit_is_over() {
        let began = Instant::now();
        let (quiet, why) = ticks(&mut limits(60, 900)).await;
        assert_eq!((quiet, began.elapsed().as_secs()), (3, 60), "at 15, 30 and 45 seconds: {why}");
        let began = Instant::now();
        let (quiet, why) = ticks(&mut limits(600, 100)).await;
        assert_eq!((quiet, began.elapsed().as_secs()), (6, 100), "{why}");
        assert!(why.contains("total"), "{why}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_speaks_is_left_alone() {
        let mut clock = limits(60, 900);
        for _ in 0..10 {
            let polled = tokio::time::timeout(Duration::from_secs(10), std::future::poll_fn(|cx| clock.poll(cx))).await;
            assert!(polled.is_err(), "no sign of life is needed");
            clock.alive();
        }
    }
}
