//! OpenAI's legacy Completions: text that goes on where a prompt ends.
//!
//! Where a target does not speak it, the prompt becomes the one turn of a conversation: what clients of this API that
//! have not moved on expect from models of today. What only a bare text model can do (`suffix`, `echo`, `best_of`,
//! several prompts, prompts as token numbers) is refused by name there. Format: OpenAI API reference, "Completions".

mod answer;
mod request;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

use super::openai_chat::{Family, with_usage};
use super::params::{Parameter, Slot, Weight, row, row_unless};
use super::{
    Carriage, ClientWords, DecodeStream, Destination, Egress, EncodeStream, Envelope, Ingress, LimitHeader, Located,
    Moved, Observed, Passthrough, Quirks, Rendering, Signed, StreamUsage, Tap, Transcode, Watching, limits,
};
use crate::domain::chat::{ChatRequest, ChatResponse, Loss};
use crate::domain::error::{Error, ErrorKind, Failure, FailureKind};
use crate::domain::id::DialectId;
use crate::wire::splice::quote;

const SEMANTIC: Slot = Slot::Own(Weight::Semantic);

/// Source: OpenAI API reference, "Create completion"; the last rows are common extensions.
static PARAMETERS: &[Parameter] = &[
    row("model", Slot::Core),
    row("prompt", Slot::Core),
    row("stream", Slot::Core),
    row("stream_options", Slot::StreamOptions),
    row("max_tokens", Slot::MaxOutput),
    row_unless("temperature", Slot::Temperature, &["1"]),
    row_unless("top_p", Slot::TopP, &["1"]),
    row_unless("frequency_penalty", Slot::FrequencyPenalty, &["0"]),
    row_unless("presence_penalty", Slot::PresencePenalty, &["0"]),
    row("seed", Slot::Seed),
    row_unless("stop", Slot::Stop, &["[]"]),
    row_unless("logit_bias", Slot::LogitBias, &["{}"]),
    row_unless("n", Slot::Choices, &["1"]),
    row("user", Slot::User),
    row_unless("logprobs", SEMANTIC, &["0"]),
    row_unless("suffix", SEMANTIC, &["\"\""]),
    row_unless("echo", SEMANTIC, &["false"]),
    row_unless("best_of", SEMANTIC, &["1"]),
    row_unless("top_k", Slot::TopK, &["0", "-1"]),
    row_unless("min_p", Slot::MinP, &["0"]),
];

/// Both halves of the dialect; to providers, only for clients of the same.
#[derive(Debug)]
pub(super) struct OpenAiCompletions;

impl Ingress for OpenAiCompletions {
    fn envelope(&self, body: &Bytes, _: &Located) -> Result<Envelope, Error> {
        request::envelope(body)
    }

    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn words(&self) -> &'static ClientWords {
        &const { ClientWords { conversation: "prompt", ..ClientWords::PLAIN } }
    }

    fn unknown(&self) -> Weight {
        Weight::Semantic
    }

    fn decode_request(&self, body: &[u8], _: &Envelope) -> Result<ChatRequest, Error> {
        request::decode(body)
    }

    fn encode_response(&self, response: &ChatResponse, rendering: &Rendering) -> Bytes {
        answer::encode(response, rendering)
    }

    fn encode_stream(&self, rendering: Rendering) -> Box<dyn EncodeStream> {
        Box::new(answer::Encoder::new(rendering))
    }

    fn limit_headers(&self) -> &'static [LimitHeader] {
        &super::limits::OPENAI
    }

    fn encode_error(&self, error: &Error, _: &str) -> Bytes {
        Bytes::from(Family::encode(error))
    }
}

impl Egress for OpenAiCompletions {
    fn path(&self, _model: &str, _stream: bool) -> Cow<'static, str> {
        Cow::Borrowed("/completions")
    }

    fn limits(&self) -> &'static [LimitHeader] {
        &limits::OPENAI
    }

    fn decode_error(&self, status: u16, body: &[u8]) -> Failure {
        Family::decode(status, body)
    }

    fn passthrough(&self) -> Option<&dyn Passthrough> {
        Some(self)
    }

    fn transcode(&self) -> &dyn Transcode {
        self
    }
}

impl Passthrough for OpenAiCompletions {
    fn retarget(&self, body: &Bytes, envelope: &Envelope, to: &Destination<'_>) -> Vec<Bytes> {
        let mut splice = envelope.spans.splice();
        if envelope.model != to.model {
            splice.set("model", quote(to.model));
        }
        if to.quirks.stream_usage == StreamUsage::Option && envelope.stream && !envelope.include_usage {
            splice.set("stream_options", with_usage(body, envelope));
        }
        if let Some(limit) = to.max_output.filter(|_| envelope.max_output.is_none()) {
            splice.set("max_tokens", limit.to_string());
        }
        to.quirks.drop.iter().for_each(|name| splice.remove(name));
        splice.apply(body)
    }

    fn unmoved(&self, _: &Bytes, _: &[Bytes], _: &Quirks, _: Signed) -> Option<Moved> {
        None
    }

    fn observe_response(&self, body: &[u8], quirks: &Quirks) -> Result<Observed, Failure> {
        Family::observe(body, quirks)
    }

    /// Chunks have the frame, usage and errors of Chat Completions; only the text stands elsewhere.
    fn tap(&self, quirks: &Quirks, watching: Watching) -> Box<dyn Tap> {
        Family::tap(quirks, watching)
    }
}

/// Nothing is translated into a dialect without conversations.
impl Transcode for OpenAiCompletions {
    fn speaks(&self) -> DialectId {
        DialectId::OpenAiCompletions
    }

    fn carries(&self, _: Slot) -> Carriage {
        Carriage::No
    }

    fn encode(&self, _: &ChatRequest, _: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
        let message = "a conversation cannot be put to a provider that only completes text";
        Err(Error::new(ErrorKind::UnsupportedParameter, message).param("messages"))
    }

    fn decode_response(&self, _: &[u8], _: &Quirks) -> Result<ChatResponse, Failure> {
        Err(Failure::new(FailureKind::Malformed, "an answer to a question that was not asked"))
    }

    fn decode_stream(&self, quirks: &Quirks) -> Box<dyn DecodeStream> {
        Family::decoder(quirks)
    }
}
