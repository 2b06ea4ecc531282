//! Stellwerk.
