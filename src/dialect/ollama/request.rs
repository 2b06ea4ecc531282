//! The request. Arguments of calls are objects here, images bare base64, and results of tools name their function.

use std::borrow::Cow;
use std::collections::HashMap;

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
    format: Option<Cow<'a, RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<Think<'a>>,
    options: Options<'a>,
    /// Absent means true there.
    stream: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Think<'a> {
    Switch(bool),
    Level(&'a str),
}

#[derive(Serialize)]
struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<u64>,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: Cow<'a, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
}

#[derive(Serialize)]
struct Call<'a> {
    function: CallFunction<'a>,
}

#[derive(Serialize)]
struct CallFunction<'a> {
    name: &'a str,
    arguments: Box<RawValue>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Cow<'a, RawValue>>,
}

/// Encodes a canonical request.
pub(super) fn encode(request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
    let mut loss = Loss::default();
    params::report(request, &|slot| super::Ollama.carries(slot), &|_| false, &mut loss);
    params::lose_server_tools(request, None, &mut loss);
    if matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Function(_))) {
        params::lose(request, Slot::ToolChoice, &mut loss);
    }
    let s = &request.sampling;
    let calls = request.messages.iter().flat_map(|m| &m.tool_calls);
    let names: HashMap<&str, &str> = calls.map(|call| (call.id.as_str(), call.name.as_str())).collect();
    let turns = request.messages.iter().enumerate().map(|(at, message)| turn(message, at, &names, &mut loss));
    let messages = turns.collect::<Result<_, _>>()?;
    let none = request.tool_choice == Some(ToolChoice::None);
    let wire = Request {
        model: to.model,
        messages,
        tools: if none { Vec::new() } else { tools(request, &mut loss)? },
        format: format(request)?,
        think: request.reasoning.as_ref().and_then(|r| think(request, r, &mut loss)),
        options: Options {
            temperature: s.temperature,
            top_p: s.top_p,
            top_k: s.top_k.filter(|k| *k != 0),
            min_p: s.min_p.filter(|p| *p != 0.0),
            frequency_penalty: s.frequency_penalty,
            presence_penalty: s.presence_penalty,
            seed: s.seed,
            stop: &s.stop,
            num_predict: request.max_output_tokens.or(to.max_output),
        },
        stream: request.stream,
    };
    let body = serde_json::to_vec(&wire)
        .map_err(|e| Error::new(ErrorKind::Internal, "the request could not be encoded").detail(e.to_string()))?;
    Ok((Bytes::from(body), loss))
}

fn think<'a>(request: &ChatRequest, settings: &'a ReasoningSettings, loss: &mut Loss) -> Option<Think<'a>> {
    match (settings.effort.as_deref(), settings.budget_tokens) {
        (Some("none"), _) | (None, Some(0)) => Some(Think::Switch(false)),
        (Some(word @ ("low" | "medium" | "high")), _) => Some(Think::Level(word)),
        (Some("minimal"), _) => Some(Think::Level("low")),
        (Some("xhigh" | "max"), _) => Some(Think::Level("high")),
        (None, Some(_)) => Some(Think::Switch(true)),
        (Some(_), _) => {
            params::lose(request, Slot::Reasoning, loss);
            None
        }
        (None, None) => None,
    }
}

fn format(request: &ChatRequest) -> Result<Option<Cow<'_, RawValue>>, Error> {
    let broken = |_| Error::new(ErrorKind::InvalidRequest, "this is not well-formed JSON").param("response_format");
    Ok(match &request.response_format {
        Some(ResponseFormat::JsonSchema { schema: Some(schema), .. }) => {
            Some(Cow::Borrowed(serde_json::from_str(schema.as_str()).map_err(broken)?))
        }
        Some(ResponseFormat::JsonObject | ResponseFormat::JsonSchema { schema: None, .. }) => {
            Some(Cow::Owned(RawValue::from_string("\"json\"".to_owned()).map_err(broken)?))
        }
        None | Some(ResponseFormat::Text) => None,
    })
}

