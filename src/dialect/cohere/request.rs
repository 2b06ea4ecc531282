//! The request.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::dialect::params::{self, Slot};
use crate::dialect::{Destination, Transcode as _};
use crate::domain::chat::{
    CUSTOM_ARGUMENT, ChatRequest, Json, Loss, Media, MediaSource, Message, Part, ReasoningSettings, ResponseFormat,
    Role, ToolCall, ToolChoice, ToolKind,
};
use crate::domain::error::{Error, ErrorKind};
use crate::wire::splice::quote;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    stream: bool,
}

#[derive(Serialize)]
struct Format<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Thinking {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_budget: Option<u64>,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<WirePart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WirePart<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageUrl<'a> },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: Cow<'a, str>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    r#type: &'static str,
    function: CallFunction<'a>,
}

#[derive(Serialize)]
struct CallFunction<'a> {
    name: &'a str,
    arguments: Cow<'a, str>,
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: Cow<'a, RawValue>,
}

/// Encodes a canonical request.
pub(super) fn encode(request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
    let mut loss = Loss::default();
    params::report(request, &|slot| super::Cohere.carries(slot), &|_| false, &mut loss);
    params::lose_server_tools(request, None, &mut loss);
    let s = &request.sampling;
    let mut penalty = |slot: Slot, value: Option<f64>| {
        if value.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
            params::lose(request, slot, &mut loss);
            return None;
        }
        value
    };
    let frequency_penalty = penalty(Slot::FrequencyPenalty, s.frequency_penalty);
    let presence_penalty = penalty(Slot::PresencePenalty, s.presence_penalty);
    let turns = request.messages.iter().enumerate().map(|(at, message)| turn(message, at, &mut loss));
    let wire = Request {
        model: to.model,
        messages: turns.collect::<Result<_, _>>()?,
        tool_choice: choice(request, &mut loss),
        tools: tools(request, &mut loss)?,
        response_format: format(request)?,
        thinking: request.reasoning.as_ref().and_then(thinking),
        max_tokens: request.max_output_tokens.or(to.max_output),
        temperature: s.temperature,
        p: s.top_p,
        k: s.top_k.filter(|k| *k != 0),
        seed: s.seed,
        stop_sequences: &s.stop,
        frequency_penalty,
        presence_penalty,
        stream: request.stream,
    };
    let body = serde_json::to_vec(&wire)
        .map_err(|e| Error::new(ErrorKind::Internal, "the request could not be encoded").detail(e.to_string()))?;
    Ok((Bytes::from(body), loss))
}

fn choice(request: &ChatRequest, loss: &mut Loss) -> Option<&'static str> {
    if request.tools.is_empty() {
        return None;
    }
    match request.tool_choice.as_ref()? {
        ToolChoice::Auto => None,
        ToolChoice::None => Some("NONE"),
        ToolChoice::Required => Some("REQUIRED"),
        ToolChoice::Function(_) => {
            params::lose(request, Slot::ToolChoice, loss);
            Some("REQUIRED")
        }
    }
}

