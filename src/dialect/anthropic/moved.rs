//! Thinking of other providers in a conversation that passes.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;

use crate::dialect::moved::{Item, Moved, each, within, without};
use crate::domain::id::DialectId;
use crate::domain::signature::Signature;

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    signature: Option<Cow<'a, str>>,
}

/// Signed elsewhere, or by nobody, as thinking is shown that came without a signature.
fn foreign(block: &Bytes) -> bool {
    let Ok(block) = serde_json::from_slice::<Block<'_>>(block) else { return false };
    let own = |signature: &str| Signature::read(signature, DialectId::Anthropic).of(DialectId::Anthropic).is_some();
    block.kind == "thinking" && block.signature.is_some_and(|signature| !own(&signature))
}

/// `pieces`: the body as it would be sent.
pub(super) fn unmoved(body: &Bytes, pieces: &[Bytes]) -> Option<Moved> {
    let marks: [&[u8]; 3] = [b"\"sw.", b"\"signature\":\"\"", b"\"signature\": \"\""];
    if !marks.iter().any(|mark| memmem::find(body, mark).is_some()) {
        return None;
    }
    let mut gone = Vec::new();
    let (mut turns, mut last, mut resumes) = (0, None, false);
    let cleaned = within(&pieces.concat().into(), "messages", |messages| {
        each(messages, |at, turn| {
            let content = within(turn, "content", |content| {
                each(content, |part, block| {
                    if !foreign(block) {
                        return Item::Stays;
                    }
                    gone.push(format!("messages[{at}].content[{part}]"));
                    last = Some(at);
                    Item::Goes
                })
            });
            turns = at + 1;
            resumes = memmem::find(turn, b"\"tool_result\"").is_some();
            // A turn of thinking alone has nothing left to say.
            let empty = |turn: &Bytes| {
                let mut left = false;
                within(turn, "content", |content| {
                    each(content, |_, _| {
                        left = true;
                        Item::Stays
                    })
                });
                !left
            };
            content.map_or(Item::Stays, |turn| if empty(&turn) { Item::Goes } else { Item::Becomes(turn) })
        })
    })?;
    // A turn that has lost its thinking cannot be resumed with more of it: as where requests are translated.
    let amid = resumes && last.is_some_and(|last| last + 2 == turns);
    let calm = if amid { without_budget(&cleaned) } else { None };
    gone.extend(calm.as_ref().map(|_| "thinking".to_owned()));
    Some(Moved { body: calm.unwrap_or(cleaned), gone })
}

fn without_budget(body: &Bytes) -> Option<Bytes> {
    let mut budget = false;
    within(body, "thinking", |thinking| {
        budget = memmem::find(thinking, b"budget_tokens").is_some();
        None
    });
    without(body, "thinking").filter(|_| budget)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn unmoved(body: &Value) -> Option<(Value, Vec<String>)> {
        let body = Bytes::from(body.to_string());
        let moved = super::unmoved(&body, &[body.slice(..9), body.slice(9..)])?;
        Some((serde_json::from_slice(&moved.body).unwrap(), moved.gone))
    }

    #[test]
    fn thinking_of_others_goes_and_all_else_stays() {
        let thought = |signature: &str| json!({"type": "thinking", "thinking": "hm", "signature": signature});
        let call =
            json!({"type": "tool_use", "id": "t", "name": "f", "input": {"x": "\"sw.", "n": 12345678901234567_u64}});
        let result = json!({"type": "tool_result", "tool_use_id": "t", "content": "ok"});
        let body = |blocks: Value| {
            json!({"model": "m", "x_unknown": [1], "thinking": {"type": "enabled", "budget_tokens": 2000},
                "messages": [{"role": "user", "content": "\"sw."}, {"role": "assistant", "content": blocks},
                    {"role": "user", "content": [result]}]})
        };
        assert_eq!(unmoved(&body(json!([thought("RXFy"), call]))), None, "its own passes");
        for foreign in ["sw.gemini.Z2Vt", "sw.bedrock.RXFy", ""] {
            let (left, gone) = unmoved(&body(json!([thought(foreign), call]))).unwrap();
            let mut want = body(json!([call]));
            want.as_object_mut().unwrap().remove("thinking");
            assert_eq!((left, gone), (want, vec!["messages[1].content[0]".to_owned(), "thinking".to_owned()]));
        }
        let over = json!({"thinking": {"type": "enabled", "budget_tokens": 2000}, "messages": [
            {"role": "user", "content": "a"}, {"role": "assistant", "content": [thought("")]},
            {"role": "user", "content": "b"}]});
        let (left, gone) = unmoved(&over).unwrap();
        assert_eq!((left["messages"].as_array().unwrap().len(), gone.len()), (2, 1), "a turn of thinking alone");
        assert!(left.get("thinking").is_some(), "a new turn may think");
    }
}
