//! What a target is expected to do next, learned from what it did: how long it takes to begin and to write, how many
//! tokens it answers with, how it counts a prompt, how much of it comes from its cache.
//!
//! Pure: the moment is an argument. Everything is decayed, so that the present outweighs the past, and starts from a
//! prior, so that one odd answer proves nothing. No estimate touches a bill: money is counted from what happened.

mod latency;
mod quantiles;
mod volume;

pub use latency::{Kept, Latency, Open, Sample, Speed};
pub use quantiles::{Quantiles, Turn};
pub use volume::Volume;
