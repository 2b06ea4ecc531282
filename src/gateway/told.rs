//! What the caller is told of failures: the kind, the code, whether and when to try again, and the provider's words where
//! they are about the caller's request, its limits, or the answer that was or should have been given. Never what is between
//! the gateway and the provider: a refused key is the gateway's matter, and names of its accounts are taken out.

use std::time::Duration;

use crate::domain::error::{Error, ErrorKind, Failure, FailureKind, NO_QUOTA};
use crate::domain::redact::redacted;

/// Longest message of a provider that is passed on, in characters.
const MOST: usize = 512;

/// Statuses that say more of a request than 400 does. SDKs have a class of errors for each of them.
const KEPT: [u16; 4] = [409, 413, 415, 422];

/// The status of a defect at the provider. Its other words for that are told in the gateway's own: 502, 503, 504.
const BROKEN: u16 = 500;

/// The failed attempts of one request.
#[derive(Default)]
pub(super) struct Failures {
    last: Option<Failure>,
    /// One of them may pass by waiting.
    may_pass: bool,
    /// The shortest wait that was advised by one of these.
    after: Option<Duration>,
}

impl Failures {
    /// One more.
    pub(super) fn add(&mut self, failure: Failure) {
        if failure.may_pass() {
            self.may_pass = true;
            self.after = [self.after, failure.retry_after].into_iter().flatten().min();
        }
        self.last = Some(failure);
    }

    /// The last one as the caller may see it; without any, why nothing was tried.
    pub(super) fn told(self, refused: Option<Error>, attempts: usize) -> Error {
        let Some(last) = self.last else {
            let none = || Error::new(ErrorKind::PolicyRefused, "no target is admitted any more");
            return refused.unwrap_or_else(none);
        };
        let error = told(&last, attempts);
        // Where the last target can't help, an earlier one may have recovered by then. What is wrong with the request
        // is wrong everywhere.
        if last.kind == FailureKind::Rejected {
            error
        } else {
            error.again(Some(self.may_pass)).retry_after(self.after.or(last.retry_after))
        }
    }
}

/// What is about the caller's request: the provider's words, its parameter, its code, its status.
fn rejected(failure: &Failure) -> Error {
    let message = redacted(&failure.message, MOST).into_owned();
    let error = if failure.is_too_long() {
        Error::new(ErrorKind::ContextTooLong, message)
    } else {
        let status = failure.status.filter(|status| KEPT.contains(status));
        let error = Error::new(ErrorKind::InvalidRequest, message).code("upstream_rejected");
        error.told_code(code(failure)).told_status(status)
    };
    let error = error.again(failure.again).retry_after(failure.retry_after);
    match &failure.param {
        Some(param) => error.param(param.clone()),
        None => error,
    }
}

/// The provider's code, if it is one. A type in the place of a code says no more than the status.
fn code(failure: &Failure) -> Option<String> {
    let plain = |code: &String| {
        code.len() <= 64
            && code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
            && code.bytes().any(|b| b.is_ascii_alphabetic())
    };
    failure.code.clone().filter(plain).filter(|code| !code.ends_with("_error"))
}

/// What is between the gateway and the provider. A provider's 401 never shows as the client's own.
/// Whose key it was is told: a tenant's own is the tenant's to mend.
fn credentials(failure: &Failure) -> Error {
    let (account, key) = if failure.own_key {
        ("the account of this tenant's own key is exhausted", "the provider refused this tenant's own key")
    } else {
        ("the gateway's account at the provider is exhausted", "the provider refused the gateway's credentials")
    };
    if failure.is_no_quota() {
        Error::new(ErrorKind::RateLimited, account).code(NO_QUOTA)
    } else {
        Error::new(ErrorKind::UpstreamFailed, key).code("upstream_auth")
    }
}

/// What the provider says of its limits and of what broke there. A page of what stands before it says nothing.
fn words(failure: &Failure) -> Option<String> {
    let page = failure.message.trim_start().starts_with(['<', '{', '[']);
    (!page && !failure.message.is_empty()).then(|| redacted(&failure.message, MOST).into_owned())
}

