//! The conversation as messages of this dialect.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::details::Returned;
use crate::dialect::Quirks;
use crate::dialect::common::no_equal;
use crate::dialect::ids::chat_id;
use crate::dialect::places;
use crate::domain::chat::{
    CUSTOM_ARGUMENT, ChatRequest, Loss, Media, MediaSource, Message, Part, Role, Signature, ToolCall,
};
use crate::domain::error::Error;
use crate::domain::id::DialectId;
use crate::wire::splice::quote;

#[derive(Serialize)]
pub(super) struct Turn<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_details: Option<Vec<&'a RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<Cow<'a, str>>,
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
    InputAudio { input_audio: InputAudio<'a> },
    File { file: File<'a> },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

#[derive(Serialize)]
struct InputAudio<'a> {
    data: &'a str,
    format: &'a str,
}

#[derive(Serialize)]
struct File<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<&'a str>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: Cow<'a, str>,
    r#type: &'static str,
    function: Function<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: Cow<'a, str>,
}

impl<'a> Turn<'a> {
    fn new(role: &'static str, content: Option<Content<'a>>) -> Self {
        Self {
            role,
            name: None,
            content,
            reasoning_content: None,
            reasoning: None,
            reasoning_details: None,
            extra_content: None,
            refusal: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
        }
    }
}

impl Turn<'_> {
    fn says_something(&self) -> bool {
        let said = match &self.content {
            Some(Content::Text(text)) => !text.is_empty(),
            Some(Content::Parts(parts)) => !parts.is_empty(),
            None => false,
        };
        let thought = self.reasoning.is_some() || self.reasoning_content.is_some() || self.reasoning_details.is_some();
        said || thought || self.refusal.is_some() || !self.tool_calls.is_empty()
    }
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
) -> Result<Vec<Turn<'a>>, Error> {
    let mut turns = Vec::with_capacity(request.messages.len() + 1);
    turns.extend(instruction.map(|words| Turn::new("system", Some(Content::Text(words.into())))));
    // Results of tools are text in this dialect: what else they hold follows as a turn of the user, after the last of
    // them, since nothing may stand between a call and its results.
    let mut media = Vec::new();
    for (at, message) in request.messages.iter().enumerate() {
        if message.role != Role::Tool && !media.is_empty() {
            turns.push(Turn::new("user", Some(Content::Parts(std::mem::take(&mut media)))));
        }
        let mut turn = match message.role {
            // `developer` is the newer name of the same, and many imitators do not know it.
            Role::System | Role::Developer => Turn::new("system", Some(Content::Text(words(message, at, "\n\n")?))),
            Role::User => Turn::new("user", Some(user(message, at)?)),
            Role::Assistant => {
                let turn = assistant(message, at, quirks, loss)?;
                // Where nothing of a turn can be said here, there is no turn.
                if !turn.says_something() {
                    continue;
                }
                turn
            }
            Role::Tool => tool(message, at, &mut media, quirks, loss)?,
        };
        turn.name = message.name.as_deref().filter(|name| !name.is_empty());
        turns.push(turn);
    }
    if !media.is_empty() {
        turns.push(Turn::new("user", Some(Content::Parts(media))));
    }
    Ok(turns)
}

/// Text and nothing else, joined.
fn words<'a>(message: &'a Message, at: usize, between: &str) -> Result<Cow<'a, str>, Error> {
    let mut texts = Vec::new();
    for (part_at, part) in message.content.iter().enumerate() {
        match part {
            Part::Text(text) | Part::Refusal(text) => texts.push(text.as_str()),
            Part::CacheMark(_) | Part::Reasoning { .. } => {}
            _ => return Err(no_equal(at, part_at, "only text can be said here")),
        }
    }
    Ok(match texts.as_slice() {
        [one] => Cow::Borrowed(*one),
        many => Cow::Owned(many.join(between)),
    })
}

fn user(message: &Message, at: usize) -> Result<Content<'_>, Error> {
    let mut parts = Vec::new();
    for (part_at, part) in message.content.iter().enumerate() {
        parts.extend(user_part(part, at, part_at)?);
    }
    Ok(match parts.as_slice() {
        [] => Content::Text(Cow::Borrowed("")),
        [WirePart::Text { text }] => Content::Text(Cow::Borrowed(*text)),
        _ => Content::Parts(parts),
    })
}

fn user_part(part: &Part, at: usize, part_at: usize) -> Result<Option<WirePart<'_>>, Error> {
    Ok(Some(match part {
        Part::Text(text) | Part::Refusal(text) => WirePart::Text { text },
        Part::Image(media) => {
            let detail = media.detail.as_deref();
            WirePart::ImageUrl { image_url: ImageUrl { url: url(media, at, part_at)?, detail } }
        }
        Part::Audio(media) => WirePart::InputAudio { input_audio: audio(media, at, part_at)? },
        Part::File(media) => WirePart::File { file: file(media, at, part_at)? },
        Part::CacheMark(_) | Part::Reasoning { .. } => return Ok(None),
        Part::Opaque { .. } => {
            return Err(no_equal(at, part_at, "this kind of content cannot be sent to this provider"));
        }
    }))
}

fn url(media: &Media, at: usize, part_at: usize) -> Result<Cow<'_, str>, Error> {
    match &media.source {
        MediaSource::Url(url) => Ok(Cow::Borrowed(url)),
        MediaSource::Base64 { media_type, data } => Ok(Cow::Owned(format!("data:{media_type};base64,{data}"))),
        MediaSource::Stored { .. } => Err(no_equal(at, part_at, "an uploaded image cannot be sent to this provider")),
    }
}

