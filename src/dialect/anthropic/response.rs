//! Whole answers, and the one place where usage and stop reasons are read.

use super::error;
use super::types::{CacheCreation, Response, ResponseHead, WireBlock, WireUsage};
use super::{DIALECT, REDACTED};
use crate::dialect::Observed;
use crate::domain::chat::{ChatResponse, Choice, FinishReason, Json, Part, Signature, ToolCall};
use crate::domain::error::{Failure, FailureKind};
use crate::domain::id::DialectId;
use crate::domain::price::ServiceTier;
use crate::domain::usage::{Bucket, Usage};

/// Decodes a whole answer. An empty one is legal.
pub(super) fn decode(body: &[u8]) -> Result<ChatResponse, Failure> {
    let wire: Response<'_> = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
    refuse_error(wire.kind.as_deref(), wire.error)?;
    let Some(blocks) = wire.content else { return Err(no_answer()) };
    let (mut content, mut tool_calls, mut citations) = (Vec::new(), Vec::new(), Vec::new());
    let mut chars = 0_u32;
    for raw in blocks {
        let block: WireBlock<'_> = serde_json::from_str(raw.get()).map_err(|e| malformed(&e))?;
        match &*block.kind {
            "text" => {
                let text = block.text.ok_or_else(no_answer)?;
                let start = chars;
                chars = chars.saturating_add(count(&text));
                citations
                    .extend(block.citations.into_iter().flatten().filter_map(|found| found.citation((start, chars))));
                push_text(&mut content, text);
            }
            "thinking" => content.push(Part::Reasoning {
                text: block.thinking.unwrap_or_default(),
                signature: block.signature.filter(|s| !s.is_empty()).map(|s| Signature::new(DialectId::Anthropic, s)),
            }),
            "redacted_thinking" => content.push(redacted(block.data)),
            "tool_use" => tool_calls.push(ToolCall::new(
                block.id.unwrap_or_default(),
                block.name.ok_or_else(no_answer)?,
                block.input.map_or("{}", |i| i.get()),
            )),
            // Blocks of server tools and whatever comes next are no calls that a client could answer.
            _ => content.push(Part::Opaque { dialect: DIALECT, raw: Json::new(raw.get()) }),
        }
    }
    let finish = finish(wire.stop_reason.as_deref(), !tool_calls.is_empty());
    Ok(ChatResponse {
        id: wire.id.unwrap_or_default(),
        model: wire.model.unwrap_or_default(),
        created: None,
        choices: vec![Choice {
            content,
            tool_calls,
            citations,
            finish,
            stop_sequence: wire.stop_sequence,
            ..Choice::new(0)
        }],
        usage: wire.usage.as_ref().map(usage),
        service_tier: None,
        served: wire.usage.as_ref().and_then(service),
    })
}

