//! What is told of a file, and what is read of it nevertheless.

use std::collections::BTreeMap;

use super::*;

/// A file of the tests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    from: Option<Spanned<Datetime>>,
    days: Option<Days>,
    small: Option<u8>,
    #[serde(default)]
    part: Vec<Part>,
    #[serde(default)]
    by_name: BTreeMap<Spanned<String>, Part>,
    kind: Option<Kind>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Days {
    Known(#[expect(dead_code, reason = "only its form matters")] u32),
    Text(String),
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// One.
    Left,
    Right,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Part {
    id: Spanned<String>,
    weight: Option<u64>,
}

fn told(text: &str) -> (Option<File>, Vec<String>) {
    let mut problems = Vec::new();
    let read = read_document::<File>("f.toml", text, &mut problems);
    (read, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_good_file_is_read_with_its_places() {
    let text = "name = \"a\"\nfrom = 2025-01-31\ndays = \"unknown\"\nkind = \"right\"\n[by_name.x]\nid = \"y\"";
    let (file, problems) = told(text);
    assert!(problems.is_empty(), "{problems:?}");
    let file = file.unwrap();
    assert_eq!(file.name.span(), 7..10);
    assert_eq!(file.from.unwrap().get_ref().to_string(), "2025-01-31");
    assert_eq!(file.kind, Some(Kind::Right));
    assert!(matches!(file.days, Some(Days::Text(text)) if text == "unknown"));
    let (name, part) = file.by_name.first_key_value().unwrap();
    assert_eq!((name.get_ref().as_str(), name.span(), part.id.get_ref().as_str()), ("x", 70..71, "y"));
}

#[test]
fn every_mistake_is_told_and_the_rest_is_read() {
    let text = r#"
name = "a"
from = "2025-01-31"
days = true
small = 300
nmae = 1
kind = "rihgt"

[[part]]
id = "good"
weight = -1

[[part]]
wieght = 1

[[part]]
di = "x"

[by_name]
x = 5
"#;
    let (file, problems) = told(text);
    let expected = [
        "f.toml:6:1: `nmae` is not known here (did you mean `name`?)",
        "f.toml:3:8: from: must be a day or a moment, not a string",
        "f.toml:4:8: days: must be a whole number or a string, not true or false",
        "f.toml:5:9: small: 300 is too large: at most 255",
        "f.toml:7:8: kind: `rihgt` is not one of right, left (did you mean `right`?)",
        "f.toml:11:10: part[0].weight: -1 is too small: at least 0",
        "f.toml:14:1: part[1]: `wieght` is not known here (did you mean `weight`?)",
        "f.toml:13:1: part[1]: `id` is missing",
        "f.toml:17:1: part[2]: `di` is not known here (did you mean `id`?)",
        "f.toml:20:5: by_name.x: must be a table, not a whole number",
    ];
    let (mut found, mut expected) = (problems, expected.map(str::to_owned).to_vec());
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let file = file.unwrap();
    assert_eq!((file.part.len(), file.part[0].weight), (1, None), "what can't be read is left out");
    assert!(file.small.is_none() && file.days.is_none() && file.kind.is_none());
}

#[test]
fn what_lacks_its_name_is_nothing() {
    let (file, problems) = told("small = 1\n");
    assert!(file.is_none());
    assert_eq!(problems, ["f.toml:1:1: `name` is missing"]);
}

#[test]
fn broken_toml_is_told_once() {
    let (file, problems) = told("name = \n[part\nid = 1");
    assert!(file.is_none() && !problems.is_empty() && problems.len() <= 3, "{problems:?}");
}

#[test]
fn no_schema_speaks_of_null() {
    let text = schema::<File>("File").to_string();
    assert!(!text.contains("null"), "{text}");
}
