//! The conversation as messages of this dialect: text, with images beside it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::dialect::common::{self, inline, no_equal};
use crate::dialect::places;
use crate::domain::chat::{ChatRequest, Loss, Media, Message, Part, Role, ToolCall};
use crate::domain::error::Error;
use crate::domain::id::DialectId;

#[derive(Serialize)]
pub(super) struct Turn<'a> {
    role: &'static str,
    content: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

/// Older servers pass over the ids: they match results by name and order.
#[derive(Serialize)]
struct Call<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: Cow<'a, RawValue>,
}

impl<'a> Turn<'a> {
    fn new(role: &'static str, content: Cow<'a, str>) -> Self {
        Self {
            role,
            content,
            thinking: None,
            images: Vec::new(),
            tool_calls: Vec::new(),
            tool_name: None,
            tool_call_id: None,
        }
    }
}

impl Turn<'_> {
    /// Where nothing of a turn can be said here, there is no turn.
    fn says_something(&self) -> bool {
        !self.content.is_empty() || self.thinking.is_some() || !self.tool_calls.is_empty()
    }
}

/// Translates all turns.
///
/// # Errors
/// Content that has no equal, with its path.
pub(super) fn encode<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Result<Vec<Turn<'a>>, Error> {
    let mut turns = Vec::with_capacity(request.messages.len());
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    // Models see images in turns of the user: those in results of tools follow as one, after the last of them, since
    // nothing may stand between a call and its results.
    let mut images = Vec::new();
    for (at, message) in request.messages.iter().enumerate() {
        if message.role != Role::Tool && !images.is_empty() {
            turns.push(Turn { images: std::mem::take(&mut images), ..Turn::new("user", Cow::Borrowed("")) });
        }
        let name = message.name.as_deref().filter(|name| !name.is_empty());
        if name.is_some() && message.role != Role::Tool {
            loss.advisory.push(places::turn(at, "name"));
        }
        match message.role {
            Role::System | Role::Developer => turns.push(Turn::new("system", words(message, at)?)),
            Role::User => {
                let (content, images) = content(message, at, loss)?;
                turns.push(Turn { images, ..Turn::new("user", content) });
            }
            Role::Assistant => {
                names.extend(message.tool_calls.iter().map(|call| (call.id.as_str(), call.name.as_str())));
                turns.extend(Some(assistant(message, at, loss)?).filter(Turn::says_something));
            }
            Role::Tool => {
                let (content, shown) = content(message, at, loss)?;
                images.extend(shown);
                if message.tool_failed {
                    // The dialect has no flag for it; the text says what went wrong.
                    loss.advisory.push(places::turn(at, "is_error"));
                }
                let tool_call_id = message.tool_call_id.as_deref();
                let tool_name = tool_call_id.and_then(|id| names.get(id).copied()).or(name);
                turns.push(Turn { tool_name, tool_call_id, ..Turn::new("tool", content) });
            }
        }
    }
    if !images.is_empty() {
        turns.push(Turn { images, ..Turn::new("user", Cow::Borrowed("")) });
    }
    Ok(turns)
}

fn joined<'a>(texts: &[&'a str]) -> Cow<'a, str> {
    match texts {
        [] => Cow::Borrowed(""),
        [one] => Cow::Borrowed(*one),
        many => Cow::Owned(many.join("\n\n")),
    }
}

/// Text and nothing else.
fn words(message: &Message, at: usize) -> Result<Cow<'_, str>, Error> {
    let mut texts = Vec::new();
    for (part_at, part) in message.content.iter().enumerate() {
        match part {
            Part::Text(text) | Part::Refusal(text) => texts.push(text.as_str()),
            Part::CacheMark(_) | Part::Reasoning { .. } => {}
            _ => return Err(no_equal(at, part_at, "only text can be said here")),
        }
    }
    Ok(joined(&texts))
}

/// What users and tools may say: text, and images as base64.
fn content<'a>(message: &'a Message, at: usize, loss: &mut Loss) -> Result<(Cow<'a, str>, Vec<&'a str>), Error> {
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for (part_at, part) in message.content.iter().enumerate() {
        match part {
            Part::Text(text) | Part::Refusal(text) => texts.push(text.as_str()),
            Part::Image(media) => {
                if media.detail.as_deref().is_some_and(|d| d != "auto") {
                    loss.advisory.push(places::detail(at, part_at));
                }
                images.push(image(media, at, part_at)?);
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
    Ok((joined(&texts), images))
}

fn image(media: &Media, at: usize, part_at: usize) -> Result<&str, Error> {
    match inline(media) {
        Some((_, data)) => Ok(data),
        None => Err(no_equal(at, part_at, "an image must be inline, as base64, for this provider")),
    }
}

fn assistant<'a>(message: &'a Message, at: usize, loss: &mut Loss) -> Result<Turn<'a>, Error> {
    let (mut texts, mut thoughts) = (Vec::new(), String::new());
    for (part_at, part) in message.content.iter().enumerate() {
        match part {
            Part::Text(text) | Part::Refusal(text) => texts.push(text.as_str()),
            Part::Reasoning { text, signature } => {
                // What another provider signed is its own business.
                if signature.as_ref().is_none_or(|s| s.origin == DialectId::Ollama) {
                    thoughts.push_str(text);
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
    let mut turn = Turn::new("assistant", texts.concat().into());
    turn.thinking = Some(thoughts).filter(|thoughts| !thoughts.is_empty());
    for (call_at, given) in message.tool_calls.iter().enumerate() {
        turn.tool_calls.push(call(given, at, call_at, loss));
    }
    Ok(turn)
}

/// Arguments are an object here, not its text.
fn call<'a>(call: &'a ToolCall, at: usize, call_at: usize, loss: &mut Loss) -> Call<'a> {
    let path = || places::arguments(at, call_at);
    let arguments = common::object_of(call, path, loss);
    Call { id: &call.id, function: Function { name: &call.name, arguments } }
}
