//! JSON Schemas of the types that files become.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// Says of which TOML type a value is that JSON does not have.
pub(super) const TOML_TYPE: &str = "x-toml-type";

/// The schema of a file. Draft 7, which is what the editors' TOML servers know.
#[must_use]
pub fn schema<T: JsonSchema>(title: &str) -> Value {
    let root = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    let mut schema = root.to_value();
    without_null(&mut schema);
    if let Some(root) = schema.as_object_mut().filter(|_| !title.is_empty()) {
        root.insert("title".to_owned(), title.into());
    }
    schema
}

/// TOML has no null: an optional member is absent. So the word is of no use to those who read the schema.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(members) => {
            members.values_mut().for_each(without_null);
            if members.get("default").is_some_and(Value::is_null) {
                members.remove("default");
            }
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|name| name != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    members.insert("type".to_owned(), one);
                }
            }
            for word in ["anyOf", "oneOf"] {
                alone(members, word);
            }
        }
        _ => {}
    }
}

/// `anyOf` of one thing and null is that thing. A reference stays in `allOf`, since draft 7 ignores what stands beside one.
fn alone(members: &mut Map<String, Value>, word: &str) {
    let Some(Value::Array(choices)) = members.get_mut(word) else { return };
    let all = choices.len();
    choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
    if choices.len() == all || choices.len() != 1 {
        return;
    }
    let Some(Value::Array(choices)) = members.remove(word) else { return };
    for choice in choices {
        match choice {
            Value::Object(one) if !one.contains_key("$ref") => {
                for (key, value) in one {
                    members.entry(key).or_insert(value);
                }
            }
            reference => {
                members.insert("allOf".to_owned(), Value::Array(vec![reference]));
            }
        }
    }
}
