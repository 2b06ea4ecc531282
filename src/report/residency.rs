//! Where bytes went and under whose law, and what the requirements cost.

use std::fmt::Write;

use serde_json::json;

use super::table::{amount, count, places, table};
use super::{day, span};
use crate::domain::money::Money;
use crate::ledger::residency::{Place, Residency};

/// What a premium is.
const PREMIUM: &str =
    "cheapest admitted target less the cheapest that only residency kept out, as expected for each request";

/// For people.
#[must_use]
pub fn residency_table(found: &Residency) -> String {
    let mut total = Place::default();
    for place in found.places.values() {
        total.attempts += place.attempts;
        total.answered += place.answered;
        total.unpriced += place.unpriced;
        total.cost = total.cost.checked_add(place.cost).unwrap_or_default();
    }
    let digits = places(total.cost);
    let cells = |names: [&str; 2], place: &Place| {
        let mut cells = names.map(ToOwned::to_owned).to_vec();
        cells.extend([count(place.attempts), count(place.answered), amount(place.cost, digits)]);
        cells
    };
    let rows: Vec<_> =
        found.places.iter().map(|((processing, operator), place)| cells([processing, operator], place)).collect();
    let heads = ["processed in", "operator", "attempts", "answers", "USD"];
    let mut out = format!("Residency, {} (UTC)\n\n", span(found.span));
    out.push_str(&table(&heads, &rows, &cells(["total", ""], &total)));
    out.push('\n');
    if total.unpriced > 0 {
        let _ = writeln!(out, "\nIncomplete: the price of {} attempts is not known.", count(total.unpriced));
    }
    if !found.shadows.is_empty() {
        out.push_str("\nShadow runs besides, which are nobody's spend:\n");
    }
    for ((processing, operator), runs) in &found.shadows {
        let _ = writeln!(out, "  processed in {processing}, operator {operator}: {}", count(*runs));
    }
    let premiums: Vec<_> = found.premiums.iter().filter(|(_, line)| line.dearer > 0).collect();
    if !premiums.is_empty() {
        let _ = writeln!(out, "\nResidency premium: {PREMIUM}");
    }
    for (route, line) in premiums {
        let digits = places(line.premium);
        let _ = writeln!(
            out,
            "  {route}: {} USD over {} of {} requests",
            amount(line.premium, digits),
            count(line.dearer),
            count(line.asked)
        );
    }
    out
}

/// For programs.
#[must_use]
pub fn residency_json(found: &Residency) -> String {
    let place = |((processing, operator), place): (&(String, String), &Place)| {
        json!({
            "processing": processing,
            "operator": operator,
            "attempts": place.attempts,
            "answers": place.answered,
            "cost": place.cost.to_string(),
            "unpriced_attempts": place.unpriced,
        })
    };
    let premiums = found.premiums.iter().map(|(route, line)| {
        json!({"route": route, "asked": line.asked, "dearer": line.dearer, "premium": Money::to_string(&line.premium)})
    });
    json!({
        "currency": "USD",
        "from": found.span.map(|(from, _)| day(from)),
        "to": found.span.map(|(_, to)| day(to)),
        "places": found.places.iter().map(place).collect::<Vec<_>>(),
        "shadow_runs": found.shadows.iter().map(|((processing, operator), runs)| {
            json!({"processing": processing, "operator": operator, "runs": runs})
        }).collect::<Vec<_>>(),
        "premium": PREMIUM,
        "premiums": premiums.collect::<Vec<_>>(),
    })
    .to_string()
}
