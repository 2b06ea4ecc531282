//! Watches a stream that passes through: usage, the end, errors, and what an end of our own making must continue.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use super::decode::truncated;
use super::response::{Head, ResponseOut, State};
use super::types::{TapEvent, searches};
use super::{Family, MAX_EVENT};
use crate::dialect::common::write_data;
use crate::dialect::gate::{Gate, Verdict};
use crate::dialect::{MOST_STORED, Observed, Tap};
use crate::domain::chat::ChatRequest;
use crate::domain::error::{Error, Failure, FailureKind};
use crate::domain::price::ServiceTier;

/// Lets whole events through and measures them.
pub(super) struct Watch {
    gate: Gate,
    meter: Meter,
}

#[derive(Default)]
struct Meter {
    observed: Observed,
    searches: u64,
    /// The number of the next event.
    next: u64,
    id: String,
    created: i64,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { gate: Gate::new(MAX_EVENT), meter: Meter::default() }
    }
}

impl Tap for Watch {
    fn chunk(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<(), Failure> {
        let Self { gate, meter } = self;
        gate.chunk(chunk, out, &mut |event| meter.event(event.data))
    }

    fn end(&mut self, out: &mut Vec<Bytes>) -> Result<(), Failure> {
        let Self { gate, meter } = self;
        gate.end(&mut |event| meter.event(event.data))?;
        if !self.meter.observed.finished {
            return Err(truncated());
        }
        self.gate.release(out);
        Ok(())
    }

    /// Continues the numbers and the id of the stream that broke. What was asked is not known here.
    fn broken(&mut self, error: &Error) -> Bytes {
        #[derive(Serialize)]
        struct Event<'a> {
            r#type: &'static str,
            sequence_number: u64,
            response: ResponseOut<'a>,
        }
        let request = ChatRequest::default();
        let (meter, id) = (&self.meter, if self.meter.id.is_empty() { "resp_0" } else { &self.meter.id });
        let model = meter.observed.model.as_deref().unwrap_or_default();
        let head = Head { id, created: meter.created, model, service_tier: None };
        let response = ResponseOut::new(head, &request, State::Failed(error), &[], None);
        let event = Event { r#type: "response.failed", sequence_number: meter.next, response };
        let mut out = BytesMut::from(&b"event: response.failed\ndata: "[..]);
        write_data(&mut out, &event);
        out.freeze()
    }

    fn observed(&self) -> &Observed {
        &self.meter.observed
    }
}

impl Meter {
    /// Reads one event. What cannot be read is left to the client to judge.
    fn event(&mut self, data: &str) -> Result<Verdict, Failure> {
        // The mark of another dialect, which some end with.
        if data.trim() == "[DONE]" {
            return Ok(Verdict::Drop);
        }
        let Ok(event) = serde_json::from_str::<TapEvent<'_>>(data) else { return Ok(Verdict::Pass) };
        self.next = event.sequence_number.unwrap_or(self.next).saturating_add(1);
        if let Some(delta) = event.delta {
            self.content(delta.get().len().saturating_sub(2));
            return Ok(Verdict::Pass);
        }
        match &*event.r#type {
            "error" => return Err(Family::inside(data)),
            "" if event.error.is_some() => return Err(Family::inside(data)),
            "response.output_item.added" => self.content(0),
            "response.output_item.done" => {
                self.content(0);
                if let Some(item) = event.item {
                    self.stored(item.id);
                    self.searches = self.searches.saturating_add(searches(&item.r#type, item.action));
                }
            }
            "response.failed" | "response.cancelled" => {
                // What was used until then is paid for.
                let told = event.response.as_ref().and_then(|response| response.usage.as_ref());
                self.observed.usage = told.and_then(|usage| usage.buckets(self.searches));
                let error = event.response.and_then(|response| response.error);
                let unnamed = || Failure::new(FailureKind::Upstream, "the provider gave up");
                return Err(error.map_or_else(unnamed, |error| Family::inside(error.get())));
            }
            kind => {
                let last = matches!(kind, "response.completed" | "response.incomplete");
                if let Some(response) = event.response {
                    if self.observed.model.is_none() {
                        let model = response.model.filter(|model| !model.is_empty());
                        self.observed.model = model.map(std::borrow::Cow::into_owned);
                    }
                    if let Some(id) = response.id.filter(|_| self.id.is_empty()) {
                        self.id = id.into_owned();
                        let id = Some(Cow::Owned(self.id.clone()));
                        self.stored(id);
                    }
                    #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970")]
                    let created = response.created_at.map(|seconds| seconds as i64);
                    self.created = created.unwrap_or(self.created);
                    if last {
                        self.observed.service = response.service_tier.as_deref().and_then(ServiceTier::read);
                    }
                    if let Some(usage) = response.usage.filter(|_| last) {
                        self.observed.usage = usage.buckets(self.searches);
                    }
                }
                self.observed.finished |= last;
                self.observed.ended |= last;
                self.observed.began |= last;
                if last {
                    return Ok(Verdict::Last);
                }
            }
        }
        Ok(Verdict::Pass)
    }

    fn stored(&mut self, id: Option<Cow<'_, str>>) {
        let stored = &mut self.observed.stored;
        stored.extend(id.filter(|id| !id.is_empty() && stored.len() < MOST_STORED).map(|id| id.into_owned().into()));
    }

    fn content(&mut self, bytes: usize) {
        self.observed.began = true;
        self.observed.output_bytes = self.observed.output_bytes.saturating_add(bytes as u64);
    }
}
