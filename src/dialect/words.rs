//! Parts that only one dialect knows, in words that every other has: code that a provider ran and what came of it, results
//! of a search, documents of several blocks. A provider of the same dialect gets them as they are; for all others they are
//! told before anything is encoded. What cannot be told stays: the encoder refuses it, or lists it.

use std::borrow::Cow;

use super::{anthropic, gemini, openai_responses, places};
use crate::domain::chat::{ChatRequest, Message, Part};
use crate::domain::id::DialectId;

/// What a part says in words, and its members that nobody is told of.
pub(super) struct Words {
    pub(super) parts: Vec<Part>,
    pub(super) lost: &'static [&'static str],
}

impl Words {
    pub(super) fn text(text: String) -> Self {
        Self { parts: vec![Part::Text(text)], lost: &[] }
    }
}

/// The request as a dialect can be told it (none = the embedded runtime), and what of it is not told.
pub(super) fn told(request: &ChatRequest, to: Option<DialectId>) -> (Cow<'_, ChatRequest>, Vec<String>) {
    let foreign =
        |part: &Part| matches!(part, Part::Opaque { dialect, .. } if to.is_none_or(|to| to.name() != *dialect));
    if !request.messages.iter().any(|message| message.content.iter().any(foreign)) {
        return (Cow::Borrowed(request), Vec::new());
    }
    let (mut request, mut lost) = (request.clone(), Vec::new());
    for (at, message) in request.messages.iter_mut().enumerate() {
        if message.content.iter().any(foreign) {
            turn(message, at, &foreign, &mut lost);
        }
    }
    (Cow::Owned(request), lost)
}

fn turn(message: &mut Message, at: usize, foreign: &dyn Fn(&Part) -> bool, lost: &mut Vec<String>) {
    let origins = std::mem::take(&mut message.origin.parts);
    for (part_at, part) in std::mem::take(&mut message.content).into_iter().enumerate() {
        let words = if foreign(&part) { in_words(&part) } else { None };
        let parts = match words {
            Some(words) => {
                let number = message.content.len();
                lost.extend(words.lost.iter().map(|member| format!("{}.{member}", places::part(at, number))));
                words.parts
            }
            None => vec![part],
        };
        for part in parts {
            message.content.push(part);
            message.origin.parts.extend(origins.get(part_at).cloned());
        }
    }
}

fn in_words(part: &Part) -> Option<Words> {
    let Part::Opaque { dialect, raw } = part else { return None };
    match DialectId::by_name(dialect)? {
        DialectId::Anthropic => anthropic::in_words(raw.as_str()),
        DialectId::Gemini => gemini::in_words(raw.as_str()),
        DialectId::OpenAiResponses => openai_responses::in_words(raw.as_str()),
        _ => None,
    }
}
