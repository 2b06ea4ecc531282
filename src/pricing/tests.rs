//! The acceptance figures of the mission and of the price research, on the shipped catalogue.

use proptest::prelude::*;

use super::*;
use crate::catalogue::{Catalogue, Surroundings};
use crate::domain::target::Target;

fn catalogue() -> Catalogue {
    Catalogue::compile(&[], &Surroundings { env: &|_| None, served: &[] }).unwrap()
}

fn at(text: &str) -> When {
    When::at(UnixMillis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond()))
}

fn target<'a>(catalogue: &'a Catalogue, name: &str) -> &'a Target {
    catalogue.exactly(name).unwrap_or_else(|| panic!("{name} is in the catalogue"))
}

fn usd(catalogue: &Catalogue, name: &str, when: &str, usage: &Usage) -> Option<Money> {
    price(usage, &target(catalogue, name).prices, at(when), catalogue.fx()).usd()
}

fn million_each() -> Usage {
    Usage::ZERO.with(Bucket::Input, 1_000_000).with(Bucket::Output, 1_000_000)
}

/// The worked day: 1,000 requests.
fn worked_day() -> Usage {
    Usage::ZERO.with(Bucket::Input, 1_200_000).with(Bucket::CacheRead, 800_000).with(Bucket::Output, 3_500_001)
}

const R1: &str = "deepseek/deepseek-reasoner";
const O1: &str = "openai/o1@global";

#[test]
fn the_ratios_are_exact() {
    let catalogue = catalogue();
    let when = at("2025-01-28T12:00:00Z").start;
    let rates = |name| *target(&catalogue, name).prices.at((when, when), 0, ServiceTier::Standard).unwrap().rates;
    let (r1, o1) = (rates(R1), rates(O1));
    let ratio = |bucket| {
        let nanos = |rates: &Rates| i128::from(rate(rates, bucket).unwrap().nanos_per_million());
        (nanos(&o1), nanos(&r1))
    };
    // As exact rationals: 15/0.55 = 300/11, 60/2.19 = 2000/73, 7.5/0.14 = 375/7.
    for (bucket, (n, d)) in [(Bucket::Input, (300, 11)), (Bucket::Output, (2000, 73)), (Bucket::CacheRead, (375, 7))] {
        let (a, b) = ratio(bucket);
        assert_eq!(a * d, b * n, "{bucket:?}");
    }
}

#[test]
fn a_million_in_and_out_in_january_2025() {
    let catalogue = catalogue();
    let r1 = usd(&catalogue, R1, "2025-01-28T12:00:00Z", &million_each()).unwrap();
    let o1 = usd(&catalogue, O1, "2025-01-28T12:00:00Z", &million_each()).unwrap();
    let saved = o1.checked_sub(r1).unwrap();
    assert_eq!(
        (r1.to_fixed(6), o1.to_fixed(6), saved.to_fixed(6)),
        ("2.740000".into(), "75.000000".into(), "72.260000".into())
    );
    // 72.26 / 75 = 96.3466… %, 75 / 2.74 = 27.37…
    assert_eq!(saved.pico() * 1000 / o1.pico(), 963);
    assert_eq!(o1.pico() * 100 / r1.pico(), 2737);
}

#[test]
fn the_worked_day_to_the_last_pico() {
    let catalogue = catalogue();
    let when = "2025-02-03T12:00:00Z";
    let r1 = usd(&catalogue, R1, when, &worked_day()).unwrap();
    let o1 = usd(&catalogue, O1, when, &worked_day()).unwrap();
    assert_eq!((r1.to_string(), o1.to_string()), ("8.43700219".into(), "234.00006".into()));
    assert_eq!(o1.checked_sub(r1).unwrap().to_string(), "225.56305781");
    let moment = at(when).start;
    let book = &target(&catalogue, R1).prices;
    let quote = book.at((moment, moment), 2_000_000, ServiceTier::Standard).unwrap();
    let usage = worked_day();
    let parts: Vec<String> = lines(&usage, &quote).map(|(_, _, _, amount)| amount.unwrap().to_string()).collect();
    assert_eq!(parts, ["0.66", "0.112", "7.66500219"]);
}

