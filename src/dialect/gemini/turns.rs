//! The conversation as contents of this dialect: system turns apart, turns of one side merged, results of parallel
//! calls in one turn.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::DIALECT;
use crate::dialect::common::{self, no_equal};
use crate::dialect::places;
use crate::domain::chat::{ChatRequest, Json, Loss, Media, MediaSource, Message, Part, Role, Signature, ToolCall};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::DialectId;
use crate::wire::splice::quote;

/// Google's word for "this call was not made by us": without it newer models refuse a call without a signature.
pub(super) const UNSIGNED: &str = "skip_thought_signature_validator";

#[derive(Default, Serialize)]
pub(super) struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    pub(super) parts: Vec<WirePart<'a>>,
}

/// A part; which of its members is there says what it is.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WirePart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline_data: Option<Blob<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_data: Option<FileData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<FunctionResponse<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
    /// A part of this dialect that came in verbatim and goes out verbatim: its members.
    #[serde(flatten, serialize_with = "members", skip_serializing_if = "Option::is_none")]
    raw: Option<&'a Json>,
}

fn members<S: serde::Serializer>(raw: &Option<&Json>, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::{Error as _, SerializeMap as _};
    let members: std::collections::BTreeMap<String, &RawValue> = match raw {
        Some(json) => serde_json::from_str(json.as_str()).map_err(S::Error::custom)?,
        None => std::collections::BTreeMap::new(),
    };
    let mut map = serializer.serialize_map(Some(members.len()))?;
    for (name, value) in members {
        map.serialize_entry(&name, value)?;
    }
    map.end()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob<'a> {
    mime_type: &'a str,
    data: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'a str>,
    file_uri: &'a str,
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: &'a str,
    args: Cow<'a, RawValue>,
}

#[derive(Serialize)]
struct FunctionResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: &'a str,
    response: Box<RawValue>,
}

/// The conversation in this dialect's shape.
pub(super) struct Conversation<'a> {
    pub(super) system: Option<Content<'a>>,
    pub(super) contents: Vec<Content<'a>>,
}

/// Translates all turns.
///
/// # Errors
/// Content that has no equal, with its path.
pub(super) fn encode<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Result<Conversation<'a>, Error> {
    let mut talk = Conversation { system: None, contents: Vec::new() };
    // Results name their function, which only the call tells.
    let calls = request.messages.iter().flat_map(|m| &m.tool_calls);
    let names: HashMap<&str, &str> = calls.map(|call| (call.id.as_str(), call.name.as_str())).collect();
    let by_user = common::said_by_user(request);
    for (at, message) in request.messages.iter().enumerate() {
        if message.name.as_ref().is_some_and(|name| !name.is_empty()) {
            loss.advisory.push(places::turn(at, "name"));
        }
        match message.role {
            Role::System | Role::Developer if by_user == Some(at) => {
                loss.advisory.push(places::turn(at, "role"));
                talk.append("user", parts(message, at, loss)?);
            }
            Role::System | Role::Developer => {
                if !talk.contents.is_empty() {
                    // Its words arrive, its place in the conversation does not.
                    loss.advisory.push(places::turn(at, "role"));
                }
                let system = talk.system.get_or_insert_with(Content::default);
                system.parts.extend(parts(message, at, loss)?);
            }
            Role::User => talk.append("user", parts(message, at, loss)?),
            Role::Assistant => {
                let mut said = parts(message, at, loss)?;
                let foreign = message.tool_calls.iter().all(|call| own(call.signature.as_ref()).is_none());
                for (number, call) in message.tool_calls.iter().enumerate() {
                    let mut part = function_call(call, at, number, loss);
                    if foreign && number == 0 {
                        part.thought_signature = Some(displaced(&mut said).unwrap_or(UNSIGNED));
                    }
                    said.push(part);
                }
                talk.append("model", said);
            }
            Role::Tool => {
                let part = function_response(message, at, &names)?;
                let media = media_of(message, at)?;
                talk.append("user", vec![part]);
                talk.append("user", media);
            }
        }
    }
    if talk.contents.is_empty() {
        let message = "the conversation has no turn of the user that is not empty";
        return Err(Error::new(ErrorKind::InvalidRequest, message).param("messages"));
    }
    Ok(talk)
}

impl<'a> Conversation<'a> {
    fn append(&mut self, role: &'static str, parts: Vec<WirePart<'a>>) {
        if parts.is_empty() {
            return;
        }
        match self.contents.last_mut() {
            Some(last) if last.role == Some(role) => last.parts.extend(parts),
            _ => self.contents.push(Content { role: Some(role), parts }),
        }
    }
}

/// The signature of the first call, where a client of a dialect whose calls have none was shown it with the thinking.
fn displaced<'a>(said: &mut Vec<WirePart<'a>>) -> Option<&'a str> {
    let at = said.iter().rposition(|part| part.thought_signature.is_some())?;
    let signature = said[at].thought_signature.take();
    if said[at].text.is_some_and(str::is_empty) {
        said.remove(at);
    }
    signature
}

fn own(signature: Option<&Signature>) -> Option<&str> {
    signature?.of(DialectId::Gemini)
}

