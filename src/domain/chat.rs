//! The canonical chat model: what is translated when the two sides of a request speak different dialects.
//!
//! Same dialect on both sides never comes through here (bytes pass). A translator decodes once into these types and
//! encodes once out of them; what cannot be expressed is reported as [`Loss`], never dropped in silence.

use super::id::DialectId;
pub use super::loss::Loss;
pub use super::origin::Origin;
pub use super::signature::Signature;

/// JSON text kept verbatim: schemas, tool arguments, unknown members. Never re-parsed unless a dialect must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(pub Box<str>);

impl Json {
    /// Wraps text that is already known to be well-formed JSON.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A chat request in no dialect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatRequest {
    /// The dialect it came in: its words are used when something of it is lost.
    pub source: DialectId,
    /// The model as the client named it.
    pub model: String,
    /// The conversation, system and developer turns included, in the order the client gave.
    pub messages: Vec<Message>,
    /// Functions that the model may call.
    pub tools: Vec<Tool>,
    /// Which tool the model must or may call; absent = the provider's default.
    pub tool_choice: Option<ToolChoice>,
    /// Whether several calls in one turn are allowed; absent = the provider's default.
    pub parallel_tool_calls: Option<bool>,
    /// The tools came as `functions` of the older API, and calls go back in its form: one at most, without an id.
    pub legacy_functions: bool,
    /// Structured output.
    pub response_format: Option<ResponseFormat>,
    /// Sampling parameters.
    pub sampling: Sampling,
    /// Most tokens the answer may have, reasoning included.
    pub max_output_tokens: Option<u64>,
    /// How much to think.
    pub reasoning: Option<ReasoningSettings>,
    /// The client does not want to see thinking. It is still done, metered, and signed where it is signed.
    pub hide_thinking: bool,
    /// Whether the client wants a stream.
    pub stream: bool,
    /// Whether the client asked for a usage chunk at the end of the stream.
    pub include_usage: bool,
    /// The end user, an opaque name.
    pub user: Option<String>,
    /// The processing tier asked for (`auto`, `flex`, `priority`, ...).
    pub service_tier: Option<String>,
    /// The client's own labels: an object.
    pub metadata: Option<Json>,
    /// Names a prompt cache, so that requests with equal beginnings meet the same one.
    pub prompt_cache_key: Option<String>,
    /// How wordy the answer should be: `low`, `medium`, `high`.
    pub verbosity: Option<String>,
    /// Members that the decoder does not model, verbatim, for the encoder to map or report. Named as in the table of
    /// the dialect it came in, nested ones with dots (`generationConfig.speechConfig`).
    pub extra: Vec<(String, Json)>,
    /// Members inside of others that the decoder does not read, by their names with dots: hints, as far as anyone knows.
    pub unread: Vec<String>,
}

impl ChatRequest {
    /// Forgets what providers of a dialect have signed. The words of their thinking stay.
    pub fn forget_signatures(&mut self, of: DialectId) {
        let made = |signature: &mut Signature| signature.origin == of;
        for message in &mut self.messages {
            for part in &mut message.content {
                if let Part::Reasoning { signature, .. } = part {
                    signature.take_if(made);
                }
            }
            for call in &mut message.tool_calls {
                call.signature.take_if(made);
            }
        }
    }
}

/// Sampling parameters, as given. Absent = the provider's default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// 0 to 2 in most dialects, 0 to 1 in Anthropic's.
    pub temperature: Option<f64>,
    /// Nucleus mass, 0 to 1.
    pub top_p: Option<f64>,
    /// Most likely tokens kept.
    pub top_k: Option<u32>,
    /// Relative probability floor.
    pub min_p: Option<f64>,
    /// Penalty by number of occurrences.
    pub frequency_penalty: Option<f64>,
    /// Penalty by presence.
    pub presence_penalty: Option<f64>,
    /// Seed of the dice.
    pub seed: Option<i64>,
    /// Stop sequences.
    pub stop: Vec<String>,
    /// Bias by token id, verbatim.
    pub logit_bias: Option<Json>,
    /// Whether log probabilities are wanted.
    pub logprobs: Option<bool>,
    /// How many alternatives per token.
    pub top_logprobs: Option<u32>,
    /// How many answers.
    pub n: Option<u32>,
}

/// Who speaks in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Instructions of the application.
    System,
    /// The newer name of the same in OpenAI dialects.
    Developer,
    /// The end user.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

/// One turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The speaker's name, where given.
    pub name: Option<String>,
    /// What is said, in order.
    pub content: Vec<Part>,
    /// Calls the assistant made in this turn.
    pub tool_calls: Vec<ToolCall>,
    /// For `Role::Tool`: which call this answers.
    pub tool_call_id: Option<String>,
    /// For `Role::Tool`: the call failed, and `content` says how.
    pub tool_failed: bool,
    /// Where it stood.
    pub origin: Origin,
}

impl Message {
    /// A turn that says this and nothing else.
    #[must_use]
    pub fn new(role: Role, content: Vec<Part>) -> Self {
        let (tool_calls, origin) = (Vec::new(), Origin::default());
        Self { role, name: None, content, tool_calls, tool_call_id: None, tool_failed: false, origin }
    }