#[test]
fn the_baseline_with_half_and_one_and_a_half_times_the_output() {
    let catalogue = catalogue();
    let when = at("2025-02-03T12:00:00Z");
    let usage = worked_day();
    let output = Usage::ZERO.with(Bucket::Output, usage.get(Bucket::Output));
    let input =
        Usage::ZERO.with(Bucket::Input, usage.get(Bucket::Input)).with(Bucket::CacheRead, usage.get(Bucket::CacheRead));
    let book = &target(&catalogue, O1).prices;
    let part =
        |part: &Usage| price_part(part, usage.input_tokens(), false, book, when, catalogue.fx()).usd().unwrap().pico();
    let at_factor = |tenths: i128| Money::from_pico(part(&input) + part(&output) * tenths / 10).to_string();
    assert_eq!([at_factor(5), at_factor(10), at_factor(15)], ["129.00003", "234.00006", "339.00009"]);
}

#[test]
fn the_same_day_in_the_eu_and_the_residency_premium() {
    let catalogue = catalogue();
    let when = "2025-02-03T12:00:00Z";
    let o1 = usd(&catalogue, "azure/o1@datazone-eu", when, &worked_day()).unwrap();
    let nebius = usd(&catalogue, "nebius/deepseek-ai/DeepSeek-R1-0528", when, &worked_day()).unwrap();
    let azure = usd(&catalogue, "azure/DeepSeek-R1@global", when, &worked_day()).unwrap();
    let cheapest = usd(&catalogue, R1, when, &worked_day()).unwrap();
    assert_eq!((o1.to_string(), nebius.to_string()), ("257.400066".into(), "10.0000024".into()));
    assert_eq!(o1.checked_sub(nebius).unwrap().to_string(), "247.4000636");
    assert_eq!(nebius.checked_sub(cheapest).unwrap().to_string(), "1.56300021", "the premium of staying in the EU");
    assert_eq!(azure.to_string(), "21.6000054");
}

#[test]
fn time_boundaries_of_r1() {
    let catalogue = catalogue();
    let cost = |when| usd(&catalogue, R1, when, &million_each()).unwrap().to_string();
    let cases = [
        ("2025-02-10T20:00:00Z", "2.74"),
        ("2025-02-26T16:29:59Z", "2.74"),
        ("2025-02-26T16:30:00Z", "0.685"),
        ("2025-03-01T00:29:59Z", "0.685"),
        ("2025-03-01T00:30:00Z", "2.74"),
        ("2025-09-05T15:59:59Z", "2.74"),
        ("2025-09-05T16:00:00Z", "2.24"),
        ("2025-09-05T17:00:00Z", "2.24"),
    ];
    for (when, expected) in cases {
        assert_eq!(cost(when), expected, "{when}");
    }
}

#[test]
fn peak_hours_hold_on_weekdays_only() {
    let catalogue = catalogue();
    let cost = |when| usd(&catalogue, "deepseek/deepseek-v4-pro", when, &million_each()).unwrap().to_string();
    assert_eq!(cost("2026-09-21T02:00:00Z"), "5.28");
    assert_eq!(cost("2026-09-21T04:00:00Z"), "2.64");
    assert_eq!(cost("2026-09-19T02:00:00Z"), "2.64", "a Saturday");
}

#[test]
fn a_large_prompt_is_priced_anew_as_a_whole() {
    let catalogue = catalogue();
    let cost = |tokens| {
        let usage = Usage::ZERO.with(Bucket::Input, tokens);
        usd(&catalogue, "openai/gpt-6-sol@global", "2026-11-24T00:00:00Z", &usage).unwrap().to_string()
    };
    assert_eq!((cost(272_000), cost(272_001)), ("0.544".into(), "1.088004".into()));
}

