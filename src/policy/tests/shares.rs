//! Weighted shares, canaries, last resorts, caps and speed limits: who goes where, and who stays.

use super::*;
use crate::domain::error::ErrorKind;
use crate::domain::target::Usual;
use crate::policy::split::mix;

const SPLIT: &str = r#"
[[route]]
name = "r"
match = { model = ["m"] }
targets = ["a/*", "b/*", "c/*"]
prefer = { order = "weighted", weights = { "a/*" = 90, "b/*" = 10 }, sticky = "key" }
"#;

fn three() -> Shop {
    let mut shop = Shop::default();
    for name in ["a/one", "a/two", "b/one", "c/one"] {
        let price = if name == "a/two" { "1" } else { "2" };
        shop.add(name, Some((price, price)), |_| {});
    }
    shop
}

/// The first target for each of so many keys.
fn firsts(shop: &Shop, policy: &Policy, keys: u32, signals: &dyn Fn(TargetId) -> Signal) -> Vec<String> {
    let first = |n: u32| {
        let key = format!("key_{n}");
        let it = Ask { principal: Principal { key: &key, ..Principal::ANONYMOUS }, ..ask("m") };
        let decision = plan(policy, shop, &it, signals, Dice(u64::from(n) + 1));
        assert_eq!(names(shop, &decision).last(), Some(&"c/one"), "without a weight it comes last");
        names(shop, &decision)[0].to_owned()
    };
    (0..keys).map(first).collect()
}

#[test]
fn weights_share_requests_and_a_key_stays_where_it_is() {
    let shop = three();
    let policy = compile(SPLIT, &shop);
    let before = firsts(&shop, &policy, 10_000, &cold);
    let share = before.iter().filter(|name| *name == "b/one").count();
    // Six standard deviations of a binomial share of 10 % are 180 of 10,000.
    assert!((820..1_180).contains(&share), "{share}");
    assert!(before.iter().all(|name| name == "b/one" || name == "a/two"), "within a share the cheapest");
    // Another weight moves only those that must move, and all in one direction.
    let more = compile(&SPLIT.replace("= 10 }", "= 20 }"), &shop);
    let after = firsts(&shop, &more, 10_000, &cold);
    assert!(before.iter().zip(&after).all(|(b, a)| b == a || (b == "a/two" && a == "b/one")));
    // A target that is down gives its requests away and gets them back; the other's stay.
    let down_b = |id: TargetId| if id.0 == 2 { down(None) } else { Signal::COLD };
    assert!(firsts(&shop, &policy, 500, &down_b).iter().all(|name| name == "a/two"));
    let down_a2 = |id: TargetId| if id.0 == 1 { down(None) } else { Signal::COLD };
    let moved = firsts(&shop, &policy, 500, &down_a2);
    assert!(before.iter().zip(&moved).all(|(b, m)| b == m || (b == "a/two" && m == "a/one")));
}

#[test]
fn what_a_share_sticks_to() {
    let shop = three();
    let first = |sticky: &str, it: &Ask<'_>, dice: u64| {
        let policy = compile(&SPLIT.replace("\"key\"", &format!("\"{sticky}\"")).replace("= 90", "= 10"), &shop);
        let decision = plan(&policy, &shop, it, &cold, Dice(dice));
        assert_eq!(decision.lead, Lead::Weighted);
        names(&shop, &decision)[0].to_owned()
    };
    let all = |sticky: &str, it: &Ask<'_>| {
        (1..100).map(|dice| first(sticky, it, dice)).collect::<std::collections::HashSet<_>>().len()
    };
    let principal = Principal { key: "k", tenant: "t", ..Principal::ANONYMOUS };
    let it = Ask { principal, user: Some("u"), session: &|| Some(7), ..ask("m") };
    for sticky in ["key", "user", "session"] {
        assert_eq!(all(sticky, &it), 1, "{sticky}");
        assert_eq!(all(sticky, &ask("m")), 2, "{sticky}: nothing to stick to");
    }
    assert_eq!(all("none", &it), 2);
    let others = (0..50).map(|n| first("session", &Ask { session: &|| Some(n), ..it }, 1));
    assert_eq!(others.collect::<std::collections::HashSet<_>>().len(), 2);
    assert_eq!(first("none", &ask("m"), 0), "a/two", "without chance the heaviest; equal weights: the first by name");
}

