//! Two kinds of trouble, kept apart: an [`Error`] ends a request and is told to the caller; a [`Failure`] ends one
//! attempt and decides whether another may follow.
//!
//! Neither knows HTTP framing or a dialect's error body; `ErrorKind::status` is the one table from kinds to statuses,
//! the dialects render the rest at the rim.

use std::borrow::Cow;
use std::time::Duration;

/// Why a request is refused or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The body or a parameter is malformed.
    InvalidRequest,
    /// A parameter no otherwise admitted target can take.
    UnsupportedParameter,
    /// The prompt and the output limit exceed every admitted target's context.
    ContextTooLong,
    /// No such model or route.
    UnknownModel,
    /// No such path.
    UnknownPath,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The body's media type or coding is not supported.
    UnsupportedMedia,
    /// The body did not arrive in time.
    BodyTimeout,
    /// Missing, malformed, unknown, revoked or expired key: all alike.
    InvalidKey,
    /// The key may not do this.
    Forbidden,
    /// Every target is forbidden by residency or policy.
    PolicyRefused,
    /// The policy's own condition can't be evaluated: its author's to mend, and nothing that trying again mends.
    PolicyFailed,
    /// Every admitted target costs more than the policy's limit.
    TooExpensive,
    /// A budget is exhausted.
    BudgetExhausted,
    /// Too many requests.
    RateLimited,
    /// Admitted targets exist, all are down or saturated.
    Unavailable,
    /// Every attempt failed upstream.
    UpstreamFailed,
    /// No answer in time.
    UpstreamTimeout,
    /// The gateway is full or draining.
    Overloaded,
    /// A defect of ours.
    Internal,
}

impl ErrorKind {
    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::UnsupportedParameter | Self::ContextTooLong => 400,
            Self::InvalidKey => 401,
            Self::BudgetExhausted => 402,
            Self::Forbidden | Self::PolicyRefused | Self::PolicyFailed | Self::TooExpensive => 403,
            Self::UnknownModel | Self::UnknownPath => 404,
            Self::MethodNotAllowed => 405,
            Self::BodyTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::UnsupportedMedia => 415,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::UpstreamFailed => 502,
            Self::Unavailable | Self::Overloaded => 503,
            Self::UpstreamTimeout => 504,
        }
    }

    /// The stable machine-readable code, also the label in metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UnsupportedParameter => "unsupported_parameter",
            Self::ContextTooLong => "context_length_exceeded",
            Self::UnknownModel => "model_not_found",
            Self::UnknownPath => "unknown_path",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMedia => "unsupported_media_type",
            Self::BodyTimeout => "body_timeout",
            Self::InvalidKey => "invalid_api_key",
            Self::Forbidden => "forbidden",
            Self::PolicyRefused => "policy_no_target",
            Self::PolicyFailed => "policy_error",
            Self::TooExpensive => "price_limit",
            Self::BudgetExhausted => "budget_exceeded",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "no_target_available",
            Self::UpstreamFailed => "upstream_error",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Overloaded => "overloaded",
            Self::Internal => "internal_error",
        }
    }

    /// Whether the same request may succeed later, unchanged.
    #[must_use]
    pub fn retryable(self) -> bool {
        match self {
            Self::BodyTimeout | Self::RateLimited | Self::Unavailable | Self::Overloaded => true,
            Self::UpstreamFailed | Self::UpstreamTimeout | Self::Internal => true,
            Self::InvalidRequest
            | Self::UnsupportedParameter
            | Self::ContextTooLong
            | Self::UnknownModel
            | Self::UnknownPath
            | Self::MethodNotAllowed
            | Self::BodyTooLarge
            | Self::UnsupportedMedia
            | Self::InvalidKey
            | Self::Forbidden
            | Self::PolicyRefused
            | Self::PolicyFailed
            | Self::TooExpensive
            | Self::BudgetExhausted => false,
        }
    }
}

/// The code of a rate limit that is none: the account at the provider is empty.
pub const NO_QUOTA: &str = "insufficient_quota";

