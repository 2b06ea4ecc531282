//! A canonical request as Chat Completions, for providers of this dialect and clients of others.
//!
//! Only members that every imitator takes are written freely; the others (`top_k`, `metadata`, `verbosity`, ...) go
//! out where the provider's catalogue file lists them, and are reported as lost elsewhere.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::turns::{self, Turn};
use crate::dialect::common;
use crate::dialect::params::{self, Slot};
use crate::dialect::places;
use crate::dialect::{Destination, Quirks, StreamUsage};
use crate::domain::chat::{
    CUSTOM_ARGUMENT, ChatRequest, Json, Loss, ReasoningSettings, ResponseFormat, Tool, ToolChoice, ToolKind,
};
use crate::domain::error::{Error, ErrorKind};

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
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
    logit_bias: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(flatten, serialize_with = "extras")]
    extra: Vec<(&'a str, &'a Json)>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct WireTool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Word(&'static str),
    Function { r#type: &'static str, function: Named<'a> },
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Format<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<Schema<'a>>,
}

#[derive(Serialize)]
struct Schema<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

/// The schema of the function that stands for a custom tool.
const CUSTOM_SCHEMA: &str =
    r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;

/// Encodes a canonical request.
pub(super) fn request(request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
    let quirks = to.quirks;
    let mut loss = Loss::default();
    let passed = |name: &str| takes(quirks, name) && PASSED.contains(&name);
    params::report(request, &super::params::carries, &passed, &mut loss);
    params::lose_server_tools(request, None, &mut loss);
    let s = &request.sampling;
    let limit = request.max_output_tokens.or(to.max_output);
    let completion = quirks.max_output_member.as_deref() == Some("max_completion_tokens");
    let tools = tools(request, &mut loss)?;
    let (format, instruction) = response_format(request, quirks)?;
    let mut optional = Optional { request, quirks, loss: &mut loss };
    let (top_k, min_p) = (s.top_k.filter(|k| *k != 0), s.min_p.filter(|p| *p != 0.0));
    let verbosity = request.verbosity.as_deref().filter(|v| *v != "medium");
    let wire = Request {
        model: to.model,
        top_k: optional.take("top_k", Slot::TopK, top_k),
        min_p: optional.take("min_p", Slot::MinP, min_p),
        verbosity: optional.take("verbosity", Slot::Verbosity, verbosity),
        service_tier: optional.take("service_tier", Slot::ServiceTier, request.service_tier.as_deref()),
        metadata: optional.take("metadata", Slot::Metadata, raw(request.metadata.as_ref(), "metadata")?),
        prompt_cache_key: optional.take("prompt_cache_key", Slot::PromptCacheKey, request.prompt_cache_key.as_deref()),
        messages: turns::encode(request, instruction, quirks, &mut loss)?,
        tool_choice: choice(request).filter(|_| !tools.is_empty()),
        parallel_tool_calls: request.parallel_tool_calls.filter(|_| !tools.is_empty()),
        tools,
        response_format: format,
        max_tokens: limit.filter(|_| !completion),
        max_completion_tokens: limit.filter(|_| completion),
        temperature: s.temperature,
        top_p: s.top_p,
        frequency_penalty: s.frequency_penalty,
        presence_penalty: s.presence_penalty,
        seed: s.seed,
        stop: &s.stop,
        logit_bias: raw(s.logit_bias.as_ref(), "logit_bias")?,
        logprobs: s.logprobs,
        top_logprobs: s.top_logprobs.filter(|n| *n > 0),
        n: s.n.filter(|n| *n != 1),
        reasoning_effort: request.reasoning.as_ref().and_then(effort),
        user: request.user.as_deref(),
        extra: request.extra.iter().filter(|(name, _)| passed(name)).map(|(n, v)| (n.as_str(), v)).collect(),
        stream: request.stream,
        stream_options: (request.stream && quirks.stream_usage == StreamUsage::Option)
            .then_some(StreamOptions { include_usage: true }),
    };
    let wire = without(wire, &quirks.drop);
    let body = serde_json::to_vec(&wire)
        .map_err(|e| Error::new(ErrorKind::Internal, "the request could not be encoded").detail(e.to_string()))?;
    Ok((Bytes::from(body), loss))
}

/// Members without a canonical place that mean the same in the sibling dialects of one house; sent where the provider
/// takes them.
const PASSED: [&str; 6] =
    ["store", "safety_identifier", "prompt_cache_retention", "prediction", "modalities", "web_search_options"];

fn takes(quirks: &Quirks, name: &str) -> bool {
    quirks.takes.iter().any(|taken| taken == name)
}

/// Members that only some providers take.
struct Optional<'a, 'l> {
    request: &'a ChatRequest,
    quirks: &'a Quirks,
    loss: &'l mut Loss,
}

impl Optional<'_, '_> {
    fn take<T>(&mut self, member: &str, slot: Slot, value: Option<T>) -> Option<T> {
        if value.is_some() && !takes(self.quirks, member) {
            params::lose(self.request, slot, self.loss);
            return None;
        }
        value
    }
}

fn tools<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Result<Vec<WireTool<'a>>, Error> {
    let mut tools = Vec::with_capacity(request.tools.len());
    for (at, tool) in request.tools.iter().enumerate() {
        let parameters = match &tool.kind {
            ToolKind::Function => raw(tool.parameters.as_ref(), &places::tool_member(at, "parameters"))?,
            ToolKind::Custom { format } => {
                if format.is_some() {
                    // The grammar is told in the description by those who write such tools; it is not enforced here.
                    loss.advisory.push(places::tool_member(at, "format"));
                }
                Some(custom_schema()?)
            }
            ToolKind::Server { .. } => continue,
        };
        tools.push(WireTool { r#type: "function", function: function(tool, parameters) });
    }
    Ok(tools)
}

fn function<'a>(tool: &'a Tool, parameters: Option<&'a RawValue>) -> Function<'a> {
    let description = tool.description.as_deref();
    Function { name: tool.flat_name(), description, parameters, strict: tool.strict }
}

fn custom_schema() -> Result<&'static RawValue, Error> {
    debug_assert!(CUSTOM_SCHEMA.contains(CUSTOM_ARGUMENT));
    serde_json::from_str(CUSTOM_SCHEMA)
        .map_err(|e| Error::new(ErrorKind::Internal, "a fixed schema is broken").detail(e.to_string()))
}

fn choice(request: &ChatRequest) -> Option<Choice<'_>> {
    Some(match request.tool_choice.as_ref()? {
        ToolChoice::Auto => Choice::Word("auto"),
        ToolChoice::None => Choice::Word("none"),
        ToolChoice::Required => Choice::Word("required"),
        ToolChoice::Function(name) => Choice::Function { r#type: "function", function: Named { name } },
    })
}

/// The format, and what the model must be told where the provider only promises some JSON: then the schema is given in
/// words. They all refuse `json_object` unless the word occurs in the prompt.
fn response_format<'a>(
    request: &'a ChatRequest,
    quirks: &Quirks,
) -> Result<(Option<Format<'a>>, Option<String>), Error> {
    Ok(match request.response_format.as_ref() {
        None | Some(ResponseFormat::Text) => (None, None),
        Some(ResponseFormat::JsonObject) => {
            let words = (!common::speaks_of_json(request)).then(|| common::ANY_JSON.to_owned());
            (Some(Format { r#type: "json_object", json_schema: None }), words)
        }
        Some(ResponseFormat::JsonSchema { schema, .. }) if quirks.json_schema_in_words => {
            let words = common::schema_in_words(schema.as_ref());
            (Some(Format { r#type: "json_object", json_schema: None }), Some(words))
        }
        Some(ResponseFormat::JsonSchema { name, description, schema, strict }) => {
            let name = if name.is_empty() { "answer" } else { name };
            let schema = raw(schema.as_ref(), "response_format.json_schema.schema")?;
            let schema = Schema { name, description: description.as_deref(), schema, strict: *strict };
            (Some(Format { r#type: "json_schema", json_schema: Some(schema) }), None)
        }
    })
}

/// A word as it is; a budget becomes the word whose usual budget is nearest.
fn effort(settings: &ReasoningSettings) -> Option<&str> {
    match (settings.effort.as_deref(), settings.budget_tokens) {
        (Some(word), _) => Some(word),
        (None, Some(0)) => Some("none"),
        (None, Some(..=1024)) => Some("minimal"),
        (None, Some(..=4096)) => Some("low"),
        (None, Some(..=16_384)) => Some("medium"),
        (None, Some(_)) => Some("high"),
        (None, None) => None,
    }
}

/// Members that the provider refuses, from its catalogue file.
fn without<'a>(mut wire: Request<'a>, drop: &[String]) -> Request<'a> {
    for member in drop {
        match member.as_str() {
            "temperature" => wire.temperature = None,
            "top_p" => wire.top_p = None,
            "frequency_penalty" => wire.frequency_penalty = None,
            "presence_penalty" => wire.presence_penalty = None,
            "seed" => wire.seed = None,
            "logit_bias" => wire.logit_bias = None,
            "logprobs" => wire.logprobs = None,
            "top_logprobs" => wire.top_logprobs = None,
            "parallel_tool_calls" => wire.parallel_tool_calls = None,
            "reasoning_effort" => wire.reasoning_effort = None,
            "user" => wire.user = None,
            "stream_options" => wire.stream_options = None,
            _ => {}
        }
    }
    wire
}

/// JSON text for the wire, checked: one bad stretch would spoil the whole body.
pub(super) fn raw<'a>(json: Option<&'a Json>, param: &str) -> Result<Option<&'a RawValue>, Error> {
    let check = |json: &'a Json| {
        serde_json::from_str(json.as_str())
            .map_err(|_| Error::new(ErrorKind::InvalidRequest, "this is not well-formed JSON").param(param))
    };
    json.map(check).transpose()
}

fn extras<S: serde::Serializer>(extra: &[(&str, &Json)], serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::{Error as _, SerializeMap as _};
    let mut map = serializer.serialize_map(Some(extra.len()))?;
    for (name, value) in extra {
        let value: &RawValue = serde_json::from_str(value.as_str()).map_err(S::Error::custom)?;
        map.serialize_entry(name, value)?;
    }
    map.end()
}
