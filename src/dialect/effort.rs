//! How much to think: what clients ask for, and what it is for models that take a word, or a number of tokens.
//!
//! Claude takes no forced call together with thinking, and neither a temperature nor `top_k` nor a small `top_p`. Of two
//! things that exclude each other the vaguer one gives way: an effort in a word is told without thinking where the
//! model has a word for that, else dropped for this one answer and listed. A number of tokens is as exact as the rest:
//! then the call or the sampling is lost, and the target is not used.

use std::borrow::Cow;

use serde::Deserialize;

use super::params::{self, Slot};
use crate::domain::chat::{ChatRequest, ToolChoice};

/// The least number of tokens that models with a budget take.
pub(super) const MIN_BUDGET: u64 = 1024;

/// All words, least first, with the budget each stands for.
const EFFORTS: [(&str, u64); 6] =
    [("minimal", 1024), ("low", 2048), ("medium", 8192), ("high", 24_576), ("xhigh", 32_768), ("max", 32_768)];

/// What the client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// So many tokens.
    Budget(u64),
    /// A word.
    Word(&'a str),
    /// The model decides, as the client wrote it in Claude's form.
    Adaptive(&'a str),
    /// Something that is not known here.
    Unknown,
}

/// Thinking as a client asks for it in Claude's words.
#[derive(Deserialize)]
struct WireThinking<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    #[serde(default)]
    budget_tokens: Option<u64>,
}

/// The parameter that asks for thinking and what it asks for; none = no thinking is asked for. Most dialects have a word
/// or a number; Claude's `thinking` comes with some SDKs' extra members.
pub(super) fn wanted(request: &ChatRequest) -> Option<(&'static str, Wanted<'_>)> {
    if let Some((_, raw)) = request.extra.iter().find(|(name, _)| name == "thinking") {
        let Ok(wire) = serde_json::from_str::<WireThinking<'_>>(raw.as_str()) else {
            return Some(("thinking", Wanted::Unknown));
        };
        return match (&*wire.kind, wire.budget_tokens) {
            ("disabled", _) => None,
            ("enabled", Some(budget)) => Some(("thinking", Wanted::Budget(budget))),
            ("adaptive", _) => Some(("thinking", Wanted::Adaptive(raw.as_str()))),
            _ => Some(("thinking", Wanted::Unknown)),
        };
    }
    let settings = request.reasoning.as_ref()?;
    let name = params::name_of(request.source, Slot::Reasoning);
    match (settings.budget_tokens, settings.effort.as_deref()) {
        (Some(0), _) | (None, None | Some("none")) => None,
        (Some(budget), _) => Some((name, Wanted::Budget(budget))),
        (None, Some(word)) => Some((name, Wanted::Word(word))),
    }
}

/// A budget that leaves at least a fifth of the limit for the answer itself, where there is room for it.
pub(super) fn budget(wanted: Wanted<'_>, limit: u64) -> Option<u64> {
    let wanted = match wanted {
        Wanted::Budget(tokens) => tokens,
        Wanted::Word(word) => EFFORTS.iter().find(|(known, _)| *known == word)?.1,
        Wanted::Adaptive(_) | Wanted::Unknown => return None,
    };
    let most = most(limit);
    (wanted >= MIN_BUDGET && most >= MIN_BUDGET).then_some(wanted.min(most))
}

/// Whether an output limit has room for thinking at all.
pub(super) fn has_room(limit: u64) -> bool {
    most(limit) >= MIN_BUDGET
}

fn most(limit: u64) -> u64 {
    limit.saturating_sub(limit / 5).max(MIN_BUDGET).min(limit.saturating_sub(1))
}

/// The allowed word that is nearest to what is wanted; of two, the smaller.
pub(super) fn word(wanted: Wanted<'_>, allowed: &[&'static str]) -> Option<&'static str> {
    let rank = match wanted {
        Wanted::Word(word) => EFFORTS.iter().position(|(known, _)| *known == word)?,
        Wanted::Budget(tokens) => (0..4).min_by_key(|at: &usize| EFFORTS[*at].1.abs_diff(tokens))?,
        Wanted::Adaptive(_) | Wanted::Unknown => return None,
    };
    let rank_of = |word: &&str| EFFORTS.iter().position(|(known, _)| known == word);
    let ranked = allowed.iter().filter_map(|word| rank_of(word).map(|at| (at.abs_diff(rank), *word)));
    ranked.min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// Whether something is demanded exactly that Claude does not do while it thinks. `samples`: the model takes sampling
/// parameters at all.
pub(super) fn excludes_thinking(request: &ChatRequest, samples: bool) -> bool {
    let s = &request.sampling;
    let forced = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Function(_)));
    let sampled = s.temperature.is_some_and(|t| t != 1.0)
        || s.top_k.is_some_and(|k| k != 0)
        || s.top_p.is_some_and(|p| p < LEAST_TOP_P);
    forced && !request.tools.is_empty() || samples && sampled
}

/// The least `top_p` that Claude takes while it thinks.
pub(super) const LEAST_TOP_P: f64 = 0.95;
