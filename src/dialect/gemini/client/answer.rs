//! Answers for clients of this dialect: whole ones, and the pieces that streams are made of.

use std::borrow::Cow;

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, Engine};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::dialect::gemini::turns::UNSIGNED;
use crate::dialect::{Rendering, common, spans};
use crate::domain::chat::{
    ChatResponse, Choice, Citation, FinishReason, Media, MediaSource, Part, Signature, TokenLogprob, ToolCall,
};
use crate::domain::id::DialectId;
use crate::domain::usage::{Bucket, Usage};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer<'a> {
    pub(super) candidates: Vec<Candidate<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage_metadata: Option<UsageOut>,
    pub(super) model_version: &'a str,
    pub(super) response_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate<'a> {
    pub(super) content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finish_reason: Option<&'static str>,
    pub(super) index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grounding_metadata: Option<Grounding<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs_result: Option<Logprobs<'a>>,
}

#[derive(Serialize)]
pub(super) struct Content<'a> {
    pub(super) parts: Vec<PartOut<'a>>,
    pub(super) role: &'static str,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thought: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) function_call: Option<CallOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inline_data: Option<BlobOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_data: Option<FileOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thought_signature: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
pub(super) struct CallOut<'a> {
    id: &'a str,
    name: &'a str,
    args: Cow<'a, RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BlobOut<'a> {
    mime_type: &'a str,
    data: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileOut<'a> {
    file_uri: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Grounding<'a> {
    grounding_chunks: Vec<Chunk<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    grounding_supports: Vec<Support<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Support<'a> {
    segment: Segment<'a>,
    grounding_chunk_indices: [usize; 1],
}

/// A stretch of a part's text, in bytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Segment<'a> {
    #[serde(skip_serializing_if = "is_first")]
    part_index: usize,
    start_index: usize,
    end_index: usize,
    text: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_first(index: &usize) -> bool {
    *index == 0
}

#[derive(Serialize)]
struct Chunk<'a> {
    web: Web<'a>,
}

#[derive(PartialEq, Serialize)]
struct Web<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Logprobs<'a> {
    chosen_candidates: Vec<Token<'a>>,
    top_candidates: Vec<Top<'a>>,
}

#[derive(Serialize)]
struct Top<'a> {
    candidates: Vec<Token<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Token<'a> {
    token: &'a str,
    log_probability: f64,
}

/// `usageMetadata` as this dialect counts it: cached prompt within the prompt, thinking beside the answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageOut {
    prompt_token_count: u64,
    candidates_token_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    thoughts_token_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    cached_content_token_count: u64,
    total_token_count: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl UsageOut {
    pub(super) fn new(usage: &Usage) -> Self {
        let thoughts = usage.get(Bucket::Reasoning);
        Self {
            prompt_token_count: usage.input_tokens(),
            candidates_token_count: usage.output_tokens().saturating_sub(thoughts),
            thoughts_token_count: thoughts,
            cached_content_token_count: usage.get(Bucket::CacheRead),
            total_token_count: usage.input_tokens().saturating_add(usage.output_tokens()),
        }
    }
}

/// Renders a whole answer.
pub(super) fn encode(response: &ChatResponse, rendering: &Rendering) -> Bytes {
    let answer = Answer {
        candidates: response.choices.iter().map(candidate).collect(),
        usage_metadata: response.usage.as_ref().map(UsageOut::new),
        model_version: &rendering.model,
        response_id: if response.id.is_empty() { &rendering.id } else { &response.id },
    };
    Bytes::from(serde_json::to_vec(&answer).unwrap_or_default())
}

fn candidate(choice: &Choice) -> Candidate<'_> {
    let mut parts: Vec<PartOut<'_>> = choice.content.iter().filter_map(part).collect();
    parts.extend(calls(&choice.tool_calls));
    let grounding_metadata = grounding(&choice.citations, &texts(choice));
    Candidate {
        content: Content { parts, role: "model" },
        finish_reason: Some(finish_reason(choice.finish)),
        index: choice.index,
        grounding_metadata,
        logprobs_result: logprobs(&choice.logprobs),
    }
}

/// One part; what has no place in this dialect's answers is left out.
pub(super) fn part(part: &Part) -> Option<PartOut<'_>> {
    Some(match part {
        Part::Text(text) | Part::Refusal(text) => PartOut { text: Some(text), ..PartOut::default() },
        Part::Reasoning { text, signature } => {
            let thought_signature = signature.as_ref().map(shown);
            let thought = (!text.is_empty()).then_some(true);
            PartOut { text: Some(text), thought, thought_signature, ..PartOut::default() }
        }
        Part::Image(media) | Part::Audio(media) | Part::File(media) => blob(media)?,
        Part::CacheMark(_) | Part::Opaque { .. } => return None,
    })
}

