//! The parameters that clients of this dialect have, and what a request of it can say.

use crate::dialect::params::{Carriage, Parameter, Slot, Weight, row, row_unless};

const SEMANTIC: Slot = Slot::Own(Weight::Semantic);
const ADVISORY: Slot = Slot::Own(Weight::Advisory);

/// The name under which a wish for log probabilities is told: it is one word of a list.
pub(super) const LOGPROBS: &str = "include.message.output_text.logprobs";

/// Source: OpenAI API reference, "Create a model response"; `client_metadata` is sent by coding agents.
pub(super) static PARAMETERS: &[Parameter] = &[
    row("model", Slot::Core),
    row("input", Slot::Core),
    row("instructions", Slot::Core),
    row("stream", Slot::Core),
    row("tools", Slot::Tools),
    row_unless("tool_choice", Slot::ToolChoice, &["\"auto\""]),
    row_unless("parallel_tool_calls", Slot::ParallelToolCalls, &["true"]),
    row_unless("text.format", Slot::ResponseFormat, &["{\"type\":\"text\"}"]),
    row_unless("text.verbosity", Slot::Verbosity, &["\"medium\""]),
    row_unless("temperature", Slot::Temperature, &["1"]),
    row_unless("top_p", Slot::TopP, &["1"]),
    row(LOGPROBS, Slot::Logprobs),
    row_unless("top_logprobs", Slot::TopLogprobs, &["0"]),
    row("max_output_tokens", Slot::MaxOutput),
    row_unless("reasoning.effort", Slot::Reasoning, &["\"none\""]),
    row("stream_options", Slot::StreamOptions),
    row("user", Slot::User),
    row("service_tier", Slot::ServiceTier),
    row("metadata", Slot::Metadata),
    row("prompt_cache_key", Slot::PromptCacheKey),
    row("input[].prompt_cache_breakpoint", Slot::CacheMarks),
    row("prompt_cache_retention", ADVISORY),
    row("prompt_cache_options", ADVISORY),
    row("reasoning.summary", ADVISORY),
    row("safety_identifier", ADVISORY),
    row_unless("store", ADVISORY, &["false"]),
    row("include", ADVISORY),
    // Where nothing is cut, a prompt that is too long is refused openly.
    row_unless("truncation", ADVISORY, &["\"disabled\""]),
    // Bounds tools of the provider, which no other provider runs.
    row("max_tool_calls", ADVISORY),
    row("context_management", ADVISORY),
    row("client_metadata", ADVISORY),
    // State at the provider.
    row("previous_response_id", SEMANTIC),
    row("conversation", SEMANTIC),
    row("background", SEMANTIC),
    row("prompt", SEMANTIC),
    row("moderation", SEMANTIC),
];

/// Whether a meaning has a place in a request of this dialect.
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
        | Slot::Logprobs
        | Slot::TopLogprobs
        | Slot::MaxOutput
        | Slot::Verbosity
        | Slot::StreamOptions
        | Slot::User
        | Slot::ServiceTier
        | Slot::Metadata
        | Slot::PromptCacheKey => Carriage::Full,
        Slot::Reasoning => Carriage::Partly("as `reasoning.effort`; a budget becomes the nearest word"),
        Slot::CacheMarks => {
            Carriage::Partly("as `prompt_cache_breakpoint` where the provider's catalogue file says that it takes it")
        }
        Slot::TopK
        | Slot::MinP
        | Slot::FrequencyPenalty
        | Slot::PresencePenalty
        | Slot::Seed
        | Slot::Stop
        | Slot::LogitBias
        | Slot::Choices
        | Slot::Own(_) => Carriage::No,
    }
}
