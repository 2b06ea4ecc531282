//! Backtests and advice for people and programs. Money is text everywhere; what a figure rests on stands below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Value, json};

use super::advise::wilson;
use super::{Advice, Advised, Backtest, Line, minus};
use crate::domain::money::Money;
use crate::domain::target::UnixMillis;
use crate::ledger::shadow::{Paired, Runs, Share};
use crate::report::{amount, count, places, span, table};

/// What a backtest rests on.
const ASSUMPTIONS: [&str; 8] = [
    "the tokens that were measured are unchanged between targets; how talkative another target is, is not guessed",
    "a request that moves begins without the provider's prompt cache",
    "the first target of the new plan that did not fail for this very request answers; failed attempts before it are paid again, and where the plan hedges, so are those that were overtaken",
    "prices, service dates and residency facts are those of today's catalogue for the moment of each request",
    "targets are up or down, and as fast, as the trail says for that moment; without a word of the last ten minutes they are up",
    "a request for another tier of service is priced at that tier where the target has tiers, and left out where it has no price there",
    "requirements, key, team, tenant, tags and the client's user are those of that moment, and so are the expected tokens of each target that was admitted then",
    "the conversation, and the target that had its prompt cached, are known where the plan of that moment asked for them; else sticky shares are drawn anew",
];

/// For people.
#[must_use]
pub fn backtest_text(found: &Backtest) -> String {
    let mut out = format!("Backtest, {} (UTC): {} requests\n\n", span(found.span), count(found.looked_at));
    let total = found.total();
    let digits = places(total.before.max(total.after));
    let heads = [
        "route",
        "team",
        "requests",
        "before USD",
        "after USD",
        "change USD",
        "saved %",
        "before ms",
        "after ms",
        "moved",
    ];
    let cells = |names: [&str; 2], line: &Line| -> Vec<String> {
        let mean = |sum: u64| sum.checked_div(line.timed).map_or_else(|| "–".to_owned(), |mean| mean.to_string());
        let mut cells = names.map(ToOwned::to_owned).to_vec();
        cells.extend([
            count(line.requests),
            amount(line.before, digits),
            amount(line.after, digits),
            amount(minus(line.after, line.before), digits),
            saved(line),
            mean(line.latency_ms.0),
            mean(line.latency_ms.1),
            count(line.moved),
        ]);
        cells
    };
    let rows: Vec<_> = found.lines.iter().map(|((route, team), line)| cells([route, team], line)).collect();
    out.push_str(&table(&heads, &rows, &cells(["total", ""], &total)));
    out.push_str("\n\n  saved %: against the baseline of the new policy, for requests that have one\n");
    pairs(&mut out, "Who moves from where to where:", &found.moves);
    pairs(&mut out, "Where bytes are processed changes:", &found.residency);
    let _ = writeln!(
        out,
        "\nRefused before {}, after {}; newly refused {}, newly admitted {}.",
        count(total.refused + total.newly_admitted),
        count(total.refused + total.newly_refused),
        count(total.newly_refused),
        count(total.newly_admitted)
    );
    for (code, requests) in &found.refusals {
        let _ = writeln!(out, "  refused after with {code}: {}", count(*requests));
    }
    let aside = [
        ("answered from the cache, not compared", found.cached),
        ("without an answer, not compared", found.unanswered),
        ("left out because a price is not known", found.unpriced),
        ("every target of the new plan had failed for them", found.all_failed),
    ];
    let unplannable = found.unplannable.iter().map(|(why, requests)| (why.why(), *requests));
    for (what, requests) in aside.into_iter().chain(unplannable).filter(|(_, requests)| *requests > 0) {
        let _ = writeln!(out, "{}: {what}.", count(requests));
    }
    out.push_str("\nAssumptions:\n");
    ASSUMPTIONS.iter().for_each(|text| {
        let _ = writeln!(out, "- {text}");
    });
    out
}

/// Against the baseline, in per cent with one decimal.
fn saved(line: &Line) -> String {
    let (saved, whole) = (minus(line.baseline, line.after_with_baseline).pico(), line.baseline.pico());
    if whole <= 0 {
        return "–".to_owned();
    }
    let mille = saved.saturating_mul(1000) / whole;
    format!("{}{}.{}", if mille < 0 { "-" } else { "" }, mille.unsigned_abs() / 10, mille.unsigned_abs() % 10)
}

