//! Decisions: order, reasons, refusals.

use super::*;
use crate::domain::error::ErrorKind;
use crate::policy::Selected;

const MISSION: &str = r#"
[[route]]
name = "reasoning"
match = { model = ["auto", "o1*", "deepseek-reasoner"] }
targets = ["local/*", "family:deepseek-r1", "openai/*"]
baseline = { target = "openai/o1@global", price_as_of = 2025-01-31 }
max_output = 4000
require = { min_tier = "reasoning" }
prefer = { order = "listed" }
attempts = { max = 2, timeout = { first_token = "90s" } }
"#;

fn mission() -> (Shop, Policy) {
    let shop = shop();
    let policy = compile(MISSION, &shop);
    (shop, policy)
}

fn decide(shop: &Shop, policy: &Policy, ask: &Ask<'_>) -> Decision {
    plan(policy, shop, ask, &cold, Dice(0))
}

fn refused(decision: &Decision) -> (ErrorKind, u16) {
    let error = decision.refusal.as_ref().expect("refused");
    assert!(decision.attempts().is_empty());
    (error.kind, error.kind.status())
}

#[test]
fn the_mission_in_small() {
    let (shop, policy) = mission();
    let decision = decide(&shop, &policy, &ask("o1-mini"));
    let expected = [
        "local/r1-7b",
        "deepseek/deepseek-reasoner@cn",
        "nebius/DeepSeek-R1@eu",
        "together/DeepSeek-R1@us",
        "openai/o5@eu",
    ];
    assert_eq!(names(&shop, &decision), expected);
    assert_eq!(decision.attempts().len(), 2);
    assert_eq!(decision.timeouts.first_token, Duration::from_secs(90));
    assert_eq!(decision.timeouts.connect, Duration::from_secs(5));
    assert!(matches!(reason_of(&shop, &decision, "openai/o1@global"), Reason::Retired { .. }));
    assert!(matches!(reason_of(&shop, &decision, "local/tiny"), Reason::Tier { .. }));
    let baseline = decision.baseline.as_ref().unwrap();
    assert_eq!((&*baseline.name, baseline.retired), ("openai/o1@global", true));
    assert_eq!(baseline.price_as_of, Some(UnixMillis(1_738_281_600_000)));
    let deepseek = &decision.admitted[1];
    // 1000 × 0.55 / 1M + 1000 × 2.19 / 1M; 1 s to the first token and 1000 × 10 ms.
    assert_eq!(deepseek.expected_cost, Some(Money::parse("0.00274").unwrap()));
    assert_eq!((deepseek.latency_ms, deepseek.measured, deepseek.max_output), (11_000, false, Some(4_000)));
}

#[test]
fn a_request_and_a_key_can_only_narrow() {
    let (shop, policy) = mission();
    let require = |text| Requirement::parse(text, &shop).unwrap();
    let (eu, no_training) = (require("processing=EU,local"), require("training=no; operator=EU"));
    let mut it = ask("auto");
    it.principal.require = &eu;
    assert_eq!(names(&shop, &decide(&shop, &policy, &it)), ["local/r1-7b", "nebius/DeepSeek-R1@eu", "openai/o5@eu"]);
    it.require = &no_training;
    // operator alone tests the parent as well: an Irish subsidiary of a US company does not pass.
    let decision = decide(&shop, &policy, &it);
    assert_eq!(names(&shop, &decision), ["local/r1-7b", "nebius/DeepSeek-R1@eu"]);
    assert_eq!(*reason_of(&shop, &decision, "openai/o5@eu"), Reason::Parent(Some(country("US"))));
    let both = require("operator=EU; parent=EU,US");
    it.require = &both;
    assert_eq!(names(&shop, &decide(&shop, &policy, &it)), ["local/r1-7b", "nebius/DeepSeek-R1@eu", "openai/o5@eu"]);
    // This machine is nobody else's, but whether it may be used at all is said by `processing`.
    let elsewhere = require("processing=EU; operator=EU; parent=EU,US");
    it.require = &elsewhere;
    assert_eq!(names(&shop, &decide(&shop, &policy, &it)), ["nebius/DeepSeek-R1@eu", "openai/o5@eu"]);
}

