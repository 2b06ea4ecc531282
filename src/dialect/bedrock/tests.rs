//! Tests of the dialect, and what they share.
