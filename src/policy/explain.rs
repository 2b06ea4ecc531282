//! How a request would be decided, told to a person or as JSON: every candidate, what it is expected to cost and take,
//! and why each other one is out.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{
    Ask, Candidate, Decision, Dice, HedgeAfter, Market, Pattern, Policy, Principal, Reason, Requirement, plan, text,
};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::TargetId;
use crate::domain::plan::Operation;
use crate::domain::target::{Capabilities, Capability, Expectation, Health, Rest, Signal, Target, UnixMillis};

/// What to explain.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The model asked for.
    pub model: String,
    /// Tokens of prompt.
    pub input_tokens: u64,
    /// The client's output limit.
    pub max_output: Option<u64>,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// What is asked, by its name; none = a conversation.
    pub operation: Option<String>,
    /// What the target must be able to do, by names such as `tools`.
    pub needs: Vec<String>,
    /// The client's user, by whom shares and canaries may be kept.
    pub user: Option<String>,
    /// The key's id.
    pub key: Option<String>,
    /// The policy, instead of the key's.
    pub policy: Option<String>,
    /// A requirement of the request.
    pub require: Option<String>,
    /// Patterns of targets to be taken as down.
    pub down: Vec<String>,
    /// As JSON.
    pub json: bool,
}

/// Decides as live traffic would, and tells.
///
/// # Errors
/// A pattern or requirement that can't be read.
pub fn explain(
    policy: &Policy,
    market: &dyn Market,
    question: &Question,
    principal: Principal<'_>,
    signals: &dyn Fn(TargetId) -> Signal,
    expect: &dyn Fn(&str, &Target) -> Expectation,
    now: UnixMillis,
) -> Result<String, Error> {
    let invalid = |message: String| Error::new(ErrorKind::InvalidRequest, message);
    let down = question.down.iter().map(|p| Pattern::parse(p)).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
    let header = question.require.as_deref().map(|text| Requirement::parse(text, market)).transpose();
    let header = header.map_err(|error| invalid(error.to_string()))?.unwrap_or_default();
    let operation = question.operation.as_deref().map_or(Ok(Operation::Chat), operation).map_err(invalid)?;
    let needs = question.needs.iter().try_fold(Capabilities::NONE, |all, name| Ok(all.with(capability(name)?)));
    let ask = Ask {
        operation,
        needs: needs.map_err(invalid)?,
        user: question.user.as_deref(),
        input_tokens: question.input_tokens,
        max_output: question.max_output,
        stream: question.stream,
        principal,
        require: &header,
        expect,
        ..Ask::of(&question.model, now)
    };
    let signals = |id: TargetId| {
        let signal = signals(id);
        let down = down.iter().any(|pattern| pattern.matches(&market.targets()[id.index()]));
        if down { Signal { state: Health::Down { until: None, rest: Rest::Firm }, ..signal } } else { signal }
    };
    let decision = plan(policy, market, &ask, &signals, Dice(0));
    let besides = besides(policy, market, &decision, &signals);
    Ok(if question.json {
        let mut told = as_json(market, question, &decision);
        told["besides"] = besides.into();
        told.to_string()
    } else {
        let more = besides.iter().map(|line| format!("      {line}\n")).collect::<String>();
        let head = if more.is_empty() { "" } else { "\n  besides:\n" };
        as_text(market, question, &decision) + head + &more
    })
}

fn operation(name: &str) -> Result<Operation, String> {
    let names = Operation::ALL.map(Operation::name);
    let bad = || unknown("operation", name, &names);
    Operation::by_name(name).ok_or_else(bad)
}

fn capability(name: &str) -> Result<Capability, String> {
    let names = Capability::ALL.map(Capability::name);
    let found = Capability::ALL.into_iter().find(|capability| capability.name() == name);
    found.ok_or_else(|| unknown("capability", name, &names))
}

fn unknown(what: &str, name: &str, names: &[&str]) -> String {
    let hint = text::did_you_mean(name, names.iter().copied()).map_or_else(String::new, |hint| format!(" ({hint})"));
    format!("there is no {what} `{name}`{hint}; there are {}", names.join(", "))
}

/// What else becomes of requests of the route, a share of them or at times: the plan of one request does not show it.
fn besides(
    policy: &Policy,
    market: &dyn Market,
    decision: &Decision,
    signals: &dyn Fn(TargetId) -> Signal,
) -> Vec<String> {
    let Some(route) = policy.routes.iter().find(|route| route.name == decision.route) else { return Vec::new() };
    let of = |id: TargetId| {
        let target = &market.targets()[id.index()];
        let fails = decision.requirement.check(target, market, decision.at).err().map(|reason| reason.to_string());
        let unset = (!target.is_usable(signals(id).own_key)).then(|| Reason::NotConfigured.to_string());
        let why = fails.or(unset).map_or_else(String::new, |why| format!("; never now, since: {why}"));
        (&target.name, why)
    };
    let mut lines = Vec::new();
    if let Some(canary) = route.canary {
        let (name, why) = of(canary.target);
        lines.push(format!("canary {name}: tried first by {} of the requests{why}", percent(canary.share.0)));
    }
    if let Some(shadow) = route.shadow {
        let (name, why) = of(shadow.target);
        let (share, most) = (percent(shadow.sample_ppm), shadow.per_day);
        lines.push(format!("shadow {name}: {share} of the conversations as well, for at most {most} USD a day{why}"));
    }
    if let Some(hedge) = route.hedge {
        let after = match hedge.after {
            HedgeAfter::P95 => "as long as its first token usually takes at most".to_owned(),
            HedgeAfter::Fixed(wait) => format!("{} ms", wait.as_millis()),
        };
        let most = hedge.max_extra_cost;
        lines.push(format!("hedge: a stream silent for {after} is asked of the next one too, for at most {most} USD"));
    }
    lines
}