/// A request's end in failure: what the caller is told, and what only the log is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Which of the kinds.
    pub kind: ErrorKind,
    /// For the caller; never holds input, secrets or upstream text that was not meant for them.
    pub message: Cow<'static, str>,
    /// A code finer than the kind's, where one exists (`duplicate_key`, `empty_body`, ...).
    pub code: Option<&'static str>,
    /// The provider's own code, for the caller. `code` is ours: ledger and metrics know that one.
    pub told_code: Option<Box<str>>,
    /// The provider's own status, where it is about the caller's request and says more than the kind's.
    pub told_status: Option<u16>,
    /// Whether trying again helps, where somebody knows better than the kind tells.
    pub again: Option<bool>,
    /// The offending parameter, as a path in the caller's dialect.
    pub param: Option<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// For the log only.
    pub detail: Option<Box<str>>,
}

impl Error {
    /// An error with a message for the caller.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            code: None,
            told_code: None,
            told_status: None,
            again: None,
            param: None,
            retry_after: None,
            detail: None,
        }
    }

    /// Names the offending parameter.
    #[must_use]
    pub fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Sets a finer code.
    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Keeps the provider's own code.
    #[must_use]
    pub fn told_code(mut self, code: Option<String>) -> Self {
        self.told_code = code.map(Into::into);
        self
    }

    /// Keeps the provider's own status.
    #[must_use]
    pub fn told_status(mut self, status: Option<u16>) -> Self {
        self.told_status = status;
        self
    }

    /// Says whether trying again helps.
    #[must_use]
    pub fn again(mut self, again: Option<bool>) -> Self {
        self.again = again;
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }

    /// The time to wait in whole seconds, rounded up so that nobody comes too early.
    #[must_use]
    pub fn retry_seconds(&self) -> Option<u64> {
        self.retry_after.map(|after| after.as_secs() + u64::from(after.subsec_nanos() > 0))
    }

    /// Adds what only the log may know.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Box<str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Our code.
    #[must_use]
    pub fn code_str(&self) -> &'static str {
        self.code.unwrap_or_else(|| self.kind.code())
    }

    /// The code the caller sees: the provider's own, where it is about the caller's request, else ours.
    #[must_use]
    pub fn shown_code(&self) -> &str {
        self.told_code.as_deref().unwrap_or_else(|| self.code_str())
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.told_status.unwrap_or_else(|| self.kind.status())
    }

    /// Whether the same request may succeed later, unchanged. An empty account does not fill up by waiting, and a
    /// conflict passes.
    #[must_use]
    pub fn retryable(&self) -> bool {
        let kinds = self.kind.retryable() && self.code != Some(NO_QUOTA) || self.told_status == Some(409);
        self.again.unwrap_or(kinds)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code_str(), self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// What went wrong with one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No connection.
    Connect,
    /// Nothing in time: connect, first byte, idle or total.
    Timeout,
    /// The upstream refused our credentials or quota.
    Credentials,
    /// The upstream limits our rate.
    RateLimited,
    /// The upstream says it is overloaded or broken (5xx).
    Upstream,
    /// The upstream does not have the model (404): another target has another one.
    NoModel,
    /// The upstream says that the request is wrong (4xx): another target would likely say the same, unless it is about
    /// its own context ([`Failure::is_too_long`]).
    Rejected,
    /// The answer is not what the dialect says it must be.
    Malformed,
    /// The answer broke off.
    Truncated,
    /// The local worker died or refused.
    Worker,
    /// The client read an answer of the local runtime so slowly that it was cut. Says nothing of the target.
    SlowReader,
}

impl FailureKind {
    /// The label in metrics and the ledger.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Credentials => "credentials",
            Self::RateLimited => "rate_limited",
            Self::Upstream => "upstream",
            Self::NoModel => "no_model",
            Self::Rejected => "rejected",
            Self::Malformed => "malformed",
            Self::Truncated => "truncated",
            Self::Worker => "worker",
            Self::SlowReader => "slow_reader",
        }
    }
}

/// What a failure is about. An endpoint stands for its region: each region of a provider is an endpoint of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The account behind the key is exhausted: all its keys rest.
    Account,
    /// The key is refused.
    Key,
    /// The rate of the key, or of its account, is limited at this target.
    Limit,
    /// Nobody answers at the endpoint.
    Endpoint,
    /// What stands before the endpoint's models answers, and reaches none.
    Front,
    /// The model at the endpoint.
    Target,
    /// The request or the client: nothing rests.
    Nothing,
}

/// The code of a prompt that does not fit a target's context, whatever the target calls it. Clients test for it.
pub const PROMPT_TOO_LONG: &str = "context_length_exceeded";

