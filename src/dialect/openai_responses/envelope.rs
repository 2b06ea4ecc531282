//! What routing needs to know of a request, without parsing the conversation.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::params::LOGPROBS;
use super::read::{missing, wrong};
use crate::dialect::Envelope;
use crate::domain::error::{Error, ErrorKind};
use crate::domain::target::{Capabilities, Capability};
use crate::wire::splice::{Malformed, Members};

/// Longest answer anybody may ask for: larger numbers are typing errors that would upset budgets.
const MAX_OUTPUT: u64 = 1 << 31;

/// What the provider keeps for the client. With any of them the conversation need not be in the request.
const STATE: [&str; 3] = ["previous_response_id", "conversation", "prompt"];

pub(super) fn read(body: &Bytes) -> Result<Envelope, Error> {
    let spans = Members::scan(body).map_err(refuse)?;
    let value = |name: &str| spans.value(body, name).filter(|value| *value != b"null");
    let model = value("model").ok_or_else(|| missing("model"))?;
    let model: String = serde_json::from_slice(model).map_err(|_| wrong("model", "a string"))?;
    if model.is_empty() || model.len() > 256 || model.chars().any(char::is_control) {
        return Err(wrong("model", "a name of 1 to 256 printable characters"));
    }
    let state = STATE.iter().any(|name| value(name).is_some());
    let input = value("input").unwrap_or(b"[]");
    if !matches!(input.first(), Some(b'[' | b'"')) {
        return Err(wrong("input", "a string or an array of items"));
    }
    if !state && value("input").is_none() {
        let error = missing("input");
        return Err(if value("messages").is_some() { error.code("wrong_api") } else { error });
    }
    let stream = boolean(value("stream"), "stream")?;
    let background = boolean(value("background"), "background")?;
    let nested = Nested::read(&value)?;
    let prompt = ["input", "instructions", "tools", "text"];
    Ok(Envelope {
        model,
        stream,
        include_usage: true,
        array: false,
        max_output: value("max_output_tokens").map(count).transpose()?,
        choices: 1,
        needs: needs(&value, input, stream, &nested),
        prompt_bytes: prompt.iter().filter_map(|name| value(name)).map(<[u8]>::len).sum(),
        members: members(&spans, body, background, nested),
        cacheable: !state && !background,
        spans,
    })
}

/// What stands inside members and matters.
struct Nested {
    /// Names below `text` and `reasoning`, with dots.
    names: Vec<Box<str>>,
    format: Option<String>,
    logprobs: bool,
}

impl Nested {
    fn read<'b>(value: &impl Fn(&str) -> Option<&'b [u8]>) -> Result<Self, Error> {
        type Object<'a> = Vec<(Box<str>, &'a RawValue)>;
        let mut names = Vec::new();
        let mut format = None;
        for outer in ["text", "reasoning"] {
            let Some(text) = value(outer) else { continue };
            let inner: Object<'_> = entries(text).map_err(|_| wrong(outer, "an object"))?;
            for (name, raw) in inner.into_iter().filter(|(_, raw)| raw.get() != "null") {
                if (outer, &*name) == ("text", "format") {
                    let kind: Kind<'_> =
                        serde_json::from_str(raw.get()).map_err(|_| wrong("text.format", "an object"))?;
                    format = Some(kind.kind.ok_or_else(|| missing("text.format.type"))?.into_owned());
                }
                names.push(format!("{outer}.{name}").into());
            }
        }
        let include = value("include").map(serde_json::from_slice::<Vec<Cow<'_, str>>>).transpose();
        let include = include.map_err(|_| wrong("include", "an array of strings"))?.unwrap_or_default();
        let top = value("top_logprobs").is_some_and(|n| n != b"0");
        let logprobs = top || include.iter().any(|what| what == "message.output_text.logprobs");
        Ok(Self { names, format, logprobs })
    }
}

