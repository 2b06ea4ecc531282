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

#[test]
fn a_check_finds_what_a_start_would_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[catalogue]\ndir = \".\"\n[[local.model]]\nname = \"smollm2-135m-instruct\"\npath = \"nothing.gguf\"\n";
    let config = || stellwerk::config::parse("x.toml", text, dir.path()).unwrap();
    let provider = crate::harness::provider("alpha", "openai-chat", "http://127.0.0.1:1", "DE", "1", "2");
    std::fs::write(dir.path().join("alpha.toml"), &provider).unwrap();
    let told = |config| match stellwerk::app::check(&config) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
    };
    let found = told(config());
    assert!(matches!(&found[..], [one] if one.contains("there is no file")), "{found:?}");
    let broken = provider.replace("keys = [{ env = \"PATH\" }]", "keys = [{ file = \"/no/such/key\" }]");
    std::fs::write(dir.path().join("alpha.toml"), broken).unwrap();
    let found = told(config());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("/no/such/key") && found[1].contains("there is no file"), "{found:?}");
    std::fs::write(dir.path().join("alpha.toml"), provider.replace("allow_http = true", "")).unwrap();
    let found = told(config());
    assert!(found.iter().any(|one| one.contains("must be https")), "{found:?}");
}

#[tokio::test]
async fn the_first_screen_names_what_answers_also_without_a_route() {
    let dir = crate::harness::Gateway::files(None, None, None);
    let route = "[[route]]\nname = \"x\"\nmatch = { model = [\"x\"] }\ntargets = [\"cohere/*\"]\n";
    std::fs::write(dir.path().join("policies/default.toml"), route).unwrap();
    let gateway = crate::harness::Gateway::start_in(dir).await;
    let models = gateway.app.as_ref().unwrap().facts().models;
    assert!(models.contains(&"alpha/m-1".to_owned()) && models.contains(&"any/MODEL".to_owned()), "{models:?}");
    assert!(!models.iter().any(|name| name.starts_with("cohere")), "no key, no answer: {models:?}");
}
