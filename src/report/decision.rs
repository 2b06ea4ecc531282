//! One decision of the past: every candidate, what it was expected to cost and take, why each other one was out, and what
//! became of the attempts.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::domain::money::Money;
use crate::domain::target::UnixMillis;
use crate::domain::usage::{Bucket, Usage};
use crate::ledger::decisions::{DecisionRow, Told};
use crate::ledger::query::{AttemptRow, RequestRow};
use crate::ledger::shadow::{Agreement, Run};
use crate::ledger::trail::{Admitted, Seen};
use crate::policy::Lead;

/// For people.
#[must_use]
pub fn decision_text(told: &Told) -> String {
    let request = &told.request;
    let mut out = format!("{}  {}\n", request.id, time(request.started));
    let mut line = |name: &str, text: &str| {
        let _ = writeln!(out, "  {name:<9} {text}");
    };
    let stream = if request.stream { ", streamed" } else { "" };
    line("model", &format!("{}{stream}", request.model_asked));
    let tags = if request.tags.is_empty() { String::new() } else { format!(" ({})", request.tags.join(", ")) };
    line("asked by", &format!("{}/{}, key {}{tags}", request.tenant, request.team, request.key_id));
    line("policy", &request.policy);
    line("route", request.route.as_deref().filter(|route| !route.is_empty()).unwrap_or("none"));
    let error = request.error.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
    let cached = if request.cache_hit { ", from the cache" } else { "" };
    line("answered", &format!("{}{error}{cached} after {}", request.status, seconds(request.duration_ms.into())));
    match &told.decision {
        Some(decision) => candidates(&mut out, decision),
        None => out
            .push_str("\n  The trail has no decision of it: it was refused before one, or is older than the trail.\n"),
    }
    attempts(&mut out, request);
    if let Some(run) = &told.shadow {
        shadow(&mut out, run);
    }
    for (label, score) in &told.feedback {
        let label = if label.is_empty() { String::new() } else { format!(" ({label})") };
        let _ = writeln!(out, "  feedback  {score}{label}");
    }
    out
}

/// Where it went besides, which nobody waited for and nobody but the operator pays for.
fn shadow(out: &mut String, run: &Run) {
    let place = place(run.processing.as_deref(), run.operator.as_deref());
    let _ = write!(out, "  shadow    {}{place}  ", run.target);
    let Some(came) = &run.came else {
        let _ = writeln!(out, "no outcome, {} USD reserved", run.reserved.to_fixed(6));
        return;
    };
    let cost = came.cost.map_or_else(|| "cost not known".to_owned(), |cost| format!("{} USD", cost.to_fixed(6)));
    let failure = came.failure.as_deref().map_or_else(|| "answered".to_owned(), |kind| format!("failed ({kind})"));
    let _ = write!(out, "{failure}, {} in all, {cost}", seconds(came.duration_ms.into()));
    for (what, same) in agreement(&came.agreement) {
        let _ = write!(out, ", {what}: {}", if same { "yes" } else { "no" });
    }
    out.push('\n');
}

/// What can be said of two answers.
fn agreement(agreement: &Agreement) -> impl Iterator<Item = (&'static str, bool)> {
    let all = [
        ("JSON as asked for", agreement.json_primary),
        ("the shadow's JSON as asked for", agreement.json_shadow),
        ("same calls", agreement.calls),
        ("same answer", agreement.answer),
        ("same last number", agreement.number),
    ];
    all.into_iter().filter_map(|(what, same)| Some((what, same?)))
}

/// ` in DE under DE`: where bytes were processed and whose law the operator was under, as was known then.
fn place(processing: Option<&str>, operator: Option<&str>) -> String {
    format!(" in {} under {}", processing.unwrap_or("unknown"), operator.unwrap_or("unknown"))
}

