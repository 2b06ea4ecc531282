//! Policy files: what is read, and what is said about mistakes.

use super::*;

fn expect(text: &str, wanted: &[&str]) {
    let found = problems(text, &shop());
    for (number, wanted) in wanted.iter().enumerate() {
        let problem = found.get(number).map_or("nothing", String::as_str);
        assert!(problem.contains(wanted), "wanted {wanted}\nfound {found:#?}");
    }
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
}

/// A route with these further lines.
fn route(lines: &str) -> String {
    format!("[[route]]\nname = \"r\"\nmatch = {{ model = [\"m\"] }}\ntargets = [\"nebius/*\"]\n{lines}\n")
}

#[test]
fn all_problems_are_reported_with_their_places() {
    expect(
        r#"
[require]
processing = ["EU", "Germany"]
operator = ["UK"]

[[route]]
name = "a"
match = { model = ["auto"] }
targets = ["nebius/DeepSeek-R2", "famly:x", "family:deepseek-r2", "opnai/*", "openai/o5@us"]
require = { min_tier = "frontier" }
max_outputs = 3

[[route]]
name = "b b"
match = {}
targets = []
prefer = { order = "listed", second_is_worth = "0.002 USD" }
attempts = { max = 0, timeout = { idle = "0s" } }

[other]
"#,
        &[
            "p.toml:3:21: require.processing: `Germany` is neither",
            "p.toml:4:13: require.operator: `UK` is neither a zone nor an ISO 3166-1 country code (did you mean `GB`?)",
            "p.toml:9:12: route[0].targets: `nebius/DeepSeek-R2` matches no target",
            "p.toml:9:34: route[0].targets: `famly:x` is not a target",
            "p.toml:9:45: route[0].targets: `family:deepseek-r2` matches no target",
            "p.toml:9:67: route[0].targets: `opnai/*` matches no target (did you mean `openai`?)",
            "p.toml:9:78: route[0].targets: `openai/o5@us` matches no target (its endpoint is eu)",
            "p.toml:10:24: route[0].require.min_tier: there is no tier `frontier`",
            "p.toml:11:1: route[0]: `max_outputs` is not known here (did you mean `max_output`?)",
            "p.toml:14:8: route[1].name: a route's name",
            "p.toml:15:9: route[1].match: names neither",
            "p.toml:16:11: route[1].targets: a route needs",
            "p.toml:17:20: route[1].prefer.order: `order` and `second_is_worth` exclude",
            "p.toml:18:20: route[1].attempts.max: a request needs",
            "p.toml:18:42: route[1].attempts.timeout.idle: must be longer",
            "p.toml:20:2: other: `other` is no member",
        ],
    );
    expect(
        "[[route]]\nname = \"a\"\nmatch = { model = [\"auto\"] }\ntargets = [\"nebius/*@us\", \"openai/o\"]\nlossy = \"alow\"\n\
         prefer = { second_is_worth = \"0.002\", order = \"list\" }\n\
         attempts = { hedge = { after = \"p99\", max_extra_cost = \"1 USD\" } }\n",
        &[
            "p.toml:4:12: route[0].targets: `nebius/*@us` matches no target (its endpoint is eu)",
            "p.toml:4:27: route[0].targets: `openai/o` matches no target (did you mean `o1`?)",
            "p.toml:5:9: route[0].lossy: `alow` is not one of refuse, allow (did you mean `allow`?)",
            "p.toml:6:30: route[0].prefer.second_is_worth: `0.002` is not an amount",
            "p.toml:6:47: route[0].prefer.order: `order` and `second_is_worth` exclude each other",
            "p.toml:6:47: route[0].prefer.order: there is no order `list`; there are listed and weighted",
            "p.toml:7:32: route[0].attempts.hedge.after: `p99` is neither a duration nor `p95`",
        ],
    );
    expect(
        "[[route]]\nname = \"a\"\nmatch = { model = [\"auto\"] }\n\
         targets = [\"nebius/DeepSeek-R2\", \"famly:x\", \"family:deepseek-r2\", \"opnai/*\", \"openai/o5@us\"]\n\
         require = { min_tier = \"frontier-reasonin\" }\n",
        &[
            "p.toml:4:12: route[0].targets: `nebius/DeepSeek-R2` matches no target (did you mean `DeepSeek-R1`?)",
            "`famly:x` is not a target",
            "`family:deepseek-r2` matches no target (did you mean `deepseek-r1`?)",
            "`opnai/*` matches no target (did you mean `openai`?)",
            "`openai/o5@us` matches no target (its endpoint is eu)",
            "there is no tier `frontier-reasonin`; the ladder is tiny < small < reasoning < frontier-reasoning (did you",
        ],
    );
}

