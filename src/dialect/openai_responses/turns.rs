//! The conversation as items of this dialect.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::value::RawValue;

use super::DIALECT;
use super::encode::{raw, takes};
use super::tools::{self, Called};
use crate::dialect::Quirks;
use crate::dialect::common::no_equal;
use crate::dialect::places;
use crate::domain::chat::{ChatRequest, Loss, Media, MediaSource, Message, Part, Role, ToolCall};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::DialectId;

/// The member that marks where a prompt cache is to end.
pub(super) const BREAKPOINT: &str = "prompt_cache_breakpoint";

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ItemOut<'a> {
    Message {
        role: &'static str,
        content: Content<'a>,
    },
    Reasoning {
        summary: Vec<Words<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Words<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<&'a str>,
    },
    FunctionCall {
        call_id: &'a str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'a str>,
        arguments: &'a str,
    },
    CustomToolCall {
        call_id: &'a str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'a str>,
        input: &'a str,
    },
    FunctionCallOutput {
        call_id: &'a str,
        output: Content<'a>,
    },
    CustomToolCallOutput {
        call_id: &'a str,
        output: Content<'a>,
    },
    #[serde(untagged)]
    Raw(&'a RawValue),
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<PartOut<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Words<'a> {
    SummaryText { text: &'a str },
    ReasoningText { text: &'a str },
}

#[derive(Serialize)]
pub(super) struct PartOut<'a> {
    #[serde(flatten)]
    kind: Kind<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_breakpoint: Option<Breakpoint>,
}

#[derive(Serialize)]
struct Breakpoint {
    mode: &'static str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the dialect's own names")]
enum Kind<'a> {
    InputText {
        text: &'a str,
    },
    InputImage {
        #[serde(skip_serializing_if = "Option::is_none")]
        image_url: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
    },
    InputFile {
        #[serde(skip_serializing_if = "Option::is_none")]
        file_data: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_url: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        filename: Option<&'a str>,
    },
}

/// Translates all turns; `instruction` is ours and stands first.
///
/// # Errors
/// Content that has no equal, with its path.
pub(super) fn encode<'a>(
    request: &'a ChatRequest,
    instruction: Option<String>,
    quirks: &Quirks,
    loss: &mut Loss,
) -> Result<Vec<ItemOut<'a>>, Error> {
    let mut items = Vec::with_capacity(request.messages.len() + 1);
    items.extend(instruction.map(|words| ItemOut::Message { role: "system", content: Content::Text(words.into()) }));
    let calls = request.messages.iter().flat_map(|message| &message.tool_calls);
    let custom: BTreeSet<&str> = calls.filter(|call| call.custom).map(|call| call.id.as_str()).collect();
    let marks = takes(quirks, BREAKPOINT);
    for (at, message) in request.messages.iter().enumerate() {
        if message.name.as_ref().is_some_and(|name| !name.is_empty()) {
            loss.advisory.push(places::turn(at, "name"));
        }
        let role = match message.role {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => {
                assistant(request, message, at, quirks, loss, &mut items)?;
                continue;
            }
            Role::Tool => {
                items.push(result(message, at, marks, &custom, loss)?);
                continue;
            }
        };
        items.push(ItemOut::Message { role, content: content(message, at, marks, loss)? });
    }
    Ok(items)
}

/// What others than the assistant say.
fn content<'a>(message: &'a Message, at: usize, marks: bool, loss: &mut Loss) -> Result<Content<'a>, Error> {
    let mut parts: Vec<PartOut<'a>> = Vec::with_capacity(message.content.len());
    for (part_at, part) in message.content.iter().enumerate() {
        let kind = match part {
            Part::Text(text) | Part::Refusal(text) => Kind::InputText { text },
            Part::Image(media) => image(media, at, part_at)?,
            Part::File(media) => file(media, at, part_at)?,
            Part::Audio(_) => return Err(no_equal(at, part_at, "this API takes no sound")),
            Part::CacheMark(_) => {
                if let Some(last) = parts.last_mut().filter(|_| marks) {
                    last.prompt_cache_breakpoint = Some(Breakpoint { mode: "explicit" });
                }
                continue;
            }
            Part::Reasoning { .. } => {
                loss.advisory.push(places::part(at, part_at));
                continue;
            }
            Part::Opaque { .. } => {
                return Err(no_equal(at, part_at, "this kind of content cannot be sent to this provider"));
            }
        };
        parts.push(PartOut { kind, prompt_cache_breakpoint: None });
    }
    Ok(match parts.as_slice() {
        [] => Content::Text(Cow::Borrowed("")),
        [PartOut { kind: Kind::InputText { text }, prompt_cache_breakpoint: None }] => {
            Content::Text(Cow::Borrowed(*text))
        }
        _ => Content::Parts(parts),
    })
}