fn candidates(out: &mut String, decision: &DecisionRow) {
    let limit = decision.max_output.map(|limit| format!(", at most {limit} out")).unwrap_or_default();
    let _ = writeln!(out, "  asked     {}, {} tokens in{limit}", decision.operation, decision.input_tokens);
    if !decision.needs.is_empty() {
        let _ = writeln!(out, "  needs     {}", decision.needs.join(", "));
    }
    let requires = if decision.requires.is_empty() { "nothing" } else { &decision.requires };
    let _ = writeln!(out, "  requires  {requires}");
    if let Some(premium) = decision.premium {
        let cheaper = decision.premium_target.as_deref();
        let cheaper = cheaper.map(|name| format!(" (against {name})")).unwrap_or_default();
        let _ = writeln!(out, "  residency premium {} USD{cheaper}", premium.to_fixed(6));
    }
    let names = decision.admitted.iter().map(|a| &a.target).chain(decision.rejected.iter().map(|r| &r.target));
    let wide = names.map(String::len).max().unwrap_or(0);
    if let Some(first) = decision.admitted.first() {
        let lead = first.lead.as_deref().and_then(Lead::by_label).map_or("", Lead::shown);
        let _ = writeln!(out, "\n  would try, in this order (at most {}{lead}):", decision.max_attempts);
    }
    for (number, Admitted { target, latency_ms, measured, .. }) in decision.admitted.iter().enumerate() {
        let cost = decision.admitted[number].cost();
        let cost = cost.map_or_else(|| "price unknown".to_owned(), |cost| format!("{} USD", cost.to_fixed(6)));
        let prior = if *measured { "" } else { " (prior)" };
        let _ = writeln!(out, "  {:>2}. {target:<wide$}  {cost:>14}  {:>8}{prior}", number + 1, seconds(*latency_ms));
    }
    if let Some(code) = &decision.refusal {
        let _ = writeln!(out, "\n  refused   {code}");
    }
    if !decision.rejected.is_empty() {
        let _ = writeln!(out, "\n  not used:");
    }
    for rejected in &decision.rejected {
        let _ = writeln!(out, "      {:<wide$}  {}", rejected.target, rejected.why);
    }
    if decision.left_out > 0 {
        let _ = writeln!(out, "      and {} more, which the trail had no room for", decision.left_out);
    }
}

fn attempts(out: &mut String, request: &RequestRow) {
    if request.attempts.is_empty() {
        out.push_str("\n  nobody was called\n");
        return;
    }
    out.push_str("\n  attempts:\n");
    for attempt in &request.attempts {
        let failure = attempt.failure.as_deref().map(|kind| format!(" ({kind})")).unwrap_or_default();
        let status = attempt.upstream_status.map(|status| format!(", status {status}")).unwrap_or_default();
        let first =
            attempt.first_token_ms.map(|ms| format!(", first token {}", seconds(ms.into()))).unwrap_or_default();
        let cost = attempt.cost.map_or_else(
            || format!("unpriced: {}", attempt.unpriced.as_deref().unwrap_or("?")),
            |cost| format!("{} USD", cost.to_fixed(6)),
        );
        let _ = writeln!(
            out,
            "  {:>2}. {}{}  {}{failure}{status}{first}, {} in all, {} tokens in, {} out, {cost}",
            attempt.no,
            attempt.target,
            place(attempt.processing.as_deref(), attempt.operator.as_deref()),
            attempt.outcome,
            seconds(attempt.duration_ms.into()),
            attempt.usage.input_tokens(),
            attempt.usage.output_tokens(),
        );
    }
    let cost = request.cost().map_or_else(|| "not known".to_owned(), |cost| format!("{} USD", cost.to_fixed(6)));
    let _ = writeln!(out, "  cost      {cost}");
}

/// For programs.
#[must_use]
pub fn decision_json(told: &Told) -> Value {
    let Told { request, decision, shadow, feedback } = told;
    json!({
        "request": {
            "id": request.id.to_string(),
            "started": time(request.started),
            "duration_ms": request.duration_ms,
            "overhead_us": request.overhead_us,
            "tenant": request.tenant,
            "team": request.team,
            "key": request.key_id,
            "tags": request.tags,
            "model": request.model_asked,
            "stream": request.stream,
            "policy": request.policy,
            "route": request.route,
            "status": request.status,
            "error": request.error,
            "cache_hit": request.cache_hit,
            "cost_usd": request.cost().map(text),
        },
        "decision": decision.as_ref().map(decided),
        "attempts": request.attempts.iter().map(attempt).collect::<Vec<_>>(),
        "shadow": shadow.as_ref().map(ran),
        "feedback": feedback.iter().map(|(label, score)| json!({ "label": label, "score": score.to_string() })).collect::<Vec<_>>(),
    })
}

