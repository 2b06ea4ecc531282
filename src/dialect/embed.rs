//! Vectors between dialects: the two halves that a dialect may have, and what they share.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::Quirks;
use crate::domain::chat::Json;
use crate::domain::embed::{EmbedAnswer, EmbedField, EmbedInput, EmbedRequest};
use crate::domain::error::{Error, ErrorKind, Failure, FailureKind};
use crate::domain::plan::WHOLE_OPERATION;

/// The part of an ingress that asks for vectors.
pub trait EmbedClient: Send + Sync {
    /// Decodes the whole request. `path`: which of the dialect's forms it has.
    ///
    /// # Errors
    /// Wrong types and what can't become a vector, with the path of the parameter.
    fn decode(&self, body: &[u8], path: &str) -> Result<EmbedRequest, Error>;

    /// Renders the answer. `tokens`: how many the request is thought to have, where the provider does not say.
    fn encode(&self, answer: &EmbedAnswer, request: &EmbedRequest, model: &str, tokens: u64) -> Bytes;

    /// The name of a part in this dialect.
    fn name(&self, field: EmbedField) -> &'static str;
}

/// The part of an egress that makes vectors for clients of other dialects.
pub trait EmbedProvider: Send + Sync {
    /// Which parts of a request the dialect can't say. Tasks may be known one by one.
    fn lacks(&self, request: &EmbedRequest, field: EmbedField) -> bool;

    /// Path below the base URL, and body.
    ///
    /// # Errors
    /// What can't be written.
    fn encode(&self, request: &EmbedRequest, model: &str, quirks: &Quirks)
    -> Result<(Cow<'static, str>, Bytes), Error>;

    /// Whether this provider has another form for vectors of a model than clients of the dialect use: their requests are
    /// then translated as well.
    fn differs(&self, model: &str, quirks: &Quirks) -> bool {
        let _ = (model, quirks);
        false
    }

    /// Decodes the answer.
    ///
    /// # Errors
    /// What is no answer of this dialect.
    fn decode(&self, body: &[u8]) -> Result<EmbedAnswer, Failure>;
}

/// Parts of a request that a provider's dialect can't say, in the client's words: those without which the vectors would
/// be other ones, and hints.
#[must_use]
pub fn missing(
    request: &EmbedRequest,
    client: &dyn EmbedClient,
    provider: Option<&dyn EmbedProvider>,
) -> (Vec<String>, Vec<String>) {
    let Some(provider) = provider else { return (vec![WHOLE_OPERATION.to_owned()], Vec::new()) };
    let lacking = EmbedField::ALL.into_iter().filter(|field| request.has(*field) && provider.lacks(request, *field));
    let (semantic, hints): (Vec<_>, Vec<_>) = lacking.partition(|field| field.is_semantic());
    let named = |fields: Vec<EmbedField>| fields.into_iter().map(|field| client.name(field).to_owned());
    (named(semantic).chain(request.extra.iter().cloned()).collect(), named(hints).collect())
}

/// The texts of a request; numbers of tokens have no meaning in another vocabulary.
pub(super) fn texts<'r>(request: &'r EmbedRequest, param: &'static str) -> Result<Vec<&'r str>, Error> {
    let text = |input: &'r EmbedInput| match input {
        EmbedInput::Text(text) => Ok(text.as_str()),
        EmbedInput::Tokens(_) => {
            let message = "this target takes text and no token numbers";
            Err(Error::new(ErrorKind::UnsupportedParameter, message).param(param))
        }
    };
    request.inputs.iter().map(text).collect()
}

/// JSON text that is an array of numbers and nothing else.
pub(super) fn numbers(json: &str) -> Option<Json> {
    let inner = json.trim().strip_prefix('[')?.strip_suffix(']')?;
    let plain =
        |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E' | b',') || b.is_ascii_whitespace();
    (!inner.trim().is_empty() && inner.bytes().all(plain)).then(|| Json::new(json.trim()))
}

/// The numbers as base64 of 32-bit floats, least significant byte first.
pub(super) fn packed(vector: &Json) -> String {
    let inner = vector.as_str().trim_start_matches('[').trim_end_matches(']');
    let mut bytes = Vec::with_capacity(inner.len() / 2);
    for number in inner.split(',') {
        // Every number of JSON is one of Rust.
        let number: f32 = number.trim().parse().unwrap_or(f32::NAN);
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    STANDARD.encode(bytes)
}

/// Base64 of 32-bit floats as an array of numbers; none = it is no such thing.
pub(super) fn unpacked(text: &str) -> Option<Json> {
    let bytes = STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty() && bytes.len() % 4 == 0)?;
    let mut out = String::with_capacity(bytes.len() * 3);
    for four in bytes.chunks_exact(4) {
        let number = f32::from_le_bytes(four.try_into().ok()?);
        if !number.is_finite() {
            return None;
        }
        out.push(if out.is_empty() { '[' } else { ',' });
        // Writing to a string cannot fail.
        let _ = write!(out, "{number:?}");
    }
    out.push(']');
    Some(Json::new(out))
}

/// What is no vector.
pub(super) fn no_vector() -> Failure {
    Failure::new(FailureKind::Malformed, "the answer holds something that is no vector")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_survive_packing_bit_by_bit() {
        let vector = numbers(" [0.1, -2.5e-3,1,0.0069292835] ").unwrap();
        let packed_once = packed(&vector);
        assert_eq!(packed_once, "zczMPQrXI7sAAIA/Cw/jOw==");
        let again = unpacked(&packed_once).unwrap();
        assert_eq!(packed(&again), packed_once);
        assert_eq!(again.as_str(), "[0.1,-0.0025,1.0,0.0069292835]");
        for number in [f32::MIN_POSITIVE, f32::MAX, 1.0e-45, -0.0] {
            let text = STANDARD.encode(number.to_le_bytes());
            assert_eq!(packed(&unpacked(&text).unwrap()), text, "{number}");
        }
    }

    #[test]
    fn what_is_no_vector_is_none() {
        for text in ["[]", "[[1]]", "[\"1\"]", "[null]", "1", "", "[true]"] {
            assert_eq!(numbers(text), None, "{text}");
        }
        for text in ["", "AAA", "AAAA", "not base64!", "AADAfw=="] {
            assert_eq!(unpacked(text), None, "{text}");
        }
    }
}
