//! Framing and byte-level JSON, below any dialect.

pub mod multipart;
pub mod splice;
pub mod sse;
pub mod think;
