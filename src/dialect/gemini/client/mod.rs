//! The client's side of the dialect: Google's SDKs, the Gemini CLI and others.

mod answer;
mod envelope;
mod events;
mod known;
mod models;
mod params;
mod request;
mod schema;
mod turns;

#[cfg(test)]
mod tests;

pub(super) use answer::read_signature;

use bytes::Bytes;

use super::{Gemini, error};
use crate::dialect::{
    ClientWords, EmbedClient, EncodeStream, Envelope, Ingress, Located, ModelInfo, Parameter, Rendering, Weight, unread,
};
use crate::domain::chat::{ChatRequest, ChatResponse};
use crate::domain::error::Error;

static WORDS: ClientWords = ClientWords {
    conversation: "contents",
    members: &[
        (".arguments", ".functionCall.args"),
        (".tool_call_id", ".functionResponse.id"),
        (".is_error", ".functionResponse.response.error"),
    ],
    of_tool: |_, member| (member == ".parameters").then_some(".parametersJsonSchema"),
};

impl Ingress for Gemini {
    fn envelope(&self, body: &Bytes, located: &Located) -> Result<Envelope, Error> {
        envelope::read(body, located)
    }

    fn parameters(&self) -> &'static [Parameter] {
        params::PARAMETERS
    }

    fn words(&self) -> &'static ClientWords {
        &WORDS
    }

    fn unknown(&self) -> Weight {
        Weight::Semantic
    }

    fn decode_request(&self, body: &[u8], envelope: &Envelope) -> Result<ChatRequest, Error> {
        request::decode(body, envelope).map(|read| unread::noted(read, body, &known::REQUEST, known::own))
    }

    fn encode_response(&self, response: &ChatResponse, rendering: &Rendering) -> Bytes {
        answer::encode(response, rendering)
    }

    fn encode_stream(&self, rendering: Rendering) -> Box<dyn EncodeStream> {
        Box::new(events::Encoder::new(rendering))
    }

    fn embeddings(&self) -> Option<&dyn EmbedClient> {
        Some(self)
    }

    fn stream_type(&self, envelope: &Envelope) -> &'static str {
        if envelope.array { "application/json; charset=utf-8" } else { "text/event-stream; charset=utf-8" }
    }

    fn encode_error(&self, error: &Error, _: &str) -> Bytes {
        Bytes::from(error::encode(error))
    }

    fn error_status(&self, error: &Error) -> u16 {
        error::code(error)
    }

    fn patience_headers(&self) -> &'static [&'static str] {
        &["x-server-timeout"]
    }

    fn key_header(&self) -> Option<&'static str> {
        Some("x-goog-api-key")
    }

    fn encode_models(&self, models: &[ModelInfo<'_>], query: Option<&str>) -> Result<Bytes, Error> {
        models::list(models, query)
    }

    fn encode_model(&self, model: &ModelInfo<'_>) -> Result<Bytes, Error> {
        models::one(model)
    }

    fn encode_count(&self, tokens: u64) -> Bytes {
        Bytes::from(format!("{{\"totalTokens\":{tokens}}}"))
    }
}
