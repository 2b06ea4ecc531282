//! What was spent.

use serde_json::{Value, json};

use super::span;
use super::table::{amount, count, places, table};
use crate::domain::money::Money;
use crate::ledger::query::{Spend, SpendLine};

/// For people.
#[must_use]
pub fn spend_table(spend: &Spend) -> String {
    let decimals = places(spend.total.cost);
    let cells = |name: &str, line: &SpendLine| {
        let requests = count(line.requests);
        let (input, output) = (count(line.input_tokens), count(line.output_tokens));
        vec![name.to_owned(), requests, input, output, amount(line.cost, decimals)]
    };
    let rows: Vec<_> = spend.lines.iter().map(|(name, line)| cells(name, line)).collect();
    let heads = [spend.by.name(), "requests", "tokens in", "tokens out", "cost USD"];
    let mut out = vec![
        format!("Spend, {} (UTC)", span(spend.span)),
        String::new(),
        table(&heads, &rows, &cells("total", &spend.total)),
    ];
    if spend.total.own_keys != Money::ZERO {
        out.push(format!(
            "\nOf this, {} USD are on the bills of tenants, by keys of their own.",
            amount(spend.total.own_keys, decimals)
        ));
    }
    if spend.total.unpriced > 0 {
        out.push(format!(
            "\nIncomplete: {} attempts have no known price and are not in the sum.",
            count(spend.total.unpriced)
        ));
    }
    if spend.total.estimated > 0 {
        out.push(format!(
            "\nThe usage of {} attempts is estimated: their provider reported none.",
            count(spend.total.estimated)
        ));
    }
    out.join("\n")
}

/// For programs.
#[must_use]
pub fn spend_json(spend: &Spend) -> String {
    let line = |line: &SpendLine| -> Value {
        json!({
            "requests": line.requests,
            "attempts": line.attempts,
            "input_tokens": line.input_tokens,
            "output_tokens": line.output_tokens,
            "cost": line.cost.to_string(),
            "unpriced_attempts": line.unpriced,
            "estimated_attempts": line.estimated,
            "cost_on_own_keys": line.own_keys.to_string(),
        })
    };
    let lines = spend.lines.iter().map(|(name, found)| {
        let mut value = line(found);
        value[spend.by.name()] = Value::from(name.as_str());
        value
    });
    json!({
        "currency": "USD",
        "by": spend.by.name(),
        "complete": spend.total.unpriced == 0,
        "lines": lines.collect::<Vec<_>>(),
        "total": line(&spend.total),
    })
    .to_string()
}
