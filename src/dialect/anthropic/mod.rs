//! Anthropic Messages, spoken to providers; the client's side is in `client`.
//!
//! The version is `2023-06-01`: newer ones refuse sampling parameters even at their default values, and a translated
//! request may carry them. All bodies, streams and errors of newer versions are read as well.

mod batch;
mod client;
mod error;
mod moved;
mod params;
mod request;
mod response;
mod schema;
mod stream;
mod thinking;
mod turns;
mod types;

#[cfg(test)]
mod tests;

pub(super) use client::in_words;

use bytes::Bytes;

use std::borrow::Cow;

use super::{
    Batches, Carriage, Counted, DecodeStream, Destination, Egress, Envelope, LimitHeader, Moved, Observed, Passthrough,
    Quirks, Signed, Slot, Tap, Transcode, Watching,
};
use crate::domain::chat::{ChatRequest, ChatResponse, Loss};
use crate::domain::error::{Error, Failure};
use crate::domain::id::DialectId;
use crate::domain::plan::Operation;

/// The tag of opaque parts that this dialect understands.
const DIALECT: &str = "anthropic";

/// Marks a signature that is really the data of a `redacted_thinking` block. A true signature is base64 and holds
/// no colon.
const REDACTED: &str = "redacted:";

/// Longest line and longest event of a stream, in bytes. Results of server-side searches come in one event.
const MAX_EVENT: usize = 16 << 20;

/// The provider's side of the dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anthropic;

/// Source: Anthropic API, "Rate limits": token buckets; a reset is the moment when one is full again.
static LIMITS: [LimitHeader; 4] = [
    LimitHeader::steady(
        Counted::Requests,
        [
            "anthropic-ratelimit-requests-limit",
            "anthropic-ratelimit-requests-remaining",
            "anthropic-ratelimit-requests-reset",
        ],
    ),
    LimitHeader::steady(
        Counted::Tokens,
        [
            "anthropic-ratelimit-tokens-limit",
            "anthropic-ratelimit-tokens-remaining",
            "anthropic-ratelimit-tokens-reset",
        ],
    ),
    LimitHeader::steady(
        Counted::Input,
        [
            "anthropic-ratelimit-input-tokens-limit",
            "anthropic-ratelimit-input-tokens-remaining",
            "anthropic-ratelimit-input-tokens-reset",
        ],
    ),
    LimitHeader::steady(
        Counted::Output,
        [
            "anthropic-ratelimit-output-tokens-limit",
            "anthropic-ratelimit-output-tokens-remaining",
            "anthropic-ratelimit-output-tokens-reset",
        ],
    ),
];

impl Egress for Anthropic {
    fn path(&self, _model: &str, _stream: bool) -> Cow<'static, str> {
        Cow::Borrowed("/v1/messages")
    }

    fn path_of_other(&self, operation: Operation, _path: &'static str, _model: &str) -> Option<Cow<'static, str>> {
        match operation {
            Operation::CountTokens => Some(Cow::Borrowed("/v1/messages/count_tokens")),
            Operation::Batch => Some(Cow::Borrowed("/v1/messages/batches")),
            _ => None,
        }
    }

    fn batches(&self) -> Option<&'static dyn Batches> {
        Some(&batch::MessageBatches)
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("anthropic-version", "2023-06-01")]
    }

    fn limits(&self) -> &'static [LimitHeader] {
        &LIMITS
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

impl Passthrough for Anthropic {
    fn retarget(&self, body: &Bytes, envelope: &Envelope, to: &Destination<'_>) -> Vec<Bytes> {
        request::retarget(body, envelope, to)
    }

    fn unmoved(&self, body: &Bytes, pieces: &[Bytes], _: &Quirks, signed: Signed) -> Option<Moved> {
        moved::unmoved(body, pieces, signed)
    }

    fn observe_response(&self, body: &[u8], _: &Quirks) -> Result<Observed, Failure> {
        response::observe(body)
    }

    /// Usage is part of every stream of this dialect, nobody asks for it: there is nothing to hide. Frames are always
    /// pushed whole.
    fn tap(&self, _: &Quirks, _: Watching) -> Box<dyn Tap> {
        Box::new(stream::Watch::new())
    }
}

impl Transcode for Anthropic {
    fn speaks(&self) -> DialectId {
        DialectId::Anthropic
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