#[test]
fn a_canary_gets_its_share_and_nothing_else_changes() {
    let shop = three();
    let text = |targets: &str| {
        format!(
            "[[route]]\nname = \"r\"\nmatch = {{ model = [\"m\"] }}\ntargets = [{targets}]\nmax_output = 10\n\
             prefer = {{ order = \"listed\", canary = {{ target = \"c/one\", share = \"5%\", sticky = \"key\" }} }}\n"
        )
    };
    let policy = compile(&text("\"b/*\", \"a/two\""), &shop);
    let plans: Vec<(Lead, Vec<&str>)> = (1..=4_000_u32)
        .map(|n| {
            let key = format!("key_{n}");
            let it = Ask { principal: Principal { key: &key, ..Principal::ANONYMOUS }, ..ask("m") };
            let decision = plan(&policy, &shop, &it, &cold, Dice(9));
            (decision.lead, names(&shop, &decision))
        })
        .collect();
    let canaries = plans.iter().filter(|(lead, _)| *lead == Lead::Canary).count();
    assert!((120..280).contains(&canaries), "{canaries}");
    for (lead, names) in &plans {
        match lead {
            Lead::Canary => assert_eq!(names, &["c/one", "b/one", "a/two"]),
            _ => assert_eq!(names, &["b/one", "a/two"], "not even as last resort"),
        }
    }
    // One that must not be used is not used, whoever is drawn.
    let mut all = compile(&text("\"b/*\""), &shop);
    all.routes[0].canary = all.routes[0].canary.map(|canary| Canary { share: Share::parse("100%").unwrap(), ..canary });
    let eu = Requirement::parse("max_cost=0.000001 USD", &shop).unwrap();
    let decision = plan(&all, &shop, &Ask { require: &eu, ..ask("m") }, &cold, Dice(9));
    assert_eq!(decision.refusal.unwrap().kind, ErrorKind::TooExpensive);
    assert_eq!(plan(&all, &shop, &ask("m"), &cold, Dice(0)).lead, Lead::Best, "nothing is left to chance");
}

#[test]
fn mistakes_in_shares_are_told() {
    let shop = three();
    for (from, to, expected) in [
        ("\"b/*\" = 10", "\"d/*\" = 10", "`d/*` matches no target"),
        ("\"b/*\" = 10", "\"b/*\" = 0", "must be at least 1"),
        ("\"b/*\" = 10", "\"*/two\" = 10", "both hold a/two"),
        ("targets = [\"a/*\", \"b/*\", \"c/*\"]", "targets = [\"a/*\"]", "matches none of the route's targets"),
        ("weights = { \"a/*\" = 90, \"b/*\" = 10 }, ", "", "`weighted` needs `weights`"),
        ("order = \"weighted\", ", "", "`weights` needs `order = \"weighted\"`"),
        ("sticky = \"key\"", "sticky = \"keys\"", "is not one of none, key, user, session"),
        ("sticky = \"key\"", "canary = { target = \"a/*\", share = \"5%\" }", "a canary is one target"),
        ("sticky = \"key\"", "canary = { target = \"c/one\", share = \"5\" }", "is not a share"),
    ] {
        let text = SPLIT.replace(from, to);
        assert_ne!(text, SPLIT);
        let found = problems(&text, &shop).join("\n");
        assert!(found.contains(expected), "{to}: {found}");
    }
}

