//! Schemas in Google's own form (`"type": "OBJECT"`, `nullable`, `propertyOrdering`) as JSON schema.

use serde_json::{Map, Value};

use crate::domain::chat::Json;

/// Turns one into the other. What is JSON schema already stays as it is.
pub(super) fn json_schema(schema: &Json) -> Json {
    match serde_json::from_str::<Value>(schema.as_str()) {
        Ok(value) => Json::new(turned(value, 0).to_string()),
        Err(_) => schema.clone(),
    }
}

/// The kinds of values, from 1 on.
const NUMBERED: [&str; 7] = ["string", "number", "integer", "boolean", "array", "object", "null"];

/// Deeper schemas than bodies may be do not come.
const MAX_DEPTH: usize = 128;

fn turned(value: Value, depth: usize) -> Value {
    let Value::Object(members) = value else { return value };
    if depth > MAX_DEPTH {
        return Value::Object(members);
    }
    let mut out = Map::new();
    let mut nullable = false;
    for (name, value) in members {
        match (name.as_str(), value) {
            ("type", Value::String(word)) => {
                out.insert(name, Value::String(word.to_ascii_lowercase()));
            }
            // Some clients write the numbers that Google's own enumeration has.
            ("type", Value::Number(number)) => {
                let number = number.as_u64().and_then(|n| usize::try_from(n).ok());
                if let Some(word) = number.and_then(|n| NUMBERED.get(n.checked_sub(1)?)) {
                    out.insert(name, Value::from(*word));
                }
            }
            ("nullable", Value::Bool(flag)) => nullable = flag,
            ("propertyOrdering" | "property_ordering", _) => {}
            ("properties" | "$defs" | "defs", Value::Object(inner)) => {
                let inner = inner.into_iter().map(|(name, schema)| (name, turned(schema, depth + 1)));
                out.insert(name, Value::Object(inner.collect()));
            }
            ("items" | "additionalProperties", value) => {
                out.insert(name, turned(value, depth + 1));
            }
            ("anyOf" | "any_of", Value::Array(list)) => {
                let list = list.into_iter().map(|schema| turned(schema, depth + 1));
                out.insert("anyOf".to_owned(), Value::Array(list.collect()));
            }
            // Numbers are sent as texts where they may be large.
            ("minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties", value) => {
                let number = value.as_str().and_then(|text| text.parse::<u64>().ok()).map(Value::from);
                out.insert(name, number.unwrap_or(value));
            }
            (_, value) => {
                out.insert(name, value);
            }
        }
    }
    if nullable && let Some(Value::String(word)) = out.get("type").cloned() {
        out.insert("type".to_owned(), Value::Array(vec![Value::String(word), Value::String("null".to_owned())]));
    }
    Value::Object(out)
}
