//! Wire formats: one folder per dialect, one registry line each.
//!
//! `Ingress` is what a client may speak to us, `Egress` what we may speak to a provider. Everything here is pure and
//! synchronous: bytes and values in, bytes and values out. Stream translators are state machines fed with chunks of
//! any size; any cut of the same bytes gives the same output.

mod anthropic;
mod openai_chat;

pub use anthropic::params::{Class, Parameter};

use bytes::{Bytes, BytesMut};

use crate::domain::chat::{ChatEvent, ChatRequest, ChatResponse, Loss};
use crate::domain::error::{Error, Failure};
use crate::domain::id::DialectId;
use crate::domain::target::Capabilities;
use crate::domain::usage::Usage;

/// What routing needs to know of a request body, found without parsing the prompt.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The model asked for.
    pub model: String,
    /// Whether a stream is wanted.
    pub stream: bool,
    /// Whether the client wants the usage chunk at the end of a stream.
    pub include_usage: bool,
    /// The output limit the client set.
    pub max_output: Option<u64>,
    /// How many answers.
    pub choices: u32,
    /// What the target must be able to do.
    pub needs: Capabilities,
    /// Bytes of prompt (messages and tools): the basis of the token estimate.
    pub prompt_bytes: usize,
    /// Names of all top-level members, in order.
    pub members: Vec<Box<str>>,
    /// Whether the request can be answered from the exact cache at all.
    pub cacheable: bool,
    /// Byte spans of the members that the gateway owns, for splicing.
    pub spans: crate::wire::splice::Members,
}

/// What an egress must know of the place a request goes to.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The model's name on the wire.
    pub model: &'a str,
    /// Output limit to set where the dialect demands one and the client gave none.
    pub default_max_output: u64,
    /// Members to drop, rename or default, from the catalogue.
    pub quirks: &'a Quirks,
}

/// Peculiarities of one provider of a dialect, as data from its catalogue file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Ask for usage in streams with `stream_options.include_usage`. Most do, a few refuse the member.
    pub stream_usage: StreamUsage,
    /// The member that carries the output limit (`max_tokens` or `max_completion_tokens`) where only one is taken.
    pub max_output_member: Option<String>,
    /// Top-level members the provider refuses and whose loss changes nothing for the caller.
    pub drop: Vec<String>,
    /// Whether completion tokens exclude reasoning tokens.
    pub reasoning_outside_output: bool,
}

/// How usage gets into a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamUsage {
    /// By `stream_options.include_usage`; injected when the client did not ask.
    #[default]
    Option,
    /// Always there; the option is refused or useless.
    Always,
    /// Never there.
    Never,
}

/// What a tap or decoder learned of an answer, whatever its form.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The provider's usage; the last report wins.
    pub usage: Option<Usage>,
    /// Input buckets that a stream reported before its answer: exact for the prompt, silent about the output. With
    /// `output_bytes` the basis of an estimate where `usage` never came.
    pub prompt: Option<Usage>,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    /// Whether the answer reached its good end (a finish reason, a terminal event).
    pub finished: bool,
    /// Whether anything that a client would show has arrived: after this there is no fail-over.
    pub began: bool,
    /// Whether `usage` was counted by us, exactly, and not reported by a provider.
    pub counted: bool,
    /// Bytes of answer text, thinking and tool arguments: the basis of an estimate when usage never came.
    pub output_bytes: u64,
}

/// A dialect on the client's side.
pub trait Ingress: Send + Sync {
    /// Finds what routing needs; checks well-formedness, depth and duplicate members, nothing deeper.
    ///
    /// # Errors
    /// Malformed JSON, missing or wrongly typed envelope members.
    fn envelope(&self, body: &Bytes) -> Result<Envelope, Error>;

    /// Decodes the whole request.
    ///
    /// # Errors
    /// Wrong types, with the path of the parameter.
    fn decode_request(&self, body: &[u8]) -> Result<ChatRequest, Error>;

    /// Renders an answer.
    fn encode_response(&self, response: &ChatResponse, as_model: &str) -> Bytes;

    /// A renderer of one streamed answer.
    fn encode_stream(&self, options: StreamOptions) -> Box<dyn EncodeStream>;

    /// The body of an error answer.
    fn encode_error(&self, error: &Error) -> Bytes;

    /// The event that ends a stream that broke after it began.
    fn encode_stream_error(&self, error: &Error) -> Bytes;
}

/// How a stream is to be rendered.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// The model name shown to the client.
    pub model: String,
    /// Whether the client asked for usage.
    pub include_usage: bool,
    /// Seconds since 1970, for members that demand a time where the upstream gives none.
    pub created: i64,
    /// An id for answers whose upstream gives none.
    pub id: String,
}