    /// A turn that stood there and says nothing yet.
    #[must_use]
    pub fn at(role: Role, path: &str) -> Self {
        Self { origin: Origin::at(path), ..Self::new(role, Vec::new()) }
    }

    /// Adds a part that stood there.
    pub fn say(&mut self, part: Part, path: &str) {
        self.content.push(part);
        self.origin.parts.push(path.into());
    }

    /// Adds a call that stood there.
    pub fn call(&mut self, call: ToolCall, path: &str) {
        self.tool_calls.push(call);
        self.origin.calls.push(path.into());
    }
}

/// One piece of a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Text.
    Text(String),
    /// An image, by URL or inline.
    Image(Media),
    /// Audio, inline.
    Audio(Media),
    /// A document (PDF and the like).
    File(Media),
    /// The model's thinking. The signature is opaque and goes back unchanged to the provider that made it.
    Reasoning {
        /// The text; may be empty where a provider withholds it.
        text: String,
        /// Opaque proof of origin.
        signature: Option<Signature>,
    },
    /// The prompt up to here, the part before it included, is worth caching.
    CacheMark(CacheMark),
    /// The model declined.
    Refusal(String),
    /// A part of one dialect that the canonical model does not know, verbatim.
    Opaque {
        /// The dialect whose part this is.
        dialect: &'static str,
        /// The part as JSON.
        raw: Json,
    },
}

/// How long a marked prompt is worth keeping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheMark {
    /// `5m`, `1h`; absent = the provider's default.
    pub ttl: Option<String>,
}

/// Bytes of another kind than text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Where they are.
    pub source: MediaSource,
    /// Such as `image/png`, where the client says so beside a URL. Inline data carry their own.
    pub media_type: Option<String>,
    /// `auto`, `low`, `high` for images.
    pub detail: Option<String>,
    /// A file name, where given.
    pub name: Option<String>,
}

/// Where media are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaSource {
    /// To be fetched by the provider; the gateway never fetches.
    Url(String),
    /// Inline.
    Base64 {
        /// Such as `image/png`.
        media_type: String,
        /// The data, base64 as received.
        data: String,
    },
    /// Uploaded before, to a provider of that dialect. No other can read it.
    Stored {
        /// The dialect of that provider.
        origin: DialectId,
        /// Its id of the file.
        id: String,
    },
}

/// A tool that the model may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The group it stands in, where the client's dialect has groups.
    pub namespace: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// JSON schema of its arguments; absent = none.
    pub parameters: Option<Json>,
    /// Whether arguments must follow the schema exactly.
    pub strict: Option<bool>,
    /// What kind of tool it is.
    pub kind: ToolKind,
    /// The list of tools up to here is worth caching.
    pub cache: Option<CacheMark>,
    /// Where it stood.
    pub origin: Origin,
}

impl Tool {
    /// Its name where there are no groups: `group__name`. Unique, and made only of what all dialects allow.
    #[must_use]
    pub fn flat_name(&self) -> std::borrow::Cow<'_, str> {
        match &self.namespace {
            None => std::borrow::Cow::Borrowed(&self.name),
            Some(namespace) => std::borrow::Cow::Owned(format!("{namespace}__{}", self.name)),
        }
    }
}

/// What kind of tool it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolKind {
    /// A function with arguments by a schema, run by the client.
    #[default]
    Function,
    /// A tool that takes free text, run by the client. Dialects without it carry a function with one text argument,
    /// [`CUSTOM_ARGUMENT`].
    Custom {
        /// The grammar of the text, verbatim.
        format: Option<Json>,
    },
    /// A tool that the provider runs itself (a web search); only its own dialect knows it.
    Server {
        /// The dialect whose tool it is.
        origin: DialectId,
        /// The tool as JSON.
        raw: Json,
    },
}

/// The one argument of a function that stands for a custom tool.
pub const CUSTOM_ARGUMENT: &str = "input";

/// Which tool must be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// No call.
    None,
    /// At least one call.
    Required,
    /// This function.
    Function(String),
}

/// A call that the model made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// The call's id, by which its result is matched.
    pub id: String,
    /// The function.
    pub name: String,
    /// The arguments as the model wrote them: JSON text, which may be cut when the answer was. Of a custom tool: the
    /// text itself.
    pub arguments: String,
    /// Whether a custom tool is called.
    pub custom: bool,
    /// What the provider wants back with it.
    pub signature: Option<Signature>,
}

impl ToolCall {
    /// A call of a function.
    #[must_use]
    pub fn new(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), arguments: arguments.into(), custom: false, signature: None }
    }
}

/// Structured output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseFormat {
    /// Free text.
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON by a schema.
    JsonSchema {
        /// The schema's name.
        name: String,
        /// What it describes.
        description: Option<String>,
        /// The schema.
        schema: Option<Json>,
        /// Whether it must be followed exactly.
        strict: Option<bool>,
    },
}