#[test]
fn unknown_is_never_zero() {
    let catalogue = catalogue();
    let charge = |name: &str, usage: &Usage| {
        price(usage, &target(&catalogue, name).prices, at("2026-11-24T00:00:00Z"), catalogue.fx())
    };
    assert_eq!(charge("openrouter/*", &million_each()), Charge::Unpriced(Unpriced::NoPeriod));
    let audio = Usage::ZERO.with(Bucket::InputAudio, 1);
    assert_eq!(charge("openai/gpt-5@global", &audio), Charge::Unpriced(Unpriced::NoRate(Bucket::InputAudio)));
    let Charge::Unpriced(Unpriced::NoExchangeRate(currency)) =
        charge("scaleway/llama-3.3-70b-instruct", &million_each())
    else {
        panic!("a price in EUR without a rate is unknown")
    };
    assert_eq!(currency.code(), "EUR");
    let before = price(&million_each(), &target(&catalogue, R1).prices, at("2024-01-01T00:00:00Z"), catalogue.fx());
    assert_eq!(before, Charge::Unpriced(Unpriced::NoPeriod));
}

#[test]
fn another_currency_is_kept_beside_the_dollars() {
    let catalogue = catalogue();
    let usage = Usage::ZERO.with(Bucket::Input, 1_000_000);
    let when = at("2026-11-24T00:00:00Z");
    let fx = Fx {
        rates: vec![FxRate { currency: Currency::parse("EUR").unwrap(), from: UnixMillis(0), nanos: 1_040_000_000 }],
    };
    let charge = price(&usage, &target(&catalogue, "scaleway/llama-3.3-70b-instruct").prices, when, &fx);
    let Charge::Priced(priced) = charge else { panic!("priced") };
    assert_eq!((priced.usd.to_string(), priced.original.unwrap().0.to_string()), ("0.936".into(), "0.90".into()));
}

proptest! {
    #[test]
    fn cost_is_never_negative_grows_with_use_and_is_the_sum_of_its_lines(
        input in 0_u64..10_000_000, cached in 0_u64..10_000_000, output in 0_u64..10_000_000, more in 0_u64..1_000_000
    ) {
        let catalogue = catalogue();
        let when = at("2025-02-03T12:00:00Z");
        let book = &target(&catalogue, R1).prices;
        let usage = Usage::ZERO.with(Bucket::Input, input).with(Bucket::CacheRead, cached).with(Bucket::Output, output);
        let cost = price(&usage, book, when, catalogue.fx()).usd().unwrap();
        let grown = price(&usage.with(Bucket::Reasoning, more), book, when, catalogue.fx()).usd().unwrap();
        prop_assert!(cost >= Money::ZERO && grown >= cost);
        let quote = book.at((when.start, when.end), usage.input_tokens(), ServiceTier::Standard).unwrap();
        let sum = lines(&usage, &quote).map(|(_, _, _, amount)| amount.unwrap().pico()).sum::<i128>();
        prop_assert_eq!(sum, cost.pico());
    }
}