fn blob(media: &Media) -> Option<PartOut<'_>> {
    Some(match &media.source {
        MediaSource::Base64 { media_type, data } => {
            PartOut { inline_data: Some(BlobOut { mime_type: media_type, data }), ..PartOut::default() }
        }
        MediaSource::Url(url) => PartOut { file_data: Some(FileOut { file_uri: url }), ..PartOut::default() },
        MediaSource::Stored { .. } => return None,
    })
}

/// A signature as clients of this dialect see it. It is bytes for them, so a foreign one is base64 with its origin
/// inside.
pub(super) fn shown(signature: &Signature) -> Cow<'_, str> {
    match signature.shown_in(DialectId::Gemini) {
        own @ Cow::Borrowed(_) => own,
        Cow::Owned(foreign) => Cow::Owned(STANDARD.encode(foreign)),
    }
}

/// The way back. Some clients write the bytes in the alphabet of URLs.
pub(in crate::dialect::gemini) fn read_signature(given: &str) -> Signature {
    let any = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = [alphabet::STANDARD, alphabet::URL_SAFE]
        .iter()
        .find_map(|letters| GeneralPurpose::new(letters, any).decode(given).ok());
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let foreign = text.map(|text| Signature::read(&text, DialectId::Gemini)).filter(|s| s.origin != DialectId::Gemini);
    foreign.unwrap_or_else(|| Signature::read(given, DialectId::Gemini))
}

/// The calls of a turn, whole. The first of those that nobody signed says so in Google's word, in case the conversation
/// goes on with a model of Google's, to which bytes pass.
pub(super) fn calls(calls: &[ToolCall]) -> impl Iterator<Item = PartOut<'_>> {
    calls.iter().enumerate().map(|(at, call)| {
        let args = common::object(&call.arguments).0;
        let unsigned = (at == 0).then_some(Cow::Borrowed(UNSIGNED));
        PartOut {
            function_call: Some(CallOut { id: &call.id, name: &call.name, args }),
            thought_signature: call.signature.as_ref().map(shown).or(unsigned),
            ..PartOut::default()
        }
    })
}

/// The texts of an answer with their places among its parts.
fn texts(choice: &Choice) -> Vec<(usize, &str)> {
    let shown = choice.content.iter().filter(|of| part(of).is_some()).enumerate();
    shown.filter_map(|(at, part)| if let Part::Text(text) = part { Some((at, &**text)) } else { None }).collect()
}

/// Sources with what they support, where there are any. `texts`: the places of texts among the parts, and they themselves.
pub(super) fn grounding<'a>(citations: &'a [Citation], texts: &[(usize, &'a str)]) -> Option<Grounding<'a>> {
    let begins = spans::begins(texts.iter().map(|(_, text)| *text));
    let (mut chunks, mut supports): (Vec<Chunk<'_>>, Vec<Support<'_>>) = (Vec::new(), Vec::new());
    for citation in citations {
        let web = Web { uri: citation.url.as_deref(), title: citation.title.as_deref() };
        let at = chunks.iter().position(|chunk| chunk.web == web).unwrap_or_else(|| {
            chunks.push(Chunk { web });
            chunks.len() - 1
        });
        for piece in citation.span.map(|span| spans::pieces(&begins, Some(span))).unwrap_or_default() {
            let (part_index, text) = texts[piece.text];
            let (start_index, end_index) = spans::in_bytes(text, (piece.start, piece.end));
            let segment = Segment { part_index, start_index, end_index, text: &text[start_index..end_index] };
            supports.push(Support { segment, grounding_chunk_indices: [at] });
        }
    }
    (!chunks.is_empty()).then_some(Grounding { grounding_chunks: chunks, grounding_supports: supports })
}

/// Log probabilities, where there are any.
pub(super) fn logprobs(tokens: &[TokenLogprob]) -> Option<Logprobs<'_>> {
    let chosen = tokens.iter().map(|t| Token { token: &t.token, log_probability: t.logprob });
    let tops = tokens
        .iter()
        .map(|t| Top { candidates: t.top.iter().map(|(token, p)| Token { token, log_probability: *p }).collect() });
    (!tokens.is_empty()).then(|| Logprobs { chosen_candidates: chosen.collect(), top_candidates: tops.collect() })
}

/// Why it ended, in this dialect's words: calls end with `STOP` as well.
pub(super) fn finish_reason(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::Stop | FinishReason::ToolCalls => "STOP",
        FinishReason::Length => "MAX_TOKENS",
        FinishReason::ContentFilter => "SAFETY",
    }
}
