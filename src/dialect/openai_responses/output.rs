//! Items of an answer as clients of this dialect see them.

use std::borrow::Cow;

use serde::Serialize;

use super::tools::{self, Called};
use crate::dialect::gemini::Ran;
use crate::dialect::spans::{self, Piece};
use crate::domain::chat::{ChatRequest, Choice, Citation, FinishReason, MediaSource, Part, Signature, TokenLogprob};
use crate::domain::id::DialectId;

pub(super) const IN_PROGRESS: &str = "in_progress";
pub(super) const COMPLETED: &str = "completed";
pub(super) const INCOMPLETE: &str = "incomplete";

/// One item.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item {
    Message {
        id: String,
        status: &'static str,
        role: &'static str,
        content: Vec<PartOut>,
    },
    Reasoning {
        id: String,
        summary: Vec<SummaryOut>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<String>,
    },
    FunctionCall {
        id: String,
        status: &'static str,
        call_id: String,
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        arguments: String,
    },
    CustomToolCall {
        id: String,
        status: &'static str,
        call_id: String,
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        input: String,
    },
    ImageGenerationCall {
        id: String,
        status: &'static str,
        result: Option<String>,
    },
    CodeInterpreterCall {
        id: String,
        status: &'static str,
        container_id: &'static str,
        code: Option<String>,
        outputs: Option<Vec<LogsOut>>,
    },
}

/// What code wrote.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "logs")]
pub(super) struct LogsOut {
    logs: String,
}

/// A part of a message.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum PartOut {
    OutputText { text: String, annotations: Vec<AnnotationOut>, logprobs: Vec<LogprobOut> },
    Refusal { refusal: String },
}

impl PartOut {
    pub(super) fn text(text: String) -> Self {
        Self::OutputText { text, annotations: Vec::new(), logprobs: Vec::new() }
    }
}

/// A paragraph of thinking.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename = "summary_text")]
pub(super) struct SummaryOut {
    pub(super) text: String,
}

/// A source that the text names.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename = "url_citation")]
pub(super) struct AnnotationOut {
    start_index: u32,
    end_index: u32,
    url: String,
    title: String,
}

impl AnnotationOut {
    /// Of a source without an address (a document, the result of a tool) the title says what it is.
    pub(super) fn new(citation: &Citation, piece: Piece) -> Self {
        Self {
            start_index: piece.start,
            end_index: piece.end,
            url: citation.url.clone().unwrap_or_default(),
            title: citation.title.clone().unwrap_or_default(),
        }
    }
}

/// The probability of one token.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LogprobOut {
    token: String,
    bytes: Vec<u8>,
    logprob: f64,
    top_logprobs: Vec<TopOut>,
}

#[derive(Clone, Debug, Serialize)]
struct TopOut {
    token: String,
    bytes: Vec<u8>,
    logprob: f64,
}

impl LogprobOut {
    pub(super) fn new(token: &TokenLogprob) -> Self {
        let top = token.top.iter().map(|(token, logprob)| TopOut {
            token: token.clone(),
            bytes: token.as_bytes().to_vec(),
            logprob: *logprob,
        });
        Self {
            token: token.token.clone(),
            bytes: token.bytes.clone().unwrap_or_else(|| token.token.as_bytes().to_vec()),
            logprob: token.logprob,
            top_logprobs: top.collect(),
        }
    }
}

/// Ids of items, unique within an answer.
pub(super) fn item_id(prefix: &str, answer: &str, at: usize) -> String {
    format!("{prefix}_{answer}{at}")
}

/// Begins the id of thinking that another provider did. Ids of this dialect's own providers are `rs_` and hexadecimal digits.
pub(super) const FOREIGN_THOUGHT: &str = "rs_sw";

/// The id of an item of thinking. Its provider looks such items up by their ids where they are not repeated in full, so one
/// that came from elsewhere must be known when it comes back.
pub(super) fn thought_id(answer: &str, at: usize) -> String {
    item_id(FOREIGN_THOUGHT, answer, at)
}

/// An item for a call that has not said anything yet.
pub(super) fn call(request: &ChatRequest, id: &str, name: &str, custom: bool, answer: &str, at: usize) -> Item {
    let Called { name, namespace, custom } = tools::called(request, name, custom);
    let (name, call_id, status) = (name.to_owned(), id.to_owned(), IN_PROGRESS);
    let namespace = namespace.map(str::to_owned);
    if custom {
        let id = item_id("ctc", answer, at);
        Item::CustomToolCall { id, status, call_id, name, namespace, input: String::new() }
    } else {
        let id = item_id("fc", answer, at);
        Item::FunctionCall { id, status, call_id, name, namespace, arguments: String::new() }
    }
}

/// The signature as the client is to send it back.
pub(super) fn shown(signature: &Signature) -> String {
    signature.shown_in(DialectId::OpenAiResponses).into_owned()
}

impl Item {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Message { id, .. }
            | Self::Reasoning { id, .. }
            | Self::FunctionCall { id, .. }
            | Self::CustomToolCall { id, .. }
            | Self::ImageGenerationCall { id, .. }
            | Self::CodeInterpreterCall { id, .. } => id,
        }
    }

    /// Sets what becomes of it.
    pub(super) fn close(&mut self, as_what: &'static str) {
        match self {
            Self::Message { status, .. }
            | Self::FunctionCall { status, .. }
            | Self::CustomToolCall { status, .. }
            | Self::ImageGenerationCall { status, .. }
            | Self::CodeInterpreterCall { status, .. } => *status = as_what,
            Self::Reasoning { .. } => {}
        }
    }
}

