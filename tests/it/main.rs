//! Integration tests: the whole gateway on loopback, in front of scripted upstreams.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may fail loudly"
)]

mod bad_input;
mod batches;
mod cache;
mod chat;
mod config;
mod decide;
mod dialects;
mod ends;
mod errors;
mod failover;
mod harness;
mod headroom;
mod imports;
mod media;
mod mutated;
mod own_keys;
mod policy_diff;
mod properties;
mod recorded;
mod reload;
mod residency;
mod rim;
mod schemas;
mod shadow;
mod shutdown;
mod signers;
mod stored;
mod storm;
mod stream;
mod tidy;
mod tiers;
mod tokens;
mod trail;
mod upstream;
mod versions;
mod worlds;
