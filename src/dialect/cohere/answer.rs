//! Answers, whole and streamed. A message is a stream of one piece, so one reader serves both.
//!
//! The plan that a model tells before it calls tools is thinking by another name. The kind of an event is read from
//! its data. A stream may go on after `message-end` with the end mark of other dialects, which says nothing.

use std::collections::BTreeMap;

use super::reply::{Block, Call, Delta, Event, Logprob, Response, Said, WireCitation, WireUsage, items, text};
use super::{MAX_EVENT, error};
use crate::dialect::common::malformed;
use crate::dialect::{DecodeStream, Observed};
use crate::domain::chat::{ChatEvent, ChatResponse, FinishReason, Part};
use crate::domain::collect::Collector;
use crate::domain::error::{Failure, FailureKind};
use crate::wire::sse::{LineTooLong, SseDecoder};

/// Decodes a whole answer. A body that carries an error under a good status is a failure.
pub(super) fn decode(body: &[u8]) -> Result<ChatResponse, Failure> {
    let wire: Response<'_> = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
    let Some(message) = wire.message else {
        return Err(Failure::new(FailureKind::Malformed, "the answer has no message"));
    };
    if let Some(words) = text(message) {
        return Err(error::in_band(words));
    }
    let said: Said<'_> = serde_json::from_str(message.get()).map_err(|e| malformed(&e))?;
    let called = said.tool_calls.is_none() && wire.finish_reason.as_deref() == Some("TOOL_CALL");
    let (mut answer, mut events) = (Answer::default(), Vec::new());
    answer.start(wire.id, &mut events);
    answer.message(&said, &mut events)?;
    wire.logprobs.into_iter().flatten().for_each(|piece| answer.logprobs(piece, &mut events));
    answer.finish(wire.finish_reason.as_deref(), wire.usage.as_ref(), None, &mut events)?;
    events.push(ChatEvent::End);
    let mut collector = Collector::default();
    events.into_iter().try_for_each(|event| collector.take(event))?;
    let response = collector.finish()?;
    // Thinking alone is what stands before calls.
    let says = |part: &Part| !matches!(part, Part::Reasoning { .. });
    if called && !response.choices.iter().any(|choice| choice.content.iter().any(says)) {
        return Err(Failure::new(FailureKind::Malformed, "the answer has no calls"));
    }
    Ok(response)
}

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
    done: bool,
    /// Calls that have begun and not ended, by the provider's number.
    open: BTreeMap<u64, OpenCall>,
    calls: u32,
    /// Where blocks of content begin in the answer's text, in characters.
    blocks: BTreeMap<u64, u32>,
    /// Where the block that is being written begins.
    begin: u32,
    /// Characters of text so far.
    characters: u32,
    observed: Observed,
}

