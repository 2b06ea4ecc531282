//! The items of a request as turns. What the assistant said, thought and called between two turns of others is one
//! turn.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::types::{Texts, joined};
use super::{DIALECT, tools};
use crate::dialect::common;
use crate::dialect::read::{missing, object, read, wrong};
use crate::domain::chat::{CacheMark, Json, Media, MediaSource, Message, Part, Role, Signature, Tool, ToolCall};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::DialectId;

/// Reads the conversation.
///
/// # Errors
/// Wrong types with their path; items that stand for state at the provider.
pub(super) fn messages(
    instructions: Option<String>,
    input: Option<&RawValue>,
    tools: &[Tool],
) -> Result<Vec<Message>, Error> {
    let mut turns = Turns { messages: Vec::new(), tools };
    if let Some(text) = instructions.filter(|text| !text.is_empty()) {
        let mut turn = Message::at(Role::System, "instructions");
        turn.say(Part::Text(text), "instructions");
        turns.messages.push(turn);
    }
    match input {
        Some(raw) if raw.get().starts_with('"') => {
            let mut turn = Message::at(Role::User, "input");
            turn.say(Part::Text(read(raw, "input", "a string or an array of items")?), "input");
            turns.messages.push(turn);
        }
        Some(raw) => {
            let items: Vec<&RawValue> = read(raw, "input", "a string or an array of items")?;
            for (at, raw) in items.into_iter().enumerate() {
                turns.item(raw, &format!("input[{at}]"))?;
            }
        }
        None => {}
    }
    Ok(turns.messages)
}

struct Turns<'t> {
    messages: Vec<Message>,
    tools: &'t [Tool],
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, default)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    role: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Called {
    call_id: String,
    name: String,
    namespace: Option<String>,
    #[serde(default)]
    arguments: String,
    #[serde(default)]
    input: String,
}

#[derive(Deserialize)]
struct Returned<'a> {
    call_id: String,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Thought {
    #[serde(default)]
    summary: Option<Texts>,
    #[serde(default)]
    content: Option<Texts>,
    encrypted_content: Option<String>,
}

impl Turns<'_> {
    fn item(&mut self, raw: &RawValue, path: &str) -> Result<(), Error> {
        let kind: Kind<'_> = object(raw, path)?;
        match (kind.r#type.as_deref(), kind.role) {
            (None | Some("message"), Some(role)) => self.message(raw, &role, path),
            (Some("message"), None) => Err(missing(&format!("{path}.role"))),
            (None, None) => Err(missing(&format!("{path}.type"))),
            (Some("function_call"), _) => self.call(raw, path, false),
            (Some("custom_tool_call"), _) => self.call(raw, path, true),
            (Some("function_call_output" | "custom_tool_call_output"), _) => self.result(raw, path),
            (Some("reasoning"), _) => self.reasoning(raw, path),
            (Some("item_reference"), _) => {
                let message = "an item that is stored at a provider cannot be sent to another one";
                Err(Error::new(ErrorKind::UnsupportedParameter, message).param(path))
            }
            // What the provider ran for itself, or a tool that only its own clients know: the words about it were
            // told in the text.
            (Some(_), _) => {
                let part = Part::Opaque { dialect: DIALECT, raw: Json::new(raw.get()) };
                self.assistant(path).say(part, path);
                Ok(())
            }
        }
    }

    /// The assistant's turn that is going on, or a new one.
    fn assistant(&mut self, path: &str) -> &mut Message {
        if self.messages.last().is_none_or(|last| last.role != Role::Assistant) {
            self.messages.push(Message::at(Role::Assistant, path));
        }
        let last = self.messages.len() - 1;
        &mut self.messages[last]
    }

    fn message(&mut self, raw: &RawValue, role: &str, path: &str) -> Result<(), Error> {
        let role = match role {
            "system" => Role::System,
            "developer" => Role::Developer,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            _ => return Err(wrong(&format!("{path}.role"), "`system`, `developer`, `user` or `assistant`")),
        };
        let said: Said<'_> = object(raw, path)?;
        if role != Role::Assistant {
            self.messages.push(Message::at(role, path));
        }
        let turn = match self.messages.last_mut() {
            Some(last) if role != Role::Assistant => last,
            _ => self.assistant(path),
        };
        said.content.map_or(Ok(()), |raw| content(raw, &format!("{path}.content"), turn))
    }

    fn call(&mut self, raw: &RawValue, path: &str, custom: bool) -> Result<(), Error> {
        let wire: Called = object(raw, path)?;
        let name = tools::flat(wire.namespace.as_deref(), wire.name, self.tools);
        let arguments = if custom { wire.input } else { wire.arguments };
        let call = ToolCall { custom, ..ToolCall::new(wire.call_id, name, arguments) };
        self.assistant(path).call(call, path);
        Ok(())
    }

    fn result(&mut self, raw: &RawValue, path: &str) -> Result<(), Error> {
        let wire: Returned<'_> = object(raw, path)?;
        let mut message = Message { tool_call_id: Some(wire.call_id), ..Message::at(Role::Tool, path) };
        if let Some(raw) = wire.output {
            content(raw, &format!("{path}.output"), &mut message)?;
        }
        self.messages.push(message);
        Ok(())
    }

    fn reasoning(&mut self, raw: &RawValue, path: &str) -> Result<(), Error> {
        let wire: Thought = object(raw, path)?;
        let text = joined(wire.content, wire.summary);
        let signature = wire.encrypted_content.filter(|data| !data.is_empty());
        let signature = signature.map(|data| Signature::read(&data, DialectId::OpenAiResponses));
        // Without either it is a name of something that its provider has stored.
        if !text.is_empty() || signature.is_some() {
            self.assistant(path).say(Part::Reasoning { text, signature }, path);
        }
        Ok(())
    }
}

