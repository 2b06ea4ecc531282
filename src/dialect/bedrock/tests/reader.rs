//! Reads a request of this dialect into the canonical model: no client speaks it, but recorded requests do.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use super::*;
use crate::domain::chat::{
    CacheMark, Json, Media, MediaSource, Message, ResponseFormat, Role, Signature, Tool, ToolCall, ToolChoice, ToolKind,
};
use crate::domain::id::DialectId;

/// JSON by value, for comparison.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Any {
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Any>),
    Map(BTreeMap<String, Any>),
    Null,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request<'a> {
    #[serde(borrow, default)]
    system: Vec<&'a RawValue>,
    #[serde(borrow)]
    messages: Vec<Turn<'a>>,
    #[serde(default)]
    inference_config: InferenceConfig,
    #[serde(borrow, default)]
    tool_config: Option<ToolConfig<'a>>,
    #[serde(borrow, default)]
    additional_model_request_fields: BTreeMap<&'a str, &'a RawValue>,
    #[serde(default)]
    output_config: Option<OutputConfig>,
    #[serde(borrow, default, rename = "guardrailConfig")]
    _guardrail_config: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Turn<'a> {
    role: &'a str,
    #[serde(borrow)]
    content: Vec<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InferenceConfig {
    max_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    #[serde(default)]
    stop_sequences: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToolConfig<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
    #[serde(default)]
    tool_choice: Option<BTreeMap<String, Named>>,
}

#[derive(Default, Deserialize)]
struct Named {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OneTool<'a> {
    #[serde(borrow)]
    tool_spec: Option<ToolSpec<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToolSpec<'a> {
    name: String,
    description: Option<String>,
    #[serde(borrow)]
    input_schema: BTreeMap<&'a str, &'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OutputConfig {
    text_format: TextFormat,
}

#[derive(Deserialize)]
struct TextFormat {
    structure: Structure,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Structure {
    json_schema: JsonSchema,
}

#[derive(Deserialize)]
struct JsonSchema {
    schema: String,
    name: String,
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Block<'a> {
    Text(String),
    #[serde(borrow)]
    Image(WireMedia<'a>),
    #[serde(borrow)]
    Document(WireMedia<'a>),
    #[serde(borrow)]
    ToolUse(ToolUse<'a>),
    #[serde(borrow)]
    ToolResult(ToolResult<'a>),
    ReasoningContent(Reasoning),
    CachePoint(CachePoint),
    #[serde(borrow)]
    Json(&'a RawValue),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireMedia<'a> {
    format: &'a str,
    name: Option<String>,
    #[serde(borrow)]
    source: BTreeMap<&'a str, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToolUse<'a> {
    tool_use_id: String,
    name: String,
    #[serde(borrow)]
    input: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ToolResult<'a> {
    tool_use_id: String,
    #[serde(borrow)]
    content: Vec<&'a RawValue>,
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Reasoning {
    reasoning_text: Signed,
}

#[derive(Deserialize)]
struct Signed {
    text: String,
    signature: String,
}

#[derive(Deserialize)]
struct CachePoint {
    ttl: Option<String>,
}

/// The canonical request that a recorded one stands for.
pub(super) fn read(body: &str) -> ChatRequest {
    let wire: Request<'_> = serde_json::from_str(body).unwrap();
    let mut request = ChatRequest::default();
    if !wire.system.is_empty() {
        let content = wire.system.iter().map(|raw| part(raw)).collect();
        request.messages.push(Message::new(Role::System, content));
    }
    for turn in &wire.messages {
        turns(turn, &mut request.messages);
    }
    let config = wire.inference_config;
    request.max_output_tokens = config.max_tokens;
    request.sampling.temperature = config.temperature;
    request.sampling.top_p = config.top_p;
    request.sampling.stop = config.stop_sequences;
    for (name, raw) in wire.additional_model_request_fields {
        match name {
            "thinking" | "reasoning_config" => request.extra.push(("thinking".to_owned(), Json::new(raw.get()))),
            "inferenceConfig" => {
                let inner: BTreeMap<&str, u32> = serde_json::from_str(raw.get()).unwrap();
                request.sampling.top_k = inner.get("topK").copied();
            }
            _ => panic!("{name}"),
        }
    }
    if let Some(config) = wire.tool_config {
        request.tools = config.tools.iter().map(|raw| tool(raw)).collect();
        request.tool_choice = config.tool_choice.map(|choice| match choice.into_iter().next().unwrap() {
            (kind, Named { name: Some(name) }) if kind == "tool" => ToolChoice::Function(name),
            (kind, _) if kind == "any" => ToolChoice::Required,
            _ => ToolChoice::Auto,
        });
    }
    request.response_format = wire.output_config.map(|config| {
        let JsonSchema { schema, name, description } = config.text_format.structure.json_schema;
        ResponseFormat::JsonSchema { name, description, schema: Some(Json::new(schema)), strict: None }
    });
    request
}

/// One turn becomes several where it holds results of tools.
fn turns(turn: &Turn<'_>, messages: &mut Vec<Message>) {
    let role = if turn.role == "assistant" { Role::Assistant } else { Role::User };
    let mut said = Message::new(role, Vec::new());
    for raw in &turn.content {
        match serde_json::from_str::<Block<'_>>(raw.get()) {
            Ok(Block::ToolUse(call)) => {
                said.tool_calls.push(ToolCall::new(call.tool_use_id, call.name, call.input.get()))
            }
            Ok(Block::ToolResult(result)) => messages.push(Message {
                tool_call_id: Some(result.tool_use_id),
                tool_failed: result.status.as_deref() == Some("error"),
                ..Message::new(Role::Tool, result.content.iter().map(|raw| part(raw)).collect())
            }),
            _ => said.content.push(part(raw)),
        }
    }
    messages.push(said);
}

fn part(raw: &RawValue) -> Part {
    let media = |media: WireMedia<'_>, prefix: &str| Media {
        source: MediaSource::Base64 {
            media_type: format!("{prefix}/{}", media.format),
            data: media.source.get("bytes").unwrap().clone(),
        },
        media_type: None,
        detail: None,
        name: media.name,
    };
    match serde_json::from_str::<Block<'_>>(raw.get()) {
        Ok(Block::Text(text)) => Part::Text(text),
        Ok(Block::Image(image)) => Part::Image(media(image, "image")),
        Ok(Block::Document(document)) => Part::File(media(document, "application")),
        Ok(Block::ReasoningContent(Reasoning { reasoning_text: Signed { text, signature } })) => {
            Part::Reasoning { text, signature: Some(Signature::new(DialectId::Bedrock, signature)) }
        }
        Ok(Block::CachePoint(point)) => Part::CacheMark(CacheMark { ttl: point.ttl }),
        // Tools answer in text elsewhere.
        Ok(Block::Json(json)) => Part::Text(json.get().to_owned()),
        _ => Part::Opaque { dialect: DIALECT, raw: Json::new(raw.get()) },
    }
}

fn tool(raw: &RawValue) -> Tool {
    match serde_json::from_str::<OneTool<'_>>(raw.get()).unwrap().tool_spec {
        Some(spec) => Tool {
            name: spec.name,
            description: spec.description,
            parameters: Some(Json::new(spec.input_schema.get("json").unwrap().get())),
            ..Tool::default()
        },
        None => {
            let kind = ToolKind::Server { origin: DialectId::Bedrock, raw: Json::new(raw.get()) };
            Tool { kind, ..Tool::default() }
        }
    }
}
