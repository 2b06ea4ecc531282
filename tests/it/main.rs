//! Integration tests: the whole gateway on loopback, in front of scripted upstreams.

mod bad_input;
mod cache;
mod chat;
mod failover;
mod harness;
mod reload;
mod residency;
mod shutdown;
mod stream;
mod tidy;
mod upstream;
