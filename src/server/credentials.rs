//! Which key a request presents. Each dialect has its own place for it; all are taken.

use std::borrow::Cow;

use http::{HeaderMap, header};

use crate::dialect::paths;
use crate::domain::error::{Error, ErrorKind};

/// Headers that hold a bare key, whatever the dialect.
const BARE: [&str; 3] = ["x-api-key", "x-goog-api-key", "api-key"];

/// The key of a request. `own`: the header of the client's dialect, which counts before all others.
///
/// # Errors
/// There is none, or it is not clear which. Every bad credential gets the same answer.
pub(super) fn of<'r>(own: Option<&str>, headers: &'r HeaderMap, query: Option<&'r str>) -> Result<Cow<'r, str>, Error> {
    let bare = |name: &str| headers.get(name).map(|value| value.to_str().map(str::trim).map_err(|_| unknown()));
    let first = own.and_then(bare).transpose()?;
    let bearer = bearer(headers)?;
    let others = match first.or(bearer) {
        None => BARE.iter().find_map(|name| bare(name)).transpose()?,
        Some(_) => None,
    };
    let in_query = || Some(paths::decode(query?.split('&').find_map(|pair| pair.strip_prefix("key="))?));
    let in_head = first.or(bearer).or(others).map(Cow::Borrowed);
    in_head.or_else(|| in_query().map(Cow::Owned)).filter(|key| !key.is_empty()).ok_or_else(unknown)
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        let error = Error::new(ErrorKind::InvalidRequest, "more than one Authorization header");
        return Err(error.code("ambiguous_credentials"));
    }
    let value = value.to_str().map_err(|_| unknown())?;
    let (scheme, key) = value.split_once(' ').ok_or_else(unknown)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(key.trim())) } else { Err(unknown()) }
}

/// What every bad credential is answered.
pub(super) fn unknown() -> Error {
    Error::new(ErrorKind::InvalidKey, "the API key is missing or not valid")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn key(
        own: Option<&str>,
        given: &[(&'static str, &'static str)],
        query: Option<&str>,
    ) -> Result<String, ErrorKind> {
        let mut headers = HeaderMap::new();
        given.iter().for_each(|(name, value)| {
            headers.append(*name, HeaderValue::from_static(value));
        });
        of(own, &headers, query).map(Cow::into_owned).map_err(|e| e.kind)
    }

    #[test]
    fn every_dialects_place_is_taken() {
        let (openai, anthropic) = (None, Some("x-api-key"));
        assert_eq!(key(openai, &[("authorization", "Bearer a")], None), Ok("a".into()));
        assert_eq!(key(anthropic, &[("authorization", "bearer a")], None), Ok("a".into()));
        assert_eq!(key(anthropic, &[("authorization", "Bearer a"), ("x-api-key", "b")], None), Ok("b".into()));
        assert_eq!(key(openai, &[("authorization", "Bearer a"), ("x-api-key", "b")], None), Ok("a".into()));
        assert_eq!(key(Some("x-goog-api-key"), &[("x-goog-api-key", "g")], None), Ok("g".into()));
        assert_eq!(key(Some("x-goog-api-key"), &[], Some("alt=sse&key=q")), Ok("q".into()));
        assert_eq!(key(openai, &[], Some("key=sw%2Da%5f%4")), Ok("sw-a_%4".into()));
        assert_eq!(key(openai, &[("api-key", "z")], Some("api-version=1")), Ok("z".into()));
        assert_eq!(key(openai, &[("authorization", "Basic x")], None), Err(ErrorKind::InvalidKey));
        assert_eq!(key(openai, &[], Some("key=")), Err(ErrorKind::InvalidKey));
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert_eq!(key(openai, &twice, None), Err(ErrorKind::InvalidRequest));
    }
}
