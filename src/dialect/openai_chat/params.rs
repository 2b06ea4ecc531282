//! The parameters that clients of this dialect have, those that imitators added and SDKs pass on included.

use crate::dialect::params::{Carriage, Parameter, Slot, Weight, row, row_unless};

const SEMANTIC: Slot = Slot::Own(Weight::Semantic);
const ADVISORY: Slot = Slot::Own(Weight::Advisory);

/// Source: OpenAI API reference, "Create chat completion"; the last rows are common extensions.
pub(super) static PARAMETERS: &[Parameter] = &[
    row("model", Slot::Core),
    row("messages", Slot::Core),
    row("stream", Slot::Core),
    row("tools", Slot::Tools),
    row("functions", Slot::Tools),
    row("tool_choice", Slot::ToolChoice),
    row("function_call", Slot::ToolChoice),
    row_unless("parallel_tool_calls", Slot::ParallelToolCalls, &["true"]),
    row("response_format", Slot::ResponseFormat),
    row_unless("temperature", Slot::Temperature, &["1"]),
    row_unless("top_p", Slot::TopP, &["1"]),
    row_unless("frequency_penalty", Slot::FrequencyPenalty, &["0"]),
    row_unless("presence_penalty", Slot::PresencePenalty, &["0"]),
    row("seed", Slot::Seed),
    row_unless("stop", Slot::Stop, &["[]"]),
    row_unless("logit_bias", Slot::LogitBias, &["{}"]),
    row_unless("logprobs", Slot::Logprobs, &["false"]),
    row_unless("top_logprobs", Slot::TopLogprobs, &["0"]),
    row_unless("n", Slot::Choices, &["1"]),
    row("max_completion_tokens", Slot::MaxOutput),
    row("max_tokens", Slot::MaxOutput),
    row_unless("reasoning_effort", Slot::Reasoning, &["\"none\""]),
    row_unless("verbosity", Slot::Verbosity, &["\"medium\""]),
    row("stream_options", Slot::StreamOptions),
    row("user", Slot::User),
    row("service_tier", Slot::ServiceTier),
    row("metadata", Slot::Metadata),
    row("prompt_cache_key", Slot::PromptCacheKey),
    row("messages.content.cache_control", Slot::CacheMarks),
    row_unless("messages.prefix", SEMANTIC, &["false"]),
    row("prompt_cache_retention", ADVISORY),
    row("safety_identifier", ADVISORY),
    row("store", ADVISORY),
    row("prediction", ADVISORY),
    row("client_metadata", ADVISORY),
    row("include", ADVISORY),
    row_unless("modalities", SEMANTIC, &["[\"text\"]"]),
    row("audio", SEMANTIC),
    row("web_search_options", SEMANTIC),
    row_unless("moderation", SEMANTIC, &["false"]),
    // Extensions.
    row_unless("top_k", Slot::TopK, &["0", "-1"]),
    row_unless("min_p", Slot::MinP, &["0"]),
    row_unless("thinking", Slot::Reasoning, &["{\"type\":\"disabled\"}"]),
    row_unless("reasoning", Slot::Reasoning, &["{}"]),
    row("reasoning.exclude", Slot::Core),
    row("thinking.display", Slot::Core),
    row("include_reasoning", Slot::Core),
    row_unless("reasoning_format", SEMANTIC, &["\"parsed\"", "\"hidden\""]),
];

/// Whether a meaning has a place in a request of this dialect. What only some of its providers take is data in their
/// catalogue files (`quirks.takes`).
pub(super) fn carries(slot: Slot) -> Carriage {
    match slot {
        Slot::Core
        | Slot::Tools
        | Slot::ToolChoice
        | Slot::ParallelToolCalls
        | Slot::ResponseFormat
        | Slot::JsonMode
        | Slot::Temperature
        | Slot::TopP
        | Slot::FrequencyPenalty
        | Slot::PresencePenalty
        | Slot::Seed
        | Slot::Stop
        | Slot::LogitBias
        | Slot::Logprobs
        | Slot::TopLogprobs
        | Slot::Choices
        | Slot::MaxOutput
        | Slot::StreamOptions
        | Slot::User => Carriage::Full,
        Slot::Reasoning => Carriage::Partly("as `reasoning_effort`; a budget becomes the nearest word"),
        Slot::ServiceTier | Slot::Metadata | Slot::PromptCacheKey | Slot::Verbosity | Slot::TopK | Slot::MinP => {
            Carriage::Partly("where the provider's catalogue file says that it takes it")
        }
        Slot::CacheMarks | Slot::Own(_) => Carriage::No,
    }
}
