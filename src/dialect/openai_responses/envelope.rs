//! What routing needs to know of a request, without parsing the conversation.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::params::LOGPROBS;
use crate::dialect::Envelope;
use crate::dialect::read::{Body, MAX_OUTPUT, missing, wrong};
use crate::domain::error::Error;
use crate::domain::target::{Capabilities, Capability};

/// What the provider keeps for the client. With any of them the conversation need not be in the request.
const STATE: [&str; 3] = ["previous_response_id", "conversation", "prompt"];

pub(super) fn read(body: &Bytes) -> Result<Envelope, Error> {
    let body = Body::scan(body)?;
    let model = body.model()?;
    let state = STATE.iter().any(|name| body.get(name).is_some());
    let input = body.get("input").unwrap_or(b"[]");
    if !matches!(input.first(), Some(b'[' | b'"')) {
        return Err(wrong("input", "a string or an array of items"));
    }
    if !state && body.get("input").is_none() {
        let error = missing("input");
        return Err(if body.get("messages").is_some() { error.code("wrong_api") } else { error });
    }
    let stream = body.boolean("stream")?;
    let background = body.boolean("background")?;
    let nested = Nested::read(&body)?;
    let needs = needs(&body, input, stream, &nested)?;
    Ok(Envelope {
        model,
        stream,
        include_usage: true,
        array: false,
        max_output: body.count("max_output_tokens", MAX_OUTPUT)?,
        choices: 1,
        needs,
        prompt_bytes: body.prompt_bytes(&["input", "instructions", "tools", "text"], needs),
        members: members(&body, background, nested),
        cacheable: !state && !background,
        spans: body.spans,
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
    fn read(body: &Body<'_>) -> Result<Self, Error> {
        let mut names = Vec::new();
        let mut format = None;
        for outer in ["text", "reasoning"] {
            let Some(text) = body.get(outer) else { continue };
            let inner: BTreeMap<Box<str>, &RawValue> =
                serde_json::from_slice(text).map_err(|_| wrong(outer, "an object"))?;
            for (name, raw) in inner.into_iter().filter(|(_, raw)| raw.get() != "null") {
                if (outer, &*name) == ("text", "format") {
                    let kind: Kind<'_> =
                        serde_json::from_str(raw.get()).map_err(|_| wrong("text.format", "an object"))?;
                    format = Some(kind.kind.ok_or_else(|| missing("text.format.type"))?.into_owned());
                }
                names.push(format!("{outer}.{name}").into());
            }
        }
        let include = body.get("include").map(serde_json::from_slice::<Vec<Cow<'_, str>>>).transpose();
        let include = include.map_err(|_| wrong("include", "an array of strings"))?.unwrap_or_default();
        let top = body.get("top_logprobs").is_some_and(|n| n != b"0");
        let logprobs = top || include.iter().any(|what| what == "message.output_text.logprobs");
        Ok(Self { names, format, logprobs })
    }
}

/// The names of all that is said: nested ones in place of `text` and `reasoning`, and nothing for a background that
/// is not wanted.
fn members(body: &Body<'_>, background: bool, nested: Nested) -> Vec<Box<str>> {
    let mut names = body.names();
    names.retain(|name| match &**name {
        "text" | "reasoning" => false,
        "background" => background,
        _ => true,
    });
    names.extend(nested.names);
    names.extend(nested.logprobs.then(|| LOGPROBS.into()));
    names
}

fn needs(body: &Body<'_>, input: &[u8], stream: bool, nested: &Nested) -> Result<Capabilities, Error> {
    let mut needs = Capabilities::NONE;
    let mut need = |wanted: bool, capability| {
        if wanted {
            needs = needs.with(capability);
        }
    };
    need(stream, Capability::Stream);
    // Tools that the provider runs itself are dropped elsewhere: they need nothing.
    let tools: Option<Vec<Kind<'_>>> = body.get("tools").map(serde_json::from_slice).transpose().unwrap_or_default();
    let ours = |tool: &Kind<'_>| matches!(tool.kind.as_deref(), Some("function" | "custom" | "namespace"));
    need(tools.iter().flatten().any(ours), Capability::Tools);
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
    Ok(needs)
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
