//! What routing needs to know of a request, without parsing the prompt.

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::Envelope;
use crate::dialect::common::lenient;
use crate::dialect::read::{Body, MAX_OUTPUT, missing, wrong};
use crate::domain::error::Error;
use crate::domain::target::{Capabilities, Capability};

pub(super) fn read(bytes: &Bytes) -> Result<Envelope, Error> {
    let body = Body::scan(bytes)?;
    let messages = body.get("messages").ok_or_else(|| missing("messages"))?;
    if messages.first() != Some(&b'[') || !body.filled("messages") {
        return Err(wrong("messages", "an array with at least one message"));
    }
    let needs = needs(&body, messages)?;
    Ok(Envelope {
        model: body.model()?,
        stream: body.boolean("stream")?,
        // Usage is part of every stream of this dialect.
        include_usage: true,
        array: false,
        max_output: body.count("max_tokens", MAX_OUTPUT)?,
        choices: 1,
        needs,
        prompt_bytes: body.prompt_bytes(&["messages", "system", "tools"], needs),
        members: members(&body),
        cacheable: true,
        spans: body.spans,
    })
}

#[derive(Deserialize)]
struct OutputConfig<'a> {
    #[serde(borrow)]
    format: Option<&'a RawValue>,
    effort: Option<String>,
}

/// Top-level names; those of `output_config` one level deeper, since they mean different things.
fn members(body: &Body<'_>) -> Vec<Box<str>> {
    let mut names = body.names();
    let config = body.get("output_config").and_then(|text| serde_json::from_slice::<OutputConfig<'_>>(text).ok());
    if let Some(config) = config {
        names.retain(|name| &**name != "output_config");
        names.extend(config.format.map(|_| "output_config.format".into()));
        names.extend(config.effort.map(|_| "output_config.effort".into()));
    }
    names
}

fn needs(body: &Body<'_>, messages: &[u8]) -> Result<Capabilities, Error> {
    let mut needs = Capabilities::NONE;
    if body.boolean("stream")? {
        needs = needs.with(Capability::Stream);
    }
    // Tools that the provider runs itself are no reason to look for a target with function calls.
    if let Some(tools) = body.get("tools") {
        let tools: Vec<Kind<'_>> = serde_json::from_slice(tools).map_err(|_| wrong("tools", "an array of tools"))?;
        if tools.iter().any(|tool| tool.kind.as_deref().is_none_or(|kind| kind == "custom")) {
            needs = needs.with(Capability::Tools);
        }
    }
    let config = body.get("output_config").and_then(|text| serde_json::from_slice::<OutputConfig<'_>>(text).ok());
    if body.get("output_format").is_some() || config.is_some_and(|config| config.format.is_some()) {
        needs = needs.with(Capability::JsonSchema);
    }
    // Blocks have types, which the scan has seen: conversations of plain texts are not looked through again.
    if !body.spans.typed() {
        return Ok(needs);
    }
    // A word in the text of a message must not refuse it: the hit is confirmed by a parse.
    for (word, capability) in [("image", Capability::Image), ("document", Capability::File)] {
        let hit = memmem::find(messages, format!("\"{word}\"").as_bytes()).is_some();
        if hit && holds(messages, word) {
            needs = needs.with(capability);
        }
    }
    Ok(needs)
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Turn<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "lenient")]
    source: Option<Kind<'a>>,
}

impl Block<'_> {
    /// A document of plain text is text, which every target takes.
    fn is(&self, word: &str) -> bool {
        let plain = || self.source.as_ref().is_some_and(|source| source.kind.as_deref() == Some("text"));
        self.kind.as_deref() == Some(word) && !plain()
    }
}

/// Whether a block of that kind stands in a turn, or in the result of a tool.
fn holds(messages: &[u8], word: &str) -> bool {
    let turns: Vec<Turn<'_>> = serde_json::from_slice(messages).unwrap_or_default();
    turns.iter().filter_map(|turn| turn.content).any(|content| among(content, word, 2))
}

fn among(content: &RawValue, word: &str, depth: u8) -> bool {
    let blocks: Vec<Block<'_>> = serde_json::from_str(content.get()).unwrap_or_default();
    let inner = |block: &Block<'_>| depth > 0 && block.content.is_some_and(|content| among(content, word, depth - 1));
    blocks.iter().any(|block| block.is(word) || inner(block))
}
