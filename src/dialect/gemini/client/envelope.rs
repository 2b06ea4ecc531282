//! What routing needs to know of a request. Model and stream stand in the path.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::read::{Body, MAX_OUTPUT, count, missing, model_name, wrong};
use crate::dialect::{Envelope, Located};
use crate::domain::error::Error;
use crate::domain::target::{Capabilities, Capability};

/// Most answers to one request (Google's own limit).
const MAX_CHOICES: u64 = 8;

pub(super) fn read(bytes: &Bytes, located: &Located) -> Result<Envelope, Error> {
    let body = Body::scan(bytes)?;
    let contents = body.get("contents").ok_or_else(|| missing("contents"))?;
    if !matches!(contents.first(), Some(b'[' | b'{')) || !body.filled("contents") {
        return Err(wrong("contents", "an array with at least one content"));
    }
    let model = located.model.clone().ok_or_else(|| missing("model"))?;
    let model = model_name(model.strip_prefix("models/").map(str::to_owned).unwrap_or(model))?;
    let config = either(&body, "generationConfig");
    let config: BTreeMap<Cow<'_, str>, &RawValue> = match config {
        Some(text) => serde_json::from_slice(text).map_err(|_| wrong("generationConfig", "an object"))?,
        None => BTreeMap::new(),
    };
    let config: BTreeMap<String, &RawValue> =
        config.into_iter().filter(|(_, raw)| raw.get() != "null").map(|(name, raw)| (camel(&name), raw)).collect();
    let number = |name: &str, path: &'static str, most: u64| {
        config.get(name).map(|raw| count(raw.get().as_bytes(), path, most)).transpose()
    };
    let choices = number("candidateCount", "generationConfig.candidateCount", MAX_CHOICES)?.unwrap_or(1);
    let needs = needs(&body, contents, &config, located.stream, choices);
    let prompt = ["contents", "systemInstruction", "system_instruction", "tools"];
    Ok(Envelope {
        model,
        stream: located.stream,
        // Usage is part of every stream of this dialect.
        include_usage: true,
        array: located.array,
        max_output: number("maxOutputTokens", "generationConfig.maxOutputTokens", MAX_OUTPUT)?,
        choices: u32::try_from(choices).unwrap_or(u32::MAX),
        needs,
        prompt_bytes: body.prompt_bytes(&prompt, needs),
        members: members(&body, &config),
        cacheable: true,
        spans: body.spans,
    })
}

/// A member under either spelling.
fn either<'b>(body: &Body<'b>, name: &str) -> Option<&'b [u8]> {
    body.get(name).or_else(|| body.get(&snake(name)))
}

/// Top-level names; those of the generation's settings one level deeper.
fn members(body: &Body<'_>, config: &BTreeMap<String, &RawValue>) -> Vec<Box<str>> {
    let top = body.names().into_iter().map(|name| camel(&name)).filter(|name| name != "generationConfig");
    let inner = config.keys().map(|name| format!("generationConfig.{name}"));
    top.chain(inner).map(String::into_boxed_str).collect()
}

fn needs(
    body: &Body<'_>,
    contents: &[u8],
    config: &BTreeMap<String, &RawValue>,
    stream: bool,
    choices: u64,
) -> Capabilities {
    let schema = ["responseSchema", "responseJsonSchema"].iter().any(|name| config.contains_key(*name));
    let json = config.get("responseMimeType").is_some_and(|raw| raw.get() == "\"application/json\"");
    let tools = body.get("tools").is_some_and(|tools| {
        memmem::find(tools, b"\"functionDeclarations\"").is_some()
            || memmem::find(tools, b"\"function_declarations\"").is_some()
    });
    let types = media_types(contents);
    let has = |prefix: &str| types.iter().any(|t| t.starts_with(prefix));
    let wanted = [
        (stream, Capability::Stream),
        (tools, Capability::Tools),
        (schema, Capability::JsonSchema),
        (json && !schema, Capability::Json),
        (config.get("responseLogprobs").is_some_and(|raw| raw.get() == "true"), Capability::Logprobs),
        (choices > 1, Capability::Choices),
        (has("image/"), Capability::Image),
        (has("audio/") || has("video/"), Capability::Audio),
        (has("application/") || has("text/"), Capability::File),
    ];
    let set = wanted.into_iter().filter(|(wanted, _)| *wanted);
    set.fold(Capabilities::NONE, |set, (_, capability)| set.with(capability))
}

/// Media types of inline and stored data. A word in a text must not refuse a request: a hit is confirmed by a parse.
fn media_types(contents: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(default)]
        parts: Option<Vec<Part>>,
    }
    #[derive(Deserialize)]
    struct Part {
        #[serde(alias = "inline_data", rename = "inlineData", default)]
        inline: Option<Typed>,
        #[serde(alias = "file_data", rename = "fileData", default)]
        file: Option<Typed>,
        #[serde(alias = "function_response", rename = "functionResponse", default)]
        result: Option<Shown>,
    }
    #[derive(Deserialize)]
    struct Shown {
        #[serde(default)]
        parts: Option<Vec<Part>>,
    }
    #[derive(Deserialize)]
    struct Typed {
        #[serde(alias = "mime_type", rename = "mimeType", default)]
        mime_type: Option<String>,
    }
    let words: [&[u8]; 4] = [b"\"inlineData\"", b"\"inline_data\"", b"\"fileData\"", b"\"file_data\""];
    if !words.iter().any(|word| memmem::find(contents, word).is_some()) {
        return Vec::new();
    }
    let contents: Vec<Content> = serde_json::from_slice(contents).unwrap_or_default();
    let parts = contents.into_iter().flat_map(|content| content.parts.unwrap_or_default());
    let inner = |mut part: Part| {
        let shown = part.result.take().and_then(|result| result.parts).unwrap_or_default();
        std::iter::once(part).chain(shown)
    };
    // Inline text is text, which every target takes. An address without a type is most often an image.
    let kind = |typed: Typed| typed.mime_type.unwrap_or_else(|| "image/".to_owned());
    let typed = parts.flat_map(inner).flat_map(|part| {
        let inline = part.inline.map(kind).filter(|kind| !kind.starts_with("text/"));
        [inline, part.file.map(kind)]
    });
    typed.flatten().collect()
}

/// `max_output_tokens` as `maxOutputTokens`.
pub(super) fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else if upper {
            out.extend(c.to_uppercase());
            upper = false;
        } else {
            out.push(c);
        }
    }
    out
}

fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
