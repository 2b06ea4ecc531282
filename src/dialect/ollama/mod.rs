//! Ollama's own chat API, spoken to servers. Format: Ollama API documentation, "Generate a chat completion".

mod reply;
mod request;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

use super::{Carriage, DecodeStream, Destination, Egress, Passthrough, Quirks, Slot, Transcode};
use crate::domain::chat::{ChatRequest, ChatResponse, Loss};
use crate::domain::error::{Error, Failure};

/// Longest line of a stream, in bytes.
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

    fn decode_error(&self, status: u16, body: &[u8]) -> Failure {
        reply::error(status, body)
    }

    /// There are no clients of this dialect here.
    fn passthrough(&self) -> Option<&dyn Passthrough> {
        None
    }

    fn transcode(&self) -> &dyn Transcode {
        self
    }
}

impl Transcode for Ollama {
    fn carries(&self, slot: Slot) -> Carriage {
        match slot {
            Slot::Core
            | Slot::Tools
            | Slot::ResponseFormat
            | Slot::JsonMode
            | Slot::Temperature
            | Slot::TopP
            | Slot::TopK
            | Slot::MinP
            | Slot::FrequencyPenalty
            | Slot::PresencePenalty
            | Slot::Seed
            | Slot::Stop
            | Slot::MaxOutput
            | Slot::StreamOptions => Carriage::Full,
            Slot::Reasoning => Carriage::Partly("as `think`: off, on, or `low`, `medium`, `high`"),
            Slot::ToolChoice => Carriage::Partly("`auto` and `none`"),
            Slot::ParallelToolCalls
            | Slot::LogitBias
            | Slot::Logprobs
            | Slot::TopLogprobs
            | Slot::Choices
            | Slot::Verbosity
            | Slot::User
            | Slot::ServiceTier
            | Slot::Metadata
            | Slot::PromptCacheKey
            | Slot::CacheMarks
            | Slot::Own(_) => Carriage::No,
        }
    }

    fn encode_request(&self, request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
        request::encode(request, to)
    }

    fn decode_response(&self, body: &[u8], _: &Quirks) -> Result<ChatResponse, Failure> {
        reply::decode(body)
    }

    fn decode_stream(&self, _: &Quirks) -> Box<dyn DecodeStream> {
        Box::new(reply::Decoder::new())
    }
}
