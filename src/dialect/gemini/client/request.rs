//! A client's request, decoded once when the target speaks another dialect. Wrong types are told with their path.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::envelope::camel;
use super::{schema, turns};
use crate::dialect::Envelope;
use crate::dialect::read::{read, typed, wrong};
use crate::domain::chat::{
    ChatRequest, Json, Origin, ReasoningSettings, ResponseFormat, Sampling, Tool, ToolChoice, ToolKind,
};
use crate::domain::error::Error;
use crate::domain::id::DialectId;

/// The answer is one of the words of a schema, without quotes.
const ENUM: &str = "text/x.enum";

/// Members under their camel-case names; null is absent.
struct Object<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Object<'a> {
    fn of(members: BTreeMap<Cow<'a, str>, &'a RawValue>) -> Self {
        let given = members.into_iter().filter(|(_, raw)| raw.get() != "null");
        Self(given.map(|(name, raw)| (camel(&name), raw)).collect())
    }

    fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        self.0.remove(name)
    }

    /// Reads a member, if it has the form that is expected, and leaves it where it is.
    fn peek<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }

    fn take<T: Deserialize<'a>>(&mut self, name: &str, prefix: &str) -> Result<Option<T>, Error> {
        let path = || format!("{prefix}{name}");
        self.raw(name).map(|raw| serde_json::from_str(raw.get()).map_err(|e| typed(&path(), &e))).transpose()
    }
}

pub(super) fn decode(body: &[u8], envelope: &Envelope) -> Result<ChatRequest, Error> {
    let members = serde_json::from_slice(body).map_err(|_| wrong("body", "a JSON object"))?;
    let mut members = Object::of(members);
    members.raw("model");
    let mut messages = Vec::new();
    if let Some(system) = members.raw("systemInstruction") {
        messages.push(turns::system(system, "systemInstruction")?);
    }
    if let Some(contents) = members.raw("contents") {
        turns::decode(contents, &mut messages)?;
    }
    let config = members.raw("generationConfig");
    let config = config.map(|raw| read(raw, "generationConfig", "an object")).transpose()?.unwrap_or_default();
    let mut config = Object::of(config);
    let mut tools = tools(&mut members)?;
    let mut request = ChatRequest {
        source: DialectId::Gemini,
        model: envelope.model.clone(),
        messages,
        tool_choice: members.raw("toolConfig").map(|raw| tool_choice(raw, &mut tools)).transpose()?.flatten(),
        tools,
        response_format: response_format(&mut config)?,
        stream: envelope.stream,
        include_usage: true,
        service_tier: members.take::<String>("serviceTier", "")?.and_then(|tier| service_tier(&tier)),
        metadata: members.raw("labels").map(|raw| Json::new(raw.get())),
        ..ChatRequest::default()
    };
    settings(&mut request, &mut config)?;
    let inner = config.0.into_iter().map(|(name, raw)| (format!("generationConfig.{name}"), Json::new(raw.get())));
    let top = members.0.into_iter().map(|(name, raw)| (name, Json::new(raw.get())));
    request.extra = top.chain(inner).collect();
    Ok(request)
}

fn settings(request: &mut ChatRequest, config: &mut Object<'_>) -> Result<(), Error> {
    let prefix = "generationConfig.";
    // Whole numbers are taken as `40.0` as well.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and within range")]
    let whole = |number: f64| number as u32;
    let top_k = config.take::<f64>("topK", prefix)?.filter(|k| k.fract() == 0.0 && (0.0..1e9).contains(k)).map(whole);
    request.sampling = Sampling {
        temperature: config.take("temperature", prefix)?,
        top_p: config.take("topP", prefix)?,
        top_k,
        min_p: None,
        frequency_penalty: config.take("frequencyPenalty", prefix)?,
        presence_penalty: config.take("presencePenalty", prefix)?,
        seed: config.take("seed", prefix)?,
        stop: config.take("stopSequences", prefix)?.unwrap_or_default(),
        logit_bias: None,
        logprobs: config.take("responseLogprobs", prefix)?,
        top_logprobs: config.take("logprobs", prefix)?,
        n: config.take("candidateCount", prefix)?,
    };
    request.max_output_tokens = config.take("maxOutputTokens", prefix)?;
    let thinking = config.raw("thinkingConfig").map(thinking).transpose()?;
    // Nobody is shown thoughts who does not ask for them.
    request.hide_thinking = !thinking.as_ref().is_some_and(|(_, shown)| *shown);
    request.reasoning = thinking.and_then(|(settings, _)| settings);
    Ok(())
}

/// How much to think, and whether thoughts are shown. A budget of -1 leaves it to the model; levels are words.
fn thinking(raw: &RawValue) -> Result<(Option<ReasoningSettings>, bool), Error> {
    let path = "generationConfig.thinkingConfig";
    let mut members = Object::of(read(raw, path, "an object")?);
    let prefix = "generationConfig.thinkingConfig.";
    let budget: Option<i64> = members.take("thinkingBudget", prefix)?;
    let level: Option<String> = members.take("thinkingLevel", prefix)?;
    let shown: Option<bool> = members.take("includeThoughts", prefix)?;
    let effort = level.map(|level| level.to_ascii_lowercase()).filter(|level| level != "thinking_level_unspecified");
    let settings = match (budget, effort) {
        (Some(0), _) => Some(ReasoningSettings { effort: Some("none".to_owned()), budget_tokens: None }),
        (Some(budget), effort) if budget > 0 => {
            Some(ReasoningSettings { effort, budget_tokens: u64::try_from(budget).ok() })
        }
        (_, Some(effort)) => Some(ReasoningSettings { effort: Some(effort), budget_tokens: None }),
        _ => None,
    };
    Ok((settings, shown == Some(true)))
}

