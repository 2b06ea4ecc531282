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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DialectId {
    /// OpenAI Chat Completions and its imitators.
    OpenAiChat,
    /// Anthropic Messages.
    Anthropic,
    /// The embedded runtime: no wire format, canonical events.
    Native,
}

impl DialectId {
    /// How many there are.
    pub const COUNT: usize = 3;
    /// All, in order.
    pub const ALL: [Self; Self::COUNT] = [Self::OpenAiChat, Self::Anthropic, Self::Native];

    /// The name in catalogue files, docs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai-chat",
            Self::Anthropic => "anthropic",
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
        write!(f, "req_{:032x}", self.0)
    }
}

impl std::str::FromStr for RequestId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let hex = text.strip_prefix("req_").filter(|h| h.len() == 32).ok_or(())?;
        u128::from_str_radix(hex, 16).map(Self).map_err(|_| ())
    }
}