/// Characters of a text, as spans of citations count them.
pub(super) fn count(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

/// Reads what metering needs, content untouched.
pub(super) fn observe(body: &[u8]) -> Result<Observed, Failure> {
    let wire: ResponseHead<'_> = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
    refuse_error(wire.kind.as_deref(), wire.error)?;
    let Some(content) = wire.content else { return Err(no_answer()) };
    Ok(Observed {
        usage: wire.usage.as_ref().map(usage),
        service: wire.usage.as_ref().and_then(service),
        model: wire.model,
        finished: wire.stop_reason.is_some(),
        began: content.get() != "[]",
        // The blocks' own JSON counts too: an estimate may be high, not low.
        output_bytes: content.get().len().saturating_sub(2) as u64,
        ..Observed::default()
    })
}

/// The tier of service of an answer. A speed that is not the usual one decides what it costs.
pub(super) fn service(wire: &WireUsage) -> Option<ServiceTier> {
    let read = |word: &Option<String>| word.as_deref().and_then(ServiceTier::read);
    read(&wire.speed).filter(|speed| *speed != ServiceTier::Standard).or_else(|| read(&wire.service_tier))
}

/// Disjoint buckets: `input_tokens` already excludes cached prompt, `output_tokens` includes thinking.
///
/// Passes that condensed the history are billed but not part of the totals, so they are added. Other passes are
/// either in the totals (`message`) or of another model and price (a fallback's first try, an advisor).
pub(super) fn usage(wire: &WireUsage) -> Usage {
    let output = wire.output_tokens.unwrap_or(0);
    let thinking = wire.output_tokens_details.and_then(|d| d.thinking_tokens).unwrap_or(0).min(output);
    let searches = wire.server_tool_use.and_then(|s| s.web_search_requests).unwrap_or(0);
    let mut usage = Usage::ZERO.with(Bucket::Output, output - thinking).with(Bucket::Reasoning, thinking);
    usage.set(Bucket::Search, searches);
    add_input(
        &mut usage,
        wire.input_tokens,
        wire.cache_read_input_tokens,
        wire.cache_creation_input_tokens,
        wire.cache_creation,
    );
    for pass in wire.iterations.iter().flatten().filter(|i| i.kind.as_deref() == Some("compaction")) {
        add(&mut usage, Bucket::Output, pass.output_tokens.unwrap_or(0));
        add_input(
            &mut usage,
            pass.input_tokens,
            pass.cache_read_input_tokens,
            pass.cache_creation_input_tokens,
            pass.cache_creation,
        );
    }
    usage
}

fn add_input(
    usage: &mut Usage,
    input: Option<u64>,
    read: Option<u64>,
    written: Option<u64>,
    by_lifetime: Option<CacheCreation>,
) {
    let by_lifetime = by_lifetime.unwrap_or_default();
    let short = by_lifetime.ephemeral_5m_input_tokens.unwrap_or(0);
    let long = by_lifetime.ephemeral_1h_input_tokens.unwrap_or(0);
    let written = written.unwrap_or_else(|| short.saturating_add(long));
    let long = long.min(written);
    add(usage, Bucket::Input, input.unwrap_or(0));
    add(usage, Bucket::CacheRead, read.unwrap_or(0));
    add(usage, Bucket::CacheWrite1h, long);
    add(usage, Bucket::CacheWrite, written - long);
}

fn add(usage: &mut Usage, bucket: Bucket, count: u64) {
    usage.set(bucket, usage.get(bucket).saturating_add(count));
}

/// Why the answer ended. `pause_turn` means that the provider wants to be called again, which no other dialect can
/// say: `Length` at least tells the caller that the answer is not whole. Unknown reasons read as a natural end.
pub(super) fn finish(stop_reason: Option<&str>, has_calls: bool) -> FinishReason {
    match stop_reason {
        Some("max_tokens" | "model_context_window_exceeded" | "pause_turn") => FinishReason::Length,
        Some("refusal") => FinishReason::ContentFilter,
        Some("end_turn" | "stop_sequence") => FinishReason::Stop,
        // The calls may all have been the server's own.
        _ if has_calls => FinishReason::ToolCalls,
        _ => FinishReason::Stop,
    }
}

/// Thinking that the provider hides: its data travel where a signature does, marked.
pub(super) fn redacted(data: Option<String>) -> Part {
    let data = format!("{REDACTED}{}", data.unwrap_or_default());
    Part::Reasoning { text: String::new(), signature: Some(Signature::new(DialectId::Anthropic, data)) }
}

fn push_text(content: &mut Vec<Part>, text: String) {
    if !text.is_empty() {
        content.push(Part::Text(text));
    }
}

fn refuse_error(kind: Option<&str>, error: Option<super::types::WireError>) -> Result<(), Failure> {
    if kind == Some("error") || error.is_some() { Err(error::in_band(error)) } else { Ok(()) }
}

fn no_answer() -> Failure {
    Failure::new(FailureKind::Malformed, "the answer has no content")
}

pub(super) fn malformed(error: &serde_json::Error) -> Failure {
    // Where, not what: the text around the place is the client's or the model's.
    let place = format!("not an answer of this dialect (line {}, column {})", error.line(), error.column());
    Failure::new(FailureKind::Malformed, place)
}