/// Renders canonical events as bytes of a client dialect.
pub trait EncodeStream: Send {
    /// Appends the rendering of one event.
    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut);
}

/// A dialect on the provider's side.
pub trait Egress: Send + Sync {
    /// The path below the base URL.
    fn path(&self) -> &'static str;

    /// Headers the dialect itself demands (a version).
    fn headers(&self) -> &'static [(&'static str, &'static str)];

    /// Same dialect on both sides: the client's bytes with only the members replaced that must be. The pieces,
    /// concatenated, are the body; untouched stretches are slices of `body`.
    fn retarget(&self, body: &Bytes, envelope: &Envelope, to: &Destination<'_>) -> Vec<Bytes>;

    /// Which semantic parameters of a request with these top-level members the dialect cannot express.
    fn inexpressible(&self, request: &Envelope) -> Vec<String>;

    /// Reads usage, model and end from a whole answer that passes through unchanged.
    ///
    /// # Errors
    /// A body that carries an error under a good status, or is no answer of this dialect.
    fn observe_response(&self, body: &[u8], quirks: &Quirks) -> Result<Observed, Failure>;

    /// An observer of one streamed answer that passes through.
    /// `hide_usage`: the usage report was asked for by us, the client must not see it.
    fn tap(&self, quirks: &Quirks, hide_usage: bool) -> Box<dyn Tap>;

    /// Reads an error answer. `retry_after` comes from the head and is filled in by the caller.
    fn decode_error(&self, status: u16, body: &[u8]) -> Failure;

    /// The way here from other dialects; none = only clients of this dialect can be served.
    fn transcode(&self) -> Option<&dyn Transcode>;
}

/// The part of an egress that serves clients of other dialects, through the canonical model.
pub trait Transcode: Send + Sync {
    /// Encodes a canonical request.
    ///
    /// # Errors
    /// Content that the dialect cannot carry, naming the parameter.
    fn encode_request(&self, request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error>;

    /// Decodes a whole answer. A body that carries an error under a good status is a failure.
    ///
    /// # Errors
    /// What is no answer of this dialect.
    fn decode_response(&self, body: &[u8], quirks: &Quirks) -> Result<ChatResponse, Failure>;

    /// A decoder of one streamed answer.
    fn decode_stream(&self, quirks: &Quirks) -> Box<dyn DecodeStream>;
}

/// Turns bytes of a provider's stream into canonical events.
pub trait DecodeStream: Send {
    /// Takes a chunk of any size.
    ///
    /// # Errors
    /// What is no stream of this dialect, or an error event of the provider.
    fn chunk(&mut self, chunk: &[u8], out: &mut Vec<ChatEvent>) -> Result<(), Failure>;

    /// The body ended. Pushes `ChatEvent::End` after a good end.
    ///
    /// # Errors
    /// `Truncated` when the answer had not reached its end.
    fn end(&mut self, out: &mut Vec<ChatEvent>) -> Result<(), Failure>;

    /// What has been learned so far.
    fn observed(&self) -> &Observed;
}

/// Watches a stream that passes through.
pub trait Tap: Send {
    /// Takes a chunk of any size and pushes what goes to the client: the chunk itself, or whole frames of it when
    /// frames must be hidden.
    ///
    /// # Errors
    /// An error event of the provider or a line over the limit. What was pushed before it is still good.
    fn chunk(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<(), Failure>;

    /// The body ended; pushes what was held back.
    ///
    /// # Errors
    /// `Truncated` when the answer had not reached its end.
    fn end(&mut self, out: &mut Vec<Bytes>) -> Result<(), Failure>;

    /// What has been learned so far.
    fn observed(&self) -> &Observed;
}

/// The registry: what providers may speak. The embedded runtime has no wire format.
#[must_use]
pub fn egress(dialect: DialectId) -> Option<&'static dyn Egress> {
    match dialect {
        DialectId::OpenAiChat => Some(&openai_chat::OpenAiChat),
        DialectId::Anthropic => Some(&anthropic::Anthropic),
        DialectId::Native => None,
    }
}

/// The registry: what clients may speak.
#[must_use]
pub fn ingress(dialect: DialectId) -> Option<&'static dyn Ingress> {
    match dialect {
        DialectId::OpenAiChat => Some(&openai_chat::OpenAiChat),
        DialectId::Anthropic | DialectId::Native => None,
    }
}

/// What becomes of each request parameter of the OpenAI dialects on its way to a dialect: for documentation. Empty
/// where nothing is translated.
#[must_use]
pub fn parameters(dialect: DialectId) -> &'static [Parameter] {
    match dialect {
        DialectId::Anthropic => anthropic::params::parameters(),
        DialectId::OpenAiChat | DialectId::Native => &[],
    }
}