fn pairs(out: &mut String, title: &str, pairs: &BTreeMap<(String, String), u64>) {
    const SHOWN: usize = 20;
    if pairs.is_empty() {
        return;
    }
    let mut sorted: Vec<_> = pairs.iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let _ = writeln!(out, "\n{title}");
    for ((from, to), requests) in sorted.iter().take(SHOWN) {
        let _ = writeln!(out, "  {:>9}  {from} → {to}", count(**requests));
    }
    if sorted.len() > SHOWN {
        let _ = writeln!(out, "  and {} more pairs (--json has all)", sorted.len() - SHOWN);
    }
}

/// For programs.
#[must_use]
pub fn backtest_json(found: &Backtest) -> String {
    let line = |line: &Line| {
        json!({
            "requests": line.requests,
            "cost_before_usd": line.before.to_string(),
            "cost_after_usd": line.after.to_string(),
            "baseline_usd": line.baseline.to_string(),
            "cost_after_of_requests_with_baseline_usd": line.after_with_baseline.to_string(),
            "expected_latency_ms_before": line.latency_ms.0.checked_div(line.timed),
            "expected_latency_ms_after": line.latency_ms.1.checked_div(line.timed),
            "moved": line.moved,
            "refused": line.refused,
            "newly_refused": line.newly_refused,
            "newly_admitted": line.newly_admitted,
        })
    };
    let lines = found.lines.iter().map(|((route, team), found)| {
        let mut value = line(found);
        value["route"] = route.as_str().into();
        value["team"] = team.as_str().into();
        value
    });
    let pairs = |pairs: &BTreeMap<(String, String), u64>| -> Vec<Value> {
        pairs.iter().map(|((from, to), n)| json!({"from": from, "to": to, "requests": n})).collect()
    };
    let unplannable: BTreeMap<&str, u64> = found.unplannable.iter().map(|(why, n)| (why.why(), *n)).collect();
    json!({
        "currency": "USD",
        "from": found.span.map(|(from, _)| time(from)),
        "to": found.span.map(|(_, to)| time(to)),
        "looked_at": found.looked_at,
        "lines": lines.collect::<Vec<_>>(),
        "total": line(&found.total()),
        "moves": pairs(&found.moves),
        "residency_changes": pairs(&found.residency),
        "refusals_after": found.refusals,
        "not_planned_again": unplannable,
        "cached": found.cached,
        "unanswered": found.unanswered,
        "unpriced": found.unpriced,
        "all_failed": found.all_failed,
        "assumptions": ASSUMPTIONS,
    })
    .to_string()
}

/// What is not known, said plainly.
const NOT_KNOWN: &str = "Whether the answers of the cheaper target are as good is not known from prices. Feedback and shadow runs \
    say what they say; without them, try a share first.";
const METHOD: &str = "Only targets that were admitted for the very request, priced for its measured tokens without a prompt \
    cache. Range: the output as measured or in the ratio that was expected of the two targets, a quarter more or less.";

/// For people.
#[must_use]
pub fn advice_text(routes: &BTreeMap<String, Advice>) -> String {
    let mut out = String::new();
    if routes.is_empty() {
        return "The trail has no decisions of that period.\n".to_owned();
    }
    for (route, advice) in routes {
        let (saving, low, high) = advice.saving();
        let digits = places(advice.cost);
        let _ = writeln!(
            out,
            "{route}: {} requests, {} USD; could have saved {} USD ({} to {})",
            count(advice.requests),
            amount(advice.cost, digits),
            amount(saving, digits),
            amount(low, digits),
            amount(high, digits)
        );
        for ((from, to), advised) in &advice.moves {
            let _ = writeln!(out, "  {from} → {to}");
            let mean = |sum: u64| sum.checked_div(advised.requests).unwrap_or(0);
            let _ = writeln!(
                out,
                "    {} requests, {} USD; saving {} USD ({} to {}); expected latency {} → {} ms",
                count(advised.requests),
                amount(advised.cost, digits),
                amount(advised.saving, digits),
                amount(advised.low, digits),
                amount(advised.high, digits),
                mean(advised.latency_ms.0),
                mean(advised.latency_ms.1)
            );
            for name in [from, to] {
                feedback(&mut out, advice, name);
            }
        }
        if advice.moves.is_empty() {
            let _ = writeln!(out, "  nothing admitted was cheaper");
        }
        let told = |name: &str| advice.moves.keys().any(|(from, to)| from == name || to == name);
        let others: BTreeSet<&str> = advice.feedback.keys().map(|(name, _)| name.as_str()).collect();
        for name in others.into_iter().filter(|name| !told(name)) {
            feedback(&mut out, advice, name);
        }
        for ((primary, shadow), runs) in &advice.shadow {
            shadows(&mut out, primary, shadow, runs);
        }
        if advice.premium_requests > 0 {
            let _ = writeln!(
                out,
                "  residency premium: {} USD expected over {} requests for which a cheaper target was kept out",
                amount(advice.premium, places(advice.premium)),
                count(advice.premium_requests)
            );
        }
        if advice.unpriced > 0 {
            let _ = writeln!(
                out,
                "  incomplete: {} requests are left out because a price is not known",
                count(advice.unpriced)
            );
        }
        out.push('\n');
    }
    let _ = writeln!(out, "{METHOD}\n{NOT_KNOWN}");
    out
}

