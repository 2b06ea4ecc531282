//! Wire formats: one folder per dialect, one registry line each.
//!
//! `Ingress` is what a client may speak to us, `Egress` what we may speak to a provider. Everything here is pure and
//! synchronous: bytes and values in, bytes and values out. Stream translators are state machines fed with chunks of
//! any size; any cut of the same bytes gives the same output.

mod anthropic;
pub mod batch;
mod bedrock;
mod claude;
mod cohere;
mod common;
#[cfg(test)]
mod corpus;
mod effort;
pub mod embed;
mod gate;
mod gemini;
#[cfg(test)]
mod golden;
mod ids;
pub mod limits;
mod models;
mod moved;
mod names;
pub mod native;
mod observed;
mod ollama;
mod openai_chat;
mod openai_completions;
mod openai_responses;
pub mod params;
pub mod paths;
mod places;
mod quirks;
mod read;
mod spans;
mod unread;
mod words;

pub use batch::Batches;
pub use embed::{EmbedClient, EmbedProvider};
pub use ids::CallIds;
pub use limits::{Counted, LimitHeader, Refill, Told};
pub use models::ModelInfo;
pub use moved::{Moved, Signed};
pub use names::{NameRule, Renamed};
pub(crate) use observed::MOST_STORED;
pub use observed::Observed;
pub use params::{Carriage, Parameter, Slot, Weight, has_server_tools};
pub use places::ClientWords;
pub use quirks::{Mend, Quirks, StreamUsage};

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::domain::chat::{ChatEvent, ChatRequest, ChatResponse, Loss};
use crate::domain::error::{Error, Failure};
use crate::domain::id::DialectId;
use crate::domain::plan::Operation;
use crate::domain::price::ServiceTier;
use crate::domain::target::{Capabilities, UnixMillis};

/// What the request line says, where a dialect puts it there and not into the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Located {
    /// The model named in the path.
    pub model: Option<String>,
    /// Whether the path asks for a stream.
    pub stream: bool,
    /// Whether the stream is to be one JSON array and not events.
    pub array: bool,
    /// The model of a body that names none: the deployment of Azure's paths, or what the API reference says it is then.
    pub unnamed: Option<String>,
}

/// What routing needs to know of a request body, found without parsing the prompt.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    /// The model asked for.
    pub model: String,
    /// Whether a stream is wanted.
    pub stream: bool,
    /// Whether the client wants the usage chunk at the end of a stream.
    pub include_usage: bool,
    /// Whether the stream is to be one JSON array and not events.
    pub array: bool,
    /// The output limit the client set.
    pub max_output: Option<u64>,
    /// How many answers.
    pub choices: u32,
    /// What the target must be able to do.
    pub needs: Capabilities,
    /// Bytes of prompt (messages and tools): the basis of the token estimate.
    pub prompt_bytes: usize,
    /// Names of all members that are not null, in order: as in the dialect's table of parameters, nested ones with
    /// dots.
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
    /// Output limit of the route, where the client gave none.
    pub max_output: Option<u64>,
    /// Members to drop, rename or default, from the catalogue.
    pub quirks: &'a Quirks,
}

/// Something that a provider has stored, as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub id: String,
    /// The parameter that names it.
    pub param: String,
    /// The code of the dialect's error when there is no such thing.
    pub unknown: &'static str,
}

/// A part of an answer by the id under which its client may name it later, instead of repeating it.
pub type Kept = (Box<str>, Bytes);

/// A dialect on the client's side.
pub trait Ingress: Send + Sync {
    /// Finds what routing needs; checks well-formedness, depth and duplicate members, nothing deeper.
    ///
    /// # Errors
    /// Malformed JSON, missing or wrongly typed envelope members.
    fn envelope(&self, body: &Bytes, located: &Located) -> Result<Envelope, Error>;

    /// The same for operations that are no conversations, whose body passes as it is.
    ///
    /// # Errors
    /// Malformed JSON, a missing or wrongly typed model.
    fn envelope_of_other(&self, body: &Bytes) -> Result<Envelope, Error> {
        read::other(body)
    }

    /// All parameters that the dialect is known to have.
    fn parameters(&self) -> &'static [Parameter];

    /// What its clients call places in a conversation.
    fn words(&self) -> &'static ClientWords;

    /// What the loss of a parameter means that is not in the table.
    fn unknown(&self) -> Weight;

    /// Whether bytes may pass to a provider of the same dialect.
    fn passes(&self) -> bool {
        true
    }

    /// Whether the model is meant to go on with the very words of a last turn of the assistant, and not to answer after it.
    fn prefills(&self) -> bool {
        false
    }

