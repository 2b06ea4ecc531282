//! `stellwerk policy diff` and `policy test` as people run them, and what the commands say of themselves.

use std::path::Path;
use std::process::Command;

fn diff(arguments: &[&str]) -> (Option<i32>, String) {
    stellwerk(&[&["policy", "diff"], arguments].concat())
}

fn stellwerk(arguments: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_stellwerk")).current_dir("/").args(arguments).output();
    let out = out.unwrap();
    (out.status.code(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
}

#[test]
fn directories_and_files_are_compared_and_a_widening_fails_where_asked() {
    let dir = tempfile::tempdir().unwrap();
    let shipped = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/default.toml")).unwrap();
    let wider = shipped
        .replace("operator = [\"EEA+CH\", \"US\", \"local\"]", "operator = [\"EEA+CH\", \"US\", \"local\", \"CN\"]");
    assert_ne!(shipped, wider);
    let path = |name: &str| dir.path().join(name).display().to_string();
    for (name, text) in [("old/default.toml", &shipped), ("new/default.toml", &wider), ("new/extra.toml", &wider)] {
        let file = dir.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let (code, text) = diff(&[&path("old"), &path("new")]);
    assert_eq!(code, Some(0), "{text}");
    for wanted in [
        "policy extra: new",
        "route reasoning: changed",
        "requires (widened)",
        "operator: allowed now: CN; no longer: none",
        "processed in CN; operator CN",
        "WIDENS: route `reasoning` may go to deepseek/",
        "test \"when this machine is down, R1 elsewhere answers for o1, and nothing under Chinese law does\": passes before, fails now",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    let (code, _) = diff(&[&path("old"), &path("new"), "--fail-on", "widening"]);
    assert_eq!(code, Some(1));
    let (code, told) = diff(&[&path("new/default.toml"), &path("old/default.toml"), "--fail-on", "widening", "--json"]);
    assert_eq!(code, Some(0), "narrowing is no widening: {told}");
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["widens"], &told["changed"][0]["routes"][0]["requirement"]["direction"]),
        (&false.into(), &"narrowed".into())
    );
    let (code, text) = diff(&[&path("old"), &path("old")]);
    assert_eq!((code, text.as_str()), (Some(0), "no difference in meaning\n"));
    std::fs::write(dir.path().join("new/extra.toml"), "[[rout]]\n").unwrap();
    let (code, text) = diff(&[&path("old"), &path("new")]);
    assert!(code == Some(1) && text.contains("did you mean `route`?"), "{text}");
    let (code, text) = diff(&[&path("old"), &path("new/default.toml")]);
    assert!(code == Some(1) && text.contains("a directory with a directory"), "{text}");
}

#[test]
fn the_tests_of_a_directory_run_before_it_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let test = |target: &str| {
        format!(
            "[[route]]\nname = \"r\"\nmatch = {{ model = [\"r\"] }}\ntargets = [\"openai/o3@global\"]\n\
             [[test]]\nname = \"goes there\"\ngiven = {{ model = \"r\" }}\nexpect = {{ first = \"{target}\" }}\n"
        )
    };
    let file = dir.path().join("shop.toml");
    let shown = dir.path().display().to_string();
    std::fs::write(&file, test("openai/o3@global")).unwrap();
    let (code, told) = stellwerk(&["policy", "test", &shown]);
    assert_eq!((code, told.contains("1 passed, 0 failed")), (Some(0), true), "those of the directory alone: {told}");
    std::fs::write(&file, test("openai/o4-mini@global")).unwrap();
    let (code, told) = stellwerk(&["policy", "test", &shown, "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &rows[0]["policy"], &rows[0]["passed"]), (Some(1), &"shop".into(), &false.into()), "{told}");
    std::fs::remove_file(&file).unwrap();
    let (code, told) = stellwerk(&["policy", "test", &shown]);
    assert_eq!((code, told.contains("has no policy files")), (Some(1), true), "nothing was tested: {told}");
}

#[test]
fn commands_say_what_they_do_how_they_end_and_an_example() {
    for command in [
        "explain",
        "advise",
        "policy test",
        "policy diff",
        "policy backtest",
        "policy apply",
        "policy rollback",
        "import litellm",
        "import openrouter",
    ] {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let (code, told) = stellwerk(&arguments);
        assert_eq!(code, Some(0));
        for part in ["Exit code: 0 ", "2 wrong command line", "\n  stellwerk "] {
            assert!(told.contains(part), "{command} lacks {part}:\n{told}");
        }
    }
}

#[test]
fn explain_knows_operations_needs_and_users() {
    let dir = tempfile::tempdir().unwrap();
    let policy = "[[route]]\nname = \"vectors\"\nmatch = { model = [\"v\"], operation = [\"embeddings\"] }\n\
                  targets = [\"openai/text-embedding-3-small\"]\n\
                  [[route]]\nname = \"chat\"\nmatch = { model = [\"c\"] }\ntargets = [\"openai/gpt-4o\", \"openai/o1\"]\n\
                  [route.prefer]\ncanary = { target = \"openai/gpt-4.1@eu\", share = \"100%\", sticky = \"user\" }\n";
    std::fs::write(dir.path().join("default.toml"), policy).unwrap();
    let policies = dir.path().display().to_string();
    let explain = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_stellwerk"));
        command.args(["explain", "--offline", "--policies", &policies]).args(more).env("OPENAI_API_KEY", "x");
        let out = command.output().unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
    };
    assert!(explain(&["v"]).contains("404 model_not_found"));
    let told = explain(&["v", "--operation", "embeddings"]);
    assert!(told.contains(" 1. openai/text-embedding-3-small"), "{told}");
    let told = explain(&["c", "--needs", "audio"]);
    assert!(told.contains("refused   400 unsupported_parameter"), "{told}");
    assert!(explain(&["c"]).contains(" 1. openai/gpt-4o"), "without a user nobody is in the share");
    let told = explain(&["c", "--user", "ann"]);
    assert!(told.contains("the canary first, for this caller") && told.contains(" 1. openai/gpt-4.1"), "{told}");
    assert!(explain(&["v", "--operation", "embedings"]).contains("there is no operation `embedings` (did you mean"));
    assert!(explain(&["c", "--needs", "tool"]).contains("there is no capability `tool` (did you mean `tools`?)"));
}

#[test]
fn what_explain_cannot_find_is_told_with_what_there_is() {
    let (code, told) = stellwerk(&["explain", "auto", "--offline", "--policy", "eu"]);
    assert_eq!((code, told.contains("there is no policy `eu`; there are default, eu-only")), (Some(1), true), "{told}");
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    let (code, told) = stellwerk(&["explain", "auto", "--offline", "--key", "key_1", "--data-dir", &data]);
    assert_eq!((code, told.contains("there is no ledger at ")), (Some(1), true), "{told}");
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "and none is made");
}