#[test]
fn our_own_rest_ends_when_nothing_else_is_left() {
    let shop = three();
    let policy = compile(SPLIT, &shop);
    let rest = |until: i64, rest: Rest| Signal {
        state: Health::Down { until: Some(UnixMillis(NOW.0 + until)), rest },
        ..Signal::COLD
    };
    let own = |id: TargetId| rest(10_000 - i64::from(id.0), Rest::Breaker);
    let decision = plan(&policy, &shop, &ask("m"), &own, Dice(3));
    assert_eq!((names(&shop, &decision), decision.lead), (vec!["c/one"], Lead::LastResort));
    assert_eq!((decision.rejected.len(), &decision.refusal), (3, &None));
    let reserve = |decision: &Decision| -> Vec<String> {
        decision.reserve.iter().map(|c| shop.targets[c.target.index()].name.to_string()).collect()
    };
    assert_eq!(reserve(&decision), ["b/one", "a/two", "a/one"], "the others after it, the first to be up again first");
    // One that is up is enough to leave the others alone until it has failed.
    let one = |id: TargetId| if id.0 == 0 { Signal::COLD } else { own(id) };
    let decision = plan(&policy, &shop, &ask("m"), &one, Dice(3));
    assert_eq!((names(&shop, &decision), reserve(&decision).len()), (vec!["a/one"], 3));
    assert!(decision.rejected.iter().all(|r| decision.is_reserve(r.target)), "they are told as resting all the same");
    // A short rest that was asked for is waited for at last; a longer one is kept.
    let asked = |id: TargetId| match id.0 {
        0 => Signal::COLD,
        1 => rest(1_500, Rest::Limited),
        2 => rest(2_500, Rest::Firm),
        _ => own(id),
    };
    assert_eq!(reserve(&plan(&policy, &shop, &ask("m"), &asked, Dice(3))), ["c/one", "a/two"]);
    // What the providers asked for is obeyed, and told as what it is.
    let limited = |id: TargetId| rest(9_000 + i64::from(id.0), if id.0 == 3 { Rest::Firm } else { Rest::Limited });
    let error = plan(&policy, &shop, &ask("m"), &limited, Dice(3)).refusal.unwrap();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_secs(9))));
    assert!(
        error.message.starts_with("Every admitted target limits the rate or is down just now"),
        "{}",
        error.message
    );
    let firm = |_| rest(9_000, Rest::Firm);
    assert_eq!(plan(&policy, &shop, &ask("m"), &firm, Dice(3)).refusal.unwrap().kind, ErrorKind::Unavailable);
}

#[test]
fn more_output_than_the_cap_is_refused_and_none_means_the_cap() {
    let shop = three();
    let capped = |members: &str| {
        compile(
            &format!("[[route]]\nname = \"r\"\nmatch = {{ model = [\"m\"] }}\ntargets = [\"a/*\"]\n{members}\n"),
            &shop,
        )
    };
    let policy = capped("output_cap = 500");
    let limit = |policy: &Policy, max_output| {
        let decision = plan(policy, &shop, &Ask { max_output, ..ask("m") }, &cold, Dice(1));
        decision.admitted.first().map(|c| c.max_output).ok_or(decision.refusal)
    };
    assert_eq!(limit(&policy, None), Ok(Some(500)));
    assert_eq!(limit(&policy, Some(500)), Ok(Some(500)));
    assert_eq!(limit(&capped("output_cap = 500\nmax_output = 100"), None), Ok(Some(100)));
    let error = limit(&policy, Some(501)).unwrap_err().unwrap();
    assert_eq!(
        (error.kind.status(), error.code_str(), error.param.as_deref()),
        (400, "output_cap", Some("max_output"))
    );
    assert!(error.message.contains("at most 500"), "{}", error.message);
    let found = problems(
        "[[route]]\nname = \"r\"\nmatch = { model = [\"m\"] }\ntargets = [\"a/*\"]\noutput_cap = 5\nmax_output = 6\n",
        &shop,
    );
    assert!(found[0].contains("above the route's `output_cap`"), "{found:?}");
}

