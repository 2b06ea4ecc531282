//! The shipped files compile; bad files are told with all their problems.

use super::*;
use crate::domain::money::Rate;
use crate::domain::usage::Bucket;

fn around() -> Surroundings<'static> {
    Surroundings { env: &|_| None, served: &[] }
}

fn file(text: &str) -> SourceFile {
    SourceFile { name: "x.toml".into(), text: text.into() }
}

const HEAD: &str = "name = \"x\"\ntitle = \"X\"\ndialect = \"openai-chat\"\nauth = { scheme = \"bearer\" }\n\n[[endpoint]]\nname = \"main\"\nbase_url = \"https://example.invalid\"\nsource = \"s\"\nchecked = 2026-01-01\n";

#[test]
fn every_shipped_file_is_compiled_in_and_compiles() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("providers");
    let mut there: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| format!("providers/{}", entry.unwrap().file_name().to_string_lossy()))
        .filter(|name| name.ends_with(".toml"))
        .collect();
    there.sort();
    let mut compiled_in: Vec<String> = embedded().into_iter().map(|file| file.name).collect();
    compiled_in.sort();
    assert_eq!(there, compiled_in);
    let catalogue = Catalogue::compile(&[], &around()).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    });
    let needed = "openai anthropic deepseek mistral groq together openrouter gemini azure nebius scaleway ovhcloud openai-compatible local";
    for name in needed.split(' ') {
        assert!(catalogue.providers().iter().any(|p| &*p.name == name), "{name}");
    }
    assert!(catalogue.targets().iter().enumerate().all(|(i, t)| t.id.index() == i));
}

/// A search that a provider makes is no token: without a price of its own the whole request has none.
#[test]
fn searches_of_providers_that_search_have_a_price() {
    let catalogue = Catalogue::compile(&[], &around()).unwrap();
    for (provider, model, rate) in [
        ("openai", "gpt-5", "10000"),
        ("anthropic", "claude-sonnet-5-5", "10000"),
        ("gemini", "gemini-3.8-flash", "14000"),
        ("perplexity", "sonar-deep-research", "5000"),
    ] {
        let target = catalogue.targets().iter().find(|t| &*t.provider == provider && &*t.model == model).unwrap();
        let rates = target.prices.periods.iter().map(|period| period.rates[Bucket::Search as usize]);
        let want = Some(Rate::parse(rate).unwrap());
        assert!(rates.clone().count() > 0 && rates.into_iter().all(|found| found == want), "{provider}/{model}");
    }
}

#[test]
fn all_problems_of_a_file_are_told_with_their_lines() {
    let text = HEAD.replace("\"bearer\"", "\"barer\"")
        + "operator = \"Germany\"\n\n[[model]]\nid = \"m\"\ntier = \"frontiers\"\nsupports = [\"tool\"]\n\n  [[model.price]]\n  from = 2025-01-01\n  input = \"1e5\"\n  source = \"s\"\n  checked = 2025-01-01\n";
    let problems = Catalogue::compile_only(&[file(&text)], &around()).unwrap_err();
    let mut told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    told.sort();
    assert_eq!(problems.len(), 5, "{told:#?}");
    let lines: std::collections::BTreeSet<u32> = problems.iter().map(|p| p.line).collect();
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), [4, 11, 15, 16, 20], "{told:#?}");
    assert!(told.iter().any(|p| p.contains("did you mean `bearer`")), "{told:#?}");
    assert!(told.iter().any(|p| p.contains("did you mean `frontier`")), "{told:#?}");
}

