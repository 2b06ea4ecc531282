//! Thinking of other providers in a conversation that passes.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::moved::{Item, Moved, Signed, each, within, without};
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
fn foreign(block: &Bytes, signed: Signed) -> bool {
    let Ok(block) = serde_json::from_slice::<Block<'_>>(block) else { return false };
    let own = |signature: &str| Signature::read(signature, DialectId::Anthropic).of(DialectId::Anthropic).is_some();
    if signed == Signed::Anywhere {
        return matches!(&*block.kind, "thinking" | "redacted_thinking");
    }
    block.kind == "thinking" && block.signature.is_some_and(|signature| !own(&signature))
}

/// `pieces`: the body as it would be sent.
pub(super) fn unmoved(body: &Bytes, pieces: &[Bytes], signed: Signed) -> Option<Moved> {
    let has = |mark: &[u8]| memmem::find(body, mark).is_some();
    let marked =
        signed == Signed::Anywhere || has(b"\"sw.") || has(b"\"signature\":\"\"") || has(b"\"signature\": \"\"");
    let amid = has(b"\"budget_tokens\"") && has(b"\"tool_result\"");
    if !marked && !amid {
        return None;
    }
    let given: Bytes = pieces.concat().into();
    let mut gone = Vec::new();
    let cleaned = if marked { without_foreign(&given, signed, &mut gone) } else { None };
    // A turn that has no thinking, or none any more, cannot be resumed with a budget of it: as where requests are
    // translated. Another provider has made its calls.
    let calm = if amid { without_budget(cleaned.as_ref().unwrap_or(&given), signed) } else { None };
    gone.extend(calm.as_ref().map(|_| "thinking".to_owned()));
    calm.or(cleaned).map(|body| Moved { body, gone })
}

fn without_foreign(body: &Bytes, signed: Signed, gone: &mut Vec<String>) -> Option<Bytes> {
    within(body, "messages", |messages| {
        each(messages, |at, turn| {
            let content = within(turn, "content", |content| {
                each(content, |part, block| {
                    if !foreign(block, signed) {
                        return Item::Stays;
                    }
                    gone.push(format!("messages[{at}].content[{part}]"));
                    Item::Goes
                })
            });
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
    })
}

/// Without a budget of thinking, if the conversation ends with results of calls that another provider made without thinking.
fn without_budget(body: &Bytes, signed: Signed) -> Option<Bytes> {
    let mut budget = false;
    within(body, "thinking", |thinking| {
        budget = memmem::find(thinking, b"budget_tokens").is_some();
        None
    });
    let mut thoughtless = false;
    within(body, "messages", |messages| {
        thoughtless = budget && resumes_without_thinking(messages, signed).unwrap_or(false);
        None
    });
    without(body, "thinking").filter(|_| thoughtless)
}

/// How names of calls begin that the provider's models made.
const OWN: &str = "toolu_";

fn resumes_without_thinking(messages: &[u8], signed: Signed) -> Option<bool> {
    #[derive(Deserialize)]
    struct Turn<'a> {
        #[serde(borrow)]
        role: Cow<'a, str>,
        #[serde(borrow)]
        content: Vec<Kind<'a>>,
    }
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        #[serde(borrow, default)]
        id: Option<Cow<'a, str>>,
    }
    let turns: Vec<&RawValue> = serde_json::from_slice(messages).ok()?;
    let [.., own, answered] = turns.as_slice() else { return None };
    let (own, answered): (Turn<'_>, Turn<'_>) =
        (serde_json::from_str(own.get()).ok()?, serde_json::from_str(answered.get()).ok()?);
    let results = answered.content.iter().any(|block| block.kind == "tool_result");
    let thought = own.content.first().is_some_and(|block| matches!(&*block.kind, "thinking" | "redacted_thinking"));
    // What the provider has made itself passes as it is, and what it thinks of that is its own business.
    let its = |id: &str| signed == Signed::Elsewhere && id.starts_with(OWN);
    let moved = |block: &Kind<'_>| block.kind == "tool_use" && !block.id.as_deref().is_some_and(its);
    Some(results && own.role == "assistant" && !thought && own.content.iter().any(moved))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn unmoved(body: &Value) -> Option<(Value, Vec<String>)> {
        without(body, Signed::Elsewhere)
    }

    fn without(body: &Value, signed: Signed) -> Option<(Value, Vec<String>)> {
        let body = Bytes::from(body.to_string());
        let moved = super::unmoved(&body, &[body.slice(..9), body.slice(9..)], signed)?;
        Some((serde_json::from_slice(&moved.body).unwrap(), moved.gone))
    }

    #[test]
    fn what_the_provider_has_refused_goes_whoever_signed_it() {
        let call = json!({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}});
        let body = |blocks: Value| {
            json!({"model": "m", "thinking": {"type": "enabled", "budget_tokens": 2000},
                "messages": [{"role": "assistant", "content": blocks},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}]}]})
        };
        let thought = json!({"type": "thinking", "thinking": "hm", "signature": "RXFy"});
        let given = body(json!([thought, {"type": "redacted_thinking", "data": "Em"}, call]));
        let (left, gone) = without(&given, Signed::Anywhere).unwrap();
        let mut want = body(json!([call]));
        want.as_object_mut().unwrap().remove("thinking");
        assert_eq!(
            (left, gone),
            (want, ["messages[0].content[0]", "messages[0].content[1]", "thinking"].map(str::to_owned).to_vec())
        );
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
        // An answer without thinking was another provider's, if it was asked for: nothing of the kind is marked.
        let (left, gone) = unmoved(&body(json!([call]))).unwrap();
        assert_eq!((left.get("thinking"), gone), (None, vec!["thinking".to_owned()]));
        let mut own = call.clone();
        own["id"] = json!("toolu_1");
        assert_eq!(unmoved(&body(json!([own]))), None, "its own calls pass as they are");
        let mut adaptive = body(json!([call]));
        adaptive["thinking"] = json!({"type": "adaptive"});
        assert_eq!(unmoved(&adaptive), None, "a model that decides by itself may go on");
        let mut said = body(json!([call]));
        said["messages"]
            .as_array_mut()
            .unwrap()
            .extend([json!({"role": "assistant", "content": "ok"}), json!({"role": "user", "content": "b"})]);
        assert_eq!(unmoved(&said), None, "a new turn may think");
        let over = json!({"thinking": {"type": "enabled", "budget_tokens": 2000}, "messages": [
            {"role": "user", "content": "a"}, {"role": "assistant", "content": [thought("")]},
            {"role": "user", "content": "b"}]});
        let (left, gone) = unmoved(&over).unwrap();
        assert_eq!((left["messages"].as_array().unwrap().len(), gone.len()), (2, 1), "a turn of thinking alone");
        assert!(left.get("thinking").is_some(), "a new turn may think");
    }
}
