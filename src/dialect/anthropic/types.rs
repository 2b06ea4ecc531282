//! What goes over the wire. Private to the dialect; nothing else serialises or parses Anthropic's JSON.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::dialect::claude::Thinking;
use crate::dialect::common::lenient;
use crate::domain::chat::{CacheMark, Citation};

/// The body of a request.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    pub(super) model: &'a str,
    pub(super) max_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) system: Option<Content<'a>>,
    pub(super) messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tools: Vec<AnyTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thinking: Option<Thinking<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_k: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metadata: Option<Metadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) stream: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Turn<'a> {
    pub(super) role: &'static str,
    pub(super) content: Vec<Block<'a>>,
}

/// Where the API takes a string or a list of blocks.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Content<'a> {
    Text(&'a str),
    Blocks(Vec<Block<'a>>),
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'a>>,
    },
    Image {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'a>>,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'a>>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    RedactedThinking {
        data: &'a str,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: Cow<'a, RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'a>>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<Content<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl<'a>>,
    },
    /// A block of this dialect that came in verbatim and goes out verbatim.
    #[serde(untagged)]
    Raw(&'a RawValue),
}

impl<'a> Block<'a> {
    /// Marks the prompt up to here as worth caching; false where a block cannot be marked.
    pub(super) fn mark(&mut self, mark: &'a CacheMark) -> bool {
        match self {
            Self::Text { cache_control, .. }
            | Self::Image { cache_control, .. }
            | Self::Document { cache_control, .. }
            | Self::ToolUse { cache_control, .. }
            | Self::ToolResult { cache_control, .. } => {
                *cache_control = Some(CacheControl::new(mark));
                true
            }
            Self::Thinking { .. } | Self::RedactedThinking { .. } | Self::Raw(_) => false,
        }
    }
}

/// `cache_control`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct CacheControl<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'a str>,
}

impl<'a> CacheControl<'a> {
    pub(super) fn new(mark: &'a CacheMark) -> Self {
        Self { kind: "ephemeral", ttl: mark.ttl.as_deref() }
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    Url { url: &'a str },
    Base64 { media_type: &'a str, data: &'a str },
    File { file_id: &'a str },
    Text { media_type: &'static str, data: String },
}

/// A tool of the client's, or one of the provider's own, verbatim.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum AnyTool<'a> {
    Client(Tool<'a>),
    Server(&'a RawValue),
}

#[derive(Debug, Serialize)]
pub(super) struct Tool<'a> {
    pub(super) name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'a str>,
    pub(super) input_schema: Cow<'a, RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_control: Option<CacheControl<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct ToolChoice<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) disable_parallel_tool_use: Option<bool>,
}

#[derive(Debug, Serialize)]
pub(super) struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<OutputFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) effort: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct OutputFormat<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) schema: Cow<'a, RawValue>,
}

#[derive(Debug, Serialize)]
pub(super) struct Metadata<'a> {
    pub(super) user_id: &'a str,
}

/// A whole answer, or an error in its place.
#[derive(Debug, Deserialize)]
pub(super) struct Response<'a> {
    #[serde(rename = "type", default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) model: Option<String>,
    /// The blocks, verbatim: unknown ones are kept as they are.
    #[serde(borrow, default)]
    pub(super) content: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    pub(super) stop_reason: Option<String>,
    #[serde(default)]
    pub(super) stop_sequence: Option<String>,
    #[serde(default, deserialize_with = "report")]
    pub(super) usage: Option<WireUsage>,
    #[serde(default)]
    pub(super) error: Option<WireError>,
}

/// What an answer tells besides its content.
#[derive(Debug, Deserialize)]
pub(super) struct ResponseHead<'a> {
    #[serde(rename = "type", default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(borrow, default)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) stop_reason: Option<String>,
    #[serde(default, deserialize_with = "report")]
    pub(super) usage: Option<WireUsage>,
    #[serde(default)]
    pub(super) error: Option<WireError>,
}

/// A content block, whole or as it opens in a stream.
#[derive(Debug, Deserialize)]
pub(super) struct WireBlock<'a> {
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Cow<'a, str>,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) thinking: Option<String>,
    #[serde(default)]
    pub(super) signature: Option<String>,
    #[serde(default)]
    pub(super) data: Option<String>,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(borrow, default)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) citations: Option<Vec<WireCitation>>,
}

/// A source, of whatever kind: a page of the web, a search result, a stretch of a document.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireCitation {
    url: Option<String>,
    source: Option<String>,
    title: Option<String>,
    document_title: Option<String>,
    cited_text: Option<String>,
}

impl WireCitation {
    /// For the stretch of the answer's text that its block makes up. One that tells nothing is none.
    pub(super) fn citation(self, span: (u32, u32)) -> Option<Citation> {
        let (url, title, quoted) = (self.url.or(self.source), self.title.or(self.document_title), self.cited_text);
        let tells = url.is_some() || title.is_some() || quoted.is_some();
        tells.then_some(Citation { url, title, quoted, span: Some(span) })
    }
}

