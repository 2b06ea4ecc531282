//! Thinking of other providers in a conversation that passes.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;

use super::output::FOREIGN_THOUGHT;
use crate::dialect::Quirks;
use crate::dialect::moved::{Item, Moved, Signed, each, within};
use crate::domain::id::DialectId;
use crate::domain::signature::Signature;

#[derive(Deserialize)]
struct Thought<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    encrypted_content: Option<Cow<'a, str>>,
}

/// Signed elsewhere, or not at all: the provider would look for an item of that id. One that reads thinking in the clear
/// (`quirks.reasoning_member`) looks for none.
fn foreign(item: &Bytes, quirks: &Quirks, signed: Signed) -> bool {
    let Ok(item) = serde_json::from_slice::<Thought<'_>>(item) else { return false };
    let own = |data: &str| {
        signed == Signed::Elsewhere
            && Signature::read(data, DialectId::OpenAiResponses).origin == DialectId::OpenAiResponses
    };
    let unknown = || item.id.is_some_and(|id| id.starts_with(FOREIGN_THOUGHT)) && quirks.reasoning_member.is_none();
    item.kind == "reasoning" && item.encrypted_content.map_or_else(unknown, |data| !own(&data))
}

/// `pieces`: the body as it would be sent.
pub(super) fn unmoved(body: &Bytes, pieces: &[Bytes], quirks: &Quirks, signed: Signed) -> Option<Moved> {
    let marks: [&[u8]; 2] = [b"\"sw.", b"\"rs_sw"];
    if signed == Signed::Elsewhere && !marks.iter().any(|mark| memmem::find(body, mark).is_some()) {
        return None;
    }
    let mut gone = Vec::new();
    let body = within(&pieces.concat().into(), "input", |input| {
        each(input, |at, item| {
            if !foreign(item, quirks, signed) {
                return Item::Stays;
            }
            gone.push(format!("input[{at}]"));
            Item::Goes
        })
    })?;
    Some(Moved { body, gone })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn unmoved(body: &Bytes, pieces: &[Bytes], quirks: &Quirks) -> Option<Moved> {
        super::unmoved(body, pieces, quirks, Signed::Elsewhere)
    }

    #[test]
    fn what_the_provider_has_refused_goes_whoever_signed_it() {
        let thought =
            |data: Value| json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": data});
        let body = |items: Value| Bytes::from(json!({"input": items}).to_string());
        let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
        let given = body(json!([thought(json!("gAAA")), call, thought(json!(null))]));
        let moved = super::unmoved(&given, std::slice::from_ref(&given), &Quirks::default(), Signed::Anywhere).unwrap();
        assert_eq!((moved.body, moved.gone), (body(json!([call, thought(json!(null))])), vec!["input[0]".to_owned()]));
    }

    #[test]
    fn thinking_of_others_goes_and_all_else_stays() {
        let quirks = Quirks::default();
        let thought = |data: &str| json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": data});
        let body = |items: Value| Bytes::from(json!({"input": items, "x": 1}).to_string());
        let said = json!({"role": "user", "content": "\"sw."});
        assert_eq!(unmoved(&body(json!([said, thought("gAAA")])), &[], &quirks), None, "its own passes");
        let given = body(json!([said, thought("sw.anthropic.RXFy"), thought("gAAA")]));
        let moved = unmoved(&given, std::slice::from_ref(&given), &quirks).unwrap();
        assert_eq!((moved.body, moved.gone), (body(json!([said, thought("gAAA")])), vec!["input[1]".to_owned()]));
    }

    #[test]
    fn thinking_that_nobody_signed_is_not_looked_for_where_it_was_never_stored() {
        let thought = |id: &str, data: Value| json!({"type": "reasoning", "id": id, "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": data});
        let plain = |id: &str| json!({"type": "reasoning", "id": id, "summary": []});
        let body = |items: Value| Bytes::from(json!({"input": items}).to_string());
        let ours = crate::dialect::openai_responses::output::thought_id("00ff", 0);
        let own =
            body(json!([plain("rs_68bf"), thought("rs_68bf", json!(null)), {"role": "user", "content": "\"rs_sw"}]));
        let quirks = Quirks::default();
        assert_eq!(unmoved(&own, std::slice::from_ref(&own), &quirks), None, "what it stored itself it finds");
        let given = body(json!([plain(&ours), thought(&ours, json!(null)), thought(&ours, json!("gAAA"))]));
        let moved = unmoved(&given, std::slice::from_ref(&given), &quirks).unwrap();
        assert_eq!(moved.body, body(json!([thought(&ours, json!("gAAA"))])));
        assert_eq!(moved.gone, ["input[0]", "input[1]"]);
        let reads = Quirks { reasoning_member: Some("reasoning".to_owned()), ..Quirks::default() };
        assert_eq!(unmoved(&given, std::slice::from_ref(&given), &reads), None, "it reads thinking in the clear");
    }
}
