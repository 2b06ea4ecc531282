//! Error answers and exceptions in streams, by their type where it is told and by the HTTP status and the words where
//! not: the type of an error answer is in a header, which is not seen here.
//!
//! Some readings are not literal. A prompt that is too long gets the code `context_length_exceeded`, as clients test
//! for it and routes may fall back on it. A model that is not there, or not for this account, answers 400 although
//! nothing is wrong with the request: that counts against the target, so that another may serve.
//!
//! Source: Bedrock Runtime API, errors of Converse and members of `ConverseStreamOutput`.

use super::reply::WireError;
use crate::dialect::common::about_foreign_thinking;
use crate::domain::error::{Failure, FailureKind, PROMPT_TOO_LONG};

/// How much of a body that is no JSON is kept.
const MAX_TEXT: usize = 300;

/// Words of the models' makers for a prompt that is too long.
const TOO_LONG: [&str; 8] = [
    "input is too long",
    "prompt is too long",
    "exceed context limit",
    "maximum context length",
    "too many input tokens",
    "exceeds the maximum number of tokens",
    "exceeds the maximum input length",
    "context window",
];

/// Words for a model that this account or place does not have.
const NO_MODEL: [&str; 5] = [
    "model identifier is invalid",
    "on-demand throughput isn",
    "reached the end of its life",
    "invoked an unsupported model",
    "model is not supported in this region",
];

/// Reads an error answer.
pub(super) fn decode(status: u16, body: &[u8]) -> Failure {
    let mut failure = match serde_json::from_slice::<WireError>(body) {
        Ok(error) if error.message.is_some() || error.kind.is_some() => classify(None, error, Some(status)),
        _ => Failure::new(by_status(status), excerpt(status, body)),
    };
    failure.status = Some(status);
    failure
}

/// An exception inside a stream, or an error under a good status. `name` is the exception's. Once the answer has
/// `begun` it was accepted, so another target may do better: then it never counts as rejected.
pub(super) fn in_band(name: Option<&str>, error: WireError, begun: bool) -> Failure {
    let overloaded = name.or(error.kind.as_deref()).map(plain_type).is_some_and(|name| {
        ["ServiceUnavailableException", "ModelNotReadyException"].iter().any(|known| known.eq_ignore_ascii_case(name))
    });
    let failure = classify(name, error, None);
    let kind = match failure.kind {
        FailureKind::Rejected if begun => FailureKind::Upstream,
        kind => kind,
    };
    Failure { kind, status: overloaded.then_some(503), ..failure }
}

fn classify(name: Option<&str>, error: WireError, status: Option<u16>) -> Failure {
    let message = error.message.unwrap_or_else(|| "the provider gave no reason".to_owned());
    let code = name.or(error.kind.as_deref()).map(plain_type).filter(|c| !c.is_empty());
    let known = code.and_then(by_type).or_else(|| status.map(by_status));
    let mut kind = known.unwrap_or(FailureKind::Upstream);
    let mut code = code.map(str::to_owned);
    let mut param = None;
    if kind == FailureKind::Rejected {
        let words = message.to_lowercase();
        let says = |list: &[&str]| list.iter().any(|w| words.contains(w));
        if says(&TOO_LONG) {
            code = Some(PROMPT_TOO_LONG.to_owned());
        } else if says(&NO_MODEL) {
            kind = FailureKind::Upstream;
        } else if words.trim_end_matches('.') == "operation not allowed" {
            kind = FailureKind::Credentials;
        } else {
            param = blamed(&message);
        }
    }
    let foreign_thinking = about_foreign_thinking(None, &message);
    Failure { code, param, foreign_thinking, ..Failure::new(kind, message) }
}

/// The bare name: services put a namespace before it and a link behind it.
fn plain_type(name: &str) -> &str {
    let name = name.rsplit_once('#').map_or(name, |(_, name)| name);
    name.split_once(':').map_or(name, |(name, _)| name)
}

/// In error answers the names begin with a capital letter, in streams with a small one.
fn by_type(name: &str) -> Option<FailureKind> {
    let is = |known: &[&str]| known.iter().any(|k| k.eq_ignore_ascii_case(name));
    Some(if is(&["ThrottlingException", "ModelNotReadyException", "ServiceQuotaExceededException"]) {
        FailureKind::RateLimited
    } else if is(&[
        "AccessDeniedException",
        "ExpiredTokenException",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "IncompleteSignatureException",
    ]) {
        FailureKind::Credentials
    } else if is(&["ValidationException", "SerializationException"]) {
        FailureKind::Rejected
    } else if is(&["ModelTimeoutException"]) {
        FailureKind::Timeout
    } else if is(&[
        "InternalServerException",
        "ModelErrorException",
        "ModelStreamErrorException",
        "ResourceNotFoundException",
        "ServiceUnavailableException",
    ]) {
        FailureKind::Upstream
    } else {
        return None;
    })
}

fn by_status(status: u16) -> FailureKind {
    match status {
        401..=403 => FailureKind::Credentials,
        // 404 is about the model, 424 is the model's own error: another target has another one.
        404 | 424 | 500.. => FailureKind::Upstream,
        408 => FailureKind::Timeout,
        429 => FailureKind::RateLimited,
        400..=499 => FailureKind::Rejected,
        _ => FailureKind::Malformed,
    }
}

/// The parameter that a message blames: `... at 'path' failed to satisfy constraint ...`, or the path before a colon in
/// the words of the model's maker.
fn blamed(message: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let path = |text: &str| (!text.is_empty() && text.len() <= 100 && text.chars().all(plain)).then(|| text.to_owned());
    if let Some((before, _)) = message.split_once("' failed to satisfy constraint") {
        return path(before.rsplit_once('\'')?.1);
    }
    let rest = message.strip_prefix("The model returned the following errors: ")?;
    path(rest.split_once(": ")?.0)
}

fn excerpt(status: u16, body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body).trim().chars().take(MAX_TEXT).collect();
    if text.is_empty() { format!("the provider answered {status} without a body") } else { text }
}
