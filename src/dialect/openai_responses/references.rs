//! Items that a request only names (`item_reference`), as clients do that believe the provider to have stored them.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::output::{FOREIGN_THOUGHT, Item};
use crate::dialect::{Envelope, Kept, Stored};
use crate::wire::splice::Members;

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    role: Option<IgnoredAny>,
    encrypted_content: Option<IgnoredAny>,
    id: Option<String>,
}

impl Named<'_> {
    /// Thinking of another provider, which is taken out where it would be looked up.
    fn is_foreign(&self) -> bool {
        self.id.as_ref().is_some_and(|id| id.starts_with(FOREIGN_THOUGHT))
    }

    /// The type may be left out where there is nothing but an id, and thinking that is not repeated is looked up.
    fn is_reference(&self) -> bool {
        match self.kind.as_deref() {
            None => self.role.is_none(),
            Some("reasoning") => self.encrypted_content.is_none() && !self.is_foreign(),
            kind => kind == Some("item_reference"),
        }
    }
}

/// The body with items in the place of their names, where `find` has any of them. The others stay names: a provider of
/// this dialect may know them.
pub(super) fn fill(body: &Bytes, find: &dyn Fn(&str) -> Option<Bytes>) -> Option<Bytes> {
    memmem::find(body, b"item_reference")?;
    let members = Members::scan(body).ok()?;
    let items: Vec<&RawValue> = serde_json::from_slice(members.value(body, "input")?).ok()?;
    let mut filled = false;
    let mut input = Vec::with_capacity(body.len());
    for item in items {
        input.push(if input.is_empty() { b'[' } else { b',' });
        let named = serde_json::from_str::<Named<'_>>(item.get()).ok();
        let id = named.filter(|named| named.kind.as_deref() == Some("item_reference")).and_then(|named| named.id);
        match id.and_then(|id| find(&id)) {
            Some(whole) => {
                filled = true;
                input.extend_from_slice(&whole);
            }
            None => input.extend_from_slice(item.get().as_bytes()),
        }
    }
    input.push(b']');
    let mut splice = members.splice();
    splice.set("input", input);
    filled.then(|| splice.apply(body).concat().into())
}

/// What a request names of that which its provider has stored: the answer before it, a conversation, items.
pub(super) fn stored(body: &Bytes, envelope: &Envelope) -> Vec<Stored> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Conversation {
        Id(String),
        Object { id: String },
    }
    let value = |name: &str| envelope.spans.value(body, name).filter(|value| *value != b"null");
    let mut stored = Vec::new();
    let mut add = |id, param: &str, unknown| stored.push(Stored { id, param: param.to_owned(), unknown });
    if let Some(id) = value("previous_response_id").and_then(|json| serde_json::from_slice(json).ok()) {
        add(id, "previous_response_id", "previous_response_not_found");
    }
    match value("conversation").and_then(|json| serde_json::from_slice(json).ok()) {
        Some(Conversation::Id(id) | Conversation::Object { id }) => add(id, "conversation", "conversation_not_found"),
        None => {}
    }
    // Most have no item with an id, or none that is told by it. Letters may be written by their numbers.
    if memmem::find(body, b"\"id\"").is_none() && memmem::find(body, b"\\u00").is_none() {
        return stored;
    }
    let items: Vec<&RawValue> = value("input").and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
    for (at, item) in items.into_iter().enumerate() {
        let named = serde_json::from_str::<Named<'_>>(item.get()).ok();
        if let Some(id) = named.filter(Named::is_reference).and_then(|named| named.id) {
            add(id, &format!("input[{at}].id"), "item_not_found");
        }
    }
    stored
}

/// Items of an answer by their ids.
pub(super) fn kept<'a>(items: impl IntoIterator<Item = &'a Item>) -> Vec<Kept> {
    let item = |item: &Item| Some((item.id().into(), Bytes::from(serde_json::to_vec(item).ok()?)));
    items.into_iter().filter_map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_become_their_items_and_all_else_stays() {
        let find = |id: &str| (id == "fc_1").then(|| Bytes::from_static(br#"{"type":"function_call","id":"fc_1"}"#));
        let body = Bytes::from_static(
            br#"{"model":"m","input":[{"role":"user","content":"item_reference"}, {"type":"item_reference","id":"fc_1"},{"id":"rs_9","type":"item_reference"}],"x":1}"#,
        );
        let want = r#"{"model":"m","input":[{"role":"user","content":"item_reference"},{"type":"function_call","id":"fc_1"},{"id":"rs_9","type":"item_reference"}],"x":1}"#;
        assert_eq!(fill(&body, &find).as_deref(), Some(want.as_bytes()));
        for other in [
            r#"{"input":"item_reference"}"#,
            r#"{"input":[{"type":"item_reference","id":"rs_9"}]}"#,
            r#"{"input":[{"type":"item_reference"}, 7, null]}"#,
            r#"["item_reference"]"#,
            "item_reference",
        ] {
            assert_eq!(fill(&Bytes::from_static(other.as_bytes()), &find), None, "{other}");
        }
    }

    #[test]
    fn what_is_stored_at_the_provider_is_found_wherever_it_is_named() {
        let named = |body: &'static str| {
            let body = Bytes::from_static(body.as_bytes());
            let envelope = Envelope { spans: Members::scan(&body).unwrap(), ..Envelope::default() };
            let names = stored(&body, &envelope).into_iter().map(|named| format!("{} {}", named.param, named.id));
            names.collect::<Vec<_>>()
        };
        let all = r#"{"previous_response_id":"resp_1","conversation":{"id":"conv_1"},"input":[{"role":"user","content":"a",
            "id":"msg_0"},{"type":"item\u005freference","id":"no"},{"type":"item_reference","id":"msg_1"},{"id":"rs_1"},
            {"type":"reasoning","id":"rs_2","summary":[]},{"type":"reasoning","id":"rs_3","summary":[],"encrypted_content":"x"}]}"#;
        let want = [
            "previous_response_id resp_1",
            "conversation conv_1",
            "input[1].id no",
            "input[2].id msg_1",
            "input[3].id rs_1",
            "input[4].id rs_2",
        ];
        let got = named(all);
        assert_eq!(got, want);
        assert_eq!(named(r#"{"input":[{"\u0069d":"msg_2"}]}"#), ["input[0].id msg_2"]);
        assert_eq!(
            named(r#"{"conversation":"conv_2","previous_response_id":null,"input":"item_reference"}"#),
            ["conversation conv_2"]
        );
    }
}
