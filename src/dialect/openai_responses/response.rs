//! The response object: a whole answer, and what the first and last events of a stream repeat of the request.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::output::{self, COMPLETED, INCOMPLETE, Item};
use super::tools::{self, WireChoice, WireTool};
use super::usage::UsageOut;
use crate::dialect::Rendering;
use crate::domain::chat::{ChatRequest, ChatResponse, Choice, FinishReason, Json, Message, Part, ResponseFormat, Role};
use crate::domain::error::{Error, ErrorKind, NO_QUOTA};

/// The tiers that the dialect has; other providers have words of their own.
const TIERS: [&str; 5] = ["auto", "default", "flex", "scale", "priority"];

/// A response object with all members that clients read, null where there is nothing.
#[derive(Debug, Serialize)]
pub(super) struct ResponseOut<'a> {
    id: &'a str,
    object: &'static str,
    created_at: i64,
    status: &'static str,
    background: bool,
    error: Option<ErrorOut<'a>>,
    incomplete_details: Option<IncompleteOut>,
    instructions: Option<&'a str>,
    max_output_tokens: Option<u64>,
    max_tool_calls: Option<()>,
    model: &'a str,
    output: &'a [Item],
    parallel_tool_calls: bool,
    previous_response_id: Option<()>,
    prompt_cache_key: Option<&'a str>,
    reasoning: ReasoningOut<'a>,
    safety_identifier: Option<&'a RawValue>,
    service_tier: Option<&'a str>,
    store: bool,
    temperature: f64,
    text: TextOut<'a>,
    tool_choice: WireChoice<'a>,
    tools: Vec<WireTool<'a>>,
    top_logprobs: u32,
    top_p: f64,
    truncation: &'static str,
    usage: Option<UsageOut>,
    user: Option<&'a str>,
    metadata: Option<&'a RawValue>,
}

#[derive(Debug, Serialize)]
pub(super) struct ErrorOut<'a> {
    code: &'a str,
    message: &'a str,
    /// Not of the dialect: seconds, where no header can tell them any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

#[derive(Debug, Serialize)]
struct IncompleteOut {
    reason: &'static str,
}

#[derive(Debug, Serialize)]
struct ReasoningOut<'a> {
    effort: Option<&'a str>,
    summary: Option<&'a RawValue>,
}

#[derive(Debug, Serialize)]
struct TextOut<'a> {
    format: FormatOut<'a>,
    verbosity: &'a str,
}

#[derive(Debug, Serialize)]
struct FormatOut<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

/// Where an answer stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum State<'e> {
    /// It is being written.
    Running,
    /// It ended.
    Ended(FinishReason),
    /// It broke.
    Failed(&'e Error),
}

impl State<'_> {
    /// The word for it, also the end of the event's name.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Running => output::IN_PROGRESS,
            Self::Ended(FinishReason::Length | FinishReason::ContentFilter) => INCOMPLETE,
            Self::Ended(FinishReason::Stop | FinishReason::ToolCalls) => COMPLETED,
            Self::Failed(_) => "failed",
        }
    }

    fn incomplete(self) -> Option<IncompleteOut> {
        match self {
            Self::Ended(FinishReason::Length) => Some(IncompleteOut { reason: "max_output_tokens" }),
            Self::Ended(FinishReason::ContentFilter) => Some(IncompleteOut { reason: "content_filter" }),
            _ => None,
        }
    }
}

/// What a response object is made of, beside the request.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) id: &'a str,
    pub(super) created: i64,
    pub(super) model: &'a str,
    pub(super) service_tier: Option<&'a str>,
}

