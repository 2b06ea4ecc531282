//! Configurations of other gateways: what they become is checked, tested and explained by the command line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/import").join(name)
}

/// Runs the program; standard output, and whether it succeeded.
fn stellwerk(arguments: &[&str], env: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stellwerk"));
    let out = command.args(arguments).envs(env.iter().copied()).current_dir("/").output().unwrap();
    (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
}

/// All files below a directory, by their paths below it.
fn tree(dir: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for part in [".", "providers", "policies"] {
        let Ok(entries) = fs::read_dir(dir.join(part)) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            files.insert(name.trim_start_matches("./").to_owned(), fs::read_to_string(&path).unwrap());
        }
    }
    files
}

/// Imports a source, holds the outcome against the golden files, checks and tests it; the directory it is in.
fn imported(kind: &str, name: &str, source: &str, secrets: &[&str]) -> tempfile::TempDir {
    let (dir, golden) = (tempfile::tempdir().unwrap(), golden(name));
    let (out, from) = (dir.path().display().to_string(), golden.join(source).display().to_string());
    let (ok, told) = stellwerk(&["import", kind, &from, "--out", &out, "--day", "2026-11-29"], &[]);
    assert!(ok, "{told}");
    let made = tree(dir.path());
    for text in made.values().chain([&told]) {
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "a secret was copied: {text}");
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        for part in ["providers", "policies"] {
            let _ = fs::remove_dir_all(golden.join(part));
            fs::create_dir_all(golden.join(part)).unwrap();
        }
        for (name, text) in &made {
            fs::write(golden.join(name), text).unwrap();
        }
    }
    let mut expected = tree(&golden);
    expected.remove(source);
    assert_eq!(made, expected, "run with UPDATE_GOLDEN=1 and read the difference");
    for (name, text) in made.iter().filter(|(name, _)| name.ends_with(".toml")) {
        let schema = text.lines().next().unwrap().strip_prefix("#:schema ").unwrap_or_else(|| panic!("{name}"));
        let written = fs::read_to_string(dir.path().join(name).parent().unwrap().join(schema)).unwrap();
        let schema: Value = serde_json::from_str(&written).unwrap();
        let file = crate::schemas::json(toml::from_str::<toml::Table>(text).unwrap().into());
        assert!(jsonschema::draft7::new(&schema).unwrap().is_valid(&file), "{name}");
    }
    let (policies, providers) = (format!("{out}/policies"), format!("{out}/providers"));
    for command in [&["check"][..], &["policy", "test"]] {
        let arguments: Vec<&str> =
            command.iter().copied().chain(["--policies", &policies, "--providers", &providers]).collect();
        let (ok, told) = stellwerk(&arguments, &[]);
        assert!(ok, "{told}");
    }
    let (ok, told) = stellwerk(&["import", kind, &from, "--out", &out], &[]);
    assert!(!ok && told.contains("nothing is written without --force"), "{told}");
    assert_eq!(tree(dir.path()), made);
    dir
}

