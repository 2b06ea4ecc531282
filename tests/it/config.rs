//! The shipped example says the truth: it is read, and its values are the defaults.

use std::path::Path;

#[test]
fn the_example_configuration_holds_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/stellwerk.example.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let example = stellwerk::config::parse("example", &text, Path::new("/x")).unwrap();
    let default = stellwerk::config::parse("empty", "", Path::new("/x")).unwrap();
    assert_eq!(format!("{example:?}"), format!("{default:?}"));
    // What is commented out must be readable too.
    let all: String = text
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = ") || l.starts_with("[[")).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let all = stellwerk::config::parse("example", &all, Path::new("/x")).unwrap();
    assert_eq!(all.local.len(), 1);
    assert_eq!(all.policies_dir.as_deref(), Some(Path::new("/x/policies")));
}