#[test]
fn what_is_half_said_is_refused() {
    expect(&route("attempts = { hedge = { after = \"p95\" } }"), &["`max_extra_cost` is missing"]);
    let hedge =
        |more: &str| format!("attempts = {{ hedge = {{ after = \"800ms\", max_extra_cost = \"0.01 USD\" }}{more} }}");
    expect(&route(&hedge("").replace("800ms", "soon")), &["hedge.after: `soon` is not a duration"]);
    expect(&route(&hedge(", max = 1")), &["a hedge is a second attempt"]);
    expect(&route("prefer = { affinity = \"2h\" }"), &["is 5m to 60m"]);
    expect(&route("prefer = { affinity = \"5m\", order = \"listed\" }"), &["weighs cost"]);
    expect(&route("prefer = { explore = \"1%\" }"), &["looks for speed"]);
    expect(&route("prefer = { explore = \"21%\", second_is_worth = \"inf\" }"), &["at most 20%"]);
    expect(&route("prefer = { weights = [1, 2] }"), &["route[0].prefer.weights: must be a table, not a list"]);
    expect(&route("require = { unmeasured = \"maybe\" }"), &["`maybe` is not one of allow, refuse"]);
    expect(&route("").replace("model = [\"m\"]", "operation = [\"telepathy\"]"), &["`telepathy` is not supported"]);
}

#[test]
fn mistakes_in_values() {
    expect("[[route]\n", &["p.toml:1:"]);
    expect("route = 1", &["must be written as [[route]]"]);
    expect(&route("cache = \"ten\""), &["route[0].cache: `ten` is not a duration"]);
    expect(&route("lossy = \"maybe\""), &["refuse, allow"]);
    expect(&route("max_output = 0"), &["at least 1"]);
    expect(&route("max_output = -5"), &["route[0]"]);
    expect(&route("require = { max_cost = \"5 EUR\" }"), &["USD"]);
    expect(&route("require = { training = [] }"), &["names none"]);
    expect(&route("prefer = { second_is_worth = 0.5 }"), &["must be a string, not a number"]);
    expect(&route("baseline = { target = \"openai/o1\" }"), &["as a baseline it needs a date"]);
    let mut unpriced = shop();
    unpriced.prices[4] = None;
    let found = problems(&route("baseline = { target = \"openai/o1\", price_as_of = 2025-01-31 }"), &unpriced);
    assert!(found[0].contains("the price of `openai/o1@global` on 2025-01-31 is not known"), "{found:?}");
    expect(&route("baseline = { target = \"openai/*\" }"), &["a baseline is one target"]);
    expect(&route("baseline = { target = \"openai/o5\", price_as_of = 07:00:00 }"), &["neither a date"]);
    expect(&route("").replace("\"r\"", "\"direct\""), &["`direct` is the name"]);
    expect(&(route("") + &route("")), &["there is a route of that name"]);
    expect(&route("").replace("\"m\"", "\"[\""), &["route[0].match.model"]);
}

#[test]
fn a_provider_without_models_today_is_a_warning() {
    let shop = shop();
    let policy = compile(&route("").replace("\"nebius/*\"", "\"openai-compatible/*\""), &shop);
    assert_eq!(policy.warnings.len(), 1);
    let decision = plan(&policy, &shop, &ask("m"), &cold, Dice(0));
    assert_eq!(decision.refusal.unwrap().kind.status(), 503);
}

#[test]
fn the_first_matching_route_wins_and_the_file_holds_for_all() {
    let shop = shop();
    let text = "require = { processing = [\"EU\"] }\n".to_owned()
        + &route("cache = \"10m\"")
        + &route("require = { retention_days = 3 }").replace("\"r\"", "\"all\"").replace("\"m\"", "\"*\"");
    let policy = compile(&text, &shop);
    let decision = plan(&policy, &shop, &ask("m"), &cold, Dice(0));
    assert_eq!((&*decision.route, decision.cache), ("r", Some(Duration::from_secs(600))));
    let decision = plan(&policy, &shop, &ask("meta/llama"), &cold, Dice(0));
    assert_eq!((&*decision.route, decision.cache), ("all", None));
    assert_eq!(decision.requirement.to_string(), "processing=EU; retention_days=3");
    assert_eq!(policy.model_names().collect::<Vec<_>>(), ["m"]);
}

