//! TOML as people write it: members in a known order, tables of tables with headers of their own.

use std::fmt::Write;

use toml::{Table, Value};

/// Members whose tables have headers.
const HEADED: [&str; 7] = ["quirks", "token", "endpoint", "model", "price", "window", "tier"];
/// The order of members; others come after them by name.
const ORDER: [&str; 47] = [
    "name",
    "title",
    "dialect",
    "auth",
    "operator",
    "parent",
    "docs",
    "base_url",
    "region",
    "path",
    "also",
    "query",
    "headers",
    "allow_http",
    "processing",
    "guarantee",
    "retention_days",
    "training",
    "cancel_stops_billing",
    "id",
    "upstream",
    "family",
    "tier",
    "available",
    "context",
    "max_output",
    "supports",
    "prior",
    "from",
    "to",
    "currency",
    "timestamp_basis",
    "per_request",
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "utc",
    "days",
    "above_input",
    "keys",
    "quirks",
    "token",
    "endpoint",
    "model",
];
/// Members at the end.
const LAST: [&str; 3] = ["source", "checked", "expires"];

/// The first line of a file, by which editors find the schema to complete it by.
pub(super) fn schema(kind: &str) -> String {
    format!("#:schema ../schemas/{kind}.schema.json\n")
}

/// A text as TOML.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Texts as a TOML list.
pub(super) fn list<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(|text| quoted(text)).collect();
    format!("[{}]", quoted.join(", "))
}

/// A document.
pub(super) fn document(table: &Table) -> String {
    let mut out = String::new();
    members(&mut out, table, "", "");
    out
}

fn members(out: &mut String, table: &Table, path: &str, indent: &str) {
    let headed = |name: &str, value: &Value| {
        let tables = |list: &Vec<Value>| list.iter().all(Value::is_table);
        HEADED.contains(&name) && (value.is_table() || value.as_array().is_some_and(tables))
    };
    let mut names: Vec<&String> = table.keys().collect();
    names.sort_by_key(|name| rank(name));
    for name in &names {
        let Some(value) = table.get(*name).filter(|value| !headed(name, value)) else { continue };
        let _ = writeln!(out, "{indent}{name} = {value}");
    }
    for name in names {
        let Some(value) = table.get(name).filter(|value| headed(name, value)) else { continue };
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let inner = if path.is_empty() { String::new() } else { format!("{indent}  ") };
        match value {
            Value::Table(table) => {
                let _ = writeln!(out, "\n{inner}[{below}]");
                members(out, table, &below, &inner);
            }
            Value::Array(list) => {
                for table in list.iter().filter_map(Value::as_table) {
                    let _ = writeln!(out, "\n{inner}[[{below}]]");
                    members(out, table, &below, &inner);
                }
            }
            _ => {}
        }
    }
}

fn rank(name: &str) -> (usize, String) {
    let first = ORDER.iter().position(|known| *known == name);
    let last = LAST.iter().position(|known| *known == name).map(|place| 1000 + place);
    (first.or(last).unwrap_or(500), name.to_owned())
}
