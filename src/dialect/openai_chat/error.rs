//! Errors of the dialect, both ways. Imitators have a dozen shapes; all that are known are read.

use serde::{Deserialize, Serialize};

use crate::domain::error::{Error, ErrorKind, Failure, FailureKind, NO_QUOTA};

/// `{"error": {…}}` with all four members, null where there is nothing: SDKs read each of them.
pub(super) fn encode(error: &Error) -> Vec<u8> {
    #[derive(Serialize)]
    struct Outer<'a> {
        error: Inner<'a>,
    }
    #[derive(Serialize)]
    struct Inner<'a> {
        message: &'a str,
        r#type: &'a str,
        param: Option<&'a str>,
        code: &'a str,
    }
    let body = Outer {
        error: Inner {
            message: &error.message,
            r#type: if error.code == Some(NO_QUOTA) { NO_QUOTA } else { kind(error.kind) },
            param: error.param.as_deref(),
            code: code(error),
        },
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

/// Clients know a rate limit by the dialect's own code.
pub(in crate::dialect) fn code(error: &Error) -> &str {
    match (error.kind, error.code) {
        (ErrorKind::RateLimited, None) => "rate_limit_exceeded",
        _ => error.shown_code(),
    }
}

/// The event that ends a stream which broke.
pub(super) fn event(error: &Error) -> Vec<u8> {
    [b"data: ".as_slice(), &encode(error), b"\n\n"].concat()
}

fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidKey
        | ErrorKind::InvalidRequest
        | ErrorKind::UnsupportedParameter
        | ErrorKind::ContextTooLong
        | ErrorKind::UnknownModel
        | ErrorKind::UnknownPath
        | ErrorKind::MethodNotAllowed
        | ErrorKind::BodyTooLarge
        | ErrorKind::UnsupportedMedia
        | ErrorKind::BodyTimeout => "invalid_request_error",
        ErrorKind::Forbidden | ErrorKind::PolicyRefused | ErrorKind::PolicyFailed | ErrorKind::TooExpensive => {
            "permission_error"
        }
        ErrorKind::BudgetExhausted => "insufficient_quota",
        ErrorKind::RateLimited => "rate_limit_error",
        ErrorKind::Unavailable
        | ErrorKind::UpstreamFailed
        | ErrorKind::UpstreamTimeout
        | ErrorKind::Overloaded
        | ErrorKind::Internal => "server_error",
    }
}