fn ran(run: &Run) -> Value {
    let came = run.came.as_ref().map(|came| {
        json!({
            "failure": came.failure,
            "duration_ms": came.duration_ms,
            "cost_usd": came.cost.map(text),
            "json_first_answer": came.agreement.json_primary,
            "json_shadow": came.agreement.json_shadow,
            "same_calls": came.agreement.calls,
            "same_answer": came.agreement.answer,
            "same_last_number": came.agreement.number,
        })
    });
    json!({
        "target": run.target,
        "processing": run.processing,
        "operator": run.operator,
        "reserved_usd": text(run.reserved),
        "outcome": came,
    })
}

fn decided(decision: &DecisionRow) -> Value {
    let admitted = decision.admitted.iter().map(|a| {
        json!({
            "target": a.target,
            "expected_cost_usd": a.cost().map(text),
            "expected_output_tokens": a.output,
            "expected_latency_ms": a.latency_ms,
            "measured": a.measured,
            "score": a.score,
        })
    });
    let rejected = decision.rejected.iter().map(|r| json!({"target": r.target, "reason": r.reason, "why": r.why}));
    let seen = |s: &Seen| {
        json!({
            "target": s.target,
            "state": if s.down { "down" } else { "up" },
            "until": s.until.map(|at| time(UnixMillis(at))),
            "ttft_ms": s.ttft_ms,
            "time_per_output_token_us": s.tpot_us,
            "in_flight": s.in_flight,
        })
    };
    json!({
        "at": time(decision.at),
        // 64 bits are too wide for many readers of JSON numbers.
        "dice": decision.dice.to_string(),
        "policy_version": decision.snapshot,
        "policy": decision.policy,
        "route": decision.route,
        "operation": decision.operation,
        "dialect": decision.dialect,
        "input_tokens": decision.input_tokens,
        "max_output": decision.max_output,
        "choices": decision.choices,
        "needs": decision.needs,
        "inexpressible": decision.inexpressible,
        "key_requires": decision.key_requires,
        "request_requires": decision.request_requires,
        "requires": decision.requires,
        "lossy": decision.lossy,
        "max_attempts": decision.max_attempts,
        "refusal": decision.refusal,
        "lead": decision.admitted.first().map(|first| first.lead.as_deref().unwrap_or("best")),
        "residency_premium_usd": decision.premium.map(text),
        "cheapest_without_residency": decision.premium_target,
        "admitted": admitted.collect::<Vec<_>>(),
        "rejected": rejected.collect::<Vec<_>>(),
        "signals": decision.signals.iter().map(seen).collect::<Vec<_>>(),
        "candidates_left_out": decision.left_out,
    })
}

fn attempt(row: &AttemptRow) -> Value {
    let used = |usage: &Usage| {
        usage
            .parts()
            .map(|(bucket, count)| (Bucket::name(bucket).to_owned(), Value::from(count)))
            .collect::<serde_json::Map<_, _>>()
    };
    json!({
        "no": row.no,
        "target": row.target,
        "outcome": row.outcome,
        "failure": row.failure,
        "upstream_status": row.upstream_status,
        "first_token_ms": row.first_token_ms,
        "duration_ms": row.duration_ms,
        "usage": used(&row.usage),
        "basis": row.basis,
        "cost_usd": row.cost.map(text),
        "unpriced": row.unpriced,
        "price_id": row.price_id,
        "processing": row.processing,
        "operator": row.operator,
        "dropped_params": row.dropped_params,
    })
}

fn text(money: Money) -> String {
    money.to_string()
}

fn time(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| "?".to_owned(), |t| t.to_string())
}

/// `1.2 s`.
fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}
