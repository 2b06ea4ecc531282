//! Ollama's own chat API, spoken to providers. There are no clients of this dialect, so nothing passes through
//! untranslated.
//!
//! Source: Ollama API documentation, "Generate a chat message".

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
    Carriage, DecodeStream, Destination, Egress, EmbedProvider, NameRule, Passthrough, Quirks, Slot, Transcode,
};
use crate::domain::chat::{ChatRequest, ChatResponse, Loss};
use crate::domain::error::{Error, Failure};
use crate::domain::id::DialectId;

/// Longest line of a stream, in bytes: the arguments of a call come in one.
const MAX_LINE: usize = 16 << 20;

/// The provider's side of the dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ollama;

impl Egress for Ollama {
    fn path(&self, _model: &str, _stream: bool) -> Cow<'static, str> {
        Cow::Borrowed("/api/chat")
    }

    fn accept(&self) -> &'static str {
        "application/x-ndjson"
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

impl Transcode for Ollama {
    fn speaks(&self) -> DialectId {
        DialectId::Ollama
    }

    fn names(&self) -> &'static NameRule {
        &NameRule::ANY
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
