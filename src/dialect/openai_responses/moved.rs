//! Thinking of other providers in a conversation that passes.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;

use crate::dialect::moved::{Item, Moved, each, within};
use crate::domain::id::DialectId;
use crate::domain::signature::Signature;

#[derive(Deserialize)]
struct Thought<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    encrypted_content: Option<Cow<'a, str>>,
}

fn foreign(item: &Bytes) -> bool {
    let Ok(item) = serde_json::from_slice::<Thought<'_>>(item) else { return false };
    let own = |data: &str| Signature::read(data, DialectId::OpenAiResponses).origin == DialectId::OpenAiResponses;
    item.kind == "reasoning" && item.encrypted_content.is_some_and(|data| !own(&data))
}

/// `pieces`: the body as it would be sent.
pub(super) fn unmoved(body: &Bytes, pieces: &[Bytes]) -> Option<Moved> {
    memmem::find(body, b"\"sw.")?;
    let mut gone = Vec::new();
    let body = within(&pieces.concat().into(), "input", |input| {
        each(input, |at, item| {
            if !foreign(item) {
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

    #[test]
    fn thinking_of_others_goes_and_all_else_stays() {
        let thought = |data: &str| json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": data});
        let body = |items: Value| Bytes::from(json!({"input": items, "x": 1}).to_string());
        let said = json!({"role": "user", "content": "\"sw."});
        assert_eq!(unmoved(&body(json!([said, thought("gAAA")])), &[]), None, "its own passes");
        let given = body(json!([said, thought("sw.anthropic.RXFy"), thought("gAAA")]));
        let moved = unmoved(&given, std::slice::from_ref(&given)).unwrap();
        assert_eq!((moved.body, moved.gone), (body(json!([said, thought("gAAA")])), vec!["input[1]".to_owned()]));
    }
}
