//! The shipped JSON Schemas: fresh, named in the files, and true of every shipped file.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stellwerk::catalogue::Catalogue;
use stellwerk::policy::Policy;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn schemas() -> [(&'static str, Value); 4] {
    [
        ("policy", Policy::schema()),
        ("provider", Catalogue::schema()),
        ("currencies", Catalogue::currencies_schema()),
        ("config", stellwerk::config::schema()),
    ]
}

#[test]
fn the_shipped_schemas_are_fresh() {
    for (name, schema) in schemas() {
        let path = root().join(format!("schemas/{name}.schema.json"));
        let text = format!("{schema:#}\n");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(root().join("schemas")).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let shipped = fs::read_to_string(&path).unwrap_or_default();
        assert!(shipped == text, "{} is stale: UPDATE_GOLDEN=1 cargo test schemas", path.display());
    }
}

/// TOML's dates are strings to JSON.
pub(crate) fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(at) => at.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => Value::Object(table.into_iter().map(|(k, v)| (k, json(v))).collect()),
    }
}

fn files(dir: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(dir)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect()
}

#[test]
fn every_shipped_file_names_its_schema_and_obeys_it() {
    let mut checked = 0;
    for path in [files("policies"), files("providers"), files("deploy")].concat() {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        let named = first.strip_prefix("#:schema ").unwrap_or_else(|| panic!("{}: no #:schema", path.display()));
        let named = path.parent().unwrap().join(named);
        let kind = match (path.parent().and_then(Path::file_name).and_then(|n| n.to_str()), path.file_stem()) {
            (_, Some(stem)) if stem == "currencies" => "currencies",
            (Some("policies"), _) => "policy",
            (Some("providers"), _) => "provider",
            _ => "config",
        };
        assert!(named.ends_with(format!("../schemas/{kind}.schema.json")), "{}", named.display());
        let schema: Value = serde_json::from_str(&fs::read_to_string(&named).unwrap()).unwrap();
        let validator = jsonschema::draft7::new(&schema).unwrap();
        let file = json(toml::from_str::<toml::Table>(&text).unwrap().into());
        let errors: Vec<String> = validator.iter_errors(&file).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn the_schemas_refuse_what_the_reader_refuses() {
    let policy = jsonschema::draft7::new(&Policy::schema()).unwrap();
    let route = |extra: &str| {
        let text = format!("[[route]]\nname = \"a\"\nmatch = {{ model = [\"m\"] }}\ntargets = [\"x/*\"]\n{extra}");
        json(toml::from_str::<toml::Table>(&text).unwrap().into())
    };
    assert!(policy.is_valid(&route("")));
    assert!(policy.is_valid(&route("baseline = { target = \"x/y\", price_as_of = 2025-01-31 }")));
    for wrong in ["max_outputs = 3", "max_output = \"3\"", "targetz = []", "prefer = { ordre = \"listed\" }"] {
        assert!(!policy.is_valid(&route(wrong)), "{wrong}");
    }
}

#[test]
fn members_have_descriptions() {
    fn bare(schema: &Value, at: &str, found: &mut Vec<String>) {
        if let Some(members) = schema.get("properties").and_then(Value::as_object) {
            found.extend(
                members.iter().filter(|(_, m)| m.get("description").is_none()).map(|(k, _)| format!("{at}.{k}")),
            );
        }
        for (name, part) in schema.get("definitions").and_then(Value::as_object).into_iter().flatten() {
            bare(part, name, found);
        }
    }
    for (name, schema) in schemas() {
        let mut found = Vec::new();
        bare(&schema, name, &mut found);
        assert!(found.is_empty(), "no doc comment, so no help in the editor: {found:?}");
    }
}
