//! Gemini `generateContent`, of AI Studio and Vertex; the client's side is in `client`.
//!
//! Format: Gemini API reference, "generateContent" and "streamGenerateContent". Both spellings of members (camel and
//! snake case) are read, since Google takes both.

mod client;
mod code;
mod embed;
mod ends;
mod error;
mod moved;
mod params;
mod pieces;
mod reply;
mod request;
mod response;
mod stream;
mod turns;
mod types;
mod vertex;

#[cfg(test)]
mod tests;

pub(super) use code::{Ran, fenced, in_words};

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;

use super::{
    Carriage, DecodeStream, Destination, Egress, EmbedProvider, Envelope, Moved, NameRule, Observed, Passthrough,
    Quirks, Signed, Slot, Tap, Transcode, Watching,
};
use crate::domain::chat::{ChatRequest, ChatResponse, Loss};
use crate::domain::error::{Error, Failure};
use crate::domain::id::DialectId;
use crate::domain::plan::Operation;

/// The tag of opaque parts that this dialect understands.
const DIALECT: &str = "gemini";

/// Longest event of a stream, in bytes: an inline image comes in one.
const MAX_EVENT: usize = 32 << 20;

/// Both halves of the dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gemini;

impl Egress for Gemini {
    fn path(&self, model: &str, stream: bool) -> Cow<'static, str> {
        let model = encoded(model);
        Cow::Owned(if stream {
            format!("/models/{model}:streamGenerateContent?alt=sse")
        } else {
            format!("/models/{model}:generateContent")
        })
    }

    fn path_of_other(&self, operation: Operation, path: &'static str, model: &str) -> Option<Cow<'static, str>> {
        let known = matches!(operation, Operation::CountTokens | Operation::Embeddings);
        known.then(|| Cow::Owned(format!("/models/{}:{path}", encoded(model))))
    }

    fn rename_other(&self, body: &Bytes, model: &str) -> Bytes {
        embed::renamed(body, model)
    }

    fn embeddings(&self) -> Option<&dyn EmbedProvider> {
        Some(self)
    }

    fn observe_other(&self, _: Operation, body: &[u8]) -> Observed {
        Observed { usage: reply::usage_of_other(body), began: true, ..Observed::default() }
    }

    fn decode_error(&self, status: u16, body: &[u8]) -> Failure {
        error::decode(status, body)
    }

    fn passthrough(&self) -> Option<&dyn Passthrough> {
        Some(self)
    }

    fn transcode(&self) -> &dyn Transcode {
        self
    }
}

/// A model's name as one segment of a path; slashes of a full resource name stay.
fn encoded(model: &str) -> String {
    let mut out = String::with_capacity(model.len());
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

impl Passthrough for Gemini {
    /// The model stands in the path, so the body passes as it is.
    fn retarget(&self, body: &Bytes, envelope: &Envelope, to: &Destination<'_>) -> Vec<Bytes> {
        let mut splice = envelope.spans.splice();
        to.quirks.drop.iter().for_each(|name| splice.remove(name));
        splice.apply(body)
    }

    fn unmoved(&self, body: &Bytes, pieces: &[Bytes], _: &Quirks, signed: Signed) -> Option<Moved> {
        moved::unmoved(body, pieces, signed)
    }

    fn observe_response(&self, body: &[u8], _: &Quirks) -> Result<Observed, Failure> {
        response::observe(body)
    }

    fn tap(&self, _: &Quirks, watching: Watching) -> Box<dyn Tap> {
        Box::new(stream::Watch::new(watching.array))
    }
}

impl Transcode for Gemini {
    fn speaks(&self) -> DialectId {
        DialectId::Gemini
    }

    fn names(&self) -> &'static NameRule {
        &NameRule::GOOGLE
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
