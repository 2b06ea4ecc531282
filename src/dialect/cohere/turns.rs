//! The conversation as messages of this dialect.
//!
//! Earlier thinking goes back where the dialect has a place for it with every model: as the plan of a turn that calls
//! tools. Models put both into the same place of their prompt. Elsewhere it is not missed and stays at home.

use std::borrow::Cow;

use serde::Serialize;

use crate::dialect::common::{self, no_equal};
use crate::dialect::places;
use crate::domain::chat::{ChatRequest, Loss, Media, MediaSource, Message, Part, Role, ToolCall};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::DialectId;

#[derive(Serialize)]
pub(super) struct Turn<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_plan: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<WirePart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WirePart<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageUrl<'a> },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: Cow<'a, str>,
}

impl<'a> Turn<'a> {
    fn new(role: &'static str, content: Option<Content<'a>>) -> Self {
        Self { role, content, tool_plan: None, tool_calls: Vec::new(), tool_call_id: None }
    }
}

/// Translates all turns.
///
/// # Errors
/// Content that has no equal, with its path.
pub(super) fn encode<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Result<Vec<Turn<'a>>, Error> {
    let mut turns = Vec::with_capacity(request.messages.len());
    // Results of tools are text in this dialect: what else they hold follows as a turn of the user, after the last of
    // them, since nothing may stand between a call and its results.
    let mut media = Vec::new();
    for (at, message) in request.messages.iter().enumerate() {
        if message.role != Role::Tool && !media.is_empty() {
            turns.push(Turn::new("user", Some(Content::Parts(std::mem::take(&mut media)))));
        }
        if message.name.as_ref().is_some_and(|name| !name.is_empty()) {
            loss.advisory.push(places::turn(at, "name"));
        }
        match message.role {
            Role::System | Role::Developer => turns.push(Turn::new("system", Some(words(message, at)?))),
            Role::User => turns.push(Turn::new("user", Some(content(parts(message, at, loss)?)))),
            Role::Assistant => turns.extend(assistant(message, at, loss)?),
            Role::Tool => turns.push(tool(message, at, &mut media, loss)?),
        }
    }
    if !media.is_empty() {
        turns.push(Turn::new("user", Some(Content::Parts(media))));
    }
    Ok(turns)
}

/// Text and nothing else.
fn words(message: &Message, at: usize) -> Result<Content<'_>, Error> {
    let mut texts = Vec::new();
    for (part_at, part) in message.content.iter().enumerate() {
        match part {
            Part::Text(text) | Part::Refusal(text) => texts.push(WirePart::Text { text }),
            Part::CacheMark(_) | Part::Reasoning { .. } => {}
            _ => return Err(no_equal(at, part_at, "only text can be said here")),
        }
    }
    Ok(content(texts))
}

/// One text as it is, more as parts.
fn content(parts: Vec<WirePart<'_>>) -> Content<'_> {
    match parts.as_slice() {
        [] => Content::Text(Cow::Borrowed("")),
        [WirePart::Text { text }] => Content::Text(Cow::Borrowed(*text)),
        _ => Content::Parts(parts),
    }
}

/// What users and tools may say.
fn parts<'a>(message: &'a Message, at: usize, loss: &mut Loss) -> Result<Vec<WirePart<'a>>, Error> {
    let mut parts = Vec::with_capacity(message.content.len());
    for (part_at, part) in message.content.iter().enumerate() {
        match part {
            Part::Text(text) | Part::Refusal(text) => parts.push(WirePart::Text { text }),
            Part::Image(media) => {
                let image_url = ImageUrl { url: url(media, at, part_at)?, detail: media.detail.as_deref() };
                parts.push(WirePart::ImageUrl { image_url });
            }
            // Marks are reported with what is not carried at all.
            Part::CacheMark(_) => {}
            Part::Reasoning { .. } => loss.advisory.push(places::part(at, part_at)),
            Part::Audio(_) => return Err(no_equal(at, part_at, "audio cannot be sent to this provider")),
            Part::File(_) => return Err(no_equal(at, part_at, "a document cannot be sent to this provider")),
            Part::Opaque { .. } => {
                return Err(no_equal(at, part_at, "this kind of content cannot be sent to this provider"));
            }
        }
    }
    Ok(parts)
}

fn url(media: &Media, at: usize, part_at: usize) -> Result<Cow<'_, str>, Error> {
    match &media.source {
        MediaSource::Url(url) => Ok(Cow::Borrowed(url)),
        MediaSource::Base64 { media_type, data } => Ok(Cow::Owned(format!("data:{media_type};base64,{data}"))),
        MediaSource::Stored { .. } => Err(no_equal(at, part_at, "an uploaded image cannot be sent to this provider")),
    }
}

/// None where nothing would be left of the turn: the provider refuses empty ones.
fn assistant<'a>(message: &'a Message, at: usize, loss: &mut Loss) -> Result<Option<Turn<'a>>, Error> {
    let (mut texts, mut plan) = (Vec::new(), String::new());
    let calls = !message.tool_calls.is_empty();
    for (part_at, part) in message.content.iter().enumerate() {
        match part {
            Part::Text(text) | Part::Refusal(text) if text.is_empty() => {}
            Part::Text(text) | Part::Refusal(text) => texts.push(WirePart::Text { text }),
            Part::Reasoning { text, signature } => {
                // What another provider signed is its own business.
                let ours = signature.as_ref().is_none_or(|s| s.origin == DialectId::Cohere);
                if ours && calls {
                    plan.push_str(text);
                } else {
                    loss.advisory.push(places::part(at, part_at));
                }
            }
            Part::CacheMark(_) => {}
            // What another provider ran for itself: its words were told in the text.
            Part::Opaque { .. } => loss.advisory.push(places::part(at, part_at)),
            Part::Image(_) | Part::Audio(_) | Part::File(_) => {
                return Err(no_equal(at, part_at, "this kind of content cannot be in an assistant turn"));
            }
        }
    }
    if texts.is_empty() && !calls {
        return Ok(None);
    }
    let mut turn = Turn::new("assistant", (!texts.is_empty()).then(|| content(texts)));
    turn.tool_plan = Some(plan).filter(|plan| !plan.is_empty());
    turn.tool_calls = message.tool_calls.iter().map(call).collect();
    Ok(Some(turn))
}

fn call(call: &ToolCall) -> Call<'_> {
    let function = Function { name: &call.name, arguments: common::arguments(call) };
    Call { id: &call.id, r#type: "function", function }
}

fn tool<'a>(
    message: &'a Message,
    at: usize,
    media: &mut Vec<WirePart<'a>>,
    loss: &mut Loss,
) -> Result<Turn<'a>, Error> {
    let Some(id) = message.tool_call_id.as_deref() else {
        let param = places::turn(at, "tool_call_id");
        return Err(Error::new(ErrorKind::InvalidRequest, "a tool turn must name its call").param(param));
    };
    let (texts, others) = parts(message, at, loss)?.into_iter().partition(|p| matches!(p, WirePart::Text { .. }));
    media.extend::<Vec<_>>(others);
    if message.tool_failed {
        // The dialect has no flag for it; the text says what went wrong.
        loss.advisory.push(places::turn(at, "is_error"));
    }
    let mut turn = Turn::new("tool", Some(content(texts)));
    turn.tool_call_id = Some(id);
    Ok(turn)
}
