//! What an answer tells of itself while it is read or passes.

use crate::domain::price::ServiceTier;
use crate::domain::usage::Usage;

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
    /// The tier of service in which it was made, as the provider names it.
    pub service: Option<ServiceTier>,
    /// Whether the answer reached its good end (a finish reason, a terminal event).
    pub finished: bool,
    /// Whether the stream's own last word has arrived: nothing that matters follows, even if the connection stays open.
    pub ended: bool,
    /// Whether anything that a client would show has arrived: after this there is no fail-over.
    pub began: bool,
    /// Whether `usage` was counted by us, exactly, and not reported by a provider.
    pub counted: bool,
    /// Whether nothing but a report could tell what was used, and none has come: no estimate from bytes is made, and there
    /// is no price.
    pub unreported: bool,
    /// Bytes of answer text, thinking and tool arguments: the basis of an estimate when usage never came.
    pub output_bytes: u64,
    /// Names of what the provider stored of a passing answer, by which a client may refer to it later.
    pub stored: Vec<Box<str>>,
}

/// Most names of one answer that are remembered; the answer's own is the first.
pub(crate) const MOST_STORED: usize = 256;