/// One attempt's end in failure, with the knowledge of whoever saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which of the kinds.
    pub kind: FailureKind,
    /// The upstream's HTTP status, where there was one; for an error inside an answer the one that its dialect has for
    /// such errors, if any.
    pub status: Option<u16>,
    /// The upstream's own error type or code, where it gave one.
    pub code: Option<String>,
    /// The parameter the upstream blames, where it names one.
    pub param: Option<String>,
    /// The upstream's words. Shown to the caller only for `Rejected` (it is about their request).
    pub message: String,
    /// The upstream's advice when to try again.
    pub retry_after: Option<Duration>,
    /// The upstream's advice whether to try again.
    pub again: Option<bool>,
    /// It was asked with a key that the caller's tenant has brought.
    pub own_key: bool,
    /// The upstream cannot read thinking of an earlier answer: another one signed it, or itself for another account.
    pub foreign_thinking: bool,
}

impl Failure {
    /// A failure without an HTTP answer.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            kind,
            status: None,
            code: None,
            param: None,
            message,
            retry_after: None,
            again: None,
            own_key: false,
            foreign_thinking: false,
        }
    }

    /// Whether the upstream has too much to do.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.kind == FailureKind::Upstream && matches!(self.status, Some(503 | 529))
    }

    /// Whether waiting may help. What is wrong with our key or account, or with the request, does not pass by itself.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.again.unwrap_or(match self.kind {
            FailureKind::Credentials | FailureKind::NoModel | FailureKind::Rejected => false,
            FailureKind::Connect | FailureKind::Timeout | FailureKind::RateLimited | FailureKind::Upstream => true,
            FailureKind::Malformed | FailureKind::Truncated | FailureKind::Worker | FailureKind::SlowReader => true,
        })
    }

    /// Whether the account at the provider is empty.
    #[must_use]
    pub fn is_no_quota(&self) -> bool {
        self.kind == FailureKind::Credentials && (self.status == Some(402) || self.code.as_deref() == Some(NO_QUOTA))
    }

    /// Says that the prompt was too long for this target.
    #[must_use]
    pub fn too_long_prompt(mut self) -> Self {
        self.code = Some(PROMPT_TOO_LONG.to_owned());
        self
    }

    /// Whether the prompt was too long for this target: another one may have more room.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        self.kind == FailureKind::Rejected && self.code.as_deref() == Some(PROMPT_TOO_LONG)
    }

    /// Whether another target may be tried, as long as nothing went to the client yet.
    #[must_use]
    pub fn fail_over(&self) -> bool {
        match self.kind {
            FailureKind::Connect | FailureKind::Timeout | FailureKind::Credentials | FailureKind::RateLimited => true,
            FailureKind::Upstream | FailureKind::NoModel | FailureKind::Malformed | FailureKind::Truncated => true,
            FailureKind::Worker => true,
            FailureKind::Rejected => self.is_too_long(),
            FailureKind::SlowReader => false,
        }
    }

    /// What it is about: how much rests for it.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self.kind {
            FailureKind::Credentials if self.is_no_quota() => Scope::Account,
            FailureKind::Credentials => Scope::Key,
            FailureKind::RateLimited => Scope::Limit,
            FailureKind::Connect => Scope::Endpoint,
            // Said by what stands before the models of an endpoint, of all of them. Other 5xx are mostly of one model.
            FailureKind::Upstream | FailureKind::Timeout if matches!(self.status, Some(502 | 504)) => Scope::Front,
            FailureKind::Upstream | FailureKind::NoModel | FailureKind::Malformed | FailureKind::Truncated => {
                Scope::Target
            }
            FailureKind::Timeout | FailureKind::Worker => Scope::Target,
            FailureKind::Rejected | FailureKind::SlowReader => Scope::Nothing,
        }
    }

    /// What the log may hold: our own words, else the upstream's code. Its message may repeat the prompt.
    #[must_use]
    pub fn for_log(&self) -> &str {
        match self.kind {
            FailureKind::Connect | FailureKind::Timeout | FailureKind::Truncated => &self.message,
            FailureKind::Worker | FailureKind::SlowReader => &self.message,
            FailureKind::Credentials
            | FailureKind::RateLimited
            | FailureKind::Upstream
            | FailureKind::NoModel
            | FailureKind::Rejected
            | FailureKind::Malformed => self.code.as_deref().unwrap_or(""),
        }
    }
}