fn thinking(settings: &ReasoningSettings) -> Option<Thinking> {
    match (settings.effort.as_deref(), settings.budget_tokens) {
        (Some("none"), _) | (None, Some(0)) => Some(Thinking { r#type: "disabled", token_budget: None }),
        (_, budget @ Some(_)) => Some(Thinking { r#type: "enabled", token_budget: budget }),
        (Some(_), None) => Some(Thinking { r#type: "enabled", token_budget: None }),
        (None, None) => None,
    }
}

fn format(request: &ChatRequest) -> Result<Option<Format<'_>>, Error> {
    Ok(match &request.response_format {
        None | Some(ResponseFormat::Text) => None,
        Some(ResponseFormat::JsonObject) => Some(Format { r#type: "json_object", json_schema: None }),
        Some(ResponseFormat::JsonSchema { schema, .. }) => {
            let json_schema = schema.as_ref().map(|s| verbatim(s, "response_format")).transpose()?;
            Some(Format { r#type: "json_object", json_schema })
        }
    })
}

fn tools<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Result<Vec<Tool<'a>>, Error> {
    let mut tools = Vec::with_capacity(request.tools.len());
    for (at, tool) in request.tools.iter().enumerate() {
        let path = format!("tools[{at}]");
        let owned = |schema: String| {
            RawValue::from_string(schema)
                .map(Cow::Owned)
                .map_err(|e| Error::new(ErrorKind::Internal, "a fixed schema is broken").detail(e.to_string()))
        };
        let parameters = match (&tool.kind, &tool.parameters) {
            (ToolKind::Function, Some(schema)) => Cow::Borrowed(verbatim(schema, &path)?),
            // The provider demands a schema.
            (ToolKind::Function, None) => owned(r#"{"type":"object","properties":{}}"#.to_owned())?,
            (ToolKind::Custom { format }, _) => {
                if format.is_some() {
                    loss.advisory.push(format!("{path}.format"));
                }
                owned(format!(
                    r#"{{"type":"object","properties":{{"{CUSTOM_ARGUMENT}":{{"type":"string"}}}},"required":["{CUSTOM_ARGUMENT}"]}}"#
                ))?
            }
            // Reported with the loss.
            (ToolKind::Server { .. }, _) => continue,
        };
        if tool.strict == Some(true) {
            loss.advisory.push(format!("{path}.strict"));
        }
        let function = Function { name: tool.flat_name(), description: tool.description.as_deref(), parameters };
        tools.push(Tool { r#type: "function", function });
    }
    Ok(tools)
}

fn turn<'a>(message: &'a Message, at: usize, loss: &mut Loss) -> Result<Turn<'a>, Error> {
    let role = match message.role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    if message.name.as_ref().is_some_and(|name| !name.is_empty()) {
        loss.advisory.push(format!("messages[{at}].name"));
    }
    if message.tool_failed {
        // There is no flag for it; the text says what went wrong.
        loss.advisory.push(format!("messages[{at}].is_error"));
    }
    let mut parts = Vec::with_capacity(message.content.len());
    for (part_at, part) in message.content.iter().enumerate() {
        match part {
            Part::Text(text) | Part::Refusal(text) => parts.push(WirePart::Text { text }),
            Part::Image(media) if message.role == Role::User => {
                parts.push(WirePart::ImageUrl { image_url: ImageUrl { url: url(media, at, part_at)? } });
            }
            Part::Reasoning { .. } => loss.advisory.push(format!("messages[{at}].reasoning")),
            Part::CacheMark(_) => {}
            Part::Opaque { .. } if message.role == Role::Assistant => {
                loss.advisory.push(format!("messages[{at}].content[{part_at}]"));
            }
            Part::Image(_) | Part::Audio(_) | Part::File(_) | Part::Opaque { .. } => {
                return Err(no_equal(at, part_at, "this kind of content cannot be sent to this provider"));
            }
        }
    }
    let content = match parts.as_slice() {
        [] if message.role == Role::Assistant && !message.tool_calls.is_empty() => None,
        [] => Some(Content::Text(Cow::Borrowed(""))),
        [WirePart::Text { text }] => Some(Content::Text(Cow::Borrowed(*text))),
        _ => Some(Content::Parts(parts)),
    };
    let tool_calls = message.tool_calls.iter().map(call).collect();
    Ok(Turn { role, content, tool_calls, tool_call_id: message.tool_call_id.as_deref() })
}

fn url(media: &Media, at: usize, part_at: usize) -> Result<Cow<'_, str>, Error> {
    match &media.source {
        MediaSource::Url(url) => Ok(Cow::Borrowed(url)),
        MediaSource::Base64 { media_type, data } => Ok(Cow::Owned(format!("data:{media_type};base64,{data}"))),
        MediaSource::Stored { .. } => Err(no_equal(at, part_at, "an uploaded image cannot be sent to this provider")),
    }
}

fn call(call: &ToolCall) -> Call<'_> {
    let arguments = if call.custom {
        Cow::Owned(format!("{{\"{CUSTOM_ARGUMENT}\":{}}}", quote(&call.arguments)))
    } else if call.arguments.trim().is_empty() {
        Cow::Borrowed("{}")
    } else {
        Cow::Borrowed(call.arguments.as_str())
    };
    Call { id: &call.id, r#type: "function", function: CallFunction { name: &call.name, arguments } }
}

fn verbatim<'a>(json: &'a Json, param: &str) -> Result<&'a RawValue, Error> {
    serde_json::from_str(json.as_str())
        .map_err(|_| Error::new(ErrorKind::InvalidRequest, "this is not well-formed JSON").param(param))
}

fn no_equal(at: usize, part_at: usize, message: &'static str) -> Error {
    let param = format!("messages[{at}].content[{part_at}]");
    Error::new(ErrorKind::UnsupportedParameter, message).param(param)
}
