//! OpenAI Chat Completions: the dialect of most clients and most providers.
//!
//! Format: OpenAI API reference, "Chat Completions"; what imitators do differently is data in their catalogue files
//! (`Quirks`) or tolerated here where it is harmless.

mod batch;
mod crossed;
mod decode;
mod details;
mod embeddings;
mod encode;
mod envelope;
mod error;
mod extras;
mod finish;
mod functions;
mod known;
mod media;
mod mend;
mod moved;
mod other;
mod params;
mod request;
mod response;
mod said;
mod stream;
mod tap;
mod turns;
mod types;
mod usage;

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    Batches, Carriage, ClientWords, DecodeStream, Destination, Egress, EmbedClient, EmbedProvider, EncodeStream,
    Envelope, Ingress, LimitHeader, Located, Moved, Observed, Parameter, Passthrough, Quirks, Rendering, Signed, Slot,
    StreamUsage, Tap, Transcode, Watching, Weight, limits, unread,
};
use crate::domain::chat::{ChatRequest, ChatResponse, Loss};
use crate::domain::error::{Error, Failure};
use crate::domain::id::DialectId;
use crate::domain::plan::Operation;
use crate::domain::price::ServiceTier;
use crate::wire::splice::quote;

pub(super) use crossed::Crossed;
pub(super) use extras::Executed;
pub(super) use response::UsageOut;

/// What the sibling dialects of the same house share: errors, and the frame of answers.
pub(super) struct Family;

impl Family {
    /// The body of an error answer.
    pub(super) fn encode(error: &Error) -> Vec<u8> {
        error::encode(error)
    }

    /// The event that ends a stream which broke.
    pub(super) fn event(error: &Error) -> Vec<u8> {
        error::event(error)
    }

    /// Reads an error answer.
    pub(super) fn decode(status: u16, body: &[u8]) -> Failure {
        error::decode(status, body)
    }

    /// Reads an error inside an answer.
    pub(super) fn inside(json: &str) -> Failure {
        error::inside(json)
    }

    /// Reads what metering needs from a whole answer.
    pub(super) fn observe(body: &[u8], quirks: &Quirks) -> Result<Observed, Failure> {
        response::observe(body, quirks)
    }

    /// Watches a stream.
    pub(super) fn tap(quirks: &Quirks, watching: Watching) -> Box<dyn Tap> {
        Box::new(tap::ChatTap::new(quirks, watching.hide_usage))
    }

    /// Reads a stream.
    pub(super) fn decoder(quirks: &Quirks) -> Box<dyn DecodeStream> {
        Box::new(decode::Decoder::new(quirks))
    }
}

/// Both halves of the dialect.
#[derive(Debug)]
pub(super) struct OpenAiChat;

static WORDS: ClientWords = ClientWords {
    members: &[(".detail", ".image_url.detail")],
    of_tool: |path, member| match member {
        // The older form has its members at once.
        _ if path.starts_with("functions[") => None,
        ".strict" => Some(".function.strict"),
        ".parameters" => Some(".function.parameters"),
        ".format" => Some(".custom.format"),
        _ => None,
    },
    ..ClientWords::PLAIN
};

impl Ingress for OpenAiChat {
    fn envelope(&self, body: &Bytes, _: &Located) -> Result<Envelope, Error> {
        envelope::read(body)
    }

    fn parameters(&self) -> &'static [Parameter] {
        params::PARAMETERS
    }

    fn words(&self) -> &'static ClientWords {
        &WORDS
    }

    /// Imitators have parameters of their own that change the answer; one that nobody knows may be such a one.
    fn unknown(&self) -> Weight {
        Weight::Semantic
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

    fn embeddings(&self) -> Option<&dyn EmbedClient> {
        Some(self)
    }

    fn limit_headers(&self) -> &'static [LimitHeader] {
        &super::limits::OPENAI
    }

    fn encode_error(&self, error: &Error, _: &str) -> Bytes {
        Bytes::from(error::encode(error))
    }
}

