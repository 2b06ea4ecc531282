//! What conditions say, and that the plain form and the interpreter say the same.

use proptest::prelude::*;

use super::*;

fn faults(source: &str) -> String {
    let told = |faults: Vec<Fault>| {
        let each = faults.into_iter().map(|(at, (message, hint))| format!("{at}: {message} {hint:?}"));
        each.collect::<Vec<_>>().join("\n")
    };
    Condition::compile(source).map_or_else(told, |(_, warnings)| told(warnings))
}

#[test]
fn every_member_is_there_and_nothing_else() {
    let tags = ["a".into()];
    for facts in [Facts::example(&tags), Facts::bare()] {
        for (root, members) in MEMBERS {
            for member in members {
                assert!(facts.resolve(&format!("{root}.{member}")).is_some(), "{root}.{member}");
            }
            assert!(facts.resolve(root).is_none());
        }
    }
}

#[test]
fn values_are_those_of_the_request() {
    let tags: [Arc<str>; 2] = ["legal".into(), "project=atlas".into()];
    let facts = Facts { model: "o1", team: "claims", at: UnixMillis(1_795_478_400_000), ..Facts::example(&tags) };
    let judge = Judge::new(&facts);
    for (source, holds) in [
        ("request.input_tokens < 30000 && !(\"legal\" in key.tags)", false),
        ("request.model == 'o1' && request.tools && 'image' in request.needs", true),
        ("key.team == 'claims' ? request.stream : false", true),
        ("key.tags.exists(t, t.startsWith('project='))", true),
        ("size(key.tags) == 2 && key.tags[1] == 'project=atlas'", true),
        ("now.hour >= 8 && now.hour < 18 && now.weekday <= 5", false),
        ("now.date == '2026-11-24' && now.weekday == 2 && now.unix == 1795478400", true),
        ("request.operation in ['chat', 'completions'] && request.max_output * 2 == 2000", true),
    ] {
        let (condition, warnings) = Condition::compile(source).unwrap_or_else(|f| panic!("{source}: {f:?}"));
        assert_eq!(judge.holds(&condition), Ok(holds), "{source}");
        assert_eq!(warnings, [], "{source}");
    }
}

#[test]
fn mistakes_are_found_when_it_is_read() {
    for (source, expected) in [
        ("request.modle == 'x'", "`request` has no member `modle`; it has model"),
        ("reqest.model == 'x'", "there is no variable `reqest`"),
        ("request == 'x'", "`request` stands for its members"),
        ("request['model'] == 'x'", "`request` stands for its members"),
        ("request.model.matches('a*')", "there is no function `matches`"),
        ("timestamp('2026-01-01T00:00:00Z') != null", "there is no function `timestamp`"),
        ("has(request.model)", "always holds"),
        ("request.model.length == 3", "`.length`: only request, key and now have members"),
        ("{'a': 1}.a == 1", "have members"),
        ("request.input_tokens", "gives a int, not true or false"),
        ("request.input_tokens + 'x' == 'y'", "fails on an example"),
        ("request.stream || request.input_tokens < '3'", "fails on an example"),
        ("request.stream || request.model", "gives a string, not true or false"),
        ("request.stream ? request.model : request.stream", "gives a string, not true or false"),
        ("(request.stream ? request.input_tokens : request.tools) == 3", ""),
        ("key.tags[1] == 'x'", "fails on an example"),
        ("key.tags.exists(request, true)", "`request` is taken"),
        ("key.tags.exists(a, key.tags.exists(b, key.tags.exists(c, a == b && b == c)))", "at most 2 loops"),
        ("request.model == ", "is no condition in CEL"),
        ("", "is no condition in CEL"),
    ] {
        let found = faults(source);
        assert!(found.contains(expected), "{source}: {found}");
    }
    for deep in ["!".repeat(1_999), format!("{}true", "(".repeat(1_900)), "true ? false : ".repeat(99) + "true"] {
        assert!(faults(&deep).contains("nested deeper"), "{deep}");
    }
    assert_eq!(faults(&format!("{}true{}", "(".repeat(12), ")".repeat(12))), "");
    let chain = vec!["1"; 900].join("+") + " > 1";
    assert!(faults(&chain).contains("nested deeper"), "{}", faults(&chain));
    assert!(faults(&" ".repeat(3_000)).contains("at most 2000 bytes"));
    assert!(faults("key.tags[0] == 'x'").contains("by a key without tags"));
}

#[test]
fn what_fails_at_run_time_says_why() {
    let (condition, _) = Condition::compile("1000 / request.choices > 3 && 7 / request.max_output > 0").unwrap();
    let facts = Facts { max_output: None, ..Facts::example(&[]) };
    let why = Judge::new(&facts).holds(&condition).unwrap_err();
    assert!(why.contains("zero"), "{why}");
}

/// Texts that conditions and requests are made of.
const TEXTS: [&str; 9] = ["o1", "openai", "openai-chat", "chat", "legal", "a", "", "tools", "projekt=ä"];
const NUMBERS: [i64; 7] = [-1, 0, 1, 5, 12, 1_000, i64::MAX];