#[test]
fn a_tier_of_service_has_its_own_price_or_none() {
    let price_of = |more: &str| {
        let service = "[[model.price.service]]\n    name = \"flex\"\n    input = \"1\"\n    output = \"2\"";
        format!(
            "name = \"x\"\ntitle = \"x\"\ndialect = \"openai-chat\"\nauth = {{ scheme = \"none\" }}\n[[endpoint]]\nname = \"e\"\n\
             source = \"s\"\nchecked = 2026-01-01\n[[model]]\nid = \"m\"\n  [[model.price]]\n  from = 2026-01-01\n  input = \"10\"\n  \
             cache_read = \"5\"\n  output = \"20\"\n  source = \"s\"\n  checked = 2026-01-01\n    {service}\n{more}"
        )
    };
    let compiled = |text: &str| {
        let file = crate::catalogue::SourceFile { name: "providers/x.toml".into(), text: text.to_owned() };
        Catalogue::compile(&[file], &Surroundings { env: &|_| None, served: &[] })
    };
    let charge = |more: &str, service, usage: Usage| {
        let catalogue = compiled(&price_of(more)).unwrap();
        let when = When { service, ..at("2026-06-01T12:00:00Z") };
        match price(&usage, &target(&catalogue, "x/m").prices, when, catalogue.fx()) {
            Charge::Priced(priced) => Ok((priced.usd.to_string(), priced.price_id.to_string())),
            Charge::Unpriced(why) => Err(why),
        }
    };
    let million = |bucket| Usage::ZERO.with(bucket, 1_000_000);
    let flex = |more: &str, usage| charge(more, ServiceTier::Flex, usage);
    let named = |cost: &str, id: &str| Ok((Money::parse(cost).unwrap().to_string(), format!("x/m@e#2026-01-01{id}")));
    assert_eq!(charge("", ServiceTier::Standard, million(Bucket::Input)), named("10", ""));
    assert_eq!(flex("", million(Bucket::Input)), named("1", "+flex"));
    assert_eq!(flex("", million(Bucket::Reasoning)), named("2", "+flex"), "thinking is output here too");
    // The standard has a price of its own for it, so that of another tier is another one, and not known.
    assert_eq!(flex("", million(Bucket::CacheRead)), Err(Unpriced::NoRate(Bucket::CacheRead)));
    assert_eq!(flex("    cache_read = \"0.5\"", million(Bucket::CacheRead)), named("0.5", "+flex"));
    for other in [ServiceTier::Priority, ServiceTier::Batch, ServiceTier::Fast, ServiceTier::Other] {
        assert_eq!(charge("", other, million(Bucket::Input)), Err(Unpriced::NoServiceTier(other)));
    }
    let late = "    from = 2026-07-01";
    assert_eq!(flex(late, million(Bucket::Input)), Err(Unpriced::NoServiceTier(ServiceTier::Flex)), "not known yet");
    // Above a context tier only where it is given apart, and never in a window.
    let above = "  [[model.price.tier]]\n  above_input = 1000\n  input = \"30\"\n";
    assert_eq!(flex(above, million(Bucket::Input)), Err(Unpriced::NoServiceTier(ServiceTier::Flex)));
    let apart = format!("      [[model.price.service.tier]]\n      above_input = 1000\n      input = \"3\"\n{above}");
    assert_eq!(flex(&apart, million(Bucket::Input)), named("3", "+flex"));
    let window = "  [[model.price.window]]\n  name = \"noon\"\n  utc = [\"11:00-13:00\"]\n  input = \"4\"\n";
    assert_eq!(flex(window, million(Bucket::Input)), Err(Unpriced::NoServiceTier(ServiceTier::Flex)));
    let twice = "    [[model.price.service]]\n    name = \"flex\"\n    [[model.price.service]]\n    name = \"flexx\"\n";
    let told = compiled(&price_of(twice)).unwrap_err().iter().map(ToString::to_string).collect::<String>();
    assert!(told.contains("two prices for `flex`") && told.contains("did you mean `flex`?"), "{told}");
}

proptest! {
    /// The planner's way of pricing says what the ledger's does, for everything in the catalogue at any time.
    #[test]
    fn what_is_expected_is_priced_like_what_was_used(
        which: prop::sample::Index, input in 0..2_000_000_u64, part in 0..=100_u64, output in 0..200_000_u64,
        day in 0..900_i64, minute in 0..1_440_i64, tier in prop::sample::select(vec![ServiceTier::Standard, ServiceTier::Flex, ServiceTier::Priority, ServiceTier::Batch, ServiceTier::Fast]),
    ) {
        static CATALOGUE: std::sync::LazyLock<Catalogue> = std::sync::LazyLock::new(catalogue);
        let book = &which.get(CATALOGUE.targets()).prices;
        // From 2025 on.
        let moment = UnixMillis(1_735_689_600_000 + day * 86_400_000 + minute * 60_000);
        let when = When { service: tier, ..When::at(moment) };
        let cached = input * part / 100;
        let usage = Usage::ZERO.with(Bucket::Input, input - cached).with(Bucket::CacheRead, cached);
        let usage = usage.with(Bucket::Output, output);
        let expected = expected_usd((input, cached), output, book, when, CATALOGUE.fx());
        prop_assert_eq!(expected, super::usd(&usage, book, when, CATALOGUE.fx()));
    }
}
