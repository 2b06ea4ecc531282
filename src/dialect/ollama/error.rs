//! Error answers and error lines inside a stream: one text, whose words say what the HTTP status does not.
//!
//! A prompt that is too long gets the code `context_length_exceeded`, as clients test for it and routes may fall back
//! on it.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::common::excerpt;
use crate::domain::error::{Failure, FailureKind, PROMPT_TOO_LONG};

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    error: &'a RawValue,
}

/// Proxies and the compatible paths put an object there.
#[derive(Deserialize)]
struct Object {
    message: String,
}

/// Words for a prompt that does not fit.
const TOO_LONG: [&str; 5] = [
    "prompt too long",
    "exceeds the context length",
    "exceeds the available context size",
    "exceeded max context length",
    "context length exceeded",
];

/// Reads an error answer.
pub(super) fn decode(status: u16, body: &[u8]) -> Failure {
    let told = serde_json::from_slice::<Body<'_>>(body).ok().and_then(|body| words(body.error));
    let message = told.unwrap_or_else(|| excerpt(status, body));
    let kind = by_status(status);
    Failure { status: Some(status), code: code(&message), ..Failure::new(kind, message) }
}

/// An error inside a stream or under a good status. The request had been accepted, so another target may do better:
/// it never counts as rejected.
pub(super) fn in_band(error: &RawValue) -> Failure {
    let message = words(error).unwrap_or_else(|| "the provider gave no reason".to_owned());
    Failure { code: code(&message), ..Failure::new(FailureKind::Upstream, message) }
}

fn words(error: &RawValue) -> Option<String> {
    let text = serde_json::from_str::<String>(error.get()).ok();
    let text = text.or_else(|| serde_json::from_str::<Object>(error.get()).ok().map(|object| object.message));
    text.filter(|text| !text.is_empty())
}

fn code(message: &str) -> Option<String> {
    TOO_LONG.iter().any(|words| message.contains(words)).then(|| PROMPT_TOO_LONG.to_owned())
}

fn by_status(status: u16) -> FailureKind {
    match status {
        401..=403 => FailureKind::Credentials,
        // The model has not been pulled.
        404 => FailureKind::NoModel,
        408 | 504 => FailureKind::Timeout,
        429 => FailureKind::RateLimited,
        500.. => FailureKind::Upstream,
        400..=499 => FailureKind::Rejected,
        _ => FailureKind::Malformed,
    }
}
