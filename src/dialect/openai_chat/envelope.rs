//! What routing needs to know of a chat request, without parsing the prompt.

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::dialect::Envelope;
use crate::dialect::read::{Body, MAX_OUTPUT, Type, missing, wrong};
use crate::domain::error::Error;
use crate::domain::target::{Capabilities, Capability};

/// Types of the members that pass to providers of the same dialect unread. `max_tokens` and its like are read anyway.
const TYPES: [(&str, Type); 21] = [
    ("stream_options", Type::Object),
    ("temperature", Type::Number),
    ("top_p", Type::Number),
    ("frequency_penalty", Type::Number),
    ("presence_penalty", Type::Number),
    ("seed", Type::Number),
    ("top_logprobs", Type::Number),
    ("top_k", Type::Number),
    ("min_p", Type::Number),
    ("tools", Type::List),
    ("functions", Type::List),
    ("tool_choice", Type::TextOrObject),
    ("parallel_tool_calls", Type::Flag),
    ("response_format", Type::Object),
    ("stop", Type::TextOrList),
    ("logit_bias", Type::Object),
    ("logprobs", Type::Flag),
    ("reasoning_effort", Type::Text),
    ("user", Type::Text),
    ("service_tier", Type::Text),
    ("metadata", Type::Object),
];

/// Most answers to one request (OpenAI's own limit).
const MAX_CHOICES: u64 = 128;

pub(super) fn read(body: &Bytes) -> Result<Envelope, Error> {
    let body = Body::scan(body)?;
    let model = body.model()?;
    let Some(messages) = body.get("messages") else {
        return Err(match body.get("input") {
            Some(_) => missing("messages").code("wrong_api"),
            None => missing("messages"),
        });
    };
    if messages.first() != Some(&b'[') {
        return Err(wrong("messages", "an array"));
    }
    if !body.filled("messages") {
        return Err(wrong("messages", "an array with at least one message"));
    }
    // The first message stands for all: to look at each would be to read the prompt.
    if !messages[1..].trim_ascii_start().starts_with(b"{") {
        return Err(wrong("messages[0]", "an object"));
    }
    body.check(&TYPES)?;
    let stream = body.boolean("stream")?;
    let include_usage = body.get("stream_options").map(usage_wanted).transpose()?.unwrap_or(false);
    let newer = body.count("max_completion_tokens", MAX_OUTPUT)?;
    let max_output = if newer.is_some() { newer } else { body.count("max_tokens", MAX_OUTPUT)? };
    let choices = body.count("n", MAX_CHOICES)?.unwrap_or(1);
    let needs = needs(&body, messages, stream, choices)?;
    Ok(Envelope {
        model,
        stream,
        include_usage,
        array: false,
        max_output,
        choices: u32::try_from(choices).unwrap_or(u32::MAX),
        needs,
        prompt_bytes: body.prompt_bytes(&["messages", "tools", "functions", "response_format"], needs),
        members: body.names(),
        cacheable: true,
        spans: body.spans,
    })
}

fn needs(body: &Body<'_>, messages: &[u8], stream: bool, choices: u64) -> Result<Capabilities, Error> {
    let mut needs = Capabilities::NONE;
    let mut need = |wanted: bool, capability| {
        if wanted {
            needs = needs.with(capability);
        }
    };
    need(stream, Capability::Stream);
    need(body.filled("tools") || body.filled("functions"), Capability::Tools);
    need(body.get("logprobs") == Some(b"true"), Capability::Logprobs);
    need(choices > 1, Capability::Choices);
    need(body.get("audio").is_some(), Capability::Audio);
    let format = body.get("response_format").map(kind_of).transpose()?;
    let (kind, schema) = format.as_ref().map_or(("", false), |(kind, schema)| (kind.as_str(), *schema));
    need(kind == "json_object" && !schema, Capability::Json);
    need(kind == "json_schema" || kind == "json_object" && schema, Capability::JsonSchema);
    // A word in the text of a message must not refuse it: the hit is confirmed by a parse.
    let words = ["image_url", "input_audio", "file"];
    // Parts have types, which the scan has seen: conversations of plain texts are not looked through again.
    if body.spans.typed()
        && words.iter().any(|word| memmem::find(messages, format!("\"{word}\"").as_bytes()).is_some())
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

/// What kind of format, and whether a schema stands beside it, where some imitators take one.
fn kind_of(text: &[u8]) -> Result<(String, bool), Error> {
    #[derive(Deserialize)]
    struct Format<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<std::borrow::Cow<'a, str>>,
        schema: Option<IgnoredAny>,
    }
    let format: Format<'_> = serde_json::from_slice(text).map_err(|_| wrong("response_format", "an object"))?;
    let kind = format.kind.ok_or_else(|| missing("response_format.type"))?;
    Ok((kind.into_owned(), format.schema.is_some()))
}

pub(super) fn usage_wanted(text: &[u8]) -> Result<bool, Error> {
    #[derive(Deserialize)]
    struct Options {
        include_usage: Option<bool>,
    }
    let options: Options = serde_json::from_slice(text)
        .map_err(|_| wrong("stream_options", "an object with a boolean `include_usage`"))?;
    Ok(options.include_usage.unwrap_or(false))
}
