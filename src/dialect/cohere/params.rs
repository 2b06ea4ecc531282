//! What this dialect can say.

use crate::dialect::{Carriage, Slot, params};

/// Whether a meaning has a place in a request of this dialect.
pub(super) fn carries(slot: Slot) -> Carriage {
    match slot {
        Slot::Core | Slot::Tools | Slot::Temperature | Slot::Logprobs | Slot::MaxOutput | Slot::StreamOptions => {
            Carriage::Full
        }
        Slot::ToolChoice => Carriage::Partly("a named function as `REQUIRED` with that tool alone"),
        Slot::ResponseFormat | Slot::JsonMode => Carriage::Partly("not together with tools"),
        Slot::TopP => Carriage::Partly("as `p`, brought into 0.01 to 0.99"),
        Slot::TopK => Carriage::Partly("as `k`, up to 500"),
        Slot::FrequencyPenalty | Slot::PresencePenalty => Carriage::Partly("0 to 1"),
        Slot::Seed => Carriage::Partly("from 0 on"),
        Slot::Stop => Carriage::Partly("at most 5 sequences"),
        Slot::Reasoning => Carriage::Partly("as `thinking`: a budget; `low` and the like as a usual one"),
        Slot::ParallelToolCalls => Carriage::Partly(params::FIRST_CALL),
        Slot::MinP
        | Slot::LogitBias
        | Slot::TopLogprobs
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
