//! The streamed answer: frames into canonical events.
//!
//! Text opens no block, only tools do; so a delta is believed whatever came before it. Usage comes after the end of the
//! message: the end is told at once, the stream goes on until the body ends. An answer that the provider calls
//! malformed fails at the end of the body, so that its usage is still seen.

use std::collections::BTreeMap;

use super::reply::{Citation, Delta, Event, Image, ReasoningDelta, Start, Trace, WireError};
use super::response::{citation, finish, length, malformed, picture, redacted, refuse_garbled, usage};
use super::{MAX_FRAME, error, reply};
use crate::dialect::{DecodeStream, Observed};
use crate::domain::chat::{ChatEvent, Signature};
use crate::domain::error::{Failure, FailureKind};
use crate::domain::id::DialectId;
use crate::domain::price::ServiceTier;
use crate::wire::eventstream::{BadFrame, EventStreamDecoder, Frame};

/// Turns the provider's frames into canonical events.
pub(super) struct Decoder {
    frames: EventStreamDecoder,
    answer: Answer,
    /// Set once: nothing is decoded after it.
    failure: Option<Failure>,
}

#[derive(Default)]
struct Answer {
    started: bool,
    /// Blocks that have begun and not ended.
    open: BTreeMap<u64, Block>,
    calls: u32,
    /// Characters of text so far: places of citations.
    characters: u32,
    /// The answer is no answer; told when the body has ended.
    garbled: Option<Failure>,
    done: bool,
    observed: Observed,
}

/// What is kept of a block until its end.
#[derive(Default)]
struct Block {
    /// The client's call, and whether any of its arguments came.
    call: Option<(u32, bool)>,
    /// Where its text began, once there was some.
    began: Option<u32>,
    sources: Vec<Citation>,
    /// The signature of its thinking, which may come in pieces.
    signature: String,
    image: Option<(Option<String>, String)>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { frames: EventStreamDecoder::new(MAX_FRAME), answer: Answer::default(), failure: None }
    }
}