fn tools<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Result<Vec<Tool<'a>>, Error> {
    let mut tools = Vec::with_capacity(request.tools.len());
    for (at, tool) in request.tools.iter().enumerate() {
        let path = format!("tools[{at}]");
        let parameters = match &tool.kind {
            ToolKind::Function => tool.parameters.as_ref().map(|p| verbatim(p, &path)).transpose()?.map(Cow::Borrowed),
            ToolKind::Custom { format } => {
                if format.is_some() {
                    loss.advisory.push(format!("{path}.format"));
                }
                let schema = format!(
                    r#"{{"type":"object","properties":{{"{CUSTOM_ARGUMENT}":{{"type":"string"}}}},"required":["{CUSTOM_ARGUMENT}"]}}"#
                );
                RawValue::from_string(schema).ok().map(Cow::Owned)
            }
            // Reported with the loss.
            ToolKind::Server { .. } => continue,
        };
        if tool.strict == Some(true) {
            loss.advisory.push(format!("{path}.strict"));
        }
        let function = Function { name: tool.flat_name(), description: tool.description.as_deref(), parameters };
        tools.push(Tool { r#type: "function", function });
    }
    Ok(tools)
}

fn turn<'a>(
    message: &'a Message,
    at: usize,
    names: &HashMap<&'a str, &'a str>,
    loss: &mut Loss,
) -> Result<Turn<'a>, Error> {
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
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for (part_at, part) in message.content.iter().enumerate() {
        match part {
            Part::Text(text) | Part::Refusal(text) => texts.push(text.as_str()),
            Part::Image(media) => images.push(image(media, at, part_at)?),
            Part::Reasoning { .. } => loss.advisory.push(format!("messages[{at}].reasoning")),
            Part::CacheMark(_) => {}
            Part::Opaque { .. } if message.role == Role::Assistant => {
                loss.advisory.push(format!("messages[{at}].content[{part_at}]"));
            }
            Part::Audio(_) | Part::File(_) | Part::Opaque { .. } => {
                return Err(no_equal(at, part_at, "this kind of content cannot be sent to this provider"));
            }
        }
    }
    let content = match texts.as_slice() {
        [one] => Cow::Borrowed(*one),
        many => Cow::Owned(many.join("\n")),
    };
    let calls = message.tool_calls.iter().enumerate().map(|(number, call)| self::call(call, at, number));
    let tool_name = message.tool_call_id.as_deref().and_then(|id| names.get(id).copied());
    Ok(Turn { role, content, images, tool_calls: calls.collect::<Result<_, _>>()?, tool_name })
}

fn image(media: &Media, at: usize, part_at: usize) -> Result<&str, Error> {
    match &media.source {
        MediaSource::Base64 { data, .. } => Ok(data),
        MediaSource::Url(_) | MediaSource::Stored { .. } => {
            Err(no_equal(at, part_at, "this provider takes images inline only"))
        }
    }
}

fn call(call: &ToolCall, at: usize, number: usize) -> Result<Call<'_>, Error> {
    let text = if call.custom {
        format!("{{\"{CUSTOM_ARGUMENT}\":{}}}", quote(&call.arguments))
    } else if call.arguments.trim().is_empty() {
        "{}".to_owned()
    } else {
        call.arguments.clone()
    };
    let arguments = RawValue::from_string(text).ok().filter(|raw| raw.get().starts_with('{'));
    let arguments = arguments.ok_or_else(|| {
        let param = format!("messages[{at}].tool_calls[{number}].function.arguments");
        Error::new(ErrorKind::InvalidRequest, "the arguments of a call must be a JSON object").param(param)
    })?;
    Ok(Call { function: CallFunction { name: &call.name, arguments } })
}

fn verbatim<'a>(json: &'a Json, param: &str) -> Result<&'a RawValue, Error> {
    serde_json::from_str(json.as_str())
        .map_err(|_| Error::new(ErrorKind::InvalidRequest, "this is not well-formed JSON").param(param))
}

fn no_equal(at: usize, part_at: usize, message: &'static str) -> Error {
    let param = format!("messages[{at}].content[{part_at}]");
    Error::new(ErrorKind::UnsupportedParameter, message).param(param)
}
