//! Why nothing is admitted, as the one error the caller gets.
//!
//! The candidate that came furthest decides: if one passed policy and price and only lacks a parameter, the caller can
//! do something about it, and that is what they are told (400). If all failed the policy, it is the policy (403).
//! If admitted targets exist but none has a credential, nothing is forbidden and nothing is wrong with the request: the
//! gateway cannot serve it (503, without a time, for waiting does not help). If all that could serve are down: 503 with
//! the earliest time at which one may be tried again, or 429 where the providers limit our rate.

use std::fmt::Write;
use std::time::Duration;

use super::plan::{Ask, Decision};
use super::reason::{Reason, Rejection, Stage};
use super::{Market, Selected, select};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::target::{Capability, Rest, UnixMillis};

/// Advice where nobody knows when a target will be up again.
const RETRY_BLIND: Duration = Duration::from_secs(5);
/// The code of a request for more output than its route allows.
pub(super) const OUTPUT_CAP: &str = "output_cap";
/// Targets that a message for the caller names; the log gets all.
const NAMED: usize = 5;
/// The code of a request for an operation that no otherwise admitted target's dialect has.
pub(super) const NO_OPERATION: &str = "operation_not_offered";

pub(super) fn unknown_model(model: &str, selected: &Selected<'_>) -> Error {
    Error::new(ErrorKind::UnknownModel, select::unknown_message(model, selected)).param("model")
}

/// A route whose condition fails is not skipped: the next one may be laxer.
pub(super) fn failed_condition(policy: &str, route: &str, why: &str) -> Error {
    let message = format!("The condition of policy `{policy}`, route `{route}` can't be evaluated: {why}.");
    Error::new(ErrorKind::PolicyFailed, message)
}

/// A client that asks for a longer answer than the route allows is told, not cut short.
pub(super) fn above_cap(decision: &Decision, asked: u64, cap: u64) -> Error {
    let (policy, route) = (&decision.policy, &decision.route);
    let message =
        format!("{asked} output tokens are asked for; at most {cap} are allowed (policy `{policy}`, route `{route}`).");
    Error::new(ErrorKind::InvalidRequest, message).code(OUTPUT_CAP).param("max_output")
}

/// The error for a decision without admitted targets. `routed`: a route was chosen, not a name of the catalogue.
pub(super) fn refusal(decision: &Decision, market: &dyn Market, ask: &Ask<'_>, routed: bool) -> Error {
    let place = if routed {
        format!("policy `{}`, route `{}`", decision.policy, decision.route)
    } else {
        format!("policy `{}`", decision.policy)
    };
    let Some(furthest) = decision.rejected.iter().map(|r| r.reason.stage()).max() else {
        return Error::new(ErrorKind::Unavailable, format!("No target is set up for this model ({place})."));
    };
    let at_stage: Vec<&Rejection> = decision.rejected.iter().filter(|r| r.reason.stage() == furthest).collect();
    let because = listing(&at_stage, market, NAMED);
    let error = match furthest {
        Stage::Service if routed => {
            Error::new(ErrorKind::Unavailable, format!("No target is in service ({place}): {because}."))
        }
        Stage::Service => {
            let shown: String = ask.model.chars().take(100).collect();
            Error::new(ErrorKind::UnknownModel, format!("The model `{shown}` is not in service: {because}."))
                .param("model")
        }
        Stage::Policy => Error::new(
            ErrorKind::PolicyRefused,
            format!("No target is admitted ({place}; required: {}): {because}.", decision.requirement),
        ),
        Stage::Price => Error::new(
            ErrorKind::TooExpensive,
            format!("Every admissible target costs more than allowed ({place}): {because}."),
        ),
        Stage::Configuration => Error::new(
            ErrorKind::Unavailable,
            format!("The policy admits targets, but none of them is configured ({place}): {because}."),
        ),
        Stage::Request => cannot_carry(&at_stage),
        Stage::Speed => {
            let message = format!("No admitted target is fast enough just now ({place}): {because}.");
            Error::new(ErrorKind::Unavailable, message).retry_after(Some(RETRY_BLIND))
        }
        Stage::Health if at_stage.iter().any(|r| is_limited(r)) => {
            let others = if at_stage.iter().all(|r| is_limited(r)) { "" } else { " or is down" };
            let message = format!("Every admitted target limits the rate{others} just now ({place}).");
            Error::new(ErrorKind::RateLimited, message).retry_after(Some(retry_after(&at_stage, decision.at)))
        }
        Stage::Health => {
            Error::new(ErrorKind::Unavailable, format!("All admitted targets are down or saturated ({place})."))
                .retry_after(Some(retry_after(&at_stage, decision.at)))
        }
    };
    let all: Vec<&Rejection> = decision.rejected.iter().collect();
    error.detail(listing(&all, market, usize::MAX))
}