fn image(media: &Media, at: usize, part_at: usize) -> Result<Kind<'_>, Error> {
    let (image_url, file_id) = match &media.source {
        MediaSource::Url(url) => (Some(Cow::Borrowed(url.as_str())), None),
        MediaSource::Base64 { media_type, data } => {
            (Some(Cow::Owned(format!("data:{media_type};base64,{data}"))), None)
        }
        source => (None, Some(stored(source, at, part_at)?)),
    };
    // The dialect asks for a word always.
    Ok(Kind::InputImage { image_url, file_id, detail: Some(media.detail.as_deref().unwrap_or("auto")) })
}

fn file(media: &Media, at: usize, part_at: usize) -> Result<Kind<'_>, Error> {
    let filename = media.name.as_deref();
    Ok(match &media.source {
        MediaSource::Base64 { media_type, data } => Kind::InputFile {
            file_data: Some(format!("data:{media_type};base64,{data}")),
            file_url: None,
            file_id: None,
            filename: Some(filename.unwrap_or("document")),
        },
        MediaSource::Url(url) => Kind::InputFile { file_data: None, file_url: Some(url), file_id: None, filename },
        source => {
            let id = stored(source, at, part_at)?;
            Kind::InputFile { file_data: None, file_url: None, file_id: Some(id), filename }
        }
    })
}

/// The two dialects of one house share their files.
fn stored(source: &MediaSource, at: usize, part_at: usize) -> Result<&str, Error> {
    match source {
        MediaSource::Stored { origin: DialectId::OpenAiResponses | DialectId::OpenAiChat, id } => Ok(id),
        _ => Err(no_equal(at, part_at, "a file that is stored at another provider cannot be sent to this one")),
    }
}

fn assistant<'a>(
    request: &'a ChatRequest,
    message: &'a Message,
    at: usize,
    quirks: &Quirks,
    loss: &mut Loss,
    items: &mut Vec<ItemOut<'a>>,
) -> Result<(), Error> {
    let mut said = Vec::new();
    for (part_at, part) in message.content.iter().enumerate() {
        match part {
            Part::Text(text) | Part::Refusal(text) => said.push(text.as_str()),
            Part::CacheMark(_) => {}
            Part::Reasoning { text, signature } => {
                let data = signature.as_ref().and_then(|s| s.of(DialectId::OpenAiResponses));
                // Thinking goes back to the provider that signed it, or to one that wants it in the clear.
                let (summary, content) = match (data, &quirks.reasoning_member) {
                    (Some(_), _) => (vec![Words::SummaryText { text }], Vec::new()),
                    (None, Some(_)) => (Vec::new(), vec![Words::ReasoningText { text }]),
                    (None, None) => {
                        loss.advisory.push(places::part(at, part_at));
                        continue;
                    }
                };
                flush(&mut said, items);
                let summary = if text.is_empty() { Vec::new() } else { summary };
                items.push(ItemOut::Reasoning { summary, content, encrypted_content: data });
            }
            Part::Opaque { dialect, raw: json } if *dialect == DIALECT => {
                flush(&mut said, items);
                items.extend(raw(Some(json), &places::part(at, part_at))?.map(ItemOut::Raw));
            }
            // What another provider ran for itself: its words were told in the text.
            Part::Opaque { .. } => loss.advisory.push(places::part(at, part_at)),
            Part::Image(_) | Part::Audio(_) | Part::File(_) => {
                return Err(no_equal(at, part_at, "this kind of content cannot be in an assistant turn"));
            }
        }
    }
    flush(&mut said, items);
    items.extend(message.tool_calls.iter().map(|made| call(request, made)));
    Ok(())
}

/// Ends a message of the assistant.
/// Parts of an answer, and refusals among them, belong to messages with an id of the provider's own. What it did not say
/// itself goes as plain text, a message each.
fn flush<'a>(said: &mut Vec<&'a str>, items: &mut Vec<ItemOut<'a>>) {
    let message = |text| ItemOut::Message { role: "assistant", content: Content::Text(Cow::Borrowed(text)) };
    items.extend(said.drain(..).map(message));
}

fn call<'a>(request: &'a ChatRequest, made: &'a ToolCall) -> ItemOut<'a> {
    let Called { name, namespace, .. } = tools::called(request, &made.name, made.custom);
    let (call_id, arguments) = (made.id.as_str(), made.arguments.as_str());
    if made.custom {
        ItemOut::CustomToolCall { call_id, name, namespace, input: arguments }
    } else {
        let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
        ItemOut::FunctionCall { call_id, name, namespace, arguments }
    }
}

fn result<'a>(
    message: &'a Message,
    at: usize,
    marks: bool,
    custom: &BTreeSet<&str>,
    loss: &mut Loss,
) -> Result<ItemOut<'a>, Error> {
    let Some(call_id) = message.tool_call_id.as_deref() else {
        let param = places::turn(at, "tool_call_id");
        return Err(Error::new(ErrorKind::InvalidRequest, "a tool turn must name its call").param(param));
    };
    if message.tool_failed {
        // The dialect has no flag for it; the text says what went wrong.
        loss.advisory.push(places::turn(at, "is_error"));
    }
    let output = content(message, at, marks, loss)?;
    Ok(if custom.contains(call_id) {
        ItemOut::CustomToolCallOutput { call_id, output }
    } else {
        ItemOut::FunctionCallOutput { call_id, output }
    })
}
