//! Reports as people see them: the worked day of the price research, rendered.

use super::*;
use crate::domain::money::Money;
use crate::ledger::query::{BaselineFacts, GroupBy, Savings, SavingsLine};

fn worked_day() -> Savings {
    let money = |text| Money::parse(text).unwrap();
    let line = SavingsLine {
        requests: 1000,
        input_tokens: 2_000_000,
        output_tokens: 3_500_001,
        cost: money("8.43700219"),
        baseline_input: money("24"),
        baseline_output: money("210.00006"),
        dearer: 2,
        unpriced: 1,
    };
    let day = UnixMillis(1_738_584_000_000);
    Savings {
        span: Some((day, day)),
        by: GroupBy::Model,
        baselines: vec![BaselineFacts {
            target: "openai/o1@global".into(),
            price_as_of: Some(UnixMillis(1_738_281_600_000)),
            retired: Some(UnixMillis(1_792_713_600_000)),
        }],
        lines: vec![("deepseek/deepseek-reasoner".into(), line.clone())],
        total: line,
        cache_hits: (3, money("0.02")),
        without_baseline: 7,
        unanswered: (4, money("0.5")),
    }
}

#[test]
fn the_worked_day_reads_as_finance_wants_it() {
    let text = savings_table(&worked_day());
    let expected = [
        "Savings, 2025-02-03 (UTC)",
        "deepseek/deepseek-reasoner     1,000      8.44        234.00     225.56  96.4 %",
        "Spent 8.44 USD. The same tokens at openai/o1@global list prices of 2025-01-31",
        "would have cost 234.00 USD (27.7x).",
        "half times as many output tokens the figure is 129.00 to 339.00 USD.",
        "openai/o1@global was retired on 2026-10-23: it can no longer be bought.",
        "Requests where routing cost more than the baseline: 2.",
        "Answered from the cache besides: 3 requests, 0.020000 USD not spent again.",
        "Not compared: 4 requests without an answer, which cost 0.500000 USD.",
        "Not compared: 7 requests of routes without a baseline.",
        "Incomplete: 1 requests are left out because a price is unknown.",
    ];
    for line in expected {
        assert!(text.contains(line), "missing: {line}\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn json_keeps_every_digit_as_text() {
    let json: serde_json::Value = serde_json::from_str(&savings_json(&worked_day())).unwrap();
    assert_eq!(json["total"]["cost"], "8.43700219");
    assert_eq!(json["total"]["savings"], "225.56305781");
    assert_eq!(json["total"]["baseline_low"], "129.00003");
    assert_eq!(json["total"]["baseline_high"], "339.00009");
    assert_eq!(json["complete"], false);
    assert_eq!(json["baselines"][0]["price_as_of"], "2025-01-31");
}

#[test]
fn a_loss_is_shown_as_one_and_nearly_all_is_not_all() {
    let mut savings = worked_day();
    savings.total.cost = Money::parse("468.00012").unwrap();
    assert!(savings_table(&savings).contains("-100.0 %"), "{}", savings_table(&savings));
    savings.total.cost = Money::parse("0.000001").unwrap();
    assert!(savings_table(&savings).contains("99.9 %"), "{}", savings_table(&savings));
}
