//! Schemas that this provider holds its model to, for answers and for strict tools: it takes closed objects only, and no
//! bounds on values. Bounds are told in the description, as the provider's own clients do.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::wire::splice::{Members, Splice, quote};

/// A schema in the form that the provider takes.
pub(super) struct Eased {
    pub(super) schema: String,
    pub(super) change: Change,
}

/// What had to be changed.
#[derive(Default)]
pub(super) struct Change {
    /// Some object did not say whether it is closed, and is now.
    pub(super) closed: bool,
    /// Such an object had no properties of its own, and can only be empty now.
    pub(super) emptied: bool,
    /// What is told in words now, or less exactly.
    pub(super) told: BTreeSet<&'static str>,
}

/// Bounds that the provider refuses. Source: Anthropic, "Structured outputs", limits of JSON schema.
const BOUNDS: [&str; 11] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

/// The schema with every object closed that does not say whether it is, and with bounds in words; none = it is as it must
/// be. An object that says it is open stays so, and the provider refuses it by name.
pub(super) fn eased(schema: &str) -> Option<Eased> {
    let given = Bytes::copy_from_slice(schema.as_bytes());
    let mut change = Change::default();
    let eased = ease(&given, &mut change);
    let schema = || String::from_utf8(eased.to_vec()).unwrap_or_default();
    (eased != given).then(|| Eased { schema: schema(), change })
}

fn ease(schema: &Bytes, change: &mut Change) -> Bytes {
    // Depth is bounded: a body that is nested deeper than the scanner allows never came here.
    let Ok(members) = Members::scan(schema) else { return schema.clone() };
    let mut splice = members.splice();
    for member in members.all() {
        let value = schema.slice(member.value.clone());
        let changed = match &*member.name {
            "properties" | "$defs" | "definitions" => each(&value, change),
            "items" | "not" => ease(&value, change),
            "anyOf" | "allOf" | "oneOf" | "prefixItems" => list(&value, change),
            _ => continue,
        };
        if changed != value {
            splice.set(&member.name, changed);
        }
    }
    bounds(schema, &members, &mut splice, change);
    if members.get("oneOf").is_some() && members.get("anyOf").is_none() {
        // Which of several holds is for the model to say; that only one does is no promise of the provider's.
        splice.rename("oneOf", "anyOf");
        change.told.insert("oneOf");
    }
    let kind = members.value(schema, "type").unwrap_or_default();
    let object = memchr::memmem::find(kind, b"\"object\"").is_some() || members.get("properties").is_some();
    if object && members.get("additionalProperties").is_none() {
        let has = |name| members.value(schema, name).is_some_and(|value| value.len() > 2);
        change.closed = true;
        change.emptied |= !["properties", "anyOf", "allOf", "oneOf", "$ref"].iter().any(|name| has(name));
        splice.set("additionalProperties", Bytes::from_static(b"false"));
    }
    splice.apply(schema).concat().into()
}

/// Bounds move into the description.
fn bounds(schema: &Bytes, members: &Members, splice: &mut Splice<'_>, change: &mut Change) {
    let value = |name: &str| members.value(schema, name).and_then(|json| std::str::from_utf8(json).ok());
    // None or one is the one bound of a list that the provider keeps.
    let least = value("minItems").filter(|least| !matches!(*least, "0" | "1")).map(|_| "minItems");
    let there = BOUNDS.into_iter().filter(|name| value(name).is_some()).chain(least);
    let mut words = Vec::new();
    for name in there {
        words.push(format!("{name}: {}", value(name).unwrap_or_default()));
        splice.remove(name);
        change.told.insert(name);
    }
    if words.is_empty() {
        return;
    }
    let said = value("description").and_then(|json| serde_json::from_str::<String>(json).ok());
    let said = said.filter(|said| !said.is_empty()).map(|said| said + "\n\n").unwrap_or_default();
    splice.set("description", quote(&format!("{said}{{{}}}", words.join(", "))));
}

/// Every value of an object is a schema.
fn each(object: &Bytes, change: &mut Change) -> Bytes {
    let Ok(members) = Members::scan(object) else { return object.clone() };
    let mut splice = members.splice();
    for member in members.all() {
        let value = object.slice(member.value.clone());
        let changed = ease(&value, change);
        if changed != value {
            splice.set(&member.name, changed);
        }
    }
    splice.apply(object).concat().into()
}

/// Every item of a list is a schema.
fn list(list: &Bytes, change: &mut Change) -> Bytes {
    let Ok(items) = serde_json::from_slice::<Vec<&RawValue>>(list) else { return list.clone() };
    let items: Vec<Bytes> = items.iter().map(|item| Bytes::copy_from_slice(item.get().as_bytes())).collect();
    let eased: Vec<Bytes> = items.iter().map(|item| ease(item, change)).collect();
    if eased == items {
        return list.clone();
    }
    [b"[".as_slice(), &eased.join(&b','), b"]"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_closed_wherever_they_stand_and_nothing_else_changes() {
        let open = r#"{"type":"object","properties":{"a":{"type":["object","null"],"properties":{}},"type":{"type":"string"}},"$defs":{"d":{"anyOf":[{"type":"object"},{"items":{"properties":{}}}]}}}"#;
        let want = r#"{"type":"object","properties":{"a":{"type":["object","null"],"properties":{},"additionalProperties":false},"type":{"type":"string"}},"$defs":{"d":{"anyOf":[{"type":"object","additionalProperties":false},{"items":{"properties":{},"additionalProperties":false}}]}},"additionalProperties":false}"#;
        let now = eased(open).unwrap();
        assert_eq!((now.schema.as_str(), now.change.emptied, now.change.told.len()), (want, true, 0));
        assert!(eased(want).is_none());
        for other in [r#"{"type":"string"}"#, "true", r#"{"type":"object","additionalProperties":true}"#] {
            assert!(eased(other).is_none(), "{other}");
        }
        let full = r#"{"type":"object","properties":{"a":{"type":"string"}}}"#;
        assert!(!eased(full).unwrap().change.emptied);
    }

    #[test]
    fn bounds_are_told_in_words() {
        let given = r#"{"type":"object","properties":{"minimum":{"type":"integer","minimum":0,"maximum":12345678901234567890},"s":{"type":"string","description":"a \"b\"","minLength":2,"format":"date"},"l":{"type":"array","items":{"oneOf":[{"type":"number","multipleOf":0.5},{"type":"null"}]},"minItems":1},"m":{"type":"array","minItems":2}},"additionalProperties":false}"#;
        let want = r#"{"type":"object","properties":{"minimum":{"type":"integer","description":"{minimum: 0, maximum: 12345678901234567890}"},"s":{"type":"string","description":"a \"b\"\n\n{minLength: 2}","format":"date"},"l":{"type":"array","items":{"anyOf":[{"type":"number","description":"{multipleOf: 0.5}"},{"type":"null"}]},"minItems":1},"m":{"type":"array","description":"{minItems: 2}"}},"additionalProperties":false}"#;
        let now = eased(given).unwrap();
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&now.schema), read(want), "{}", now.schema);
        let told: Vec<&str> = now.change.told.into_iter().collect();
        assert_eq!(told, ["maximum", "minItems", "minLength", "minimum", "multipleOf", "oneOf"]);
        assert!(!now.change.closed && !now.change.emptied);
        assert!(eased(&now.schema).is_none(), "once is enough");
    }
}
