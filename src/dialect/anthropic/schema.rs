//! Schemas for answers: this provider takes closed objects only.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::wire::splice::Members;

/// The schema with every object closed that does not say whether it is; none = it is as it must be. An object that says
/// it is open stays so, and the provider refuses it by name.
pub(super) fn closed(schema: &str) -> Option<String> {
    let given = Bytes::copy_from_slice(schema.as_bytes());
    let closed = close(&given);
    (closed != given).then(|| String::from_utf8(closed.to_vec()).unwrap_or_default())
}

fn close(schema: &Bytes) -> Bytes {
    // Depth is bounded: a body that is nested deeper than the scanner allows never came here.
    let Ok(members) = Members::scan(schema) else { return schema.clone() };
    let mut splice = members.splice();
    for member in members.all() {
        let value = schema.slice(member.value.clone());
        let changed = match &*member.name {
            "properties" | "$defs" | "definitions" => each(&value),
            "items" | "not" => close(&value),
            "anyOf" | "allOf" | "oneOf" | "prefixItems" => list(&value),
            _ => continue,
        };
        if changed != value {
            splice.set(&member.name, changed);
        }
    }
    let kind = members.value(schema, "type").unwrap_or_default();
    let object = memchr::memmem::find(kind, b"\"object\"").is_some() || members.get("properties").is_some();
    if object && members.get("additionalProperties").is_none() {
        splice.set("additionalProperties", Bytes::from_static(b"false"));
    }
    splice.apply(schema).concat().into()
}

/// Every value of an object is a schema.
fn each(object: &Bytes) -> Bytes {
    let Ok(members) = Members::scan(object) else { return object.clone() };
    let mut splice = members.splice();
    for member in members.all() {
        let value = object.slice(member.value.clone());
        let changed = close(&value);
        if changed != value {
            splice.set(&member.name, changed);
        }
    }
    splice.apply(object).concat().into()
}

/// Every item of a list is a schema.
fn list(list: &Bytes) -> Bytes {
    let Ok(items) = serde_json::from_slice::<Vec<&RawValue>>(list) else { return list.clone() };
    let items: Vec<Bytes> = items.iter().map(|item| Bytes::copy_from_slice(item.get().as_bytes())).collect();
    let closed: Vec<Bytes> = items.iter().map(close).collect();
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
        assert_eq!(closed(open).as_deref(), Some(want));
        assert_eq!(closed(want), None);
        for other in [r#"{"type":"string"}"#, "true", r#"{"type":"object","additionalProperties":true}"#] {
            assert_eq!(closed(other), None, "{other}");
        }
    }
}
