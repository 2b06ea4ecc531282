//! `additionalModelRequestFields`: how much to think, and `top_k`.
//!
//! Each maker has its own members; which one a model takes is in `quirks.takes`. What it takes none for is reported as
//! lost.

use super::family::{Thinking as Form, member, samples, takes, thinking as form_of};
use super::types::{Additional, Effort, InnerSampling, MaxEffort};
use crate::dialect::Destination;
use crate::dialect::claude::Thinking;
use crate::dialect::effort::{self, Wanted};
use crate::dialect::params::{self, Slot};
use crate::domain::chat::{ChatRequest, Loss};
use serde_json::value::RawValue;

/// How the model will think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thinks {
    /// In which form it was told.
    pub(super) form: Form,
    /// The word it was told, where the form has words.
    pub(super) word: Option<&'static str>,
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
    let (name, wanted) = effort::wanted(request)?;
    let form = form_of(to);
    let gives_way = params::thinks_by_word(request)
        && form.is_some_and(Form::excludes_sampling)
        && effort::excludes_thinking(request, samples(to));
    if let (true, Some(Form::Adaptive), Some(word)) = (gives_way, form, effort::word(wanted, Form::Adaptive.words())) {
        // The word holds without thinking as well.
        fields.output_config = Some(Effort { effort: word });
        return None;
    }
    let thinks = form.filter(|_| !gives_way).and_then(|form| {
        if form != Form::Budget {
            return tell(request, form, wanted, fields);
        }
        let budget_tokens = effort::budget(wanted, limit).filter(|_| !resumes)?;
        fields.thinking = Some(Thinking::budget(budget_tokens));
        Some(Thinks { form, word: None })
    });
    if thinks.is_none() {
        // Amid calls the model cannot begin to think: it does without for this one answer. A word says how much to
        // think where there is room; the limit is what was demanded.
        let no_room = !effort::has_room(limit) && params::thinks_by_word(request);
        let hint = (resumes || no_room || gives_way) && form == Some(Form::Budget);
        let list = if hint { &mut loss.advisory } else { &mut loss.semantic };
        list.push(name.to_owned());
    }
    thinks
}

/// Forms that are told a word.
fn tell<'a>(request: &'a ChatRequest, form: Form, wanted: Wanted<'a>, fields: &mut Additional<'a>) -> Option<Thinks> {
    if let (Form::Adaptive, Wanted::Adaptive(raw)) = (form, wanted) {
        fields.thinking = Some(Thinking::Raw(serde_json::from_str::<&RawValue>(raw).ok()?));
        return Some(Thinks { form, word: None });
    }
    let word = effort::word(wanted, form.words())?;
    match form {
        Form::Budget => return None,
        Form::Adaptive => {
            fields.thinking = Some(Thinking::adaptive(request));
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