/// The last failure before anything went to the client.
fn told(failure: &Failure, attempts: usize) -> Error {
    let detail = format!("{} ({attempts} attempts): {}", failure.kind.label(), failure.for_log());
    let said = |ours: &str| match words(failure) {
        Some(words) => format!("{ours}: {words}"),
        None => ours.to_owned(),
    };
    let error = match failure.kind {
        FailureKind::Rejected => return rejected(failure),
        FailureKind::RateLimited => {
            Error::new(ErrorKind::RateLimited, said("every admitted target limits the rate just now"))
        }
        FailureKind::Timeout => Error::new(ErrorKind::UpstreamTimeout, "no admitted target answered in time"),
        FailureKind::Credentials => credentials(failure),
        FailureKind::NoModel => {
            let error = Error::new(ErrorKind::UnknownModel, said("no admitted provider knows this model"));
            return error.param("model").detail(detail);
        }
        FailureKind::Upstream if failure.is_overloaded() => {
            Error::new(ErrorKind::Overloaded, said("every admitted target is overloaded")).code("upstream_overloaded")
        }
        FailureKind::Upstream => {
            let error = Error::new(ErrorKind::UpstreamFailed, said("every admitted target failed"));
            error.told_code(code(failure)).told_status(failure.status.filter(|status| *status == BROKEN))
        }
        FailureKind::Connect
        | FailureKind::Malformed
        | FailureKind::Truncated
        | FailureKind::Worker
        | FailureKind::SlowReader => Error::new(ErrorKind::UpstreamFailed, "every admitted target failed"),
    };
    error.detail(detail)
}

/// What the client of a stream is told that broke after it began.
pub(super) fn broke(failure: &Failure) -> Error {
    let said = || redacted(&failure.message, MOST).into_owned();
    let error = match failure.kind {
        FailureKind::Credentials => credentials(failure),
        FailureKind::RateLimited => Error::new(ErrorKind::RateLimited, said()),
        FailureKind::Timeout => Error::new(ErrorKind::UpstreamTimeout, said()),
        FailureKind::Upstream if failure.is_overloaded() => {
            Error::new(ErrorKind::Overloaded, said()).code("upstream_overloaded").told_code(code(failure))
        }
        FailureKind::Upstream | FailureKind::NoModel | FailureKind::Rejected => {
            Error::new(ErrorKind::UpstreamFailed, said()).told_code(code(failure))
        }
        FailureKind::SlowReader => {
            Error::new(ErrorKind::UpstreamFailed, "the answer was read too slowly and is cut").code("slow_reader")
        }
        FailureKind::Malformed => {
            Error::new(ErrorKind::UpstreamFailed, "the rest of the upstream's answer can't be read")
        }
        FailureKind::Connect | FailureKind::Truncated | FailureKind::Worker => {
            Error::new(ErrorKind::UpstreamFailed, "the upstream broke off in the middle of the answer")
        }
    };
    error.retry_after(failure.retry_after).again(failure.again)
}