#[test]
fn unknown_and_stale_facts_fail_closed() {
    let (mut shop, policy) = mission();
    let no = Requirement::parse("training=no", &shop).unwrap();
    let stale = UnixMillis(NOW.0 - 1);
    shop.targets[2].residency = Arc::new(Residency { expires: Some(stale), ..facts("FI") });
    shop.targets[3].residency = Arc::new(Residency { processing: Fact::Known(Arc::from([])), ..facts("US") });
    let mut it = ask("auto");
    // Without a requirement nothing is asked of the facts.
    assert_eq!(decide(&shop, &policy, &it).admitted.len(), 5);
    it.require = &no;
    let decision = decide(&shop, &policy, &it);
    assert_eq!(*reason_of(&shop, &decision, "deepseek/deepseek-reasoner@cn"), Reason::Training(None));
    assert_eq!(*reason_of(&shop, &decision, "nebius/DeepSeek-R1@eu"), Reason::StaleFacts { since: stale });
    for text in ["processing=FI", "operator=FI", "parent=FI", "retention_days=9", "min_guarantee=none"] {
        let part = Requirement::parse(text, &shop).unwrap();
        let decision = decide(&shop, &policy, &Ask { require: &part, ..it });
        assert_eq!(
            *reason_of(&shop, &decision, "nebius/DeepSeek-R1@eu"),
            Reason::StaleFacts { since: stale },
            "{text}"
        );
    }
    let us = Requirement::parse("processing=US", &shop).unwrap();
    it.require = &us;
    let decision = decide(&shop, &policy, &it);
    assert_eq!(*reason_of(&shop, &decision, "together/DeepSeek-R1@us"), Reason::ProcessingUnknown);
    assert_eq!(refused(&decision), (ErrorKind::PolicyRefused, 403));
    let message = &decision.refusal.as_ref().unwrap().message;
    assert!(message.contains("processing=US") && message.contains("local/r1-7b: processes in local"), "{message}");
}

#[test]
fn the_cheapest_the_fastest_and_the_exchange_rate() {
    let shop = shop();
    let with = |prefer: &str| {
        let text = format!(
            "[[route]]\nname = \"r\"\nmatch = {{ model = [\"m\"] }}\ntargets = [\"nebius/*\", \"together/*\"]\n{prefer}\n"
        );
        compile(&text, &shop)
    };
    // The dear one is ten seconds faster; the cheap one costs 0.0032, the dear one 0.01.
    let signals = |id: TargetId| {
        let ttft = if *shop.targets[id.index()].provider == *"together" { 100 } else { 10_100 };
        Signal { ttft_ms: Some(ttft), tpot_us: Some(100), ..Signal::COLD }
    };
    let first = |prefer: &str| {
        let policy = with(prefer);
        let decision = plan(&policy, &shop, &ask("m"), &signals, Dice(7));
        assert!(decision.admitted[0].measured);
        shop.targets[decision.admitted[0].target.index()].provider.to_string()
    };
    assert_eq!(first(""), "nebius");
    assert_eq!(first("prefer = { second_is_worth = \"0\" }"), "nebius");
    assert_eq!(first("prefer = { second_is_worth = \"0.0006 USD\" }"), "nebius");
    assert_eq!(first("prefer = { second_is_worth = \"0.0008 USD\" }"), "together");
    assert_eq!(first("prefer = { second_is_worth = \"inf\" }"), "together");
}

#[test]
fn near_ties_go_to_the_less_loaded_of_two() {
    let mut shop = Shop::default();
    let a = shop.add("x/a", Some(("1.00", "1.00")), |_| {});
    let b = shop.add("x/b", Some(("1.04", "1.04")), |_| {});
    let c = shop.add("x/c", Some(("1.06", "1.06")), |_| {});
    let policy = compile("[[route]]\nname = \"r\"\nmatch = { model = [\"m\"] }\ntargets = [\"x/*\"]\n", &shop);
    for dice in 0..50 {
        let busy = |id| Signal { in_flight: if id == a { 9 } else { 0 }, ..Signal::COLD };
        let order: Vec<TargetId> =
            plan(&policy, &shop, &ask("m"), &busy, Dice(dice)).admitted.iter().map(|c| c.target).collect();
        assert_eq!(order, [b, a, c], "6 % dearer is no near-tie, however idle");
    }
    let firsts: std::collections::HashSet<TargetId> =
        (0..50).map(|dice| plan(&policy, &shop, &ask("m"), &cold, Dice(dice)).admitted[0].target).collect();
    assert_eq!(firsts, [a, b].into(), "equally idle: the dice decide");
}

