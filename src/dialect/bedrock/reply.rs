//! Types of what comes back: whole answers, events of streams and errors.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::types::Typed;
use crate::dialect::common::lenient;

/// A whole answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response<'a> {
    #[serde(borrow, default)]
    pub(super) output: Option<Output<'a>>,
    #[serde(default)]
    pub(super) stop_reason: Option<String>,
    #[serde(default, deserialize_with = "report")]
    pub(super) usage: Option<WireUsage>,
    #[serde(borrow, default)]
    pub(super) additional_model_response_fields: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) service_tier: Option<Typed<'a>>,
    #[serde(default)]
    pub(super) trace: Option<Trace>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Output<'a> {
    #[serde(borrow, default)]
    pub(super) message: Option<Message<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    /// The blocks, verbatim: unknown ones are kept as they are.
    #[serde(borrow, default)]
    pub(super) content: Option<Vec<&'a RawValue>>,
}

/// A block: exactly one member is there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Block<'a> {
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(borrow, default)]
    pub(super) tool_use: Option<ToolUse<'a>>,
    #[serde(default)]
    pub(super) reasoning_content: Option<Reasoning>,
    #[serde(default)]
    pub(super) citations_content: Option<CitationsContent>,
    #[serde(default)]
    pub(super) image: Option<Image>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolUse<'a> {
    #[serde(default)]
    pub(super) tool_use_id: Option<String>,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(borrow, default)]
    pub(super) input: Option<&'a RawValue>,
    /// `server_tool_use` where the provider runs the tool itself.
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Cow<'a, str>,
}

impl ToolUse<'_> {
    pub(super) fn is_clients(&self) -> bool {
        self.kind != "server_tool_use"
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reasoning {
    #[serde(default)]
    pub(super) reasoning_text: Option<ReasoningText>,
    /// Base64.
    #[serde(default)]
    pub(super) redacted_content: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReasoningText {
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) signature: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CitationsContent {
    #[serde(default)]
    pub(super) content: Vec<TextOnly>,
    #[serde(default)]
    pub(super) citations: Vec<Citation>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TextOnly {
    #[serde(default)]
    pub(super) text: Option<String>,
}

/// A source. Its place is told in documents, pages or chunks; only an address on the web means something elsewhere.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Citation {
    #[serde(default)]
    pub(super) title: Option<String>,
    /// Of a search result that the caller gave: what it called its source.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) source: Option<String>,
    #[serde(default)]
    pub(super) source_content: Vec<TextOnly>,
    #[serde(default)]
    pub(super) location: Option<Location>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Location {
    #[serde(default)]
    pub(super) web: Option<Web>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Web {
    #[serde(default)]
    pub(super) url: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Image {
    #[serde(default)]
    pub(super) format: Option<String>,
    #[serde(default)]
    pub(super) source: Option<ImageSource>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ImageSource {
    /// Base64.
    #[serde(default)]
    pub(super) bytes: Option<String>,
}

/// What the provider tells of the way that the request took.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Trace {
    #[serde(default)]
    pub(super) prompt_router: Option<PromptRouter>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PromptRouter {
    #[serde(default)]
    pub(super) invoked_model_id: Option<String>,
}

impl Trace {
    /// The model that a prompt router chose.
    pub(super) fn model(self) -> Option<String> {
        self.prompt_router?.invoked_model_id
    }
}

/// The one member of `additionalModelResponseFields` that is read: Claude's stop sequence, which stands at its top in
/// whole answers and under `delta` in streams.
#[derive(Debug, Deserialize)]
pub(super) struct AdditionalFields {
    #[serde(default)]
    stop_sequence: Option<String>,
    #[serde(default)]
    delta: Option<StopDelta>,
}

#[derive(Debug, Deserialize)]
struct StopDelta {
    #[serde(default)]
    stop_sequence: Option<String>,
}

/// The stop sequence, where the fields have the known form.
pub(super) fn stop_sequence(fields: Option<&RawValue>) -> Option<String> {
    let fields: AdditionalFields = serde_json::from_str(fields?.get()).ok()?;
    fields.stop_sequence.or_else(|| fields.delta?.stop_sequence)
}

/// The payload of one event of a stream, all kinds in one; the kind is in the frame's headers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    #[serde(default)]
    pub(super) content_block_index: u64,
    #[serde(borrow, default)]
    pub(super) start: Option<Start<'a>>,
    #[serde(default)]
    pub(super) delta: Option<Delta>,
    #[serde(default)]
    pub(super) stop_reason: Option<String>,
    #[serde(borrow, default)]
    pub(super) additional_model_response_fields: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "report")]
    pub(super) usage: Option<WireUsage>,
    #[serde(default)]
    pub(super) trace: Option<Trace>,
    #[serde(borrow, default)]
    pub(super) service_tier: Option<Typed<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Start<'a> {
    #[serde(borrow, default)]
    pub(super) tool_use: Option<ToolUse<'a>>,
    #[serde(default)]
    pub(super) image: Option<Image>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delta {
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) tool_use: Option<ToolDelta>,
    #[serde(default)]
    pub(super) reasoning_content: Option<ReasoningDelta>,
    #[serde(default)]
    pub(super) citation: Option<Citation>,
    #[serde(default)]
    pub(super) image: Option<Image>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ToolDelta {
    #[serde(default)]
    pub(super) input: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReasoningDelta {
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) signature: Option<String>,
    #[serde(default)]
    pub(super) redacted_content: Option<String>,
}

/// Usage as reported. The names with `TokenCount` are doubles of the others.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireUsage {
    #[serde(default)]
    pub(super) input_tokens: Option<u64>,
    #[serde(default)]
    pub(super) output_tokens: Option<u64>,
    #[serde(default)]
    pub(super) cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    pub(super) cache_read_input_token_count: Option<u64>,
    #[serde(default)]
    pub(super) cache_write_input_tokens: Option<u64>,
    #[serde(default)]
    pub(super) cache_write_input_token_count: Option<u64>,
    #[serde(default)]
    pub(super) cache_details: Option<Vec<CacheDetail>>,
}

/// Tokens written to the cache, by lifetime.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CacheDetail {
    #[serde(default)]
    pub(super) ttl: Option<String>,
    #[serde(default)]
    pub(super) input_tokens: Option<u64>,
}

/// More tokens than any request can have.
const ABSURD: u64 = 1 << 40;

/// Reads usage where it can be read. Negative, fractional or absurd counts make the report worthless, not the answer.
fn report<'de, D: Deserializer<'de>>(from: D) -> Result<Option<WireUsage>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Report {
        Usage(WireUsage),
        Other(IgnoredAny),
    }
    Ok(match Report::deserialize(from)? {
        Report::Usage(usage) if usage.is_sane() => Some(usage),
        Report::Usage(_) | Report::Other(_) => None,
    })
}

impl WireUsage {
    fn is_sane(&self) -> bool {
        let main = [
            self.input_tokens,
            self.output_tokens,
            self.cache_read_input_tokens,
            self.cache_read_input_token_count,
            self.cache_write_input_tokens,
            self.cache_write_input_token_count,
        ];
        let details = self.cache_details.iter().flatten().map(|d| d.input_tokens);
        main.into_iter().chain(details).flatten().all(|count| count < ABSURD)
    }
}

/// An error answer, or the payload of an exception in a stream. Services differ in the case of the first letter.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WireError {
    #[serde(default, alias = "Message")]
    pub(super) message: Option<String>,
    #[serde(rename = "__type", default)]
    pub(super) kind: Option<String>,
}
