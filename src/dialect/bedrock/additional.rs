//! `additionalModelRequestFields`: how much to think, and `top_k`.
//!
//! Each maker has its own members; which one a model takes is in `quirks.takes`. What it takes none for is reported as
//! lost.

use super::family::{Thinking as Form, member, takes, thinking as form_of};
use super::types::{Additional, Effort, InnerSampling, MaxEffort, Thinking, WantedThinking};
use crate::dialect::Destination;
use crate::dialect::params::{self, Slot};
use crate::domain::chat::{ChatRequest, Loss};
use serde_json::value::RawValue;

/// The least budget that models with one take.
const MIN_BUDGET: u64 = 1024;

/// All words, least first, with the budget each stands for.
const EFFORTS: [(&str, u64); 6] =
    [("minimal", 1024), ("low", 2048), ("medium", 8192), ("high", 24_576), ("xhigh", 32_768), ("max", 32_768)];

/// How the model will think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thinks {
    /// In which form it was told.
    pub(super) form: Form,
    /// The word it was told, where the form has words.
    pub(super) word: Option<&'static str>,
}

/// What the client asks for.
enum Wanted<'a> {
    Budget(u64),
    Word(&'a str),
    /// The model decides, as the client wrote it in Claude's form.
    Adaptive(&'a str),
    /// Something that is not known here.
    Unknown,
}

/// Writes how much to think. `limit` is the output limit of the request, `resumes` whether the conversation goes on
/// amid calls that were made without thinking.
pub(super) fn think<'a>(
    request: &'a ChatRequest,
    to: &Destination<'_>,
    limit: u64,
    resumes: bool,
    fields: &mut Additional<'a>,
    loss: &mut Loss,
) -> Option<Thinks> {
    let (name, wanted) = wanted(request)?;
    let thinks = form_of(to).and_then(|form| {
        if form != Form::Budget {
            return tell(form, &wanted, fields);
        }
        if resumes {
            return None;
        }
        let budget = budget(&wanted, limit)?;
        fields.thinking = Some(Thinking::Enabled { kind: "enabled", budget_tokens: budget });
        Some(Thinks { form, word: None })
    });
    if thinks.is_none() {
        // Amid calls the model cannot begin to think: it does without for this one answer. A word says how much to
        // think where there is room; the limit is what was demanded.
        let no_room = limit <= MIN_BUDGET && params::thinks_by_word(request);
        let hint = (resumes || no_room) && form_of(to) == Some(Form::Budget);
        let list = if hint { &mut loss.advisory } else { &mut loss.semantic };
        list.push(name.to_owned());
    }
    thinks
}

/// Forms that are told a word.
fn tell<'a>(form: Form, wanted: &Wanted<'a>, fields: &mut Additional<'a>) -> Option<Thinks> {
    if let (Form::Adaptive, Wanted::Adaptive(raw)) = (form, wanted) {
        fields.thinking = Some(Thinking::Raw(serde_json::from_str::<&RawValue>(raw).ok()?));
        return Some(Thinks { form, word: None });
    }
    let word = word(wanted, form.words())?;
    match form {
        Form::Budget => return None,
        Form::Adaptive => {
            fields.thinking = Some(Thinking::Adaptive { kind: "adaptive" });
            fields.output_config = Some(Effort { effort: word });
        }
        Form::MaxEffort => {
            fields.reasoning_config = Some(MaxEffort { kind: "enabled", max_reasoning_effort: word });
        }
        Form::FlatEffort => fields.reasoning_effort = Some(word),
        Form::Effort => fields.reasoning = Some(Effort { effort: word }),
    }
    Some(Thinks { form, word: Some(word) })
}

/// A budget that leaves at least a fifth of the limit for the answer itself, where there is room for it.
fn budget(wanted: &Wanted<'_>, limit: u64) -> Option<u64> {
    let wanted = match wanted {
        Wanted::Budget(tokens) => *tokens,
        Wanted::Word(word) => EFFORTS.iter().find(|(known, _)| known == word)?.1,
        Wanted::Adaptive(_) | Wanted::Unknown => return None,
    };
    let most = limit.saturating_sub(limit / 5).max(MIN_BUDGET).min(limit.saturating_sub(1));
    (wanted >= MIN_BUDGET && most >= MIN_BUDGET).then_some(wanted.min(most))
}

/// The allowed word that is nearest to what is wanted; of two, the smaller.
fn word(wanted: &Wanted<'_>, allowed: &[&'static str]) -> Option<&'static str> {
    let rank = match wanted {
        Wanted::Word(word) => EFFORTS.iter().position(|(known, _)| known == word)?,
        Wanted::Budget(tokens) => (0..4).min_by_key(|at: &usize| EFFORTS[*at].1.abs_diff(*tokens))?,
        Wanted::Adaptive(_) | Wanted::Unknown => return None,
    };
    let rank_of = |word: &&str| EFFORTS.iter().position(|(known, _)| known == word);
    let ranked = allowed.iter().filter_map(|word| rank_of(word).map(|at| (at.abs_diff(rank), *word)));
    ranked.min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// The parameter that asks for thinking and what it asks for; none = no thinking is asked for.
fn wanted(request: &ChatRequest) -> Option<(&'static str, Wanted<'_>)> {
    if let Some((_, raw)) = request.extra.iter().find(|(name, _)| name == "thinking") {
        let Ok(wire) = serde_json::from_str::<WantedThinking<'_>>(raw.as_str()) else {
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

/// Writes `top_k` where the model takes it.
pub(super) fn top_k(
    request: &ChatRequest,
    to: &Destination<'_>,
    free: bool,
    fields: &mut Additional<'_>,
    loss: &mut Loss,
) {
    let Some(top_k) = request.sampling.top_k.filter(|k| *k != 0) else { return };
    if free && takes(to, member::TOP_K) {
        fields.top_k = Some(top_k);
    } else if free && takes(to, member::INNER_TOP_K) {
        fields.inference_config = Some(InnerSampling { top_k });
    } else {
        params::lose(request, Slot::TopK, loss);
    }
}