/// The targets of a plan, in order.
fn plan(dir: &tempfile::TempDir, model: &str, more: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (policies, providers, data) = (path("policies"), path("providers"), path("data"));
    let arguments = [
        "explain",
        model,
        "--offline",
        "--json",
        "--policies",
        &policies,
        "--providers",
        &providers,
        "--data-dir",
        &data,
    ];
    let arguments: Vec<&str> = arguments.into_iter().chain(more.iter().copied()).collect();
    let (ok, told) = stellwerk(&arguments, env);
    assert!(ok, "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let admitted = told["admitted"].as_array().unwrap_or_else(|| panic!("{told}"));
    admitted.iter().map(|target| target["target"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_small_litellm_configuration() {
    let dir = imported("litellm", "litellm-small", "source.yaml", &["sk-master-secret"]);
    let keys = [("OPENAI_API_KEY", "k"), ("ANTHROPIC_API_KEY", "k")];
    assert_eq!(plan(&dir, "gpt-4o", &[], &keys), ["openai/gpt-4o@global", "anthropic/claude-sonnet-4-5"]);
    assert_eq!(plan(&dir, "claude", &[], &keys), ["anthropic/claude-sonnet-4-5"]);
}

#[test]
fn a_large_litellm_configuration() {
    let secrets =
        ["lf-secret", "sk-literal", "sk-nameless", "AKIA-literal", "redis-secret", "cache-secret", "db-secret"];
    let dir = imported("litellm", "litellm-large", "source.yaml", &secrets);
    let names = [
        "AZURE_API_KEY_EU",
        "OPENAI_API_KEY",
        "GEMINI_IMPORTED_KEY_2",
        "TOGETHERAI_API_KEY",
        "DEEPINFRA_API_KEY",
        "VERTEX_JSON",
        "BEDROCK_KEY_ID",
        "AWS_IMPORTED_KEY_3",
    ];
    let keys = names.map(|name| (name, "k"));
    let (own, mini, long) =
        ("azure-acme-weur/gpt-4o-weur", "openai/gpt-4o-mini@global", "gemini-imported-2/gemini-2.5-pro");
    let chat = plan(&dir, "gpt-4", &[], &keys);
    assert_eq!(chat.len(), 4, "{chat:?}");
    assert!(chat[..2].contains(&own.to_owned()) && chat[..2].contains(&"openai-more/gpt-4o".to_owned()), "{chat:?}");
    assert!(chat[2..].contains(&mini.to_owned()) && chat[2..].contains(&long.to_owned()), "{chat:?}");
    assert_eq!(plan(&dir, "chat", &["--input-tokens", "500000"], &keys), [long], "the only one that has room");
    assert_eq!(plan(&dir, "hidden-name", &[], &keys), [mini]);
    assert_eq!(
        plan(&dir, "r1", &[], &keys),
        ["together-ai/deepseek-ai/DeepSeek-R1", "deepinfra/deepseek-ai/DeepSeek-R1", mini]
    );
    assert_eq!(
        plan(&dir, "own-llama", &["--down", "openai/*"], &keys),
        ["openai-compatible-10-0-0-7-8000/meta-llama/Llama-3.3-70B-Instruct"]
    );
    assert_eq!(plan(&dir, "gemini-eu", &["--require", "processing=EU"], &[]), Vec::<String>::new());
}

#[test]
fn a_request_to_openrouter() {
    let dir = imported("openrouter", "openrouter-request", "source.json", &["private words"]);
    let keys = ["TOGETHER_API_KEY", "DEEPINFRA_API_KEY", "NOVITA_API_KEY", "DEEPSEEK_API_KEY", "OPENROUTER_API_KEY"];
    let plan = plan(&dir, "deepseek/deepseek-r1", &[], &keys.map(|name| (name, "k")));
    assert_eq!(plan[0], "together/deepseek-ai/DeepSeek-R1", "{plan:?}");
    let never = ["novita/", "deepseek/", "openrouter/", "local/"];
    assert!(plan.iter().all(|target| never.iter().all(|never| !target.starts_with(never))), "{plan:?}");
}

#[test]
fn presets_of_openrouter() {
    let dir = imported("openrouter", "openrouter-presets", "source.json", &["private words"]);
    let names = [
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "OPENROUTER_API_KEY",
        "GROQ_API_KEY",
        "NEBIUS_API_KEY",
        "OVH_AI_ENDPOINTS_ACCESS_TOKEN",
    ];
    let keys = names.map(|name| (name, "k"));
    let support = plan(&dir, "@preset/support", &[], &keys);
    let expected = [
        "anthropic/claude-sonnet-4-5",
        "openai/gpt-4o-mini@global",
        "openai/gpt-4o-mini@eu",
        "openrouter-more/anthropic/claude-sonnet-4.5",
        "openrouter-more/openai/gpt-4o-mini",
    ];
    assert_eq!(support, expected);
    let open = plan(&dir, "@preset/open", &[], &keys);
    assert!(open.len() == 2 && open.iter().all(|t| t.starts_with("groq/") || t.starts_with("nebius/")), "{open:?}");
    assert_eq!(plan(&dir, "@preset/plain", &[], &keys), ["openrouter-more/somebody/new-model"]);
}

#[test]
fn an_import_without_a_place_goes_to_moved() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("c.yaml"), "model_list:\n- {model_name: a, litellm_params: {model: openai/gpt-4o}}\n")
        .unwrap();
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stellwerk"));
        command.args(["import", "litellm", "c.yaml"]).current_dir(dir.path()).output().unwrap()
    };
    assert!(run().status.success());
    let made: Vec<String> = tree(&dir.path().join("moved")).into_keys().collect();
    assert_eq!(made, ["policies/default.toml", "report.txt"]);
    assert!(!run().status.success(), "and nothing is overwritten there either");
}
