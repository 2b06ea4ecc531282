//! AWS Bedrock, Converse and ConverseStream, spoken to providers.
//!
//! One request form for models of many makers. What only some of them take goes into `additionalModelRequestFields`,
//! and which model takes what is data: entries of the catalogue file's `quirks.takes` and `quirks.drop`, see `family`.
//! There are no clients of this dialect, so nothing passes through untranslated.
//!
//! Source: Bedrock Runtime API 2023-09-30, operations Converse and ConverseStream.

mod additional;
mod error;
mod family;
mod params;
mod reply;
mod request;
mod response;
mod stream;
mod tools;
mod turns;
mod types;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;

use super::{Carriage, DecodeStream, Destination, Egress, Passthrough, Quirks, Slot, Transcode};
use crate::domain::chat::{ChatRequest, ChatResponse, Loss};
use crate::domain::error::{Error, Failure};
use crate::domain::id::DialectId;
use crate::domain::price::ServiceTier;

/// The tag of opaque parts that this dialect understands.
const DIALECT: &str = "bedrock";

/// Marks a signature that is really hidden thinking (`redactedContent`). A true signature is base64 and holds no
/// colon.
const REDACTED: &str = "redacted:";

/// Longest frame of a stream, in bytes.
const MAX_FRAME: usize = 16 << 20;

/// The provider's side of the dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bedrock;

impl Egress for Bedrock {
    fn tiers(&self, quirks: &Quirks) -> &'static [ServiceTier] {
        let _ = quirks;
        &[ServiceTier::Flex, ServiceTier::Priority]
    }

    /// A model is named by its id, by an inference profile or by an ARN; colons and slashes of these are encoded.
    fn path(&self, model: &str, stream: bool) -> Cow<'static, str> {
        let operation = if stream { "converse-stream" } else { "converse" };
        let mut path = String::with_capacity(model.len() + 32);
        path.push_str("/model/");
        for byte in model.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
                path.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(path, "%{byte:02X}");
            }
        }
        let _ = write!(path, "/{operation}");
        Cow::Owned(path)
    }

    fn accept(&self) -> &'static str {
        "application/vnd.amazon.eventstream"
    }

    fn decode_error(&self, status: u16, body: &[u8]) -> Failure {
        error::decode(status, body)
    }

    fn passthrough(&self) -> Option<&dyn Passthrough> {
        None
    }

    fn transcode(&self) -> &dyn Transcode {
        self
    }
}

impl Transcode for Bedrock {
    fn speaks(&self) -> DialectId {
        DialectId::Bedrock
    }

    fn carries(&self, slot: Slot) -> Carriage {
        params::carries(slot)
    }

    fn encode(&self, request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
        request::encode(request, to)
    }

    fn decode_response(&self, body: &[u8], _: &Quirks) -> Result<ChatResponse, Failure> {
        response::decode(body)
    }

    fn decode_stream(&self, _: &Quirks) -> Box<dyn DecodeStream> {
        Box::new(stream::Decoder::new())
    }
}
