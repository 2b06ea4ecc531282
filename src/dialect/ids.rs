//! Ids of tool calls, made fit for dialects that allow few characters in them.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::Quirks;
use crate::domain::chat::{ChatEvent, ChatResponse};

/// Ids for calls that their provider gave none. No other answer has them, since many providers say the same of each
/// answer, or nothing: clients tell calls apart by them, and some providers refuse a conversation that has one twice.
#[derive(Clone, Debug)]
pub struct CallIds(Box<str>);

impl CallIds {
    /// Those of one answer. `unique`: letters and digits that no other answer has, the last of them by chance
    /// ([`Rendering::id`](super::Rendering)).
    #[must_use]
    pub fn new(unique: &str) -> Self {
        // With what stands around them, fewer than OpenAI takes.
        const MOST: usize = 24;
        Self(unique.get(unique.len().saturating_sub(MOST)..).unwrap_or(unique).into())
    }

    fn fill(&self, id: &mut String, choice: u32, index: u32) {
        if id.is_empty() {
            *id = format!("call_{}_{choice}_{index}", self.0);
        }
    }

    /// The calls of a whole answer.
    pub fn fill_all(&self, response: &mut ChatResponse) {
        for choice in &mut response.choices {
            for (index, call) in (0..).zip(&mut choice.tool_calls) {
                self.fill(&mut call.id, choice.index, index);
            }
        }
    }

    /// A call of a stream.
    pub fn fill_event(&self, event: &mut ChatEvent) {
        if let ChatEvent::ToolStart { choice, index, id, .. } = event {
            self.fill(id, *choice, *index);
        }
    }
}

/// Begins every id that had to be rewritten, and no other.
const REWRITTEN: &str = "enc-";

/// The id in letters, digits, `_` and `-`. The same id always gives the same text, two ids never do, and the original
/// can be read from it: bytes that are not allowed become `_` and two hex digits.
pub(super) fn tool_id(id: &str) -> Cow<'_, str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !id.is_empty() && id.bytes().all(allowed) && !id.starts_with(REWRITTEN) {
        return Cow::Borrowed(id);
    }
    let mut safe = String::with_capacity(REWRITTEN.len() + id.len() + 8);
    safe.push_str(REWRITTEN);
    for byte in id.bytes() {
        if allowed(byte) && byte != b'_' {
            safe.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(safe, "_{byte:02x}");
        }
    }
    Cow::Owned(safe)
}

/// As [`tool_id`], in at most 64 characters: what is longer becomes its hash. Still the same id gives the same text,
/// and calls meet their results.
pub(super) fn short_tool_id(id: &str) -> Cow<'_, str> {
    const MOST: usize = 64;
    let safe = tool_id(id);
    if safe.len() <= MOST {
        return safe;
    }
    let mut short = String::with_capacity(MOST + 2);
    short.push_str(REWRITTEN);
    for byte in Sha256::digest(id.as_bytes()).iter().take((MOST - REWRITTEN.len()) / 2) {
        let _ = write!(short, "{byte:02x}");
    }
    Cow::Owned(short)
}

/// Most characters of an id with OpenAI. Source: its error `string_above_max_length` for `tool_calls[].id`.
const OPENAI_MOST: usize = 40;

