//! What this dialect can say.

use crate::dialect::{Carriage, Slot, params};

/// Whether a meaning has a place in a request of this dialect. What only some models take is data in the catalogue
/// file (`quirks.takes`).
pub(super) fn carries(slot: Slot) -> Carriage {
    match slot {
        Slot::Core | Slot::Tools | Slot::MaxOutput | Slot::StreamOptions => Carriage::Full,
        Slot::ToolChoice => Carriage::Partly(
            "with a budget of thinking no call can be forced, an effort gives way; after calls none can be forbidden",
        ),
        Slot::ResponseFormat => Carriage::Partly("a schema, as `outputConfig.textFormat`; any object, in words"),
        Slot::JsonMode => Carriage::Partly("in words"),
        Slot::Temperature => Carriage::Partly(
            "0 to 1; not with a budget of thinking, an effort gives way; newest Claude models take none",
        ),
        Slot::TopP => Carriage::Partly(
            "0 to 1; with a budget of thinking from 0.95, an effort gives way; newest Claude models take none",
        ),
        Slot::TopK => Carriage::Partly(
            "for models whose catalogue entry says so; not with a budget of thinking, an effort gives way",
        ),
        Slot::Stop => Carriage::Partly("not an empty one"),
        Slot::Reasoning => Carriage::Partly(
            "for models whose catalogue entry says so, in their maker's form; a word for which the output limit has no room is listed",
        ),
        Slot::ServiceTier => Carriage::Partly("`auto`, `default`, `flex`, `priority`, `reserved`"),
        Slot::Metadata => Carriage::Partly("as `requestMetadata`: at most 16 short strings"),
        Slot::CacheMarks => Carriage::Partly("for models whose catalogue entry says so, as `cachePoint`"),
        Slot::ParallelToolCalls => Carriage::Partly(params::FIRST_CALL),
        Slot::MinP
        | Slot::FrequencyPenalty
        | Slot::PresencePenalty
        | Slot::Seed
        | Slot::LogitBias
        | Slot::Logprobs
        | Slot::TopLogprobs
        | Slot::Choices
        | Slot::User
        | Slot::Verbosity
        | Slot::PromptCacheKey
        | Slot::Own(_) => Carriage::No,
    }
}