fn drawn<T: Copy + std::fmt::Debug + 'static>(of: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(of)
}

/// A condition of the common forms, and some that are not.
fn condition() -> impl Strategy<Value = String> {
    let number = || {
        prop_oneof![
            drawn(&NUMBERS).prop_map(|n| n.to_string()),
            drawn(&["input_tokens", "max_output", "choices"]).prop_map(|m| format!("request.{m}")),
            drawn(&["unix", "hour", "minute", "weekday"]).prop_map(|m| format!("now.{m}")),
            drawn(&["size(key.tags)", "key.tags.size()", "size(request.needs)"]).prop_map(str::to_owned),
        ]
    };
    let text = || {
        prop_oneof![
            drawn(&TEXTS).prop_map(|t| format!("'{t}'")),
            drawn(&["model", "operation", "dialect", "user"]).prop_map(|m| format!("request.{m}")),
            drawn(&["id", "team", "tenant"]).prop_map(|m| format!("key.{m}")),
            Just("now.date".to_owned()),
        ]
    };
    let order = || drawn(&["<", "<=", ">", ">=", "==", "!="]);
    let leaf = prop_oneof![
        drawn(&["true", "false", "request.stream", "request.tools"]).prop_map(str::to_owned),
        (number(), order(), number()).prop_map(|(a, o, b)| format!("{a} {o} {b}")),
        (text(), drawn(&["==", "!=", "<"]), text()).prop_map(|(a, o, b)| format!("{a} {o} {b}")),
        (text(), drawn(&["startsWith", "endsWith", "contains"]), text()).prop_map(|(a, f, b)| format!("{a}.{f}({b})")),
        (text(), drawn(&["key.tags", "request.needs"])).prop_map(|(a, of)| format!("{a} in {of}")),
        (text(), prop::collection::vec(text(), 0..4)).prop_map(|(a, of)| format!("{a} in [{}]", of.join(", "))),
        (number(), prop::collection::vec(number(), 0..4)).prop_map(|(a, of)| format!("{a} in [{}]", of.join(", "))),
        text().prop_map(|a| format!("key.tags.exists(t, t == {a})")),
    ];
    leaf.prop_recursive(3, 12, 3, |part| {
        prop_oneof![
            part.clone().prop_map(|a| format!("!({a})")),
            prop::collection::vec(part.clone(), 2..4).prop_map(|all| format!("({})", all.join(") && ("))),
            prop::collection::vec(part.clone(), 2..4).prop_map(|all| format!("({})", all.join(") || ("))),
            (part.clone(), part.clone()).prop_map(|(a, b)| format!("({a}) == ({b})")),
            (part.clone(), part.clone(), part).prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
        ]
    })
}

proptest! {
    #[test]
    fn plain_conditions_say_what_the_interpreter_says(
        source in condition(),
        words in prop::collection::vec(drawn(&TEXTS), 4),
        tags in prop::collection::vec(drawn(&TEXTS).prop_map(Arc::from), 0..3),
        (tokens, max, choices) in (drawn(&NUMBERS), prop::option::of(drawn(&NUMBERS)), 1..3_u32),
        (stream, needs, at) in (any::<bool>(), any::<bool>(), drawn(&[0, 1_795_478_400_000, i64::MAX])),
    ) {
        let facts = Facts {
            model: words[0],
            user: words[1],
            team: words[2],
            key: words[3],
            input_tokens: tokens.unsigned_abs(),
            max_output: max.map(i64::unsigned_abs),
            choices,
            stream,
            needs: if needs { Capabilities::ALL } else { Capabilities::NONE },
            at: UnixMillis(at),
            ..Facts::example(&tags)
        };
        if let Ok((condition, _)) = Condition::compile(&source) {
            let judge = Judge::new(&facts);
            prop_assert_eq!(judge.holds(&condition), judge.interpreted(&condition.program), "{}", source);
        }
    }
}

#[test]
fn the_common_forms_need_no_interpreter() {
    for (source, plain) in [
        ("request.input_tokens < 30000 && !(\"legal\" in key.tags)", true),
        ("request.model == 'o1' && request.tools && 'image' in request.needs || request.stream != true", true),
        ("key.team in ['claims', 'sales'] ? now.hour >= 8 && now.weekday <= 5 : request.choices in [1, 2]", true),
        ("request.dialect.startsWith('openai') && size(key.tags) == 0", true),
        ("key.tags.exists(t, t.startsWith('project='))", false),
        ("request.max_output * 2 > request.input_tokens", false),
        ("key.tags[0] == 'a'", false),
        ("now.date < '2026-12-24'", false),
    ] {
        let (condition, _) = Condition::compile(source).unwrap_or_else(|faults| panic!("{source}: {faults:?}"));
        assert_eq!(condition.plain.is_some(), plain, "{source}");
    }
}
