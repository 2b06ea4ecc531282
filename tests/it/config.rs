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
    let told = |config| stellwerk::app::check(&config).1.iter().map(ToString::to_string).collect::<Vec<_>>();
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

/// The program as people run it.
fn check(dir: &Path) -> (bool, serde_json::Value) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_stellwerk"));
    let out = command.current_dir("/").args(["check", "--json", "--config"]).arg(dir.join("stellwerk.toml")).output();
    let out = out.unwrap();
    (out.status.success(), serde_json::from_slice(&out.stdout).unwrap())
}

#[test]
fn check_tells_everything_at_once_with_places_and_hints() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let provider = crate::harness::provider("alpha", "openai-chat", "http://127.0.0.1:1", "DE", "1", "2");
    let provider = provider.replace("keys = [{ env = \"PATH\" }]", "keys = [{ file = \"secret\" }]");
    write("secret", "sk-1\n");
    write("providers/alpha.toml", &provider);
    write("policies/default.toml", "[[route]]\nname = \"r\"\nmatch = { model = [\"*\"] }\ntargets = [\"alpha/*\"]\n");
    write("stellwerk.toml", "[catalogue]\ndir = \"providers\"\n[policies]\ndir = \"policies\"\n");
    let (ok, told) = check(dir.path());
    assert!(ok, "the key file lies beside the configuration, wherever one stands: {told}");
    assert_eq!(told["findings"], serde_json::json!([]));

    write(
        "stellwerk.toml",
        "[serve]\n[catalogue]\ndir = \"providers\"\n[policies]\ndir = \"policies\"\n[data]\ndir = 5\n",
    );
    write("providers/alpha.toml", &provider.replace("auth =", "tilte = 1\nauth ="));
    write(
        "policies/default.toml",
        "[[route]]\nname = \"r\"\nmatch = { model = [\"*\"] }\ntargets = [\"alpha/*\", \"alpa/*\"]\nlossi = 1\n",
    );
    write(
        "policies/other.toml",
        "[[route]]\nname = \"a\"\nmatch = { model = [\"*\"] }\ntargets = [\"alpha/*\"]\n\
         [[route]]\nname = \"b\"\nmatch = { model = [\"m\"] }\ntargets = [\"alpha/*\"]\n",
    );
    let (ok, told) = check(dir.path());
    assert!(!ok && told["ok"] == false);
    let lines: Vec<String> = told["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| {
            let file = Path::new(found["file"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
            let (message, hint) = (found["message"].as_str().unwrap(), found["hint"].as_str().unwrap_or_default());
            format!(
                "{} {file}:{}:{} {message} {hint}",
                found["severity"].as_str().unwrap(),
                found["line"],
                found["column"]
            )
        })
        .collect();
    let wanted = [
        "error stellwerk.toml:1:2 `serve` is not known here did you mean `server`?",
        "error stellwerk.toml:7:7 must be a string, not a whole number ",
        "error default.toml:4:23 `alpa/*` matches no target did you mean `alpha`?",
        "error default.toml:5:1 `lossi` is not known here did you mean `lossy`?",
        "warning other.toml:7:9 route `b` is never reached: `a` above takes all that it matches ",
    ];
    for wanted in wanted {
        assert!(lines.iter().any(|line| line == wanted), "{wanted}: {lines:#?}");
    }
    assert!(
        lines.iter().any(|line| line.contains("alpha.toml") && line.contains("did you mean `title`?")),
        "{lines:#?}"
    );
}

#[test]
fn schemas_are_printed() {
    for file in ["policy", "provider", "currencies", "config"] {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_stellwerk")).args(["schema", file]).output().unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{file}.schema.json"));
        assert_eq!(String::from_utf8(out.stdout).unwrap(), std::fs::read_to_string(shipped).unwrap(), "{file}");
    }
}
