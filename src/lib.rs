//! Stellwerk: a multi-provider LLM routing gateway. One request in, one decision, one bill.
//!
//! The modules stand on floors; each uses lower floors only, and `tests/it/tidy.rs` checks it:
//!
//! - floor 0, words: [`domain`]
//! - floor 1, pure: [`wire`], [`dialect`], [`pricing`], [`catalogue`], each using those before it

pub mod catalogue;
pub mod dialect;
pub mod domain;
pub mod pricing;
pub mod wire;
