//! Wire types that are read: private to the dialect, tolerant where imitators differ.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

use super::error::Members;
use super::usage::WireUsage;
use crate::dialect::common::{lenient, readable};

/// A stream chunk, as far as metering needs it.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub model: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "lenient")]
    pub service_tier: Option<String>,
    #[serde(default, borrow)]
    pub choices: Option<Vec<ChunkChoice<'a>>>,
    #[serde(default, deserialize_with = "readable")]
    pub usage: Option<WireUsage>,
    /// Groq's second place for usage.
    #[serde(default, deserialize_with = "readable")]
    pub x_groq: Option<Groq>,
    #[serde(default, deserialize_with = "told")]
    pub error: Option<InsideError>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Groq {
    pub usage: Option<WireUsage>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ChunkChoice<'a> {
    pub index: Option<u32>,
    #[serde(borrow)]
    pub finish_reason: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub delta: Option<Delta<'a>>,
    /// Of a legacy completion.
    #[serde(default, borrow)]
    pub text: Option<Content<'a>>,
    /// Of a router: what broke the answer off.
    #[serde(default, deserialize_with = "told")]
    pub error: Option<InsideError>,
}

/// What a client would show.
#[derive(Debug, Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow)]
    pub content: Option<Content<'a>>,
    #[serde(borrow)]
    pub reasoning_content: Option<Content<'a>>,
    #[serde(borrow)]
    pub reasoning: Option<Content<'a>>,
    #[serde(borrow)]
    pub refusal: Option<Content<'a>>,
    #[serde(borrow)]
    pub tool_calls: Option<Vec<ToolDelta<'a>>>,
}

/// Text, or Mistral's parts, or with some an object; measured, not read.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Content<'a>(#[serde(borrow)] &'a serde_json::value::RawValue);

impl Content<'_> {
    /// Bytes of text, at least roughly: escapes count as they are written, parts with their names.
    pub(super) fn bytes(&self) -> usize {
        let text = self.0.get();
        match text.as_bytes().first() {
            Some(b'"' | b'[' | b'{') => text.len().saturating_sub(2),
            // null, and what has no text.
            _ => 0,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ToolDelta<'a> {
    #[serde(borrow)]
    pub function: Option<FunctionDelta<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FunctionDelta<'a> {
    #[serde(borrow)]
    pub name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub arguments: Option<Content<'a>>,
}

/// An error inside an answer: an object, or text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum InsideError {
    Object(Members),
    Text(String),
}

/// An error, if it tells of one: some fill in every member, with nothing.
pub(super) fn told<'de, D: Deserializer<'de>>(from: D) -> Result<Option<InsideError>, D::Error> {
    Ok(lenient(from)?.filter(|error: &InsideError| match error {
        InsideError::Object(members) => !members.say_nothing(),
        InsideError::Text(text) => !text.is_empty(),
    }))
}

impl InsideError {
    pub(super) fn failure(self) -> crate::domain::error::Failure {
        match self {
            Self::Object(members) => members.inside(),
            Self::Text(text) => {
                let message: String = text.chars().take(512).collect();
                crate::domain::error::Failure::new(crate::domain::error::FailureKind::Upstream, message)
            }
        }
    }
}

impl Delta<'_> {
    /// Bytes of text, thinking, refusals and arguments; and whether there is anything to show.
    pub(super) fn shown(&self) -> (u64, bool) {
        let texts = [&self.content, &self.reasoning_content, &self.reasoning, &self.refusal];
        let text: usize = texts.into_iter().flatten().map(Content::bytes).sum();
        let calls = self.tool_calls.iter().flatten().filter_map(|call| call.function.as_ref());
        let (mut arguments, mut any_call) = (0, false);
        for call in calls {
            any_call = any_call || call.name.is_some() || call.arguments.is_some();
            arguments += call.arguments.as_ref().map_or(0, Content::bytes);
        }
        ((text + arguments) as u64, text > 0 || any_call)
    }
}
