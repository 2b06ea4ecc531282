//! The canonical chat model: what is translated when the two sides of a request speak different dialects.
//!
//! Same dialect on both sides never comes through here (bytes pass). A translator decodes once into these types and
//! encodes once out of them; what cannot be expressed is reported as [`Loss`], never dropped in silence.

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
    /// Structured output.
    pub response_format: Option<ResponseFormat>,
    /// Sampling parameters.
    pub sampling: Sampling,
    /// Most tokens the answer may have, reasoning included.
    pub max_output_tokens: Option<u64>,
    /// How much to think.
    pub reasoning: Option<ReasoningSettings>,
    /// Whether the client wants a stream.
    pub stream: bool,
    /// Whether the client asked for a usage chunk at the end of the stream.
    pub include_usage: bool,
    /// The end user, an opaque name.
    pub user: Option<String>,
    /// The processing tier asked for (`auto`, `flex`, `priority`, ...).
    pub service_tier: Option<String>,
    /// Top-level members that the decoder does not model, verbatim, for the encoder to map or report.
    pub extra: Vec<(String, Json)>,
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
        signature: Option<String>,
    },
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

/// Bytes of another kind than text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Where they are.
    pub source: MediaSource,
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
}

/// A function that the model may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON schema of its arguments; absent = none.
    pub parameters: Option<Json>,
    /// Whether arguments must follow the schema exactly.
    pub strict: Option<bool>,
}

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
    /// The arguments as the model wrote them: JSON text, which may be cut when the answer was.
    pub arguments: String,
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
        signature: String,
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
        /// The call's id.
        id: String,
        /// The function.
        name: String,
    },
    /// More of a call's arguments (JSON text).
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
    },
    /// Usage so far; the last one counts, they are never added.
    Usage(super::usage::Usage),
    /// The upstream broke after it began. Nothing follows.
    Error(super::error::Failure),
    /// A good end. Nothing follows.
    End,
}

/// What a translation could not carry over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Parameters that change the answer; each makes the target inadmissible unless the route says `lossy = "allow"`.
    pub semantic: Vec<String>,
    /// Hints; dropped and listed.
    pub advisory: Vec<String>,
}

impl Loss {
    /// Whether nothing was lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.semantic.is_empty() && self.advisory.is_empty()
    }
}
