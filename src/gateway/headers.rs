//! The headers of our own, as names that are made once: making one of its text takes as long as looking for it.

use http::HeaderName;

/// Which route took the request.
pub(super) static ROUTE: HeaderName = HeaderName::from_static("x-stellwerk-route");
/// Which target answered.
pub(super) static TARGET: HeaderName = HeaderName::from_static("x-stellwerk-target");
/// What it cost.
pub(super) static COST: HeaderName = HeaderName::from_static("x-stellwerk-cost");
/// What the baseline would have cost.
pub(super) static BASELINE_COST: HeaderName = HeaderName::from_static("x-stellwerk-baseline-cost");
/// Of an answer: its usage is estimated. Of a request: what is to be told in the usage report.
pub static USAGE: HeaderName = HeaderName::from_static("x-stellwerk-usage");
/// What could not be told to the target.
pub(super) static DROPPED_PARAMS: HeaderName = HeaderName::from_static("x-stellwerk-dropped-params");
/// Whether the answer is from the cache.
pub(super) static CACHE: HeaderName = HeaderName::from_static("x-stellwerk-cache");
/// Tokens that were counted here are an estimate.
pub(super) static COUNT: HeaderName = HeaderName::from_static("x-stellwerk-count");
/// Only the plan is wanted, or given.
pub static DRY_RUN: HeaderName = HeaderName::from_static("x-stellwerk-dry-run");
/// What the request requires of targets.
pub static REQUIRE: HeaderName = HeaderName::from_static("x-stellwerk-require");
/// Which conversation it belongs to.
pub static SESSION: HeaderName = HeaderName::from_static("x-stellwerk-session");
/// nginx and its like are not to hold back a stream.
pub(super) static ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