impl<'a> ResponseOut<'a> {
    /// The object at one moment of an answer.
    pub(super) fn new(
        head: Head<'a>,
        request: &'a ChatRequest,
        state: State<'a>,
        output: &'a [Item],
        usage: Option<UsageOut>,
    ) -> Self {
        let extra = |name: &str| request.extra.iter().find(|(n, _)| n == name).and_then(|(_, json)| raw(json));
        let error = match state {
            State::Failed(error) => Some(ErrorOut::new(error)),
            State::Running | State::Ended(_) => None,
        };
        Self {
            id: head.id,
            object: "response",
            created_at: head.created,
            status: state.word(),
            background: false,
            error,
            incomplete_details: state.incomplete(),
            instructions: instructions(&request.messages),
            max_output_tokens: request.max_output_tokens,
            max_tool_calls: None,
            model: head.model,
            output,
            parallel_tool_calls: request.parallel_tool_calls.unwrap_or(true),
            previous_response_id: None,
            prompt_cache_key: request.prompt_cache_key.as_deref(),
            reasoning: ReasoningOut {
                effort: request.reasoning.as_ref().and_then(|r| r.effort.as_deref()),
                summary: extra("reasoning.summary"),
            },
            safety_identifier: extra("safety_identifier"),
            service_tier: head.service_tier.or(request.service_tier.as_deref()).filter(|tier| TIERS.contains(tier)),
            store: false,
            temperature: request.sampling.temperature.unwrap_or(1.0),
            text: TextOut {
                format: format(request.response_format.as_ref()),
                verbosity: request.verbosity.as_deref().unwrap_or("medium"),
            },
            tool_choice: tools::encode_choice(request).unwrap_or(WireChoice::Word("auto")),
            tools: tools::encode(request).unwrap_or_default(),
            top_logprobs: request.sampling.top_logprobs.unwrap_or(0),
            top_p: request.sampling.top_p.unwrap_or(1.0),
            truncation: "disabled",
            usage,
            user: request.user.as_deref(),
            metadata: request.metadata.as_ref().and_then(raw),
        }
    }
}

fn raw(json: &Json) -> Option<&RawValue> {
    serde_json::from_str(json.as_str()).ok()
}

/// The instructions, which the canonical model keeps as the first turn.
fn instructions(messages: &[Message]) -> Option<&str> {
    let first = messages.first().filter(|message| message.role == Role::System)?;
    match first.content.as_slice() {
        [Part::Text(text)] => Some(text),
        _ => None,
    }
}

fn format(format: Option<&ResponseFormat>) -> FormatOut<'_> {
    let plain = |r#type| FormatOut { r#type, name: None, description: None, schema: None, strict: None };
    match format {
        None | Some(ResponseFormat::Text) => plain("text"),
        Some(ResponseFormat::JsonObject) => plain("json_object"),
        Some(ResponseFormat::JsonSchema { name, description, schema, strict }) => FormatOut {
            r#type: "json_schema",
            name: Some(name),
            description: description.as_deref(),
            schema: schema.as_ref().and_then(raw),
            strict: *strict,
        },
    }
}

impl<'a> ErrorOut<'a> {
    fn new(error: &'a Error) -> Self {
        let own = || error.code.filter(|code| *code == NO_QUOTA).unwrap_or_else(|| code(error.kind));
        let code = error.told_code.as_deref().unwrap_or_else(own);
        Self { code, message: &error.message, retry_after: error.retry_seconds() }
    }
}

/// The codes that clients of this dialect know, unless the provider gave one; the message says the rest.
fn code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::RateLimited => "rate_limit_exceeded",
        ErrorKind::ContextTooLong => "context_length_exceeded",
        ErrorKind::BudgetExhausted => "insufficient_quota",
        ErrorKind::InvalidRequest | ErrorKind::UnsupportedParameter => "invalid_prompt",
        ErrorKind::UnknownModel
        | ErrorKind::UnknownPath
        | ErrorKind::MethodNotAllowed
        | ErrorKind::BodyTooLarge
        | ErrorKind::UnsupportedMedia
        | ErrorKind::BodyTimeout
        | ErrorKind::InvalidKey
        | ErrorKind::Forbidden
        | ErrorKind::PolicyRefused
        | ErrorKind::PolicyFailed
        | ErrorKind::TooExpensive
        | ErrorKind::Unavailable
        | ErrorKind::UpstreamFailed
        | ErrorKind::UpstreamTimeout
        | ErrorKind::Overloaded
        | ErrorKind::Internal => "server_error",
    }
}

/// Writes a translated answer. The client sees the model it asked for.
pub(super) fn encode(response: &ChatResponse, rendering: &Rendering) -> Bytes {
    let empty = Choice::new(0);
    let choice = response.choices.first().unwrap_or(&empty);
    let items = output::whole(choice, &rendering.request, &rendering.id);
    let id = output::answer_id(&response.id, &rendering.id);
    let head = Head {
        id: &id,
        created: response.created.unwrap_or(rendering.created),
        model: &rendering.model,
        service_tier: response.service_tier.as_deref(),
    };
    let usage = response.usage.as_ref().map(UsageOut::new);
    let answer = ResponseOut::new(head, &rendering.request, State::Ended(choice.finish), &items, usage);
    Bytes::from(serde_json::to_vec(&answer).unwrap_or_default())
}
