//! Streams of this dialect, written from canonical events.
//!
//! Each item opens, grows and closes with events of its own, all numbered; the last event repeats the whole answer
//! with its usage. Calls stay open until the answer ends, as the canonical model lets their arguments come in any
//! order. There is no `[DONE]`.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::output::{
    self, AnnotationOut, COMPLETED, IN_PROGRESS, Item, LogprobOut, PartOut, SummaryOut, item_id, last_status,
    thought_id,
};
use super::references;
use super::response::{Head, ResponseOut, State};
use super::tools::custom_input;
use super::usage::UsageOut;
use crate::dialect::common::write_data;
use crate::dialect::{EncodeStream, Kept, Rendering, spans};
use crate::domain::chat::{ChatEvent, Citation, FinishReason, Part, Signature, TokenLogprob};
use crate::domain::error::Error;
use crate::domain::usage::Usage;

/// Writes one stream.
pub(super) struct Encoder {
    rendering: Rendering,
    id: String,
    wire: Wire,
    started: bool,
    items: Vec<Item>,
    /// The message or the thinking that is going on.
    open: Option<usize>,
    calls: Vec<OpenCall>,
    /// Sources that were named before there was a text to hang them on.
    sources: Vec<Citation>,
    /// Where each text stands (item, part), and the character at which it begins.
    texts: Vec<(usize, usize)>,
    begins: Vec<u32>,
    chars: u32,
    finish: FinishReason,
    usage: Option<Usage>,
}

struct OpenCall {
    /// Its number among the calls.
    index: u32,
    /// Its place among the items.
    at: usize,
    /// Whether its text comes wrapped in JSON, and must be whole before it can be told.
    wrapped: Option<String>,
}

/// Numbers and writes events.
#[derive(Default)]
struct Wire {
    next: u64,
}

