//! Whole answers, and the one place where usage and stop reasons are read.

use super::reply::{
    Block, Citation as WireCitation, CitationsContent, Image, Reasoning, Response, WireError, WireUsage,
};
use super::{DIALECT, REDACTED, error, reply};
use crate::domain::chat::{
    ChatResponse, Choice, Citation, FinishReason, Json, Media, MediaSource, Part, Signature, ToolCall,
};
use crate::domain::error::{Failure, FailureKind};
use crate::domain::id::DialectId;
use crate::domain::price::ServiceTier;
use crate::domain::usage::{Bucket, Usage};

/// Decodes a whole answer. An empty one is legal.
pub(super) fn decode(body: &[u8]) -> Result<ChatResponse, Failure> {
    let wire: Response<'_> = serde_json::from_slice(body).map_err(|e| malformed(&e))?;
    let Some(blocks) = wire.output.and_then(|o| o.message).and_then(|message| message.content) else {
        let error: WireError = serde_json::from_slice(body).unwrap_or_default();
        if error.message.is_some() || error.kind.is_some() {
            return Err(error::in_band(None, error, true));
        }
        return Err(Failure::new(FailureKind::Malformed, "the answer has no content"));
    };
    refuse_garbled(wire.stop_reason.as_deref())?;
    let mut choice = Choice::new(0);
    let mut characters = 0;
    for raw in blocks {
        let block: Block<'_> = serde_json::from_str(raw.get()).map_err(|e| malformed(&e))?;
        match block {
            Block { text: Some(text), .. } => push_text(&mut choice, &mut characters, text),
            Block { tool_use: Some(call), .. } if call.is_clients() => choice.tool_calls.push(ToolCall::new(
                call.tool_use_id.unwrap_or_default(),
                call.name.unwrap_or_default(),
                call.input.map_or("{}", |i| i.get()),
            )),
            Block { reasoning_content: Some(reasoning), .. } => push_reasoning(&mut choice, reasoning),
            Block { citations_content: Some(cited), .. } => push_cited(&mut choice, &mut characters, cited),
            Block { image: Some(image), .. } => choice.content.extend(picture(image)),
            // Calls that the provider ran itself, their results, and whatever comes next.
            _ => choice.content.push(Part::Opaque { dialect: DIALECT, raw: Json::new(raw.get()) }),
        }
    }
    choice.finish = finish(wire.stop_reason.as_deref(), !choice.tool_calls.is_empty());
    choice.stop_sequence = reply::stop_sequence(wire.additional_model_response_fields);
    Ok(ChatResponse {
        // The provider names neither the answer nor, as a rule, the model.
        id: String::new(),
        model: wire.trace.and_then(reply::Trace::model).unwrap_or_default(),
        created: None,
        choices: vec![choice],
        usage: wire.usage.as_ref().map(usage),
        served: wire.service_tier.as_ref().and_then(|tier| ServiceTier::read(&tier.kind)),
        service_tier: wire.service_tier.map(|t| t.kind.into_owned()),
    })
}

fn push_text(choice: &mut Choice, characters: &mut u32, text: String) {
    *characters = characters.saturating_add(length(&text));
    if !text.is_empty() {
        choice.content.push(Part::Text(text));
    }
}

fn push_reasoning(choice: &mut Choice, reasoning: Reasoning) {
    if let Some(thought) = reasoning.reasoning_text {
        let signature = thought.signature.filter(|s| !s.is_empty()).map(|s| Signature::new(DialectId::Bedrock, s));
        choice.content.push(Part::Reasoning { text: thought.text.unwrap_or_default(), signature });
    }
    if let Some(data) = reasoning.redacted_content {
        choice.content.push(Part::Reasoning { text: String::new(), signature: Some(redacted(&data)) });
    }
}

fn push_cited(choice: &mut Choice, characters: &mut u32, cited: CitationsContent) {
    let begin = *characters;
    for text in cited.content.into_iter().filter_map(|t| t.text) {
        push_text(choice, characters, text);
    }
    let sources = cited.citations.into_iter().map(|source| citation(source, begin, *characters));
    choice.citations.extend(sources);
}

