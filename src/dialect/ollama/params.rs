//! What this dialect can say.

use crate::dialect::{Carriage, Slot, params};

/// Whether a meaning has a place in a request of this dialect.
pub(super) fn carries(slot: Slot) -> Carriage {
    match slot {
        Slot::Core
        | Slot::Tools
        | Slot::ResponseFormat
        | Slot::JsonMode
        | Slot::Temperature
        | Slot::TopP
        | Slot::TopK
        | Slot::MinP
        | Slot::Seed
        | Slot::Stop
        | Slot::MaxOutput
        | Slot::StreamOptions => Carriage::Full,
        Slot::ToolChoice => Carriage::Partly("`auto`; `none` by sending no tools"),
        Slot::FrequencyPenalty | Slot::PresencePenalty => {
            Carriage::Partly("as the option of that name, which the server's engine for some models ignores")
        }
        Slot::Reasoning => Carriage::Partly("as `think`: off, `low`, `medium`, `high`; a budget becomes the nearest"),
        Slot::Logprobs | Slot::TopLogprobs => {
            Carriage::Partly("where the provider's catalogue file says that it takes it")
        }
        Slot::ParallelToolCalls => Carriage::Partly(params::FIRST_CALL),
        Slot::LogitBias
        | Slot::Choices
        | Slot::Verbosity
        | Slot::User
        | Slot::ServiceTier
        | Slot::Metadata
        | Slot::PromptCacheKey
        | Slot::CacheMarks
        | Slot::Own(_) => Carriage::No,
    }
}
