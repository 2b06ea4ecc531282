//! The streamed answer: a decoder into canonical events and a tap for streams that pass through.
//!
//! Both read the kind of an event from its data, as some relays lose the event names. The stop reason is held back
//! until `message_stop`, so that a stream which was spliced from two answers still ends once. `output_tokens` of
//! `message_start` is a placeholder and is ignored.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::response::{count, finish, malformed, redacted, usage};
use super::types::{MessageHead, StreamEvent, TapEvent, WireBlock, WireCitation, WireDelta, WireUsage};
use super::{MAX_EVENT, error};
use crate::dialect::gate::{Gate, Verdict};
use crate::dialect::{DecodeStream, Observed, Tap};
use crate::domain::chat::{ChatEvent, Part, Signature};
use crate::domain::error::{Error, Failure, FailureKind};
use crate::domain::id::DialectId;
use crate::domain::usage::Bucket;
use crate::wire::sse::{LineTooLong, SseDecoder};

/// Turns the provider's events into canonical ones.
pub(super) struct Decoder {
    sse: SseDecoder,
    answer: Answer,
    /// Set once: nothing is decoded after it.
    failure: Option<Failure>,
}

#[derive(Default)]
struct Answer {
    started: bool,
    /// Client tool calls whose block is open, by block index.
    open: BTreeMap<u64, OpenCall>,
    calls: u32,
    /// Characters of text so far, and where the open block of it began.
    chars: (u32, u32),
    /// What the open block cites: told when it closes, for only then its stretch is known.
    cited: Vec<WireCitation>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    done: bool,
    meter: Meter,
}

struct OpenCall {
    number: u32,
    /// Arguments given with the opening of the block; they count only when no deltas follow.
    input: Option<String>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { sse: SseDecoder::new(MAX_EVENT), answer: Answer::default(), failure: None }
    }
}

