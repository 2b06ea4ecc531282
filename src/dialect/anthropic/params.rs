//! What becomes of each request parameter on its way to this dialect: one row each.
//!
//! Parameters are named as the OpenAI dialects name them, since these are what is translated. The table drives the
//! refusal before planning, the loss report after encoding, and the documentation.

/// What becomes of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It has an equal here; a value without one is refused by the encoder.
    Mapped,
    /// It changes the answer and has no equal: a loss unless its value is neutral.
    Semantic,
    /// A hint: dropped and listed.
    Advisory,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// The top-level member.
    pub name: &'static str,
    /// What becomes of it.
    pub class: Class,
    /// Where it goes, or what a neutral value is.
    pub note: &'static str,
}

const fn mapped(name: &'static str, note: &'static str) -> Parameter {
    Parameter { name, class: Class::Mapped, note }
}

const fn semantic(name: &'static str, note: &'static str) -> Parameter {
    Parameter { name, class: Class::Semantic, note }
}

const fn advisory(name: &'static str, note: &'static str) -> Parameter {
    Parameter { name, class: Class::Advisory, note }
}

/// All parameters that are known, sorted by name.
static PARAMETERS: &[Parameter] = &[
    semantic("audio", "the answer is text"),
    advisory("client_metadata", ""),
    semantic("frequency_penalty", "0 is neutral"),
    mapped("function_call", "`tool_choice`"),
    mapped("functions", "`tools`"),
    advisory("include", ""),
    semantic("logit_bias", "an empty object is neutral"),
    semantic("logprobs", "false is neutral"),
    mapped("max_completion_tokens", "`max_tokens`"),
    mapped("max_tokens", "`max_tokens`; always sent"),
    mapped("messages", "`messages` and `system`"),
    advisory("metadata", ""),
    semantic("min_p", "0 is neutral"),
    semantic("modalities", "[\"text\"] is neutral"),
    mapped("model", "`model`"),
    semantic("n", "1 is neutral"),
    mapped("parallel_tool_calls", "`tool_choice.disable_parallel_tool_use`"),
    advisory("prediction", "only speed"),
    semantic("presence_penalty", "0 is neutral"),
    advisory("prompt_cache_key", ""),
    advisory("prompt_cache_retention", ""),
    semantic("reasoning", "`reasoning_effort` says it"),
    mapped("reasoning_effort", "`thinking.budget_tokens`"),
    mapped("response_format", "`output_config.format`; `json_object` has no equal"),
    advisory("safety_identifier", ""),
    semantic("seed", ""),
    mapped("service_tier", "`auto` and `default`; others are dropped and listed"),
    mapped("stop", "`stop_sequences`; one of white space only has no equal"),
    advisory("store", ""),
    mapped("stream", "`stream`"),
    advisory("stream_options", "usage is always in the stream"),
    mapped("temperature", "`temperature`; above 1 has no equal, with thinking only 1 has"),
    mapped("thinking", "`thinking`: `enabled` with a budget, or `disabled`"),
    mapped("tool_choice", "`tool_choice`; with thinking no call can be forced"),
    mapped("tools", "`tools`"),
    mapped("top_k", "`top_k`; not with thinking"),
    semantic("top_logprobs", "0 is neutral"),
    mapped("top_p", "`top_p`; with thinking from 0.95"),
    mapped("user", "`metadata.user_id`"),
    semantic("verbosity", "`medium` is neutral"),
    semantic("web_search_options", ""),
];

/// The table, for documentation.
#[must_use]
pub(in crate::dialect) fn parameters() -> &'static [Parameter] {
    PARAMETERS
}

/// The class of a parameter. One that nobody knows may change the answer.
#[must_use]
pub(super) fn class(name: &str) -> Class {
    PARAMETERS
        .binary_search_by(|p| p.name.cmp(name))
        .ok()
        .and_then(|at| PARAMETERS.get(at))
        .map_or(Class::Semantic, |p| p.class)
}

/// Whether a value changes nothing: null, and what the provider would do anyway. `value` is JSON text.
#[must_use]
pub(super) fn neutral(name: &str, value: &str) -> bool {
    let value = value.trim();
    if value == "null" {
        return true;
    }
    match name {
        "n" => value == "1",
        "frequency_penalty" | "presence_penalty" | "min_p" | "top_logprobs" => {
            value.parse::<f64>().is_ok_and(|v| v == 0.0)
        }
        "logprobs" => value == "false",
        "logit_bias" => squeezed(value) == "{}",
        "modalities" => squeezed(value) == "[\"text\"]",
        "verbosity" => value == "\"medium\"",
        _ => false,
    }
}

/// Whether the parameter has a neutral value at all: then its name alone decides nothing.
#[must_use]
pub(super) fn may_be_neutral(name: &str) -> bool {
    matches!(
        name,
        "n" | "frequency_penalty" | "presence_penalty" | "min_p" | "logprobs" | "top_logprobs" | "logit_bias"
    ) || matches!(name, "modalities" | "verbosity")
}

/// Without white space, for comparison with texts that have none in their strings.
pub(super) fn squeezed(json: &str) -> String {
    json.chars().filter(|c| !c.is_ascii_whitespace()).take(64).collect()
}
