//! Error answers and errors inside answers, by the HTTP status and, where one status means several things, by the
//! words.
//!
//! A prompt that is too long gets the code `context_length_exceeded`, as clients test for it and routes may fall back
//! on it. A trial key that is used up for the month answers 429, but waiting a minute mends nothing: it counts as our
//! credentials.
//!
//! Source: Cohere documentation, "Errors"; recorded answers.

use serde::Deserialize;

use crate::dialect::common::excerpt;
use crate::domain::error::{Failure, FailureKind, NO_QUOTA, PROMPT_TOO_LONG};

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    error_type: Option<String>,
}

/// Reads an error answer.
pub(super) fn decode(status: u16, body: &[u8]) -> Failure {
    let read: Body = serde_json::from_slice(body).unwrap_or_default();
    let message = read.message.filter(|m| !m.is_empty()).unwrap_or_else(|| excerpt(status, body));
    let kind = match by_status(status) {
        FailureKind::RateLimited if message.contains("calls / month") => FailureKind::Credentials,
        kind => kind,
    };
    let code = match read.error_type {
        code if kind == FailureKind::Rejected && too_long(&message, code.as_deref()) => {
            Some(PROMPT_TOO_LONG.to_owned())
        }
        // A trial that is used up is an empty account.
        _ if kind == FailureKind::Credentials && status == 429 => Some(NO_QUOTA.to_owned()),
        code => code,
    };
    Failure { status: Some(status), code, ..Failure::new(kind, message) }
}

/// An error inside a stream or under a good status. The request had been accepted, so another target may do better:
/// it never counts as rejected.
pub(super) fn in_band(message: String) -> Failure {
    let code = too_long(&message, None).then(|| PROMPT_TOO_LONG.to_owned());
    Failure { code, ..Failure::new(FailureKind::Upstream, message) }
}

/// An answer that ended with a word for failure.
pub(super) fn ended(kind: FailureKind, word: &str, message: Option<String>) -> Failure {
    let message = message.filter(|m| !m.is_empty()).unwrap_or_else(|| format!("the provider ended with {word}"));
    Failure { code: Some(word.to_owned()), ..Failure::new(kind, message) }
}

fn too_long(message: &str, error_type: Option<&str>) -> bool {
    error_type == Some("TOO_MANY_TOKENS") || message.starts_with("too many tokens")
}

fn by_status(status: u16) -> FailureKind {
    match status {
        401..=403 => FailureKind::Credentials,
        // The model is not there, or not for this account.
        404 => FailureKind::NoModel,
        408 | 504 => FailureKind::Timeout,
        429 => FailureKind::RateLimited,
        // 499: the provider itself gave the request up.
        499.. => FailureKind::Upstream,
        400..=498 => FailureKind::Rejected,
        _ => FailureKind::Malformed,
    }
}