/// Tiers by the names that other dialects have.
fn service_tier(tier: &str) -> Option<String> {
    match tier.to_ascii_lowercase().trim_start_matches("service_tier_") {
        "unspecified" => None,
        "standard" => Some("default".to_owned()),
        other => Some(other.to_owned()),
    }
}

fn response_format(config: &mut Object<'_>) -> Result<Option<ResponseFormat>, Error> {
    let name = "responseMimeType";
    let media: Option<String> = config.peek(name);
    if media.as_deref() == Some(ENUM) {
        // One of some words, bare: others can only promise JSON. It stays, and is told as what cannot be said.
        config.raw("responseSchema");
        config.raw("responseJsonSchema");
        return Ok(None);
    }
    let media: Option<String> = media.or(config.take(name, "generationConfig.")?);
    config.raw(name);
    let plain = config.raw("responseJsonSchema").map(|raw| Json::new(raw.get()));
    let own = config.raw("responseSchema").map(|raw| schema::json_schema(&Json::new(raw.get())));
    let schema = plain.or(own);
    Ok(match (media.as_deref(), schema) {
        (_, Some(schema)) => Some(ResponseFormat::JsonSchema {
            name: String::new(),
            description: None,
            schema: Some(schema),
            strict: None,
        }),
        (Some("application/json"), None) => Some(ResponseFormat::JsonObject),
        (None | Some("text/plain"), None) => None,
        (Some(_), None) => {
            return Err(wrong("generationConfig.responseMimeType", "`text/plain` or `application/json`"));
        }
    })
}

fn tools(members: &mut Object<'_>) -> Result<Vec<Tool>, Error> {
    let Some(raw) = members.raw("tools") else { return Ok(Vec::new()) };
    let lists: Vec<&RawValue> = read(raw, "tools", "an array of tools")?;
    let mut tools = Vec::new();
    for (at, raw) in lists.iter().enumerate() {
        let path = format!("tools[{at}]");
        let mut members = Object::of(read(raw, &path, "an object")?);
        if let Some(list) = members.raw("functionDeclarations") {
            let list: Vec<&RawValue> = read(list, &format!("{path}.functionDeclarations"), "an array")?;
            for (number, raw) in list.iter().enumerate() {
                tools.push(function(raw, &format!("{path}.functionDeclarations[{number}]"))?);
            }
        }
        // What is beside them is of the provider's own: a search, a sandbox.
        for (name, raw) in members.0 {
            let raw = Json::new(format!("{{{}:{}}}", crate::wire::splice::quote(&name), raw.get()));
            let kind = ToolKind::Server { origin: DialectId::Gemini, raw };
            let origin = Origin::at(&format!("{path}.{name}"));
            tools.push(Tool { name, kind, origin, ..Tool::default() });
        }
    }
    Ok(tools)
}

fn function(raw: &RawValue, path: &str) -> Result<Tool, Error> {
    let mut members = Object::of(read(raw, path, "an object")?);
    let prefix = format!("{path}.");
    let name: Option<String> = members.take("name", &prefix)?;
    let plain = members.raw("parametersJsonSchema").map(|raw| Json::new(raw.get()));
    let own = members.raw("parameters").map(|raw| schema::json_schema(&Json::new(raw.get())));
    Ok(Tool {
        name: name.ok_or_else(|| wrong(&format!("{path}.name"), "given"))?,
        description: members.take("description", &prefix)?,
        parameters: plain.or(own),
        origin: Origin::at(path),
        ..Tool::default()
    })
}

/// A choice among some functions leaves only those in the list: no other dialect has all three words for it.
fn tool_choice(raw: &RawValue, tools: &mut Vec<Tool>) -> Result<Option<ToolChoice>, Error> {
    let mut members = Object::of(read(raw, "toolConfig", "an object")?);
    let Some(raw) = members.raw("functionCallingConfig") else { return Ok(None) };
    let path = "toolConfig.functionCallingConfig";
    let mut calling = Object::of(read(raw, path, "an object")?);
    let prefix = "toolConfig.functionCallingConfig.";
    let mode: Option<String> = calling.take("mode", prefix)?;
    let allowed: Vec<String> = calling.take("allowedFunctionNames", prefix)?.unwrap_or_default();
    let choice = match mode.as_deref().map(str::to_ascii_uppercase).as_deref() {
        None | Some("AUTO" | "MODE_UNSPECIFIED") => return Ok(Some(ToolChoice::Auto)),
        Some("NONE") => return Ok(Some(ToolChoice::None)),
        Some("VALIDATED") => ToolChoice::Auto,
        Some("ANY") => match allowed.as_slice() {
            [one] => return Ok(Some(ToolChoice::Function(one.clone()))),
            _ => ToolChoice::Required,
        },
        Some(_) => return Err(wrong(&format!("{path}.mode"), "`AUTO`, `ANY`, `NONE` or `VALIDATED`")),
    };
    if !allowed.is_empty() {
        let server = |tool: &Tool| matches!(tool.kind, ToolKind::Server { .. });
        if !tools.iter().any(|tool| !server(tool) && allowed.contains(&tool.name)) {
            return Err(wrong(&format!("{path}.allowedFunctionNames"), "names of functions that are declared"));
        }
        tools.retain(|tool| server(tool) || allowed.contains(&tool.name));
    }
    Ok(Some(choice))
}