/// An id for Chat Completions: as it is, or its hash where it is too long, or where the provider takes letters and digits of
/// one length alone (`quirks.call_id_length`). The same id always gives the same text.
pub(super) fn chat_id<'a>(id: &'a str, quirks: &Quirks) -> Cow<'a, str> {
    let hash = || Sha256::digest(id.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match quirks.call_id_length.map(|length| usize::from(length.get())) {
        Some(length) if id.len() == length && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => Cow::Borrowed(id),
        Some(length) => Cow::Owned(hash().chars().cycle().take(length).collect()),
        None if id.len() <= OPENAI_MOST => Cow::Borrowed(id),
        None => Cow::Owned(format!("call_{:.32}", hash())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn fit(safe: &str) -> bool {
        !safe.is_empty() && safe.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    }

    #[test]
    fn calls_without_an_id_get_one_that_no_other_answer_has() {
        use crate::domain::chat::{Choice, ToolCall};
        let call = |id: &str| ToolCall::new(id, "f", "{}");
        let answer = |unique: &str| {
            let calls = || vec![call(""), call("own"), call("")];
            let choice = |index| Choice { tool_calls: calls(), ..Choice::new(index) };
            let mut response = ChatResponse { choices: vec![choice(0), choice(1)], ..ChatResponse::default() };
            CallIds::new(unique).fill_all(&mut response);
            let calls = response.choices.into_iter().flat_map(|choice| choice.tool_calls);
            calls.map(|call| call.id).collect::<Vec<_>>()
        };
        let (one, other) = (answer(&"1".repeat(32)), answer(&format!("{}2", "1".repeat(31))));
        let all: BTreeSet<&String> = one.iter().chain(&other).filter(|id| *id != "own").collect();
        assert_eq!(all.len(), 8);
        assert!(all.iter().all(|id| fit(id) && id.len() <= OPENAI_MOST), "{all:?}");
        let mut event = ChatEvent::ToolStart {
            choice: 1,
            index: 2,
            id: String::new(),
            name: "f".into(),
            custom: false,
            signature: None,
        };
        CallIds::new(&"1".repeat(32)).fill_event(&mut event);
        assert!(matches!(event, ChatEvent::ToolStart { id, .. } if id == one[5]), "as in the whole answer");
    }

    #[test]
    fn rewritten_ids_are_allowed_distinct_and_readable() {
        let ids = ["", "a.b", "a_2eb", "a_b", "enc-a_2eb", "call:1", "функция", "a b", "enc-"];
        let written: BTreeSet<_> = ids.iter().map(|id| tool_id(id).into_owned()).collect();
        assert_eq!(written.len(), ids.len());
        assert!(ids.iter().all(|id| fit(&tool_id(id))));
        assert_eq!(tool_id("toolu_01-x"), "toolu_01-x");
    }

    #[test]
    fn long_ids_are_shortened_and_stay_distinct() {
        let long = |end: &str| "x".repeat(64) + end;
        let ids = [long(""), long("a"), long("b"), "ö".repeat(30), "a.b".to_owned()];
        let written: BTreeSet<_> = ids.iter().map(|id| short_tool_id(id).into_owned()).collect();
        assert_eq!(written.len(), ids.len());
        assert!(written.iter().all(|id| fit(id) && id.len() <= 64));
        assert_eq!(short_tool_id(&ids[0]), ids[0].as_str());
        assert_eq!(short_tool_id("a.b"), tool_id("a.b"));
    }

    #[test]
    fn ids_for_chat_completions_fit_and_stay_distinct() {
        let (plain, nine) =
            (Quirks::default(), Quirks { call_id_length: std::num::NonZeroU8::new(9), ..Quirks::default() });
        let long = "toolu_".repeat(9);
        let ids = ["call_1", "toolu_01A", "D681PevKs", "d681pevks", long.as_str(), &long[1..], "functions.name:0"];
        for quirks in [&plain, &nine] {
            let written: BTreeSet<_> = ids.iter().map(|id| chat_id(id, quirks).into_owned()).collect();
            assert_eq!(written.len(), ids.len());
            assert!(written.iter().all(|id| id.len() <= OPENAI_MOST));
        }
        assert!(
            ids.iter().all(
                |id| chat_id(id, &nine).len() == 9 && chat_id(id, &nine).bytes().all(|b| b.is_ascii_alphanumeric())
            )
        );
        assert_eq!(
            (chat_id("D681PevKs", &nine), chat_id("functions.name:0", &plain)),
            ("D681PevKs".into(), "functions.name:0".into())
        );
    }
}
