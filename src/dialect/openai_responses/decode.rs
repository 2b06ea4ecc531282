//! Answers of providers of this dialect as canonical ones.
//!
//! A whole answer is read as the last event of a stream. In a stream the deltas count; what a provider tells only when
//! an item is done, or only in its last event, is made up for then. Items are known by their `output_index`: relays
//! change ids between the events of one item.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::types::{
    Incomplete, Item, ItemPart, Lenient, PARAGRAPH, StreamEvent, WireLogprob, WireResponse, joined, searches,
};
use super::{Family, MAX_EVENT};
use crate::dialect::{DecodeStream, MOST_STORED, Observed};
use crate::domain::chat::{ChatEvent, ChatResponse, FinishReason, Media, MediaSource, Part, Signature};
use crate::domain::collect::Collector;
use crate::domain::error::{Failure, FailureKind};
use crate::domain::id::DialectId;
use crate::domain::price::ServiceTier;
use crate::wire::sse::{LineTooLong, SseDecoder};

/// Decodes a whole answer.
pub(super) fn response(body: &[u8]) -> Result<ChatResponse, Failure> {
    let answer = read(body)?;
    let status = answer.status.as_deref();
    if matches!(status, Some("queued" | "in_progress" | "cancelled")) {
        return Err(Failure::new(FailureKind::Malformed, "the provider's answer is not finished"));
    }
    let service_tier = answer.service_tier.clone();
    let mut state = State::default();
    let mut events = Vec::new();
    state.last(answer, &mut events)?;
    events.push(ChatEvent::End);
    let mut collector = Collector::default();
    for event in events {
        collector.take(event)?;
    }
    let mut response = collector.finish()?;
    response.served = service_tier.as_deref().and_then(ServiceTier::read);
    response.service_tier = service_tier;
    Ok(response)
}

/// Reads what metering needs from an answer that passes unchanged. One that runs in the background passes too.
pub(super) fn observe(body: &[u8]) -> Result<Observed, Failure> {
    let answer = read(body)?;
    let mut state = State::default();
    let stored = stored(body);
    let runs_on = matches!(answer.status.as_deref(), Some("queued" | "in_progress"));
    state.last(answer, &mut Vec::new())?;
    // What it will use nobody will tell us: no price rather than a small one.
    let unreported = runs_on && state.observed.usage.is_none();
    Ok(Observed { finished: true, began: true, unreported, stored, ..state.observed })
}

/// The ids of an answer and its items, by which a client may name them later.
fn stored(body: &[u8]) -> Vec<Box<str>> {
    #[derive(Deserialize)]
    struct Answer {
        id: Option<Box<str>>,
        #[serde(default)]
        output: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        id: Option<Box<str>>,
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else { return Vec::new() };
    let items = answer.output.into_iter().filter_map(|item| item.id);
    answer.id.into_iter().chain(items).filter(|id| !id.is_empty()).take(MOST_STORED).collect()
}

fn read(body: &[u8]) -> Result<WireResponse<'_>, Failure> {
    let malformed = || Failure::new(FailureKind::Malformed, "the provider's answer is not a response object");
    let text = std::str::from_utf8(body).map_err(|_| malformed())?;
    let answer: WireResponse<'_> = serde_json::from_str(text).map_err(|_| malformed())?;
    if let Some(failure) = broken(&answer, text) {
        return Err(failure);
    }
    if answer.output.is_none() { Err(malformed()) } else { Ok(answer) }
}

/// The failure that a response object tells of.
pub(super) fn broken(answer: &WireResponse<'_>, text: &str) -> Option<Failure> {
    match answer.error {
        Some(error) if error.get().starts_with('{') => Some(Family::inside(error.get())),
        Some(_) => Some(Family::inside(text)),
        None if answer.status.as_deref() == Some("failed") => {
            Some(Failure::new(FailureKind::Upstream, "the provider failed without a reason"))
        }
        None => None,
    }
}