/// Any of the shapes: the error as an object or as text, or its members at the top, or in an array.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Shape {
    error: Option<ErrorField>,
    message: Option<Text>,
    detail: Option<Text>,
    r#type: Option<Text>,
    code: Option<Text>,
    param: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ErrorField {
    Object(Members),
    Text(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Members {
    message: Option<Text>,
    r#type: Option<Text>,
    code: Option<Text>,
    status: Option<Text>,
    param: Option<Text>,
}

/// Text, or what some providers put in its place.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text {
    Words(String),
    Number(i64),
    Other(serde::de::IgnoredAny),
}

impl Text {
    fn string(self) -> Option<String> {
        match self {
            Self::Words(text) => Some(text),
            Self::Number(number) => Some(number.to_string()),
            Self::Other(_) => None,
        }
    }
}

/// Reads an error answer.
pub(super) fn decode(status: u16, body: &[u8]) -> Failure {
    // An array would be read as a struct by position: look first.
    let list = body.trim_ascii_start().first() == Some(&b'[');
    let shape = if list {
        serde_json::from_slice::<Vec<Shape>>(body).ok().and_then(|shapes| shapes.into_iter().next())
    } else {
        serde_json::from_slice::<Shape>(body).ok()
    };
    let shape = shape.unwrap_or_default();
    let top = |shape: Shape| Members {
        message: shape.message.or(shape.detail),
        r#type: shape.r#type,
        code: shape.code,
        status: None,
        param: shape.param,
    };
    let members = match shape {
        Shape { error: Some(ErrorField::Object(members)), .. } => members,
        Shape { error: Some(ErrorField::Text(text)), code, .. } => {
            Members { message: Some(Text::Words(text)), code, ..Members::default() }
        }
        shape => top(shape),
    };
    members.failure(status)
}

/// Reads an error inside an answer: the error as an object or as text, or its members at the top.
pub(super) fn inside(json: &str) -> Failure {
    let shape: Shape = serde_json::from_str(json).unwrap_or_default();
    let members = match shape.error {
        Some(ErrorField::Object(members)) => members,
        Some(ErrorField::Text(text)) => {
            Members { message: Some(Text::Words(text)), code: shape.code, ..Members::default() }
        }
        // The type at the top is that of the event.
        None => Members {
            message: shape.message.or(shape.detail),
            code: shape.code,
            param: shape.param,
            ..Members::default()
        },
    };
    members.inside()
}

/// What an account is called that has to be paid first.
const BILLING: [&str; 3] = [NO_QUOTA, "billing_not_active", "billing_hard_limit_reached"];

/// What imitators say of a prompt that is too long: OpenRouter and vLLM, llama.cpp, Perplexity and others.
const TOO_LONG: [&str; 5] = [
    "maximum context length",
    "exceeds the available context size",
    "exceeds the context window",
    "prompt is too long",
    "prompt too long",
];

impl Members {
    /// Classifies by status, then by what the provider calls it.
    pub(super) fn failure(self, status: u16) -> Failure {
        let text = |text: Option<Text>| text.and_then(Text::string).filter(|text| !text.is_empty());
        let (kind_text, status_text) = (text(self.r#type), text(self.status));
        // A number repeats the HTTP status; the name beside it says more.
        let code = text(self.code);
        let numeric = code.as_ref().is_some_and(|code| code.bytes().all(|b| b.is_ascii_digit()));
        let code = if numeric { status_text.or(code) } else { code.or(status_text) };
        let named = |name: &str| code.as_deref() == Some(name) || kind_text.as_deref() == Some(name);
        let empty = BILLING.iter().any(|name| named(name));
        let kind = match status {
            400 | 403 | 429 if empty => FailureKind::Credentials,
            401 | 403 => FailureKind::Credentials,
            402 => FailureKind::Credentials,
            429 => FailureKind::RateLimited,
            // A bad key is a 400 with some.
            400 if named("API_KEY_INVALID") || named("invalid_api_key") => FailureKind::Credentials,
            // The catalogue's model or deployment is not there: another target has it.
            404 => FailureKind::NoModel,
            400..=499 if status != 408 => FailureKind::Rejected,
            _ => FailureKind::Upstream,
        };
        let message = text(self.message).unwrap_or_else(|| format!("the provider answered {status}"));
        let too_long = kind == FailureKind::Rejected && TOO_LONG.iter().any(|words| message.contains(words));
        let code =
            if empty && kind == FailureKind::Credentials { Some(NO_QUOTA.to_owned()) } else { code.or(kind_text) };
        let failure = Failure {
            kind,
            status: Some(status),
            code,
            param: text(self.param),
            message: message.chars().take(512).collect(),
            retry_after: None,
        };
        if too_long { failure.too_long_prompt() } else { failure }
    }

    /// An error inside an answer: its own code may be a status.
    pub(super) fn inside(self) -> Failure {
        let code = match &self.code {
            Some(Text::Number(number)) => u16::try_from(*number).ok(),
            Some(Text::Words(text)) => match text.as_str() {
                "rate_limit_exceeded" | "insufficient_quota" => Some(429),
                "invalid_api_key" => Some(401),
                number => number.parse().ok(),
            },
            Some(Text::Other(_)) | None => None,
        };
        // The request itself was accepted, so another target may do better: never `Rejected`.
        let status = code.filter(|code| matches!(code, 401 | 403 | 429 | 500..=599)).unwrap_or(500);
        Failure { status: None, ..self.failure(status) }
    }
}
