//! Usage of this dialect and its imitators in disjoint buckets.
//!
//! Prompt tokens include cached ones, completion tokens include thinking (unless the provider's quirks say otherwise).
//! Where a part exceeds its whole, as some providers report, it is clamped; a negative or absurd number makes the whole
//! report worthless, and the caller falls back to an estimate.

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::dialect::Quirks;
use crate::dialect::common::lenient;
use crate::domain::usage::{Bucket, Usage};

/// A count as it comes: some write `12.0`. What is no count spoils the report, not the answer.
#[derive(Clone, Copy, Debug)]
struct Count(i64);

/// What stands for something that is no count.
const NO_COUNT: Count = Count(-1);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

/// Takes whatever comes. An untagged enum would copy each number first, and every answer has many.
struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a count")
    }

    fn visit_i64<E>(self, count: i64) -> Result<Count, E> {
        Ok(Count(count))
    }

    fn visit_u64<E>(self, count: u64) -> Result<Count, E> {
        Ok(i64::try_from(count).map_or(NO_COUNT, Count))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Count, E> {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within range")]
        let whole = |number: f64| number as i64;
        Ok(if number.fract() == 0.0 && number.abs() < 1e15 { Count(whole(number)) } else { NO_COUNT })
    }

    fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
        Ok(NO_COUNT)
    }

    fn visit_str<E>(self, _: &str) -> Result<Count, E> {
        Ok(NO_COUNT)
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(NO_COUNT)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(NO_COUNT)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(NO_COUNT)
    }
}

/// `usage` as it comes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireUsage {
    prompt_tokens: Option<Count>,
    completion_tokens: Option<Count>,
    total_tokens: Option<Count>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
    /// Mistral's sound: its tokens are in the total only.
    prompt_audio_seconds: Option<Count>,
    /// DeepSeek's older name for cached prompt tokens.
    prompt_cache_hit_tokens: Option<Count>,
    /// Together's place for them.
    cached_tokens: Option<Count>,
    /// Mistral's older one.
    num_cached_tokens: Option<Count>,
    /// Written to the cache, as relays with Claude behind them say it.
    cache_creation_input_tokens: Option<Count>,
    #[serde(deserialize_with = "lenient")]
    cache_creation: Option<Lifetimes>,
    /// Thinking where there are no details: within the completion, unless the numbers say otherwise.
    reasoning_tokens: Option<Count>,
    /// What Perplexity's research read: input beside the prompt.
    citation_tokens: Option<Count>,
    /// How often it searched.
    num_search_queries: Option<Count>,
    /// The same of a router.
    #[serde(deserialize_with = "lenient")]
    server_tool_use_details: Option<ServerTools>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServerTools {
    web_search_requests: Option<Count>,
}

/// Tokens written to the cache by how long it keeps them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Lifetimes {
    ephemeral_1h_input_tokens: Option<Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Option<Count>,
    cache_write_tokens: Option<Count>,
    /// What LiteLLM calls them.
    cache_creation_tokens: Option<Count>,
    /// What Alibaba calls them.
    cache_creation_input_tokens: Option<Count>,
    #[serde(deserialize_with = "lenient")]
    cache_creation: Option<Lifetimes>,
    audio_tokens: Option<Count>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CompletionDetails {
    reasoning_tokens: Option<Count>,
    audio_tokens: Option<Count>,
    image_tokens: Option<Count>,
}

/// More tokens than any request can have.
const ABSURD: i64 = 1 << 40;

impl WireUsage {
    /// The buckets; none if the report makes no sense.
    pub(super) fn buckets(&self, quirks: &Quirks) -> Option<Usage> {
        let prompt = sane(Some(self.prompt_tokens?))?;
        let completion = sane(self.completion_tokens)?;
        let total = sane(self.total_tokens)?;
        let beside = total.saturating_sub(prompt.saturating_add(completion));
        let sounded = self.prompt_audio_seconds.is_some_and(|seconds| seconds.0 > 0);
        let usage = self.answer(completion, beside, sounded, quirks, self.prompt(prompt)?)?;
        let heard = usage.get(Bucket::InputAudio).saturating_add(if sounded { beside } else { 0 });
        let read = usage.get(Bucket::Input).saturating_add(sane(self.citation_tokens)?);
        let router = self.server_tool_use_details.as_ref().and_then(|tools| tools.web_search_requests);
        let searches = sane(self.num_search_queries.or(router))?;
        Some(usage.with(Bucket::InputAudio, heard).with(Bucket::Input, read).with(Bucket::Search, searches))
    }

    fn prompt(&self, prompt: u64) -> Option<Usage> {
        let details = self.prompt_tokens_details.as_ref();
        let cached = details
            .and_then(|d| d.cached_tokens)
            .or(self.prompt_cache_hit_tokens)
            .or(self.cached_tokens)
            .or(self.num_cached_tokens);
        let written = details
            .and_then(|d| d.cache_write_tokens.or(d.cache_creation_tokens).or(d.cache_creation_input_tokens))
            .or(self.cache_creation_input_tokens);
        let lifetimes = details.and_then(|d| d.cache_creation.as_ref()).or(self.cache_creation.as_ref());
        let mut rest = prompt;
        let mut take = |count: Option<Count>| -> Option<u64> {
            let part = sane(count)?.min(rest);
            rest -= part;
            Some(part)
        };
        let cache_read = take(cached)?;
        let cache_write = take(written)?;
        let input_audio = take(details.and_then(|d| d.audio_tokens))?;
        let long = sane(lifetimes.and_then(|l| l.ephemeral_1h_input_tokens))?.min(cache_write);
        Some(
            Usage::ZERO
                .with(Bucket::Input, rest)
                .with(Bucket::CacheRead, cache_read)
                .with(Bucket::CacheWrite, cache_write - long)
                .with(Bucket::CacheWrite1h, long)
                .with(Bucket::InputAudio, input_audio),
        )
    }

    /// `beside`: what the total holds beyond prompt and completion.
    fn answer(&self, completion: u64, beside: u64, sounded: bool, quirks: &Quirks, usage: Usage) -> Option<Usage> {
        let details = self.completion_tokens_details.as_ref();
        let detailed = details.and_then(|d| d.reasoning_tokens);
        let reasoning = sane(detailed.or(self.reasoning_tokens))?;
        let unsaid = detailed.is_none() && reasoning == 0;
        // The sum gives it away where thinking is not part of the completion, named or not.
        let outside = quirks.reasoning_outside_output
            || (reasoning > 0 && beside == reasoning)
            || (detailed.is_none() && reasoning > completion)
            || (unsaid && beside > 0 && !sounded);
        let (reasoning, answer) = if outside {
            // Some hide the thinking in the total only.
            (reasoning.max(beside), completion)
        } else {
            (reasoning.min(completion), completion - reasoning.min(completion))
        };
        let output_audio = sane(details.and_then(|d| d.audio_tokens))?.min(answer);
        let output_image = sane(details.and_then(|d| d.image_tokens))?.min(answer - output_audio);
        Some(
            usage
                .with(Bucket::Output, answer - output_audio - output_image)
                .with(Bucket::Reasoning, reasoning)
                .with(Bucket::OutputAudio, output_audio)
                .with(Bucket::OutputImage, output_image),
        )
    }
}

fn sane(count: Option<Count>) -> Option<u64> {
    match count {
        None => Some(0),
        Some(Count(count @ 0..ABSURD)) => u64::try_from(count).ok(),
        Some(_) => None,
    }
}
