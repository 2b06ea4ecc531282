//! Sources that are odd, hostile or broken. What whole ones become stands in `tests/golden/import/`.

use super::*;

fn litellm(text: &str) -> Result<Imported, String> {
    litellm::import(text, "config.yaml", "2026-11-29")
}

fn policy(imported: &Imported) -> &str {
    &imported.files.iter().find(|(name, _)| name == "policies/default.toml").unwrap().1
}

#[test]
fn documents_are_bounded() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let before = n - 1;
        bomb += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{before}"); 10].join(", "));
    }
    assert!(litellm(&bomb).unwrap_err().contains("more than 100000 parts"));
    let long = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 100].join(", "));
    assert!(litellm(&long).unwrap_err().contains("more than 100000 parts"), "bytes count as well");
    let deep = format!("a: {}{}", "[".repeat(80), "]".repeat(80));
    assert!(litellm(&deep).unwrap_err().contains("nested more than 64 deep"));
    assert!(litellm(&"#".repeat(MAX_SOURCE + 1)).unwrap_err().contains("more than"));
    for (bad, why) in [
        ("a: &a {b: *a}", "line 1"),
        ("a: 1\na: 2\n", "line 2: `a` stands here twice"),
        ("a: 1\n---\nb: 2\n", "a second document"),
        ("[1, 2]", "holds no table"),
        ("a: [1\n", "line"),
        ("? [a]\n: b\n", "a key must be a word"),
        ("", "holds no table"),
    ] {
        let told = litellm(bad).unwrap_err();
        assert!(told.contains(why), "{bad}: {told}");
    }
}

#[test]
fn names_are_names_and_no_patterns() {
    let source = "model_list:\n\
        - {model_name: 'a [b] \"c\" {d}', litellm_params: {model: openai/gpt-4o}}\n\
        - {model_name: direct, litellm_params: {model: 'openai/odd[1]'}}\n\
        - {model_name: 'what? [b]', litellm_params: {model: openai/gpt-4o}}\n";
    let imported = litellm(source).unwrap();
    let text = policy(&imported);
    assert!(text.contains("name = \"a--b---c---d\"") && text.contains("name = \"route-direct\""), "{text}");
    assert!(text.contains("'a [[]b[]] \"c\" [{]d[}]'"), "{text}");
    assert!(text.contains("openai-more/odd[[]1[]]"), "{text}");
}

#[test]
fn what_yaml_1_1_takes_for_true_is_true() {
    for (word, lossy) in [("yes", true), ("On", true), ("TRUE", true), ("'true'", true), ("no", false), ("off", false)]
    {
        let source = format!(
            "model_list: [{{model_name: a, litellm_params: {{model: gpt-4o}}}}]\nlitellm_settings: {{drop_params: {word}}}\n"
        );
        assert_eq!(policy(&litellm(&source).unwrap()).contains("lossy = \"allow\""), lossy, "{word}");
    }
}

#[test]
fn nothing_is_dropped_without_a_note() {
    let source = "model_list:\n- model_name: a\n  odd: 1\n  litellm_params: {model: openai/gpt-4o, odder: {x: 1}}\n  \
        model_info: {oddest: [1]}\n- 5\nrouter_settings: [1]\nlitellm_settings: {oddly: null, odd_too: 0}\nmore: {}\n";
    let imported = litellm(source).unwrap();
    let places: Vec<&str> = imported.notes.iter().map(|note| note.place.as_str()).collect();
    let expected = [
        "model_list[0].odd",
        "model_list[0].litellm_params.odder",
        "model_list[0].model_info.oddest",
        "model_list[1]",
        "router_settings",
        "litellm_settings.odd_too",
        "more",
    ];
    assert_eq!(places, expected);
    assert!(imported.notes.iter().all(|note| note.line > 0));
}

#[test]
fn addresses_with_passwords_are_not_copied() {
    let source =
        "model_list: [{model_name: a, litellm_params: {model: openai/x, api_base: 'https://u:pw-secret@h/v1'}}]";
    let imported = litellm(source).unwrap();
    let all: String = imported.files.iter().map(|(_, text)| text.as_str()).collect();
    assert!(!all.contains("pw-secret") && !imported.report("f").contains("pw-secret"), "{all}");
    assert!(all.contains("base_url = \"${OPENAI_IMPORTED_KEY_1}\""), "{all}");
}