#[test]
fn a_target_must_be_fast_and_may_have_to_be_measured() {
    let shop = three();
    let policy =
        compile(&SPLIT.replace("sticky = \"key\" }", "sticky = \"key\" }\nrequire = { ttft_p95 = \"2s\" }"), &shop);
    let p95 = |ms: [Option<u32>; 4]| move |id: TargetId| Signal { ttft_p95_ms: ms[id.index()], ..Signal::COLD };
    let decision = plan(&policy, &shop, &ask("m"), &p95([Some(2_000), Some(2_001), None, Some(9)]), Dice(0));
    assert_eq!(names(&shop, &decision), ["a/one", "b/one", "c/one"]);
    assert_eq!(*reason_of(&shop, &decision, "a/two"), Reason::Slow { p95_ms: 2_001, limit_ms: 2_000 });
    let measured = Requirement::parse("unmeasured=refuse; ttft_p95=1s", &shop).unwrap();
    let it = Ask { require: &measured, ..ask("m") };
    let signals = p95([Some(900), None, None, Some(1_001)]);
    let decision = plan(&policy, &shop, &it, &signals, Dice(0));
    assert_eq!(names(&shop, &decision), ["a/one"]);
    assert_eq!(*reason_of(&shop, &decision, "b/one"), Reason::Unmeasured);
    // Asked again before the attempt: it has become slow since.
    assert!(decision.ticket(0, 0, &shop, &signals, NOW).is_ok());
    let slow = Err(Some(Reason::Slow { p95_ms: 3_000, limit_ms: 1_000 }));
    assert_eq!(decision.ticket(0, 0, &shop, &p95([Some(3_000); 4]), NOW), slow);
    let error = plan(&policy, &shop, &it, &p95([None; 4]), Dice(0)).refusal.unwrap();
    assert_eq!((error.kind, error.retry_after.is_some()), (ErrorKind::Unavailable, true));
}

#[test]
fn what_was_too_slow_is_looked_at_again_by_one_request_at_a_time() {
    let shop = three();
    let policy = compile(&SPEED.replace("prefer =", "require = { ttft_p95 = \"2s\" }\nprefer ="), &shop);
    let known = Signal { ttft_ms: Some(500), tpot_us: Some(10), ttft_p95_ms: Some(900), ..Signal::COLD };
    let slow = Signal { ttft_p95_ms: Some(3_000), ..known };
    let seen = |old: bool| {
        let signals = move |id: TargetId| if id.0 == 1 { Signal { p95_old: old, ..slow } } else { known };
        let decision = plan(&policy, &shop, &ask("m"), &signals, Dice(0));
        let ticket = |number| decision.ticket(number, 0, &shop, &|_| Signal { p95_old: false, ..slow }, NOW);
        assert_eq!(ticket(0), Err(Some(Reason::Slow { p95_ms: 3_000, limit_ms: 2_000 })), "somebody else looks by now");
        decision
    };
    assert_eq!(*reason_of(&shop, &seen(false), "a/two"), Reason::Slow { p95_ms: 3_000, limit_ms: 2_000 });
    let decision = seen(true);
    let of = |name: &str| {
        let at = names(&shop, &decision).iter().position(|n| *n == name).unwrap();
        (decision.admitted[at].look, decision.admitted[at].measured)
    };
    assert_eq!((of("a/two"), of("b/one")), ((true, false), (false, true)), "and marked as not measured");
    let strict = Requirement::parse("unmeasured=refuse", &shop).unwrap();
    let old = |_| Signal { p95_old: true, ..slow };
    let decision = plan(&policy, &shop, &Ask { require: &strict, ..ask("m") }, &old, Dice(0));
    assert!(decision.admitted.is_empty(), "nothing that is not known to be fast is used there");
}