    /// Decodes the whole request. The envelope is its own: some dialects name model and stream in the path.
    ///
    /// # Errors
    /// Wrong types, with the path of the parameter.
    fn decode_request(&self, body: &[u8], envelope: &Envelope) -> Result<ChatRequest, Error>;

    /// Renders a whole answer.
    fn encode_response(&self, response: &ChatResponse, rendering: &Rendering) -> Bytes;

    /// A renderer of one streamed answer.
    fn encode_stream(&self, rendering: Rendering) -> Box<dyn EncodeStream>;

    /// The body with parts of earlier answers where it only names them, if `find` has any of them.
    fn fill(&self, body: &Bytes, find: &dyn Fn(&str) -> Option<Bytes>) -> Option<Bytes> {
        let _ = (body, find);
        None
    }

    /// What a request names of that which a provider has stored. Whoever holds the provider's key can name everything
    /// that was made with it, so somebody must see to whose it is.
    fn names_stored(&self, body: &Bytes, envelope: &Envelope) -> Vec<Stored> {
        let _ = (body, envelope);
        Vec::new()
    }

    /// Whether a request lets parts of its answer be kept for that.
    fn keeps(&self, body: &[u8], envelope: &Envelope) -> bool {
        let _ = (body, envelope);
        false
    }

    /// Those of a whole answer.
    fn kept(&self, response: &ChatResponse, rendering: &Rendering) -> Vec<Kept> {
        let _ = (response, rendering);
        Vec::new()
    }

    /// The header of the dialect's own for keys, which counts before a bearer token.
    fn key_header(&self) -> Option<&'static str> {
        None
    }

    /// The header in which clients of the dialect name the conversation that a request belongs to.
    fn session_header(&self) -> Option<&'static str> {
        None
    }

    /// Headers in which clients of the dialect say how many seconds they wait for an answer, or for a sign of one.
    fn patience_headers(&self) -> &'static [&'static str] {
        // Of the SDKs that both makers have generated.
        &["x-stainless-timeout", "x-stainless-read-timeout"]
    }

    /// The response header in which the dialect's clients look for the request's id, besides `x-request-id`.
    fn id_header(&self) -> Option<&'static str> {
        None
    }

    /// The headers in which the dialect's clients look for what is left of a limit; none = they look for nothing.
    fn limit_headers(&self) -> &'static [LimitHeader] {
        &[]
    }

    /// A limit's reset in the dialect's form.
    fn reset(&self, after: Duration, now: UnixMillis) -> String {
        let _ = now;
        limits::written(after)
    }

    /// Headers of the client that a provider of the same dialect must see.
    fn forwards(&self) -> &'static [&'static str] {
        &[]
    }

    /// The list of models, or the part of it that the query of the path asks for.
    ///
    /// # Errors
    /// There is no such part.
    fn encode_models(&self, models: &[ModelInfo<'_>], query: Option<&str>) -> Result<Bytes, Error> {
        let _ = query;
        models::openai_list(models)
    }

    /// One of them.
    ///
    /// # Errors
    /// None that a caller could mend.
    fn encode_model(&self, model: &ModelInfo<'_>) -> Result<Bytes, Error> {
        models::openai_model(model)
    }

    /// How many tokens a conversation has.
    fn encode_count(&self, tokens: u64) -> Bytes {
        Bytes::from(format!("{{\"input_tokens\":{tokens}}}"))
    }

    /// The words in which vectors are asked for; none = the dialect has no such operation.
    fn embeddings(&self) -> Option<&dyn EmbedClient> {
        None
    }

    /// The media type of a streamed answer.
    fn stream_type(&self, envelope: &Envelope) -> &'static str {
        let _ = envelope;
        "text/event-stream; charset=utf-8"
    }

    /// The body of an error answer.
    fn encode_error(&self, error: &Error, request: &str) -> Bytes;

    /// The status of an error, where the dialect's clients know others than the common ones.
    fn error_status(&self, error: &Error) -> u16 {
        error.status()
    }
}

/// How an answer is to be rendered.
#[derive(Clone, Debug)]
pub struct Rendering {
    /// The model name shown to the client.
    pub model: String,
    /// Whether the client asked for usage in the stream.
    pub include_usage: bool,
    /// Whether the stream is one JSON array and not events.
    pub array: bool,
    /// Seconds since 1970, for members that demand a time where the upstream gives none.
    pub created: i64,
    /// Unique letters and digits, for ids where the upstream gives none; each dialect has its own prefix for them.
    pub id: String,
    /// What was asked: some dialects repeat it in the answer.
    pub request: Arc<ChatRequest>,
}

#[cfg(test)]
impl Rendering {
    /// One for tests.
    pub(crate) fn example(model: &str, include_usage: bool) -> Self {
        Self {
            model: model.to_owned(),
            include_usage,
            array: false,
            created: 0,
            id: "own".to_owned(),
            request: Arc::default(),
        }
    }
}