#[test]
fn tests_of_a_policy_can_pass_and_fail() {
    let mut shop = shop();
    shop.targets.iter_mut().for_each(|t| t.configured = false);
    let text = r#"
[[route]]
name = "reasoning"
match = { model = ["auto"] }
targets = ["family:deepseek-r1", "openai/*"]
prefer = { order = "listed" }

[[test]]
name = "local first"
given = { model = "auto" }
expect = { first = "local/*", never = ["openai/o1"], max_cost = "0.02 USD", route = "reasoning" }

[[test]]
name = "Europe when the machine is down"
given = { model = "auto", down = ["local/*"], key = { team = "claims", require = "processing=EU,local" } }
expect = { first = "nebius/*@eu", never = ["deepseek/*@cn", "together/*"] }

[[test]]
name = "nothing in Britain"
given = { model = "auto", require = "processing=GB" }
expect = { refused = "policy_no_target" }

[[test]]
name = "o1 was there"
given = { model = "openai/o1", at = 2025-01-31 }
expect = { first = "openai/o1", route = "direct" }

[[test]]
name = "wrong on purpose"
given = { model = "auto", input_tokens = 100000000 }
expect = { first = "openai/*", never = ["local/*"] }

[[test]]
name = "wrong in four ways"
given = { model = "auto" }
expect = { never = ["deepseek/*"], max_cost = "0.0001 USD", route = "direct" }

[[test]]
name = "not refused"
given = { model = "auto" }
expect = { refused = "price_limit" }
"#;
    let policy = compile(text, &shop);
    let outcomes = run_tests(&policy, &shop, NOW);
    let passed: Vec<bool> = outcomes.iter().map(|o| o.passed).collect();
    assert_eq!(passed, [true, true, true, true, false, false, false], "{outcomes:#?}");
    assert!(outcomes[4].why.contains("refused: context_length_exceeded"), "{}", outcomes[4].why);
    assert!(outcomes[5].why.contains("the route is `reasoning`"), "{}", outcomes[5].why);
    assert!(outcomes[5].why.contains("deepseek/deepseek-reasoner@cn is admitted"));
    assert!(outcomes[5].why.contains("is expected to cost"));
    assert!(outcomes[6].why.contains("sent to local/r1-7b"));
}

#[test]
fn tests_of_a_policy_are_checked_too() {
    let with = |given: &str, expect: &str| {
        route("") + &format!("[[test]]\nname = \"t\"\ngiven = {{ model = \"m\"{given} }}\nexpect = {{ {expect} }}\n")
    };
    expect(&with("", ""), &["test[0].expect: expects nothing"]);
    expect(&with(", needs = [\"tool\"]", "first = \"a/b\""), &["did you mean `tools`?"]);
    expect(&with("", "refused = \"policy\""), &["is no code of a refusal"]);
    expect(&with("", "never = [\"nebius/R1\"]"), &["`nebius/R1` matches no target"]);
    expect(&with("", "route = \"s\""), &["there is no route `s` (did you mean `r`?)"]);
    expect(&with(", require = \"processing=UK\"", "first = \"a/b\""), &["did you mean `GB`?"]);
    expect(&with("", "first = \"a/b\", refused = \"price_limit\""), &["exclude each other"]);
    expect(&with(", inputs = 1", "first = \"a/b\""), &["`inputs` is not known here"]);
}

#[test]
fn a_route_that_is_never_reached_is_a_warning() {
    let shop = shop();
    let two = |first: &str, second: &str| {
        let named = route("").replace("\"r\"", "\"s\"").replace("model = [\"m\"]", second);
        let policy = compile(&(route("").replace("model = [\"m\"]", first) + &named), &shop);
        policy.warnings(&shop, UnixMillis(1_764_000_000_000)).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for (first, second) in [
        ("model = [\"*\"]", "model = [\"m\", \"n-*\"]"),
        ("model = [\"m*\", \"n-*\"]", "model = [\"m-1\", \"n-*\"]"),
        ("operation = [\"chat\", \"embeddings\"]", "model = [\"x\"], operation = [\"chat\"]"),
    ] {
        let told = two(first, second);
        let wanted = "p.toml:8:9: route[1].match: route `s` is never reached: `r` above takes all that it matches";
        assert_eq!(told, [wanted], "{first} {second}");
    }
    for (first, second) in [
        ("model = [\"m\"]", "model = [\"m\", \"n\"]"),
        ("model = [\"m-*\"]", "model = [\"m*\"]"),
        ("model = [\"*\"], operation = [\"chat\"]", "model = [\"m\"]"),
        ("model = [\"m\"]", "operation = [\"chat\"]"),
    ] {
        assert!(two(first, second).is_empty(), "{first} {second}");
    }
}

#[test]
fn a_route_that_refuses_everything_is_a_warning() {
    let shop = shop();
    let policy = compile(&route("require = { processing = [\"JP\"] }"), &shop);
    let told = policy.warnings(&shop, UnixMillis(1_764_000_000_000));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].to_string().starts_with("p.toml:2:8: route `r` refuses every request"), "{told:?}");
}

