//! Whole answers for clients of this dialect.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::REDACTED;
use crate::dialect::gemini::Ran;
use crate::dialect::{Rendering, common, spans};
use crate::domain::chat::{
    ChatResponse, Choice, Citation, FinishReason, Media, MediaSource, Part, Signature, ToolCall,
};
use crate::domain::id::DialectId;
use crate::domain::usage::{Bucket, Usage};

#[derive(Serialize)]
struct Message<'a> {
    id: Cow<'a, str>,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Block<'a>>,
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
    usage: UsageOut,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        citations: Option<Vec<CitationOut<'a>>>,
    },
    Thinking {
        thinking: &'a str,
        signature: Cow<'a, str>,
    },
    RedactedThinking {
        data: &'a str,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Cow<'a, RawValue>,
    },
    ServerToolUse {
        id: String,
        name: &'static str,
        input: CodeIn,
    },
    CodeExecutionToolResult {
        tool_use_id: String,
        content: ResultOut,
    },
}

/// Code that another provider ran, as if this dialect's tool had run it.
#[derive(Serialize)]
pub(super) struct CodeIn {
    pub(super) code: String,
}

/// What came of it.
#[derive(Serialize)]
pub(super) struct ResultOut {
    r#type: &'static str,
    stdout: String,
    stderr: String,
    return_code: u8,
    content: [(); 0],
}

impl ResultOut {
    pub(super) fn new(output: String, failed: Option<String>) -> Self {
        let return_code = u8::from(failed.is_some());
        let (stdout, stderr) = (output, failed.unwrap_or_default());
        Self { r#type: "code_execution_result", stdout, stderr, return_code, content: [] }
    }
}

/// The tool that runs code, and the id of its call of that number.
pub(super) const CODE_TOOL: &str = "code_execution";

pub(super) fn ran_id(rendering: &Rendering, number: usize) -> String {
    format!("srvtoolu_{}{number}", rendering.id)
}

/// A source, as answers with a web search name them.
#[derive(Serialize)]
pub(super) struct CitationOut<'a> {
    r#type: &'static str,
    url: &'a str,
    title: Option<&'a str>,
    cited_text: &'a str,
    encrypted_index: &'static str,
}

impl<'a> CitationOut<'a> {
    pub(super) fn new(citation: &'a Citation) -> Self {
        Self {
            r#type: "web_search_result_location",
            url: citation.url.as_deref().unwrap_or_default(),
            title: citation.title.as_deref(),
            cited_text: citation.quoted.as_deref().unwrap_or_default(),
            encrypted_index: "",
        }
    }
}

/// `usage` as this dialect counts it: cached prompt apart from the rest, thinking within the output.
#[derive(Serialize)]
pub(super) struct UsageOut {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    cache_creation: CreationOut,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputOut>,
}

#[derive(Serialize)]
struct OutputOut {
    thinking_tokens: u64,
}

#[derive(Serialize)]
struct CreationOut {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

impl UsageOut {
    pub(super) fn new(usage: &Usage) -> Self {
        let (short, long) = (usage.get(Bucket::CacheWrite), usage.get(Bucket::CacheWrite1h));
        let read = usage.get(Bucket::CacheRead);
        let thinking_tokens = usage.get(Bucket::Reasoning);
        Self {
            input_tokens: usage.input_tokens().saturating_sub(short + long + read),
            cache_creation_input_tokens: short + long,
            cache_read_input_tokens: read,
            cache_creation: CreationOut { ephemeral_5m_input_tokens: short, ephemeral_1h_input_tokens: long },
            output_tokens: usage.output_tokens(),
            output_tokens_details: (thinking_tokens > 0).then_some(OutputOut { thinking_tokens }),
        }
    }
}

/// Renders a whole answer. The dialect has one answer to a request; more are never asked for.
pub(super) fn encode(response: &ChatResponse, rendering: &Rendering) -> Bytes {
    let empty = Choice::new(0);
    let choice = response.choices.first().unwrap_or(&empty);
    let mut content: Vec<Block<'_>> = choice.content.iter().filter_map(block).collect();
    cite(&mut content, choice);
    number(&mut content, rendering);
    sign(&mut content, choice);
    content.extend(choice.tool_calls.iter().map(tool_use));
    let message = Message {
        id: id(&response.id, rendering),
        r#type: "message",
        role: "assistant",
        model: &rendering.model,
        content,
        stop_reason: stop_reason(choice.finish, choice.stop_sequence.as_deref()),
        stop_sequence: choice.stop_sequence.as_deref(),
        usage: UsageOut::new(&response.usage.unwrap_or(Usage::ZERO)),
    };
    Bytes::from(serde_json::to_vec(&message).unwrap_or_default())
}

/// Hangs each source on the texts that it supports: the dialect has no places within a text.
fn cite<'a>(content: &mut Vec<Block<'a>>, choice: &'a Choice) {
    let mut texts: Vec<(&str, usize)> = Vec::new();
    let mut at = 0;
    for part in &choice.content {
        let shown = block(part).is_some();
        if let (Part::Text(text), true) = (part, shown) {
            texts.push((text, at));
        }
        at += usize::from(shown);
    }
    if texts.is_empty() && !choice.citations.is_empty() {
        texts.push(("", content.len()));
        content.push(Block::Text { text: Cow::Borrowed(""), citations: None });
    }
    let begins = spans::begins(texts.iter().map(|(text, _)| *text));
    for citation in &choice.citations {
        for piece in spans::pieces(&begins, citation.span) {
            if let Block::Text { citations, .. } = &mut content[texts[piece.text].1] {
                citations.get_or_insert_default().push(CitationOut::new(citation));
            }
        }
    }
}