/// How the last item of an answer ends.
pub(super) fn last_status(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::Length | FinishReason::ContentFilter => INCOMPLETE,
        FinishReason::Stop | FinishReason::ToolCalls => COMPLETED,
    }
}

/// All items of a whole answer.
pub(super) fn whole(choice: &Choice, request: &ChatRequest, answer: &str) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let texts = choice.content.iter().filter_map(|part| if let Part::Text(text) = part { Some(&**text) } else { None });
    let begins = spans::begins(texts);
    let mut number = 0;
    for part in &choice.content {
        match part {
            Part::Text(text) => {
                let mut part = PartOut::text(text.clone());
                if let PartOut::OutputText { annotations, logprobs, .. } = &mut part {
                    let pieces = |c: &'_ Citation| spans::pieces(&begins, c.span);
                    let all = choice.citations.iter().flat_map(|c| pieces(c).into_iter().map(move |piece| (c, piece)));
                    let here = all.filter(|(_, piece)| piece.text == number);
                    *annotations = here.map(|(citation, piece)| AnnotationOut::new(citation, piece)).collect();
                    // The canonical model does not say to which part they belong.
                    if number == 0 {
                        *logprobs = choice.logprobs.iter().map(LogprobOut::new).collect();
                    }
                }
                number += 1;
                say(&mut items, part, answer);
            }
            Part::Refusal(refusal) => say(&mut items, PartOut::Refusal { refusal: refusal.clone() }, answer),
            Part::Reasoning { text, signature } => {
                let summary = (!text.is_empty()).then(|| SummaryOut { text: text.clone() });
                items.push(Item::Reasoning {
                    id: thought_id(answer, items.len()),
                    summary: summary.into_iter().collect(),
                    encrypted_content: signature.as_ref().map(shown),
                });
            }
            part => items.extend(image(part, answer, items.len()).or(ran(part, answer, items.len()))),
        }
    }
    sign(&mut items, choice, answer);
    for made in &choice.tool_calls {
        let mut item = call(request, &made.id, &made.name, made.custom, answer, items.len());
        match &mut item {
            Item::FunctionCall { arguments, .. } => arguments.clone_from(&made.arguments),
            Item::CustomToolCall { input, .. } if made.custom => input.clone_from(&made.arguments),
            Item::CustomToolCall { input, .. } => *input = tools::custom_input(&made.arguments).into_owned(),
            _ => {}
        }
        items.push(item);
    }
    let last = items.len().saturating_sub(1);
    for (at, item) in items.iter_mut().enumerate() {
        item.close(if at == last { last_status(choice.finish) } else { COMPLETED });
    }
    items
}

/// The dialect's calls have no signature. The first one's is shown as that of the thinking before it.
fn sign(items: &mut Vec<Item>, choice: &Choice, answer: &str) {
    let Some(given) = choice.tool_calls.first().and_then(|call| call.signature.as_ref()) else { return };
    let given = Some(shown(given));
    match items.last_mut() {
        Some(Item::Reasoning { encrypted_content: encrypted_content @ None, .. }) => *encrypted_content = given,
        _ => {
            let id = thought_id(answer, items.len());
            items.push(Item::Reasoning { id, summary: Vec::new(), encrypted_content: given });
        }
    }
}

/// Adds to the message that is going on, or begins one.
fn say(items: &mut Vec<Item>, part: PartOut, answer: &str) {
    if let Some(Item::Message { content, .. }) = items.last_mut() {
        content.push(part);
        return;
    }
    let id = item_id("msg", answer, items.len());
    items.push(Item::Message { id, status: IN_PROGRESS, role: "assistant", content: vec![part] });
}

/// An image that the model made, as if a tool had made it: this dialect has no other place for one.
pub(super) fn image(part: &Part, answer: &str, at: usize) -> Option<Item> {
    let Part::Image(media) = part else { return None };
    let MediaSource::Base64 { data, .. } = &media.source else { return None };
    Some(Item::ImageGenerationCall { id: item_id("ig", answer, at), status: COMPLETED, result: Some(data.clone()) })
}

/// Code that another provider ran, as if this dialect's tool had run it; what came of it is an item of its own.
pub(super) fn ran(part: &Part, answer: &str, at: usize) -> Option<Item> {
    let (code, outputs) = match Ran::of(part)? {
        Ran::Code { code, .. } => (Some(code), None),
        Ran::Outcome { output, failed } => {
            let logs = failed.map_or(output.clone(), |why| format!("{why}\n{output}"));
            (None, Some(vec![LogsOut { logs }]))
        }
    };
    let id = item_id("ci", answer, at);
    Some(Item::CodeInterpreterCall { id, status: COMPLETED, container_id: "", code, outputs })
}

/// The id of an answer in this dialect's form.
pub(super) fn answer_id<'a>(given: &'a str, unique: &str) -> Cow<'a, str> {
    if given.starts_with("resp_") { Cow::Borrowed(given) } else { Cow::Owned(format!("resp_{unique}")) }
}
