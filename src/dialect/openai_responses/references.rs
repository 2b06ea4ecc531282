//! Items that a request only names (`item_reference`), as clients do that believe the provider to have stored them.

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::output::Item;
use crate::dialect::Kept;
use crate::wire::splice::Members;

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    id: Option<String>,
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
        let id = named.filter(|named| named.kind == Some("item_reference")).and_then(|named| named.id);
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
}
