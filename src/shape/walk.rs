//! Holding a document against a schema: what does not fit is told and taken out.
//!
//! Knows the words of JSON Schema that derived schemas use; a word that it does not know forbids nothing, and serde has
//! the last word.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::schema::TOML_TYPE;
use super::{Fault, Node, nearest};

/// The value without what does not fit; none if nothing useful is left.
pub(super) fn fit<'a>(node: Node<'a>, root: &Value, path: &str, faults: &mut Vec<Fault>) -> Option<Node<'a>> {
    Walk { root, faults }.value(node, root, path)
}

struct Walk<'s> {
    root: &'s Value,
    faults: &'s mut Vec<Fault>,
}

impl<'s> Walk<'s> {
    fn fault(&mut self, node: &Node<'_>, path: &str, message: String, hint: Option<String>) {
        self.faults.push(Fault { span: node.span(), path: path.to_owned(), message, hint });
    }

    /// Follows references.
    fn resolved(&self, mut schema: &'s Value) -> &'s Value {
        loop {
            let next = match (schema.get("$ref").and_then(Value::as_str), schema.get("allOf")) {
                (Some(reference), _) => self.root.pointer(reference.trim_start_matches('#')),
                (None, Some(Value::Array(one))) => one.first(),
                (None, _) => None,
            };
            match next {
                Some(next) => schema = next,
                None => return schema,
            }
        }
    }

    /// What a value may be: one or several schemas.
    fn choices(&self, schema: &'s Value) -> Vec<&'s Value> {
        let schema = self.resolved(schema);
        match schema.get("anyOf").or_else(|| schema.get("oneOf")) {
            Some(Value::Array(choices)) => choices.iter().flat_map(|choice| self.choices(choice)).collect(),
            _ => vec![schema],
        }
    }

    fn value<'a>(&mut self, node: Node<'a>, schema: &'s Value, path: &str) -> Option<Node<'a>> {
        let choices = self.choices(schema);
        let fitting: Vec<&Value> = choices.iter().copied().filter(|choice| takes(choice, node.get_ref())).collect();
        let Some(first) = fitting.first().copied() else {
            let mut wanted: Vec<&str> = choices.iter().flat_map(|choice| kinds(choice)).map(in_words).collect();
            wanted.dedup();
            let message = format!("must be {}, not {}", wanted.join(" or "), in_words(kind(node.get_ref())));
            self.fault(&node, path, message, None);
            return None;
        };
        let span = node.span();
        match node.into_inner() {
            DeValue::String(text) => {
                let node = Spanned::new(span, DeValue::String(text));
                self.one_of(&node, &fitting, path).then_some(node)
            }
            DeValue::Integer(number) => {
                let out = outside(&number, first);
                let node = Spanned::new(span, DeValue::Integer(number));
                if let Some(message) = out {
                    self.fault(&node, path, message, None);
                    return None;
                }
                Some(node)
            }
            DeValue::Array(items) => {
                let mut kept = toml::de::DeArray::new();
                let element = first.get("items").unwrap_or(&Value::Bool(true));
                for (i, item) in items.into_iter().enumerate() {
                    if let Some(item) = self.value(item, element, &format!("{path}[{i}]")) {
                        kept.push(item);
                    }
                }
                Some(Spanned::new(span, DeValue::Array(kept)))
            }
            DeValue::Table(table) => self.table(table, span, first, path),
            other => Some(Spanned::new(span, other)),
        }
    }

    fn table<'a>(
        &mut self,
        table: DeTable<'a>,
        span: std::ops::Range<usize>,
        schema: &'s Value,
        path: &str,
    ) -> Option<Node<'a>> {
        let members = schema.get("properties").and_then(Value::as_object);
        let names: Vec<&str> = members.iter().flat_map(|members| members.keys()).map(String::as_str).collect();
        let required = schema.get("required").and_then(Value::as_array);
        let required: Vec<&str> = required.into_iter().flatten().filter_map(Value::as_str).collect();
        let others = schema.get("additionalProperties");
        let (mut kept, mut told) = (DeTable::new(), Vec::new());
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let at = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let known = members.and_then(|members| members.get(name));
            if known.is_none() && others == Some(&Value::Bool(false)) {
                let near = nearest(name, names.iter().copied());
                let hint = near.map_or_else(
                    || format!("there are {}", names.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                let message = format!("`{name}` is not known here");
                self.faults.push(Fault { span: key.span(), path: path.to_owned(), message, hint: Some(hint) });
                told.extend(near);
                continue;
            }
            told.push(known.and_then(|_| names.iter().copied().find(|known| *known == name)).unwrap_or_default());
            if let Some(value) = self.value(value, known.or(others).unwrap_or(&Value::Bool(true)), &at) {
                kept.insert(key, value);
            }
        }
        let node = Spanned::new(span, DeValue::Table(kept));
        // A member that stands there, wrong or misspelt, has been told of.
        for name in required.iter().filter(|name| !told.contains(name)) {
            self.fault(&node, path, format!("`{name}` is missing"), None);
        }
        let whole = required.iter().all(|name| node.get_ref().get(*name).is_some());
        whole.then_some(node)
    }

    /// Whether a string is one of those that are allowed, where only some are.
    fn one_of(&mut self, node: &Node<'_>, choices: &[&'s Value], path: &str) -> bool {
        let words = |choice: &&'s Value| match (choice.get("const"), choice.get("enum")) {
            (Some(Value::String(word)), _) => Some(vec![word.as_str()]),
            (_, Some(Value::Array(words))) => Some(words.iter().filter_map(Value::as_str).collect()),
            _ => None,
        };
        let Some(allowed) = choices.iter().map(words).collect::<Option<Vec<_>>>().map(|lists| lists.concat()) else {
            return true;
        };
        let given = node.get_ref().as_str().unwrap_or_default();
        if allowed.contains(&given) {
            return true;
        }
        let hint = nearest(given, allowed.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        self.fault(node, path, format!("`{given}` is not one of {}", allowed.join(", ")), hint);
        false
    }
}

