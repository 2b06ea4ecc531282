//! The client's side of the dialect: Messages, as the official SDKs and coding agents send them.
//!
//! Unknown members, betas and server tools never fail a request that goes to another dialect: coding agents send new
//! ones every month. They are dropped and listed.

mod answer;
mod envelope;
mod events;
mod known;
mod models;
mod params;
mod request;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

pub(in crate::dialect) use words::in_words;

use super::{Anthropic, error};
use crate::dialect::{
    ClientWords, EncodeStream, Envelope, Ingress, LimitHeader, Located, ModelInfo, Parameter, Rendering, Stored,
    Weight, unread,
};
use crate::domain::chat::{ChatRequest, ChatResponse};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::target::UnixMillis;

static WORDS: ClientWords = ClientWords {
    members: &[(".arguments", ".input"), (".tool_call_id", ".tool_use_id")],
    of_tool: |_, member| (member == ".parameters").then_some(".input_schema"),
    ..ClientWords::PLAIN
};

impl Ingress for Anthropic {
    fn envelope(&self, body: &Bytes, _: &Located) -> Result<Envelope, Error> {
        envelope::read(body)
    }

    fn parameters(&self) -> &'static [Parameter] {
        params::PARAMETERS
    }

    fn words(&self) -> &'static ClientWords {
        &WORDS
    }

    fn unknown(&self) -> Weight {
        Weight::Advisory
    }

    fn prefills(&self) -> bool {
        true
    }

    fn decode_request(&self, body: &[u8], _: &Envelope) -> Result<ChatRequest, Error> {
        request::decode(body).map(|read| unread::noted(read, body, &known::REQUEST, unread::plain))
    }

    fn encode_response(&self, response: &ChatResponse, rendering: &Rendering) -> Bytes {
        answer::encode(response, rendering)
    }

    fn encode_stream(&self, rendering: Rendering) -> Box<dyn EncodeStream> {
        Box::new(events::Encoder::new(rendering))
    }

    fn key_header(&self) -> Option<&'static str> {
        Some("x-api-key")
    }

    /// Of Claude Code: in every request of a session.
    fn session_header(&self) -> Option<&'static str> {
        Some("x-claude-code-session-id")
    }

    fn id_header(&self) -> Option<&'static str> {
        Some("request-id")
    }

    fn forwards(&self) -> &'static [&'static str] {
        &["anthropic-version", "anthropic-beta"]
    }

    fn encode_models(&self, models: &[ModelInfo<'_>], query: Option<&str>) -> Result<Bytes, Error> {
        models::list(models, query)
    }

    fn encode_model(&self, model: &ModelInfo<'_>) -> Result<Bytes, Error> {
        models::one(model)
    }

    fn limit_headers(&self) -> &'static [LimitHeader] {
        &super::LIMITS
    }

    /// RFC 3339, in whole seconds, not before the moment.
    fn reset(&self, after: Duration, now: UnixMillis) -> String {
        let millis = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        let second = now.0.saturating_add(millis).saturating_add(999).div_euclid(1_000);
        jiff::Timestamp::from_second(second).map_or_else(|_| String::new(), |moment| moment.to_string())
    }

    /// Threads are not remembered by tenant, so where there are several none is known: clients then send the whole
    /// conversation.
    fn names_stored(&self, body: &Bytes, envelope: &Envelope) -> Vec<Stored> {
        #[derive(Deserialize)]
        struct Thread {
            previous_message_id: Option<String>,
        }
        let thread = envelope.spans.value(body, "thread").and_then(|json| serde_json::from_slice::<Thread>(json).ok());
        let id = thread.and_then(|thread| thread.previous_message_id);
        let param = || "thread.previous_message_id".to_owned();
        id.map(|id| Stored { id, param: param(), unknown: "thread_not_found" }).into_iter().collect()
    }

    fn encode_error(&self, error: &Error, request: &str) -> Bytes {
        Bytes::from(error::encode(error, request))
    }

    /// 529 is this dialect's word for an overloaded server.
    fn error_status(&self, error: &Error) -> u16 {
        match error.kind {
            ErrorKind::Overloaded | ErrorKind::Unavailable => 529,
            _ => error.status(),
        }
    }
}
