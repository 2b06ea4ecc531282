//! OpenAI Chat Completions: the dialect of most clients and most providers.
//!
//! Format: OpenAI API reference, "Chat Completions"; what imitators do differently is data in their catalogue files
//! (`Quirks`) or tolerated here where it is harmless.

mod envelope;
mod error;
mod request;
mod response;
mod stream;
mod tap;
mod types;
mod usage;

use bytes::Bytes;

use super::{
    Destination, Egress, EncodeStream, Envelope, Ingress, Observed, Quirks, StreamOptions, StreamUsage, Tap, Transcode,
};
use crate::domain::chat::{ChatRequest, ChatResponse};
use crate::domain::error::{Error, Failure};
use crate::wire::splice::quote;

/// Both halves of the dialect.
#[derive(Debug)]
pub(super) struct OpenAiChat;

impl Ingress for OpenAiChat {
    fn envelope(&self, body: &Bytes) -> Result<Envelope, Error> {
        envelope::read(body)
    }

    fn decode_request(&self, body: &[u8]) -> Result<ChatRequest, Error> {
        request::decode(body)
    }

    fn encode_response(&self, response: &ChatResponse, as_model: &str) -> Bytes {
        response::encode(response, as_model)
    }

    fn encode_stream(&self, options: StreamOptions) -> Box<dyn EncodeStream> {
        Box::new(stream::Encoder::new(options))
    }

    fn encode_error(&self, error: &Error) -> Bytes {
        Bytes::from(error::encode(error))
    }

    fn encode_stream_error(&self, error: &Error) -> Bytes {
        Bytes::from([b"data: ".as_slice(), &error::encode(error), b"\n\n"].concat())
    }
}

impl Egress for OpenAiChat {
    fn path(&self) -> &'static str {
        "/chat/completions"
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

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
        to.quirks.drop.iter().for_each(|name| splice.remove(name));
        splice.apply(body)
    }

    fn inexpressible(&self, _request: &Envelope) -> Vec<String> {
        Vec::new()
    }

    fn observe_response(&self, body: &[u8], quirks: &Quirks) -> Result<Observed, Failure> {
        response::observe(body, quirks)
    }

    fn tap(&self, quirks: &Quirks, hide_usage: bool) -> Box<dyn Tap> {
        Box::new(tap::ChatTap::new(quirks, hide_usage && quirks.stream_usage == StreamUsage::Option))
    }

    fn decode_error(&self, status: u16, body: &[u8]) -> Failure {
        error::decode(status, body)
    }

    /// Clients of other dialects come later; until then nothing is translated into this one.
    fn transcode(&self) -> Option<&dyn Transcode> {
        None
    }
}

/// The client's stream options with usage switched on; its other options stay.
fn with_usage(body: &Bytes, envelope: &Envelope) -> String {
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
