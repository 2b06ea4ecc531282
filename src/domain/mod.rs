//! Floor 0, the words: plain values that every other module speaks in.
//!
//! Nothing here knows HTTP, JSON, clocks or I/O. No type here is `Serialize`: what leaves the process is rendered by
//! the dialect, the ledger or the admin surface that owns that format.

pub mod chat;
pub mod collect;
pub mod embed;
pub mod error;
pub mod id;
pub mod loss;
pub mod money;
pub mod origin;
pub mod plan;
pub mod price;
pub mod problem;
pub mod quantity;
pub mod receipt;
pub mod redact;
pub mod signature;
pub mod target;
pub mod usage;
