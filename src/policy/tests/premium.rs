//! What residency costs, at the same tokens.

use super::*;
use crate::domain::target::Expectation;
use crate::policy::premium;

const ANY: &str =
    "[[route]]\nname = \"r\"\nmatch = { model = [\"auto\"] }\ntargets = [\"family:deepseek-r1\", \"openai/*\"]\n";

fn of(shop: &Shop, require: &str, edit: impl FnOnce(&mut Ask<'_>)) -> Option<(String, Option<String>)> {
    let policy = compile(ANY, shop);
    let require = Requirement::parse(require, shop).unwrap();
    let mut it = Ask { require: &require, ..ask("auto") };
    edit(&mut it);
    let decision = plan(&policy, shop, &it, &cold, Dice(0));
    let found = premium(&decision, shop, &it)?;
    let name = |id: TargetId| shop.targets[id.index()].name.to_string();
    Some((found.over.to_string(), found.cheapest.map(name)))
}

#[test]
fn the_cheapest_that_residency_keeps_out_is_compared_at_the_same_tokens() {
    let mut shop = shop();
    // 1000 in, 1000 out: Finland 0.0032, China 0.00274, the local one nothing.
    let local = Some("local/r1-7b".to_owned());
    assert_eq!(of(&shop, "processing=FI", |_| {}), Some(("0.0032".to_owned(), local.clone())));
    shop.targets[0].configured = false;
    let cn = Some("deepseek/deepseek-reasoner@cn".to_owned());
    assert_eq!(of(&shop, "processing=FI", |_| {}), Some(("0.00046".to_owned(), cn)));
    assert_eq!(of(&shop, "processing=CN,FI", |_| {}), Some(("0.00".to_owned(), None)), "what is dearer is no premium");
    assert_eq!(of(&shop, "", |_| {}), None, "nothing is asked of residency");
    assert_eq!(of(&shop, "processing=IS", |_| {}), None, "nothing is admitted");
}

#[test]
fn what_could_not_have_answered_is_not_compared_with() {
    let shop = shop();
    // 20,000 tokens do not fit the local model; tools only one target has.
    let cn = Some("deepseek/deepseek-reasoner@cn".to_owned());
    let long = |it: &mut Ask<'_>| it.input_tokens = 20_000;
    assert_eq!(of(&shop, "processing=FI", long).unwrap().1, cn);
    let tools = |it: &mut Ask<'_>| it.needs = Capabilities::NONE.with(Capability::Tools);
    assert_eq!(of(&shop, "processing=DE", tools), Some(("0.00".to_owned(), None)));
    let tier = of(&shop, "processing=DE; min_tier=frontier-reasoning", |_| {});
    assert_eq!(tier, Some(("0.00".to_owned(), None)), "a lower rung is no alternative");
}

/// Counted at twice the estimate.
fn learned(_: &str, _: &Target) -> Expectation {
    Expectation { input_ppm: 2_000_000, ..Expectation::UNKNOWN }
}

#[test]
fn what_was_learned_of_a_prompt_counts_at_both_targets() {
    let mut shop = shop();
    shop.targets[0].configured = false;
    let found = of(&shop, "processing=FI", |it| it.expect = &learned).unwrap();
    // 2000 in, 1000 out: Finland 0.004, China 0.00329.
    assert_eq!(found.0, "0.00071");
}