/// How much to think: a word, a number of tokens, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReasoningSettings {
    /// `none`, `minimal`, `low`, `medium`, `high`, as the client wrote it.
    pub effort: Option<String>,
    /// Most tokens of thinking.
    pub budget_tokens: Option<u64>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// A natural end or a stop sequence.
    Stop,
    /// The output limit.
    Length,
    /// The model wants tools called.
    ToolCalls,
    /// A filter or a refusal.
    ContentFilter,
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatResponse {
    /// The provider's id of this answer.
    pub id: String,
    /// The model as the provider named it.
    pub model: String,
    /// Seconds since 1970, where the provider says.
    pub created: Option<i64>,
    /// One per answer asked for.
    pub choices: Vec<Choice>,
    /// Usage as the provider reported it; absent = it did not.
    pub usage: Option<super::usage::Usage>,
    /// The processing tier that served it, in the provider's word where other dialects know it.
    pub service_tier: Option<String>,
    /// The same for its price, where the provider says.
    pub served: Option<super::price::ServiceTier>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Its number.
    pub index: u32,
    /// Text, reasoning and refusals, in order.
    pub content: Vec<Part>,
    /// Calls.
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended.
    pub finish: FinishReason,
    /// The stop sequence that ended it, where the provider says.
    pub stop_sequence: Option<String>,
    /// Log probabilities of its tokens, in order; empty = not asked for or not given.
    pub logprobs: Vec<TokenLogprob>,
    /// Sources that the answer names.
    pub citations: Vec<Citation>,
}

impl Choice {
    /// The answer without the words of its thinking; what is signed keeps its signature.
    pub fn hide_thinking(&mut self) {
        self.content.retain_mut(|part| match part {
            Part::Reasoning { text, signature } => {
                text.clear();
                signature.is_some()
            }
            _ => true,
        });
    }

    /// An answer that has not begun.
    #[must_use]
    pub fn new(index: u32) -> Self {
        Self {
            index,
            content: Vec::new(),
            tool_calls: Vec::new(),
            finish: FinishReason::Stop,
            stop_sequence: None,
            logprobs: Vec::new(),
            citations: Vec::new(),
        }
    }
}

/// How probable a token was, and what else might have stood there.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token's text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// Its bytes, where the text alone does not say them.
    pub bytes: Option<Vec<u8>>,
    /// The most probable alternatives with their logarithms.
    pub top: Vec<(String, f64)>,
}

/// A source that an answer names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Citation {
    /// Where it is.
    pub url: Option<String>,
    /// What it is called.
    pub title: Option<String>,
    /// The words that are cited.
    pub quoted: Option<String>,
    /// The stretch of the answer's text that it supports, in characters.
    pub span: Option<(u32, u32)>,
}

/// One step of a streamed answer. Decoders yield them, the local runtime yields them, encoders render them.
#[derive(Clone, Debug, PartialEq)]
pub enum ChatEvent {
    /// Opens the answer; exactly once, first.
    Start {
        /// The provider's id of this answer.
        id: String,
        /// The model as the provider named it.
        model: String,
        /// Seconds since 1970, where the provider says.
        created: Option<i64>,
    },
    /// More text.
    Text {
        /// Which answer.
        choice: u32,
        /// The delta.
        text: String,
    },
    /// More thinking.
    Reasoning {
        /// Which answer.
        choice: u32,
        /// The delta.
        text: String,
    },
    /// The signature of the thinking so far.
    ReasoningSignature {
        /// Which answer.
        choice: u32,
        /// Opaque.
        signature: Signature,
    },
    /// The model declines.
    Refusal {
        /// Which answer.
        choice: u32,
        /// The delta.
        text: String,
    },
    /// A tool call opens.
    ToolStart {
        /// Which answer.
        choice: u32,
        /// The call's number within the answer, from 0, dense.
        index: u32,
        /// The call's id; empty where the provider gave none.
        id: String,
        /// The function.
        name: String,
        /// Whether a custom tool is called; its arguments are plain text.
        custom: bool,
        /// What the provider wants back with the call.
        signature: Option<Signature>,
    },
    /// More of a call's arguments (JSON text, or plain text of a custom tool).
    ToolArguments {
        /// Which answer.
        choice: u32,
        /// Which call.
        index: u32,
        /// The delta.
        fragment: String,
    },
    /// The answer ended; once per choice.
    Finish {
        /// Which answer.
        choice: u32,
        /// Why.
        reason: FinishReason,
        /// The stop sequence that ended it, where the provider says.
        stop_sequence: Option<String>,
    },
    /// An image or audio that the model made, whole.
    Media {
        /// Which answer.
        choice: u32,
        /// `Part::Image` or `Part::Audio`.
        part: Part,
    },
    /// Log probabilities of the tokens of the text just sent.
    Logprobs {
        /// Which answer.
        choice: u32,
        /// In order.
        tokens: Vec<TokenLogprob>,
    },
    /// A source that the answer names.
    Citation {
        /// Which answer.
        choice: u32,
        /// The source.
        citation: Citation,
    },
    /// Usage so far; the last one counts, they are never added.
    Usage(super::usage::Usage),
    /// The upstream broke after it began. Nothing follows.
    Error(super::error::Failure),
    /// A good end. Nothing follows.
    End,
}
