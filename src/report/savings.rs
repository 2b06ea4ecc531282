//! What was saved against the declared baseline, with the assumption that the figure rests on.

use serde_json::{Value, json};

use super::table::{amount, count, places, table};
use super::{day, span};
use crate::domain::money::Money;
use crate::ledger::query::{BaselineFacts, Savings, SavingsLine};

/// How the baseline is counted: the tokens of the served model, at the baseline's list price.
const METHOD: &str = "same-tokens-list";

/// For people.
#[must_use]
pub fn savings_table(savings: &Savings) -> String {
    let decimals = places(savings.total.baseline());
    let cells = |name: &str, line: &SavingsLine| {
        vec![
            name.to_owned(),
            count(line.requests),
            amount(line.cost, decimals),
            amount(line.baseline(), decimals),
            amount(line.saved(), decimals),
            percent(line),
        ]
    };
    let rows: Vec<_> = savings.lines.iter().map(|(name, line)| cells(name, line)).collect();
    let heads = [savings.by.name(), "requests", "cost USD", "baseline USD", "saved USD", "saved"];
    let mut out = vec![format!("Savings, {} (UTC)", span(savings.span)), String::new()];
    out.push(table(&heads, &rows, &cells("total", &savings.total)));
    out.push(String::new());
    out.extend(sentences(savings));
    out.join("\n")
}

fn sentences(savings: &Savings) -> Vec<String> {
    let total = &savings.total;
    let mut out = Vec::new();
    if total.requests == 0 {
        out.push("No request of this time has a baseline to compare with.".to_owned());
    } else {
        let decimals = places(total.baseline());
        let named = savings.baselines.iter().map(named).collect::<Vec<_>>().join(" and ");
        out.push(format!("Spent {} USD. The same tokens at {named}", amount(total.cost, decimals)));
        let (low, high) = range(total);
        out.push(format!("would have cost {} USD{}.", amount(total.baseline(), decimals), times(total)));
        out.push(
            "Estimate: the baseline would have used a different number of tokens; between half and one and a"
                .to_owned(),
        );
        out.push(format!(
            "half times as many output tokens the figure is {} to {} USD.",
            amount(low, decimals),
            amount(high, decimals)
        ));
        out.extend(savings.baselines.iter().filter_map(|b| {
            b.retired.map(|at| format!("{} was retired on {}: it can no longer be bought.", b.target, day(at)))
        }));
        out.push(format!("Method: {METHOD}. Failed tries before an answer are cost; dearer requests lower the sum."));
    }
    if total.dearer > 0 {
        out.push(format!("Requests where routing cost more than the baseline: {}.", count(total.dearer)));
    }
    let (hits, saved) = savings.cache_hits;
    if hits > 0 {
        out.push(format!(
            "Answered from the cache besides: {} requests, {} USD not spent again.",
            count(hits),
            amount(saved, 6)
        ));
    }
    let (requests, cost) = savings.unanswered;
    if requests > 0 {
        let cost = amount(cost, places(cost));
        out.push(format!("Not compared: {} requests without an answer, which cost {cost} USD.", count(requests)));
    }
    if savings.without_baseline > 0 {
        out.push(format!("Not compared: {} requests of routes without a baseline.", count(savings.without_baseline)));
    }
    if total.unpriced > 0 {
        out.push(format!("Incomplete: {} requests are left out because a price is unknown.", count(total.unpriced)));
    }
    out
}

/// `openai/o1@global list prices of 2025-01-31`.
fn named(baseline: &BaselineFacts) -> String {
    let date = baseline.price_as_of.map_or_else(|| "the time of each request".to_owned(), day);
    format!("{} list prices of {date}", baseline.target)
}

/// The baseline with half and one and a half times the output.
fn range(line: &SavingsLine) -> (Money, Money) {
    let half = Money::from_pico(line.baseline_output.pico() / 2);
    let low = line.baseline_input.checked_add(half).unwrap_or_default();
    (low, line.baseline().checked_add(half).unwrap_or_default())
}

/// `96.4 %`, exact to the digit shown; nothing where there is no baseline.
fn percent(line: &SavingsLine) -> String {
    match per_mille(line.saved().pico(), line.baseline().pico()) {
        // What is not all is never shown as all.
        Some(1000) if line.cost > Money::ZERO => "99.9 %".to_owned(),
        Some(n) => format!("{}{}.{} %", if n < 0 { "-" } else { "" }, n.unsigned_abs() / 10, n.unsigned_abs() % 10),
        None => "–".to_owned(),
    }
}

/// ` (27.7x)`.
fn times(line: &SavingsLine) -> String {
    let tenths = line.baseline().pico().checked_mul(10).and_then(|n| rounded(n, line.cost.pico()));
    tenths.map(|n| format!(" ({}.{}x)", n / 10, n % 10)).unwrap_or_default()
}

fn per_mille(part: i128, whole: i128) -> Option<i128> {
    rounded(part.checked_mul(1000)?, whole)
}

fn rounded(n: i128, by: i128) -> Option<i128> {
    (by > 0).then(|| (n * 2 + by).div_euclid(by * 2))
}

/// For programs.
#[must_use]
pub fn savings_json(savings: &Savings) -> String {
    let line = |line: &SavingsLine| -> Value {
        let (low, high) = range(line);
        json!({
            "requests": line.requests,
            "input_tokens": line.input_tokens,
            "output_tokens": line.output_tokens,
            "cost": line.cost.to_string(),
            "baseline": line.baseline().to_string(),
            "baseline_low": low.to_string(),
            "baseline_high": high.to_string(),
            "savings": line.saved().to_string(),
            "dearer_requests": line.dearer,
            "unpriced_requests": line.unpriced,
        })
    };
    let lines = savings.lines.iter().map(|(name, found)| {
        let mut value = line(found);
        value[savings.by.name()] = Value::from(name.as_str());
        value
    });
    let baselines = savings
        .baselines
        .iter()
        .map(|b| json!({"target": b.target, "price_as_of": b.price_as_of.map(day), "retired": b.retired.map(day)}));
    json!({
        "currency": "USD",
        "method": METHOD,
        "by": savings.by.name(),
        "complete": savings.total.unpriced == 0,
        "baselines": baselines.collect::<Vec<_>>(),
        "lines": lines.collect::<Vec<_>>(),
        "total": line(&savings.total),
        "cache": {"hits": savings.cache_hits.0, "saved": savings.cache_hits.1.to_string()},
        "without_baseline": savings.without_baseline,
        "unanswered": {"requests": savings.unanswered.0, "cost": savings.unanswered.1.to_string()},
    })
    .to_string()
}
