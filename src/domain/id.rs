//! Small identities.

use std::fmt;

/// A target's place in its snapshot: dense, valid in that snapshot only. State that outlives a reload is keyed by the
/// target's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub u32);

impl TargetId {
    /// As an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A wire format. One name per folder under `dialect/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DialectId {
    /// OpenAI Chat Completions and its imitators.
    #[default]
    OpenAiChat,
    /// OpenAI Responses.
    OpenAiResponses,
    /// OpenAI's legacy Completions.
    OpenAiCompletions,
    /// Anthropic Messages.
    Anthropic,
    /// Gemini `generateContent`, of AI Studio and Vertex.
    Gemini,
    /// Bedrock Converse.
    Bedrock,
    /// Cohere chat, version 2.
    Cohere,
    /// Ollama's own chat API.
    Ollama,
    /// The embedded runtime: no wire format, canonical events.
    Native,
}

impl DialectId {
    /// How many there are.
    pub const COUNT: usize = 9;
    /// All, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::OpenAiChat,
        Self::OpenAiResponses,
        Self::OpenAiCompletions,
        Self::Anthropic,
        Self::Gemini,
        Self::Bedrock,
        Self::Cohere,
        Self::Ollama,
        Self::Native,
    ];

    /// The name in catalogue files, docs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai-chat",
            Self::OpenAiResponses => "openai-responses",
            Self::OpenAiCompletions => "openai-completions",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Bedrock => "bedrock",
            Self::Cohere => "cohere",
            Self::Ollama => "ollama",
            Self::Native => "native",
        }
    }

    /// Whether this is the embedded runtime.
    #[must_use]
    pub fn is_native(self) -> bool {
        self == Self::Native
    }

    /// The dialect of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }
}

/// A request's id: a UUIDv7, so that ids sort by time. Shown as `req_` and 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u128);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // Every request has its name written, and the general way for numbers of this size is slow.
        let mut text = *b"req_00000000000000000000000000000000";
        for (place, byte) in text[4..].chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            place.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl std::str::FromStr for RequestId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let hex = text.strip_prefix("req_").filter(|h| h.len() == 32).ok_or(())?;
        u128::from_str_radix(hex, 16).map(Self).map_err(|_| ())
    }
}