/// Gives code that ran its id, and its outcome the same.
fn number(content: &mut [Block<'_>], rendering: &Rendering) {
    let mut ran = 0;
    for block in content {
        match block {
            Block::ServerToolUse { id, .. } => {
                ran += 1;
                *id = ran_id(rendering, ran);
            }
            Block::CodeExecutionToolResult { tool_use_id, .. } => *tool_use_id = ran_id(rendering, ran),
            _ => {}
        }
    }
}

/// The dialect's calls have no signature. The first one's is shown as that of the thinking before it.
fn sign<'a>(content: &mut Vec<Block<'a>>, choice: &'a Choice) {
    let Some(given) = choice.tool_calls.first().and_then(|call| call.signature.as_ref()) else { return };
    let given = shown(Some(given));
    match content.last_mut() {
        Some(Block::Thinking { signature, .. }) if signature.is_empty() => *signature = given,
        _ => content.push(Block::Thinking { thinking: "", signature: given }),
    }
}

/// The provider's id of the answer, or one of ours.
pub(super) fn id<'a>(given: &'a str, rendering: &Rendering) -> Cow<'a, str> {
    if given.is_empty() { Cow::Owned(format!("msg_{}", rendering.id)) } else { Cow::Borrowed(given) }
}

fn block(part: &Part) -> Option<Block<'_>> {
    Some(match part {
        Part::Text(text) | Part::Refusal(text) => {
            if text.is_empty() {
                return None;
            }
            Block::Text { text: Cow::Borrowed(text), citations: None }
        }
        Part::Reasoning { text, signature } => match signature.as_ref().and_then(hidden) {
            Some(data) if text.is_empty() => Block::RedactedThinking { data },
            _ => Block::Thinking { thinking: text, signature: shown(signature.as_ref()) },
        },
        Part::Image(media) => Block::Text { text: Cow::Owned(picture(media)), citations: None },
        // The dialect's answers have no place for sound, and what only another dialect knows stays there.
        Part::Audio(_) | Part::File(_) | Part::CacheMark(_) => return None,
        Part::Opaque { .. } => match Ran::of(part)? {
            Ran::Code { code, .. } => {
                Block::ServerToolUse { id: String::new(), name: CODE_TOOL, input: CodeIn { code } }
            }
            Ran::Outcome { output, failed } => {
                let content = ResultOut::new(output, failed);
                Block::CodeExecutionToolResult { tool_use_id: String::new(), content }
            }
        },
    })
}

/// The data of thinking that its provider hides.
pub(super) fn hidden(signature: &Signature) -> Option<&str> {
    signature.of(DialectId::Anthropic)?.strip_prefix(REDACTED)
}

/// Clients demand a signature; thinking that nobody signed has an empty one.
pub(super) fn shown(signature: Option<&Signature>) -> Cow<'_, str> {
    signature.map_or(Cow::Borrowed(""), |signature| signature.shown_in(DialectId::Anthropic))
}

/// The dialect's answers have no images: they are shown as text documents show them.
pub(super) fn picture(media: &Media) -> String {
    match &media.source {
        MediaSource::Url(url) => format!("![image]({url})"),
        MediaSource::Base64 { media_type, data } => format!("![image](data:{media_type};base64,{data})"),
        MediaSource::Stored { id, .. } => format!("![image]({id})"),
    }
}

fn tool_use(call: &ToolCall) -> Block<'_> {
    Block::ToolUse { id: &call.id, name: &call.name, input: common::object(&call.arguments).0 }
}

/// Why it ended, in this dialect's words.
pub(super) fn stop_reason(finish: FinishReason, stop_sequence: Option<&str>) -> &'static str {
    match finish {
        FinishReason::Stop if stop_sequence.is_some() => "stop_sequence",
        FinishReason::Stop => "end_turn",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter => "refusal",
    }
}
