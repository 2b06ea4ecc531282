//! Properties of the algebra and the planner over generated markets.

use proptest::prelude::*;

use super::*;
use crate::domain::target::Usual;

const PLACES: [&str; 6] = ["DE", "FI", "US", "CN", "GB", "local"];

#[derive(Clone, Debug)]
struct Made {
    place: Vec<usize>,
    operator: Option<usize>,
    parent: Option<usize>,
    retention: Option<u32>,
    training: Option<Training>,
    guarantee: Option<Guarantee>,
    stale: bool,
    tier: Option<usize>,
    price: Option<u32>,
    context: Option<u64>,
    tools: bool,
    configured: bool,
    retired: bool,
    native: bool,
    down: bool,
    in_flight: u32,
    ttft: Option<u32>,
}

fn made() -> impl Strategy<Value = Made> {
    let place = proptest::collection::vec(0..PLACES.len(), 0..3);
    let maybe = || proptest::option::weighted(0.85, 0..PLACES.len());
    let training = proptest::option::of(proptest::sample::select(vec![Training::No, Training::OptOut, Training::Yes]));
    let guarantee = proptest::option::of(proptest::sample::select(vec![
        Guarantee::None,
        Guarantee::Documented,
        Guarantee::Contract,
    ]));
    let rare = || proptest::bool::weighted(0.1);
    (
        (place, maybe(), maybe(), proptest::option::of(0..3_u32), training, guarantee, rare()),
        (proptest::option::of(0..TIERS.len()), proptest::option::weighted(0.8, 0..50_u32)),
        (proptest::option::of(500..5_000_u64), any::<bool>(), proptest::bool::weighted(0.9), rare(), any::<bool>()),
        (proptest::bool::weighted(0.2), 0..5_u32, proptest::option::of(0..5_000_u32)),
    )
        .prop_map(
            |(facts, (tier, price), (context, tools, configured, retired, native), (down, in_flight, ttft))| {
                let (place, operator, parent, retention, training, guarantee, stale) = facts;
                Made {
                    place,
                    operator,
                    parent,
                    retention,
                    training,
                    guarantee,
                    stale,
                    tier,
                    price,
                    context,
                    tools,
                    configured,
                    retired,
                    native,
                    down,
                    in_flight,
                    ttft,
                }
            },
        )
}

fn fact<T>(value: Option<T>) -> Fact<T> {
    value.map_or(Fact::Unknown, Fact::Known)
}

fn build(all: &[Made]) -> Shop {
    let mut shop = Shop::default();
    for (number, made) in all.iter().enumerate() {
        let name = format!("p{}/m{number}", number % 3);
        let price = made.price.map(|p| p.to_string());
        shop.add(&name, price.as_deref().map(|p| (p, p)), |t| {
            let places: Vec<Country> = made.place.iter().map(|p| country(PLACES[*p])).collect();
            t.residency = Arc::new(Residency {
                processing: Fact::Known(places.into()),
                operator: fact(made.operator.map(|p| country(PLACES[p]))),
                parent: fact(made.parent.map(|p| country(PLACES[p]))),
                guarantee: fact(made.guarantee),
                retention_days: fact(made.retention),
                training: fact(made.training),
                expires: made.stale.then_some(NOW),
            });
            t.tier = made.tier.map(|n| TIERS[n].into());
            t.context = made.context;
            t.configured = made.configured;
            t.available_to = made.retired.then_some(NOW);
            if made.tools {
                t.supports = t.supports.with(Capability::Tools);
            }
            if made.native {
                t.dialect = DialectId::Native;
            }
        });
    }
    shop
}

