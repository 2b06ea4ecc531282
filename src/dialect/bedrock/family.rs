//! Which model takes what: rules of the models' makers, as data.
//!
//! An entry of `quirks.takes` or `quirks.drop` is `part of the model's id / member`, for instance
//! `anthropic.claude-sonnet-4-/cachePoint`; without a slash it holds for every model. The parts are matched anywhere
//! in the id, since ids come with a region's prefix (`eu.`) or inside an ARN.

use crate::dialect::{Destination, common};

/// Members of `quirks.takes` that this dialect knows how to write.
pub(super) mod member {
    /// `additionalModelRequestFields.top_k`.
    pub(crate) const TOP_K: &str = "top_k";
    /// `additionalModelRequestFields.inferenceConfig.topK`.
    pub(crate) const INNER_TOP_K: &str = "inferenceConfig.topK";
    /// `cachePoint` in system turns and messages.
    pub(crate) const CACHE_POINT: &str = "cachePoint";
    /// `cachePoint` in the list of tools.
    pub(crate) const TOOLS_CACHE_POINT: &str = "toolConfig.cachePoint";
    /// A lifetime other than the default.
    pub(crate) const CACHE_TTL: &str = "cachePoint.ttl";
    /// `strict` in a tool.
    pub(crate) const STRICT: &str = "toolSpec.strict";
}

/// The form in which a model is told how much to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// `thinking: {type: enabled, budget_tokens}`.
    Budget,
    /// `thinking: {type: adaptive}` with `output_config: {effort}`.
    Adaptive,
    /// `reasoningConfig: {type: enabled, maxReasoningEffort}`.
    MaxEffort,
    /// `reasoning_effort`.
    FlatEffort,
    /// `reasoning: {effort}`.
    Effort,
}

/// What the entries call these forms.
const FORMS: [(&str, Thinking); 5] = [
    ("thinking.budget_tokens", Thinking::Budget),
    ("thinking.adaptive", Thinking::Adaptive),
    ("reasoningConfig.maxReasoningEffort", Thinking::MaxEffort),
    ("reasoning_effort", Thinking::FlatEffort),
    ("reasoning.effort", Thinking::Effort),
];

impl Thinking {
    /// The words that the form has, least first.
    pub(super) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Budget => &[],
            Self::MaxEffort | Self::FlatEffort => &["low", "medium", "high"],
            Self::Adaptive | Self::Effort => &["low", "medium", "high", "xhigh", "max"],
        }
    }

    /// Whether the model then takes neither a temperature, nor `top_k`, nor a forced call.
    pub(super) fn excludes_sampling(self) -> bool {
        matches!(self, Self::Budget | Self::Adaptive)
    }
}

/// Whether the model takes a member.
pub(super) fn takes(to: &Destination<'_>, member: &str) -> bool {
    common::named(&to.quirks.takes, to.model, member)
}

/// Whether the model refuses a member that nobody misses.
pub(super) fn drops(to: &Destination<'_>, member: &str) -> bool {
    common::named(&to.quirks.drop, to.model, member)
}

/// Whether the model takes temperature, `topP` and `top_k`.
pub(super) fn samples(to: &Destination<'_>) -> bool {
    !common::named(&to.quirks.refuses, to.model, "sampling")
}

/// How the model is told how much to think. The entry with the longest part of the id decides: it is the most exact.
pub(super) fn thinking(to: &Destination<'_>) -> Option<Thinking> {
    let forms = to.quirks.takes.iter().map(|e| common::part_and_member(e)).filter(|(part, _)| to.model.contains(part));
    let known = forms.filter_map(|(part, name)| {
        FORMS.iter().find(|(form, _)| *form == name).map(|(_, thinking)| (part.len(), *thinking))
    });
    known.max_by_key(|(length, _)| *length).map(|(_, thinking)| thinking)
}
