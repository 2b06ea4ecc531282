//! A provider's advice when to come back: `retry-after-ms`, `retry-after` in seconds or as a date.

use std::time::Duration;

use http::HeaderMap;

use crate::domain::target::UnixMillis;

/// Reads the advice. Junk, the past and more than a day are no advice.
pub(super) fn advice(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let millis = text("retry-after-ms").and_then(|t| t.parse::<u64>().ok()).map(Duration::from_millis);
    let seconds = || text("retry-after").and_then(|t| t.parse::<u64>().ok()).map(Duration::from_secs);
    let date = || {
        let at = httpdate::parse_http_date(text("retry-after")?).ok()?;
        let at = at.duration_since(std::time::UNIX_EPOCH).ok()?;
        let now = Duration::from_millis(u64::try_from(now.0).ok()?);
        at.checked_sub(now)
    };
    millis.or_else(seconds).or_else(date).filter(|d| !d.is_zero() && *d <= Duration::from_secs(86_400))
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
        let read = |name, value| advice(&headers(name, value), now);
        assert_eq!(read("retry-after", "12"), Some(Duration::from_secs(12)));
        assert_eq!(read("retry-after-ms", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(read("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT"), Some(Duration::from_secs(3)));
        for junk in ["0", "-1", "soon", "1000000000", "Sun, 06 Nov 1994 08:49:30 GMT"] {
            assert_eq!(read("retry-after", junk), None, "{junk}");
        }
    }
}
