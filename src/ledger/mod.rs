//! The ledger: one row per request and one per attempt, append-only, written by one thread.
//!
//! A request takes a permit before anything is dispatched; the permit is a place in the writer's queue, so settling is
//! synchronous, can't fail and can't lose a row. When the writer can't write, permits run out and new requests are
//! refused: the queue neither drops nor grows.

mod common;
pub mod decisions;
pub mod feedback;
mod insert;
pub mod objects;
pub mod query;
pub mod residency;
mod rows;
pub mod shadow;
pub mod stored;
pub mod trail;
mod writer;

pub use trail::Trail;
pub use writer::{Full, Ledger, LedgerPermit, LedgerWriter};

#[cfg(test)]
mod tests;
