//! A canonical request in this dialect, for providers of it and clients of others.
//!
//! System and developer turns are items at their own place, not `instructions`: some providers refuse that member, and
//! a turn in the middle of a conversation has no other place. Nothing is stored at the provider: thinking travels with
//! the client, encrypted.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::params::carries;
use super::tools::{self, WireChoice, WireTool};
use super::turns::{self, ItemOut};
use crate::dialect::common;
use crate::dialect::params::{self, Slot};
use crate::dialect::places;
use crate::dialect::{Destination, Quirks};
use crate::domain::chat::{ChatRequest, Json, Loss, Part, ReasoningSettings, ResponseFormat};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::DialectId;

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: Vec<ItemOut<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<WireChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<&'static str>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<bool>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

#[derive(Serialize)]
struct Text<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a str>,
}

#[derive(Serialize)]
struct Format<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
struct Reasoning<'a> {
    effort: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'static str>,
}

/// Members without a canonical place that mean the same in the sibling dialects of one house; sent where the provider
/// takes them.
const PASSED: [&str; 4] = ["safety_identifier", "prompt_cache_retention", "prompt_cache_options", "truncation"];

/// Whether the provider's catalogue file says that it takes something that not every provider of the dialect takes.
pub(super) fn takes(quirks: &Quirks, name: &str) -> bool {
    quirks.takes.iter().any(|taken| taken == name)
}

/// Encodes a canonical request.
pub(super) fn request(request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
    let quirks = to.quirks;
    let mut loss = Loss::default();
    let passed = |name: &str| takes(quirks, name) && PASSED.contains(&name);
    params::report(request, &carries, &passed, &mut loss);
    params::lose_server_tools(request, Some(DialectId::OpenAiResponses), &mut loss);
    let marked = request.messages.iter().flat_map(|m| &m.content).any(|part| matches!(part, Part::CacheMark(_)));
    if !takes(quirks, turns::BREAKPOINT) && marked || request.tools.iter().any(|tool| tool.cache.is_some()) {
        params::lose(request, Slot::CacheMarks, &mut loss);
    }
    let unknown = |settings: &ReasoningSettings| settings.effort.is_some() && effort(settings).is_none();
    if request.reasoning.as_ref().is_some_and(unknown) {
        params::lose(request, Slot::Reasoning, &mut loss);
    }
    let tools = tools::encode(request).map_err(|at| {
        let message = "a tool holds what is not well-formed JSON";
        Error::new(ErrorKind::InvalidRequest, message).param(places::tool(at))
    })?;
    let (format, instruction) = format(request, quirks)?;
    let verbosity = request.verbosity.as_deref();
    let s = &request.sampling;
    let wire = Request {
        model: to.model,
        input: turns::encode(request, instruction, quirks, &mut loss)?,
        tool_choice: tools::encode_choice(request).filter(|_| !tools.is_empty()),
        parallel_tool_calls: request.parallel_tool_calls.filter(|_| !tools.is_empty()),
        tools,
        text: (format.is_some() || verbosity.is_some()).then_some(Text { format, verbosity }),
        max_output_tokens: request.max_output_tokens.or(to.max_output),
        temperature: s.temperature,
        top_p: s.top_p,
        top_logprobs: s.top_logprobs,
        reasoning: request.reasoning.as_ref().and_then(effort).map(|effort| Reasoning {
            effort,
            summary: (takes(quirks, "reasoning.summary") && effort != "none" && !request.hide_thinking)
                .then_some("auto"),
        }),
        include: include(request),
        user: request.user.as_deref(),
        service_tier: service_tier(request, &mut loss),
        metadata: raw(request.metadata.as_ref(), "metadata")?,
        prompt_cache_key: request.prompt_cache_key.as_deref(),
        extra: request.extra.iter().filter(|(name, _)| passed(name)).map(|(n, v)| (n.as_str(), v)).collect(),
        store: Some(false),
        stream: request.stream,
    };
    let wire = without(wire, &quirks.drop);
    let body = serde_json::to_vec(&wire)
        .map_err(|e| Error::new(ErrorKind::Internal, "the request could not be encoded").detail(e.to_string()))?;
    Ok((Bytes::from(body), loss))
}

