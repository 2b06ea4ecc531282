//! What a provider signs, and how it travels through clients of other dialects.

use super::id::DialectId;

/// What a provider hands out with its thinking or its calls and wants back unchanged. No other provider understands
/// it, so it never travels without its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The dialect whose provider made it.
    pub origin: DialectId,
    /// Opaque.
    pub data: String,
}

/// Begins a signature that is shown to a client of another dialect than its origin's.
const FOREIGN: &str = "sw.";

impl Signature {
    /// A signature of that dialect.
    #[must_use]
    pub fn new(origin: DialectId, data: impl Into<String>) -> Self {
        Self { origin, data: data.into() }
    }

    /// As a client of dialect `own` sees it: its own unchanged, a foreign one with its origin in front.
    #[must_use]
    pub fn shown_in(&self, own: DialectId) -> std::borrow::Cow<'_, str> {
        if self.origin == own {
            std::borrow::Cow::Borrowed(&self.data)
        } else {
            std::borrow::Cow::Owned(format!("{FOREIGN}{}.{}", self.origin.name(), self.data))
        }
    }

    /// The way back: what a client of dialect `own` returned.
    #[must_use]
    pub fn read(text: &str, own: DialectId) -> Self {
        let foreign = text.strip_prefix(FOREIGN).and_then(|rest| rest.split_once('.'));
        match foreign.and_then(|(name, data)| Some((DialectId::by_name(name)?, data))) {
            Some((origin, data)) => Self::new(origin, data),
            None => Self::new(own, text),
        }
    }

    /// The data, if `dialect` made it.
    #[must_use]
    pub fn of(&self, dialect: DialectId) -> Option<&str> {
        (self.origin == dialect && !self.data.is_empty()).then_some(self.data.as_str())
    }
}
