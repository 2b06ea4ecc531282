//! The policies that ship, against the catalogue that ships.

use super::*;
use crate::catalogue::{self, Catalogue, Surroundings};

fn shipped(served: &[&str]) -> (Catalogue, Vec<Policy>) {
    let catalogue = Catalogue::compile(&[], &Surroundings { env: &|_| None, served }).unwrap();
    let compiled = embedded().into_iter().map(|file| {
        let stem = file.name.rsplit('/').next().unwrap().trim_end_matches(".toml");
        Policy::compile(stem, &file.name, &file.text, &catalogue).unwrap_or_else(|problems| {
            panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })
    });
    let compiled = compiled.collect();
    (catalogue, compiled)
}

fn shipped_ask<'a>(model: &'a str, require: &'a Requirement) -> Ask<'a> {
    Ask { principal: Principal { require, ..Principal::ANONYMOUS }, ..ask(model) }
}

#[test]
fn shipped_policies_are_clean_and_keep_what_they_promise() {
    let (catalogue, policies) = shipped(&[]);
    assert_eq!(policies.iter().map(|p| &*p.name).collect::<Vec<_>>(), ["default", "eu-only"]);
    for policy in &policies {
        assert!(policy.warnings.is_empty(), "{:#?}", policy.warnings);
        let outcomes = run_tests(policy, &catalogue, NOW);
        assert!(outcomes.len() >= 5);
        let failed: Vec<_> = outcomes.iter().filter(|o| !o.passed).collect();
        assert!(failed.is_empty(), "{}: {failed:#?}", policy.name);
    }
}

#[test]
fn a_start_without_any_key_answers_under_the_local_names_only() {
    let (catalogue, policies) = shipped(&["smollm2-135m-instruct"]);
    let any = Requirement::ANY;
    for policy in &policies {
        for model in ["local", "small", "smollm2", "smollm2-135m-instruct", "local/smollm2-135m-instruct"] {
            let decision = plan(policy, &catalogue, &shipped_ask(model, &any), &cold, Dice(0));
            let first = catalogue.target(decision.admitted[0].target);
            assert_eq!((&*first.provider, &*first.model), ("local", "smollm2-135m-instruct"), "{model}");
            assert!(decision.admitted[0].expected_cost.is_some() && decision.baseline.is_some());
        }
        for model in ["auto", "reasoning", "o1", "o1-mini", "deepseek-reasoner", "deepseek-r1"] {
            let decision = plan(policy, &catalogue, &shipped_ask(model, &any), &cold, Dice(0));
            assert_eq!(decision.refusal.unwrap().kind.code(), "no_target_available", "{model}");
        }
    }
}

/// The policy by which the language was designed, with its own test.
const DESIGNED: &str = r#"
[[route]]
name = "reasoning"
match = { model = ["auto", "reasoning", "o1", "deepseek-reasoner"] }
when = 'request.input_tokens < 30000 && !("legal" in key.tags)'
targets = ["local/*", "family:deepseek-r1", "openai/o1"]
baseline = { target = "openai/o1@global", price_as_of = 2025-01-31 }
lossy = "refuse"

[route.require]
processing = ["EU", "local"]
operator = ["EU", "US"]
retention_days = 0
training = ["no"]
min_tier = "frontier-reasoning"
max_cost = "0.05 USD"
ttft_p95 = "2s"

[route.prefer]
second_is_worth = "0.002 USD"

[route.attempts]
max = 3
hedge = { after = "p95", max_extra_cost = "0.01 USD" }
timeout = { connect = "5s", first_token = "30s", idle = "60s", total = "15m" }

[[test]]
name = "claims data never leaves the EU"
given = { model = "reasoning", input_tokens = 2000, key = { team = "claims" } }
expect = { first = "local/*", never = ["deepseek/*@cn", "openai/*@us"], max_cost = "0.01 USD" }
"#;

/// The ladder is the operator's: who holds a distilled R1 to be as good as the whole one says so in a file of the overlay.
#[test]
fn the_designed_policy_holds_where_the_local_r1_is_placed_as_high_as_it_asks() {
    let around = Surroundings { env: &|_| None, served: &[] };
    let outcome = |overlay: &[catalogue::SourceFile]| {
        let catalogue = Catalogue::compile(overlay, &around).unwrap();
        let policy = Policy::compile("default", "default.toml", DESIGNED, &catalogue).unwrap();
        run_tests(&policy, &catalogue, NOW).remove(0)
    };
    let refused = outcome(&[]);
    let why = format!("{refused:?}");
    assert!(!refused.passed && why.contains("qwen-7b: tier reasoning is below frontier-reasoning"), "{why}");

    let shipped = catalogue::embedded().into_iter().find(|file| file.name.ends_with("local.toml")).unwrap();
    let (distilled, higher) = ("family = \"deepseek-r1-distill-qwen-7b\"\ntier = \"reasoning\"", "frontier-reasoning");
    assert!(shipped.text.contains(distilled));
    let text = shipped.text.replace(distilled, &distilled.replace("\"reasoning\"", &format!("\"{higher}\"")));
    let placed = outcome(&[catalogue::SourceFile { name: "local.toml".to_owned(), text }]);
    assert!(placed.passed, "{placed:?}");
}

#[test]
fn under_the_eu_policy_nothing_else_is_ever_admitted() {
    let (catalogue, policies) = shipped(&[]);
    let mut targets = catalogue.targets().to_vec();
    targets.iter_mut().for_each(|t| t.configured = true);
    let shop = Open { targets, catalogue: &catalogue };
    let lawful = Countries::parse("EEA").unwrap().with(Country::LOCAL);
    let any = Requirement::ANY;
    let mut admitted = 0;
    let routed = policies[1].model_names().map(str::to_owned);
    let named = catalogue.targets().iter().map(|t| t.name.to_string());
    for model in routed.chain(named).collect::<Vec<_>>() {
        for candidate in plan(&policies[1], &shop, &shipped_ask(&model, &any), &cold, Dice(0)).admitted {
            let facts = &shop.targets[candidate.target.index()].residency;
            let Fact::Known(places) = &facts.processing else { panic!("{model}: unknown place") };
            assert!(places.iter().all(|place| lawful.has(*place)), "{model}");
            for fact in [facts.operator, facts.parent] {
                assert!(matches!(fact, Fact::Known(place) if lawful.has(place)), "{model}");
            }
            admitted += 1;
        }
    }
    assert!(admitted > 10, "the test looked at something");
}

/// The shipped catalogue with everything configured.
struct Open<'a> {
    targets: Vec<Target>,
    catalogue: &'a Catalogue,
}

impl Market for Open<'_> {
    fn targets(&self) -> &[Target] {
        &self.targets
    }

    fn tiers(&self) -> Vec<&str> {
        self.catalogue.tiers()
    }

    fn tier_rank(&self, tier: &str) -> Option<u32> {
        self.catalogue.tier_rank(tier)
    }

    fn providers(&self) -> Vec<&str> {
        Market::providers(self.catalogue)
    }

    fn price(&self, target: &Target, usage: &Usage, at: UnixMillis) -> Option<Money> {
        self.catalogue.price(target, usage, at)
    }
}
