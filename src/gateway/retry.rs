//! A provider's advice whether and when to come back: `x-should-retry`, and `retry-after-ms`, `retry-after` in seconds or
//! as a date.

use std::time::Duration;

use http::HeaderMap;

use crate::domain::error::Failure;
use crate::domain::target::UnixMillis;

/// A refusal with what its head says.
pub(super) fn refused(failure: Failure, status: u16, headers: &HeaderMap, now: UnixMillis) -> Failure {
    Failure {
        status: Some(status),
        retry_after: failure.retry_after.or_else(|| after(headers, now)),
        again: failure.again.or_else(|| again(headers)),
        ..failure
    }
}

/// Whether to try again, where it is told. Official clients do as it says.
fn again(headers: &HeaderMap) -> Option<bool> {
    match headers.get("x-should-retry")?.to_str().ok()?.trim() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Longest wait that is believed.
const DAY: Duration = Duration::from_secs(86_400);

/// When. Junk and the past are no advice, and more than a day counts as one.
fn after(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let millis = text("retry-after-ms").and_then(|t| t.parse::<u64>().ok()).map(Duration::from_millis);
    // Some tell fractions of a second, which is against the rules and easy to understand.
    let seconds = || {
        let told = text("retry-after")?.parse::<f64>().ok().filter(|told| *told > 0.0)?;
        Some(Duration::try_from_secs_f64(told).unwrap_or(DAY))
    };
    let date = || {
        let at = httpdate::parse_http_date(text("retry-after")?).ok()?;
        let at = at.duration_since(std::time::UNIX_EPOCH).ok()?;
        let now = Duration::from_millis(u64::try_from(now.0).ok()?);
        at.checked_sub(now)
    };
    millis.or_else(seconds).or_else(date).filter(|wait| !wait.is_zero()).map(|wait| wait.min(DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        [(http::HeaderName::from_static(name), http::HeaderValue::from_static(value))].into_iter().collect()
    }

    #[test]
    fn forms_and_junk() {
        let now = UnixMillis(784_111_777_000); // Sun, 06 Nov 1994 08:49:37 GMT
        let read = |name, value| after(&headers(name, value), now);
        assert_eq!(read("retry-after", "12"), Some(Duration::from_secs(12)));
        assert_eq!(read("retry-after-ms", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(read("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT"), Some(Duration::from_secs(3)));
        assert_eq!(read("retry-after", "1.5"), Some(Duration::from_millis(1500)));
        for long in ["86401", "1000000000", "1e300", "inf", "Fri, 06 Nov 2009 08:49:30 GMT"] {
            assert_eq!(read("retry-after", long), Some(DAY), "{long}: to ask again at once would be the opposite");
        }
        for junk in ["0", "-1", "soon", "NaN", "Sun, 06 Nov 1994 08:49:30 GMT"] {
            assert_eq!(read("retry-after", junk), None, "{junk}");
        }
    }

    #[test]
    fn whether_is_read_as_it_is_told() {
        let read = |value| again(&headers("x-should-retry", value));
        assert_eq!((read("true"), read("false"), read("maybe")), (Some(true), Some(false), None));
        assert_eq!(again(&HeaderMap::new()), None);
    }
}