/// Turns a provider's stream into canonical events.
pub(super) struct Decoder {
    sse: SseDecoder,
    state: State,
    /// Set once: nothing is decoded after it.
    failure: Option<Failure>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { sse: SseDecoder::new(MAX_EVENT), state: State::default(), failure: None }
    }
}

pub(super) fn too_long(_: LineTooLong) -> Failure {
    Failure::new(FailureKind::Malformed, "an event of the stream exceeds the limit")
}

pub(super) fn truncated() -> Failure {
    Failure::new(FailureKind::Truncated, "the stream broke off before its end")
}

impl DecodeStream for Decoder {
    fn chunk(&mut self, chunk: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let (state, failure) = (&mut self.state, &mut self.failure);
        let framed = self.sse.push(chunk, &mut |event| {
            if failure.is_none() {
                *failure = state.event(event.data, out).err();
            }
        });
        if let Err(limit) = framed {
            self.failure.get_or_insert_with(|| too_long(limit));
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn end(&mut self, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let (state, failure) = (&mut self.state, &mut self.failure);
        let framed = self.sse.finish(&mut |event| *failure = state.event(event.data, out).err());
        match self.failure.take() {
            // A half-sent event is no sign of a wrong dialect, but of a cut.
            Some(half) if half.kind == FailureKind::Malformed => return Err(truncated()),
            Some(failure) => return Err(failure),
            None => framed.map_err(too_long)?,
        }
        if !self.state.done {
            return Err(truncated());
        }
        out.push(ChatEvent::End);
        Ok(())
    }

    fn observed(&self) -> &Observed {
        &self.state.observed
    }
}

/// What names an item: its number, else its id, else its place in the last event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Index(u64),
    Id(String),
    Last(u64),
}

/// What has been told of an item.
#[derive(Default)]
struct Seen {
    /// The number of the call that it is.
    call: Option<u32>,
    arguments: bool,
    text: bool,
    thought: Option<Thought>,
    paragraph: u64,
    cited: bool,
    done: bool,
}

/// Which of its two forms thinking comes in; some send both, with the same words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Thought {
    Itself,
    Summary,
}

#[derive(Default)]
struct State {
    observed: Observed,
    started: bool,
    done: bool,
    items: BTreeMap<Key, Seen>,
    calls: u32,
    searches: u64,
    /// Anything of that kind has been told.
    said: bool,
    thought: bool,
    /// Characters of text: all, and before the message that is going on.
    chars: u32,
    before: u32,
    speaking: Option<Key>,
}

fn unreadable() -> Failure {
    Failure::new(FailureKind::Malformed, "what the answer says cannot be read")
}

