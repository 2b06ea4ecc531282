//! Words that a plan and those who carry it out share.

use std::time::Duration;

/// What a client asks a model to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Operation {
    /// An answer to a conversation.
    #[default]
    Chat,
}

impl Operation {
    /// All, in order.
    pub const ALL: [Self; 1] = [Self::Chat];

    /// The name in policies, the ledger and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
        }
    }

    /// The operation of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.name() == name)
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
