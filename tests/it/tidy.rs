//! What must stay absent: upward imports, clocks on pure floors, floats near money, provider names in code.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules by floor, lowest first; within floor 1 the arrows point to the left only.
const FLOORS: [(&str, u8); 26] = [
    ("domain", 0),
    ("shape", 9),
    ("wire", 10),
    ("dialect", 11),
    ("pricing", 12),
    ("forecast", 12),
    ("catalogue", 13),
    ("policy", 14),
    ("import", 15),
    ("config", 20),
    ("store", 21),
    ("telemetry", 22),
    ("admission", 30),
    ("health", 30),
    ("cache", 30),
    ("ledger", 30),
    ("upstream", 30),
    ("local", 30),
    ("report", 31),
    ("replay", 32),
    ("gateway", 40),
    ("versions", 41),
    ("server", 50),
    ("admin", 51),
    ("app", 60),
    ("cli", 61),
];

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

fn module(path: &Path) -> String {
    let relative = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn floor(module: &str) -> u8 {
    FLOORS.iter().find(|(name, _)| *name == module).map_or(62, |(_, floor)| *floor)
}

/// Code without its tests: what stands before the first `#[cfg(test)]`, unless the file is a test file.
fn code<'a>(path: &Path, text: &'a str) -> &'a str {
    if path.components().any(|c| c.as_os_str().to_string_lossy().trim_end_matches(".rs") == "tests") {
        return "";
    }
    // The module of tests, which stands last; others of one line belong to the code.
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

#[test]
fn modules_import_lower_floors_only_and_peers_do_not_import_each_other() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let own = module(&path);
        for (number, line) in code(&path, &text).lines().enumerate() {
            let line = line.trim_start();
            if line.starts_with("//") {
                continue;
            }
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if used != own && FLOORS.iter().any(|(name, _)| *name == used) && floor(&used) >= floor(&own) {
                    wrong.push(format!("{}:{}: {own} must not use {used}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_is_on_a_floor_and_every_file_says_what_it_is() {
    for (path, text) in sources() {
        let module = module(&path);
        let known = FLOORS.iter().any(|(name, _)| *name == module) || ["lib", "main"].contains(&&*module);
        assert!(known, "{}: put the module on a floor", path.display());
        assert!(text.starts_with("//!"), "{}: no //! header", path.display());
    }
}

#[test]
fn pure_floors_have_no_clock_no_io_and_no_float_near_money() {
    let clocks = ["SystemTime::now", "Instant::now", "std::fs::", "tokio::", "std::net::", "std::env::var"];
    let money = ["pricing", "ledger", "report"];
    for (path, text) in sources() {
        let module = module(&path);
        let code = code(&path, &text);
        // Helpers of tests may read recordings.
        if floor(&module) < 20 && !path.ends_with("dialect/corpus.rs") && !path.ends_with("dialect/golden.rs") {
            for word in clocks {
                assert!(!code.contains(word), "{}: `{word}` on a pure floor", path.display());
            }
        }
        let near_money =
            money.contains(&&*module) || path.ends_with("domain/money.rs") || path.ends_with("domain/price.rs");
        if near_money {
            let float = |word: &str| code.contains(&format!(": {word}")) || code.contains(&format!(" as {word}"));
            assert!(!float("f64") && !float("f32"), "{}: a float near money", path.display());
        }
    }
}

#[test]
fn no_provider_is_named_in_code() {
    let providers =
        ["\"deepseek\"", "\"groq\"", "\"mistral\"", "\"openrouter\"", "\"together\"", "\"azure\"", "\"nebius\""];
    for (path, text) in sources() {
        if module(&path) == "catalogue" {
            continue;
        }
        for name in providers {
            assert!(!code(&path, &text).contains(name), "{}: {name} belongs into its catalogue file", path.display());
        }
    }
}

#[test]
fn dialects_are_told_apart_in_the_registry_only() {
    for (path, text) in sources() {
        if ["dialect", "domain"].contains(&&*module(&path)) {
            continue;
        }
        let code = code(&path, &text);
        // The default one and the embedded runtime are not of the registry's making.
        for name in ["OpenAiResponses", "OpenAiCompletions", "Anthropic", "Gemini", "Bedrock", "Cohere", "Ollama"] {
            let told = code.contains(&format!("DialectId::{name}"));
            assert!(!told, "{}: a dialect by name outside the registry: {name}", path.display());
        }
    }
}

#[test]
fn files_stay_readable() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|(path, text)| code(path, text).lines().count() > 600)
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(long.is_empty(), "over 600 lines: {long:?}");
}

#[test]
fn unsafe_stays_at_the_llama_boundary() {
    for (path, text) in sources() {
        let at_the_boundary = path.to_string_lossy().contains("/local/");
        assert!(at_the_boundary || !code(&path, &text).contains("unsafe {"), "{}", path.display());
    }
}
