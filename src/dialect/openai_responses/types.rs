//! Wire types of answers, as providers send them: tolerant where imitators differ.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::usage::WireUsage;
use crate::dialect::common::{lenient, readable};
use crate::domain::chat::{Citation, TokenLogprob};

/// What is read if it has the form that is expected, and ignored otherwise: decoration must not break an answer.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Lenient<T> {
    /// As expected.
    Good(T),
    /// Anything else.
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

/// A list of parts of thinking.
pub(super) type Texts = Lenient<Vec<TextPart>>;

#[derive(Debug, Deserialize)]
pub(super) struct TextPart {
    #[serde(default)]
    pub(super) text: Option<String>,
}

/// The thinking itself where it is told, else its summary; parts are paragraphs. Some say both, with the same words.
pub(super) fn joined(content: Option<Texts>, summary: Option<Texts>) -> String {
    let texts = |texts: Option<Texts>, between: &str| {
        let parts = texts.and_then(Lenient::good).unwrap_or_default();
        let parts: Vec<String> = parts.into_iter().filter_map(|part| part.text).collect();
        parts.join(between)
    };
    let content = texts(content, "");
    if content.is_empty() { texts(summary, PARAGRAPH) } else { content }
}

/// Between parts of a summary.
pub(super) const PARAGRAPH: &str = "\n\n";

/// A response object, whole or inside an event.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WireResponse<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) model: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) created_at: Option<f64>,
    #[serde(borrow, default)]
    pub(super) status: Option<Cow<'a, str>>,
    /// Read by the shared reader of errors.
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) incomplete_details: Option<Lenient<Incomplete>>,
    #[serde(borrow, default)]
    pub(super) output: Option<Vec<Item<'a>>>,
    #[serde(default, deserialize_with = "readable")]
    pub(super) usage: Option<WireUsage>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) service_tier: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Incomplete {
    pub(super) reason: Option<String>,
}

/// One item of an answer.
#[derive(Debug, Deserialize)]
pub(super) struct Item<'a> {
    #[serde(borrow, default)]
    pub(super) r#type: Cow<'a, str>,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) call_id: Option<String>,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) namespace: Option<String>,
    /// Text, or with some the object itself.
    #[serde(borrow, default)]
    pub(super) arguments: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) input: Option<Lenient<String>>,
    #[serde(borrow, default)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) summary: Option<Texts>,
    #[serde(default)]
    pub(super) encrypted_content: Option<String>,
    /// What a search did.
    #[serde(default)]
    pub(super) action: Option<Lenient<Action>>,
    /// An image that was made.
    #[serde(default)]
    pub(super) result: Option<Lenient<String>>,
    #[serde(default)]
    pub(super) output_format: Option<Lenient<String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Action {
    #[serde(default)]
    pub(super) r#type: Option<String>,
}

/// Searches that an item of that kind stands for: pages that are opened or searched through are none.
pub(super) fn searches(kind: &str, action: Option<Lenient<Action>>) -> u64 {
    let action = action.and_then(Lenient::good).and_then(|action| action.r#type);
    let search = matches!(kind, "web_search_call" | "x_search_call");
    u64::from(search && action.is_none_or(|action| action == "search"))
}

/// A part of a message.
#[derive(Debug, Deserialize)]
pub(super) struct ItemPart {
    #[serde(default)]
    pub(super) r#type: String,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) refusal: Option<String>,
    #[serde(default)]
    pub(super) annotations: Option<Lenient<Vec<Annotation>>>,
    #[serde(default)]
    pub(super) logprobs: Option<Lenient<Vec<WireLogprob>>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Annotation {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    start_index: Option<u32>,
    #[serde(default)]
    end_index: Option<u32>,
    #[serde(default)]
    filename: Option<String>,
    #[serde(default)]
    file_id: Option<String>,
    /// Of a file: the character of the text after which it is cited.
    #[serde(default)]
    index: Option<u32>,
}

impl Annotation {
    /// The source that it names, if it names one. `before` characters of text stand before its own.
    pub(super) fn citation(self, before: u32) -> Option<Citation> {
        let moved = |at: u32| at.saturating_add(before);
        let span = self.start_index.zip(self.end_index).or(self.index.zip(self.index));
        let span = span.map(|(start, end)| (moved(start), moved(end)));
        let url = self.url.filter(|url| !url.is_empty());
        let title = match &*self.r#type {
            "url_citation" => self.title,
            "file_citation" | "container_file_citation" | "file_path" => self.filename.or(self.file_id),
            _ => return None,
        };
        (url.is_some() || title.is_some()).then_some(Citation { url, title, quoted: None, span })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct WireLogprob {
    token: String,
    logprob: f64,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    #[serde(default)]
    top_logprobs: Option<Vec<WireTop>>,
}

#[derive(Debug, Deserialize)]
struct WireTop {
    token: String,
    logprob: f64,
}

impl WireLogprob {
    pub(super) fn token(self) -> TokenLogprob {
        let top = self.top_logprobs.unwrap_or_default().into_iter().map(|t| (t.token, t.logprob)).collect();
        // An empty list says nothing about a token that has letters.
        let bytes = self.bytes.filter(|bytes| !bytes.is_empty() || self.token.is_empty());
        TokenLogprob { token: self.token, logprob: self.logprob, bytes, top }
    }
}

/// One event of a stream: the union of all that matter.
#[derive(Debug, Deserialize)]
pub(super) struct StreamEvent<'a> {
    #[serde(borrow, default)]
    pub(super) r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) response: Option<WireResponse<'a>>,
    #[serde(borrow, default)]
    pub(super) item: Option<Item<'a>>,
    #[serde(default)]
    pub(super) output_index: Option<u64>,
    #[serde(borrow, default)]
    pub(super) item_id: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) summary_index: Option<u64>,
    #[serde(default)]
    pub(super) delta: Option<Lenient<String>>,
    #[serde(default)]
    pub(super) logprobs: Option<Lenient<Vec<WireLogprob>>>,
    #[serde(default)]
    pub(super) annotation: Option<Lenient<Annotation>>,
    /// An error without a name.
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

/// One event of a stream that passes through: what metering needs, with as little work as possible.
#[derive(Debug, Deserialize)]
pub(super) struct TapEvent<'a> {
    #[serde(borrow, default)]
    pub(super) r#type: Cow<'a, str>,
    #[serde(default)]
    pub(super) sequence_number: Option<u64>,
    #[serde(borrow, default)]
    pub(super) response: Option<TapResponse<'a>>,
    #[serde(borrow, default)]
    pub(super) item: Option<TapItem<'a>>,
    #[serde(borrow, default)]
    pub(super) delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TapResponse<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) model: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) created_at: Option<f64>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "readable")]
    pub(super) usage: Option<WireUsage>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) service_tier: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TapItem<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) r#type: Cow<'a, str>,
    #[serde(default)]
    pub(super) action: Option<Lenient<Action>>,
}
