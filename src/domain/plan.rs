//! Words that a plan and those who carry it out share.

use std::time::Duration;

use super::target::Capability;

/// What a client asks a model to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Operation {
    /// An answer to a conversation.
    #[default]
    Chat,
    /// Text that goes on where a prompt ends: the legacy API.
    Completions,
    /// How many tokens a conversation has.
    CountTokens,
    /// Vectors for texts.
    Embeddings,
    /// Documents in the order in which they answer a query.
    Rerank,
    /// Whether texts are harmful.
    Moderations,
    /// Images from words.
    Images,
    /// Sound from words.
    Speech,
    /// Words from sound.
    Transcription,
    /// Many requests in one, done within a day, and what belongs to that: uploads, questions, results.
    Batch,
}

/// What stands in the place of a parameter where a dialect lacks the whole operation. No parameter has such a name.
pub const WHOLE_OPERATION: &str = "(operation)";

impl Operation {
    /// All, in order.
    pub const ALL: [Self; 10] = [
        Self::Chat,
        Self::Completions,
        Self::CountTokens,
        Self::Embeddings,
        Self::Rerank,
        Self::Moderations,
        Self::Images,
        Self::Speech,
        Self::Transcription,
        Self::Batch,
    ];

    /// The name in policies, the ledger and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::CountTokens => "count_tokens",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Moderations => "moderations",
            Self::Images => "images",
            Self::Speech => "speech",
            Self::Transcription => "transcription",
            Self::Batch => "batch",
        }
    }

    /// The operation of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.name() == name)
    }

    /// What a target must be able to do for it.
    #[must_use]
    pub fn capability(self) -> Capability {
        match self {
            Self::Chat | Self::Completions | Self::CountTokens => Capability::Chat,
            Self::Embeddings => Capability::Embeddings,
            Self::Rerank => Capability::Rerank,
            Self::Moderations => Capability::Moderations,
            Self::Images => Capability::Images,
            Self::Speech => Capability::Speech,
            Self::Transcription => Capability::Transcription,
            Self::Batch => Capability::Batch,
        }
    }
}

/// The four waits of an attempt. Each has its own name because each has its own cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Duration,
    /// From the request's last byte to the answer's first frame.
    pub first_token: Duration,
    /// Between two pieces of the answer.
    pub idle: Duration,
    /// For the whole request, all attempts together.
    pub total: Duration,
}

impl Default for Timeouts {
    /// Thinking models are slow to start and long to finish: 5 s, 30 s, 60 s, 15 min.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_token: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(15 * 60),
        }
    }
}