#[test]
fn a_whole_answer_s_speed_is_known_by_its_tokens() {
    let shop = three();
    let policy = compile(SPEED, &shop);
    let whole = |_| Signal { tpot_us: Some(10), ..Signal::COLD };
    let measured = |stream| {
        let decision = plan(&policy, &shop, &Ask { stream, ..ask("m") }, &whole, Dice(0));
        decision.admitted.iter().all(|candidate| candidate.measured)
    };
    assert_eq!((measured(false), measured(true)), (true, false));
}

#[test]
fn a_price_that_rose_meanwhile_is_looked_at_again() {
    let mut shop = three();
    let policy = compile(SPLIT, &shop);
    let limit = Requirement::parse("max_cost=0.002 USD", &shop).unwrap();
    let decision = plan(&policy, &shop, &Ask { require: &limit, ..ask("m") }, &cold, Dice(0));
    assert_eq!(names(&shop, &decision), ["a/two"]);
    shop.prices[1] = shop.prices[0];
    assert!(matches!(decision.ticket(0, 0, &shop, &cold, NOW), Err(Some(Reason::MaxCost { .. }))));
}

const SPEED: &str = r#"
[[route]]
name = "r"
match = { model = ["m"] }
targets = ["a/*", "b/*", "c/*"]
prefer = { second_is_worth = "0.000001 USD" }
"#;

#[test]
fn a_share_of_the_requests_finds_out_how_fast_the_others_are() {
    let mut shop = three();
    shop.add("c/dear", Some(("9", "9")), |_| {});
    shop.add("c/unpriced", None, |_| {});
    let policy = compile(SPEED, &shop);
    let measured = Signal { ttft_ms: Some(500), tpot_us: Some(10), ..Signal::COLD };
    let firsts = |policy: &Policy, busy: u32| {
        let signals = |id: TargetId| if id.0 == 1 { measured } else { Signal { in_flight: busy, ..Signal::COLD } };
        let decisions = (1..=20_000_u64).map(|n| plan(policy, &shop, &ask("m"), &signals, Dice(mix(n))));
        let explored = decisions.filter(|decision| decision.lead == Lead::Explored);
        explored.map(|decision| names(&shop, &decision)[0].to_owned()).collect::<Vec<_>>()
    };
    let explored = firsts(&policy, 0);
    // Six standard deviations of 1 % of 20,000 are 85.
    assert!((115..285).contains(&explored.len()), "{}", explored.len());
    let seen: std::collections::BTreeSet<&str> = explored.iter().map(String::as_str).collect();
    assert_eq!(
        seen,
        ["a/one", "b/one", "c/one"].into(),
        "none that costs more than twice the best or an unknown price"
    );
    assert_eq!(firsts(&policy, 1), [""; 0], "one at a time");
    // All are measured. The cheapest was slow when it was last seen; where it used to be fast, it is looked at again.
    let slow = Signal { ttft_ms: Some(9_000_000), ..measured };
    let again = |usual_ms: u32| {
        let usual = Some(Usual { ttft_ms: Some(usual_ms), tpot_us: 10 });
        let signals = |id: TargetId| if id.0 == 1 { Signal { usual, ..slow } } else { measured };
        let decisions = (1..=20_000_u64).map(|n| plan(&policy, &shop, &ask("m"), &signals, Dice(mix(n))));
        decisions.filter(|decision| decision.lead == Lead::Explored).collect::<Vec<_>>()
    };
    let hopeful = again(0);
    assert!((115..285).contains(&hopeful.len()), "{}", hopeful.len());
    assert!(hopeful.iter().all(|decision| names(&shop, decision)[0] == "a/two"));
    assert_eq!(again(8_000_000).len(), 0, "not the best even then");
    let off = compile(&SPEED.replace(" USD\"", " USD\", explore = \"0%\""), &shop);
    assert_eq!(firsts(&off, 0), [""; 0]);
    let cheapest = compile(&SPEED.replace("prefer = { second_is_worth = \"0.000001 USD\" }", ""), &shop);
    assert_eq!(firsts(&cheapest, 0), [""; 0], "speed counts for nothing there");
}