impl DecodeStream for Decoder {
    fn chunk(&mut self, chunk: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let (answer, failure) = (&mut self.answer, &mut self.failure);
        let framed = self.sse.push(chunk, &mut |event| {
            if failure.is_none() {
                *failure = answer.event(event.data, out).err();
            }
        });
        if framed.is_err() && self.failure.is_none() {
            self.failure = Some(too_long());
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn end(&mut self, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let (answer, failure) = (&mut self.answer, &mut self.failure);
        let framed = self.sse.finish(&mut |event| *failure = answer.event(event.data, out).err());
        match self.failure.take() {
            // A half-sent event is no sign of a wrong dialect, but of a cut.
            Some(half) if half.kind == FailureKind::Malformed => return Err(truncated()),
            Some(failure) => return Err(failure),
            None => framed.map_err(|LineTooLong| too_long())?,
        }
        self.answer.finish(out);
        if !self.answer.done {
            return Err(truncated());
        }
        out.push(ChatEvent::End);
        Ok(())
    }

    fn observed(&self) -> &Observed {
        &self.answer.meter.observed
    }
}

impl Answer {
    fn event(&mut self, data: &str, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if self.done || skippable(data) {
            return Ok(());
        }
        let event: StreamEvent<'_> = serde_json::from_str(data).map_err(|e| malformed(&e))?;
        match &*event.kind {
            "message_start" => self.start(event.message, out),
            "content_block_start" => {
                if let Some(block) = event.content_block {
                    self.open_block(event.index.unwrap_or(0), block, out);
                }
            }
            "content_block_delta" => {
                if let Some(delta) = event.delta {
                    self.delta(event.index.unwrap_or(0), delta, out);
                }
            }
            "content_block_stop" => {
                self.close_call(event.index.unwrap_or(0), out);
                self.cite(out);
            }
            "message_delta" => {
                self.meter.delta(event.usage);
                let delta = event.delta.map(|d| (d.stop_reason, d.stop_sequence));
                if let Some((Some(reason), sequence)) = delta {
                    (self.stop_reason, self.stop_sequence) = (Some(reason), sequence);
                    self.meter.observed.finished = true;
                }
            }
            "message_stop" => self.stop(out),
            "error" => return Err(error::in_band(event.error)),
            // `ping`, and whatever is invented next.
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, message: Option<MessageHead>, out: &mut Vec<ChatEvent>) {
        let head = message.unwrap_or(MessageHead { id: None, model: None, usage: None });
        self.meter.head(head.usage, head.model.as_deref());
        if !self.started {
            self.started = true;
            let (id, model) = (head.id.unwrap_or_default(), head.model.unwrap_or_default());
            out.push(ChatEvent::Start { id, model, created: None });
        }
    }

    /// Content is about to be pushed: the opening event must be there before it.
    fn begin(&mut self, bytes: usize, out: &mut Vec<ChatEvent>) {
        if !self.started {
            self.start(None, out);
        }
        self.meter.content(bytes);
    }

    fn open_block(&mut self, index: u64, block: WireBlock<'_>, out: &mut Vec<ChatEvent>) {
        self.open.remove(&index);
        match &*block.kind {
            "text" => {
                self.chars.1 = self.chars.0;
                self.cited.extend(block.citations.into_iter().flatten());
                self.text(block.text, out);
            }
            "thinking" => {
                self.reasoning(block.thinking, out);
                self.signature(block.signature, out);
            }
            "redacted_thinking" => {
                if let Part::Reasoning { signature: Some(signature), .. } = redacted(block.data) {
                    self.signature(Some(signature.data), out);
                }
            }
            "tool_use" => {
                self.begin(0, out);
                let number = self.calls;
                self.calls = self.calls.saturating_add(1);
                let input = Some(block.input.map_or("{}", |i| i.get()).to_owned());
                self.open.insert(index, OpenCall { number, input });
                let (id, name) = (block.id.unwrap_or_default(), block.name.unwrap_or_default());
                let (custom, signature) = (false, None);
                out.push(ChatEvent::ToolStart { choice: 0, index: number, id, name, custom, signature });
            }
            // Tools that the server runs itself.
            _ => self.meter.content(0),
        }
    }

    fn delta(&mut self, index: u64, delta: WireDelta<'_>, out: &mut Vec<ChatEvent>) {
        match &*delta.kind {
            "text_delta" => self.text(delta.text, out),
            "thinking_delta" => self.reasoning(delta.thinking, out),
            "signature_delta" => self.signature(delta.signature, out),
            "input_json_delta" => {
                let Some(fragment) = delta.partial_json.filter(|f| !f.is_empty()) else { return };
                let Some(call) = self.open.get_mut(&index) else {
                    // Arguments of a server tool: paid for, but not the client's business.
                    self.meter.content(fragment.len());
                    return;
                };
                call.input = None;
                let number = call.number;
                self.begin(fragment.len(), out);
                out.push(ChatEvent::ToolArguments { choice: 0, index: number, fragment });
            }
            "citations_delta" => self.cited.extend(delta.citation),
            // Decoration.
            _ => {}
        }
    }

    fn cite(&mut self, out: &mut Vec<ChatEvent>) {
        let (end, start) = self.chars;
        let citations = self.cited.drain(..).filter_map(|found| found.citation((start, end)));
        out.extend(citations.map(|citation| ChatEvent::Citation { choice: 0, citation }));
    }

    fn text(&mut self, text: Option<String>, out: &mut Vec<ChatEvent>) {
        if let Some(text) = text.filter(|t| !t.is_empty()) {
            self.begin(text.len(), out);
            self.chars.0 = self.chars.0.saturating_add(count(&text));
            out.push(ChatEvent::Text { choice: 0, text });
        }
    }

    fn reasoning(&mut self, text: Option<String>, out: &mut Vec<ChatEvent>) {
        if let Some(text) = text.filter(|t| !t.is_empty()) {
            self.begin(text.len(), out);
            out.push(ChatEvent::Reasoning { choice: 0, text });
        }
    }

    fn signature(&mut self, signature: Option<String>, out: &mut Vec<ChatEvent>) {
        if let Some(signature) = signature.filter(|s| !s.is_empty()) {
            self.begin(0, out);
            let signature = Signature::new(DialectId::Anthropic, signature);
            out.push(ChatEvent::ReasoningSignature { choice: 0, signature });
        }
    }

    fn close_call(&mut self, index: u64, out: &mut Vec<ChatEvent>) {
        if let Some(OpenCall { number, input: Some(fragment) }) = self.open.remove(&index) {
            self.meter.content(fragment.len());
            out.push(ChatEvent::ToolArguments { choice: 0, index: number, fragment });
        }
    }

    fn stop(&mut self, out: &mut Vec<ChatEvent>) {
        self.meter.stopped();
        self.finish(out);
    }

    /// Ends the answer, once, if it has reached its end.
    fn finish(&mut self, out: &mut Vec<ChatEvent>) {
        if self.done || !self.meter.observed.finished {
            return;
        }
        self.done = true;
        if !self.started {
            self.start(None, out);
        }
        while let Some(index) = self.open.keys().next().copied() {
            self.close_call(index, out);
        }
        let reason = finish(self.stop_reason.as_deref(), self.calls > 0);
        out.push(ChatEvent::Finish { choice: 0, reason, stop_sequence: self.stop_sequence.take() });
        if let Some(usage) = self.meter.observed.usage {
            out.push(ChatEvent::Usage(usage));
        }
    }
}

/// What decoder and tap learn alike.
#[derive(Default)]
struct Meter {
    usage: WireUsage,
    observed: Observed,
}

impl Meter {
    fn head(&mut self, report: Option<WireUsage>, model: Option<&str>) {
        if let Some(report) = report {
            self.observed.service = super::response::service(&report).or(self.observed.service);
            self.usage.update(WireUsage { output_tokens: None, output_tokens_details: None, ..report });
            let prompt = WireUsage { output_tokens: None, output_tokens_details: None, ..self.usage.clone() };
            self.observed.prompt = Some(usage(&prompt).with(Bucket::Search, 0));
        }
        if self.observed.model.is_none() {
            self.observed.model = model.filter(|m| !m.is_empty()).map(str::to_owned);
        }
    }

    fn delta(&mut self, report: Option<WireUsage>) {
        if let Some(report) = report {
            self.observed.service = super::response::service(&report).or(self.observed.service);
            self.usage.update(report);
            self.observed.usage = Some(usage(&self.usage));
        }
    }

    fn content(&mut self, bytes: usize) {
        self.observed.began = true;
        self.observed.output_bytes = self.observed.output_bytes.saturating_add(bytes as u64);
    }

    /// The last word, of an answer that has begun: of nothing it is none.
    fn stopped(&mut self) {
        self.observed.finished |=
            self.observed.began || self.observed.model.is_some() || self.observed.prompt.is_some();
        self.observed.ended = true;
    }
}

/// Watches a stream that passes through.
pub(super) struct Watch {
    gate: Gate,
    meter: Meter,
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

    fn broken(&mut self, error: &Error) -> Bytes {
        error::event(error)
    }

    fn observed(&self) -> &Observed {
        &self.meter.observed
    }
}

impl Meter {
    /// Reads one event of a stream that passes through. What cannot be read is left to the client to judge.
    fn event(&mut self, data: &str) -> Result<Verdict, Failure> {
        if data.trim() == "[DONE]" {
            return Ok(Verdict::Drop);
        }
        let Ok(event) = serde_json::from_str::<TapEvent<'_>>(data) else { return Ok(Verdict::Pass) };
        match &*event.kind {
            "message_start" => {
                if let Some(message) = event.message {
                    self.head(message.usage, message.model.as_deref());
                }
            }
            "content_block_start" => self.content(0),
            "content_block_delta" => {
                let delta = event.delta.as_ref();
                let raw = delta.and_then(|d| d.text.or(d.thinking).or(d.partial_json));
                self.content(raw.map_or(0, |r| r.get().len().saturating_sub(2)));
            }
            "message_delta" => {
                self.delta(event.usage);
                self.observed.finished |= event.delta.is_some_and(|d| d.stop_reason.is_some());
            }
            "message_stop" => {
                self.stopped();
                return Ok(Verdict::Last);
            }
            "error" => return Err(error::in_band(event.error)),
            _ => {}
        }
        Ok(Verdict::Pass)
    }
}

/// Empty data and the end mark of other dialects, which some relays append.
fn skippable(data: &str) -> bool {
    let data = data.trim();
    data.is_empty() || data == "[DONE]"
}

fn too_long() -> Failure {
    Failure::new(FailureKind::Malformed, "an event of the stream exceeds the limit")
}

fn truncated() -> Failure {
    Failure::new(FailureKind::Truncated, "the stream broke off before its end")
}