#[test]
fn a_canary_or_shadow_that_the_route_s_own_requirement_keeps_out_is_a_warning() {
    let shop = shop();
    let told = |more: &str| {
        let policy = compile(&route(more), &shop);
        let told = policy.warnings(&shop, UnixMillis(1_764_000_000_000));
        told.iter().map(|w| w.message.clone()).collect::<Vec<_>>()
    };
    let eu = "require = { processing = [\"EU\", \"local\"] }";
    let shadow =
        |target: &str| format!("shadow = {{ target = \"{target}\", sample = 0.1, max_cost = \"1 USD/day\" }}\n");
    let canary = |target: &str| format!("prefer = {{ canary = {{ target = \"{target}\", share = \"5%\" }} }}\n");
    for (what, more) in
        [("shadow", shadow("deepseek/deepseek-reasoner")), ("canary", canary("deepseek/deepseek-reasoner"))]
    {
        let told = told(&(more + eu));
        let wanted =
            format!("the {what} deepseek/deepseek-reasoner@cn of route `r` is never asked: it processes in CN");
        assert!(matches!(&told[..], [one] if one.starts_with(&wanted)), "{told:?}");
    }
    assert_eq!(told(&(shadow("nebius/DeepSeek-R1@eu") + eu)), Vec::<String>::new());
}

#[test]
fn conditions_choose_routes_and_their_mistakes_have_a_place() {
    let shop = shop();
    let text = r#"
[[route]]
name = "small"
match = { model = ["m"] }
when = 'request.input_tokens < 3000 && !("legal" in key.tags)'
targets = ["local/r1-7b"]

[[route]]
name = "office"
match = { model = ["m"] }
when = '''
now.weekday <= 5 &&
now.hour >= 8'''
targets = ["openai/o5"]

[[route]]
name = "rest"
match = { model = ["m"] }
when = "100 / request.max_output < 5"
targets = ["nebius/*"]

[[test]]
name = "small ones stay here"
given = { model = "m", input_tokens = 2999 }
expect = { route = "small" }

[[test]]
name = "legal does not"
given = { model = "m", key = { tags = ["legal"] }, at = 2026-11-24T09:00:00Z }
expect = { route = "office" }

[[test]]
name = "at night nobody can say"
given = { model = "m", input_tokens = 3000, at = 2026-11-24T07:59:00Z }
expect = { refused = "policy_error", route = "rest" }

[[test]]
name = "and with a limit one can"
given = { model = "m", input_tokens = 3000, max_output = 50, at = 2026-11-24T07:59:00Z }
expect = { first = "nebius/*" }
"#;
    let policy = compile(text, &shop);
    for outcome in run_tests(&policy, &shop, NOW) {
        assert!(outcome.passed, "{outcome:?}");
    }
    let warnings: Vec<String> = policy.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.len() == 1 && warnings[0].starts_with("p.toml:19:"), "{warnings:?}");
    let decision = plan(&policy, &shop, &Ask { input_tokens: 3_000, ..ask("m") }, &cold, Dice(0));
    let error = decision.refusal.unwrap();
    assert_eq!((error.kind.status(), error.code_str(), error.retryable()), (403, "policy_error", false));
    assert!(error.message.contains("route `rest`") && error.message.contains("zero"), "{}", error.message);
    let found = problems(&text.replace("now.hour", "now.hours"), &shop).join("\n");
    assert!(found.starts_with("p.toml:13:") && found.contains("did you mean `hour`?"), "{found}");
    let found = problems(&text.replace("key.tags", "keys.tags"), &shop).join("\n");
    assert!(found.starts_with("p.toml:5:") && found.contains("did you mean `key`?"), "{found}");
}
