//! Cohere chat, version 2, spoken to providers, and its reranker. There are no clients of this dialect's chat, so no
//! conversation passes through untranslated.
//!
//! Source: Cohere API reference, "Chat", "Chat with Streaming" and "Rerank" (v2).

mod answer;
mod embed;
mod error;
mod params;
mod reply;
mod request;
mod turns;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    Carriage, DecodeStream, Destination, Egress, EmbedProvider, NameRule, Observed, Passthrough, Quirks, Slot,
    Transcode,
};
use crate::domain::chat::{ChatRequest, ChatResponse, Loss};
use crate::domain::error::{Error, Failure};
use crate::domain::id::DialectId;
use crate::domain::plan::Operation;

/// Longest line and longest event of a stream, in bytes: a citation repeats the whole document.
const MAX_EVENT: usize = 16 << 20;

/// The provider's side of the dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cohere;

impl Egress for Cohere {
    fn path(&self, _model: &str, _stream: bool) -> Cow<'static, str> {
        Cow::Borrowed("/v2/chat")
    }

    fn path_of_other(&self, operation: Operation, _path: &'static str, _model: &str) -> Option<Cow<'static, str>> {
        (operation == Operation::Rerank).then_some(Cow::Borrowed("/v2/rerank"))
    }

    fn observe_other(&self, _: Operation, body: &[u8]) -> Observed {
        reply::observe_rerank(body)
    }

    fn embeddings(&self) -> Option<&dyn EmbedProvider> {
        Some(self)
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

impl Transcode for Cohere {
    fn speaks(&self) -> DialectId {
        DialectId::Cohere
    }

    fn names(&self) -> &'static NameRule {
        &NameRule::WORD
    }

    fn carries(&self, slot: Slot) -> Carriage {
        params::carries(slot)
    }

    fn encode(&self, request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
        request::encode(request, to)
    }

    fn decode_response(&self, body: &[u8], _: &Quirks) -> Result<ChatResponse, Failure> {
        answer::decode(body)
    }

    fn decode_stream(&self, _: &Quirks) -> Box<dyn DecodeStream> {
        Box::new(answer::Decoder::new())
    }
}
