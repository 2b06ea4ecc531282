//! Types of what comes back: whole answers, events of streams, usage and citations.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::Observed;
use crate::dialect::common::lenient;
use crate::domain::chat::{Citation, TokenLogprob};
use crate::domain::usage::{Bucket, Usage};

/// A whole answer. `message` is text where the body is an error.
#[derive(Debug, Deserialize)]
pub(super) struct Response<'a> {
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(borrow, default)]
    pub(super) message: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) finish_reason: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) usage: Option<WireUsage>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) logprobs: Option<Vec<Logprob>>,
}

/// One event of a stream, all kinds in one.
#[derive(Debug, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) index: Option<u64>,
    #[serde(borrow, default)]
    pub(super) delta: Option<Delta<'a>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) logprobs: Option<Logprob>,
    /// Only errors have it here.
    #[serde(borrow, default)]
    pub(super) message: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow, default)]
    pub(super) message: Option<Said<'a>>,
    #[serde(default)]
    pub(super) finish_reason: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) usage: Option<WireUsage>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) error: Option<String>,
}

/// A message or a piece of one. What is a list in a message is one object in a piece.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Said<'a> {
    #[serde(borrow, default)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) tool_plan: Option<String>,
    #[serde(borrow, default)]
    pub(super) tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) citations: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Block {
    #[serde(rename = "type", default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) thinking: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Call<'a> {
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(borrow, default)]
    pub(super) function: Option<Function<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Function<'a> {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(borrow, default)]
    pub(super) arguments: Option<&'a RawValue>,
}

/// A list, or the one thing that would be in it.
pub(super) fn items<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<Vec<T>, serde_json::Error> {
    match raw.get().as_bytes().first() {
        Some(b'[') => serde_json::from_str(raw.get()),
        Some(b'n') => Ok(Vec::new()),
        _ => serde_json::from_str(raw.get()).map(|one| vec![one]),
    }
}

/// A JSON text's value; none = it is no text.
pub(super) fn text(raw: &RawValue) -> Option<String> {
    raw.get().starts_with('"').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

/// Probabilities of the tokens of one piece of text.
#[derive(Debug, Deserialize)]
pub(super) struct Logprob {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    logprobs: Option<Vec<f64>>,
}

impl Logprob {
    /// The piece as one token: which letters belong to which of its tokens is not told, so they count together.
    pub(super) fn token(self) -> Option<TokenLogprob> {
        let all = self.logprobs.filter(|all| !all.is_empty())?;
        let token = self.text.unwrap_or_default();
        Some(TokenLogprob { token, logprob: all.iter().sum(), bytes: None, top: Vec::new() })
    }
}

/// Usage as reported. `tokens` counts what the model read and wrote; `billed_units` is what the provider charges for,
/// mostly less, and is used only where the former is missing.
#[derive(Debug, Deserialize)]
pub(super) struct WireUsage {
    #[serde(default)]
    tokens: Option<Tokens>,
    #[serde(default)]
    billed_units: Option<Tokens>,
    #[serde(default)]
    cached_tokens: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Tokens {
    #[serde(default)]
    input_tokens: Option<f64>,
    #[serde(default)]
    output_tokens: Option<f64>,
    #[serde(default)]
    reasoning_tokens: Option<f64>,
    #[serde(default)]
    image_tokens: Option<f64>,
    /// Of a reranking.
    #[serde(default)]
    search_units: Option<f64>,
}

/// More tokens than any request can have.
const ABSURD: f64 = (1_u64 << 40) as f64;

impl WireUsage {
    /// Disjoint buckets: input includes what was cached, images count beside it, output includes thinking. None if the
    /// report makes no sense.
    pub(super) fn buckets(&self) -> Option<Usage> {
        let tokens = self.tokens.as_ref().or(self.billed_units.as_ref())?;
        let (input, output) = (count(tokens.input_tokens)?, count(tokens.output_tokens)?);
        let cached = count(self.cached_tokens)?.min(input);
        let thinking = count(tokens.reasoning_tokens)?.min(output);
        let images = if self.tokens.is_some() { count(tokens.image_tokens)? } else { 0 };
        Some(
            Usage::ZERO
                .with(Bucket::Input, input - cached)
                .with(Bucket::CacheRead, cached)
                .with(Bucket::InputImage, images)
                .with(Bucket::Output, output - thinking)
                .with(Bucket::Reasoning, thinking),
        )
    }
}

/// Reads the units of a reranking.
pub(super) fn observe_rerank(body: &[u8]) -> Observed {
    #[derive(Deserialize)]
    struct Shape {
        meta: Option<WireUsage>,
    }
    let shape = serde_json::from_slice::<Shape>(body).ok();
    let units = shape.and_then(|s| s.meta).and_then(|m| m.billed_units).and_then(|b| b.search_units);
    let usage = units.and_then(|units| count(Some(units))).map(|units| Usage::ZERO.with(Bucket::Search, units));
    Observed { usage, began: true, ..Observed::default() }
}

/// Reads the tokens of a request for vectors.
pub(super) fn usage_of_embedding(body: &[u8]) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Shape {
        meta: Option<WireUsage>,
    }
    let billed = serde_json::from_slice::<Shape>(body).ok()?.meta?.billed_units?;
    billed.input_tokens?;
    count(billed.input_tokens).map(|tokens| Usage::ZERO.with(Bucket::Input, tokens))
}

/// The API's own types are floating-point numbers; a count is whole and not negative.
fn count(number: Option<f64>) -> Option<u64> {
    match number {
        None => Some(0),
        Some(n) if (0.0..ABSURD).contains(&n) && n.fract() == 0.0 => Some(n as u64),
        Some(_) => None,
    }
}

/// A stretch of the answer and what supports it.
#[derive(Debug, Deserialize)]
pub(super) struct WireCitation {
    #[serde(default)]
    start: Option<u32>,
    #[serde(default)]
    end: Option<u32>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    sources: Option<Vec<Source>>,
    /// `TEXT_CONTENT`, `THINKING_CONTENT` or `PLAN`: where the stretch is.
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    pub(super) content_index: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Source {
    #[serde(default)]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    tool_output: Option<Document>,
    #[serde(default, deserialize_with = "lenient")]
    document: Option<Document>,
}

#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    title: Option<String>,
}

impl WireCitation {
    /// One citation for each source. `begin` is where the cited block of text begins in the answer's text, in
    /// characters.
    pub(super) fn citations(self, begin: u32) -> impl Iterator<Item = Citation> {
        let within = self.kind.as_deref().is_none_or(|kind| kind == "TEXT_CONTENT");
        let place = |at: u32| begin.saturating_add(at);
        let span = self.start.zip(self.end).filter(|_| within).map(|(start, end)| (place(start), place(end)));
        let quoted = self.text;
        self.sources.unwrap_or_default().into_iter().map(move |source| {
            let document = source.document.or(source.tool_output);
            let (url, title) = document.map_or((None, None), |d| (d.url, d.title));
            let address = |id: &&String| id.starts_with("https://") || id.starts_with("http://");
            let url = url.or_else(|| source.id.as_ref().filter(address).cloned());
            Citation { url, title: title.or(source.id), quoted: quoted.clone(), span }
        })
    }
}