/// `20 %` of parts per million.
fn percent(ppm: u32) -> String {
    let part = format!("{:04}", ppm % 10_000);
    let part = part.trim_end_matches('0');
    if part.is_empty() { format!("{} %", ppm / 10_000) } else { format!("{}.{part} %", ppm / 10_000) }
}

/// A decision about a request for that model as JSON.
#[must_use]
pub fn shown(market: &dyn Market, model: &str, decision: &Decision) -> Value {
    as_json(market, &Question { model: model.to_owned(), ..Question::default() }, decision)
}

fn as_text(market: &dyn Market, question: &Question, decision: &Decision) -> String {
    let mut out = format!("{} ({} tokens in", question.model, question.input_tokens);
    if let Some(limit) = question.max_output {
        let _ = write!(out, ", at most {limit} out");
    }
    let _ = writeln!(out, ")");
    let _ = writeln!(out, "  policy    {}", decision.policy);
    if decision.route.is_empty() {
        let refusal = decision.refusal.as_ref();
        let _ =
            writeln!(out, "  refused   {}", refusal.map_or_else(String::new, |e| format!("{} {e}", e.kind.status())));
        return out;
    }
    let _ = writeln!(out, "  route     {}", decision.route);
    let require = decision.requirement.to_string();
    let _ = writeln!(out, "  requires  {}", if require.is_empty() { "nothing" } else { &require });
    if let Some(baseline) = &decision.baseline {
        let date = baseline.price_as_of.map(|at| format!(" at its price of {}", text::date(at))).unwrap_or_default();
        let retired = if baseline.retired { ", retired" } else { "" };
        let _ = writeln!(out, "  baseline  {}{date}{retired}", baseline.name);
    }
    let width = |names: &mut dyn Iterator<Item = usize>| names.max().unwrap_or(0);
    let names = decision.rejected.iter().map(|r| market.targets()[r.target.index()].name.len());
    let wide = width(&mut decision.admitted.iter().map(|c| market.targets()[c.target.index()].name.len()).chain(names));
    if !decision.admitted.is_empty() {
        let lead = decision.lead.shown();
        let _ = writeln!(out, "\n  would try, in this order (at most {}{lead}):", decision.max_attempts);
    }
    for (number, candidate) in decision.admitted.iter().enumerate() {
        let Candidate { target, expected_cost: cost, latency_ms, measured, .. } = candidate;
        let name = &market.targets()[target.index()].name;
        let cost = cost.map_or_else(|| "price unknown".to_owned(), |cost| format!("{} USD", cost.to_fixed(6)));
        let measured = if *measured { "" } else { " (prior)" };
        let seconds = format!("{}.{}", latency_ms / 1000, latency_ms % 1000 / 100);
        let _ = writeln!(out, "  {:>2}. {:<wide$}  {cost:>14}  {seconds:>6} s{measured}", number + 1, name);
    }
    if let Some(error) = &decision.refusal {
        let _ = writeln!(out, "\n  refused   {} {}", error.kind.status(), error.code_str());
    }
    if !decision.rejected.is_empty() {
        let _ = writeln!(out, "\n  not used:");
    }
    for rejection in &decision.rejected {
        let name = &market.targets()[rejection.target.index()].name;
        let late = if decision.is_reserve(rejection.target) { "; tried when all else has failed" } else { "" };
        let _ = writeln!(out, "      {name:<wide$}  {}{late}", rejection.reason);
    }
    out
}

fn as_json(market: &dyn Market, question: &Question, decision: &Decision) -> Value {
    let refusal = |error: &Error| json!({"status": error.kind.status(), "code": error.code_str(), "message": error.message, "param": error.param});
    let admitted = decision.admitted.iter().map(|c| {
        json!({
            "target": &*market.targets()[c.target.index()].name,
            "expected_cost_usd": c.expected_cost.map(|cost| cost.to_string()),
            "expected_latency_ms": c.latency_ms,
            "measured": c.measured,
        })
    });
    let rejected = decision.rejected.iter().map(|r| {
        let target = &market.targets()[r.target.index()].name;
        let late = decision.is_reserve(r.target);
        json!({"target": &**target, "reason": r.reason.label(), "why": r.reason.to_string(), "tried_last": late})
    });
    json!({
        "model": question.model,
        "policy": &*decision.policy,
        "route": &*decision.route,
        "requires": decision.requirement.to_string(),
        "attempts": decision.max_attempts,
        "lead": decision.lead.label(),
        "baseline": decision.baseline.as_ref().map(|b| &*b.name),
        "admitted": admitted.collect::<Vec<_>>(),
        "rejected": rejected.collect::<Vec<_>>(),
        "refusal": decision.refusal.as_ref().map(refusal),
    })
}