/// Text, null, or parts.
fn content(raw: &RawValue, path: &str, out: &mut Message) -> Result<(), Error> {
    let text = raw.get();
    if text == "null" {
        return Ok(());
    }
    if text.starts_with('"') {
        out.say(Part::Text(read(raw, path, "a string")?), path);
        return Ok(());
    }
    let list: Vec<&RawValue> = read(raw, path, "a string or an array of parts")?;
    list.into_iter().enumerate().try_for_each(|(at, raw)| part(raw, &format!("{path}[{at}]"), out))
}

#[derive(Deserialize)]
struct WirePart<'a> {
    r#type: String,
    text: Option<String>,
    refusal: Option<String>,
    image_url: Option<String>,
    file_id: Option<String>,
    detail: Option<String>,
    file_data: Option<String>,
    file_url: Option<String>,
    filename: Option<String>,
    input_audio: Option<Audio>,
    /// Where a prompt cache is to end.
    #[serde(borrow)]
    prompt_cache_breakpoint: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Audio {
    data: String,
    format: String,
}

fn part(raw: &RawValue, path: &str, out: &mut Message) -> Result<(), Error> {
    let wire: WirePart<'_> = object(raw, path)?;
    let lacks = |member: &str| missing(&format!("{path}.{member}"));
    let mark = wire.prompt_cache_breakpoint.is_some_and(|raw| raw.get() != "null");
    let part = match wire.r#type.as_str() {
        "input_text" | "output_text" | "text" => Part::Text(wire.text.ok_or_else(|| lacks("text"))?),
        "refusal" => Part::Refusal(wire.refusal.ok_or_else(|| lacks("refusal"))?),
        "input_image" => {
            let source = match (wire.image_url, wire.file_id) {
                (Some(url), _) => source(url, &format!("{path}.image_url"))?,
                (None, Some(id)) => stored(id),
                (None, None) => return Err(lacks("image_url")),
            };
            Part::Image(Media { source, media_type: None, detail: wire.detail, name: None })
        }
        "input_file" => {
            let source = match (wire.file_data, wire.file_url, wire.file_id) {
                (Some(data), _, _) => common::document(data, wire.filename.as_deref())
                    .ok_or_else(|| wrong(&format!("{path}.file_data"), "base64, or a data URL in base64"))?,
                (None, Some(url), _) => MediaSource::Url(url),
                (None, None, Some(id)) => stored(id),
                (None, None, None) => return Err(lacks("file_data")),
            };
            Part::File(Media { source, media_type: None, detail: wire.detail, name: wire.filename })
        }
        "input_audio" => {
            let audio = wire.input_audio.ok_or_else(|| lacks("input_audio"))?;
            let source = MediaSource::Base64 { media_type: format!("audio/{}", audio.format), data: audio.data };
            Part::Audio(Media { source, media_type: None, detail: None, name: None })
        }
        _ => Part::Opaque { dialect: DIALECT, raw: Json::new(raw.get()) },
    };
    out.say(part, path);
    if mark {
        out.say(Part::CacheMark(CacheMark::default()), path);
    }
    Ok(())
}

fn stored(id: String) -> MediaSource {
    MediaSource::Stored { origin: DialectId::OpenAiResponses, id }
}

/// A URL, or the parts of a `data:` URL.
fn source(url: String, path: &str) -> Result<MediaSource, Error> {
    let Some(rest) = url.strip_prefix("data:") else { return Ok(MediaSource::Url(url)) };
    let (head, data) = rest.split_once(',').ok_or_else(|| wrong(path, "a URL or a base64 data URL"))?;
    let media_type = head.strip_suffix(";base64").ok_or_else(|| wrong(path, "a data URL in base64"))?;
    Ok(MediaSource::Base64 { media_type: media_type.to_owned(), data: data.to_owned() })
}
