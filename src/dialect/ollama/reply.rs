//! Answers: one object, or one a line. Calls come whole and without ids.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::MAX_LINE;
use crate::dialect::{DecodeStream, Observed};
use crate::domain::chat::{ChatEvent, ChatResponse, FinishReason};
use crate::domain::collect::Collector;
use crate::domain::error::{Failure, FailureKind};
use crate::domain::usage::{Bucket, Usage};
use crate::wire::ndjson::LineDecoder;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    #[serde(default)]
    done: bool,
    #[serde(default)]
    done_reason: Option<String>,
    #[serde(default)]
    prompt_eval_count: Option<u64>,
    #[serde(default)]
    eval_count: Option<u64>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<Call<'a>>>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(borrow)]
    function: Function<'a>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(default)]
    name: String,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// What is known of an answer that is arriving.
#[derive(Default)]
struct State {
    observed: Observed,
    started: bool,
    done: bool,
    calls: u32,
    made: String,
    finish: Option<String>,
}

impl State {
    fn answer(&mut self, answer: Answer<'_>, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if let Some(error) = answer.error {
            return Err(Failure::new(FailureKind::Upstream, error.chars().take(512).collect::<String>()));
        }
        if self.observed.model.is_none() {
            self.observed.model = answer.model;
        }
        if self.made.is_empty() {
            // Ids of calls must be unique over a conversation: the moment of the answer is.
            let moment = answer.created_at.unwrap_or_default();
            self.made = moment.chars().filter(char::is_ascii_alphanumeric).collect();
        }
        if let Some(message) = answer.message {
            self.message(message, out);
        }
        if answer.done {
            self.observed.finished = true;
            self.observed.ended = true;
            self.observed.began = true;
            self.finish = answer.done_reason;
            if answer.prompt_eval_count.is_some() || answer.eval_count.is_some() {
                // A prompt that was served from memory has no count.
                let usage = Usage::ZERO
                    .with(Bucket::Input, answer.prompt_eval_count.unwrap_or(0))
                    .with(Bucket::Output, answer.eval_count.unwrap_or(0));
                self.observed.usage = Some(usage);
            }
        }
        Ok(())
    }

    fn message(&mut self, message: Message<'_>, out: &mut Vec<ChatEvent>) {
        if let Some(text) = message.thinking.filter(|text| !text.is_empty()) {
            self.begin(text.len(), out);
            out.push(ChatEvent::Reasoning { choice: 0, text });
        }
        if let Some(text) = message.content.filter(|text| !text.is_empty()) {
            self.begin(text.len(), out);
            out.push(ChatEvent::Text { choice: 0, text });
        }
        for call in message.tool_calls.unwrap_or_default() {
            let index = self.calls;
            self.calls += 1;
            let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{}_{index}", self.made));
            let (name, custom, signature) = (call.function.name, false, None);
            self.begin(0, out);
            out.push(ChatEvent::ToolStart { choice: 0, index, id, name, custom, signature });
            let fragment = call.function.arguments.map_or("{}", RawValue::get).to_owned();
            self.begin(fragment.len(), out);
            out.push(ChatEvent::ToolArguments { choice: 0, index, fragment });
        }
    }

    fn begin(&mut self, bytes: usize, out: &mut Vec<ChatEvent>) {
        self.open(out);
        self.observed.began = true;
        self.observed.output_bytes = self.observed.output_bytes.saturating_add(bytes as u64);
    }

    fn open(&mut self, out: &mut Vec<ChatEvent>) {
        if !self.started {
            self.started = true;
            let model = self.observed.model.clone().unwrap_or_default();
            out.push(ChatEvent::Start { id: String::new(), model, created: None });
        }
    }

    fn end(&mut self, out: &mut Vec<ChatEvent>) {
        if self.done {
            return;
        }
        self.done = true;
        self.open(out);
        let reason = match self.finish.as_deref() {
            Some("length") => FinishReason::Length,
            _ if self.calls > 0 => FinishReason::ToolCalls,
            _ => FinishReason::Stop,
        };
        out.push(ChatEvent::Finish { choice: 0, reason, stop_sequence: None });
        out.extend(self.observed.usage.map(ChatEvent::Usage));
        out.push(ChatEvent::End);
    }
}

fn malformed(error: &serde_json::Error) -> Failure {
    let place = format!("not an answer of this dialect (line {}, column {})", error.line(), error.column());
    Failure::new(FailureKind::Malformed, place)
}

/// Decodes a whole answer.
pub(super) fn decode(body: &[u8]) -> Result<ChatResponse, Failure> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
    if answer.message.is_none() && answer.error.is_none() {
        return Err(Failure::new(FailureKind::Malformed, "the answer has no message"));
    }
    let (mut state, mut events, mut collector) = (State::default(), Vec::new(), Collector::default());
    state.answer(answer, &mut events)?;
    state.end(&mut events);
    for event in events {
        collector.take(event)?;
    }
    collector.finish()
}

/// Turns a stream of lines into canonical events.
pub(super) struct Decoder {
    lines: LineDecoder,
    state: State,
    failure: Option<Failure>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { lines: LineDecoder::new(MAX_LINE), state: State::default(), failure: None }
    }
}

fn take(state: &mut State, line: &str, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
    state.answer(serde_json::from_str(line).map_err(|e| malformed(&e))?, out)
}

fn bad_line() -> Failure {
    Failure::new(FailureKind::Malformed, "a line of the stream exceeds the limit or is no text")
}

impl DecodeStream for Decoder {
    fn chunk(&mut self, chunk: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let (state, failure) = (&mut self.state, &mut self.failure);
        let cut = self.lines.push(chunk, &mut |line| {
            if failure.is_none() {
                *failure = take(state, line, out).err();
            }
        });
        if cut.is_err() {
            self.failure.get_or_insert_with(bad_line);
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn end(&mut self, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let truncated = || Failure::new(FailureKind::Truncated, "the stream broke off before its end");
        let (state, failure) = (&mut self.state, &mut self.failure);
        let cut = self.lines.finish(&mut |line| *failure = take(state, line, out).err());
        match failure.take() {
            // A half-sent line is no sign of a wrong dialect, but of a cut.
            Some(half) if half.kind == FailureKind::Malformed => return Err(truncated()),
            Some(failure) => return Err(failure),
            None => cut.map_err(|_| truncated())?,
        }
        if !state.observed.finished {
            return Err(truncated());
        }
        state.end(out);
        Ok(())
    }

    fn observed(&self) -> &Observed {
        &self.state.observed
    }
}

/// Reads an error answer: `{"error": "…"}`.
pub(super) fn error(status: u16, body: &[u8]) -> Failure {
    #[derive(Deserialize)]
    struct Shape {
        error: Option<String>,
    }
    let message = serde_json::from_slice::<Shape>(body).ok().and_then(|shape| shape.error);
    let message = message.unwrap_or_else(|| format!("the provider answered {status}"));
    let kind = match status {
        401 | 403 => FailureKind::Credentials,
        404 => FailureKind::NoModel,
        408 => FailureKind::Timeout,
        429 => FailureKind::RateLimited,
        400..=499 => FailureKind::Rejected,
        _ => FailureKind::Upstream,
    };
    let code = message.contains("prompt too long").then(|| "context_length_exceeded".to_owned());
    let message = message.chars().take(512).collect();
    Failure { kind, status: Some(status), code, param: None, message, retry_after: None }
}
