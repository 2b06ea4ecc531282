//! Errors of the dialect, both ways. Imitators have a dozen shapes; all that are known are read.

use serde::{Deserialize, Serialize};

use crate::dialect::common::about_foreign_thinking;
use crate::domain::error::{Error, ErrorKind, Failure, FailureKind, NO_QUOTA};

/// `{"error": {…}}` with all four members, null where there is nothing: SDKs read each of them.
pub(super) fn encode(error: &Error) -> Vec<u8> {
    body(error, None)
}

fn body(error: &Error, retry_after: Option<u64>) -> Vec<u8> {
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
        /// Not of the dialect: seconds, where no header can tell them any more.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    }
    let body = Outer {
        error: Inner {
            message: &error.message,
            r#type: if error.code == Some(NO_QUOTA) { NO_QUOTA } else { kind(error.kind) },
            param: error.param.as_deref(),
            code: code(error),
            retry_after,
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
    [b"data: ".as_slice(), &body(error, error.retry_seconds()), b"\n\n"].concat()
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
    message: Option<Words>,
    detail: Option<Words>,
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
    message: Option<Words>,
    r#type: Option<Text>,
    code: Option<Text>,
    status: Option<Text>,
    param: Option<Text>,
    metadata: Option<Relayed>,
}

/// What a relay tells of the provider behind it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Relayed {
    /// The other's answer as text, JSON mostly. Beside it the relay says only that there was an error.
    Raw {
        raw: String,
    },
    Other(serde::de::IgnoredAny),
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

/// A message: text, or what a validator found, as servers made with FastAPI answer it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    Found(Vec<Finding>),
    Detail { detail: Box<Words> },
    Other(serde::de::IgnoredAny),
}

/// One thing that a validator found, and where.
#[derive(Debug, Deserialize)]
struct Finding {
    msg: String,
    #[serde(default)]
    loc: Vec<Text>,
}

impl Words {
    /// The words, and the parameter that they are about.
    fn read(self) -> (Option<String>, Option<String>) {
        match self {
            Self::Text(text) => (Some(text).filter(|text| !text.is_empty()), None),
            Self::Detail { detail } => detail.read(),
            Self::Found(found) => {
                let mut param = None;
                let told = found.into_iter().map(|finding| {
                    let path = finding.loc.into_iter().filter_map(Text::string).filter(|part| part != "body");
                    let path = path.collect::<Vec<_>>().join(".");
                    let text = if path.is_empty() { finding.msg } else { format!("{path}: {}", finding.msg) };
                    param = param.take().or(Some(path).filter(|path| !path.is_empty()));
                    text
                });
                let told = told.collect::<Vec<_>>().join("; ");
                (Some(told).filter(|told| !told.is_empty()), param)
            }
            Self::Other(_) => (None, None),
        }
    }
}

/// Reads an error answer.
pub(super) fn decode(status: u16, body: &[u8]) -> Failure {
    shape(body).unwrap_or_default().members(true).failure(status)
}

fn shape(body: &[u8]) -> Option<Shape> {
    // An array would be read as a struct by position: look first.
    let list = body.trim_ascii_start().first() == Some(&b'[');
    if list {
        serde_json::from_slice::<Vec<Shape>>(body).ok().and_then(|shapes| shapes.into_iter().next())
    } else {
        serde_json::from_slice::<Shape>(body).ok()
    }
}

impl Shape {
    /// The error, wherever it stands. In a stream the type at the top is that of the event.
    fn members(self, typed: bool) -> Members {
        match self.error {
            Some(ErrorField::Object(members)) => members,
            Some(ErrorField::Text(text)) => {
                Members { message: Some(Words::Text(text)), code: self.code, ..Members::default() }
            }
            None => Members {
                message: self.message.or(self.detail),
                r#type: self.r#type.filter(|_| typed),
                code: self.code,
                param: self.param,
                ..Members::default()
            },
        }
    }
}

/// Reads an error inside an answer: the error as an object or as text, or its members at the top.
pub(super) fn inside(json: &str) -> Failure {
    shape(json.as_bytes()).unwrap_or_default().members(false).inside()
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

/// How imitators that answer 400 to a bad key begin to say so: xAI, Gemini's compatible path.
const BAD_KEY: [&str; 3] = ["Incorrect API key provided", "API key not valid", "Invalid API key"];

impl Members {
    /// Whether there is no word and no code of an error in them.
    pub(super) fn say_nothing(&self) -> bool {
        let empty = |text: &Option<Text>| match text {
            Some(Text::Words(text)) => text.is_empty(),
            Some(Text::Number(number)) => *number == 0,
            Some(Text::Other(_)) | None => true,
        };
        let silent = match &self.message {
            Some(Words::Text(text)) => text.is_empty(),
            Some(Words::Found(found)) => found.is_empty(),
            Some(Words::Detail { .. }) => false,
            Some(Words::Other(_)) | None => true,
        };
        silent && [&self.r#type, &self.code, &self.status].into_iter().all(empty)
    }

    /// Classifies by status, then by what the provider calls it.
    pub(super) fn failure(self, status: u16) -> Failure {
        self.told().classified(status)
    }

    /// What a relay passes on says more than its own words, which are the same for every error.
    fn told(self) -> Self {
        let Some(Relayed::Raw { raw }) = &self.metadata else { return self };
        let inner = shape(raw.as_bytes()).map(|shape| shape.members(true)).filter(|inner| inner.message.is_some());
        match inner {
            // Not what another relay behind it passed on: one level is enough for anybody.
            Some(inner) => Self { code: inner.code.or(self.code), metadata: None, ..inner },
            None if raw.trim().is_empty() || raw.trim_start().starts_with(['{', '[', '<']) => self,
            None => Self { message: Some(Words::Text(raw.clone())), ..self },
        }
    }

    fn classified(self, status: u16) -> Failure {
        let text = |text: Option<Text>| text.and_then(Text::string).filter(|text| !text.is_empty());
        let (kind_text, status_text) = (text(self.r#type), text(self.status));
        // A number repeats the HTTP status; the name beside it says more.
        let code = text(self.code);
        let numeric = code.as_ref().is_some_and(|code| code.bytes().all(|b| b.is_ascii_digit()));
        let code = if numeric { status_text.or(code) } else { code.or(status_text) };
        let named = |name: &str| code.as_deref() == Some(name) || kind_text.as_deref() == Some(name);
        let empty = BILLING.iter().any(|name| named(name));
        let (message, about) = self.message.map_or((None, None), Words::read);
        let message = message.unwrap_or_else(|| format!("the provider answered {status}"));
        let bad_key = BAD_KEY.iter().any(|words| message.starts_with(words));
        let kind = match status {
            400 | 403 | 429 if empty => FailureKind::Credentials,
            401 | 403 => FailureKind::Credentials,
            402 => FailureKind::Credentials,
            429 => FailureKind::RateLimited,
            // A bad key is a 400 with some.
            400 if bad_key || named("API_KEY_INVALID") || named("invalid_api_key") => FailureKind::Credentials,
            // The catalogue's model or deployment is not there, or not any more: another target has it.
            404 | 410 => FailureKind::NoModel,
            408 | 504 => FailureKind::Timeout,
            400..=499 => FailureKind::Rejected,
            _ => FailureKind::Upstream,
        };
        let too_long = kind == FailureKind::Rejected && TOO_LONG.iter().any(|words| message.contains(words));
        let code =
            if empty && kind == FailureKind::Credentials { Some(NO_QUOTA.to_owned()) } else { code.or(kind_text) };
        let shown: String = message.chars().take(512).collect();
        let param = text(self.param).or(about);
        let foreign_thinking = about_foreign_thinking(code.as_deref(), &message);
        let failure = Failure { status: Some(status), code, param, foreign_thinking, ..Failure::new(kind, shown) };
        if too_long { failure.too_long_prompt() } else { failure }
    }

    /// An error inside an answer: its own code may be a status, or a name that has one.
    pub(super) fn inside(self) -> Failure {
        let named = |name: &str| match name {
            "rate_limit_exceeded" | "rate_limit_error" | "insufficient_quota" => Some(429),
            "invalid_api_key" => Some(401),
            "server_is_overloaded" | "overloaded_error" | "overloaded" | "engine_overloaded" => Some(503),
            number => number.parse().ok(),
        };
        let status = |text: &Option<Text>| match text {
            Some(Text::Number(number)) => u16::try_from(*number).ok(),
            Some(Text::Words(text)) => named(text),
            Some(Text::Other(_)) | None => None,
        };
        let status = status(&self.code).or_else(|| status(&self.r#type));
        // The request itself was accepted, so another target may do better: never `Rejected`.
        let status = status.filter(|code| matches!(code, 401 | 403 | 429 | 500..=599));
        Failure { status, ..self.failure(status.unwrap_or(500)) }
    }
}