/// Any event: members that it does not have are left out.
#[derive(Default, Serialize)]
struct Event<'a> {
    r#type: &'static str,
    sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponseOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotation_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<&'a Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<PartRef<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotation: Option<&'a AnnotationOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<&'a [LogprobOut]>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum PartRef<'a> {
    Content(&'a PartOut),
    Summary(&'a SummaryOut),
}

impl Wire {
    fn send(&mut self, mut event: Event<'_>, out: &mut BytesMut) {
        event.sequence_number = self.next;
        self.next += 1;
        out.put_slice(b"event: ");
        out.put_slice(event.r#type.as_bytes());
        out.put_slice(b"\ndata: ");
        write_data(out, &event);
    }
}

/// An event about an item.
fn about<'a>(kind: &'static str, item: &'a Item, at: usize) -> Event<'a> {
    Event { r#type: kind, item_id: Some(item.id()), output_index: Some(at), ..Event::default() }
}

/// An event that shows an item.
fn showing<'a>(kind: &'static str, item: &'a Item, at: usize) -> Event<'a> {
    Event { r#type: kind, item: Some(item), output_index: Some(at), ..Event::default() }
}

impl Encoder {
    pub(super) fn new(rendering: Rendering) -> Self {
        Self {
            id: output::answer_id("", &rendering.id).into_owned(),
            rendering,
            wire: Wire::default(),
            started: false,
            items: Vec::new(),
            open: None,
            calls: Vec::new(),
            sources: Vec::new(),
            texts: Vec::new(),
            begins: Vec::new(),
            chars: 0,
            finish: FinishReason::Stop,
            usage: None,
        }
    }

    fn whole(&mut self, kind: &'static str, state: State<'_>, usage: Option<UsageOut>, out: &mut BytesMut) {
        let head =
            Head { id: &self.id, created: self.rendering.created, model: &self.rendering.model, service_tier: None };
        let response = ResponseOut::new(head, &self.rendering.request, state, &self.items, usage);
        self.wire.send(Event { r#type: kind, response: Some(response), ..Event::default() }, out);
    }

    fn start(&mut self, out: &mut BytesMut) {
        if !self.started {
            self.started = true;
            self.whole("response.created", State::Running, None, out);
            self.whole("response.in_progress", State::Running, None, out);
        }
    }

    /// Opens an item and says where it is.
    fn add(&mut self, item: Item, out: &mut BytesMut) -> usize {
        self.start(out);
        let at = self.items.len();
        self.wire.send(showing("response.output_item.added", &item, at), out);
        self.items.push(item);
        at
    }

    /// The message that is going on, or a new one.
    fn message(&mut self, out: &mut BytesMut) -> usize {
        match self.open {
            Some(at) if matches!(self.items[at], Item::Message { .. }) => at,
            _ => {
                self.close_open(COMPLETED, out);
                let id = item_id("msg", &self.rendering.id, self.items.len());
                let item = Item::Message { id, status: IN_PROGRESS, role: "assistant", content: Vec::new() };
                let at = self.add(item, out);
                self.open = Some(at);
                at
            }
        }
    }

    fn text(&mut self, text: &str, out: &mut BytesMut) {
        let at = self.message(out);
        let last = |item: &Item| match item {
            Item::Message { content, .. } => content.last().is_some_and(|p| matches!(p, PartOut::OutputText { .. })),
            _ => false,
        };
        if !last(&self.items[at]) {
            self.part(at, PartOut::text(String::new()), out);
            self.texts.push((at, parts(&self.items[at]).len().saturating_sub(1)));
            self.begins.push(self.chars);
        }
        self.chars = self.chars.saturating_add(spans::count(text));
        if let Some(PartOut::OutputText { text: so_far, .. }) = last_part(&mut self.items[at]) {
            so_far.push_str(text);
        }
        self.grow(at, "response.output_text.delta", text, Some(&[]), out);
        for citation in std::mem::take(&mut self.sources) {
            self.cite(citation, out);
        }
    }

    fn refusal(&mut self, text: &str, out: &mut BytesMut) {
        let at = self.message(out);
        if !matches!(last_part(&mut self.items[at]), Some(PartOut::Refusal { .. })) {
            self.part(at, PartOut::Refusal { refusal: String::new() }, out);
        }
        if let Some(PartOut::Refusal { refusal }) = last_part(&mut self.items[at]) {
            refusal.push_str(text);
        }
        self.grow(at, "response.refusal.delta", text, None, out);
    }

    /// A delta of the last part of a message.
    fn grow(
        &mut self,
        at: usize,
        kind: &'static str,
        delta: &str,
        logprobs: Option<&[LogprobOut]>,
        out: &mut BytesMut,
    ) {
        let item = &self.items[at];
        let index = parts(item).len().saturating_sub(1);
        let event = Event { content_index: Some(index), delta: Some(delta), logprobs, ..about(kind, item, at) };
        self.wire.send(event, out);
    }

    /// Opens a part of a message; the one before it ends.
    fn part(&mut self, at: usize, part: PartOut, out: &mut BytesMut) {
        self.close_part(at, out);
        if let Item::Message { content, .. } = &mut self.items[at] {
            content.push(part);
        }
        let item = &self.items[at];
        let index = parts(item).len().saturating_sub(1);
        let part = parts(item).last().map(PartRef::Content);
        let event = Event { content_index: Some(index), part, ..about("response.content_part.added", item, at) };
        self.wire.send(event, out);
    }

    fn close_part(&mut self, at: usize, out: &mut BytesMut) {
        let item = &self.items[at];
        let Some(part) = parts(item).last() else { return };
        let content_index = Some(parts(item).len() - 1);
        let done = match part {
            PartOut::OutputText { text, logprobs, .. } => {
                let (text, logprobs) = (Some(text.as_str()), Some(logprobs.as_slice()));
                Event { text, logprobs, content_index, ..about("response.output_text.done", item, at) }
            }
            PartOut::Refusal { refusal } => {
                Event { refusal: Some(refusal), content_index, ..about("response.refusal.done", item, at) }
            }
        };
        self.wire.send(done, out);
        let part = Some(PartRef::Content(part));
        self.wire.send(Event { part, content_index, ..about("response.content_part.done", item, at) }, out);
    }

    fn logprobs(&mut self, tokens: &[TokenLogprob], out: &mut BytesMut) {
        let tokens: Vec<LogprobOut> = tokens.iter().map(LogprobOut::new).collect();
        let Some(at) = self.open else { return };
        if let Some(PartOut::OutputText { logprobs, .. }) = last_part(&mut self.items[at]) {
            logprobs.extend(tokens.iter().cloned());
            // Their text has been sent already: they follow with a delta that adds nothing to it.
            self.grow(at, "response.output_text.delta", "", Some(&tokens), out);
        }
    }

    fn cite(&mut self, citation: Citation, out: &mut BytesMut) {
        let pieces = spans::pieces(&self.begins, citation.span);
        if pieces.is_empty() {
            return self.sources.push(citation);
        }
        // Also of a text that is over: it is the one that is cited, and the answer's last event has it whole.
        for piece in pieces {
            let (at, part) = self.texts[piece.text];
            let Item::Message { content, .. } = &mut self.items[at] else { continue };
            let Some(PartOut::OutputText { annotations, .. }) = content.get_mut(part) else { continue };
            let annotation = AnnotationOut::new(&citation, piece);
            annotations.push(annotation.clone());
            let index = annotations.len() - 1;
            let event = Event {
                content_index: Some(part),
                annotation_index: Some(index),
                annotation: Some(&annotation),
                ..about("response.output_text.annotation.added", &self.items[at], at)
            };
            self.wire.send(event, out);
        }
    }

    /// The thinking that is going on, or a new item.
    fn thinking(&mut self, out: &mut BytesMut) -> usize {
        match self.open {
            Some(at) if matches!(self.items[at], Item::Reasoning { .. }) => at,
            _ => {
                self.close_open(COMPLETED, out);
                let id = thought_id(&self.rendering.id, self.items.len());
                let at = self.add(Item::Reasoning { id, summary: Vec::new(), encrypted_content: None }, out);
                self.open = Some(at);
                at
            }
        }
    }

    fn reasoning(&mut self, text: &str, out: &mut BytesMut) {
        let at = self.thinking(out);
        let Item::Reasoning { summary, .. } = &mut self.items[at] else { return };
        let opened = summary.is_empty();
        if opened {
            summary.push(SummaryOut { text: String::new() });
        }
        let item = &self.items[at];
        if opened && let Item::Reasoning { summary, .. } = item {
            let part = summary.first().map(PartRef::Summary);
            let added = "response.reasoning_summary_part.added";
            self.wire.send(Event { summary_index: Some(0), part, ..about(added, item, at) }, out);
        }
        let delta = "response.reasoning_summary_text.delta";
        self.wire.send(Event { summary_index: Some(0), delta: Some(text), ..about(delta, item, at) }, out);
        if let Item::Reasoning { summary, .. } = &mut self.items[at]
            && let Some(so_far) = summary.first_mut()
        {
            so_far.text.push_str(text);
        }
    }

    /// Thinking ends with its signature; one of its own stands for thinking whose text is withheld.
    fn signature(&mut self, signature: &Signature, out: &mut BytesMut) {
        let at = self.thinking(out);
        if let Item::Reasoning { encrypted_content, .. } = &mut self.items[at] {
            *encrypted_content = Some(output::shown(signature));
        }
        self.close_open(COMPLETED, out);
    }

    fn call(&mut self, index: u32, id: &str, name: &str, custom: bool, out: &mut BytesMut) {
        self.close_open(COMPLETED, out);
        let item = output::call(&self.rendering.request, id, name, custom, &self.rendering.id, self.items.len());
        let wrapped = (!custom && matches!(item, Item::CustomToolCall { .. })).then(String::new);
        let at = self.add(item, out);
        self.calls.push(OpenCall { index, at, wrapped });
    }

    fn arguments(&mut self, index: u32, fragment: &str, out: &mut BytesMut) {
        let Some(call) = self.calls.iter_mut().find(|call| call.index == index) else { return };
        if let Some(wrapped) = &mut call.wrapped {
            wrapped.push_str(fragment);
            return;
        }
        let at = call.at;
        self.give(at, fragment, out);
    }

    fn give(&mut self, at: usize, fragment: &str, out: &mut BytesMut) {
        let kind = match &mut self.items[at] {
            Item::FunctionCall { arguments, .. } => {
                arguments.push_str(fragment);
                "response.function_call_arguments.delta"
            }
            Item::CustomToolCall { input, .. } => {
                input.push_str(fragment);
                "response.custom_tool_call_input.delta"
            }
            Item::Message { .. } | Item::Reasoning { .. } => return,
            Item::ImageGenerationCall { .. } | Item::CodeInterpreterCall { .. } => return,
        };
        let event = Event { delta: Some(fragment), ..about(kind, &self.items[at], at) };
        self.wire.send(event, out);
    }

    /// Ends the message or the thinking that is going on.
    fn close_open(&mut self, status: &'static str, out: &mut BytesMut) {
        let Some(at) = self.open.take() else { return };
        match &self.items[at] {
            Item::Message { .. } => self.close_part(at, out),
            item @ Item::Reasoning { summary, .. } => {
                if let Some(part) = summary.first() {
                    let (text, summary_index) = (Some(part.text.as_str()), Some(0));
                    let done = about("response.reasoning_summary_text.done", item, at);
                    self.wire.send(Event { text, summary_index, ..done }, out);
                    let part = Some(PartRef::Summary(part));
                    let done = about("response.reasoning_summary_part.done", item, at);
                    self.wire.send(Event { part, summary_index, ..done }, out);
                }
            }
            Item::FunctionCall { .. } | Item::CustomToolCall { .. } => {}
            Item::ImageGenerationCall { .. } | Item::CodeInterpreterCall { .. } => {}
        }
        self.done(at, status, out);
    }

    fn done(&mut self, at: usize, status: &'static str, out: &mut BytesMut) {
        self.items[at].close(status);
        self.wire.send(showing("response.output_item.done", &self.items[at], at), out);
    }

    fn close_calls(&mut self, last: &'static str, out: &mut BytesMut) {
        let calls = std::mem::take(&mut self.calls);
        let count = calls.len();
        for (number, call) in calls.into_iter().enumerate() {
            if let Some(wrapped) = call.wrapped {
                self.give(call.at, &custom_input(&wrapped), out);
            }
            let item = &self.items[call.at];
            let event = match item {
                Item::FunctionCall { name, arguments, .. } => {
                    let (name, arguments) = (Some(name.as_str()), Some(arguments.as_str()));
                    let done = about("response.function_call_arguments.done", item, call.at);
                    Event { name, arguments, ..done }
                }
                Item::CustomToolCall { input, .. } => {
                    let done = about("response.custom_tool_call_input.done", item, call.at);
                    Event { input: Some(input), ..done }
                }
                Item::Message { .. }
                | Item::Reasoning { .. }
                | Item::ImageGenerationCall { .. }
                | Item::CodeInterpreterCall { .. } => continue,
            };
            self.wire.send(event, out);
            self.done(call.at, if number + 1 == count { last } else { COMPLETED }, out);
        }
    }

    fn media(&mut self, part: &Part, out: &mut BytesMut) {
        let (answer, at) = (&self.rendering.id, self.items.len());
        let Some(item) = output::image(part, answer, at).or(output::ran(part, answer, at)) else { return };
        self.close_open(COMPLETED, out);
        let at = self.add(item, out);
        self.done(at, COMPLETED, out);
    }

    fn ended(&mut self, out: &mut BytesMut) {
        self.start(out);
        self.close_all(self.finish, out);
        // Clients take a stream whose last event has no usage for broken.
        let usage = UsageOut::new(&self.usage.unwrap_or(Usage::ZERO));
        let state = State::Ended(self.finish);
        let kind = if state.word() == COMPLETED { "response.completed" } else { "response.incomplete" };
        self.whole(kind, state, Some(usage), out);
    }

    fn close_all(&mut self, finish: FinishReason, out: &mut BytesMut) {
        let last = last_status(finish);
        let (of_open, of_calls) = if self.calls.is_empty() { (last, COMPLETED) } else { (COMPLETED, last) };
        self.close_open(of_open, out);
        self.close_calls(of_calls, out);
    }
}

fn parts(item: &Item) -> &[PartOut] {
    match item {
        Item::Message { content, .. } => content,
        _ => &[],
    }
}

fn last_part(item: &mut Item) -> Option<&mut PartOut> {
    match item {
        Item::Message { content, .. } => content.last_mut(),
        _ => None,
    }
}

impl EncodeStream for Encoder {
    /// Only the first answer is told: clients of this dialect cannot ask for several.
    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut) {
        match event {
            ChatEvent::Start { id, created, .. } => {
                self.id = output::answer_id(id, &self.rendering.id).into_owned();
                self.rendering.created = created.unwrap_or(self.rendering.created);
                self.start(out);
            }
            ChatEvent::Text { choice: 0, text } => self.text(text, out),
            ChatEvent::Reasoning { choice: 0, text } => self.reasoning(text, out),
            ChatEvent::ReasoningSignature { choice: 0, signature } => self.signature(signature, out),
            ChatEvent::Refusal { choice: 0, text } => self.refusal(text, out),
            ChatEvent::ToolStart { choice: 0, index, id, name, custom, signature } => {
                // The dialect's calls have no signature. The first one's is shown as that of the thinking before it.
                if let (0, Some(signature)) = (*index, signature) {
                    self.signature(signature, out);
                }
                self.call(*index, id, name, *custom, out);
            }
            ChatEvent::ToolArguments { choice: 0, index, fragment } => self.arguments(*index, fragment, out),
            ChatEvent::Finish { choice: 0, reason, .. } => {
                self.finish = *reason;
                self.close_all(*reason, out);
            }
            ChatEvent::Media { choice: 0, part } => self.media(part, out),
            ChatEvent::Logprobs { choice: 0, tokens } => self.logprobs(tokens, out),
            ChatEvent::Citation { choice: 0, citation } => self.cite(citation.clone(), out),
            ChatEvent::Usage(usage) => self.usage = Some(*usage),
            ChatEvent::End => self.ended(out),
            // The relay ends the stream with an error event of this dialect.
            ChatEvent::Error(_) => {}
            _ => {}
        }
    }

    fn kept(&self) -> Vec<Kept> {
        references::kept(&self.items)
    }

    fn broken(&mut self, error: &Error, out: &mut BytesMut) {
        self.start(out);
        let usage = self.usage.as_ref().map(UsageOut::new);
        self.whole("response.failed", State::Failed(error), usage, out);
    }
}