/// Renders canonical events as bytes of a client dialect.
pub trait EncodeStream: Send {
    /// Appends the rendering of one event. Never called with [`ChatEvent::Error`].
    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut);

    /// Appends what ends a stream that broke after it began: the dialect's error event, never a clean end.
    fn broken(&mut self, error: &Error, out: &mut BytesMut);

    /// Parts of the answer that may be named later; asked after its end.
    fn kept(&self) -> Vec<Kept> {
        Vec::new()
    }

    /// Appends a sign of life that clients of the dialect ignore.
    fn ping(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b": ping\n");
    }
}

/// A dialect on the provider's side.
pub trait Egress: Send + Sync {
    /// The path below the base URL, percent-encoded, with the query the dialect itself demands.
    fn path(&self, model: &str, stream: bool) -> Cow<'static, str>;

    /// The path of an operation that is no conversation; none = the dialect does not have it. `path` is the client's,
    /// below the version.
    fn path_of_other(&self, operation: Operation, path: &'static str, model: &str) -> Option<Cow<'static, str>> {
        let _ = (operation, path, model);
        None
    }

    /// The body of such an operation for a model of another name than the client's, where the path and no member of
    /// the envelope names it.
    fn rename_other(&self, body: &Bytes, model: &str) -> Bytes {
        let _ = model;
        body.clone()
    }

    /// Vectors for clients of other dialects; none = the dialect has no such operation.
    fn embeddings(&self) -> Option<&dyn EmbedProvider> {
        None
    }

    /// Tiers of service, beside the standard one, that translated requests can ask for. The faster mode is none of them: it
    /// is asked for where bytes pass.
    fn tiers(&self, quirks: &Quirks) -> &'static [ServiceTier] {
        let _ = quirks;
        &[]
    }

    /// Where an answer lies that was stored, below the base URL, with what is to be done there; none = the dialect stores
    /// none.
    fn place_of_stored(&self, id: &str, does: paths::Does) -> Option<String> {
        let _ = (id, does);
        None
    }

    /// Batches, for clients of the same dialect; none = the dialect has none here.
    fn batches(&self) -> Option<&'static dyn Batches> {
        None
    }

    /// Reads what metering needs of the answer to such an operation.
    fn observe_other(&self, operation: Operation, body: &[u8]) -> Observed {
        let _ = (operation, body);
        Observed { began: true, ..Observed::default() }
    }

    /// A watcher of an answer to such an operation that is passed on as it comes; none = it is read whole.
    fn tap_other(&self, operation: Operation, media_type: &str) -> Option<Box<dyn Tap>> {
        let _ = (operation, media_type);
        None
    }

    /// Headers the dialect itself demands (a version).
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Headers in which a provider tells of its limits, unless its own file names others.
    fn limits(&self) -> &'static [LimitHeader] {
        &[]
    }

    /// Media type of a streamed answer.
    fn accept(&self) -> &'static str {
        "text/event-stream"
    }

    /// Reads an error answer. `retry_after` comes from the head and is filled in by the caller.
    fn decode_error(&self, status: u16, body: &[u8]) -> Failure;

    /// The way for clients of the same dialect; none = there are no such clients.
    fn passthrough(&self) -> Option<&dyn Passthrough>;

    /// The way for clients of other dialects, through the canonical model.
    fn transcode(&self) -> &dyn Transcode;
}

/// How a stream that passes through is to be watched.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watching {
    /// The usage report was asked for by us: the client must not see it.
    pub hide_usage: bool,
    /// The client wants one JSON array and not events.
    pub array: bool,
}

/// The part of an egress that serves clients of the same dialect: bytes pass.
pub trait Passthrough: Send + Sync {
    /// The client's bytes with only the members replaced that must be. The pieces, concatenated, are the body;
    /// untouched stretches are slices of `body`.
    fn retarget(&self, body: &Bytes, envelope: &Envelope, to: &Destination<'_>) -> Vec<Bytes>;

    /// The body that would be sent, `pieces`, without what other providers thought; none where `body` has nothing of it.
    fn unmoved(&self, body: &Bytes, pieces: &[Bytes], quirks: &Quirks, signed: Signed) -> Option<Moved>;

    /// Reads usage, model and end from a whole answer that passes through unchanged.
    ///
    /// # Errors
    /// A body that carries an error under a good status, or is no answer of this dialect.
    fn observe_response(&self, body: &[u8], quirks: &Quirks) -> Result<Observed, Failure>;

    /// An observer of one streamed answer that passes through.
    fn tap(&self, quirks: &Quirks, watching: Watching) -> Box<dyn Tap>;
}

/// The part of an egress that serves clients of other dialects, through the canonical model.
pub trait Transcode: Send + Sync {
    /// Whether the dialect can say something.
    fn carries(&self, slot: Slot) -> Carriage;

