//! Error answers and error events, by their type first and by the HTTP status where the body says nothing.
//!
//! Two readings are not literal. A prompt that is too long gets the code `context_length_exceeded`, as clients test
//! for it and routes may fall back on it. An empty account answers 400 `invalid_request_error`, although nothing is
//! wrong with the request: it counts as our credentials, so that another target may serve.

use bytes::Bytes;
use serde::Serialize;

use super::types::{ErrorBody, WireError};
use crate::dialect::common::about_foreign_thinking;
use crate::domain::error::{Error, ErrorKind, Failure, FailureKind, NO_QUOTA, PROMPT_TOO_LONG};

/// The event that ends a stream which broke.
pub(super) fn event(error: &Error) -> Bytes {
    let body = body(error, "", error.retry_seconds());
    Bytes::from([b"event: error\ndata: ".as_slice(), &body, b"\n\n"].concat())
}

/// The body of an error answer. Clients show `request_id` to their users.
pub(super) fn encode(error: &Error, request: &str) -> Vec<u8> {
    body(error, request, None)
}

fn body(error: &Error, request: &str, retry_after: Option<u64>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Outer<'a> {
        r#type: &'static str,
        error: Inner<'a>,
        #[serde(skip_serializing_if = "str::is_empty")]
        request_id: &'a str,
    }
    #[derive(Serialize)]
    struct Inner<'a> {
        r#type: &'static str,
        message: &'a str,
        /// Not of the dialect, but its clients pass on what they do not know.
        code: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        param: Option<&'a str>,
        /// Neither is this: seconds, where no header can tell them any more.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
        /// What SDKs act on where a conversation lies at the provider.
        #[serde(skip_serializing_if = "Option::is_none")]
        details: Option<Details<'a>>,
    }
    #[derive(Serialize)]
    struct Details<'a> {
        error_code: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        unsupported: Option<[&'static str; 1]>,
    }
    // A target without threads: SDKs then send the whole conversation.
    let threadless = error.kind == ErrorKind::UnsupportedParameter && error.param.as_deref() == Some("thread");
    let details = if threadless {
        Some(Details { error_code: "thread_unsupported_request", unsupported: Some(["thread"]) })
    } else {
        let code = error.shown_code();
        code.starts_with("thread_").then_some(Details { error_code: code, unsupported: None })
    };
    let inner = Inner {
        r#type: if error.told_status == Some(413) { TOO_LARGE } else { kind(error.kind) },
        message: &error.message,
        code: error.shown_code(),
        param: error.param.as_deref(),
        retry_after,
        details,
    };
    serde_json::to_vec(&Outer { r#type: "error", error: inner, request_id: request }).unwrap_or_default()
}

const TOO_LARGE: &str = "request_too_large";

/// Source: Anthropic API, "Errors".
fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest
        | ErrorKind::UnsupportedParameter
        | ErrorKind::ContextTooLong
        | ErrorKind::MethodNotAllowed
        | ErrorKind::UnsupportedMedia
        | ErrorKind::BodyTimeout => "invalid_request_error",
        ErrorKind::BodyTooLarge => TOO_LARGE,
        ErrorKind::UnknownModel | ErrorKind::UnknownPath => "not_found_error",
        ErrorKind::InvalidKey => "authentication_error",
        ErrorKind::Forbidden | ErrorKind::PolicyRefused | ErrorKind::PolicyFailed | ErrorKind::TooExpensive => {
            "permission_error"
        }
        ErrorKind::BudgetExhausted => "billing_error",
        ErrorKind::RateLimited => "rate_limit_error",
        ErrorKind::Unavailable | ErrorKind::Overloaded => "overloaded_error",
        ErrorKind::UpstreamTimeout => "timeout_error",
        ErrorKind::UpstreamFailed | ErrorKind::Internal => "api_error",
    }
}

/// How much of a body that is no JSON is kept.
const MAX_TEXT: usize = 300;

/// Reads an error answer.
pub(super) fn decode(status: u16, body: &[u8]) -> Failure {
    let mut failure = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => classify(body.error, Some(status)),
        Err(_) => Failure::new(by_status(status), excerpt(status, body)),
    };
    failure.status = Some(status);
    failure
}

/// An error inside a stream or under a good status. The request had been accepted, so another target may do better:
/// it never counts as rejected.
pub(super) fn in_band(error: Option<WireError>) -> Failure {
    let error = error.unwrap_or_default();
    let status = error.kind.as_deref().and_then(status_of);
    let failure = classify(error, None);
    let kind = if failure.kind == FailureKind::Rejected { FailureKind::Upstream } else { failure.kind };
    Failure { kind, status, ..failure }
}

fn classify(error: WireError, status: Option<u16>) -> Failure {
    let message = error.message.unwrap_or_else(|| "the provider gave no reason".to_owned());
    let by_type = error.kind.as_deref().and_then(by_type);
    let mut kind = by_type.or_else(|| status.map(by_status)).unwrap_or(FailureKind::Upstream);
    let mut code = error.details.and_then(|details| details.error_code).or(error.kind);
    if kind == FailureKind::Rejected {
        if message.contains("credit balance is too low") {
            kind = FailureKind::Credentials;
            code = Some(NO_QUOTA.to_owned());
        } else if message.starts_with("prompt is too long") || message.contains("exceed context limit") {
            code = Some(PROMPT_TOO_LONG.to_owned());
        }
    }
    let param = if kind == FailureKind::Rejected { param(&message) } else { None };
    let foreign_thinking = about_foreign_thinking(None, &message);
    Failure { code, param, foreign_thinking, ..Failure::new(kind, message) }
}

fn by_type(name: &str) -> Option<FailureKind> {
    Some(match name {
        "invalid_request_error" | "request_too_large" => FailureKind::Rejected,
        "authentication_error" | "permission_error" | "billing_error" => FailureKind::Credentials,
        "rate_limit_error" => FailureKind::RateLimited,
        // It is about the model: another target has another one.
        "not_found_error" => FailureKind::NoModel,
        "overloaded_error" => FailureKind::Upstream,
        "timeout_error" => FailureKind::Timeout,
        // `api_error` says less than the status.
        _ => return None,
    })
}

/// The status that an answer would have had. Source: Anthropic API, "Errors".
fn status_of(name: &str) -> Option<u16> {
    Some(match name {
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "rate_limit_error" => 429,
        "api_error" => 500,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => return None,
    })
}

fn by_status(status: u16) -> FailureKind {
    match status {
        401..=403 => FailureKind::Credentials,
        404 => FailureKind::NoModel,
        408 | 504 => FailureKind::Timeout,
        500.. => FailureKind::Upstream,
        429 => FailureKind::RateLimited,
        400..=499 => FailureKind::Rejected,
        _ => FailureKind::Malformed,
    }
}

/// Messages about a parameter begin with its path and a colon: `messages.0.content: ...`.
fn param(message: &str) -> Option<String> {
    let (path, _) = message.split_once(": ")?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
    (!path.is_empty() && path.len() <= 100 && path.chars().all(plain)).then(|| path.to_owned())
}

fn excerpt(status: u16, body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body).trim().chars().take(MAX_TEXT).collect();
    if text.is_empty() { format!("the provider answered {status} without a body") } else { text }
}
