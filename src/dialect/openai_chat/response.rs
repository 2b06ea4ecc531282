//! Whole answers: observed when they pass, written when they were translated.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::decode;
use super::extras::{self, Annotation, Call, Executed, Image, Logprobs};
use super::finish as why;
use super::functions::FunctionCall;
use super::types::{Content, Delta, InsideError, told};
use super::usage::WireUsage;
use crate::dialect::common::{lenient, readable};
use crate::dialect::{Observed, Quirks, Rendering};
use crate::domain::chat::{ChatResponse, Choice, FinishReason, Part};
use crate::domain::error::{Failure, FailureKind};
use crate::domain::price::ServiceTier;
use crate::domain::usage::{Bucket, Usage};

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    choices: Option<Vec<AnswerChoice<'a>>>,
    #[serde(default, deserialize_with = "readable")]
    usage: Option<WireUsage>,
    #[serde(default, deserialize_with = "lenient")]
    service_tier: Option<String>,
    #[serde(default, deserialize_with = "told")]
    error: Option<InsideError>,
}

#[derive(Deserialize)]
struct AnswerChoice<'a> {
    /// The message has the members of a delta.
    #[serde(borrow)]
    message: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
    /// Of a legacy completion.
    #[serde(borrow)]
    text: Option<Content<'a>>,
}

/// Reads what metering needs from an answer that passes unchanged.
pub(super) fn observe(body: &[u8], quirks: &Quirks) -> Result<Observed, Failure> {
    let answer: Answer<'_> = serde_json::from_slice(body)
        .map_err(|_| Failure::new(FailureKind::Malformed, "the provider's answer is not a chat completion"))?;
    let choices = match (answer.choices, answer.error) {
        (Some(choices), None) => choices,
        (choices, Some(error)) if choices.as_ref().is_none_or(Vec::is_empty) => return Err(error.failure()),
        (Some(choices), Some(_)) => choices,
        (None, _) => return Err(Failure::new(FailureKind::Malformed, "the provider's answer has no choices")),
    };
    let silent = |choice: &AnswerChoice<'_>| choice.message.is_none() && choice.text.is_none();
    if choices.is_empty() || choices.iter().any(|c| silent(c) && !why::filtered(c.finish_reason.as_deref())) {
        return Err(decode::no_message());
    }
    let said = |choice: &AnswerChoice<'_>| {
        let text = choice.text.as_ref().map_or(0, |text| text.bytes() as u64);
        choice.message.as_ref().map_or(0, |message| message.shown().0) + text
    };
    let bytes = choices.iter().map(said).sum();
    Ok(Observed {
        usage: answer.usage.and_then(|usage| usage.buckets(quirks)),
        model: answer.model.map(Cow::into_owned),
        service: answer.service_tier.as_deref().and_then(ServiceTier::read),
        finished: true,
        began: true,
        output_bytes: bytes,
        ..Observed::default()
    })
}

#[derive(Serialize)]
struct WireAnswer<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: Vec<WireChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageOut>,
}

#[derive(Serialize)]
struct WireChoice<'a> {
    index: u32,
    message: WireMessage<'a>,
    logprobs: Option<Logprobs<'a>>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionCall<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasoning_details: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<Annotation<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Image>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    executed_code: Vec<Executed>,
}

/// `usage` as this dialect counts it: cached tokens within the prompt, thinking within the completion.
#[derive(Serialize)]
pub(in crate::dialect) struct UsageOut {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptOut,
    completion_tokens_details: CompletionOut,
}

#[derive(Serialize)]
struct PromptOut {
    cached_tokens: u64,
    #[serde(skip_serializing_if = "is_zero")]
    cache_write_tokens: u64,
    audio_tokens: u64,
}

#[derive(Serialize)]
struct CompletionOut {
    reasoning_tokens: u64,
    audio_tokens: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl UsageOut {
    pub(in crate::dialect) fn new(usage: &Usage) -> Self {
        Self {
            prompt_tokens: usage.input_tokens(),
            completion_tokens: usage.output_tokens(),
            total_tokens: usage.input_tokens().saturating_add(usage.output_tokens()),
            prompt_tokens_details: PromptOut {
                cached_tokens: usage.get(Bucket::CacheRead),
                cache_write_tokens: usage.get(Bucket::CacheWrite).saturating_add(usage.get(Bucket::CacheWrite1h)),
                audio_tokens: usage.get(Bucket::InputAudio),
            },
            completion_tokens_details: CompletionOut {
                reasoning_tokens: usage.get(Bucket::Reasoning),
                audio_tokens: usage.get(Bucket::OutputAudio),
            },
        }
    }
}

/// Writes a translated answer. The client sees the model it asked for.
pub(super) fn encode(response: &ChatResponse, rendering: &Rendering) -> Bytes {
    // Some providers name no answer; clients of this dialect expect that each has a name.
    let own = format!("chatcmpl-{}", rendering.id);
    let answer = WireAnswer {
        id: if response.id.is_empty() { &own } else { &response.id },
        object: "chat.completion",
        created: response.created.unwrap_or(rendering.created),
        model: &rendering.model,
        choices: response.choices.iter().map(|c| choice(c, rendering.request.legacy_functions)).collect(),
        usage: response.usage.as_ref().map(UsageOut::new),
    };
    Bytes::from(serde_json::to_vec(&answer).unwrap_or_default())
}

fn choice(choice: &Choice, legacy: bool) -> WireChoice<'_> {
    let join = |pick: fn(&Part) -> Option<&str>| {
        let texts: Vec<&str> = choice.content.iter().filter_map(pick).collect();
        (!texts.is_empty()).then(|| texts.concat())
    };
    let text = join(|part| if let Part::Text(text) = part { Some(text) } else { None });
    let thinking = join(|part| if let Part::Reasoning { text, .. } = part { Some(text) } else { None });
    let refusal = join(|part| if let Part::Refusal(text) = part { Some(text) } else { None });
    // An empty answer is text without letters; only calls and refusals stand without text.
    let empty = choice.tool_calls.is_empty() && refusal.is_none();
    let signatures = choice.content.iter().filter_map(|part| match part {
        Part::Reasoning { signature, .. } => signature.as_ref(),
        _ => None,
    });
    WireChoice {
        index: choice.index,
        message: WireMessage {
            role: "assistant",
            content: text.or_else(|| empty.then(String::new)),
            reasoning_content: thinking.filter(|text| !text.is_empty()),
            refusal,
            tool_calls: choice.tool_calls.iter().filter(|_| !legacy).map(Call::whole).collect(),
            function_call: choice
                .tool_calls
                .first()
                .filter(|_| legacy)
                .map(|call| FunctionCall { name: Some(&call.name), arguments: &call.arguments }),
            reasoning_details: signatures.flat_map(extras::details).collect(),
            annotations: extras::annotations(&choice.citations),
            images: choice.content.iter().filter_map(extras::image).collect(),
            executed_code: choice.content.iter().filter_map(Executed::of).collect(),
        },
        logprobs: extras::logprobs(&choice.logprobs),
        finish_reason: if legacy { legacy_finish(choice.finish) } else { finish(choice.finish) },
    }
}

/// The same for a client that asked with `functions`.
pub(super) fn legacy_finish(reason: FinishReason) -> &'static str {
    if reason == FinishReason::ToolCalls { "function_call" } else { finish(reason) }
}

pub(super) fn finish(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}
