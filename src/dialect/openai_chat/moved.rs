//! Thinking of other providers in a conversation that passes: what this gateway shows of it beside a message, and members
//! that some providers have and others refuse (`quirks.drop`, `messages.reasoning_content` and the like).

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;

use crate::dialect::Quirks;
use crate::dialect::ids::chat_id;
use crate::dialect::moved::{Item, Moved, Signed, each, within, without};
use crate::wire::splice::quote;

/// Where signatures of thinking are shown to clients of this dialect.
const DETAILS: &str = "reasoning_details";

/// `pieces`: the body as it would be sent.
pub(super) fn unmoved(body: &Bytes, pieces: &[Bytes], quirks: &Quirks, signed: Signed) -> Option<Moved> {
    let refused: Vec<&str> = quirks.drop.iter().filter_map(|name| name.strip_prefix("messages.")).collect();
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let there = |name: &str| memmem::find(body, format!("\"{name}\"").as_bytes()).is_some();
    let calls = quirks.call_id_length.is_some() && there("tool_calls");
    if !calls && !there(DETAILS) && !refused.iter().any(|path| there(&last(path))) {
        return None;
    }
    let mut gone = Vec::new();
    let body = within(&pieces.concat().into(), "messages", |messages| {
        each(messages, |at, message| {
            let mut left = None;
            let marked = signed == Signed::Anywhere || memmem::find(message, b"\"sw.").is_some();
            let marked = marked.then_some(DETAILS);
            for path in refused.iter().copied().chain(marked) {
                let now = left.as_ref().unwrap_or(message);
                let Some(less) = taken(now, path) else { continue };
                gone.push(format!("messages[{at}].{path}"));
                left = Some(less);
            }
            let fit = if calls { fitted(left.as_ref().unwrap_or(message), quirks) } else { None };
            Item::from(fit.or(left))
        })
    })?;
    Some(Moved { body, gone })
}

/// A message with ids that the provider takes: those of calls that another one made have other forms.
fn fitted(message: &Bytes, quirks: &Quirks) -> Option<Bytes> {
    let fit = |given: &Bytes| {
        let id = serde_json::from_slice::<Cow<'_, str>>(given).ok()?;
        let fit = chat_id(&id, quirks);
        (*fit != *id).then(|| quote(&fit).into())
    };
    let calls = within(message, "tool_calls", |list| each(list, |_, call| within(call, "id", fit).into()));
    within(calls.as_ref().unwrap_or(message), "tool_call_id", fit).or(calls)
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
        let moved = super::unmoved(&body, std::slice::from_ref(&body), &quirks, Signed::Elsewhere)?;
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
        let body = Bytes::from(json!({"messages": routers}).to_string());
        let moved = super::unmoved(&body, std::slice::from_ref(&body), &Quirks::default(), Signed::Anywhere).unwrap();
        assert_eq!(moved.gone, ["messages[0].reasoning_details"], "what the provider has refused goes");
    }

    #[test]
    fn calls_of_others_have_ids_that_the_provider_takes_and_results_follow() {
        let quirks = Quirks { call_id_length: std::num::NonZeroU8::new(9), ..Quirks::default() };
        let body = Bytes::from(
            json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "call_abc", "type": "function"}, {"id": "D681PevKs"}]},
                {"role": "tool", "tool_call_id": "call_abc", "content": "1"}, {"role": "tool", "tool_call_id": "D681PevKs"}]})
            .to_string(),
        );
        let moved = super::unmoved(&body, std::slice::from_ref(&body), &quirks, Signed::Elsewhere).unwrap();
        let left: Value = serde_json::from_slice(&moved.body).unwrap();
        let id = left["messages"][0]["tool_calls"][0]["id"].as_str().unwrap();
        assert!(id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        assert_eq!((&left["messages"][1]["tool_call_id"], moved.gone.len()), (&json!(id), 0));
        assert_eq!(left["messages"][0]["tool_calls"][1], json!({"id": "D681PevKs"}));
        assert_eq!(super::unmoved(&body, std::slice::from_ref(&body), &Quirks::default(), Signed::Elsewhere), None);
    }
}
