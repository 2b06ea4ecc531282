//! Shadows: decided like everything else, and drawn.

use super::*;

fn route(shadow: &str) -> String {
    format!(
        "[[route]]\nname = \"r\"\nmatch = {{ model = [\"auto\"] }}\ntargets = [\"nebius/*\"]\n\
         shadow = {{ target = \"deepseek/*\", {shadow} }}\n"
    )
}

fn shadowed(shop: &Shop, policy: &Policy, ask: &Ask<'_>, dice: u64) -> Option<String> {
    let decision = plan(policy, shop, ask, &cold, Dice(dice));
    decision.shadow.map(|shadow| shop.targets[shadow.target.index()].name.to_string())
}

#[test]
fn about_so_many_requests_are_drawn_and_none_without_a_throw() {
    let shop = shop();
    let policy = compile(&route("sample = 0.02, max_cost = \"5 USD/day\""), &shop);
    assert_eq!(
        policy.routes[0].shadow.map(|s| (s.sample_ppm, s.per_day.to_string())),
        Some((20_000, "5.00".to_owned()))
    );
    let it = ask("auto");
    let drawn =
        (1..=50_000_u64).filter(|n| shadowed(&shop, &policy, &it, n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).is_some());
    let drawn = drawn.count();
    // 1000 are expected; five standard deviations are 157.
    assert!((843..=1157).contains(&drawn), "{drawn}");
    let all = compile(&route("sample = 1.0, max_cost = \"5 USD/day\""), &shop);
    assert_eq!(shadowed(&shop, &all, &it, 0), None, "explaining draws nothing");
    assert_eq!(shadowed(&shop, &all, &it, 7).as_deref(), Some("deepseek/deepseek-reasoner@cn"));
}

#[test]
fn a_shadow_fulfils_what_its_request_requires_and_has_a_price() {
    let mut shop = shop();
    let policy = compile(&route("sample = 1.0, max_cost = \"5 USD/day\""), &shop);
    let eu = Requirement::parse("processing=EU", &shop).unwrap();
    let it = ask("auto");
    assert!(shadowed(&shop, &policy, &it, 7).is_some());
    assert_eq!(shadowed(&shop, &policy, &Ask { require: &eu, ..it }, 7), None, "a shadow is no way around residency");
    let tools = Capabilities::NONE.with(Capability::Tools);
    assert_eq!(shadowed(&shop, &policy, &Ask { needs: tools, ..it }, 7), None);
    let cheap = Requirement::parse("max_cost=0.001 USD", &shop).unwrap();
    assert_eq!(shadowed(&shop, &policy, &Ask { require: &cheap, ..it }, 7), None);
    let decision = plan(&policy, &shop, &it, &|_| down(None), Dice(7));
    assert_eq!(decision.shadow, None, "it is down");
    shop.prices[1] = None;
    assert_eq!(shadowed(&shop, &policy, &it, 7), None, "an unknown price is never zero");
}

#[test]
fn a_ticket_looks_at_the_shadow_again() {
    let mut shop = shop();
    let policy = compile(&route("sample = 1.0, max_cost = \"5 USD/day\""), &shop);
    let cn = Requirement::parse("processing=CN,FI", &shop).unwrap();
    let decision = plan(&policy, &shop, &Ask { require: &cn, ..ask("auto") }, &cold, Dice(7));
    assert_eq!(decision.shadow_ticket(&shop, NOW).unwrap().target(), TargetId(1));
    shop.targets[1].residency = Arc::new(facts("US"));
    assert!(matches!(decision.shadow_ticket(&shop, NOW), Err(Some(Reason::Processing { .. }))));
    let without = Decision { shadow: None, ..decision };
    assert_eq!(without.shadow_ticket(&shop, NOW), Err(None));
}

#[test]
fn mistakes_are_reported_where_they_are() {
    let shop = shop();
    for (shadow, expected) in [
        ("sample = 0.0, max_cost = \"5 USD/day\"", "is no share"),
        ("sample = 1.5, max_cost = \"5 USD/day\"", "is no share"),
        ("sample = 0.1, max_cost = \"5 USD\"", "USD/day"),
        ("sample = 0.1, max_cost = \"5 EUR/day\"", "EUR"),
        ("sample = 0.1", "max_cost"),
    ] {
        let found = problems(&route(shadow), &shop);
        assert!(found.iter().any(|p| p.contains(expected)), "{shadow}: {found:?}");
    }
    let many = route("sample = 0.1, max_cost = \"5 USD/day\"").replace("deepseek/*", "openai/*");
    assert!(problems(&many, &shop)[0].contains("one target"), "{:?}", problems(&many, &shop));
    let none = route("sample = 0.1, max_cost = \"5 USD/day\"").replace("deepseek/*", "deepsek/x");
    assert!(problems(&none, &shop)[0].contains("matches no target"), "{:?}", problems(&none, &shop));
}

#[test]
fn the_worst_case_is_every_byte_a_token_and_the_whole_answer() {
    let mut shop = shop();
    let policy = compile(&route("sample = 1.0, max_cost = \"5 USD/day\""), &shop);
    let decision = plan(&policy, &shop, &Ask { max_output: Some(4_000), ..ask("auto") }, &cold, Dice(7));
    let shadow = decision.shadow.unwrap();
    assert_eq!((shadow.max_output, shadow.expected_output), (Some(4_000), 1_000));
    let most = |shop: &Shop, bytes: usize, needs: Capabilities, choices: u32, each: u64| {
        Worst::of(&decision, shop, (bytes, needs, choices), [NOW, NOW]).and_then(|worst| worst.cost(each))
    };
    let usd = |text: &str| Some(Money::parse(text).unwrap());
    let text = Capabilities::NONE;
    assert_eq!(most(&shop, 9_000, text, 1, 4_000), usd("0.01426"), "10,000 tokens at 0.55, 4,000 at 2.19");
    assert_eq!(most(&shop, 9_000, text, 3, 4_000), usd("0.03178"), "three answers, one prompt");
    assert_eq!(most(&shop, 10_000_000, text, 1, 0), usd("0.055"), "no more than the context");
    let image = text.with(Capability::Image);
    assert_eq!(most(&shop, 10, image, 1, 0), usd("0.055"), "nobody knows how many tokens an image is");
    let worst = Worst::of(&decision, &shop, (9_000, text, 1), [NOW, NOW]).unwrap();
    let within = |left: &str| worst.within(usd(left).unwrap(), 4_000, 1_000).map(|(each, _)| each);
    assert_eq!((within("1"), within("0.01426"), within("0.01425")), (Some(4_000), Some(4_000), Some(3_995)));
    assert_eq!((within("0.00769"), within("0.007689")), (Some(1_000), None));
    shop.targets[1].context = None;
    assert_eq!((most(&shop, 10, image, 1, 0), most(&shop, 9_000, text, 1, 0)), (None, usd("0.0055")));
    shop.prices[1] = None;
    assert_eq!(most(&shop, 10, text, 1, 0), None);
}
