//! What this dialect can say.

use crate::dialect::{Carriage, Slot, params};

/// Whether a meaning has a place in a request of this dialect.
pub(super) fn carries(slot: Slot) -> Carriage {
    match slot {
        Slot::Core
        | Slot::Tools
        | Slot::ToolChoice
        | Slot::ResponseFormat
        | Slot::JsonMode
        | Slot::Temperature
        | Slot::TopP
        | Slot::TopK
        | Slot::FrequencyPenalty
        | Slot::PresencePenalty
        | Slot::Seed
        | Slot::Stop
        | Slot::Logprobs
        | Slot::TopLogprobs
        | Slot::Choices
        | Slot::MaxOutput
        | Slot::StreamOptions => Carriage::Full,
        Slot::Reasoning => Carriage::Partly(
            "as `thinkingConfig`: a budget, or the level of that name, for models without levels its usual budget",
        ),
        Slot::ParallelToolCalls => Carriage::Partly(params::FIRST_CALL),
        Slot::MinP
        | Slot::LogitBias
        | Slot::Verbosity
        | Slot::User
        | Slot::ServiceTier
        | Slot::Metadata
        | Slot::PromptCacheKey
        | Slot::CacheMarks
        | Slot::Own(_) => Carriage::No,
    }
}
