//! Types of what comes back. A line of a stream and a whole answer have the same members.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::common::lenient;
use crate::domain::chat::TokenLogprob;
use crate::domain::usage::{Bucket, Usage};

#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) created_at: Option<String>,
    #[serde(borrow, default)]
    pub(super) message: Option<Message<'a>>,
    #[serde(default)]
    pub(super) done: Option<bool>,
    #[serde(default)]
    pub(super) done_reason: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    prompt_eval_count: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    eval_count: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) logprobs: Option<Vec<Logprob>>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(default)]
    pub(super) content: Option<String>,
    #[serde(default)]
    pub(super) thinking: Option<String>,
    #[serde(borrow, default)]
    pub(super) tool_calls: Option<Vec<Call<'a>>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Call<'a> {
    /// Newer servers only.
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(borrow)]
    pub(super) function: Function<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Function<'a> {
    #[serde(default)]
    pub(super) name: String,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

impl Function<'_> {
    /// The arguments as JSON text.
    pub(super) fn text(&self) -> String {
        let raw = self.arguments.map_or("{}", RawValue::get);
        match raw.as_bytes().first() {
            // Text that holds the object.
            Some(b'"') => serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned()),
            Some(b'n') => "{}".to_owned(),
            _ => raw.to_owned(),
        }
    }
}

/// More tokens than any request can have.
const ABSURD: u64 = 1 << 40;

impl Line<'_> {
    /// What the answer used. Thinking is not counted apart. A prompt that was cached as a whole has no count: nothing of
    /// it was evaluated. None if there is no sensible report at all.
    pub(super) fn usage(&self) -> Option<Usage> {
        let (input, output) = (self.prompt_eval_count, self.eval_count);
        let sane = input.or(output).is_some() && input.max(output) < Some(ABSURD);
        sane.then(|| Usage::ZERO.with(Bucket::Input, input.unwrap_or(0)).with(Bucket::Output, output.unwrap_or(0)))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Logprob {
    token: String,
    logprob: f64,
    #[serde(default, deserialize_with = "lenient")]
    bytes: Option<Vec<u8>>,
    #[serde(default, deserialize_with = "lenient")]
    top_logprobs: Option<Vec<Top>>,
}

#[derive(Debug, Deserialize)]
struct Top {
    token: String,
    logprob: f64,
}

impl From<Logprob> for TokenLogprob {
    fn from(wire: Logprob) -> Self {
        let top = wire.top_logprobs.unwrap_or_default().into_iter().map(|t| (t.token, t.logprob)).collect();
        Self { token: wire.token, logprob: wire.logprob, bytes: wire.bytes, top }
    }
}
