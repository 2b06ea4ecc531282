//! Answers as they are read for clients of other dialects. A message and a delta have the same members.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::types::{InsideError, told};
use super::usage::WireUsage;
use crate::dialect::common::{lenient, readable};

#[derive(Deserialize)]
pub(super) struct Answer<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) model: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) created: Option<f64>,
    #[serde(borrow, default)]
    pub(super) choices: Option<Vec<WireChoice<'a>>>,
    #[serde(default, deserialize_with = "readable")]
    pub(super) usage: Option<WireUsage>,
    #[serde(default, deserialize_with = "readable")]
    pub(super) x_groq: Option<Groq>,
    /// Perplexity's sources: addresses, and the same with titles.
    #[serde(default)]
    pub(super) citations: Option<Lenient<Vec<String>>>,
    #[serde(default)]
    pub(super) search_results: Option<Lenient<Vec<SearchResult>>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) service_tier: Option<String>,
    #[serde(default, deserialize_with = "told")]
    pub(super) error: Option<InsideError>,
}

/// What is read if it has the form that is expected, and ignored otherwise: decoration must not break an answer.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Lenient<T> {
    Good(T),
    Other(IgnoredAny),
}

impl<T> Lenient<T> {
    pub(super) fn good(self) -> Option<T> {
        match self {
            Self::Good(value) => Some(value),
            Self::Other(_) => None,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Groq {
    pub(super) usage: Option<WireUsage>,
}

#[derive(Deserialize)]
pub(super) struct SearchResult {
    pub(super) title: Option<String>,
    pub(super) url: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WireChoice<'a> {
    #[serde(default)]
    pub(super) index: Option<u32>,
    #[serde(borrow, default)]
    pub(super) finish_reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) message: Option<Said<'a>>,
    #[serde(borrow, default)]
    pub(super) delta: Option<Said<'a>>,
    #[serde(default, deserialize_with = "readable")]
    pub(super) logprobs: Option<Logprobs>,
    /// Of a router: what broke the answer off.
    #[serde(default, deserialize_with = "told")]
    pub(super) error: Option<InsideError>,
}

/// A message or a delta.
#[derive(Default, Deserialize)]
pub(super) struct Said<'a> {
    /// None where it is not there, `null` where it is empty.
    #[serde(borrow, default, deserialize_with = "given")]
    pub(super) content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) reasoning: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "readable")]
    pub(super) reasoning_details: Option<Vec<&'a RawValue>>,
    /// What Google's compatible path wants back with the message.
    #[serde(borrow, default)]
    pub(super) extra_content: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) refusal: Option<String>,
    #[serde(borrow, default)]
    pub(super) tool_calls: Option<Vec<WireCall<'a>>>,
    #[serde(borrow, default)]
    pub(super) function_call: Option<WireFunction<'a>>,
    #[serde(default)]
    pub(super) annotations: Option<Lenient<Vec<Annotation>>>,
    #[serde(default)]
    pub(super) images: Option<Lenient<Vec<Image>>>,
    #[serde(default)]
    pub(super) audio: Option<Lenient<Audio>>,
}

fn given<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl Said<'_> {
    /// Whether it has a member in which an answer stands, be it empty.
    pub(super) fn has_place(&self) -> bool {
        let thought = self.reasoning_content.is_some() || self.reasoning.is_some() || self.reasoning_details.is_some();
        let called = self.tool_calls.is_some() || self.function_call.is_some();
        let shown = self.images.is_some() || self.audio.is_some();
        self.content.is_some() || self.refusal.is_some() || thought || called || shown
    }
}

#[derive(Deserialize)]
pub(super) struct WireCall<'a> {
    #[serde(default)]
    pub(super) index: Option<u32>,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(borrow, default)]
    pub(super) function: Option<WireFunction<'a>>,
    /// What Google's compatible path wants back with it.
    #[serde(borrow, default)]
    pub(super) extra_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) custom: Option<WireCustom<'a>>,
}

/// A call of a custom tool: free text.
#[derive(Deserialize)]
pub(super) struct WireCustom<'a> {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(borrow, default)]
    pub(super) input: Option<&'a RawValue>,
}

impl WireCustom<'_> {
    pub(super) fn says_something(&self) -> bool {
        let empty = |raw: &&RawValue| matches!(raw.get(), "\"\"" | "null");
        self.name.as_ref().is_some_and(|name| !name.is_empty()) || self.input.is_some_and(|input| !empty(&input))
    }
}

#[derive(Deserialize)]
pub(super) struct WireFunction<'a> {
    #[serde(default)]
    pub(super) name: Option<String>,
    /// Text, or with some the object itself.
    #[serde(borrow, default)]
    pub(super) arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Annotation {
    pub(super) url_citation: Option<UrlCitation>,
}

#[derive(Deserialize)]
pub(super) struct UrlCitation {
    pub(super) url: Option<String>,
    pub(super) title: Option<String>,
    pub(super) content: Option<String>,
    pub(super) start_index: Option<u32>,
    pub(super) end_index: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct Image {
    pub(super) image_url: ImageUrl,
}

#[derive(Deserialize)]
pub(super) struct ImageUrl {
    pub(super) url: String,
}

#[derive(Deserialize)]
pub(super) struct Audio {
    pub(super) data: Option<String>,
    pub(super) transcript: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Logprobs {
    pub(super) content: Option<Vec<WireLogprob>>,
}

#[derive(Deserialize)]
pub(super) struct WireLogprob {
    pub(super) token: String,
    pub(super) logprob: f64,
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) top_logprobs: Option<Vec<WireTop>>,
}

#[derive(Deserialize)]
pub(super) struct WireTop {
    pub(super) token: String,
    pub(super) logprob: f64,
}