#[test]
fn facts_that_say_nothing_are_problems_and_not_silently_unknown() {
    let model =
        "\n[[model]]\nid = \"m\"\nsupports = [\"streem\"]\navailable = { from = 2025-02-01, to = 2025-01-01 }\n";
    let price = "\n  [[model.price]]\n  from = 2025-01-01\n  to = 2024-01-01\n  input = \"1\"\n  source = \"s\"\n  checked = 2025-01-01\n";
    let endpoint = "\n[[endpoint]]\nname = \"two\"\nbase_url = \"ftp://x\"\nprocessing = [\"EU\", \"DE\", \"XY\"]\noperator = \"UK\"\n\
                    retention_days = \"ever\"\nsource = \"s\"\nchecked = 2025-01-01\n";
    let text =
        HEAD.replace("\n\n[[end", "\nkeys = [{ env = \"X_KEY\", weight = 0 }]\n\n[[end") + endpoint + model + price;
    assert!(text.contains("weight = 0"));
    let problems = Catalogue::compile_only(&[file(&text)], &around()).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let lines: std::collections::HashMap<&str, usize> = text.lines().zip(1..).collect();
    for (line, message) in [
        ("base_url = \"ftp://x\"", "`ftp://x` must be https"),
        (
            "processing = [\"EU\", \"DE\", \"XY\"]",
            "`EU` is no ISO 3166-1 country (two capital letters) and not `local`; zones are",
        ),
        ("processing = [\"EU\", \"DE\", \"XY\"]", "`XY` is no ISO 3166-1 country"),
        ("operator = \"UK\"", "did you mean `GB`?"),
        ("retention_days = \"ever\"", "not `ever`"),
        ("supports = [\"streem\"]", "did you mean `stream`?"),
        ("available = { from = 2025-02-01, to = 2025-01-01 }", "ends before it begins"),
        ("  to = 2024-01-01", "ends before it begins"),
    ] {
        let at = format!("{}:{}:", file("").name, lines[line]);
        assert!(told.iter().any(|p| p.starts_with(&at) && p.contains(message)), "{line} {message}: {told:#?}");
    }
    assert!(told.iter().any(|p| p.contains("weight of a key")), "{told:#?}");
}

#[test]
fn overlapping_prices_are_a_problem_and_gaps_are_not() {
    let price = |from: &str, to: &str| {
        format!("\n  [[model.price]]\n  from = {from}\n{to}  input = \"1\"\n  source = \"s\"\n  checked = 2025-01-01\n")
    };
    let model = "\n[[model]]\nid = \"m\"\n";
    let overlap = format!("{HEAD}{model}{}{}", price("2025-01-01", "  to = 2025-03-01\n"), price("2025-02-01", ""));
    assert!(Catalogue::compile_only(&[file(&overlap)], &around()).unwrap_err()[0].message.contains("before"));
    let gap = format!("{HEAD}{model}{}{}", price("2025-01-01", "  to = 2025-02-01\n"), price("2025-03-01", ""));
    assert!(Catalogue::compile_only(&[file(&gap)], &around()).is_ok());
}

#[test]
fn an_overlay_replaces_a_shipped_file_and_adds_others() {
    let mut local = file(&HEAD.replace("\"x\"", "\"openai\""));
    local.name = "somewhere/openai.toml".into();
    let catalogue = Catalogue::compile(&[local, file(HEAD)], &around()).unwrap();
    assert!(catalogue.named("openai/o1").is_empty(), "the shipped file is replaced");
    assert!(catalogue.providers().iter().any(|p| &*p.name == "x"));
}

#[test]
fn a_target_is_configured_when_its_address_and_a_key_are_there() {
    let text = HEAD
        .replace("https://example.invalid", "https://${RESOURCE}.example.invalid")
        .replace("\n\n[[endpoint]]", "\nkeys = [{ env = \"KEY\" }]\n\n[[endpoint]]")
        + "\n[[model]]\nid = \"m\"\n";
    let configured = |set: &[&str]| {
        let env = |name: &str| set.contains(&name).then(|| "v".to_owned());
        let catalogue = Catalogue::compile_only(&[file(&text)], &Surroundings { env: &env, served: &[] }).unwrap();
        catalogue.targets()[0].configured
    };
    assert!(!configured(&[]) && !configured(&["KEY"]) && !configured(&["RESOURCE"]));
    assert!(configured(&["KEY", "RESOURCE"]));
}

#[test]
fn names_with_and_without_endpoint_and_wildcards() {
    let catalogue = Catalogue::compile(&[], &around()).unwrap();
    assert_eq!(catalogue.named("openai/o1").len(), 2, "all endpoints");
    assert_eq!(catalogue.named("openai/o1@eu").len(), 1);
    assert_eq!(catalogue.named("o1").len(), 0, "two providers have it");
    assert_eq!(catalogue.named("deepseek-flash").len(), 1, "one provider has it");
    assert_eq!(catalogue.named("openai-compatible/llama3").len(), 1);
}

