//! Signatures of other providers in a conversation that passes.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::client::read_signature;
use super::turns::UNSIGNED;
use crate::dialect::moved::{Item, Moved, Signed, each, with, within, without};
use crate::domain::id::DialectId;
use crate::wire::splice::quote;

/// How clients of this dialect see the mark of a foreign signature: bytes for them, so in base64.
const MARK: &[u8] = b"\"c3cu";

const NAMES: [&str; 2] = ["thoughtSignature", "thought_signature"];

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    thought: Option<bool>,
    #[serde(borrow, rename = "thoughtSignature", alias = "thought_signature")]
    signature: Option<Cow<'a, str>>,
    #[serde(rename = "functionCall", alias = "function_call")]
    call: Option<IgnoredAny>,
}

/// A call goes on with Google's word for "this call was not made by us", other parts without a signature, and one that
/// was there for it alone not at all. `called`: whether the turn has had a call; only its first one has a signature.
fn judged(part: &Bytes, signed: Signed, called: &mut bool) -> Item {
    let Ok(read) = serde_json::from_slice::<Part<'_>>(part) else { return Item::Stays };
    let first = read.call.is_some() && !std::mem::replace(called, *called || read.call.is_some());
    let own = |signature: &str| signed == Signed::Elsewhere && read_signature(signature).origin == DialectId::Gemini;
    // What stands for a signature is refused by nobody.
    if !read.signature.as_ref().is_some_and(|signature| signature != UNSIGNED && !own(signature)) {
        let lacks = signed == Signed::Anywhere && first && read.signature.is_none();
        return if lacks { with(part, NAMES[0], quote(UNSIGNED)).into() } else { Item::Stays };
    }
    let mut names = NAMES.into_iter();
    if read.call.is_some() {
        return names.find_map(|name| within(part, name, |_| Some(quote(UNSIGNED).into()))).into();
    }
    if read.thought == Some(true) || read.text.is_none_or(|text| text.is_empty()) {
        return Item::Goes;
    }
    names.find_map(|name| without(part, name)).into()
}

/// `pieces`: the body as it would be sent.
pub(super) fn unmoved(body: &Bytes, pieces: &[Bytes], signed: Signed) -> Option<Moved> {
    if signed == Signed::Elsewhere {
        memmem::find(body, MARK)?;
    }
    let mut gone = Vec::new();
    let body = within(&pieces.concat().into(), "contents", |contents| {
        each(contents, |at, content| {
            let (mut left, mut called) = (false, false);
            let parts = within(content, "parts", |parts| {
                each(parts, |part_at, part| {
                    let item = judged(part, signed, &mut called);
                    let had = NAMES.iter().any(|name| within(part, name, |old| Some(old.clone())).is_some());
                    if had && !matches!(item, Item::Stays) {
                        gone.push(format!("contents[{at}].parts[{part_at}].thoughtSignature"));
                    }
                    left |= !matches!(item, Item::Goes);
                    item
                })
            });
            if parts.is_some() && !left { Item::Goes } else { parts.into() }
        })
    })?;
    Some(Moved { body, gone })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn unmoved(body: &Bytes, pieces: &[Bytes]) -> Option<Moved> {
        super::unmoved(body, pieces, Signed::Elsewhere)
    }

    #[test]
    fn what_the_provider_has_refused_goes_whoever_signed_it() {
        let body = |parts: Value| Bytes::from(json!({"contents": [{"role": "model", "parts": parts}]}).to_string());
        let call = |signature: &str| json!({"functionCall": {"name": "f"}, "thoughtSignature": signature});
        let given = body(json!([{"text": "a", "thoughtSignature": "Z2Vt"}, call("Z2Vt"), call(UNSIGNED)]));
        let moved = super::unmoved(&given, std::slice::from_ref(&given), Signed::Anywhere).unwrap();
        let want = body(json!([{"text": "a"}, call(UNSIGNED), call(UNSIGNED)]));
        assert_eq!((moved.body, moved.gone.len()), (want, 2));
        // A call that nobody signed, where the model demands it; of several in one turn the first.
        let bare = json!({"functionCall": {"name": "f"}});
        let given = body(json!([bare, bare]));
        let moved = super::unmoved(&given, std::slice::from_ref(&given), Signed::Anywhere).unwrap();
        assert_eq!((moved.body, moved.gone.len()), (body(json!([call(UNSIGNED), bare])), 0));
    }

    #[test]
    fn signatures_of_others_go_and_all_else_stays() {
        // `sw.anthropic.RXFy`
        let foreign = "c3cuYW50aHJvcGljLlJYRnk=";
        let call = |name: &str, signature: &str| json!({"functionCall": {"name": "f"}, name: signature});
        let body =
            |parts: Value| Bytes::from(json!({"contents": [{"role": "model", "parts": parts}], "x": 1}).to_string());
        let own = body(json!([call("thoughtSignature", "Z2Vt"), {"text": "\"c3cu"}]));
        assert_eq!(unmoved(&own, std::slice::from_ref(&own)), None, "its own passes");
        let given = body(
            json!([{"text": "hm", "thought": true, "thoughtSignature": foreign}, {"text": "a", "thoughtSignature": foreign},
            call("thoughtSignature", foreign), call("thought_signature", foreign)]),
        );
        let moved = unmoved(&given, std::slice::from_ref(&given)).unwrap();
        let want =
            body(json!([{"text": "a"}, call("thoughtSignature", UNSIGNED), call("thought_signature", UNSIGNED)]));
        let read = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap();
        assert_eq!((read(&moved.body), moved.gone.len()), (read(&want), 4));
        let alone = body(json!([{"text": "", "thoughtSignature": foreign}]));
        assert_eq!(read(&unmoved(&alone, std::slice::from_ref(&alone)).unwrap().body), json!({"contents": [], "x": 1}));
    }
}
