//! Cohere chat, version 2, spoken to the provider, and its reranker. Format: Cohere API reference, "Chat" and "Rerank".

mod reply;
mod request;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

use super::{Carriage, DecodeStream, Destination, Egress, Observed, Passthrough, Quirks, Slot, Transcode};
use crate::domain::chat::{ChatRequest, ChatResponse, Loss};
use crate::domain::error::{Error, Failure};
use crate::domain::plan::Operation;

/// Longest event of a stream, in bytes.
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

    fn decode_error(&self, status: u16, body: &[u8]) -> Failure {
        reply::error(status, body)
    }

    /// There are no clients of this dialect's chat here.
    fn passthrough(&self) -> Option<&dyn Passthrough> {
        None
    }

    fn transcode(&self) -> &dyn Transcode {
        self
    }
}

impl Transcode for Cohere {
    fn carries(&self, slot: Slot) -> Carriage {
        match slot {
            Slot::Core
            | Slot::Tools
            | Slot::ResponseFormat
            | Slot::JsonMode
            | Slot::Temperature
            | Slot::TopP
            | Slot::TopK
            | Slot::Seed
            | Slot::Stop
            | Slot::MaxOutput
            | Slot::StreamOptions => Carriage::Full,
            Slot::FrequencyPenalty | Slot::PresencePenalty => Carriage::Partly("0 to 1"),
            Slot::Reasoning => Carriage::Partly("as `thinking`: off, on, or a budget"),
            Slot::ToolChoice => Carriage::Partly("not one function by name"),
            Slot::ParallelToolCalls
            | Slot::MinP
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
