//! Stellwerk: a multi-provider LLM routing gateway. One request in, one decision, one bill.
//!
//! The modules stand on floors; each uses lower floors only, and `tests/it/tidy.rs` checks it:
//!
//! - floor 0, words: [`domain`]
//! - floor 1, pure: [`wire`], [`dialect`], [`pricing`], [`catalogue`], each using those before it
//! - floor 2, ground: [`store`], [`telemetry`], [`config`]
//! - floor 3, mechanisms: [`admission`], [`cache`], [`health`], [`ledger`], [`upstream`]

pub mod admission;
pub mod cache;
pub mod catalogue;
pub mod config;
pub mod dialect;
pub mod domain;
pub mod health;
pub mod ledger;
pub mod local;
pub mod pricing;
pub mod store;
pub mod telemetry;
pub mod upstream;
pub mod wire;