/// The members of an object, in order.
fn entries(json: &[u8]) -> serde_json::Result<Vec<(Box<str>, &RawValue)>> {
    let map: std::collections::BTreeMap<Box<str>, &RawValue> = serde_json::from_slice(json)?;
    Ok(map.into_iter().collect())
}

/// The names of all that is said: nested ones in place of `text` and `reasoning`, and nothing for a background that
/// is not wanted.
fn members(spans: &Members, body: &[u8], background: bool, nested: Nested) -> Vec<Box<str>> {
    let given = spans.all().iter().filter(|m| &body[m.value.clone()] != b"null");
    let said = given.filter(|m| match &*m.name {
        "text" | "reasoning" => false,
        "background" => background,
        _ => true,
    });
    let logprobs = nested.logprobs.then(|| LOGPROBS.into());
    said.map(|m| m.name.clone()).chain(nested.names).chain(logprobs).collect()
}

fn needs<'b>(
    value: &impl Fn(&str) -> Option<&'b [u8]>,
    input: &[u8],
    stream: bool,
    nested: &Nested,
) -> Capabilities {
    let mut needs = Capabilities::NONE;
    let mut need = |wanted: bool, capability| {
        if wanted {
            needs = needs.with(capability);
        }
    };
    need(stream, Capability::Stream);
    // Tools that the provider runs itself are dropped elsewhere: they need nothing.
    let tools: Vec<Kind<'_>> =
        value("tools").and_then(|tools| serde_json::from_slice(tools).ok()).unwrap_or_default();
    let ours = |tool: &Kind<'_>| matches!(tool.kind.as_deref(), Some("function" | "custom" | "namespace"));
    need(tools.iter().any(ours), Capability::Tools);
    need(nested.logprobs, Capability::Logprobs);
    need(nested.format.as_deref() == Some("json_object"), Capability::Json);
    need(nested.format.as_deref() == Some("json_schema"), Capability::JsonSchema);
    // A word in the text of a message must not refuse it: the hit is confirmed by a parse.
    let words = ["input_image", "input_audio", "input_file"];
    if words.iter().any(|word| memmem::find(input, word.as_bytes()).is_some())
        && let Ok(parsed) = serde_json::from_slice::<Vec<Item<'_>>>(input)
    {
        let has = |kind: &str| parsed.iter().any(|item| item.has(kind));
        need(has("input_image"), Capability::Image);
        need(has("input_audio"), Capability::Audio);
        need(has("input_file"), Capability::File);
    }
    needs
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
    #[serde(borrow, default)]
    output: Option<Content<'a>>,
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
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

impl Item<'_> {
    fn has(&self, kind: &str) -> bool {
        [&self.content, &self.output].into_iter().flatten().any(|content| match content {
            Content::Parts(parts) => parts.iter().any(|part| part.kind.as_deref() == Some(kind)),
            Content::Other(_) => false,
        })
    }
}

fn boolean(value: Option<&[u8]>, name: &'static str) -> Result<bool, Error> {
    match value {
        None | Some(b"false") => Ok(false),
        Some(b"true") => Ok(true),
        Some(_) => Err(wrong(name, "a boolean")),
    }
}

fn count(text: &[u8]) -> Result<u64, Error> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u64>().ok());
    number.filter(|n| (1..=MAX_OUTPUT).contains(n)).ok_or_else(|| {
        wrong("max_output_tokens", &format!("a whole number from 1 to {MAX_OUTPUT}")).code("out_of_range")
    })
}

fn refuse(malformed: Malformed) -> Error {
    let error = |message: String| Error::new(ErrorKind::InvalidRequest, message);
    match malformed {
        Malformed::Empty => error("the body is empty".into()).code("empty_body"),
        Malformed::Syntax(at) => error(format!("the body is not valid JSON at byte {at}")).code("invalid_json"),
        Malformed::NotAnObject => error("the body must be a JSON object".into()).code("invalid_json"),
        Malformed::TooDeep => error("the body is nested too deeply".into()).code("too_deep"),
        Malformed::Duplicate => error("a member of the body is given twice".into()).code("duplicate_key"),
    }
}