#[test]
fn unknown_prices_come_last_and_fail_a_limit() {
    let mut shop = Shop::default();
    shop.add("x/unpriced", None, |_| {});
    shop.add("x/dear", Some(("100", "100")), |_| {});
    let policy = compile("[[route]]\nname = \"r\"\nmatch = { model = [\"m\"] }\ntargets = [\"x/*\"]\n", &shop);
    let decision = decide(&shop, &policy, &ask("m"));
    assert_eq!(names(&shop, &decision), ["x/dear", "x/unpriced"]);
    let limit = Requirement::parse("max_cost=0.1 USD", &shop).unwrap();
    let mut it = ask("m");
    it.require = &limit;
    let decision = decide(&shop, &policy, &it);
    assert_eq!(refused(&decision), (ErrorKind::TooExpensive, 403));
    assert_eq!(*reason_of(&shop, &decision, "x/unpriced"), Reason::Unpriced);
    // A client's own limit bounds what is expected.
    it.max_output = Some(0);
    it.input_tokens = 1_000;
    assert_eq!(names(&shop, &decide(&shop, &policy, &it)), ["x/dear"]);
}

#[test]
fn parameters_and_contexts_are_400_only_if_no_admitted_target_takes_them() {
    let (shop, policy) = mission();
    let mut it = ask("auto");
    it.needs = Capabilities::NONE.with(Capability::Tools);
    assert_eq!(names(&shop, &decide(&shop, &policy, &it)), ["openai/o5@eu"]);
    let cn = Requirement::parse("processing=CN", &shop).unwrap();
    it.require = &cn;
    let decision = decide(&shop, &policy, &it);
    assert_eq!(refused(&decision), (ErrorKind::UnsupportedParameter, 400));
    assert_eq!(decision.refusal.as_ref().unwrap().param.as_deref(), Some("tools"));

    let mut it = ask("auto");
    let asked = std::cell::RefCell::new(Vec::new());
    let inexpressible = |dialect: DialectId| {
        asked.borrow_mut().push(dialect);
        if dialect == DialectId::OpenAiChat { vec!["top_k".to_owned()] } else { Vec::new() }
    };
    it.inexpressible = &inexpressible;
    let decision = decide(&shop, &policy, &it);
    assert_eq!(names(&shop, &decision), ["local/r1-7b"]);
    assert_eq!(asked.borrow().len(), 2, "once per dialect");
    it.input_tokens = 50_000;
    let decision = decide(&shop, &policy, &it);
    assert_eq!(refused(&decision), (ErrorKind::UnsupportedParameter, 400));
    assert_eq!(*reason_of(&shop, &decision, "local/r1-7b"), Reason::Context { needed: 50_001, has: 8_192 });

    let mut it = ask("auto");
    it.input_tokens = 200_000;
    assert_eq!(refused(&decide(&shop, &policy, &it)), (ErrorKind::ContextTooLong, 400));
    let mut it = ask("auto");
    it.max_output = Some(40_000);
    let decision = decide(&shop, &policy, &it);
    assert_eq!(decision.refusal.as_ref().unwrap().param.as_deref(), Some("max_tokens"));
    let all: String = MISSION.replace("max_output", "lossy = \"allow\"\nmax_output");
    it.max_output = None;
    it.inexpressible = &|_| vec!["top_k".to_owned()];
    assert_eq!(decide(&shop, &compile(&all, &shop), &it).admitted.len(), 5);
}

#[test]
fn what_is_down_is_not_tried_and_all_down_says_when() {
    let (shop, policy) = mission();
    let it = ask("auto");
    let some = |id: TargetId| if id.0 == 0 { down(None) } else { Signal::COLD };
    let decision = plan(&policy, &shop, &it, &some, Dice(0));
    assert_eq!(names(&shop, &decision)[0], "deepseek/deepseek-reasoner@cn");
    let all = |id: TargetId| down((id.0 != 2).then_some(NOW.0 + 10_000 + i64::from(id.0)));
    let decision = plan(&policy, &shop, &it, &all, Dice(0));
    assert_eq!(refused(&decision), (ErrorKind::Unavailable, 503));
    assert_eq!(decision.refusal.as_ref().unwrap().retry_after, Some(Duration::from_secs(10)));
    // A time that has passed no longer keeps a target down.
    let past = |_| down(Some(NOW.0));
    assert_eq!(plan(&policy, &shop, &it, &past, Dice(0)).admitted.len(), 5);
}

#[test]
fn without_credentials_it_is_unavailable_and_not_forbidden() {
    let (mut shop, policy) = mission();
    shop.targets.iter_mut().for_each(|t| t.configured = false);
    let decision = decide(&shop, &policy, &ask("auto"));
    assert_eq!(refused(&decision), (ErrorKind::Unavailable, 503));
    assert_eq!(decision.refusal.as_ref().unwrap().retry_after, None);
    let gb = Requirement::parse("processing=GB", &shop).unwrap();
    let mut it = ask("auto");
    it.require = &gb;
    assert_eq!(refused(&decide(&shop, &policy, &it)), (ErrorKind::PolicyRefused, 403));
}