fn feedback(out: &mut String, advice: &Advice, target: &str) {
    let of_target: Vec<_> = advice.feedback.iter().filter(|((name, _), _)| name == target).collect();
    if of_target.is_empty() {
        let _ = writeln!(out, "    feedback on {target}: none");
    }
    for ((_, label), verdicts) in of_target {
        let label = if label.is_empty() { String::new() } else { format!(" ({label})") };
        let interval = wilson(verdicts.good, verdicts.all);
        let interval = interval.map(|(low, high)| format!(", {} to {} %", decimal(low), decimal(high)));
        let _ = writeln!(
            out,
            "    feedback on {target}{label}: {} of {} good{}",
            count(verdicts.good),
            count(verdicts.all),
            interval.unwrap_or_default()
        );
    }
}

/// The machine-checkable criteria of shadow runs, with their names.
fn criteria(runs: &Runs) -> [(&'static str, Share); 5] {
    [
        ("JSON as asked for, first answer", runs.json_primary),
        ("JSON as asked for, shadow", runs.json_shadow),
        ("same calls", runs.calls),
        ("same answer", runs.answers),
        ("same last number", runs.numbers),
    ]
}

fn shadows(out: &mut String, primary: &str, shadow: &str, runs: &Runs) {
    let _ = writeln!(
        out,
        "  shadow {primary} ∥ {shadow}: {} runs, {} without an answer to compare",
        count(runs.runs),
        count(runs.failed)
    );
    for (name, (good, all)) in criteria(runs) {
        if let Some((low, high)) = wilson(good, all) {
            let _ =
                writeln!(out, "    {name}: {} of {}, {} to {} %", count(good), count(all), decimal(low), decimal(high));
        }
    }
    let answered = runs.runs - runs.failed;
    let mean = |sum: u64| sum.checked_div(answered).unwrap_or(0);
    let digits = places(runs.cost.0.max(runs.cost.1));
    let _ = writeln!(
        out,
        "    cost {} → {} USD; mean output {} → {} tokens, mean time {} → {} ms",
        amount(runs.cost.0, digits),
        amount(runs.cost.1, digits),
        mean(runs.output.0),
        mean(runs.output.1),
        mean(runs.duration_ms.0),
        mean(runs.duration_ms.1)
    );
    let [cost, output, duration] = &runs.changes;
    if let Some((low, high)) = cost.interval() {
        let (low, high) = (Money::from_pico(low), Money::from_pico(high));
        let digits = places(plain(low).max(plain(high)));
        let (low, high) = (amount(low, digits), amount(high, digits));
        let _ = writeln!(out, "    cost of an answer changes by {low} to {high} USD ({} pairs)", count(cost.pairs()));
    }
    for (what, unit, change) in [("output", "tokens", output), ("time", "ms", duration)] {
        if let Some((low, high)) = change.interval() {
            let pairs = count(change.pairs());
            let _ = writeln!(out, "    {what} of an answer changes by {low} to {high} {unit} ({pairs} pairs)");
        }
    }
}

/// Without its sign.
fn plain(money: Money) -> Money {
    Money::from_pico(money.pico().saturating_abs())
}

fn shadows_json(((primary, shadow), runs): (&(String, String), &Runs)) -> Value {
    let criteria = criteria(runs).map(|(name, (good, all))| {
        let interval = wilson(good, all);
        json!({
            "criterion": name,
            "good": good,
            "all": all,
            "percent_low": interval.map(|(low, _)| decimal(low)),
            "percent_high": interval.map(|(_, high)| decimal(high)),
        })
    });
    let answered = runs.runs - runs.failed;
    let [cost, output, duration] = &runs.changes;
    let usd = |pico: i128| Value::from(Money::from_pico(pico).to_string());
    let whole = |number: i128| i64::try_from(number).map_or(Value::Null, Value::from);
    let change = |of: &Paired, shown: &dyn Fn(i128) -> Value| {
        let interval = of.interval();
        json!({ "pairs": of.pairs(), "low": interval.map(|(low, _)| shown(low)), "high": interval.map(|(_, high)| shown(high)) })
    };
    json!({
        "cost_change_usd": change(cost, &usd),
        "output_tokens_change": change(output, &whole),
        "duration_ms_change": change(duration, &whole),
        "primary": primary,
        "shadow": shadow,
        "runs": runs.runs,
        "failed": runs.failed,
        "criteria": criteria,
        "cost_usd_primary": runs.cost.0.to_string(),
        "cost_usd_shadow": runs.cost.1.to_string(),
        "mean_output_tokens_primary": runs.output.0.checked_div(answered),
        "mean_output_tokens_shadow": runs.output.1.checked_div(answered),
        "mean_duration_ms_primary": runs.duration_ms.0.checked_div(answered),
        "mean_duration_ms_shadow": runs.duration_ms.1.checked_div(answered),
    })
}

/// Per mille as per cent.
fn decimal(mille: u32) -> String {
    format!("{}.{}", mille / 10, mille % 10)
}

/// For programs.
#[must_use]
pub fn advice_json(routes: &BTreeMap<String, Advice>) -> String {
    let moves = |((from, to), a): (&(String, String), &Advised)| {
        json!({
            "from": from,
            "to": to,
            "requests": a.requests,
            "cost_usd": a.cost.to_string(),
            "saving_usd": a.saving.to_string(),
            "saving_low_usd": a.low.to_string(),
            "saving_high_usd": a.high.to_string(),
            "expected_latency_ms_before": a.latency_ms.0.checked_div(a.requests),
            "expected_latency_ms_after": a.latency_ms.1.checked_div(a.requests),
        })
    };
    let of = |(route, advice): (&String, &Advice)| {
        let (saving, low, high) = advice.saving();
        let feedback = advice.feedback.iter().map(|((target, label), v)| {
            let interval = wilson(v.good, v.all);
            json!({
                "target": target,
                "label": label,
                "good": v.good,
                "all": v.all,
                "good_percent_low": interval.map(|(low, _)| decimal(low)),
                "good_percent_high": interval.map(|(_, high)| decimal(high)),
            })
        });
        json!({
            "route": route,
            "requests": advice.requests,
            "cost_usd": advice.cost.to_string(),
            "saving_usd": saving.to_string(),
            "saving_low_usd": low.to_string(),
            "saving_high_usd": high.to_string(),
            "moves": advice.moves.iter().map(moves).collect::<Vec<_>>(),
            "feedback": feedback.collect::<Vec<_>>(),
            "shadow": advice.shadow.iter().map(shadows_json).collect::<Vec<_>>(),
            "residency_premium": {"requests": advice.premium_requests, "expected_usd": advice.premium.to_string()},
            "unpriced_requests": advice.unpriced,
        })
    };
    json!({
        "currency": "USD",
        "method": METHOD,
        "not_known": NOT_KNOWN,
        "routes": routes.iter().map(of).collect::<Vec<_>>(),
    })
    .to_string()
}

fn time(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| "?".to_owned(), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Money;

    #[test]
    fn intervals_are_wilsons() {
        // Agresti & Coull 1998 give 0 of 10 as 0 to 0.278 and 9 of 10 as 0.596 to 0.982.
        assert_eq!(wilson(0, 10), Some((0, 278)));
        assert_eq!(wilson(9, 10), Some((596, 982)));
        assert_eq!(wilson(0, 0), None);
        assert_eq!(decimal(982), "98.2");
    }

    #[test]
    fn a_loss_against_the_baseline_is_shown_as_one() {
        let money = |text| Money::parse(text).unwrap();
        let line = Line { baseline: money("2"), after_with_baseline: money("2.5"), ..Line::default() };
        assert_eq!(saved(&line), "-25.0");
        assert_eq!(saved(&Line::default()), "–");
    }
}
