//! Schemas for answers: this provider takes closed objects only.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::wire::splice::Members;

/// A schema whose objects are closed.
pub(super) struct Closed {
    pub(super) schema: String,
    /// Some object had no properties of its own, and can only be empty now.
    pub(super) emptied: bool,
}

/// The schema with every object closed that does not say whether it is; none = it is as it must be. An object that says
/// it is open stays so, and the provider refuses it by name.
pub(super) fn closed(schema: &str) -> Option<Closed> {
    let given = Bytes::copy_from_slice(schema.as_bytes());
    let mut emptied = false;
    let closed = close(&given, &mut emptied);
    let schema = || String::from_utf8(closed.to_vec()).unwrap_or_default();
    (closed != given).then(|| Closed { schema: schema(), emptied })
}

fn close(schema: &Bytes, emptied: &mut bool) -> Bytes {
    // Depth is bounded: a body that is nested deeper than the scanner allows never came here.
    let Ok(members) = Members::scan(schema) else { return schema.clone() };
    let mut splice = members.splice();
    for member in members.all() {
        let value = schema.slice(member.value.clone());
        let changed = match &*member.name {
            "properties" | "$defs" | "definitions" => each(&value, emptied),
            "items" | "not" => close(&value, emptied),
            "anyOf" | "allOf" | "oneOf" | "prefixItems" => list(&value, emptied),
            _ => continue,
        };
        if changed != value {
            splice.set(&member.name, changed);
        }
    }
    let kind = members.value(schema, "type").unwrap_or_default();
    let object = memchr::memmem::find(kind, b"\"object\"").is_some() || members.get("properties").is_some();
    if object && members.get("additionalProperties").is_none() {
        let has = |name| members.value(schema, name).is_some_and(|value| value.len() > 2);
        *emptied |= !["properties", "anyOf", "allOf", "oneOf", "$ref"].iter().any(|name| has(name));
        splice.set("additionalProperties", Bytes::from_static(b"false"));
    }
    splice.apply(schema).concat().into()
}

/// Every value of an object is a schema.
fn each(object: &Bytes, emptied: &mut bool) -> Bytes {
    let Ok(members) = Members::scan(object) else { return object.clone() };
    let mut splice = members.splice();
    for member in members.all() {
        let value = object.slice(member.value.clone());
        let changed = close(&value, emptied);
        if changed != value {
            splice.set(&member.name, changed);
        }
    }
    splice.apply(object).concat().into()
}

/// Every item of a list is a schema.
fn list(list: &Bytes, emptied: &mut bool) -> Bytes {
    let Ok(items) = serde_json::from_slice::<Vec<&RawValue>>(list) else { return list.clone() };
    let items: Vec<Bytes> = items.iter().map(|item| Bytes::copy_from_slice(item.get().as_bytes())).collect();
    let closed: Vec<Bytes> = items.iter().map(|item| close(item, emptied)).collect();
    if closed == items {
        return list.clone();
    }
    [b"[".as_slice(), &closed.join(&b','), b"]"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_closed_wherever_they_stand_and_nothing_else_changes() {
        let open = r#"{"type":"object","properties":{"a":{"type":["object","null"],"properties":{}},"type":{"type":"string"}},"$defs":{"d":{"anyOf":[{"type":"object"},{"items":{"properties":{}}}]}}}"#;
        let want = r#"{"type":"object","properties":{"a":{"type":["object","null"],"properties":{},"additionalProperties":false},"type":{"type":"string"}},"$defs":{"d":{"anyOf":[{"type":"object","additionalProperties":false},{"items":{"properties":{},"additionalProperties":false}}]}},"additionalProperties":false}"#;
        let now = closed(open).unwrap();
        assert_eq!((now.schema.as_str(), now.emptied), (want, true));
        assert!(closed(want).is_none());
        for other in [r#"{"type":"string"}"#, "true", r#"{"type":"object","additionalProperties":true}"#] {
            assert!(closed(other).is_none(), "{other}");
        }
        let full = r#"{"type":"object","properties":{"a":{"type":"string"}}}"#;
        assert!(!closed(full).unwrap().emptied);
    }
}