#[test]
fn names_of_the_catalogue_work_without_a_route() {
    let (shop, policy) = mission();
    for name in ["nebius/DeepSeek-R1", "nebius/DeepSeek-R1@eu"] {
        let decision = decide(&shop, &policy, &ask(name));
        assert_eq!((&*decision.route, names(&shop, &decision)), ("direct", vec!["nebius/DeepSeek-R1@eu"]));
    }
    // A plain id that one provider has, and one that two have.
    assert_eq!(names(&shop, &decide(&shop, &policy, &ask("o5"))), ["openai/o5@eu"]);
    assert!(matches!(policy.select(&ask("DeepSeek-R1")), Selected::Ambiguous(c) if c.len() == 2));
    let decision = decide(&shop, &policy, &ask("DeepSeek-R1"));
    assert_eq!(refused(&decision), (ErrorKind::UnknownModel, 404));
    assert!(decision.refusal.as_ref().unwrap().message.contains("nebius/DeepSeek-R1, together/DeepSeek-R1"));
    // The tiny model answers under its own name only.
    assert_eq!(names(&shop, &decide(&shop, &policy, &ask("tiny"))), ["local/tiny"]);
    // A key's requirement holds without a route too.
    let eu = Requirement::parse("processing=EU", &shop).unwrap();
    let mut it = ask("tiny");
    it.principal.require = &eu;
    assert_eq!(refused(&decide(&shop, &policy, &it)), (ErrorKind::PolicyRefused, 403));
    let retired = decide(&shop, &policy, &ask("openai/o1"));
    assert_eq!(refused(&retired), (ErrorKind::UnknownModel, 404));
    assert!(retired.refusal.as_ref().unwrap().message.contains("2026-10-23"));
    let unknown = decide(&shop, &policy, &ask("deepseek-reasonr"));
    assert!(unknown.refusal.as_ref().unwrap().message.contains("deepseek-reasoner"));
    assert_eq!(refused(&decide(&shop, &policy, &ask(&"x".repeat(100_000)))), (ErrorKind::UnknownModel, 404));
}

#[test]
fn providers_that_take_any_model_are_found_by_their_name() {
    let mut shop = shop();
    shop.add("vllm/*@a", None, |_| {});
    shop.add("vllm/*@b", None, |_| {});
    shop.add("vllm/known@a", Some(("1", "1")), |_| {});
    let policy = compile(MISSION, &shop);
    let direct = |name: &str| {
        let decision = decide(&shop, &policy, &ask(name));
        (decision.route.to_string(), names(&shop, &decision).join(" "))
    };
    assert_eq!(direct("vllm/Qwen/Qwen3"), ("direct".to_owned(), "vllm/*@a vllm/*@b".to_owned()));
    assert_eq!(direct("vllm/Qwen/Qwen3@b").1, "vllm/*@b");
    assert_eq!(direct("vllm/known").1, "vllm/known@a");
    for unknown in ["vllm/", "vllm/*", "vllm", "*"] {
        assert_eq!(refused(&decide(&shop, &policy, &ask(unknown))), (ErrorKind::UnknownModel, 404), "{unknown}");
    }
}

#[test]
fn the_baseline_of_the_file_holds_without_a_route() {
    let shop = shop();
    let text = MISSION.replace("baseline = {", "lossy = \"refuse\" #").replacen(
        "[[route]]",
        "[baseline]\ntarget = \"openai/o1@global\"\nprice_as_of = 2025-01-31\n[[route]]",
        1,
    );
    let policy = compile(&text, &shop);
    for model in ["auto", "tiny"] {
        let baseline = decide(&shop, &policy, &ask(model)).baseline.unwrap();
        assert_eq!(&*baseline.name, "openai/o1@global");
    }
    assert_eq!(decide(&shop, &mission().1, &ask("tiny")).baseline, None);
}

#[test]
fn a_ticket_looks_again() {
    let (mut shop, policy) = mission();
    let decision = decide(&shop, &policy, &ask("auto"));
    assert_eq!(decision.ticket(0, 0, &shop, &cold, NOW).unwrap().target(), decision.admitted[0].target);
    assert_eq!(decision.ticket(2, 2, &shop, &cold, NOW), Err(None), "no more attempts than the route allows");
    shop.targets[0].available_to = Some(UnixMillis(NOW.0 + 5));
    assert!(decision.ticket(0, 0, &shop, &cold, NOW).is_ok());
    assert!(matches!(decision.ticket(0, 0, &shop, &cold, UnixMillis(NOW.0 + 5)), Err(Some(Reason::Retired { .. }))));
}
