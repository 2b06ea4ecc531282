//! Requests: what routing needs, and the prompt as a turn.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::Envelope;
use crate::dialect::read::{Body, MAX_OUTPUT, Members, missing, read, wrong};
use crate::domain::chat::{ChatRequest, Message, Part, Role, Sampling};
use crate::domain::error::Error;
use crate::domain::id::DialectId;
use crate::domain::target::{Capabilities, Capability};

/// Most answers to one request (OpenAI's own limit).
const MAX_CHOICES: u64 = 128;

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

pub(super) fn envelope(bytes: &Bytes) -> Result<Envelope, Error> {
    let body = Body::scan(bytes)?;
    if body.get("prompt").is_none() {
        return Err(missing("prompt"));
    }
    let stream = body.boolean("stream")?;
    let choices = body.count("n", MAX_CHOICES)?.unwrap_or(1);
    let options = body.get("stream_options").map(|text| {
        serde_json::from_slice::<StreamOptions>(text)
            .map_err(|_| wrong("stream_options", "an object with a boolean `include_usage`"))
    });
    let mut needs = if stream { Capabilities::NONE.with(Capability::Stream) } else { Capabilities::NONE };
    if choices > 1 {
        needs = needs.with(Capability::Choices);
    }
    Ok(Envelope {
        model: body.model()?,
        stream,
        include_usage: options.transpose()?.and_then(|o| o.include_usage).unwrap_or(false),
        array: false,
        max_output: body.count("max_tokens", MAX_OUTPUT)?,
        choices: u32::try_from(choices).unwrap_or(u32::MAX),
        needs,
        prompt_bytes: body.prompt_bytes(&["prompt", "suffix"], Capabilities::NONE),
        members: body.names(),
        cacheable: true,
        spans: body.spans,
    })
}

pub(super) fn decode(body: &[u8]) -> Result<ChatRequest, Error> {
    let mut members = Members::of(body)?;
    let mut turn = Message::at(Role::User, "prompt");
    turn.say(Part::Text(members.raw("prompt").map(prompt).transpose()?.unwrap_or_default()), "prompt");
    let stop = members.raw("stop").map(stop).transpose()?.unwrap_or_default();
    let options: Option<StreamOptions> = members.take("stream_options")?;
    Ok(ChatRequest {
        source: DialectId::OpenAiCompletions,
        model: members.take("model")?.unwrap_or_default(),
        messages: vec![turn],
        sampling: Sampling {
            temperature: members.take("temperature")?,
            top_p: members.take("top_p")?,
            top_k: members.take("top_k")?,
            min_p: members.take("min_p")?,
            frequency_penalty: members.take("frequency_penalty")?,
            presence_penalty: members.take("presence_penalty")?,
            seed: members.take("seed")?,
            stop,
            logit_bias: members.json("logit_bias").filter(|bias| bias.as_str() != "{}"),
            n: members.take("n")?,
            ..Sampling::default()
        },
        max_output_tokens: members.take("max_tokens")?,
        stream: members.take("stream")?.unwrap_or(false),
        include_usage: options.and_then(|o| o.include_usage).unwrap_or(false),
        user: members.take("user")?,
        extra: members.rest(),
        ..ChatRequest::default()
    })
}

/// One text. A list of one text is one text; token numbers mean nothing to another model.
fn prompt(raw: &RawValue) -> Result<String, Error> {
    let expected = "one text, where the target is not a text completion model";
    if raw.get().starts_with('"') {
        return read(raw, "prompt", expected);
    }
    let mut texts: Vec<String> = read(raw, "prompt", expected)?;
    match (texts.pop(), texts.is_empty()) {
        (Some(text), true) => Ok(text),
        _ => Err(wrong("prompt", expected).code("unsupported_parameter")),
    }
}

fn stop(raw: &RawValue) -> Result<Vec<String>, Error> {
    if raw.get().starts_with('"') {
        return Ok(vec![read(raw, "stop", "a string or an array of strings")?]);
    }
    read(raw, "stop", "a string or an array of strings")
}