#[test]
fn preferences_that_nobody_can_keep_make_no_route() {
    // Both versions of the family.
    let both = Some(r#"["together/deepseek-ai/DeepSeek-R1", "together/deepseek-ai/DeepSeek-R1-0528"]"#);
    let import = |text: &str| openrouter::import(text, "request.json", "2026-11-29");
    for (preferences, targets) in [
        (r#"{"only": ["chutes"]}"#, None),
        (r#"{"max_price": {"prompt": 0.0001}}"#, None),
        (r#"{"order": ["together"], "allow_fallbacks": false}"#, both),
        (r#"{"only": ["Together"]}"#, Some(r#"["together/{deepseek-ai/DeepSeek-R1,deepseek-ai/DeepSeek-R1-0528}"]"#)),
    ] {
        let text = format!(r#"{{"model": "deepseek/deepseek-r1", "provider": {preferences}}}"#);
        let imported = import(&text).unwrap();
        match targets {
            None => assert!(imported.files.is_empty() && imported.routes == 0, "{preferences}: {imported:?}"),
            Some(targets) => {
                assert!(policy(&imported).contains(&format!("targets = {targets}")), "{}", policy(&imported))
            }
        }
        assert!(!imported.notes.is_empty(), "{preferences}");
    }
    for bad in ["", "[", "5", "{\"a\": 1, \"a\": 2}", "model: yaml"] {
        assert!(import(bad).is_err(), "{bad}");
    }
}

#[test]
fn timeouts_of_some_deployments_do_not_shorten_those_of_the_others() {
    let source = "model_list:\n\
        - {model_name: a, litellm_params: {model: openai/gpt-4o, stream_timeout: 10, timeout: 30}}\n\
        - {model_name: a, litellm_params: {model: anthropic/claude-x}}\n\
        router_settings: {timeout: 120}\n";
    let imported = litellm(source).unwrap();
    assert!(policy(&imported).contains("first_token = \"120s\""), "{}", policy(&imported));
    let told = imported.notes.iter().any(|note| note.why.contains("the longest of the deployments' timeouts"));
    assert!(told, "{:?}", imported.notes);
}

#[test]
fn a_wildcard_with_the_key_that_is_taken_anyway_is_always_so() {
    let source = |more: &str| {
        format!("model_list:\n- {{model_name: 'openai/*', litellm_params: {{model: 'openai/*', rpm: 9{more}}}}}\n")
    };
    for more in ["", ", api_key: os.environ/OPENAI_API_KEY"] {
        let imported = litellm(&source(more)).unwrap();
        let said = |kind, place: &str| imported.notes.iter().any(|note| note.kind == kind && note.place == place);
        assert!(said(Kind::AlwaysSo, "model_list[0]") && imported.files.is_empty(), "{more}: {imported:?}");
        assert!(said(Kind::LeftOut, "model_list[0].litellm_params.rpm"), "{more}: {imported:?}");
    }
    for more in [", api_base: 'https://x.example/v1'", ", api_key: none"] {
        let imported = litellm(&source(more)).unwrap();
        let left =
            imported.notes.iter().any(|note| note.kind == Kind::LeftOut && note.why.contains("list them by name"));
        assert!(left && imported.files.is_empty(), "{more}: {imported:?}");
    }
}

#[test]
fn a_wildcard_of_everything_is_always_so_without_a_key() {
    for (more, kind) in [("", Kind::AlwaysSo), (", api_key: os.environ/ONE", Kind::LeftOut)] {
        let source = format!("model_list:\n- {{model_name: '*', litellm_params: {{model: '*'{more}}}}}\n");
        let notes = litellm(&source).unwrap().notes;
        assert!(notes.iter().any(|note| note.kind == kind && note.place == "model_list[0]"), "{more}: {notes:?}");
    }
}

#[test]
fn a_wildcard_with_another_key_is_the_provider_s_file_with_that_key() {
    let entry = |provider: &str, key: &str| {
        format!("- {{model_name: '{provider}/*', litellm_params: {{model: '{provider}/*', api_key: {key}}}}}\n")
    };
    for provider in ["openai", "anthropic", "deepseek", "mistral", "groq", "gemini"] {
        let imported = litellm(&format!("model_list:\n{}", entry(provider, "os.environ/OTHER_KEY"))).unwrap();
        let [(name, text)] = imported.files.as_slice() else { panic!("{imported:?}") };
        assert_eq!(*name, format!("providers/{provider}.toml"));
        let mut made: toml::Table = text.parse().unwrap();
        let shipped = crate::catalogue::embedded().into_iter().find(|file| name.ends_with(&*file.name)).unwrap();
        let mut shipped: toml::Table = shipped.text.parse().unwrap();
        assert_eq!(made.remove("keys").unwrap().to_string(), "[{ env = \"OTHER_KEY\" }]");
        shipped.remove("keys");
        assert_eq!(made, shipped, "all else is as it was");
        assert!(imported.notes.iter().any(|n| n.kind == Kind::Differs && n.place == "model_list[0]"), "{imported:?}");
    }
    let both = entry("openai", "sk-secret") + &entry("openai", "os.environ/OPENAI_API_KEY");
    let imported = litellm(&format!("model_list:\n{both}")).unwrap();
    let keys = "keys = [{ env = \"OPENAI_IMPORTED_KEY_1\" }, { env = \"OPENAI_API_KEY\" }]";
    assert!(imported.files[0].1.contains(keys), "{}", imported.files[0].1);
    // A provider has one pool of keys: what goes there by the usual one would go by this one too.
    let plain = "- {model_name: gpt, litellm_params: {model: openai/gpt-4o}}\n";
    let imported = litellm(&format!("model_list:\n{}{plain}", entry("openai", "os.environ/OTHER_KEY"))).unwrap();
    assert!(imported.files.iter().all(|(name, _)| name.starts_with("policies/")), "{imported:?}");
    let left = |n: &&Note| n.kind == Kind::LeftOut && n.why.contains("one pool of keys");
    assert!(
        imported.notes.iter().find(left).is_some_and(|n| n.line == 2 && n.place == "model_list[0]"),
        "{imported:?}"
    );
}

#[test]
fn a_provider_of_the_order_that_lacks_the_model_is_told() {
    let source = r#"{"model": "meta-llama/llama-3.3-70b-instruct", "provider": {"order": ["DeepInfra", "Together"]}}"#;
    let imported = openrouter::import(source, "request.json", "2026-11-29").unwrap();
    let told: Vec<_> = imported.notes.iter().filter(|note| note.why.contains("knows no such model")).collect();
    assert!(matches!(&told[..], [one] if one.why.contains("`order` names deepinfra")), "{told:?}");
}
