//! Answers, whole and streamed. A whole answer is a stream of one line, so one reader serves both.
//!
//! Calls come whole, with their arguments as an object, and from older servers without an id. An id is then made from
//! what is known of the call: the same bytes always give the same id, and two calls never share one.

use std::fmt::Write as _;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::reply::{Call, Line};
use super::{MAX_LINE, error};
use crate::dialect::common::malformed;
use crate::dialect::{DecodeStream, Observed};
use crate::domain::chat::{ChatEvent, ChatResponse, FinishReason};
use crate::domain::collect::Collector;
use crate::domain::error::{Failure, FailureKind};
use crate::wire::ndjson::NdjsonDecoder;
use crate::wire::sse::LineTooLong;

/// Decodes a whole answer. A body that carries an error under a good status is a failure.
pub(super) fn decode(body: &[u8]) -> Result<ChatResponse, Failure> {
    let mut line: Line<'_> = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
    if line.message.is_none() && line.error.is_none() {
        return Err(Failure::new(FailureKind::Malformed, "the answer has no message"));
    }
    let (mut answer, mut events) = (Answer::default(), Vec::new());
    line.done = Some(true);
    answer.take(line, &mut events)?;
    events.push(ChatEvent::End);
    let mut collector = Collector::default();
    events.into_iter().try_for_each(|event| collector.take(event))?;
    collector.finish()
}

/// Turns the provider's lines into canonical events.
pub(super) struct Decoder {
    lines: NdjsonDecoder,
    answer: Answer,
    /// Set once: nothing is decoded after it.
    failure: Option<Failure>,
}

#[derive(Default)]
struct Answer {
    started: bool,
    done: bool,
    calls: u32,
    observed: Observed,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { lines: NdjsonDecoder::new(MAX_LINE), answer: Answer::default(), failure: None }
    }
}

impl DecodeStream for Decoder {
    fn chunk(&mut self, chunk: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let (answer, failure) = (&mut self.answer, &mut self.failure);
        let framed = self.lines.push(chunk, &mut |line| {
            if failure.is_none() {
                *failure = answer.line(line, out).err();
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
        let truncated = || Failure::new(FailureKind::Truncated, "the stream broke off before its end");
        let (answer, failure) = (&mut self.answer, &mut self.failure);
        let framed = self.lines.finish(&mut |line| *failure = answer.line(line, out).err());
        match self.failure.take() {
            // A half-sent line is no sign of a wrong dialect, but of a cut.
            Some(half) if half.kind == FailureKind::Malformed => return Err(truncated()),
            Some(failure) => return Err(failure),
            None => framed.map_err(|LineTooLong| too_long())?,
        }
        if !self.answer.done {
            return Err(truncated());
        }
        out.push(ChatEvent::End);
        Ok(())
    }

    fn observed(&self) -> &Observed {
        &self.answer.observed
    }
}

impl Answer {
    fn line(&mut self, line: &str, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if self.done {
            return Ok(());
        }
        self.take(serde_json::from_str(line).map_err(|e| malformed(&e))?, out)
    }

    fn take(&mut self, mut line: Line<'_>, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if let Some(error) = line.error.filter(|raw: &&RawValue| raw.get() != "null") {
            return Err(error::in_band(error));
        }
        self.start(&line, out);
        if let Some(message) = line.message.take() {
            if let Some(text) = message.thinking.filter(|t| !t.is_empty()) {
                self.content(text.len());
                out.push(ChatEvent::Reasoning { choice: 0, text });
            }
            if let Some(text) = message.content.filter(|t| !t.is_empty()) {
                self.content(text.len());
                out.push(ChatEvent::Text { choice: 0, text });
            }
            for call in message.tool_calls.into_iter().flatten() {
                self.call(call, line.created_at.as_deref().unwrap_or_default(), out);
            }
        }
        let tokens: Vec<_> = line.logprobs.take().into_iter().flatten().map(Into::into).collect();
        if !tokens.is_empty() {
            self.content(0);
            out.push(ChatEvent::Logprobs { choice: 0, tokens });
        }
        if line.done == Some(true) {
            self.finish(&line, out);
        }
        Ok(())
    }

    fn start(&mut self, line: &Line<'_>, out: &mut Vec<ChatEvent>) {
        if self.started {
            return;
        }
        self.started = true;
        self.observed.model = line.model.clone().filter(|m| !m.is_empty());
        let created = line.created_at.as_deref().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let created = created.map(jiff::Timestamp::as_second);
        let model = self.observed.model.clone().unwrap_or_default();
        out.push(ChatEvent::Start { id: String::new(), model, created });
    }

    fn content(&mut self, bytes: usize) {
        self.observed.began = true;
        self.observed.output_bytes = self.observed.output_bytes.saturating_add(bytes as u64);
    }

    fn call(&mut self, call: Call<'_>, created_at: &str, out: &mut Vec<ChatEvent>) {
        let index = self.calls;
        self.calls = self.calls.saturating_add(1);
        let fragment = call.function.text();
        let name = call.function.name;
        let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| made_id(created_at, index, &name, &fragment));
        self.content(fragment.len());
        out.push(ChatEvent::ToolStart { choice: 0, index, id, name, custom: false, signature: None });
        out.push(ChatEvent::ToolArguments { choice: 0, index, fragment });
    }

    fn finish(&mut self, line: &Line<'_>, out: &mut Vec<ChatEvent>) {
        self.done = true;
        self.observed.finished = true;
        self.observed.ended = true;
        self.observed.usage = line.usage();
        let reason = match line.done_reason.as_deref() {
            Some("length") => FinishReason::Length,
            _ if self.calls > 0 => FinishReason::ToolCalls,
            // `stop`, and `load` where the server only made the model ready.
            _ => FinishReason::Stop,
        };
        out.push(ChatEvent::Finish { choice: 0, reason, stop_sequence: None });
        out.extend(self.observed.usage.map(ChatEvent::Usage));
    }
}

/// Twelve bytes of a hash are enough for all calls of all conversations of a client.
fn made_id(created_at: &str, index: u32, name: &str, arguments: &str) -> String {
    let mut hash = Sha256::new();
    for piece in [created_at, name, arguments] {
        hash.update((piece.len() as u64).to_le_bytes());
        hash.update(piece.as_bytes());
    }
    hash.update(index.to_le_bytes());
    let mut id = String::from("call_");
    for byte in hash.finalize().iter().take(12) {
        // Writing to a string cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}

fn too_long() -> Failure {
    Failure::new(FailureKind::Malformed, "a line of the stream exceeds the limit")
}