#[test]
fn a_server_of_which_nothing_is_known_has_its_streams_put_right() {
    let catalogue = Catalogue::compile(&[], &around()).unwrap();
    let of = |name: &str| catalogue.endpoint(catalogue.target(catalogue.named(name)[0])).quirks.mends.len();
    assert_eq!((of("openai-compatible/llama3"), of("openai/gpt-5-mini")), (6, 0));
}

#[test]
fn one_mistake_hides_no_other_and_the_rest_is_read() {
    let text = HEAD.replace("docs", "dosc").replace(
        "\n\n[[endpoint]]",
        "\nkeys = [{ env = \"KEY\", weight = \"1\" }, {}, { env = \"A\", file = \"b\" }]\n\n[[endpoint]]",
    ) + "retention_dys = 3\n\n[[model]]\nid = \"m\"\ncontext = \"many\"\n\n[[model]]\nid = \"n\"\ntier = \"frontiers\"\n";
    let (catalogue, problems) = Catalogue::examine(&[file(&text)], &around());
    let told: Vec<String> =
        problems.iter().map(|p| format!("{}{}", p.message, p.hint.as_deref().unwrap_or_default())).collect();
    for wanted in [
        "must be a whole number, not a string",
        "a key needs `env` or `file`",
        "from `env` or from `file`, not from both",
        "`retention_dys` is not known here",
        "did you mean `retention_days`?",
        "`frontiers` is no tier",
    ] {
        assert!(told.iter().any(|line| line.contains(wanted)), "{wanted}: {told:#?}");
    }
    let models: Vec<&str> = catalogue.targets().iter().filter(|t| &*t.provider == "x").map(|t| &*t.model).collect();
    assert_eq!(models, ["m", "n"], "what can be read is there for others to be checked against");
}

#[test]
fn endpoints_that_are_not_there_are_told_of() {
    let text = HEAD.replace("\n\n[[endpoint]]", "\nkeys = [{ env = \"KEY\", endpoints = [\"moon\"] }]\n\n[[endpoint]]")
        + "\n[[model]]\nid = \"m\"\nids = { moon = \"m-1\" }\n";
    let problems = Catalogue::compile_only(&[file(&text)], &around()).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().all(|problem| problem.message.contains("moon")), "{problems:?}");
}

#[test]
fn stale_facts_and_models_without_a_price_are_warnings() {
    let text = HEAD.replace("\n\n[[endpoint]]", "\nkeys = [{ env = \"KEY\" }]\n\n[[endpoint]]")
        + "expires = 2026-06-01\n\n[[model]]\nid = \"m\"\n\n[[model]]\nid = \"n\"\n\n  [[model.price]]\n  from = 2025-01-01\n  input = \"1\"\n  source = \"s\"\n  checked = 2025-01-01\n";
    let told = |day: &str, key: bool| {
        let env = |name: &str| (key && name == "KEY").then(|| "v".to_owned());
        let catalogue = Catalogue::compile_only(&[file(&text)], &Surroundings { env: &env, served: &[] }).unwrap();
        let now: jiff::Timestamp = format!("{day}T00:00:00Z").parse().unwrap();
        let told = catalogue.warnings(crate::domain::target::UnixMillis(now.as_millisecond()));
        told.iter().map(|w| w.message.clone()).collect::<Vec<_>>()
    };
    let unpriced = "x/m has no price now: its requests are recorded as unpriced, and `max_cost` refuses it";
    assert_eq!(told("2026-01-01", true), [unpriced]);
    let soon = told("2026-05-22", true);
    assert!(
        matches!(&soon[..], [facts, price] if facts.contains("of x@main turn stale on 2026-06-01") && price == unpriced),
        "{soon:?}"
    );
    assert!(told("2026-06-02", true)[0].contains("of x@main are stale since 2026-06-01"));
    assert_eq!(told("2026-06-02", false), Vec::<String>::new(), "what nobody uses is nobody's worry");
}

#[test]
fn key_files_start_at_the_directory_of_the_configuration() {
    let text = HEAD.replace("\n\n[[endpoint]]", "\nkeys = [{ file = \"k/a\" }, { file = \"/abs\" }]\n\n[[endpoint]]");
    let mut catalogue = Catalogue::compile_only(&[file(&text)], &around()).unwrap();
    catalogue.root_key_files(std::path::Path::new("/etc/stellwerk"));
    assert_eq!(catalogue.key_files().collect::<Vec<_>>(), ["/etc/stellwerk/k/a", "/abs"]);
}