impl Egress for OpenAiChat {
    fn path(&self, _model: &str, _stream: bool) -> Cow<'static, str> {
        Cow::Borrowed("/chat/completions")
    }

    fn path_of_other(&self, operation: Operation, path: &'static str, _model: &str) -> Option<Cow<'static, str>> {
        (operation != Operation::CountTokens).then(|| Cow::Owned(format!("/{path}")))
    }

    fn embeddings(&self) -> Option<&dyn EmbedProvider> {
        Some(self)
    }

    fn tiers(&self, quirks: &Quirks) -> &'static [ServiceTier] {
        let takes = quirks.takes.iter().any(|member| member == "service_tier");
        if takes { &[ServiceTier::Flex, ServiceTier::Priority, ServiceTier::Other] } else { &[] }
    }

    fn batches(&self) -> Option<&'static dyn Batches> {
        Some(&batch::FileBatches)
    }

    fn observe_other(&self, operation: Operation, body: &[u8]) -> Observed {
        let mut observed = other::observe(body, media::made(operation));
        observed.unreported = media::is_media(operation) && observed.usage.is_none();
        observed
    }

    fn tap_other(&self, operation: Operation, media_type: &str) -> Option<Box<dyn Tap>> {
        Some(Box::new(media::MediaTap::new(operation, media_type)?))
    }

    fn limits(&self) -> &'static [LimitHeader] {
        &limits::OPENAI
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

impl Passthrough for OpenAiChat {
    fn retarget(&self, body: &Bytes, envelope: &Envelope, to: &Destination<'_>) -> Vec<Bytes> {
        let mut splice = envelope.spans.splice();
        if envelope.model != to.model {
            splice.set("model", quote(to.model));
        }
        let asks = to.quirks.stream_usage == StreamUsage::Option && envelope.stream && !envelope.include_usage;
        if asks {
            splice.set("stream_options", with_usage(body, envelope));
        }
        if let Some(member) = &to.quirks.max_output_member {
            ["max_tokens", "max_completion_tokens"].iter().filter(|name| *name != member).for_each(|other| {
                if envelope.spans.get(member).is_some() {
                    splice.remove(other);
                } else {
                    splice.rename(other, member);
                }
            });
        }
        if let Some(limit) = to.max_output.filter(|_| envelope.max_output.is_none()) {
            splice.set(to.quirks.max_output_member.as_deref().unwrap_or("max_tokens"), limit.to_string());
        }
        to.quirks.drop.iter().for_each(|name| splice.remove(name));
        splice.apply(body)
    }

    fn unmoved(&self, body: &Bytes, pieces: &[Bytes], quirks: &Quirks, signed: Signed) -> Option<Moved> {
        moved::unmoved(body, pieces, quirks, signed)
    }

    fn observe_response(&self, body: &[u8], quirks: &Quirks) -> Result<Observed, Failure> {
        response::observe(body, quirks)
    }

    fn tap(&self, quirks: &Quirks, watching: Watching) -> Box<dyn Tap> {
        Family::tap(quirks, watching)
    }
}

impl Transcode for OpenAiChat {
    fn speaks(&self) -> DialectId {
        DialectId::OpenAiChat
    }

    fn carries(&self, slot: Slot) -> Carriage {
        params::carries(slot)
    }

    fn encode(&self, request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
        encode::request(request, to)
    }

    fn decode_response(&self, body: &[u8], quirks: &Quirks) -> Result<ChatResponse, Failure> {
        decode::response(body, quirks)
    }

    fn decode_stream(&self, quirks: &Quirks) -> Box<dyn DecodeStream> {
        Box::new(decode::Decoder::new(quirks))
    }
}

/// The client's stream options with usage switched on; its other options stay.
pub(super) fn with_usage(body: &Bytes, envelope: &Envelope) -> String {
    let given = envelope.spans.value(body, "stream_options").and_then(|text| {
        serde_json::from_slice::<std::collections::BTreeMap<String, &serde_json::value::RawValue>>(text).ok()
    });
    let others = given.iter().flatten().filter(|(name, _)| *name != "include_usage");
    let mut out = String::from("{\"include_usage\":true");
    for (name, value) in others {
        out.push(',');
        out.push_str(&quote(name));
        out.push(':');
        out.push_str(value.get());
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests;
