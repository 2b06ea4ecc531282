//! Usage of this dialect, both ways.
//!
//! Input tokens include cached ones, output tokens include thinking. Where a part exceeds its whole, it is clamped; a
//! negative or absurd number makes the whole report worthless, and the caller falls back to an estimate.

use serde::{Deserialize, Serialize};

use crate::domain::usage::{Bucket, Usage};

/// `usage` as it comes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireUsage {
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    input_tokens_details: Option<InputDetails>,
    output_tokens_details: Option<OutputDetails>,
    /// xAI's count of what its own tools did.
    server_side_tool_usage_details: Option<ServerTools>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Option<i64>,
    cache_write_tokens: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServerTools {
    web_search_calls: Option<i64>,
    x_search_calls: Option<i64>,
}

/// More tokens than any request can have.
const ABSURD: i64 = 1 << 40;

impl WireUsage {
    /// The buckets; none if the report makes no sense. `searches` have been seen in the answer.
    pub(super) fn buckets(&self, searches: u64) -> Option<Usage> {
        let details = self.input_tokens_details.as_ref();
        let prompt = sane(Some(self.input_tokens?))?;
        let answer = sane(self.output_tokens)?;
        let cached = sane(details.and_then(|d| d.cached_tokens))?.min(prompt);
        let written = sane(details.and_then(|d| d.cache_write_tokens))?.min(prompt - cached);
        let thinking = sane(self.output_tokens_details.as_ref().and_then(|d| d.reasoning_tokens))?.min(answer);
        let counted = self
            .server_side_tool_usage_details
            .as_ref()
            .map_or(Some(0), |tools| Some(sane(tools.web_search_calls)?.saturating_add(sane(tools.x_search_calls)?)))?;
        Some(
            Usage::ZERO
                .with(Bucket::Input, prompt - cached - written)
                .with(Bucket::CacheRead, cached)
                .with(Bucket::CacheWrite, written)
                .with(Bucket::Output, answer - thinking)
                .with(Bucket::Reasoning, thinking)
                .with(Bucket::Search, searches.max(counted)),
        )
    }
}

fn sane(count: Option<i64>) -> Option<u64> {
    match count {
        None => Some(0),
        Some(count @ 0..ABSURD) => u64::try_from(count).ok(),
        Some(_) => None,
    }
}

/// `usage` as it is told to clients.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct UsageOut {
    input_tokens: u64,
    input_tokens_details: InputOut,
    output_tokens: u64,
    output_tokens_details: OutputOut,
    total_tokens: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct InputOut {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct OutputOut {
    reasoning_tokens: u64,
}

impl UsageOut {
    pub(super) fn new(usage: &Usage) -> Self {
        let cache_write_tokens = usage.get(Bucket::CacheWrite).saturating_add(usage.get(Bucket::CacheWrite1h));
        Self {
            input_tokens: usage.input_tokens(),
            input_tokens_details: InputOut { cached_tokens: usage.get(Bucket::CacheRead), cache_write_tokens },
            output_tokens: usage.output_tokens(),
            output_tokens_details: OutputOut { reasoning_tokens: usage.get(Bucket::Reasoning) },
            total_tokens: usage.input_tokens().saturating_add(usage.output_tokens()),
        }
    }
}