/// A 400 that names the parameter. Windows are compared only where nothing else is wrong: the roomiest one counts.
fn cannot_carry(rejections: &[&Rejection]) -> Error {
    for rejection in rejections {
        match &rejection.reason {
            Reason::Operation(asked) => {
                let message = format!("No admitted target offers `{}` to clients of this API.", asked.name());
                return Error::new(ErrorKind::UnsupportedParameter, message).code(NO_OPERATION).param("model");
            }
            Reason::Parameter(name) => {
                let message = format!("No admitted target can express the parameter `{name}`.");
                return Error::new(ErrorKind::UnsupportedParameter, message).param(&**name);
            }
            Reason::Capability(missing) => {
                let message = format!("No admitted target supports `{}`.", missing.name());
                return Error::new(ErrorKind::UnsupportedParameter, message).param(member(*missing));
            }
            _ => {}
        }
    }
    let roomiest = |pair: fn(&Reason) -> Option<(u64, u64)>| {
        rejections.iter().filter_map(|r| pair(&r.reason)).max_by_key(|(_, has)| *has)
    };
    let context = |reason: &Reason| match reason {
        Reason::Context { needed, has } => Some((*needed, *has)),
        _ => None,
    };
    if let Some((needed, has)) = roomiest(context) {
        let message = format!("Prompt and answer need {needed} tokens; the largest admitted context holds {has}.");
        return Error::new(ErrorKind::ContextTooLong, message).param("messages");
    }
    let output = |reason: &Reason| match reason {
        Reason::Output { asked, has } => Some((*asked, *has)),
        _ => None,
    };
    let (asked, has) = roomiest(output).unwrap_or_default();
    let message = format!("{asked} output tokens are asked; admitted targets give at most {has}.");
    Error::new(ErrorKind::ContextTooLong, message).param("max_tokens")
}

/// The request member that brings a need along.
fn member(capability: Capability) -> &'static str {
    match capability {
        Capability::Stream => "stream",
        Capability::Tools => "tools",
        Capability::Json | Capability::JsonSchema => "response_format",
        Capability::Image | Capability::Audio | Capability::File => "messages",
        Capability::Reasoning => "reasoning_effort",
        Capability::Logprobs => "logprobs",
        Capability::Choices => "n",
        Capability::Chat
        | Capability::Embeddings
        | Capability::Rerank
        | Capability::Moderations
        | Capability::Images
        | Capability::Speech
        | Capability::Transcription
        | Capability::Batch => "model",
    }
}

fn is_limited(rejection: &Rejection) -> bool {
    matches!(rejection.reason, Reason::Down { rest: Rest::Limited, .. })
}

/// Until the earliest known time, at least a second.
fn retry_after(rejections: &[&Rejection], now: UnixMillis) -> Duration {
    let known = rejections.iter().filter_map(|r| match r.reason {
        Reason::Down { until, .. } => until,
        _ => None,
    });
    known.min().map_or(RETRY_BLIND, |until| {
        let wait = u64::try_from(until.0.saturating_sub(now.0)).unwrap_or(0);
        Duration::from_millis(wait.max(1_000))
    })
}

fn listing(rejections: &[&Rejection], market: &dyn Market, most: usize) -> String {
    let mut text = String::new();
    for (number, rejection) in rejections.iter().take(most).enumerate() {
        let name = market.targets().get(rejection.target.index()).map_or("?", |t| &*t.name);
        let comma = if number == 0 { "" } else { "; " };
        let _ = write!(text, "{comma}{name}: {}", rejection.reason);
    }
    if rejections.len() > most {
        let _ = write!(text, "; and {} more", rejections.len() - most);
    }
    text
}
