//! `stellwerk policy diff` as people run it.

use std::path::Path;
use std::process::Command;

fn diff(arguments: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_stellwerk"))
        .current_dir("/")
        .args(["policy", "diff"])
        .args(arguments)
        .output();
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
