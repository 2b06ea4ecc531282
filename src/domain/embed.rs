//! The canonical form of requests for vectors and of their answers, for clients and providers of different dialects.

use super::chat::Json;
use super::usage::Usage;

/// What is to become a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbedInput {
    /// Text.
    Text(String),
    /// Numbers of tokens, in the vocabulary of the model that the client has in mind.
    Tokens(Vec<u64>),
}

/// What the vectors are for. Some models make other vectors for a question than for what is to answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbedTask {
    /// A question, to be compared with documents.
    Query,
    /// A document, to be found by questions.
    Document,
    /// Texts that are compared with each other.
    Similarity,
    /// Input of a classifier.
    Classification,
    /// Groups of like texts.
    Clustering,
    /// A question, to be compared with its answers.
    QuestionAnswering,
    /// A statement, to be compared with evidence.
    FactVerification,
    /// A question about program code.
    CodeQuery,
}

/// A request for vectors in no dialect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbedRequest {
    /// What is to become vectors, in order.
    pub inputs: Vec<EmbedInput>,
    /// The client's form of the answer is that of one vector, not of a list.
    pub single: bool,
    /// The client wants base64 of 32-bit floats, least significant byte first, and not numbers.
    pub base64: bool,
    /// Length of the vectors; absent = the model's own.
    pub dimensions: Option<u64>,
    /// What they are for.
    pub task: Option<EmbedTask>,
    /// The document's title.
    pub title: Option<String>,
    /// The end user, an opaque name.
    pub user: Option<String>,
    /// Members that are not modelled, by their names in the client's dialect.
    pub extra: Vec<String>,
}

/// A part of such a request that not every dialect has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbedField {
    /// Numbers of tokens instead of text.
    Tokens,
    /// The length of the vectors.
    Dimensions,
    /// What they are for.
    Task,
    /// The document's title.
    Title,
    /// The end user.
    User,
}

impl EmbedField {
    /// All, in order.
    pub const ALL: [Self; 5] = [Self::Tokens, Self::Dimensions, Self::Task, Self::Title, Self::User];

    /// Whether the vectors are other ones without it. The others are hints.
    #[must_use]
    pub fn is_semantic(self) -> bool {
        match self {
            Self::Tokens | Self::Dimensions => true,
            Self::Task | Self::Title | Self::User => false,
        }
    }
}

impl EmbedRequest {
    /// Whether the request has that part.
    #[must_use]
    pub fn has(&self, field: EmbedField) -> bool {
        match field {
            EmbedField::Tokens => self.inputs.iter().any(|input| matches!(input, EmbedInput::Tokens(_))),
            EmbedField::Dimensions => self.dimensions.is_some(),
            EmbedField::Task => self.task.is_some(),
            EmbedField::Title => self.title.is_some(),
            EmbedField::User => self.user.is_some(),
        }
    }
}

/// Vectors in no dialect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbedAnswer {
    /// One vector for each input, in order: the JSON text of an array of numbers, so that no digit changes on its way
    /// between dialects that write numbers.
    pub vectors: Vec<Json>,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    /// What the provider says it used.
    pub usage: Option<Usage>,
}