impl State {
    fn event(&mut self, data: &str, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let trimmed = data.trim();
        // Some end with the mark of another dialect.
        if self.done || trimmed.is_empty() || trimmed == "[DONE]" {
            return Ok(());
        }
        let event: StreamEvent<'_> = serde_json::from_str(data)
            .map_err(|_| Failure::new(FailureKind::Malformed, "an event of the stream is not of this dialect"))?;
        let key = match (event.output_index, &event.item_id) {
            (Some(index), _) => Key::Index(index),
            (None, Some(id)) => Key::Id(id.clone().into_owned()),
            (None, None) => Key::Id(event.item.as_ref().and_then(|item| item.id.clone()).unwrap_or_default()),
        };
        let tells = ["output_text.delta", "refusal.delta", "arguments.delta", "input.delta"];
        if matches!(event.delta, Some(Lenient::Other(_))) && tells.iter().any(|name| event.r#type.ends_with(name)) {
            return Err(unreadable());
        }
        let delta = event.delta.and_then(Lenient::good).filter(|delta| !delta.is_empty());
        match &*event.r#type {
            "error" => return Err(Family::inside(data)),
            "" if event.error.is_some() => return Err(Family::inside(data)),
            "response.output_text.delta" => self.text(&key, delta, event.logprobs, out),
            "response.refusal.delta" => self.refusal(&key, delta, out),
            "response.reasoning_text.delta" => self.think(&key, Thought::Itself, 0, delta, out),
            "response.reasoning_summary_text.delta" => {
                self.think(&key, Thought::Summary, event.summary_index.unwrap_or(0), delta, out);
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.arguments(&key, delta, out);
            }
            "response.output_text.annotation.added" => {
                let annotation = event.annotation.and_then(Lenient::good);
                if let Some(citation) = annotation.and_then(|a| a.citation(self.before)) {
                    self.seen(&key).cited = true;
                    self.begin(0, out);
                    out.push(ChatEvent::Citation { choice: 0, citation });
                }
            }
            "response.output_item.added" => {
                if let Some(item) = event.item {
                    self.added(&key, &item, out);
                }
            }
            "response.output_item.done" => {
                if let Some(item) = event.item {
                    self.item(&key, item, out)?;
                }
            }
            "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => {
                let answer = event.response.unwrap_or_default();
                let failed = matches!(&*event.r#type, "response.failed" | "response.cancelled");
                // What was used until then is paid for.
                self.observed.usage = answer.usage.as_ref().and_then(|usage| usage.buckets(self.searches));
                if let Some(failure) = broken(&answer, data) {
                    return Err(failure);
                }
                if failed {
                    return Err(Failure::new(FailureKind::Upstream, "the provider gave up"));
                }
                self.last(answer, out)?;
            }
            // `response.created`, `in_progress`, `queued`; events of parts and of the provider's own tools.
            _ => {
                if let Some(answer) = event.response {
                    self.head(&answer, out);
                }
            }
        }
        Ok(())
    }

    /// The opening event, once, as soon as something is known.
    fn head(&mut self, answer: &WireResponse<'_>, out: &mut Vec<ChatEvent>) {
        if self.observed.model.is_none() {
            self.observed.model = answer.model.as_deref().filter(|model| !model.is_empty()).map(str::to_owned);
        }
        if !self.started {
            self.started = true;
            let id = answer.id.as_deref().unwrap_or_default().to_owned();
            #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970, by some with a fraction")]
            let created = answer.created_at.filter(|seconds| *seconds > 0.0).map(|seconds| seconds as i64);
            out.push(ChatEvent::Start { id, model: self.observed.model.clone().unwrap_or_default(), created });
        }
    }

    /// Content is about to be pushed: the opening event must be there before it.
    fn begin(&mut self, bytes: usize, out: &mut Vec<ChatEvent>) {
        self.head(&WireResponse::default(), out);
        self.observed.began = true;
        self.observed.output_bytes = self.observed.output_bytes.saturating_add(bytes as u64);
    }

    fn seen(&mut self, key: &Key) -> &mut Seen {
        self.items.entry(key.clone()).or_default()
    }

    fn text(
        &mut self,
        key: &Key,
        text: Option<String>,
        logprobs: Option<Lenient<Vec<WireLogprob>>>,
        out: &mut Vec<ChatEvent>,
    ) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.said = true;
            self.seen(key).text = true;
            if self.speaking.as_ref() != Some(key) {
                (self.speaking, self.before) = (Some(key.clone()), self.chars);
            }
            self.chars = self.chars.saturating_add(crate::dialect::spans::count(&text));
            self.begin(text.len(), out);
            out.push(ChatEvent::Text { choice: 0, text });
        }
        if let Some(tokens) = logprobs.and_then(Lenient::good).filter(|tokens| !tokens.is_empty()) {
            self.begin(0, out);
            out.push(ChatEvent::Logprobs { choice: 0, tokens: tokens.into_iter().map(WireLogprob::token).collect() });
        }
    }

    fn refusal(&mut self, key: &Key, text: Option<String>, out: &mut Vec<ChatEvent>) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.said = true;
            self.seen(key).text = true;
            self.begin(text.len(), out);
            out.push(ChatEvent::Refusal { choice: 0, text });
        }
    }

    fn think(&mut self, key: &Key, form: Thought, part: u64, text: Option<String>, out: &mut Vec<ChatEvent>) {
        let Some(mut text) = text.filter(|text| !text.is_empty()) else { return };
        let seen = self.seen(key);
        if *seen.thought.get_or_insert(form) != form {
            return;
        }
        if part > seen.paragraph {
            seen.paragraph = part;
            text.insert_str(0, PARAGRAPH);
        }
        self.thought = true;
        self.begin(text.len(), out);
        out.push(ChatEvent::Reasoning { choice: 0, text });
    }

    fn arguments(&mut self, key: &Key, fragment: Option<String>, out: &mut Vec<ChatEvent>) {
        // A call whose opening never came is told when it is done.
        let Some(fragment) = fragment.filter(|f| !f.is_empty()) else { return };
        let seen = self.seen(key);
        let Some(index) = seen.call else { return };
        seen.arguments = true;
        self.begin(fragment.len(), out);
        out.push(ChatEvent::ToolArguments { choice: 0, index, fragment });
    }

    fn added(&mut self, key: &Key, item: &Item<'_>, out: &mut Vec<ChatEvent>) {
        self.seen(key);
        match &*item.r#type {
            "function_call" | "custom_tool_call" => {
                if item.call_id.is_some() && item.name.as_ref().is_some_and(|name| !name.is_empty()) {
                    self.call(key, item, out);
                }
            }
            "message" | "reasoning" => {}
            // The provider runs a tool of its own: it works, and this is paid for.
            _ => self.begin(0, out),
        }
    }

    /// Opens a call, unless it is open.
    fn call(&mut self, key: &Key, item: &Item<'_>, out: &mut Vec<ChatEvent>) -> u32 {
        if let Some(index) = self.seen(key).call {
            return index;
        }
        let index = self.calls;
        self.calls = self.calls.saturating_add(1);
        self.seen(key).call = Some(index);
        self.begin(0, out);
        let name = item.name.clone().unwrap_or_default();
        // A tool that was found by a search stands in a group of its own name.
        let group = item.namespace.as_ref().filter(|group| **group != name && !group.is_empty());
        let name = group.map_or_else(|| name.clone(), |group| format!("{group}__{name}"));
        let id = item.call_id.clone().or_else(|| item.id.clone()).unwrap_or_default();
        let custom = item.r#type == "custom_tool_call";
        out.push(ChatEvent::ToolStart { choice: 0, index, id, name, custom, signature: None });
        index
    }

    /// A whole item: what its deltas have not told is told now.
    fn item(&mut self, key: &Key, item: Item<'_>, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        if std::mem::replace(&mut self.seen(key).done, true) {
            return Ok(());
        }
        match &*item.r#type {
            "message" => self.message(key, &item, out)?,
            "" => return Err(unreadable()),
            "reasoning" => self.reasoning(key, item, out),
            "function_call" | "custom_tool_call" => {
                let index = self.call(key, &item, out);
                if !self.seen(key).arguments {
                    let raw = item.arguments.map(|raw| match serde_json::from_str::<String>(raw.get()) {
                        Ok(text) => text,
                        Err(_) => raw.get().to_owned(),
                    });
                    let fragment = item.input.and_then(Lenient::good).or(raw).unwrap_or_default();
                    self.begin(fragment.len(), out);
                    out.push(ChatEvent::ToolArguments { choice: 0, index, fragment });
                }
            }
            "web_search_call" | "x_search_call" => {
                self.searches = self.searches.saturating_add(searches(&item.r#type, item.action));
                self.begin(0, out);
            }
            "image_generation_call" => {
                if let Some(data) = item.result.and_then(Lenient::good).filter(|data| !data.is_empty()) {
                    self.begin(data.len(), out);
                    let format = item.output_format.and_then(Lenient::good);
                    let media_type = format!("image/{}", format.as_deref().unwrap_or("png"));
                    let source = MediaSource::Base64 { media_type, data };
                    let part = Part::Image(Media { source, media_type: None, detail: None, name: None });
                    out.push(ChatEvent::Media { choice: 0, part });
                }
            }
            // Other tools of the provider: their outcome is told in the text.
            _ => self.begin(0, out),
        }
        Ok(())
    }

    /// What cannot be read is no empty message, unless it has been told already.
    fn message(&mut self, key: &Key, item: &Item<'_>, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        let (told, cited) = (self.seen(key).text, self.seen(key).cited);
        let parts = item.content.and_then(|raw| serde_json::from_str::<Vec<ItemPart>>(raw.get()).ok());
        if parts.is_none() && !told {
            return Err(unreadable());
        }
        for part in parts.unwrap_or_default() {
            match (&*part.r#type, &part.text, &part.refusal) {
                _ if told => {}
                ("output_text" | "text", Some(_), _) => self.text(key, part.text, part.logprobs, out),
                ("refusal", _, Some(_)) => self.refusal(key, part.refusal, out),
                ("output_text" | "text" | "refusal" | "", ..) => return Err(unreadable()),
                _ => {}
            }
            for annotation in part.annotations.and_then(Lenient::good).unwrap_or_default() {
                if let Some(citation) = annotation.citation(self.before).filter(|_| !cited) {
                    self.begin(0, out);
                    out.push(ChatEvent::Citation { choice: 0, citation });
                }
            }
        }
        Ok(())
    }

    fn reasoning(&mut self, key: &Key, item: Item<'_>, out: &mut Vec<ChatEvent>) {
        if self.seen(key).thought.is_none() {
            let content = item.content.and_then(|raw| serde_json::from_str(raw.get()).ok());
            self.think(key, Thought::Itself, 0, Some(joined(content, item.summary)), out);
        }
        if let Some(data) = item.encrypted_content.filter(|data| !data.is_empty()) {
            self.thought = true;
            self.begin(0, out);
            let signature = Signature::new(DialectId::OpenAiResponses, data);
            out.push(ChatEvent::ReasoningSignature { choice: 0, signature });
        }
    }

    /// The end, with the whole answer: items that no event told are told now.
    fn last(&mut self, answer: WireResponse<'_>, out: &mut Vec<ChatEvent>) -> Result<(), Failure> {
        self.head(&answer, out);
        let WireResponse { status, incomplete_details, output, usage, service_tier, .. } = answer;
        let nothing = self.items.is_empty();
        let (said, thought, called) = (self.said, self.thought, self.calls > 0);
        for (at, item) in (0..).zip(output.unwrap_or_default()) {
            let known = match &*item.r#type {
                "message" => said,
                "reasoning" => thought,
                "function_call" | "custom_tool_call" => called,
                _ => !nothing,
            };
            match self.items.get(&Key::Index(at)) {
                Some(seen) if seen.done => {}
                Some(_) => self.item(&Key::Index(at), item, out)?,
                None if !known => self.item(&Key::Last(at), item, out)?,
                None => {}
            }
        }
        self.done = true;
        self.observed.finished = true;
        self.observed.ended = true;
        self.observed.began = true;
        self.observed.service = service_tier.as_deref().and_then(ServiceTier::read);
        self.observed.usage = usage.and_then(|usage| usage.buckets(self.searches));
        let details = incomplete_details.and_then(Lenient::good);
        let reason = finish(status.as_deref(), details.as_ref(), self.calls > 0);
        out.push(ChatEvent::Finish { choice: 0, reason, stop_sequence: None });
        out.extend(self.observed.usage.map(ChatEvent::Usage));
        Ok(())
    }
}

/// Why an answer ended. With calls, a natural end is one for their sake.
fn finish(status: Option<&str>, details: Option<&Incomplete>, calls: bool) -> FinishReason {
    match (status, details.and_then(|d| d.reason.as_deref())) {
        (_, Some("content_filter")) => FinishReason::ContentFilter,
        (_, Some("max_output_tokens" | "max_tokens" | "length")) | (Some("incomplete"), _) => FinishReason::Length,
        _ if calls => FinishReason::ToolCalls,
        _ => FinishReason::Stop,
    }
}