/// What was dropped, for a header: a long conversation can lose more than clients and proxies take in one. The ledger has all.
pub(super) fn listed(dropped: &[String]) -> String {
    /// Most bytes of names.
    const MOST: usize = 2048;
    let mut list = String::new();
    for (at, name) in dropped.iter().enumerate() {
        if list.len() + name.len() > MOST {
            list.push_str(&format!("{}_more", dropped.len() - at));
            break;
        }
        list.push_str(name);
        if at + 1 < dropped.len() {
            list.push_str(", ");
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: FailureKind, status: u16, code: &str) -> Failure {
        let message = "no luck for org-AbCdEf0123456789AbCdEf01";
        Failure { status: Some(status), code: Some(code.to_owned()), ..Failure::new(kind, message) }
    }

    fn all(failures: impl IntoIterator<Item = Failure>) -> Error {
        let mut told = Failures::default();
        failures.into_iter().for_each(|failure| told.add(failure));
        told.told(None, 1)
    }

    #[test]
    fn what_is_about_the_request_keeps_its_status_its_code_and_its_words() {
        for (status, kept) in [(400, 400), (409, 409), (413, 413), (422, 422), (418, 400), (405, 400)] {
            let error = all([failure(FailureKind::Rejected, status, "DeploymentNotFound")]);
            assert_eq!((error.status(), error.shown_code()), (kept, "DeploymentNotFound"));
            assert_eq!(error.message, "no luck for [hidden]");
            assert_eq!(error.retryable(), status == 409, "{status}: official clients try a conflict again");
        }
        for generic in ["invalid_request_error", "400", "two words", ""] {
            assert_eq!(all([failure(FailureKind::Rejected, 400, generic)]).shown_code(), "upstream_rejected");
        }
    }

    #[test]
    fn trying_again_is_advised_where_it_helps() {
        let refused = || failure(FailureKind::Credentials, 401, "invalid_api_key");
        let limited = || failure(FailureKind::RateLimited, 429, "rate_limit_exceeded");
        let error = all([refused()]);
        assert_eq!((error.status(), error.code_str(), error.retryable()), (502, "upstream_auth", false));
        assert!(!error.message.contains("hidden"), "not one word of the provider: {}", error.message);
        assert!(error.message.contains("the gateway's credentials"), "{}", error.message);
        let error = all([Failure { own_key: true, ..refused() }]);
        assert_eq!(error.message, "the provider refused this tenant's own key");
        let soon = Failure { retry_after: Some(Duration::from_secs(7)), ..limited() };
        let late = Failure { retry_after: Some(Duration::from_secs(20)), ..limited() };
        let error = all([late, soon, refused()]);
        assert_eq!((error.status(), error.retryable(), error.retry_after), (502, true, Some(Duration::from_secs(7))));
        assert!(all([limited()]).retryable());
        assert!(!all([Failure { again: Some(false), ..limited() }]).retryable(), "the provider knows better");
        assert!(all([Failure { again: Some(true), ..failure(FailureKind::Rejected, 400, "") }]).retryable());
        assert!(!all([failure(FailureKind::Credentials, 429, NO_QUOTA)]).retryable());
    }

    #[test]
    fn what_a_provider_says_of_limits_and_defects_is_told_and_a_page_is_not() {
        let error = all([failure(FailureKind::RateLimited, 429, "x")]);
        assert_eq!(error.message, "every admitted target limits the rate just now: no luck for [hidden]");
        let error = all([failure(FailureKind::NoModel, 404, "model_not_found")]);
        assert_eq!(error.message, "no admitted provider knows this model: no luck for [hidden]");
        let error = all([failure(FailureKind::Upstream, 529, "overloaded_error")]);
        assert_eq!(error.message, "every admitted target is overloaded: no luck for [hidden]");
        for (status, told) in [(500, 500), (502, 502), (520, 502)] {
            let error = all([failure(FailureKind::Upstream, status, "engine_down")]);
            assert_eq!((error.status(), error.shown_code()), (told, "engine_down"));
            assert_eq!((error.code_str(), error.retryable()), ("upstream_error", true));
            assert_eq!(error.message, "every admitted target failed: no luck for [hidden]");
        }
        let page = Failure { message: " <html>".to_owned(), ..failure(FailureKind::Upstream, 502, "server_error") };
        let error = all([page]);
        assert_eq!((&*error.message, error.shown_code()), ("every admitted target failed", "upstream_error"));
        let error = all([failure(FailureKind::Connect, 200, "x")]);
        assert_eq!(error.message, "every admitted target failed", "words of our own libraries may hold addresses");
    }

    #[test]
    fn a_list_of_what_was_dropped_fits_into_a_header() {
        let names = |count: usize| (0..count).map(|at| format!("messages[{at}].name")).collect::<Vec<_>>();
        assert_eq!(listed(&names(2)), "messages[0].name, messages[1].name");
        assert_eq!(listed(&[]), "");
        let long = listed(&names(1000));
        let shown = long.matches(".name, ").count();
        assert!(long.len() < 2100 && long.ends_with(&format!(".name, {}_more", 1000 - shown)), "{long}");
    }

    #[test]
    fn a_stream_that_broke_says_what_the_provider_said() {
        let after = Some(Duration::from_secs(3));
        let limited = Failure { retry_after: after, ..failure(FailureKind::RateLimited, 429, "x") };
        let error = broke(&limited);
        assert_eq!((error.kind, &*error.message), (ErrorKind::RateLimited, "no luck for [hidden]"));
        assert_eq!(error.retry_after, after);
        let error = broke(&failure(FailureKind::Upstream, 529, "overloaded_error"));
        assert_eq!((error.kind, error.shown_code()), (ErrorKind::Overloaded, "upstream_overloaded"));
        let error = broke(&failure(FailureKind::Upstream, 500, "tool_use_failed"));
        assert_eq!((error.kind, error.shown_code()), (ErrorKind::UpstreamFailed, "tool_use_failed"));
        let error = broke(&failure(FailureKind::Credentials, 401, "invalid_api_key"));
        assert_eq!((error.kind, error.shown_code()), (ErrorKind::UpstreamFailed, "upstream_auth"));
        assert!(!error.message.contains("luck"));
        let error = broke(&failure(FailureKind::Connect, 200, "x"));
        assert!(!error.message.contains("luck"), "words of our own libraries may hold addresses");
    }
}
