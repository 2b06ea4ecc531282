//! What comes over the wire from providers. Enumerations are read as words and as numbers; all members may be absent
//! at once.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer<'a> {
    #[serde(borrow, default)]
    pub(super) candidates: Option<Vec<Candidate<'a>>>,
    #[serde(default)]
    pub(super) prompt_feedback: Option<Feedback>,
    #[serde(borrow, default)]
    pub(super) usage_metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) model_version: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) response_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Feedback {
    #[serde(default)]
    pub(super) block_reason: Option<Word>,
}

/// A word, or its number where enumerations are sent so.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Word {
    Text(String),
    Number(i64),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate<'a> {
    #[serde(default)]
    pub(super) index: Option<u32>,
    #[serde(borrow, default)]
    pub(super) content: Option<Content<'a>>,
    #[serde(default)]
    pub(super) finish_reason: Option<Word>,
    #[serde(borrow, default)]
    pub(super) grounding_metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) citation_metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) logprobs_result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Content<'a> {
    #[serde(borrow, default)]
    pub(super) parts: Option<Vec<WirePart<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WirePart<'a> {
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) thought: Option<bool>,
    #[serde(default)]
    pub(super) thought_signature: Option<String>,
    #[serde(borrow, default)]
    pub(super) function_call: Option<FunctionCall<'a>>,
    #[serde(default)]
    pub(super) inline_data: Option<Blob>,
    /// Code that the provider ran, and what came of it.
    #[serde(borrow, default)]
    pub(super) executable_code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) code_execution_result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FunctionCall<'a> {
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(borrow, default)]
    pub(super) args: Option<&'a RawValue>,
    /// Arguments that come piece by piece.
    #[serde(default)]
    pub(super) partial_args: Option<Vec<PartialArg>>,
    #[serde(default)]
    pub(super) will_continue: Option<bool>,
}

/// One piece of an argument, with its place as a JSON path (`$.a.b[0]`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartialArg {
    #[serde(default)]
    pub(super) json_path: String,
    #[serde(default)]
    pub(super) string_value: Option<String>,
    #[serde(default)]
    pub(super) number_value: Option<serde_json::Number>,
    #[serde(default)]
    pub(super) bool_value: Option<bool>,
    #[serde(default)]
    pub(super) null_value: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Blob {
    #[serde(default)]
    pub(super) mime_type: String,
    #[serde(default)]
    pub(super) data: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WireUsage {
    pub(super) prompt_token_count: Option<u64>,
    pub(super) candidates_token_count: Option<u64>,
    pub(super) thoughts_token_count: Option<u64>,
    pub(super) cached_content_token_count: Option<u64>,
    pub(super) tool_use_prompt_token_count: Option<u64>,
    pub(super) prompt_tokens_details: Option<Vec<Modality>>,
    pub(super) cache_tokens_details: Option<Vec<Modality>>,
    pub(super) candidates_tokens_details: Option<Vec<Modality>>,
    pub(super) service_tier: Option<Word>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Modality {
    pub(super) modality: Option<Word>,
    pub(super) token_count: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(super) struct Grounding {
    pub(super) grounding_chunks: Vec<GroundingChunk>,
    pub(super) grounding_supports: Vec<GroundingSupport>,
    pub(super) web_search_queries: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct GroundingChunk {
    /// A page, a document of the caller's, a place on a map: one of them.
    #[serde(alias = "retrievedContext", alias = "maps")]
    pub(super) web: Option<Web>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Web {
    pub(super) uri: Option<String>,
    pub(super) title: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GroundingSupport {
    pub(super) segment: Segment,
    pub(super) grounding_chunk_indices: Vec<usize>,
}

/// A stretch of the answer, in bytes.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Segment {
    pub(super) part_index: usize,
    pub(super) start_index: usize,
    pub(super) end_index: usize,
    pub(super) text: Option<String>,
}

/// Works that the answer repeats word for word.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Repeats {
    #[serde(rename = "citationSources", alias = "citations")]
    pub(super) sources: Vec<Repeated>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Repeated {
    pub(super) start_index: usize,
    pub(super) end_index: usize,
    pub(super) uri: Option<String>,
    pub(super) title: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LogprobsResult {
    pub(super) chosen_candidates: Vec<TokenCandidate>,
    pub(super) top_candidates: Vec<TopCandidates>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TopCandidates {
    pub(super) candidates: Vec<TokenCandidate>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TokenCandidate {
    pub(super) token: String,
    pub(super) log_probability: f64,
}