/// The kinds of values that a schema takes; none: any.
fn kinds(schema: &Value) -> Vec<&str> {
    if let Some(Value::String(kind)) = schema.get(TOML_TYPE) {
        return vec![kind];
    }
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ if schema.get("const").is_some_and(Value::is_string) || schema.get("enum").is_some() => vec!["string"],
        _ => Vec::new(),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "boolean",
        DeValue::Datetime(_) => "datetime",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
    }
}

fn takes(schema: &Value, value: &DeValue<'_>) -> bool {
    let (kinds, given) = (kinds(schema), kind(value));
    kinds.is_empty() || kinds.contains(&given) || (given == "integer" && kinds.contains(&"number"))
}

fn in_words(kind: &str) -> &str {
    match kind {
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "datetime" => "a day or a moment",
        "array" => "a list",
        "object" => "a table",
        other => other,
    }
}

/// What is wrong with a number, if something is.
fn outside(number: &DeInteger<'_>, schema: &Value) -> Option<String> {
    let given = i128::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()?;
    let limit = |word: &str| {
        let limit = schema.get(word)?;
        limit.as_i64().map(i128::from).or_else(|| limit.as_u64().map(i128::from))
    };
    let (least, most) = (limit("minimum"), limit("maximum").or_else(|| most(schema.get("format")?.as_str()?)));
    if least.is_some_and(|least| given < least) {
        return least.map(|least| format!("{given} is too small: at least {least}"));
    }
    most.filter(|most| given > *most).map(|most| format!("{given} is too large: at most {most}"))
}

/// The most that a number of that format can be.
fn most(format: &str) -> Option<i128> {
    Some(match format {
        "uint8" => i128::from(u8::MAX),
        "uint16" => i128::from(u16::MAX),
        "uint32" => i128::from(u32::MAX),
        "uint64" | "uint" => i128::from(u64::MAX),
        "int32" => i128::from(i32::MAX),
        "int64" | "int" => i128::from(i64::MAX),
        _ => return None,
    })
}
