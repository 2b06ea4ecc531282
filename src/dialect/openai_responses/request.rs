//! A client's request, decoded once when the target speaks another dialect.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::read::{Members, missing, object, wrong};
use super::{input, tools};
use crate::domain::chat::{ChatRequest, Json, ReasoningSettings, ResponseFormat, Sampling};
use crate::domain::error::Error;
use crate::domain::id::DialectId;

/// Words of `include` that are honoured whatever the target speaks.
const LOGPROBS: &str = "message.output_text.logprobs";
const ENCRYPTED: &str = "reasoning.encrypted_content";

pub(super) fn decode(body: &[u8]) -> Result<ChatRequest, Error> {
    let text = std::str::from_utf8(body).map_err(|_| wrong("", "UTF-8"))?;
    let mut members = Members::new(text, "the body")?;
    let mut extra = Vec::new();
    let mut list = tools::decode(members.take("tools", "tools")?.unwrap_or_default())?;
    let choice = members.raw("tool_choice").map(|raw| (raw, tools::choice(raw, &mut list))).map(|(raw, choice)| {
        // One of the provider's own tools is forced: nobody else can.
        choice.inspect(|choice| {
            if matches!(choice, tools::Choice::Own) {
                extra.push(("tool_choice".to_owned(), Json::new(raw.get())));
            }
        })
    });
    let choice = choice.transpose()?;
    let instructions = members.take("instructions", "instructions")?;
    let messages = input::messages(instructions, members.raw("input"), &list)?;
    let logprobs = include(&mut members, &mut extra)?;
    let top_logprobs: Option<u32> = members.take("top_logprobs", "top_logprobs")?;
    let (response_format, verbosity) = text_settings(&mut members, &mut extra)?;
    let reasoning = reasoning(&mut members, &mut extra)?;
    let request = ChatRequest {
        source: DialectId::OpenAiResponses,
        model: members.take("model", "model")?.unwrap_or_default(),
        messages,
        tools: list,
        tool_choice: choice.and_then(tools::Choice::known),
        parallel_tool_calls: members.take("parallel_tool_calls", "parallel_tool_calls")?,
        response_format,
        sampling: Sampling {
            temperature: members.take("temperature", "temperature")?,
            top_p: members.take("top_p", "top_p")?,
            logprobs: (logprobs || top_logprobs.is_some_and(|n| n > 0)).then_some(true),
            top_logprobs,
            ..Sampling::default()
        },
        max_output_tokens: members.take("max_output_tokens", "max_output_tokens")?,
        reasoning,
        stream: members.take("stream", "stream")?.unwrap_or(false),
        include_usage: true,
        user: members.take("user", "user")?,
        service_tier: members.take("service_tier", "service_tier")?,
        metadata: members.raw("metadata").map(|raw| Json::new(raw.get())),
        prompt_cache_key: members.take("prompt_cache_key", "prompt_cache_key")?,
        verbosity,
        extra: Vec::new(),
    };
    // Usage is part of every stream; obfuscation is a decoration of one provider.
    members.raw("stream_options");
    if members.take::<bool>("background", "background")? == Some(true) {
        extra.push(("background".to_owned(), Json::new("true")));
    }
    extra.extend(members.rest(""));
    Ok(ChatRequest { extra, ..request })
}

/// Whether log probabilities are wanted. What is not honoured by everyone stays in `extra`.
fn include(members: &mut Members<'_>, extra: &mut Vec<(String, Json)>) -> Result<bool, Error> {
    let words: Vec<String> = members.take("include", "include")?.unwrap_or_default();
    let others: Vec<&String> = words.iter().filter(|word| *word != LOGPROBS && *word != ENCRYPTED).collect();
    if !others.is_empty() {
        let list = serde_json::to_string(&others).unwrap_or_default();
        extra.push(("include".to_owned(), Json::new(list)));
    }
    Ok(words.iter().any(|word| word == LOGPROBS))
}

type TextSettings = (Option<ResponseFormat>, Option<String>);

fn text_settings(members: &mut Members<'_>, extra: &mut Vec<(String, Json)>) -> Result<TextSettings, Error> {
    let Some(raw) = members.raw("text") else { return Ok((None, None)) };
    let mut text = Members::new(raw.get(), "text")?;
    let format = text.raw("format").map(response_format).transpose()?;
    let verbosity = text.take("verbosity", "text.verbosity")?;
    extra.extend(text.rest("text."));
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

fn reasoning(
    members: &mut Members<'_>,
    extra: &mut Vec<(String, Json)>,
) -> Result<Option<ReasoningSettings>, Error> {
    let Some(raw) = members.raw("reasoning") else { return Ok(None) };
    let mut reasoning = Members::new(raw.get(), "reasoning")?;
    let effort: Option<String> = reasoning.take("effort", "reasoning.effort")?;
    extra.extend(reasoning.rest("reasoning."));
    Ok(effort.map(|effort| ReasoningSettings { effort: Some(effort), budget_tokens: None }))
}
