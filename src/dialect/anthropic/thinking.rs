//! How much to think, in the form that the model takes.
//!
//! Older models take a number of tokens, which is the form where the catalogue says nothing (`quirks.takes`). Newer ones
//! take a word (`thinking.adaptive`), some of them more words than others (`effort.xhigh`). With thinking no call can be
//! forced and nothing sampled: see [`effort`] for what then gives way. One more case: a conversation that stops amid
//! calls whose thinking the client did not keep cannot go on with a number of tokens; how much to think is then dropped
//! for this one answer and listed.

use crate::dialect::claude::Thinking;
use crate::dialect::effort::{self, Wanted};
use crate::dialect::{Destination, common, params};
use crate::domain::chat::{ChatRequest, Loss};

/// What the model is told.
#[derive(Default)]
pub(super) struct Told<'a> {
    pub(super) thinking: Option<Thinking<'a>>,
    /// `output_config.effort`, which holds with and without thinking.
    pub(super) effort: Option<&'static str>,
}

/// Whether the model takes temperature, `top_p` and `top_k`.
pub(super) fn samples(to: &Destination<'_>) -> bool {
    !common::named(&to.quirks.refuses, to.model, "sampling")
}

/// Decides how much the model is told to think. `limit` is the output limit, `resumes` whether the conversation goes on
/// amid calls that were made without thinking.
pub(super) fn tell<'a>(
    request: &'a ChatRequest,
    to: &Destination<'_>,
    limit: u64,
    resumes: bool,
    loss: &mut Loss,
) -> Told<'a> {
    let Some((name, wanted)) = effort::wanted(request) else { return Told::default() };
    let gives_way = params::thinks_by_word(request) && effort::excludes_thinking(request, samples(to));
    let takes = |member: &str| common::named(&to.quirks.takes, to.model, member);
    let told = if takes("thinking.adaptive") {
        by_word(request, wanted, takes("effort.xhigh"), gives_way)
    } else if resumes || gives_way {
        None
    } else {
        let budget = effort::budget(wanted, limit);
        budget.map(|budget| Told { thinking: Some(Thinking::budget(budget)), effort: None })
    };
    told.unwrap_or_else(|| {
        // A word says how much to think where there is room; the limit is what was demanded.
        let no_room = !effort::has_room(limit) && params::thinks_by_word(request);
        let hint = !takes("thinking.adaptive") && (resumes || gives_way || no_room);
        let list = if hint { &mut loss.advisory } else { &mut loss.semantic };
        list.push(name.to_owned());
        Told::default()
    })
}

/// None where the client's word is not known here.
fn by_word<'a>(request: &ChatRequest, wanted: Wanted<'a>, xhigh: bool, gives_way: bool) -> Option<Told<'a>> {
    if let Wanted::Adaptive(raw) = wanted {
        return Some(Told { thinking: Some(Thinking::Raw(serde_json::from_str(raw).ok()?)), effort: None });
    }
    let words: &[&str] =
        if xhigh { &["low", "medium", "high", "xhigh", "max"] } else { &["low", "medium", "high", "max"] };
    let thinking = (!gives_way).then(|| Thinking::adaptive(request));
    Some(Told { thinking, effort: Some(effort::word(wanted, words)?) })
}
