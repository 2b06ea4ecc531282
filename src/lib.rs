//! Stellwerk: a multi-provider LLM routing gateway. One request in, one decision, one bill.
//!
//! The modules stand on floors; each may use lower floors only (`tests/it/tidy.rs` checks it):
//!
//! - floor 0, words: [`domain`]
//! - floor 1, pure: [`wire`], [`dialect`] (uses `wire`), [`pricing`], [`catalogue`], [`policy`] (uses `pricing`, `catalogue`)

pub mod dialect;
pub mod domain;
pub mod wire;
