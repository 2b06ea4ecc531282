//! OpenAI Responses (`POST /responses`): the dialect of newer clients and of coding agents, and of providers that
//! imitate it.
//!
//! Format: OpenAI API reference, "Responses" and "Streaming events". What needs state at the provider
//! (`previous_response_id`, conversations, background, stored prompts) passes through to providers of the dialect and
//! is refused elsewhere.

mod decode;
mod encode;
mod envelope;
mod input;
mod known;
mod moved;
mod output;
mod params;
mod references;
mod request;
mod response;
mod stream;
mod tap;
mod tools;
mod turns;
mod types;
mod usage;
mod words;

pub(super) use words::in_words;

use std::borrow::Cow;

use bytes::Bytes;

use super::openai_chat::Family;
use super::paths::Does;
use super::{
    Carriage, ClientWords, DecodeStream, Destination, Egress, EncodeStream, Envelope, Ingress, Kept, LimitHeader,
    Located, Moved, Observed, Parameter, Passthrough, Quirks, Rendering, Signed, Slot, Stored, Tap, Transcode,
    Watching, Weight, limits, unread,
};
use crate::domain::chat::{ChatRequest, ChatResponse, Loss};
use crate::domain::error::{Error, Failure};
use crate::domain::id::DialectId;
use crate::domain::price::ServiceTier;
use crate::wire::splice::quote;

/// The tag of opaque parts that this dialect understands.
const DIALECT: &str = "openai-responses";

/// Longest line and longest event of a stream, in bytes. The last event repeats the whole answer, images included.
const MAX_EVENT: usize = 16 << 20;

/// Both halves of the dialect.
#[derive(Debug)]
pub(super) struct OpenAiResponses;

impl Ingress for OpenAiResponses {
    fn envelope(&self, body: &Bytes, _: &Located) -> Result<Envelope, Error> {
        envelope::read(body)
    }

    fn parameters(&self) -> &'static [Parameter] {
        params::PARAMETERS
    }

    fn words(&self) -> &'static ClientWords {
        &const {
            let members = &[(".tool_call_id", ".call_id")];
            ClientWords { conversation: "input", members, ..ClientWords::PLAIN }
        }
    }

    /// Coding agents send members that are newer than any table, all of them hints so far.
    fn unknown(&self) -> Weight {
        Weight::Advisory
    }

    fn decode_request(&self, body: &[u8], _: &Envelope) -> Result<ChatRequest, Error> {
        request::decode(body).map(|read| unread::noted(read, body, &known::REQUEST, unread::plain))
    }

    fn encode_response(&self, response: &ChatResponse, rendering: &Rendering) -> Bytes {
        response::encode(response, rendering)
    }

    fn encode_stream(&self, rendering: Rendering) -> Box<dyn EncodeStream> {
        Box::new(stream::Encoder::new(rendering))
    }

    fn fill(&self, body: &Bytes, find: &dyn Fn(&str) -> Option<Bytes>) -> Option<Bytes> {
        references::fill(body, find)
    }

    fn names_stored(&self, body: &Bytes, envelope: &Envelope) -> Vec<Stored> {
        references::stored(body, envelope)
    }

    /// Unless the client says otherwise, it takes them for stored.
    fn keeps(&self, body: &[u8], envelope: &Envelope) -> bool {
        envelope.spans.value(body, "store") != Some(b"false")
    }

    fn kept(&self, response: &ChatResponse, rendering: &Rendering) -> Vec<Kept> {
        let choice = response.choices.first();
        let items = choice.map(|choice| output::whole(choice, &rendering.request, &rendering.id));
        references::kept(items.iter().flatten())
    }

    fn limit_headers(&self) -> &'static [LimitHeader] {
        &super::limits::OPENAI
    }

    fn encode_error(&self, error: &Error, _: &str) -> Bytes {
        Bytes::from(Family::encode(error))
    }
}

impl Egress for OpenAiResponses {
    fn path(&self, _model: &str, _stream: bool) -> Cow<'static, str> {
        Cow::Borrowed("/responses")
    }

    fn tiers(&self, quirks: &Quirks) -> &'static [ServiceTier] {
        let drops = quirks.drop.iter().any(|member| member == "service_tier");
        if drops { &[] } else { &[ServiceTier::Flex, ServiceTier::Priority] }
    }

    fn place_of_stored(&self, id: &str, does: Does) -> Option<String> {
        match does {
            Does::Show | Does::Remove => Some(format!("/responses/{id}")),
            Does::Results => Some(format!("/responses/{id}/input_items")),
            Does::Cancel => Some(format!("/responses/{id}/cancel")),
            Does::List | Does::Begin => None,
        }
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

impl Passthrough for OpenAiResponses {
    fn retarget(&self, body: &Bytes, envelope: &Envelope, to: &Destination<'_>) -> Vec<Bytes> {
        let mut splice = envelope.spans.splice();
        if envelope.model != to.model {
            splice.set("model", quote(to.model));
        }
        if let Some(limit) = to.max_output.filter(|_| envelope.max_output.is_none()) {
            splice.set("max_output_tokens", limit.to_string());
        }
        to.quirks.drop.iter().for_each(|name| splice.remove(name));
        splice.apply(body)
    }

    fn unmoved(&self, body: &Bytes, pieces: &[Bytes], quirks: &Quirks, signed: Signed) -> Option<Moved> {
        moved::unmoved(body, pieces, quirks, signed)
    }

    fn observe_response(&self, body: &[u8], _: &Quirks) -> Result<Observed, Failure> {
        decode::observe(body)
    }

    /// Usage is part of every stream of this dialect, nobody asks for it: there is nothing to hide. Frames are always
    /// pushed whole.
    fn tap(&self, _: &Quirks, _: Watching) -> Box<dyn Tap> {
        Box::new(tap::Watch::new())
    }
}

impl Transcode for OpenAiResponses {
    fn speaks(&self) -> DialectId {
        DialectId::OpenAiResponses
    }

    fn carries(&self, slot: Slot) -> Carriage {
        params::carries(slot)
    }

    fn encode(&self, request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
        encode::request(request, to)
    }

    fn decode_response(&self, body: &[u8], _: &Quirks) -> Result<ChatResponse, Failure> {
        decode::response(body)
    }

    fn decode_stream(&self, _: &Quirks) -> Box<dyn DecodeStream> {
        Box::new(decode::Decoder::new())
    }
}

#[cfg(test)]
mod tests;