    /// Encodes a canonical request.
    ///
    /// # Errors
    /// Content that the dialect cannot carry, naming the parameter in the client's words.
    fn encode_request(&self, request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
        let renamed = Renamed::of(request, self.names());
        let named = renamed.told(request);
        let (told, lost) = words::told(&named, Some(self.speaks()));
        let encoded = self.encode(&told, to).map(|(body, mut loss)| {
            loss.advisory.extend(lost);
            (body, loss)
        });
        places::told(&told, encoded)
    }

    /// The dialect.
    fn speaks(&self) -> DialectId;

    /// What may be the name of a tool.
    fn names(&self) -> &'static NameRule {
        &NameRule::COMMON
    }

    /// The same with places in the canonical conversation, as [`places`] names them.
    ///
    /// # Errors
    /// Content that the dialect cannot carry, naming the parameter.
    fn encode(&self, request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error>;

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
    /// Takes a chunk of any size and pushes what goes to the client, in whole frames: something may be added between
    /// them.
    ///
    /// # Errors
    /// An error event of the provider or a line over the limit. What was pushed before it is still good.
    fn chunk(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<(), Failure>;

    /// The body ended; pushes what was held back.
    ///
    /// # Errors
    /// `Truncated` when the answer had not reached its end.
    fn end(&mut self, out: &mut Vec<Bytes>) -> Result<(), Failure>;

    /// What ends a stream that broke after it began: the dialect's error event, never a clean end.
    fn broken(&mut self, error: &Error) -> Bytes;

    /// What has been learned so far.
    fn observed(&self) -> &Observed;
}

/// The registry: what providers may speak. The embedded runtime has no wire format.
#[must_use]
pub fn egress(dialect: DialectId) -> Option<&'static dyn Egress> {
    match dialect {
        DialectId::OpenAiChat => Some(&openai_chat::OpenAiChat),
        DialectId::OpenAiCompletions => Some(&openai_completions::OpenAiCompletions),
        DialectId::Anthropic => Some(&anthropic::Anthropic),
        DialectId::OpenAiResponses => Some(&openai_responses::OpenAiResponses),
        DialectId::Gemini => Some(&gemini::Gemini),
        DialectId::Bedrock => Some(&bedrock::Bedrock),
        DialectId::Cohere => Some(&cohere::Cohere),
        DialectId::Ollama => Some(&ollama::Ollama),
        DialectId::Native => None,
    }
}

/// The registry: what clients may speak.
#[must_use]
pub fn ingress(dialect: DialectId) -> Option<&'static dyn Ingress> {
    match dialect {
        DialectId::OpenAiChat => Some(&openai_chat::OpenAiChat),
        DialectId::OpenAiCompletions => Some(&openai_completions::OpenAiCompletions),
        DialectId::Anthropic => Some(&anthropic::Anthropic),
        DialectId::OpenAiResponses => Some(&openai_responses::OpenAiResponses),
        DialectId::Gemini => Some(&gemini::Gemini),
        DialectId::Bedrock | DialectId::Cohere | DialectId::Ollama | DialectId::Native => None,
    }
}

/// What else a body at a path of this dialect may be: the dialect it is in, and what reads it and answers as the path
/// does. For bodies that the dialect's own reader refuses with the code `wrong_api`.
#[must_use]
pub fn crossed(dialect: DialectId) -> Option<(DialectId, &'static dyn Ingress)> {
    (dialect == DialectId::OpenAiChat).then_some((DialectId::OpenAiResponses, &openai_chat::Crossed))
}

/// Whether something can be said in a dialect to a provider.
#[must_use]
pub fn carries(dialect: DialectId, slot: Slot) -> Carriage {
    match egress(dialect) {
        Some(egress) => egress.transcode().carries(slot),
        None if dialect.is_native() => native::carries(slot),
        None => Carriage::No,
    }
}

/// How vectors are made in a dialect.
#[must_use]
pub fn embeddings(dialect: DialectId) -> Option<&'static dyn EmbedProvider> {
    egress(dialect).and_then(Egress::embeddings)
}

/// Semantic parameters among the members of a request of dialect `source` that dialect `to` cannot carry.
#[must_use]
pub fn inexpressible(envelope: &Envelope, source: DialectId, to: DialectId) -> Vec<String> {
    params::inexpressible(envelope, source, &|slot| carries(to, slot))
}

/// What a client of dialect `source` calls a parameter that a provider of another dialect blames; none = the name is of
/// a place in our translation, which the client has never seen.
#[must_use]
pub fn param_of(provider: DialectId, source: DialectId, name: &str) -> Option<String> {
    places::param_of(provider, source, name)
}

#[cfg(test)]
mod tests;