/// Characters of a text.
pub(super) fn length(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

/// A source and the stretch of the answer that it supports.
pub(super) fn citation(wire: WireCitation, begin: u32, end: u32) -> Citation {
    let quoted: String = wire.source_content.into_iter().filter_map(|t| t.text).collect();
    let address = |source: &&String| source.starts_with("https://") || source.starts_with("http://");
    let source = wire.source.filter(|source| !source.is_empty());
    let web = wire.location.and_then(|l| l.web).and_then(|w| w.url);
    Citation {
        url: web.or_else(|| source.as_ref().filter(address).cloned()),
        title: wire.title.or(source),
        quoted: Some(quoted).filter(|q| !q.is_empty()),
        span: (end > begin).then_some((begin, end)),
    }
}

/// Thinking that the provider hides: its data travel where a signature does, marked.
pub(super) fn redacted(data: &str) -> Signature {
    Signature::new(DialectId::Bedrock, format!("{REDACTED}{data}"))
}

/// An image that the model made.
pub(super) fn picture(image: Image) -> Option<Part> {
    let data = image.source?.bytes.filter(|b| !b.is_empty())?;
    let media_type = format!("image/{}", image.format.as_deref().unwrap_or("png"));
    let source = MediaSource::Base64 { media_type, data };
    Some(Part::Image(Media { source, media_type: None, detail: None, name: None }))
}

/// Disjoint buckets: `inputTokens` excludes what was read from or written to the cache, `outputTokens` includes
/// thinking, which is not told apart.
pub(super) fn usage(wire: &WireUsage) -> Usage {
    let read = wire.cache_read_input_tokens.or(wire.cache_read_input_token_count).unwrap_or(0);
    let written = wire.cache_write_input_tokens.or(wire.cache_write_input_token_count);
    let details = || wire.cache_details.iter().flatten();
    let sum = |long: bool| {
        let counts = details().filter(|d| (d.ttl.as_deref() == Some("1h")) == long).filter_map(|d| d.input_tokens);
        counts.fold(0_u64, u64::saturating_add)
    };
    let written = written.unwrap_or_else(|| sum(false).saturating_add(sum(true)));
    let long = sum(true).min(written);
    Usage::ZERO
        .with(Bucket::Input, wire.input_tokens.unwrap_or(0))
        .with(Bucket::CacheRead, read)
        .with(Bucket::CacheWrite, written - long)
        .with(Bucket::CacheWrite1h, long)
        .with(Bucket::Output, wire.output_tokens.unwrap_or(0))
}

/// Why the answer ended. Unknown reasons read as a natural end.
pub(super) fn finish(stop_reason: Option<&str>, has_calls: bool) -> FinishReason {
    match stop_reason {
        Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
        Some("guardrail_intervened" | "content_filtered") => FinishReason::ContentFilter,
        Some("end_turn" | "stop_sequence") => FinishReason::Stop,
        // The calls may all have been the provider's own.
        _ if has_calls => FinishReason::ToolCalls,
        _ => FinishReason::Stop,
    }
}

/// The model wrote what the provider could not read: there is no answer, and another target may do better.
pub(super) fn refuse_garbled(stop_reason: Option<&str>) -> Result<(), Failure> {
    match stop_reason {
        Some(reason @ ("malformed_model_output" | "malformed_tool_use")) => Err(Failure {
            code: Some(reason.to_owned()),
            ..Failure::new(FailureKind::Upstream, "the model's output was malformed")
        }),
        _ => Ok(()),
    }
}

pub(super) fn malformed(error: &serde_json::Error) -> Failure {
    // Where, not what: the text around the place is the client's or the model's.
    let place = format!("not an answer of this dialect (line {}, column {})", error.line(), error.column());
    Failure::new(FailureKind::Malformed, place)
}