fn audio(media: &Media, at: usize, part_at: usize) -> Result<InputAudio<'_>, Error> {
    let unsupported = || no_equal(at, part_at, "audio must be inline, as wav or mp3, for this provider");
    let MediaSource::Base64 { media_type, data } = &media.source else { return Err(unsupported()) };
    let format = match media_type.as_str() {
        "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
        "audio/mp3" | "audio/mpeg" => "mp3",
        _ => return Err(unsupported()),
    };
    Ok(InputAudio { data, format })
}

fn file(media: &Media, at: usize, part_at: usize) -> Result<File<'_>, Error> {
    match &media.source {
        MediaSource::Base64 { media_type, data } => Ok(File {
            file_id: None,
            file_data: Some(format!("data:{media_type};base64,{data}")),
            filename: Some(media.name.as_deref().unwrap_or("document")),
        }),
        MediaSource::Stored { origin: DialectId::OpenAiChat | DialectId::OpenAiResponses, id } => {
            Ok(File { file_id: Some(id), file_data: None, filename: None })
        }
        MediaSource::Url(_) | MediaSource::Stored { .. } => {
            Err(no_equal(at, part_at, "a document must be inline for this provider"))
        }
    }
}

/// How provider files name the member of calls in which Google's compatible path keeps what it signed.
const EXTRA_CONTENT: &str = "messages.tool_calls.extra_content";

/// What a provider of this dialect has signed, as far as this one takes it back.
fn signed<'a>(signature: Option<&'a Signature>, quirks: &Quirks) -> Returned<'a> {
    let mut returned = Returned::default();
    if let Some(data) = signature.and_then(|signature| signature.of(DialectId::OpenAiChat)) {
        returned.take(data);
    }
    if quirks.reasoning_member.is_none() {
        returned.details.clear();
    }
    if quirks.drop.iter().any(|name| name == EXTRA_CONTENT) {
        returned.message = None;
        returned.calls.clear();
    }
    returned
}

fn assistant<'a>(message: &'a Message, at: usize, quirks: &Quirks, loss: &mut Loss) -> Result<Turn<'a>, Error> {
    let mut turn = Turn::new("assistant", None);
    let (mut texts, mut thoughts, mut returned) = (Vec::new(), Vec::new(), Returned::default());
    let taken = matches!(quirks.reasoning_member.as_deref(), Some("reasoning_content" | "reasoning"));
    for (part_at, part) in message.content.iter().enumerate() {
        match part {
            Part::Text(text) => texts.push(text.as_str()),
            Part::Refusal(text) => turn.refusal = Some(text),
            Part::Reasoning { text, signature } => {
                thoughts.push(text.as_str());
                let signed = signed(signature.as_ref(), quirks);
                let told = !signed.is_empty() || (taken && !text.is_empty());
                if !told && (signature.is_some() || !text.is_empty()) {
                    loss.advisory.push(places::part(at, part_at));
                }
                returned.add(signed);
            }
            Part::CacheMark(_) => {}
            // What another provider ran for itself: its words were told in the text.
            Part::Opaque { .. } => loss.advisory.push(places::part(at, part_at)),
            Part::Image(_) | Part::Audio(_) | Part::File(_) => {
                return Err(no_equal(at, part_at, "this kind of content cannot be in an assistant turn"));
            }
        }
    }
    let thinking = thoughts.concat();
    if !thinking.is_empty() {
        match quirks.reasoning_member.as_deref() {
            Some("reasoning_content") => turn.reasoning_content = Some(thinking.into()),
            Some("reasoning") => turn.reasoning = Some(thinking.into()),
            _ => {}
        }
    }
    let extra = |made: &ToolCall| returned.of(&made.id);
    turn.tool_calls = message.tool_calls.iter().map(|made| call(made, extra(made), quirks)).collect();
    turn.extra_content = returned.message;
    turn.reasoning_details = (!returned.details.is_empty()).then_some(returned.details);
    let text = texts.concat();
    let silent = text.is_empty() && (turn.refusal.is_some() || !turn.tool_calls.is_empty());
    turn.content = (!silent).then_some(Content::Text(text.into()));
    Ok(turn)
}

fn call<'a>(call: &'a ToolCall, extra_content: Option<&'a RawValue>, quirks: &Quirks) -> Call<'a> {
    let arguments = if call.custom {
        Cow::Owned(format!("{{\"{CUSTOM_ARGUMENT}\":{}}}", quote(&call.arguments)))
    } else if call.arguments.trim().is_empty() {
        Cow::Borrowed("{}")
    } else {
        Cow::Borrowed(call.arguments.as_str())
    };
    let function = Function { name: &call.name, arguments };
    Call { id: chat_id(&call.id, quirks), r#type: "function", function, extra_content }
}

fn tool<'a>(
    message: &'a Message,
    at: usize,
    media: &mut Vec<WirePart<'a>>,
    quirks: &Quirks,
    loss: &mut Loss,
) -> Result<Turn<'a>, Error> {
    let mut texts = Vec::new();
    for (part_at, part) in message.content.iter().enumerate() {
        match user_part(part, at, part_at)? {
            Some(WirePart::Text { text }) => texts.push(text),
            Some(other) => media.push(other),
            None => {}
        }
    }
    if message.tool_failed {
        // The dialect has no flag for it; the text says what went wrong.
        loss.advisory.push(places::turn(at, "is_error"));
    }
    let mut turn = Turn::new("tool", Some(Content::Text(texts.join("\n").into())));
    turn.tool_call_id = message.tool_call_id.as_deref().map(|id| chat_id(id, quirks));
    Ok(turn)
}