fn parts<'a>(message: &'a Message, at: usize, loss: &mut Loss) -> Result<Vec<WirePart<'a>>, Error> {
    let mut parts: Vec<WirePart<'a>> = Vec::with_capacity(message.content.len());
    for (part_at, part) in message.content.iter().enumerate() {
        match part {
            Part::Text(text) | Part::Refusal(text) => {
                if !text.is_empty() {
                    parts.push(WirePart { text: Some(text), ..WirePart::default() });
                }
            }
            Part::Image(media) | Part::Audio(media) | Part::File(media) => {
                if media.detail.as_deref().is_some_and(|detail| detail != "auto") {
                    loss.advisory.push(places::detail(at, part_at));
                }
                parts.push(blob(media, at, part_at)?);
            }
            // A signature goes back on the part it came with: on thinking's text, or on the text after it.
            Part::Reasoning { text, signature } => match own(signature.as_ref()) {
                Some(signature) => {
                    let (text, thought) = (Some(text.as_str()), (!text.is_empty()).then_some(true));
                    let thought_signature = Some(signature);
                    parts.push(WirePart { text, thought, thought_signature, ..WirePart::default() });
                }
                None => loss.advisory.push(places::part(at, part_at)),
            },
            Part::CacheMark(_) => {}
            Part::Opaque { dialect, raw } if *dialect == DIALECT => {
                parts.push(WirePart { raw: Some(raw), ..WirePart::default() });
            }
            // What another provider ran for itself: its words were told in the text.
            Part::Opaque { .. } if message.role == Role::Assistant => loss.advisory.push(places::part(at, part_at)),
            Part::Opaque { .. } => {
                return Err(no_equal(at, part_at, "this kind of content cannot be sent to this provider"));
            }
        }
    }
    Ok(parts)
}

fn blob(media: &Media, at: usize, part_at: usize) -> Result<WirePart<'_>, Error> {
    Ok(match &media.source {
        MediaSource::Base64 { media_type, data } => {
            WirePart { inline_data: Some(Blob { mime_type: media_type, data }), ..WirePart::default() }
        }
        MediaSource::Url(url) | MediaSource::Stored { origin: DialectId::Gemini, id: url } => {
            let mime_type = media.media_type.as_deref().or_else(|| by_extension(url));
            WirePart { file_data: Some(FileData { mime_type, file_uri: url }), ..WirePart::default() }
        }
        MediaSource::Stored { .. } => {
            return Err(no_equal(at, part_at, "a file that is stored at another provider cannot be sent to this one"));
        }
    })
}

/// The provider wants a media type beside an address; the address usually tells.
fn by_extension(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let extension = path.rsplit('/').next()?.rsplit_once('.')?.1.to_ascii_lowercase();
    Some(match extension.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "txt" => "text/plain",
        _ => return None,
    })
}

fn function_call<'a>(call: &'a ToolCall, at: usize, number: usize, loss: &mut Loss) -> WirePart<'a> {
    let path = || places::arguments(at, number);
    let args = common::object_of(call, path, loss);
    let call_out = FunctionCall { id: Some(&call.id), name: &call.name, args };
    let thought_signature = own(call.signature.as_ref());
    WirePart { function_call: Some(call_out), thought_signature, ..WirePart::default() }
}

/// A result is an object here: what is one stays, other text becomes its one member.
fn function_response<'a>(
    message: &'a Message,
    at: usize,
    names: &HashMap<&'a str, &'a str>,
) -> Result<WirePart<'a>, Error> {
    let id = message.tool_call_id.as_deref().unwrap_or_default();
    let name = names.get(id).copied().or(message.name.as_deref());
    let name = name.ok_or_else(|| {
        let param = places::turn(at, "tool_call_id");
        Error::new(ErrorKind::InvalidRequest, "a result must follow the call it answers").param(param)
    })?;
    let texts = message.content.iter().filter_map(|part| match part {
        Part::Text(text) | Part::Refusal(text) => Some(text.as_str()),
        _ => None,
    });
    let text = texts.collect::<Vec<_>>().join("\n");
    let object = RawValue::from_string(text.clone()).ok().filter(|raw| raw.get().starts_with('{'));
    let response = match object.filter(|_| !message.tool_failed) {
        Some(object) => object,
        None => {
            let member = if message.tool_failed { "error" } else { "result" };
            let wrapped = RawValue::from_string(format!("{{\"{member}\":{}}}", quote(&text)));
            wrapped.map_err(|e| Error::new(ErrorKind::Internal, "a text was not quoted").detail(e.to_string()))?
        }
    };
    let response = FunctionResponse { id: Some(id).filter(|id| !id.is_empty()), name, response };
    Ok(WirePart { function_response: Some(response), ..WirePart::default() })
}

/// Images and the like in a result: parts beside it.
fn media_of(message: &Message, at: usize) -> Result<Vec<WirePart<'_>>, Error> {
    let media = message.content.iter().enumerate().filter_map(|(part_at, part)| match part {
        Part::Image(media) | Part::Audio(media) | Part::File(media) => Some(blob(media, at, part_at)),
        _ => None,
    });
    media.collect()
}
