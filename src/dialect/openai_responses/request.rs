//! A client's request, decoded once when the target speaks another dialect.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{input, tools};
use crate::dialect::read::{Members, missing, object, read, wrong};
use crate::domain::chat::{ChatRequest, Json, ReasoningSettings, ResponseFormat, Sampling};
use crate::domain::error::Error;
use crate::domain::id::DialectId;

/// Words of `include` that are honoured whatever the target speaks.
const LOGPROBS: &str = "message.output_text.logprobs";
const ENCRYPTED: &str = "reasoning.encrypted_content";

pub(super) fn decode(body: &[u8]) -> Result<ChatRequest, Error> {
    let mut members = Members::of(body)?;
    let mut extra = Vec::new();
    let mut list = tools::decode(members.take("tools")?.unwrap_or_default())?;
    let choice = members.raw("tool_choice").map(|raw| (raw, tools::choice(raw, &mut list))).map(|(raw, choice)| {
        // One of the provider's own tools is forced: nobody else can.
        choice.inspect(|choice| {
            if matches!(choice, tools::Choice::Own) {
                extra.push(("tool_choice".to_owned(), Json::new(raw.get())));
            }
        })
    });
    let choice = choice.transpose()?;
    let instructions = members.take("instructions")?;
    let messages = input::messages(instructions, members.raw("input"), &list)?;
    let logprobs = include(&mut members, &mut extra)?;
    let top_logprobs: Option<u32> = members.take("top_logprobs")?;
    let (response_format, verbosity) = text_settings(&mut members, &mut extra)?;
    let reasoning = reasoning(&mut members, &mut extra)?;
    let request = ChatRequest {
        source: DialectId::OpenAiResponses,
        model: members.take("model")?.unwrap_or_default(),
        messages,
        tools: list,
        tool_choice: choice.and_then(tools::Choice::known),
        parallel_tool_calls: members.take("parallel_tool_calls")?,
        legacy_functions: false,
        response_format,
        sampling: Sampling {
            temperature: members.take("temperature")?,
            top_p: members.take("top_p")?,
            logprobs: (logprobs || top_logprobs.is_some_and(|n| n > 0)).then_some(true),
            top_logprobs,
            ..Sampling::default()
        },
        max_output_tokens: members.take("max_output_tokens")?,
        reasoning,
        hide_thinking: false,
        stream: members.take("stream")?.unwrap_or(false),
        include_usage: true,
        user: members.take("user")?,
        service_tier: members.take("service_tier")?,
        metadata: members.json("metadata"),
        prompt_cache_key: members.take("prompt_cache_key")?,
        verbosity,
        extra: Vec::new(),
        unread: Vec::new(),
    };
    // Usage is part of every stream; obfuscation is a decoration of one provider.
    members.raw("stream_options");
    if members.take::<bool>("background")? == Some(true) {
        extra.push(("background".to_owned(), Json::new("true")));
    }
    extra.extend(members.rest());
    Ok(ChatRequest { extra, ..request })
}

/// Whether log probabilities are wanted. What is not honoured by everyone stays in `extra`.
fn include(members: &mut Members<'_>, extra: &mut Vec<(String, Json)>) -> Result<bool, Error> {
    let words: Vec<String> = members.take("include")?.unwrap_or_default();
    let others: Vec<&String> = words.iter().filter(|word| *word != LOGPROBS && *word != ENCRYPTED).collect();
    if !others.is_empty() {
        let list = serde_json::to_string(&others).unwrap_or_default();
        extra.push(("include".to_owned(), Json::new(list)));
    }
    Ok(words.iter().any(|word| word == LOGPROBS))
}

/// What nobody took of a nested object, by the names of the table.
fn prefixed(members: Members<'_>, prefix: &'static str) -> impl Iterator<Item = (String, Json)> {
    members.rest().into_iter().map(move |(name, json)| (format!("{prefix}{name}"), json))
}

type TextSettings = (Option<ResponseFormat>, Option<String>);

fn text_settings(members: &mut Members<'_>, extra: &mut Vec<(String, Json)>) -> Result<TextSettings, Error> {
    let Some(raw) = members.raw("text") else { return Ok((None, None)) };
    let mut text = Members::within(raw, "text")?;
    let format = text.raw("format").map(response_format).transpose()?;
    let verbosity = text.raw("verbosity").map(|raw| read(raw, "text.verbosity", "a string")).transpose()?;
    extra.extend(prefixed(text, "text."));
    Ok((format, verbosity))
}

fn response_format(raw: &RawValue) -> Result<ResponseFormat, Error> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        r#type: String,
        name: Option<String>,
        description: Option<String>,
        #[serde(borrow)]
        schema: Option<&'a RawValue>,
        strict: Option<bool>,
    }
    let wire: Wire<'_> = object(raw, "text.format")?;
    match wire.r#type.as_str() {
        "text" => Ok(ResponseFormat::Text),
        "json_object" => Ok(ResponseFormat::JsonObject),
        "json_schema" => Ok(ResponseFormat::JsonSchema {
            name: wire.name.ok_or_else(|| missing("text.format.name"))?,
            description: wire.description,
            schema: wire.schema.map(|raw| Json::new(raw.get())),
            strict: wire.strict,
        }),
        _ => Err(wrong("text.format.type", "`text`, `json_object` or `json_schema`")),
    }
}

fn reasoning(members: &mut Members<'_>, extra: &mut Vec<(String, Json)>) -> Result<Option<ReasoningSettings>, Error> {
    let Some(raw) = members.raw("reasoning") else { return Ok(None) };
    let mut reasoning = Members::within(raw, "reasoning")?;
    let effort = reasoning.raw("effort").map(|raw| read(raw, "reasoning.effort", "a string")).transpose()?;
    extra.extend(prefixed(reasoning, "reasoning."));
    Ok(effort.map(|effort| ReasoningSettings { effort: Some(effort), budget_tokens: None }))
}