#[test]
fn a_conversation_stays_where_its_prompt_is_cached_while_that_is_the_best() {
    // The market of these tests prices cached tokens as nothing: only output counts at home.
    let mut shop = Shop::default();
    shop.add("a/best", Some(("1", "1")), |_| {});
    shop.add("b/home", Some(("9", "1.5")), |_| {});
    shop.add("c/dear", Some(("1", "9")), |_| {});
    let text = SPEED.replace("second_is_worth = \"0.000001 USD\"", "affinity = \"5m\"");
    let policy = compile(&text, &shop);
    let lead = |policy: &Policy, home: u32, signals: &dyn Fn(TargetId) -> Signal| {
        let decision = plan(policy, &shop, &Ask { home: &|| Some(TargetId(home)), ..ask("m") }, signals, Dice(5));
        (decision.lead, names(&shop, &decision)[0].to_owned())
    };
    assert_eq!(lead(&policy, 1, &cold), (Lead::Affinity, "b/home".to_owned()));
    assert_eq!(lead(&policy, 2, &cold), (Lead::Best, "a/best".to_owned()), "cached, and still dearer");
    assert_eq!(lead(&policy, 9, &cold), (Lead::Best, "a/best".to_owned()), "it is no more");
    let down = |id: TargetId| if id.0 == 1 { down(None) } else { Signal::COLD };
    assert_eq!(lead(&policy, 1, &down), (Lead::Best, "a/best".to_owned()));
    let without = compile(&SPEED.replace("prefer", "#"), &shop);
    assert_eq!(lead(&without, 1, &cold), (Lead::Best, "a/best".to_owned()));
}

#[test]
fn a_second_target_is_within_its_cost_and_fulfils_everything() {
    let mut shop = three();
    shop.add("c/unpriced", None, |_| {});
    let text = SPEED.to_owned() + "attempts = { hedge = { after = \"p95\", max_extra_cost = \"0.003 USD\" } }\n";
    let policy = compile(&text.replace("second_is_worth = \"0.000001 USD\"", "order = \"listed\""), &shop);
    let decision = plan(&policy, &shop, &ask("m"), &cold, Dice(1));
    assert_eq!(names(&shop, &decision), ["a/two", "a/one", "b/one", "c/one", "c/unpriced"]);
    let second = |decision: &Decision, first, made, up: &dyn Fn(&Candidate) -> bool| {
        decision.second(first, made, up, &shop, &cold, NOW).map(|(number, ticket)| (number, ticket.target()))
    };
    assert_eq!(second(&decision, 1, 1, &|_| true), None, "0.004 USD is more than 0.003");
    let roomy = compile(
        &text.replace("0.003", "0.004").replace("second_is_worth = \"0.000001 USD\"", "order = \"listed\""),
        &shop,
    );
    let decision = plan(&roomy, &shop, &ask("m"), &cold, Dice(1));
    assert_eq!(second(&decision, 0, 1, &|_| true), Some((1, TargetId(0))));
    assert_eq!(second(&decision, 0, 1, &|c| c.target.0 > 1), Some((2, TargetId(2))), "one that is down is left out");
    assert_eq!(second(&decision, 0, 3, &|_| true), None, "no more attempts");
    assert_eq!(second(&decision, 4, 1, &|_| true), None);
    let stricter = Decision { requirement: Requirement::parse("processing=FI", &shop).unwrap(), ..decision.clone() };
    assert_eq!(second(&stricter, 0, 1, &|_| true), None, "asked again");
    let unpriced = Decision { admitted: decision.admitted.into_iter().rev().collect(), ..stricter };
    assert_eq!(second(&unpriced, 0, 1, &|_| true), None, "never where the first one's price is not known");
}