/// One event of a stream, all kinds in one.
#[derive(Debug, Deserialize)]
pub(super) struct StreamEvent<'a> {
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Cow<'a, str>,
    #[serde(default)]
    pub(super) index: Option<u64>,
    #[serde(default)]
    pub(super) message: Option<MessageHead>,
    #[serde(borrow, default)]
    pub(super) content_block: Option<WireBlock<'a>>,
    #[serde(borrow, default)]
    pub(super) delta: Option<WireDelta<'a>>,
    #[serde(default, deserialize_with = "report")]
    pub(super) usage: Option<WireUsage>,
    #[serde(default)]
    pub(super) error: Option<WireError>,
}

#[derive(Debug, Deserialize)]
pub(super) struct MessageHead {
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(default, deserialize_with = "report")]
    pub(super) usage: Option<WireUsage>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireDelta<'a> {
    /// Absent in `message_delta`.
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Cow<'a, str>,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) thinking: Option<String>,
    #[serde(default)]
    pub(super) signature: Option<String>,
    #[serde(default)]
    pub(super) partial_json: Option<String>,
    #[serde(default)]
    pub(super) stop_reason: Option<String>,
    #[serde(default)]
    pub(super) stop_sequence: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) citation: Option<WireCitation>,
}

/// One event of a stream as metering sees it: texts are measured, not read.
#[derive(Debug, Deserialize)]
pub(super) struct TapEvent<'a> {
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Cow<'a, str>,
    #[serde(default)]
    pub(super) message: Option<MessageHead>,
    #[serde(borrow, default)]
    pub(super) delta: Option<TapDelta<'a>>,
    #[serde(default, deserialize_with = "report")]
    pub(super) usage: Option<WireUsage>,
    #[serde(default)]
    pub(super) error: Option<WireError>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TapDelta<'a> {
    #[serde(borrow, default)]
    pub(super) text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) thinking: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) partial_json: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) stop_reason: Option<String>,
}

/// Usage as reported; every member may be missing or null.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct WireUsage {
    #[serde(default)]
    pub(super) input_tokens: Option<u64>,
    #[serde(default)]
    pub(super) output_tokens: Option<u64>,
    #[serde(default)]
    pub(super) cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    pub(super) cache_creation_input_tokens: Option<u64>,
    #[serde(default)]
    pub(super) cache_creation: Option<CacheCreation>,
    #[serde(default)]
    pub(super) output_tokens_details: Option<OutputDetails>,
    #[serde(default)]
    pub(super) server_tool_use: Option<ServerToolUse>,
    #[serde(default)]
    pub(super) iterations: Option<Vec<Iteration>>,
    #[serde(default)]
    pub(super) service_tier: Option<String>,
    /// `standard` or `fast`: a mode with a price of its own.
    pub(super) speed: Option<String>,
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
        let details = self.output_tokens_details.unwrap_or_default();
        let passes = self.iterations.iter().flatten();
        let main = [
            self.input_tokens,
            self.output_tokens,
            self.cache_read_input_tokens,
            self.cache_creation_input_tokens,
            details.thinking_tokens,
        ];
        let mut counts = main.into_iter().chain(passes.flat_map(|p| [p.input_tokens, p.output_tokens])).flatten();
        counts.all(|count| count < ABSURD)
    }

    /// Takes over every member that the later report has; the last value wins, nothing is added up.
    pub(super) fn update(&mut self, later: Self) {
        fn last<T>(member: &mut Option<T>, later: Option<T>) {
            if later.is_some() {
                *member = later;
            }
        }
        last(&mut self.input_tokens, later.input_tokens);
        last(&mut self.output_tokens, later.output_tokens);
        last(&mut self.cache_read_input_tokens, later.cache_read_input_tokens);
        last(&mut self.cache_creation_input_tokens, later.cache_creation_input_tokens);
        last(&mut self.cache_creation, later.cache_creation);
        last(&mut self.output_tokens_details, later.output_tokens_details);
        last(&mut self.server_tool_use, later.server_tool_use);
        last(&mut self.iterations, later.iterations);
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct CacheCreation {
    #[serde(default)]
    pub(super) ephemeral_5m_input_tokens: Option<u64>,
    #[serde(default)]
    pub(super) ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct OutputDetails {
    #[serde(default)]
    pub(super) thinking_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct ServerToolUse {
    #[serde(default)]
    pub(super) web_search_requests: Option<u64>,
}

/// One sampling pass of an answer that took several.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Iteration {
    #[serde(rename = "type", default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) input_tokens: Option<u64>,
    #[serde(default)]
    pub(super) output_tokens: Option<u64>,
    #[serde(default)]
    pub(super) cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    pub(super) cache_creation_input_tokens: Option<u64>,
    #[serde(default)]
    pub(super) cache_creation: Option<CacheCreation>,
}

/// The envelope of an error answer.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorBody {
    pub(super) error: WireError,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct WireError {
    #[serde(rename = "type", default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) message: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) details: Option<ErrorDetails>,
}

/// What says more than the type of an error.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ErrorDetails {
    pub(super) error_code: Option<String>,
}
