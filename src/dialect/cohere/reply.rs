//! Answers, whole and as events. A plan before calls is thinking.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::MAX_EVENT;
use crate::dialect::{DecodeStream, Observed};
use crate::domain::chat::{ChatEvent, ChatResponse, Citation, FinishReason};
use crate::domain::collect::Collector;
use crate::domain::error::{Failure, FailureKind};
use crate::domain::usage::{Bucket, Usage};
use crate::wire::sse::{SseDecoder, SseEvent};

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Message<'a> {
    /// A list of parts, or in an event one part.
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    tool_plan: Option<String>,
    /// A list of calls, or in an event one call.
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    citations: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WirePart {
    text: Option<String>,
    thinking: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Call {
    id: Option<String>,
    function: Function,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Function {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cited {
    start: Option<u32>,
    end: Option<u32>,
    text: Option<String>,
    sources: Vec<Source>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Source {
    document: Option<Document>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Document {
    title: Option<String>,
    url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireUsage {
    tokens: Option<Tokens>,
    billed_units: Option<Tokens>,
    cached_tokens: Option<f64>,
}

/// Counts come as numbers with a fraction of zero.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    input_tokens: Option<f64>,
    output_tokens: Option<f64>,
    reasoning_tokens: Option<f64>,
    image_tokens: Option<f64>,
    search_units: Option<f64>,
}

fn count(number: Option<f64>) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, positive and within range")]
    let whole = |number: f64| number as u64;
    number.filter(|n| n.is_finite() && (0.0..1e15).contains(n)).map_or(0, whole)
}

impl WireUsage {
    /// Disjoint buckets: the input includes what was cached, the output thinking; images are counted beside the input.
    fn buckets(&self) -> Option<Usage> {
        let tokens = self.tokens.as_ref().or(self.billed_units.as_ref())?;
        let (input, output) = (count(tokens.input_tokens), count(tokens.output_tokens));
        let cached = count(self.cached_tokens).min(input);
        let reasoning = count(tokens.reasoning_tokens).min(output);
        Some(
            Usage::ZERO
                .with(Bucket::Input, input - cached)
                .with(Bucket::CacheRead, cached)
                .with(Bucket::InputImage, count(tokens.image_tokens))
                .with(Bucket::Output, output - reasoning)
                .with(Bucket::Reasoning, reasoning),
        )
    }
}

/// What is known of an answer that is arriving.
#[derive(Default)]
struct State {
    observed: Observed,
    started: bool,
    done: bool,
    id: String,
    calls: u32,
    finish: Option<String>,
}

impl State {
    fn plan(&mut self, text: String, out: &mut Vec<ChatEvent>) {
        if !text.is_empty() {
            self.begin(text.len(), out);
            out.push(ChatEvent::Reasoning { choice: 0, text });
        }
    }

    fn part(&mut self, part: WirePart, out: &mut Vec<ChatEvent>) {
        self.plan(part.thinking.unwrap_or_default(), out);
        if let Some(text) = part.text.filter(|text| !text.is_empty()) {
            self.begin(text.len(), out);
            out.push(ChatEvent::Text { choice: 0, text });
        }
    }

    fn call(&mut self, call: Call, out: &mut Vec<ChatEvent>) {
        let index = self.calls;
        self.calls += 1;
        let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{}_{index}", self.id));
        let (name, custom, signature) = (call.function.name.unwrap_or_default(), false, None);
        self.begin(0, out);
        out.push(ChatEvent::ToolStart { choice: 0, index, id, name, custom, signature });
        self.arguments(call.function.arguments, out);
    }

    /// Arguments are of the call that was opened last.
    fn arguments(&mut self, fragment: Option<String>, out: &mut Vec<ChatEvent>) {
        let Some(index) = self.calls.checked_sub(1) else { return };
        if let Some(fragment) = fragment.filter(|f| !f.is_empty() && f != "null") {
            self.begin(fragment.len(), out);
            out.push(ChatEvent::ToolArguments { choice: 0, index, fragment });
        }
    }

    fn cited(&mut self, cited: Cited, out: &mut Vec<ChatEvent>) {
        let span = cited.start.zip(cited.end);
        let quoted = cited.text;
        for document in cited.sources.into_iter().filter_map(|source| source.document) {
            let citation = Citation { url: document.url, title: document.title, quoted: quoted.clone(), span };
            self.begin(0, out);
            out.push(ChatEvent::Citation { choice: 0, citation });
        }
    }

    fn over(&mut self, finish: Option<String>, usage: Option<&WireUsage>) {
        self.observed.finished = true;
        self.observed.began = true;
        self.finish = finish;
        self.observed.usage = usage.and_then(WireUsage::buckets);
    }

    fn begin(&mut self, bytes: usize, out: &mut Vec<ChatEvent>) {
        self.open(out);
        self.observed.began = true;
        self.observed.output_bytes = self.observed.output_bytes.saturating_add(bytes as u64);
    }

    fn open(&mut self, out: &mut Vec<ChatEvent>) {
        if !self.started {
            self.started = true;
            out.push(ChatEvent::Start { id: self.id.clone(), model: String::new(), created: None });
        }
    }

    fn end(&mut self, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if self.done {
            return Ok(());
        }
        self.done = true;
        self.open(out);
        let reason = match self.finish.as_deref() {
            Some("MAX_TOKENS") => FinishReason::Length,
            Some("ERROR_TOXIC") => FinishReason::ContentFilter,
            Some("ERROR" | "ERROR_LIMIT" | "TIMEOUT") => {
                return Err(Failure::new(FailureKind::Upstream, "the provider ended the answer with an error"));
            }
            _ if self.calls > 0 => FinishReason::ToolCalls,
            _ => FinishReason::Stop,
        };
        out.push(ChatEvent::Finish { choice: 0, reason, stop_sequence: None });
        out.extend(self.observed.usage.map(ChatEvent::Usage));
        out.push(ChatEvent::End);
        Ok(())
    }
}

fn malformed(error: &serde_json::Error) -> Failure {
    let place = format!("not an answer of this dialect (line {}, column {})", error.line(), error.column());
    Failure::new(FailureKind::Malformed, place)
}

/// Decodes a whole answer.
pub(super) fn decode(body: &[u8]) -> Result<ChatResponse, Failure> {
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
    let no_message = || Failure::new(FailureKind::Malformed, "the answer has no message");
    let message = answer.message.ok_or_else(no_message)?;
    let (mut state, mut events, mut collector) = (State::default(), Vec::new(), Collector::default());
    state.id = answer.id.unwrap_or_default();
    state.plan(message.tool_plan.unwrap_or_default(), &mut events);
    for part in list::<WirePart>(message.content) {
        state.part(part, &mut events);
    }
    for call in list::<Call>(message.tool_calls) {
        state.call(call, &mut events);
    }
    for cited in list::<Cited>(message.citations) {
        state.cited(cited, &mut events);
    }
    state.over(answer.finish_reason, answer.usage.as_ref());
    state.end(&mut events)?;
    for event in events {
        collector.take(event)?;
    }
    collector.finish()
}

/// A list, or one alone; what has another form is none.
fn list<T: for<'a> Deserialize<'a>>(raw: Option<&RawValue>) -> Vec<T> {
    let Some(raw) = raw else { return Vec::new() };
    if raw.get().starts_with('[') {
        return serde_json::from_str(raw.get()).unwrap_or_default();
    }
    serde_json::from_str(raw.get()).into_iter().collect()
}

/// An event of a stream.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

/// Turns a stream of events into canonical ones.
pub(super) struct Decoder {
    sse: SseDecoder,
    state: State,
    failure: Option<Failure>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { sse: SseDecoder::new(MAX_EVENT), state: State::default(), failure: None }
    }
}

fn take(state: &mut State, data: &str, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
    if data.trim().is_empty() || data.trim() == "[DONE]" {
        return Ok(());
    }
    let event: Event<'_> = serde_json::from_str(data).map_err(|e| malformed(&e))?;
    let delta = event.delta;
    match event.r#type.as_str() {
        "message-start" => state.id = event.id.unwrap_or_default(),
        "message-end" => {
            state.observed.ended = true;
            let (finish, usage) = delta.map_or((None, None), |d| (d.finish_reason, d.usage));
            state.over(finish, usage.as_ref());
        }
        kind => {
            let Some(message) = delta.and_then(|delta| delta.message) else { return Ok(()) };
            match kind {
                "content-start" | "content-delta" => {
                    list::<WirePart>(message.content).into_iter().for_each(|part| state.part(part, out));
                }
                "tool-plan-delta" => state.plan(message.tool_plan.unwrap_or_default(), out),
                "tool-call-start" => {
                    list::<Call>(message.tool_calls).into_iter().for_each(|call| state.call(call, out));
                }
                "tool-call-delta" => {
                    let calls = list::<Call>(message.tool_calls);
                    calls.into_iter().for_each(|call| state.arguments(call.function.arguments, out));
                }
                "citation-start" => {
                    list::<Cited>(message.citations).into_iter().for_each(|cited| state.cited(cited, out));
                }
                // Ends of blocks, and whatever is invented next.
                _ => {}
            }
        }
    }
    Ok(())
}

impl DecodeStream for Decoder {
    fn chunk(&mut self, chunk: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let (state, failure) = (&mut self.state, &mut self.failure);
        let framed = self.sse.push(chunk, &mut |event: SseEvent<'_>| {
            if failure.is_none() {
                *failure = take(state, event.data, out).err();
            }
        });
        if framed.is_err() {
            let too_long = Failure::new(FailureKind::Malformed, "an event of the stream exceeds the limit");
            self.failure.get_or_insert(too_long);
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn end(&mut self, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let truncated = || Failure::new(FailureKind::Truncated, "the stream broke off before its end");
        let (state, failure) = (&mut self.state, &mut self.failure);
        let framed = self.sse.finish(&mut |event: SseEvent<'_>| *failure = take(state, event.data, out).err());
        match failure.take() {
            // A half-sent event is no sign of a wrong dialect, but of a cut.
            Some(half) if half.kind == FailureKind::Malformed => return Err(truncated()),
            Some(failure) => return Err(failure),
            None => framed.map_err(|_| truncated())?,
        }
        if !state.observed.finished {
            return Err(truncated());
        }
        state.end(out)
    }

    fn observed(&self) -> &Observed {
        &self.state.observed
    }
}

/// Reads the units of a reranking.
pub(super) fn observe_rerank(body: &[u8]) -> Observed {
    #[derive(Deserialize)]
    struct Shape {
        meta: Option<Meta>,
    }
    #[derive(Deserialize)]
    struct Meta {
        billed_units: Option<Tokens>,
    }
    let shape = serde_json::from_slice::<Shape>(body).ok();
    let units = shape.and_then(|s| s.meta).and_then(|m| m.billed_units).and_then(|b| b.search_units);
    let usage = units.map(|units| Usage::ZERO.with(Bucket::Search, count(Some(units))));
    Observed { usage, began: true, ..Observed::default() }
}

/// Reads an error answer: `{"id", "message"}`.
pub(super) fn error(status: u16, body: &[u8]) -> Failure {
    #[derive(Deserialize)]
    struct Shape {
        message: Option<String>,
    }
    let message = serde_json::from_slice::<Shape>(body).ok().and_then(|shape| shape.message);
    let message = message.unwrap_or_else(|| format!("the provider answered {status}"));
    let kind = match status {
        401..=403 => FailureKind::Credentials,
        404 => FailureKind::NoModel,
        408 | 504 => FailureKind::Timeout,
        429 => FailureKind::RateLimited,
        400..=499 if status != 499 => FailureKind::Rejected,
        _ => FailureKind::Upstream,
    };
    let code = message.contains("too many tokens").then(|| "context_length_exceeded".to_owned());
    let message = message.chars().take(512).collect();
    Failure { kind, status: Some(status), code, param: None, message, retry_after: None }
}
