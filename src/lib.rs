//! Stellwerk: a multi-provider LLM routing gateway. One request in, one decision, one bill.
//!
//! The modules stand on floors; each uses lower floors only, and `tests/it/tidy.rs` checks it:
//!
//! - floor 0, words: [`domain`]
//! - floor 1, pure: [`shape`], [`wire`], [`dialect`], [`pricing`], [`forecast`], [`catalogue`], [`policy`],
//!   [`import`], each using those before it
//! - floor 2, ground: [`store`], [`telemetry`], [`config`]
//! - floor 3, mechanisms: [`admission`], [`cache`], [`health`], [`ledger`], [`local`], [`upstream`]; [`report`] on the ledger
//! - floor 4: [`gateway`], the steps of a request; [`versions`] of its policies
//! - floor 5, surfaces: [`server`], [`admin`]
//! - floor 6, assembly: [`app`], [`cli`]

pub mod admin;
pub mod admission;
pub mod app;
pub mod cache;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod dialect;
pub mod domain;
pub mod forecast;
pub mod gateway;
pub mod health;
pub mod import;
pub mod ledger;
pub mod local;
pub mod policy;
pub mod pricing;
pub mod replay;
pub mod report;
pub mod server;
pub mod shape;
pub mod store;
pub mod telemetry;
pub mod upstream;
pub mod versions;
pub mod wire;
