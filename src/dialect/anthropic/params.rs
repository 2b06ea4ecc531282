//! What this dialect can say.

use crate::dialect::{Carriage, Slot};

/// Whether a meaning has a place in a request of this dialect.
pub(super) fn carries(slot: Slot) -> Carriage {
    match slot {
        Slot::Core | Slot::Tools | Slot::MaxOutput | Slot::User | Slot::CacheMarks | Slot::StreamOptions => {
            Carriage::Full
        }
        Slot::ParallelToolCalls => Carriage::Full,
        Slot::ToolChoice => Carriage::Partly("with a budget of thinking no call can be forced; an effort gives way"),
        Slot::ResponseFormat => Carriage::Partly("a schema, as `output_config.format`; any object, in words"),
        Slot::JsonMode => Carriage::Partly("in words"),
        Slot::Temperature => {
            Carriage::Partly("0 to 1; not with a budget of thinking; an effort gives way; newest models take none")
        }
        Slot::TopP => {
            Carriage::Partly("with a budget of thinking from 0.95; an effort gives way; newest models take none")
        }
        Slot::TopK => Carriage::Partly("not with a budget of thinking; an effort gives way; newest models take none"),
        Slot::Stop => Carriage::Partly("not one of white space only"),
        Slot::Reasoning => Carriage::Partly(
            "as `thinking.budget_tokens`, from 1024 and below the output limit, or for newer models as `output_config.effort`; a word for which there is no room, or that a forced call or sampling excludes, is listed",
        ),
        Slot::ServiceTier => Carriage::Partly("`auto` and `default`"),
        Slot::MinP
        | Slot::FrequencyPenalty
        | Slot::PresencePenalty
        | Slot::Seed
        | Slot::LogitBias
        | Slot::Logprobs
        | Slot::TopLogprobs
        | Slot::Choices
        | Slot::Verbosity
        | Slot::Metadata
        | Slot::PromptCacheKey
        | Slot::Own(_) => Carriage::No,
    }
}