/// Sparse, so that it is often one part alone that decides: full ones are failed by nearly everything, for many reasons.
fn requirement() -> impl Strategy<Value = Requirement> {
    let set = || {
        proptest::option::weighted(
            0.25,
            proptest::sample::subsequence(PLACES.to_vec(), 1..=PLACES.len())
                .prop_map(|codes| codes.into_iter().map(country).fold(Countries::NONE, Countries::with)),
        )
    };
    let training = proptest::option::weighted(
        0.25,
        proptest::sample::subsequence(vec![Training::No, Training::OptOut, Training::Yes], 1..=3),
    )
    .prop_map(|t| t.map(|t| t.into_iter().fold(TrainingSet::NONE, TrainingSet::with)));
    let guarantee =
        proptest::option::weighted(0.25, proptest::sample::select(vec![Guarantee::Documented, Guarantee::Contract]));
    let tier = proptest::option::weighted(0.25, 0..TIERS.len())
        .prop_map(|t| t.map(|n| Tier { rank: u32::try_from(n).unwrap(), name: TIERS[n].into() }));
    let cost =
        proptest::option::weighted(0.25, 0..60_000_i128).prop_map(|c| c.map(|c| Money::from_pico(c * 1_000_000)));
    let days = proptest::option::weighted(0.25, 0..3_u32);
    let speed = (proptest::option::weighted(0.25, 0..5_000_u32), proptest::bool::weighted(0.1));
    (set(), set(), set(), days, training, guarantee, tier, cost, speed).prop_map(
        |(processing, operator, parent, retention_days, training, min_guarantee, min_tier, max_cost, speed)| {
            Requirement {
                ttft_p95_ms: speed.0,
                measured_only: speed.1,
                processing,
                operator,
                parent,
                retention_days,
                training,
                min_guarantee,
                min_tier,
                max_cost,
            }
        },
    )
}

/// The rules again, written as plainly as possible and sharing no code with the planner.
fn oracle(target: &Target, requirement: &Requirement, cost: Option<Money>, p95: (Option<u32>, bool)) -> bool {
    let facts = &target.residency;
    let fresh = facts.expires.is_none_or(|e| e.0 > NOW.0);
    let known = |fact: &Fact<Country>, allowed: &Option<Countries>| match (allowed, fact) {
        (None, _) => true,
        (Some(allowed), Fact::Known(c)) => fresh && (*c == Country::LOCAL || allowed.iter().any(|a| a == *c)),
        (Some(_), Fact::Unknown) => false,
    };
    let processing = match (&requirement.processing, &facts.processing) {
        (None, _) => true,
        (Some(allowed), Fact::Known(places)) => {
            fresh && !places.is_empty() && places.iter().all(|p| allowed.iter().any(|a| a == *p))
        }
        (Some(_), Fact::Unknown) => false,
    };
    let retention = match (requirement.retention_days, facts.retention_days) {
        (None, _) => true,
        (Some(most), Fact::Known(days)) => fresh && days <= most,
        (Some(_), Fact::Unknown) => false,
    };
    let training = match (requirement.training, facts.training) {
        (None, _) => true,
        (Some(set), Fact::Known(t)) => fresh && set.has(t),
        (Some(_), Fact::Unknown) => false,
    };
    let guarantee = match (requirement.min_guarantee, facts.guarantee) {
        (None, _) => true,
        (Some(least), Fact::Known(g)) => fresh && g as u8 >= least as u8,
        (Some(_), Fact::Unknown) => false,
    };
    let tier = requirement.min_tier.as_ref().is_none_or(|needed| {
        target
            .tier
            .as_deref()
            .and_then(|t| TIERS.iter().position(|n| *n == t))
            .is_some_and(|p| p >= needed.rank as usize)
    });
    let price = requirement.max_cost.is_none_or(|limit| cost.is_some_and(|cost| cost <= limit));
    let (p95, old) = p95;
    let speed = match (p95, requirement.ttft_p95_ms) {
        (None, _) => !requirement.measured_only,
        (Some(_), None) => true,
        // What is old counts as not measured, for one request at a time.
        (Some(p95), Some(limit)) => p95 <= limit || old,
    };
    let service = target.available_to.is_none_or(|to| to.0 > NOW.0);
    processing
        && known(&facts.operator, &requirement.operator)
        && known(&facts.parent, &requirement.parent)
        && retention
        && training
        && guarantee
        && tier
        && price
        && speed
        && service
}