impl DecodeStream for Decoder {
    fn chunk(&mut self, chunk: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let (answer, failure) = (&mut self.answer, &mut self.failure);
        let framed = self.frames.push(chunk, &mut |frame| {
            if failure.is_none() {
                *failure = answer.frame(&frame, out).err();
            }
        });
        if let Err(bad) = framed
            && self.failure.is_none()
        {
            self.failure = Some(unreadable(bad));
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn end(&mut self, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if let Some(failure) = self.failure.clone().or_else(|| self.answer.garbled.take()) {
            return Err(failure);
        }
        // A cut in the report after the end takes nothing from the answer.
        if !self.answer.done {
            return Err(Failure::new(FailureKind::Truncated, "the stream broke off before its end"));
        }
        out.push(ChatEvent::End);
        Ok(())
    }

    fn observed(&self) -> &Observed {
        &self.answer.observed
    }
}

impl Answer {
    fn frame(&mut self, frame: &Frame<'_>, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        match frame.text(":message-type") {
            Some("exception") => {
                let error: WireError = serde_json::from_slice(frame.payload).unwrap_or_default();
                return Err(error::in_band(frame.text(":exception-type"), error, self.observed.began));
            }
            Some("error") => {
                let error = WireError { message: frame.text(":error-message").map(str::to_owned), kind: None };
                return Err(error::in_band(frame.text(":error-code"), error, self.observed.began));
            }
            _ => {}
        }
        let Some(kind) = frame.text(":event-type") else { return Ok(()) };
        if !KNOWN.contains(&kind) || (self.done && kind != "metadata") {
            return Ok(());
        }
        let event: Event<'_> = serde_json::from_slice(frame.payload).map_err(|e| malformed(&e))?;
        match kind {
            "messageStart" => self.start(out),
            "contentBlockStart" => {
                if let Some(start) = event.start {
                    self.open(event.content_block_index, start, out);
                }
            }
            "contentBlockDelta" => {
                if let Some(delta) = event.delta {
                    self.delta(event.content_block_index, delta, out)?;
                }
            }
            "contentBlockStop" => self.close(event.content_block_index, out),
            "messageStop" => self.stop(&event, out),
            _ => {
                self.start(out);
                if let Some(model) = event.trace.and_then(Trace::model) {
                    self.observed.model = Some(model);
                }
                let tier = event.service_tier.as_ref().and_then(|tier| ServiceTier::read(&tier.kind));
                self.observed.service = tier.or(self.observed.service);
                if let Some(report) = &event.usage {
                    let report = usage(report);
                    self.observed.usage = Some(report);
                    out.push(ChatEvent::Usage(report));
                }
            }
        }
        Ok(())
    }

    /// The provider names neither the answer nor the model here.
    fn start(&mut self, out: &mut Vec<ChatEvent>) {
        if !self.started {
            self.started = true;
            out.push(ChatEvent::Start { id: String::new(), model: String::new(), created: None });
        }
    }

    /// Content is about to be pushed: the opening event must be there before it.
    fn content(&mut self, bytes: usize, out: &mut Vec<ChatEvent>) {
        self.start(out);
        self.observed.began = true;
        self.observed.output_bytes = self.observed.output_bytes.saturating_add(bytes as u64);
    }

    fn block(&mut self, index: u64) -> &mut Block {
        self.open.entry(index).or_default()
    }

    fn open(&mut self, index: u64, start: Start<'_>, out: &mut Vec<ChatEvent>) {
        self.content(0, out);
        if let Some(call) = start.tool_use.filter(|c| c.is_clients()) {
            let number = self.calls;
            self.calls = self.calls.saturating_add(1);
            self.block(index).call = Some((number, false));
            let (id, name) = (call.tool_use_id.unwrap_or_default(), call.name.unwrap_or_default());
            let (custom, signature) = (false, None);
            out.push(ChatEvent::ToolStart { choice: 0, index: number, id, name, custom, signature });
        }
        if let Some(image) = start.image {
            self.block(index).image = Some((image.format, String::new()));
        }
    }

    fn delta(&mut self, index: u64, delta: Delta, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if let Some(text) = delta.text.filter(|t| !t.is_empty()) {
            let began = self.characters;
            self.block(index).began.get_or_insert(began);
            self.characters = began.saturating_add(length(&text));
            self.content(text.len(), out);
            out.push(ChatEvent::Text { choice: 0, text });
        }
        if let Some(fragment) = delta.tool_use.and_then(|t| t.input).filter(|i| !i.is_empty()) {
            self.content(fragment.len(), out);
            // Arguments of a tool that the provider runs itself are paid for, but not the client's business.
            if let Some((number, filled)) = self.open.get_mut(&index).and_then(|b| b.call.as_mut()) {
                *filled = true;
                out.push(ChatEvent::ToolArguments { choice: 0, index: *number, fragment });
            }
        }
        if let Some(reasoning) = delta.reasoning_content {
            self.reasoning(index, reasoning, out);
        }
        if let Some(source) = delta.citation {
            self.block(index).sources.push(source);
        }
        if let Some(bytes) = delta.image.and_then(|i| i.source).and_then(|s| s.bytes) {
            self.image(index, &bytes, out)?;
        }
        Ok(())
    }

    fn reasoning(&mut self, index: u64, delta: ReasoningDelta, out: &mut Vec<ChatEvent>) {
        if let Some(text) = delta.text.filter(|t| !t.is_empty()) {
            self.content(text.len(), out);
            out.push(ChatEvent::Reasoning { choice: 0, text });
        }
        if let Some(piece) = delta.signature {
            self.block(index).signature.push_str(&piece);
        }
        if let Some(data) = delta.redacted_content.filter(|d| !d.is_empty()) {
            self.content(0, out);
            out.push(ChatEvent::ReasoningSignature { choice: 0, signature: redacted(&data) });
        }
    }

    /// Pieces of an image are base64 each; they can be joined where each but the last fills its groups.
    fn image(&mut self, index: u64, bytes: &str, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        self.content(0, out);
        let (_, data) = self.block(index).image.get_or_insert_default();
        if data.ends_with('=') || data.len().saturating_add(bytes.len()) > MAX_FRAME {
            return Err(Failure::new(FailureKind::Malformed, "an image of the stream cannot be joined"));
        }
        data.push_str(bytes);
        Ok(())
    }

    fn close(&mut self, index: u64, out: &mut Vec<ChatEvent>) {
        let Some(block) = self.open.remove(&index) else { return };
        if let Some((number, false)) = block.call {
            // A call without arguments has no deltas.
            let fragment = "{}".to_owned();
            self.content(fragment.len(), out);
            out.push(ChatEvent::ToolArguments { choice: 0, index: number, fragment });
        }
        if !block.signature.is_empty() {
            self.content(0, out);
            let signature = Signature::new(DialectId::Bedrock, block.signature);
            out.push(ChatEvent::ReasoningSignature { choice: 0, signature });
        }
        let begin = block.began.unwrap_or(self.characters);
        for source in block.sources {
            self.content(0, out);
            let citation = citation(source, begin, self.characters);
            out.push(ChatEvent::Citation { choice: 0, citation });
        }
        if let Some((format, data)) = block.image {
            let source = Some(reply::ImageSource { bytes: Some(data) });
            if let Some(part) = picture(Image { format, source }) {
                out.push(ChatEvent::Media { choice: 0, part });
            }
        }
    }

    fn stop(&mut self, event: &Event<'_>, out: &mut Vec<ChatEvent>) {
        self.start(out);
        while let Some(index) = self.open.keys().next().copied() {
            self.close(index, out);
        }
        self.done = true;
        let reason = event.stop_reason.as_deref();
        if let Err(failure) = refuse_garbled(reason) {
            self.garbled = Some(failure);
            return;
        }
        self.observed.finished = true;
        let stop_sequence = reply::stop_sequence(event.additional_model_response_fields);
        out.push(ChatEvent::Finish { choice: 0, reason: finish(reason, self.calls > 0), stop_sequence });
    }
}

/// Events that are read; what is invented next is passed over.
const KNOWN: [&str; 6] =
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"];

fn unreadable(bad: BadFrame) -> Failure {
    Failure::new(FailureKind::Malformed, bad.to_string())
}
