//! Framing and byte-level JSON, below any dialect.

pub mod array;
pub mod cursor;
pub mod eventstream;
pub mod multipart;
pub mod ndjson;
pub mod passing;
mod special;
pub mod splice;
pub mod sse;
pub mod think;
