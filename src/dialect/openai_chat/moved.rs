//! Thinking of other providers in a conversation that passes: what this gateway shows of it beside a message, and members
//! that some providers have and others refuse (`quirks.drop`, `messages.reasoning_content` and the like).

use bytes::Bytes;
use memchr::memmem;

use crate::dialect::Quirks;
use crate::dialect::moved::{Item, Moved, each, within, without};

/// Where signatures of thinking are shown to clients of this dialect.
const DETAILS: &str = "reasoning_details";

/// `pieces`: the body as it would be sent.
pub(super) fn unmoved(body: &Bytes, pieces: &[Bytes], quirks: &Quirks) -> Option<Moved> {
    let refused: Vec<&str> = quirks.drop.iter().filter_map(|name| name.strip_prefix("messages.")).collect();
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let there = |name: &str| memmem::find(body, format!("\"{name}\"").as_bytes()).is_some();
    if !there(DETAILS) && !refused.iter().any(|path| there(&last(path))) {
        return None;
    }
    let mut gone = Vec::new();
    let body = within(&pieces.concat().into(), "messages", |messages| {
        each(messages, |at, message| {
            let mut left = None;
            let marked = memmem::find(message, b"\"sw.").is_some().then_some(DETAILS);
            for path in refused.iter().copied().chain(marked) {
                let now = left.as_ref().unwrap_or(message);
                let Some(less) = taken(now, path) else { continue };
                gone.push(format!("messages[{at}].{path}"));
                left = Some(less);
            }
            Item::from(left)
        })
    })?;
    Some(Moved { body, gone })
}

/// Without a member, or without one of the objects in a list.
fn taken(object: &Bytes, path: &str) -> Option<Bytes> {
    match path.split_once('.') {
        None => without(object, path),
        Some((list, inner)) => within(object, list, |list| each(list, |_, object| taken(object, inner).into())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn unmoved(messages: &Value, drop: &[&str]) -> Option<(Value, Vec<String>)> {
        let quirks = Quirks { drop: drop.iter().map(ToString::to_string).collect(), ..Quirks::default() };
        let body = Bytes::from(json!({"messages": messages, "x": 1}).to_string());
        let moved = super::unmoved(&body, std::slice::from_ref(&body), &quirks)?;
        let left: Value = serde_json::from_slice(&moved.body).unwrap();
        assert_eq!(left["x"], 1);
        Some((left["messages"].clone(), moved.gone))
    }

    #[test]
    fn what_was_signed_elsewhere_goes_and_what_a_provider_refuses() {
        let marked = json!([{"role": "assistant", "content": "a", "reasoning_content": "hm",
            "reasoning_details": [{"type": "reasoning.encrypted", "data": "sw.anthropic.RXFy"}],
            "tool_calls": [{"id": "1", "extra_content": {"google": {}}}]}]);
        let (left, gone) = unmoved(&marked, &[]).unwrap();
        assert_eq!(gone, ["messages[0].reasoning_details"]);
        assert!(left[0].get("reasoning_content").is_some() && left[0]["tool_calls"][0].get("extra_content").is_some());
        let refused = ["messages.reasoning_content", "messages.tool_calls.extra_content", "user"];
        let (left, gone) = unmoved(&marked, &refused).unwrap();
        assert_eq!(left, json!([{"role": "assistant", "content": "a", "tool_calls": [{"id": "1"}]}]));
        let want = ["reasoning_content", "tool_calls.extra_content", "reasoning_details"];
        assert_eq!(gone, want.map(|name| format!("messages[0].{name}")));
        let routers = json!([{"role": "assistant", "content": "a", "reasoning_details": [{"data": "gAAA"}]}]);
        assert_eq!(unmoved(&routers, &[]), None, "a provider's own passes");
        assert_eq!(unmoved(&json!([{"role": "user", "content": "reasoning_content"}]), &refused), None);
    }
}