const PREFER: [&str; 5] = [
    "{}",
    "{ order = \"listed\" }",
    "{ second_is_worth = \"inf\" }",
    "{ second_is_worth = \"0.001 USD\" }",
    "{ order = \"weighted\", weights = { \"p*/*\" = 3 } }",
];

/// At least so many; more where the environment asks for more.
fn cases() -> u32 {
    ProptestConfig::default().cases.max(5_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn narrowing_only_narrows(a in requirement(), b in requirement(), c in requirement(), one in made()) {
        let signal = Signal { ttft_p95_ms: one.ttft, ..Signal::COLD };
        let shop = build(&[one]);
        let target = &shop.targets[0];
        let cost = shop.price(target, &Usage::ZERO.with(Bucket::Input, 1_000), NOW);
        let fulfils = |r: &Requirement| {
            let now = r.check_cost(cost).is_ok() && r.check_speed(&signal).is_ok();
            r.check(target, &shop, NOW).is_ok() && now
        };
        let both = a.narrow(&b);
        prop_assert_eq!(fulfils(&both), fulfils(&a) && fulfils(&b));
        prop_assert_eq!(&both, &b.narrow(&a));
        prop_assert_eq!(both.narrow(&c), a.narrow(&b.narrow(&c)));
        prop_assert_eq!(&a.narrow(&a), &a);
        prop_assert_eq!(&a.narrow(&Requirement::ANY), &a);
    }

    #[test]
    fn requirements_read_back_from_their_text(a in requirement()) {
        let shop = Shop::default();
        // An operator without a parent has no text form: written alone it sets both.
        let a = Requirement { parent: a.parent.or(a.operator), ..a };
        prop_assert_eq!(Requirement::parse(&a.to_string(), &shop).unwrap(), a);
    }

    #[test]
    fn decisions_keep_every_promise(
        all in proptest::collection::vec(made(), 1..9),
        rules in (requirement(), requirement(), requirement()),
        loose in any::<(bool, bool, bool)>(),
        shape in (0..5_usize, 1..5_u8, 1..3_000_u64, proptest::option::of(1..2_000_u64), any::<bool>(), any::<bool>()),
        dice in any::<u64>(),
    ) {
        let shop = build(&all);
        let (prefer, attempts, input_tokens, max_output, tools, odd_parameter) = shape;
        let (mut of_route, mut of_key, of_request) = rules;
        // Three full requirements leave hardly ever a target; often only one or two apply.
        if loose.0 { of_route = Requirement::ANY; }
        if loose.1 { of_key = Requirement::ANY; }
        let text = format!(
            "[[route]]\nname = \"r\"\nmatch = {{ model = [\"m\"] }}\ntargets = [\"p*/*\"]\nprefer = {}\nattempts = {{ max = {attempts} }}\n",
            PREFER[prefer]
        );
        let mut policy = compile(&text, &shop);
        policy.routes[0].require = of_route.clone();
        if loose.2 {
            policy.routes[0].canary = Some(Canary { target: TargetId(0), share: Share::parse("50%").unwrap(), sticky: Sticky::None });
        }
        let inexpressible = |dialect: DialectId| {
            if odd_parameter && dialect == DialectId::Native { vec!["odd".to_owned()] } else { Vec::new() }
        };
        let needs = if tools { Capabilities::NONE.with(Capability::Tools) } else { Capabilities::NONE };
        let principal = Principal { require: &of_key, ..Principal::ANONYMOUS };
        let it = Ask { input_tokens, max_output, needs, inexpressible: &inexpressible, principal, require: &of_request, ..ask("m") };
        let signals = |id: TargetId| {
            let made = &all[id.index()];
            let state = if made.down { Health::Down { until: None, rest: Rest::Firm } } else { Health::Up };
            Signal { state, ttft_ms: made.ttft, ttft_p95_ms: made.ttft, p95_old: made.in_flight == 0, tpot_us: made.ttft, usual: made.ttft.map(|ms| Usual { ttft_ms: Some(ms / 2), tpot_us: ms / 2 }), in_flight: made.in_flight, crowd_permille: 1_000, own_key: false }
        };
        let decision = plan(&policy, &shop, &it, &signals, Dice(dice));

        prop_assert_eq!(&plan(&policy, &shop, &it, &signals, Dice(dice)), &decision, "deterministic");
        prop_assert!(decision.attempts().len() <= usize::from(attempts));
        let mut seen: Vec<u32> = decision.admitted.iter().map(|c| c.target.0).chain(decision.rejected.iter().map(|r| r.target.0)).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..u32::try_from(all.len()).unwrap()).collect::<Vec<_>>(), "each candidate exactly once");
        prop_assert_eq!(decision.refusal.is_some(), decision.admitted.is_empty());

        for target in &shop.targets {
            let made = &all[target.id.index()];
            let output = 1_000.min(max_output.unwrap_or(u64::MAX)).min(target.context.map_or(u64::MAX, |c| {
                if max_output.is_some() { u64::MAX } else { c.saturating_sub(input_tokens) }
            }));
            let usage = Usage::ZERO.with(Bucket::Input, input_tokens).with(Bucket::Output, output);
            let cost = shop.price(target, &usage, NOW);
            let all = [&of_route, &of_key, &of_request];
            let old = made.in_flight == 0 && !all.iter().any(|r| r.measured_only);
            let lawful = all.into_iter().all(|r| oracle(target, r, cost, (made.ttft, old)));
            let carries = (!tools || made.tools)
                && !(odd_parameter && made.native)
                && target.context.is_none_or(|c| input_tokens + max_output.unwrap_or(1) <= c);
            let admitted = decision.admitted.iter().find(|c| c.target == target.id);
            prop_assert_eq!(admitted.is_some(), lawful && carries && made.configured && !made.down, "{:?}", target);
            if let Some(candidate) = admitted {
                prop_assert_eq!(candidate.expected_cost, cost);
            }
        }
        for attempt in 0..decision.attempts().len() {
            prop_assert!(decision.ticket(attempt, u8::try_from(attempt).unwrap(), &shop, &signals, NOW).is_ok());
        }
        prop_assert!(decision.ticket(decision.attempts().len(), u8::try_from(decision.attempts().len()).unwrap(), &shop, &signals, NOW).is_err());
    }

    #[test]
    fn the_order_follows_the_score(all in proptest::collection::vec(made(), 2..9), prefer in 0..5_usize, dice in any::<u64>()) {
        let shop = build(&all);
        let text = format!(
            "[[route]]\nname = \"r\"\nmatch = {{ model = [\"m\"] }}\ntargets = [\"p2/*\", \"p0/*\", \"*/*\"]\nprefer = {}\n", PREFER[prefer]
        );
        let Ok(policy) = Policy::compile("p", "p", &text, &shop) else { return Ok(()) };
        let it = Ask { input_tokens: 100, ..ask("m") };
        let decision = plan(&policy, &shop, &it, &|id| Signal { ttft_ms: all[id.index()].ttft, ..Signal::COLD }, Dice(dice));
        let scores: Vec<i128> = decision.admitted.iter().map(|c| c.score.unwrap_or(i128::MAX)).collect();
        if let Some((lead, rest)) = scores.split_first() {
            prop_assert!(rest.is_sorted());
            let best = *scores.iter().min().unwrap();
            prop_assert!(*lead == best || *lead <= best + best / 20, "{:?}", scores);
        }
    }

    #[test]
    fn no_text_breaks_the_readers(text in "\\PC{0,60}", file in "[\\[\\]a-z =\"{},\n0-9*@/:.-]{0,120}") {
        let shop = Shop::default();
        let _ = Requirement::parse(&text, &shop);
        let _ = Pattern::parse(&text);
        let _ = Policy::compile("p", "p", &text, &shop);
        let _ = Policy::compile("p", "p", &file, &shop);
    }
}
