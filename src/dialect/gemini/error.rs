//! Errors, both ways: `{"error": {code, message, status, details}}`, by some endpoints in an array.
//!
//! A bad key is a 400 with `API_KEY_INVALID` in its details, and the time to wait after a 429 stands in the body and
//! in no header.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dialect::common::about_foreign_thinking;
use crate::domain::error::{Error, ErrorKind, Failure, FailureKind, PROMPT_TOO_LONG};

/// What is said of calls that lack a signature, by Vertex and by AI Studio.
const UNSIGNED: [&str; 2] = ["missing a `thought_signature`", "missing a thought_signature"];

/// How much of a message is kept.
const MAX_TEXT: usize = 512;

#[derive(Default, Deserialize)]
struct Shape {
    error: Option<WireError>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WireError {
    code: Option<u16>,
    message: Option<String>,
    status: Option<String>,
    details: Vec<Detail>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Detail {
    reason: Option<String>,
    retry_delay: Option<String>,
    field_violations: Vec<Violation>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Violation {
    field: Option<String>,
}

/// Reads an error answer.
pub(super) fn decode(status: u16, body: &[u8]) -> Failure {
    let list = body.trim_ascii_start().first() == Some(&b'[');
    let shape = if list {
        serde_json::from_slice::<Vec<Shape>>(body).ok().and_then(|shapes| shapes.into_iter().next())
    } else {
        serde_json::from_slice::<Shape>(body).ok()
    };
    let error = shape.and_then(|shape| shape.error).unwrap_or_default();
    let mut failure = classify(error, status);
    failure.status = Some(status);
    failure
}

/// An error inside a stream or under a good status. The request had been accepted, so another target may do better.
pub(super) fn in_band(error: WireError) -> Failure {
    let status = error.code.filter(|code| matches!(code, 401 | 403 | 429 | 500..=599));
    Failure { status, ..classify(error, status.unwrap_or(500)) }
}

fn classify(error: WireError, status: u16) -> Failure {
    let reason = error.details.iter().find_map(|detail| detail.reason.clone());
    let retry = error.details.iter().find_map(|detail| detail.retry_delay.as_deref()).and_then(seconds);
    let field = error.details.iter().flat_map(|d| &d.field_violations).find_map(|v| v.field.clone());
    let kind = match (status, reason.as_deref()) {
        (400, Some("API_KEY_INVALID")) | (401..=403, _) => FailureKind::Credentials,
        (404, _) => FailureKind::NoModel,
        (408 | 504, _) => FailureKind::Timeout,
        (429, _) => FailureKind::RateLimited,
        (400..=499, _) => FailureKind::Rejected,
        _ => FailureKind::Upstream,
    };
    let message = error.message.unwrap_or_else(|| format!("the provider answered {status}"));
    let too_long = message.contains("exceeds the maximum number of tokens");
    let code = if too_long { Some(PROMPT_TOO_LONG.to_owned()) } else { reason.or(error.status) };
    // Calls of a conversation that began elsewhere have no signature.
    let unsigned = UNSIGNED.iter().any(|words| message.contains(words));
    let foreign_thinking = unsigned || about_foreign_thinking(None, &message);
    let message: String = message.chars().take(MAX_TEXT).collect();
    Failure { code, param: field, retry_after: retry, foreign_thinking, ..Failure::new(kind, message) }
}

/// `48s`, `1.5s`.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// `48s`, `1.500s`: whole milliseconds, rounded up so that nobody comes too early.
fn delay(after: Duration) -> String {
    let millis = after.as_nanos().div_ceil(1_000_000);
    if millis.is_multiple_of(1000) {
        format!("{}s", millis / 1000)
    } else {
        format!("{}.{:03}s", millis / 1000, millis % 1000)
    }
}

/// The body of an error answer.
pub(super) fn encode(error: &Error) -> Vec<u8> {
    #[derive(Serialize)]
    struct Outer<'a> {
        error: Inner<'a>,
    }
    #[derive(Serialize)]
    struct Inner<'a> {
        code: u16,
        message: &'a str,
        status: &'static str,
        details: Vec<Info<'a>>,
    }
    #[derive(Serialize)]
    struct Info<'a> {
        #[serde(rename = "@type")]
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        domain: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<Metadata<'a>>,
        #[serde(rename = "retryDelay", skip_serializing_if = "Option::is_none")]
        retry_delay: Option<String>,
    }
    #[derive(Serialize)]
    struct Metadata<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        param: Option<&'a str>,
    }
    // A provider's own word for the kind of an error is one of the dialect's, or it is a reason.
    let told = error.told_code.as_deref().and_then(|code| CODES.iter().find(|known| **known == code));
    let info = Info {
        kind: "type.googleapis.com/google.rpc.ErrorInfo",
        reason: Some(if told.is_some() { error.code_str() } else { error.shown_code() }),
        domain: Some("stellwerk"),
        metadata: Some(Metadata { param: error.param.as_deref() }),
        retry_delay: None,
    };
    // Clients of this dialect look for the time to wait in the body.
    let delay = error.retry_after.map(|after| Info {
        kind: "type.googleapis.com/google.rpc.RetryInfo",
        reason: None,
        domain: None,
        metadata: None,
        retry_delay: Some(delay(after)),
    });
    let (code, status) = (self::code(error), told.copied().unwrap_or_else(|| status(error)));
    let inner = Inner { code, message: &error.message, status, details: [info].into_iter().chain(delay).collect() };
    serde_json::to_vec(&Outer { error: inner }).unwrap_or_default()
}

/// The names that errors about a request may have. Source: google.rpc.Code.
const CODES: [&str; 6] =
    ["INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "ABORTED", "ALREADY_EXISTS", "UNIMPLEMENTED"];

/// The status of an error, of those that the dialect has.
pub(super) fn code(error: &Error) -> u16 {
    match error.told_status {
        Some(kept @ (409 | 500)) => kept,
        // What else is wrong with a request is a 400 here.
        _ => error.kind.status(),
    }
}

/// Source: google.rpc.Code.
fn status(error: &Error) -> &'static str {
    match error.kind {
        ErrorKind::InvalidRequest if error.told_status == Some(409) => "ABORTED",
        ErrorKind::InvalidRequest
        | ErrorKind::UnsupportedParameter
        | ErrorKind::ContextTooLong
        | ErrorKind::MethodNotAllowed
        | ErrorKind::BodyTooLarge
        | ErrorKind::UnsupportedMedia => "INVALID_ARGUMENT",
        ErrorKind::InvalidKey => "UNAUTHENTICATED",
        ErrorKind::Forbidden | ErrorKind::PolicyRefused | ErrorKind::PolicyFailed | ErrorKind::TooExpensive => {
            "PERMISSION_DENIED"
        }
        ErrorKind::BudgetExhausted => "FAILED_PRECONDITION",
        ErrorKind::UnknownModel | ErrorKind::UnknownPath => "NOT_FOUND",
        ErrorKind::RateLimited => "RESOURCE_EXHAUSTED",
        ErrorKind::BodyTimeout | ErrorKind::UpstreamTimeout => "DEADLINE_EXCEEDED",
        ErrorKind::UpstreamFailed if error.told_status == Some(500) => "INTERNAL",
        ErrorKind::Unavailable | ErrorKind::Overloaded | ErrorKind::UpstreamFailed => "UNAVAILABLE",
        ErrorKind::Internal => "INTERNAL",
    }
}
