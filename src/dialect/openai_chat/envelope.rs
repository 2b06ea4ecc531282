//! What routing needs to know of a chat request, without parsing the prompt.

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::dialect::Envelope;
use crate::domain::error::{Error, ErrorKind};
use crate::domain::target::{Capabilities, Capability};
use crate::wire::splice::{Malformed, Members};

/// Longest answer anybody may ask for: larger numbers are typing errors that would upset budgets.
const MAX_OUTPUT: u64 = 1 << 31;
/// Most answers to one request (OpenAI's own limit).
const MAX_CHOICES: u64 = 128;

pub(super) fn read(body: &Bytes) -> Result<Envelope, Error> {
    let spans = Members::scan(body).map_err(refuse)?;
    let value = |name: &str| spans.value(body, name).filter(|value| *value != b"null");
    let model = value("model").ok_or_else(|| missing("model"))?;
    let model: String = serde_json::from_slice(model).map_err(|_| wrong("model", "a string"))?;
    if model.is_empty() || model.len() > 256 || model.chars().any(char::is_control) {
        return Err(wrong("model", "a name of 1 to 256 printable characters"));
    }
    let Some(messages) = value("messages") else {
        return Err(match value("input") {
            Some(_) => missing("messages").code("wrong_api"),
            None => missing("messages"),
        });
    };
    if messages.first() != Some(&b'[') {
        return Err(wrong("messages", "an array"));
    }
    if messages[1..messages.len() - 1].iter().all(u8::is_ascii_whitespace) {
        return Err(wrong("messages", "an array with at least one message"));
    }
    let stream = boolean(value("stream"), "stream")?;
    let include_usage = value("stream_options").map(usage_wanted).transpose()?.unwrap_or(false);
    let max_output = match value("max_completion_tokens") {
        Some(text) => Some(count(text, "max_completion_tokens", MAX_OUTPUT)?),
        None => value("max_tokens").map(|text| count(text, "max_tokens", MAX_OUTPUT)).transpose()?,
    };
    let choices = value("n").map(|text| count(text, "n", MAX_CHOICES)).transpose()?.unwrap_or(1);
    let prompt = ["messages", "tools", "functions", "response_format"];
    Ok(Envelope {
        model,
        stream,
        include_usage,
        array: false,
        max_output,
        choices: u32::try_from(choices).unwrap_or(u32::MAX),
        needs: needs(&value, messages, stream, choices)?,
        prompt_bytes: prompt.iter().filter_map(|name| value(name)).map(<[u8]>::len).sum(),
        members: spans.all().iter().filter(|m| &body[m.value.clone()] != b"null").map(|m| m.name.clone()).collect(),
        cacheable: true,
        spans,
    })
}

fn needs<'b>(
    value: &impl Fn(&str) -> Option<&'b [u8]>,
    messages: &[u8],
    stream: bool,
    choices: u64,
) -> Result<Capabilities, Error> {
    let filled = |name: &str| value(name).is_some_and(|list| list.len() > 2 && list != b"[ ]");
    let mut needs = Capabilities::NONE;
    let mut need = |wanted: bool, capability| {
        if wanted {
            needs = needs.with(capability);
        }
    };
    need(stream, Capability::Stream);
    need(filled("tools") || filled("functions"), Capability::Tools);
    need(value("logprobs") == Some(b"true"), Capability::Logprobs);
    need(choices > 1, Capability::Choices);
    need(value("audio").is_some(), Capability::Audio);
    let format = value("response_format").map(kind_of).transpose()?;
    need(format.as_deref() == Some("json_object"), Capability::Json);
    need(format.as_deref() == Some("json_schema"), Capability::JsonSchema);
    // A word in the text of a message must not refuse it: the hit is confirmed by a parse.
    let words = ["image_url", "input_audio", "file"];
    if words.iter().any(|word| memmem::find(messages, format!("\"{word}\"").as_bytes()).is_some())
        && let Ok(parsed) = serde_json::from_slice::<Vec<Turn<'_>>>(messages)
    {
        let kinds = || parsed.iter().flat_map(|turn| turn.content.iter().flat_map(Content::kinds));
        need(kinds().any(|kind| kind == "image_url"), Capability::Image);
        need(kinds().any(|kind| kind == "input_audio"), Capability::Audio);
        need(kinds().any(|kind| kind == "file"), Capability::File);
    }
    Ok(needs)
}

#[derive(Deserialize)]
struct Turn<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content<'a> {
    #[serde(borrow)]
    Parts(Vec<Kind<'a>>),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<std::borrow::Cow<'a, str>>,
}

impl Content<'_> {
    fn kinds(&self) -> impl Iterator<Item = &str> {
        let parts = match self {
            Self::Parts(parts) => parts.as_slice(),
            Self::Other(_) => &[],
        };
        parts.iter().filter_map(|part| part.kind.as_deref())
    }
}

fn kind_of(text: &[u8]) -> Result<String, Error> {
    let kind: Kind<'_> = serde_json::from_slice(text).map_err(|_| wrong("response_format", "an object"))?;
    kind.kind.map(|kind| kind.into_owned()).ok_or_else(|| missing("response_format.type"))
}

fn usage_wanted(text: &[u8]) -> Result<bool, Error> {
    #[derive(Deserialize)]
    struct Options {
        include_usage: Option<bool>,
    }
    let options: Options = serde_json::from_slice(text)
        .map_err(|_| wrong("stream_options", "an object with a boolean `include_usage`"))?;
    Ok(options.include_usage.unwrap_or(false))
}

fn boolean(value: Option<&[u8]>, name: &'static str) -> Result<bool, Error> {
    match value {
        None | Some(b"false") => Ok(false),
        Some(b"true") => Ok(true),
        Some(_) => Err(wrong(name, "a boolean")),
    }
}

fn count(text: &[u8], name: &'static str, most: u64) -> Result<u64, Error> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u64>().ok());
    number
        .filter(|n| (1..=most).contains(n))
        .ok_or_else(|| wrong(name, &format!("a whole number from 1 to {most}")).code("out_of_range"))
}

fn missing(param: &'static str) -> Error {
    Error::new(ErrorKind::InvalidRequest, format!("`{param}` is missing")).param(param)
}

fn wrong(param: &'static str, expected: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, format!("`{param}` must be {expected}")).param(param)
}

fn refuse(malformed: Malformed) -> Error {
    let error = |message: String| Error::new(ErrorKind::InvalidRequest, message);
    match malformed {
        Malformed::Empty => error("the body is empty".into()).code("empty_body"),
        Malformed::Syntax(at) => error(format!("the body is not valid JSON at byte {at}")).code("invalid_json"),
        Malformed::NotAnObject => error("the body must be a JSON object".into()).code("invalid_json"),
        Malformed::TooDeep => error("the body is nested too deeply".into()).code("too_deep"),
        Malformed::TooMany => error("the body has too many members".into()).code("too_many_members"),
        Malformed::Duplicate => error("a member of the body is given twice".into()).code("duplicate_key"),
    }
}
