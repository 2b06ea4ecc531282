//! A body of the Responses API at the path of Chat Completions. Cursor sends some models' requests so, and reads the
//! answer of the path: what is asked is one dialect, what is answered the other.

use bytes::Bytes;

use super::{OpenAiChat, envelope};
use crate::dialect::openai_responses::OpenAiResponses;
use crate::dialect::read::Body;
use crate::dialect::{ClientWords, EncodeStream, Envelope, Ingress, Located, Parameter, Rendering, Stored, Weight};
use crate::domain::chat::{ChatRequest, ChatResponse};
use crate::domain::error::Error;

#[derive(Debug)]
pub(in crate::dialect) struct Crossed;

impl Ingress for Crossed {
    fn envelope(&self, body: &Bytes, located: &Located) -> Result<Envelope, Error> {
        let options = Body::scan(body)?.get("stream_options").map(envelope::usage_wanted).transpose()?;
        let asked = OpenAiResponses.envelope(body, located)?;
        // The exact cache tells answers apart by the dialect that was asked in.
        Ok(Envelope { include_usage: options == Some(true), cacheable: false, ..asked })
    }

    fn parameters(&self) -> &'static [Parameter] {
        OpenAiResponses.parameters()
    }

    fn words(&self) -> &'static ClientWords {
        OpenAiResponses.words()
    }

    fn unknown(&self) -> Weight {
        OpenAiResponses.unknown()
    }

    /// A provider of either dialect would read or answer another than the client.
    fn passes(&self) -> bool {
        false
    }

    fn decode_request(&self, body: &[u8], envelope: &Envelope) -> Result<ChatRequest, Error> {
        OpenAiResponses.decode_request(body, envelope)
    }

    fn names_stored(&self, body: &Bytes, envelope: &Envelope) -> Vec<Stored> {
        OpenAiResponses.names_stored(body, envelope)
    }

    fn encode_response(&self, response: &ChatResponse, rendering: &Rendering) -> Bytes {
        OpenAiChat.encode_response(response, rendering)
    }

    fn encode_stream(&self, rendering: Rendering) -> Box<dyn EncodeStream> {
        OpenAiChat.encode_stream(rendering)
    }

    fn encode_error(&self, error: &Error, request: &str) -> Bytes {
        OpenAiChat.encode_error(error, request)
    }
}