/// What is to be told beyond the text. Models that do not think refuse to tell their thinking, so it is asked for only
/// where thinking was.
fn include(request: &ChatRequest) -> Vec<&'static str> {
    let thinks = request.reasoning.as_ref().and_then(effort).is_some_and(|effort| effort != "none");
    let thought = request.messages.iter().flat_map(|m| &m.content).any(
        |part| matches!(part, Part::Reasoning { signature: Some(s), .. } if s.of(DialectId::OpenAiResponses).is_some()),
    );
    let mut include = Vec::new();
    if thinks || thought {
        include.push("reasoning.encrypted_content");
    }
    if request.sampling.logprobs == Some(true) {
        include.push("message.output_text.logprobs");
    }
    include
}

/// The format, and what the model must be told where the provider only promises some JSON: then the schema is given in
/// words.
fn format<'a>(request: &'a ChatRequest, quirks: &Quirks) -> Result<(Option<Format<'a>>, Option<String>), Error> {
    let plain = |r#type| Format { r#type, name: None, description: None, schema: None, strict: None };
    Ok(match request.response_format.as_ref() {
        None => (None, None),
        Some(ResponseFormat::Text) => (Some(plain("text")), None),
        Some(ResponseFormat::JsonObject) => {
            let words = (!common::speaks_of_json(request)).then(|| common::ANY_JSON.to_owned());
            (Some(plain("json_object")), words)
        }
        Some(ResponseFormat::JsonSchema { schema, .. }) if quirks.json_schema_in_words => {
            let words = common::schema_in_words(schema.as_ref());
            (Some(plain("json_object")), Some(words))
        }
        Some(ResponseFormat::JsonSchema { name, description, schema, strict }) => {
            let name = if name.is_empty() { "answer" } else { name };
            let schema = raw(schema.as_ref(), params::name_of(request.source, Slot::ResponseFormat))?;
            let description = description.as_deref();
            let r#type = "json_schema";
            (Some(Format { r#type, name: Some(name), description, schema, strict: *strict }), None)
        }
    })
}

/// Words for how much to think.
const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// A word as it is; a budget becomes the word whose usual budget is nearest.
fn effort(settings: &ReasoningSettings) -> Option<&str> {
    match (settings.effort.as_deref(), settings.budget_tokens) {
        (Some(word), _) => Some(word).filter(|word| EFFORTS.contains(word)),
        (None, Some(0)) => Some("none"),
        (None, Some(..=1024)) => Some("minimal"),
        (None, Some(..=4096)) => Some("low"),
        (None, Some(..=16_384)) => Some("medium"),
        (None, Some(_)) => Some("high"),
        (None, None) => None,
    }
}

/// Tiers change price and speed, not the answer.
fn service_tier<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Option<&'a str> {
    let tier = request.service_tier.as_deref()?;
    let known = ["auto", "default", "flex", "scale", "priority"].contains(&tier);
    if !known {
        params::lose(request, Slot::ServiceTier, loss);
    }
    known.then_some(tier)
}

/// Members that the provider refuses, from its catalogue file.
fn without<'a>(mut wire: Request<'a>, drop: &[String]) -> Request<'a> {
    for member in drop {
        match member.as_str() {
            "temperature" => wire.temperature = None,
            "top_p" => wire.top_p = None,
            "top_logprobs" => wire.top_logprobs = None,
            "parallel_tool_calls" => wire.parallel_tool_calls = None,
            "reasoning" => wire.reasoning = None,
            "include" => wire.include.clear(),
            "user" => wire.user = None,
            "service_tier" => wire.service_tier = None,
            "metadata" => wire.metadata = None,
            "prompt_cache_key" => wire.prompt_cache_key = None,
            "store" => wire.store = None,
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