struct OpenCall {
    number: u32,
    /// Whether any of its arguments came.
    filled: bool,
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
        let truncated = || Failure::new(FailureKind::Truncated, "the stream broke off before its end");
        let (answer, failure) = (&mut self.answer, &mut self.failure);
        let framed = self.sse.finish(&mut |event| *failure = answer.event(event.data, out).err());
        match self.failure.take() {
            // A half-sent event is no sign of a wrong dialect, but of a cut.
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
    fn event(&mut self, data: &str, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let data = data.trim();
        if self.done || data.is_empty() || data == "[DONE]" {
            return Ok(());
        }
        let event: Event<'_> = serde_json::from_str(data).map_err(|e| malformed(&e))?;
        if let Some(words) = event.message.and_then(text) {
            return Err(error::in_band(words));
        }
        let delta = event.delta.unwrap_or_default();
        let index = event.index.unwrap_or(0);
        match event.kind.as_deref() {
            Some("message-start") => self.start(event.id, out),
            Some(kind @ ("content-start" | "content-delta")) => {
                if kind == "content-start" {
                    self.open_block(index);
                }
                self.contents(&delta, out)?;
                if let Some(piece) = event.logprobs {
                    self.logprobs(piece, out);
                }
            }
            Some("tool-plan-delta") => self.thinking(delta.message.and_then(|m| m.tool_plan), out),
            Some("tool-call-start") => {
                for call in calls(&delta)? {
                    self.open_call(index, call, out);
                }
            }
            Some("tool-call-delta") => {
                for call in calls(&delta)? {
                    self.arguments(index, &call, out);
                }
            }
            Some("tool-call-end") => self.close_call(index, out),
            Some("citation-start") => {
                if let Some(message) = &delta.message {
                    self.citations(message, out);
                }
            }
            Some("message-end") => {
                let reason = delta.finish_reason.as_deref();
                self.finish(reason, delta.usage.as_ref(), delta.error, out)?;
            }
            // `content-end`, `citation-end`, and whatever is invented next.
            _ => {}
        }
        Ok(())
    }

    /// The provider does not name the model.
    fn start(&mut self, id: Option<String>, out: &mut Vec<ChatEvent>) {
        if !self.started {
            self.started = true;
            out.push(ChatEvent::Start { id: id.unwrap_or_default(), model: String::new(), created: None });
        }
    }

    /// Content is about to be pushed: the opening event must be there before it.
    fn content(&mut self, bytes: usize, out: &mut Vec<ChatEvent>) {
        self.start(None, out);
        self.observed.began = true;
        self.observed.output_bytes = self.observed.output_bytes.saturating_add(bytes as u64);
    }

    /// All that a whole message says, in the order in which a stream would say it.
    fn message(&mut self, said: &Said<'_>, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        self.thinking(said.tool_plan.clone(), out);
        if let Some(content) = said.content {
            if let Some(text) = text(content) {
                self.text(Some(text), out);
            } else {
                let blocks: Vec<Block> = items(content).map_err(|e| malformed(&e))?;
                for (index, block) in (0..).zip(blocks) {
                    self.open_block(index);
                    self.block(block, out)?;
                }
            }
        }
        if let Some(calls) = said.tool_calls {
            let calls: Vec<Call<'_>> = items(calls).map_err(|e| malformed(&e))?;
            for (index, call) in (0..).zip(calls) {
                self.open_call(index, call, out);
                self.close_call(index, out);
            }
        }
        self.begin = 0;
        self.citations(said, out);
        Ok(())
    }

    fn open_block(&mut self, index: u64) {
        self.begin = self.characters;
        self.blocks.insert(index, self.begin);
    }

    fn contents(&mut self, delta: &Delta<'_>, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let Some(content) = delta.message.as_ref().and_then(|m| m.content) else { return Ok(()) };
        for block in items(content).map_err(|e| malformed(&e))? {
            self.block(block, out)?;
        }
        Ok(())
    }

    /// A text without its words is no empty text.
    fn block(&mut self, block: Block, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if block.kind.as_deref() == Some("text") && block.text.is_none() {
            return Err(Failure::new(FailureKind::Malformed, "a text of the answer has no words"));
        }
        self.thinking(block.thinking, out);
        self.text(block.text, out);
        Ok(())
    }

    fn text(&mut self, text: Option<String>, out: &mut Vec<ChatEvent>) {
        if let Some(text) = text.filter(|t| !t.is_empty()) {
            let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
            self.characters = self.characters.saturating_add(length);
            self.content(text.len(), out);
            out.push(ChatEvent::Text { choice: 0, text });
        }
    }

    fn thinking(&mut self, text: Option<String>, out: &mut Vec<ChatEvent>) {
        if let Some(text) = text.filter(|t| !t.is_empty()) {
            self.content(text.len(), out);
            out.push(ChatEvent::Reasoning { choice: 0, text });
        }
    }

    fn logprobs(&mut self, piece: Logprob, out: &mut Vec<ChatEvent>) {
        if let Some(token) = piece.token() {
            self.content(0, out);
            out.push(ChatEvent::Logprobs { choice: 0, tokens: vec![token] });
        }
    }

    fn open_call(&mut self, index: u64, call: Call<'_>, out: &mut Vec<ChatEvent>) {
        self.close_call(index, out);
        self.content(0, out);
        let number = self.calls;
        self.calls = self.calls.saturating_add(1);
        self.open.insert(index, OpenCall { number, filled: false });
        let id = call.id.clone().unwrap_or_default();
        let name = call.function.as_ref().and_then(|f| f.name.clone()).unwrap_or_default();
        out.push(ChatEvent::ToolStart { choice: 0, index: number, id, name, custom: false, signature: None });
        self.arguments(index, &call, out);
    }

    fn arguments(&mut self, index: u64, call: &Call<'_>, out: &mut Vec<ChatEvent>) {
        let Some(raw) = call.function.as_ref().and_then(|f| f.arguments) else { return };
        let fragment = text(raw).unwrap_or_else(|| raw.get().to_owned());
        let Some(open) = self.open.get_mut(&index).filter(|_| !fragment.is_empty() && fragment != "null") else {
            return;
        };
        open.filled = true;
        let number = open.number;
        self.content(fragment.len(), out);
        out.push(ChatEvent::ToolArguments { choice: 0, index: number, fragment });
    }

    fn close_call(&mut self, index: u64, out: &mut Vec<ChatEvent>) {
        if let Some(OpenCall { number, filled: false }) = self.open.remove(&index) {
            // A call without arguments has no deltas.
            let fragment = "{}".to_owned();
            self.content(fragment.len(), out);
            out.push(ChatEvent::ToolArguments { choice: 0, index: number, fragment });
        }
    }

    /// What cannot be read is passed over: decoration must not break an answer.
    fn citations(&mut self, said: &Said<'_>, out: &mut Vec<ChatEvent>) {
        let read: Option<Vec<WireCitation>> = said.citations.and_then(|raw| items(raw).ok());
        for wire in read.unwrap_or_default() {
            let begin = wire.content_index.and_then(|at| self.blocks.get(&at).copied()).unwrap_or(self.begin);
            for citation in wire.citations(begin) {
                self.content(0, out);
                out.push(ChatEvent::Citation { choice: 0, citation });
            }
        }
    }

    fn finish(
        &mut self,
        word: Option<&str>,
        usage: Option<&WireUsage>,
        error: Option<String>,
        out: &mut Vec<ChatEvent>,
    ) -> Result<(), Failure> {
        self.start(None, out);
        self.observed.usage = usage.and_then(WireUsage::buckets).or(self.observed.usage);
        self.observed.ended = true;
        let reason = reason(word, self.calls > 0, error)?;
        while let Some(index) = self.open.keys().next().copied() {
            self.close_call(index, out);
        }
        self.done = true;
        self.observed.finished = true;
        out.push(ChatEvent::Finish { choice: 0, reason, stop_sequence: None });
        out.extend(self.observed.usage.map(ChatEvent::Usage));
        Ok(())
    }
}

fn calls<'a>(delta: &Delta<'a>) -> Result<Vec<Call<'a>>, Failure> {
    match delta.message.as_ref().and_then(|m| m.tool_calls) {
        Some(raw) => items(raw).map_err(|e| malformed(&e)),
        None => Ok(Vec::new()),
    }
}

/// Why an answer ended. With calls, a natural end is one for their sake; words nobody knows read as a natural end.
fn reason(word: Option<&str>, has_calls: bool, error: Option<String>) -> Result<FinishReason, Failure> {
    Ok(match word.unwrap_or_default() {
        "MAX_TOKENS" => FinishReason::Length,
        "ERROR_TOXIC" => FinishReason::ContentFilter,
        "STOP_SEQUENCE" => FinishReason::Stop,
        word @ "TIMEOUT" => return Err(error::ended(FailureKind::Timeout, word, error)),
        word if word.starts_with("ERROR") => return Err(error::ended(FailureKind::Upstream, word, error)),
        _ if has_calls => FinishReason::ToolCalls,
        _ => FinishReason::Stop,
    })
}

fn too_long() -> Failure {
    Failure::new(FailureKind::Malformed, "an event of the stream exceeds the limit")
}
