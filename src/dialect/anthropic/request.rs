//! The request: parameters, tools and thinking; the conversation is in `turns`.
//!
//! How much to think, and what gives way to what, is in `thinking`.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::params::carries;
use super::types::{AnyTool, CacheControl, Content, Metadata, OutputConfig, OutputFormat, Request, Tool, ToolChoice};
use super::{schema, thinking, turns};
use crate::dialect::claude;
use crate::dialect::common;
use crate::dialect::effort;
use crate::dialect::params::{self, Slot};
use crate::dialect::places;
use crate::dialect::{Destination, Envelope};
use crate::domain::chat::{ChatRequest, Loss, ResponseFormat, ToolChoice as Choice, ToolKind};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::DialectId;
use crate::wire::splice::quote;

/// Longest name of an end user, in characters.
const MAX_USER: usize = 256;

/// Encodes a canonical request.
pub(super) fn encode(request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
    let mut loss = Loss::default();
    // `thinking` is read where the budget is decided.
    params::report(request, &carries, &|name| name == "thinking", &mut loss);
    params::lose_server_tools(request, Some(DialectId::Anthropic), &mut loss);
    let max_tokens = request.max_output_tokens.unwrap_or(to.default_max_output);
    let mut conversation = turns::encode(request, &mut loss)?;
    if claude::asks_to_go_on(request, to, conversation.turns.last().map(|turn| turn.role), &mut loss)? {
        conversation.ask(claude::GO_ON);
    }
    if request.response_format == Some(ResponseFormat::JsonObject) {
        conversation.system.push(super::types::Block::Text { text: common::ANY_JSON, cache_control: None });
    }
    let resumes = turns::resumes_without_thinking(&conversation.turns);
    let told = thinking::tell(request, to, max_tokens, resumes, &mut loss);
    let mut wire = Request {
        model: to.model,
        max_tokens,
        system: match conversation.system.as_slice() {
            [] => None,
            [super::types::Block::Text { text, cache_control: None }] => Some(Content::Text(text)),
            _ => Some(Content::Blocks(conversation.system)),
        },
        messages: conversation.turns,
        tools: tools(request, &mut loss)?,
        tool_choice: None,
        thinking: None,
        output_config: output_config(request, told.effort, &mut loss)?,
        temperature: None,
        top_p: None,
        top_k: None,
        stop_sequences: stop_sequences(request, &mut loss),
        metadata: metadata(request, &mut loss),
        service_tier: service_tier(request, &mut loss),
        stream: request.stream,
    };
    wire.tool_choice = tool_choice(request, told.thinking.is_some(), &mut loss);
    sample(request, told.thinking.is_some(), thinking::samples(to), &mut wire, &mut loss)?;
    wire.thinking = told.thinking;
    for member in &to.quirks.drop {
        drop_member(&mut wire, member);
    }
    let body = serde_json::to_vec(&wire)
        .map_err(|e| Error::new(ErrorKind::Internal, "the request could not be encoded").detail(e.to_string()))?;
    Ok((Bytes::from(body), loss))
}

/// `samples`: the model takes such parameters at all.
fn sample<'a>(
    request: &'a ChatRequest,
    thinking: bool,
    samples: bool,
    wire: &mut Request<'a>,
    loss: &mut Loss,
) -> Result<(), Error> {
    let s = &request.sampling;
    // 1 is the provider's own default for both; newer models refuse the two together, so defaults stay home.
    let temperature = s.temperature.filter(|t| *t != 1.0);
    let top_p = s.top_p.filter(|p| *p != 1.0);
    let top_k = s.top_k.filter(|k| *k != 0);
    if temperature.is_some_and(|t| !(0.0..=1.0).contains(&t)) {
        let message = "this provider takes temperatures from 0 to 1";
        let name = params::name_of(request.source, Slot::Temperature);
        return Err(Error::new(ErrorKind::UnsupportedParameter, message).param(name));
    }
    if samples && !thinking {
        (wire.temperature, wire.top_p, wire.top_k) = (temperature, top_p, top_k);
        return Ok(());
    }
    wire.top_p = top_p.filter(|p| samples && *p >= effort::LEAST_TOP_P);
    let lost =
        [(Slot::Temperature, temperature.is_some()), (Slot::TopK, top_k.is_some()), (Slot::TopP, wire.top_p != top_p)];
    lost.iter().filter(|(_, lost)| *lost).for_each(|(slot, _)| params::lose(request, *slot, loss));
    Ok(())
}

/// The schema of the function that stands for a custom tool: its text as the one argument.
const CUSTOM_SCHEMA: &str =
    r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;

fn tools<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Result<Vec<AnyTool<'a>>, Error> {
    let mut tools = Vec::with_capacity(request.tools.len());
    for (at, tool) in request.tools.iter().enumerate() {
        let path = || places::tool(at);
        match &tool.kind {
            ToolKind::Function => {}
            ToolKind::Custom { format } => {
                if format.is_some() {
                    loss.advisory.push(places::tool_member(at, "format"));
                }
                tools.push(AnyTool::Client(Tool {
                    name: tool.flat_name(),
                    description: tool.description.as_deref(),
                    input_schema: Cow::Borrowed(fixed(CUSTOM_SCHEMA)?),
                    strict: None,
                    cache_control: tool.cache.as_ref().map(CacheControl::new),
                }));
                continue;
            }
            ToolKind::Server { origin: DialectId::Anthropic, raw } => {
                tools.push(AnyTool::Server(turns::verbatim(raw, path)?));
                continue;
            }
            // Reported with the loss.
            ToolKind::Server { .. } => continue,
        }
        let schema = tool.parameters.as_ref().filter(|p| params::squeezed(p.as_str()) != "{}");
        let input_schema = match schema {
            Some(schema) => turns::verbatim(schema, || places::tool_member(at, "parameters"))?,
            None => fixed(NO_ARGUMENTS)?,
        };
        let description = tool.description.as_deref();
        let cache_control = tool.cache.as_ref().map(CacheControl::new);
        let strict = tool.strict.filter(|s| *s);
        // Only a strict tool's schema is one that the provider promises to keep.
        let eased = strict.and_then(|_| schema::eased(input_schema.get()));
        if eased.as_ref().is_some_and(|eased| !eased.change.told.is_empty()) {
            loss.advisory.push(places::tool_member(at, "parameters"));
        }
        let eased = eased.and_then(|eased| RawValue::from_string(eased.schema).ok());
        let input_schema = eased.map_or(Cow::Borrowed(input_schema), Cow::Owned);
        tools.push(AnyTool::Client(Tool { name: tool.flat_name(), description, input_schema, strict, cache_control }));
    }
    Ok(tools)
}

/// The schema of a function without arguments; the provider demands one.
const NO_ARGUMENTS: &str = r#"{"type":"object","properties":{}}"#;

fn fixed(schema: &'static str) -> Result<&'static RawValue, Error> {
    serde_json::from_str(schema)
        .map_err(|e| Error::new(ErrorKind::Internal, "a fixed schema is broken").detail(e.to_string()))
}

fn tool_choice<'a>(request: &'a ChatRequest, thinking: bool, loss: &mut Loss) -> Option<ToolChoice<'a>> {
    if request.tools.is_empty() {
        return None;
    }
    let single = (request.parallel_tool_calls == Some(false)).then_some(true);
    let (kind, name) = match request.tool_choice.as_ref() {
        None if single.is_none() => return None,
        None | Some(Choice::Auto) => ("auto", None),
        Some(Choice::None) => return Some(ToolChoice { kind: "none", name: None, disable_parallel_tool_use: None }),
        Some(Choice::Required | Choice::Function(_)) if thinking => {
            params::lose(request, Slot::ToolChoice, loss);
            ("auto", None)
        }
        Some(Choice::Required) => ("any", None),
        Some(Choice::Function(name)) => ("tool", Some(Cow::Borrowed(name.as_str()))),
    };
    Some(ToolChoice { kind, name, disable_parallel_tool_use: single })
}

fn output_config<'a>(
    request: &'a ChatRequest,
    effort: Option<&'static str>,
    loss: &mut Loss,
) -> Result<Option<OutputConfig<'a>>, Error> {
    let format = output_format(request, loss)?;
    Ok((format.is_some() || effort.is_some()).then_some(OutputConfig { format, effort }))
}

fn output_format<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Result<Option<OutputFormat<'a>>, Error> {
    match &request.response_format {
        // Any object is asked for in words.
        None | Some(ResponseFormat::Text | ResponseFormat::JsonObject) => Ok(None),
        Some(ResponseFormat::JsonSchema { schema: Some(schema), strict, .. }) => {
            let given = turns::verbatim(schema, || "response_format.json_schema.schema".to_owned())?;
            let eased = schema::eased(given.get());
            if let Some(schema::Eased { change, .. }) = &eased {
                let name = params::name_of(request.source, Slot::ResponseFormat);
                // Who demands a strict answer means closed objects. Others may have meant open ones.
                if change.closed && *strict != Some(true) {
                    if change.emptied {
                        params::lose(request, Slot::ResponseFormat, loss);
                        return Ok(None);
                    }
                    loss.advisory.push(format!("{name}.additionalProperties"));
                }
                loss.advisory.extend(change.told.iter().map(|bound| format!("{name}.{bound}")));
            }
            let eased = eased.and_then(|eased| RawValue::from_string(eased.schema).ok());
            let schema = eased.map_or(Cow::Borrowed(given), Cow::Owned);
            Ok(Some(OutputFormat { kind: "json_schema", schema }))
        }
        // Without a schema the provider promises nothing.
        Some(ResponseFormat::JsonSchema { schema: None, .. }) => {
            params::lose(request, Slot::ResponseFormat, loss);
            Ok(None)
        }
    }
}

fn stop_sequences<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Vec<&'a str> {
    let all = &request.sampling.stop;
    let usable: Vec<&str> = all.iter().map(String::as_str).filter(|s| !s.trim().is_empty()).collect();
    if usable.len() < all.len() {
        params::lose(request, Slot::Stop, loss);
    }
    usable
}

fn metadata<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Option<Metadata<'a>> {
    let user_id = request.user.as_deref().filter(|u| !u.is_empty())?;
    if user_id.chars().nth(MAX_USER).is_some() {
        params::lose(request, Slot::User, loss);
        return None;
    }
    Some(Metadata { user_id })
}

/// Tiers change price and speed, not the answer.
fn service_tier(request: &ChatRequest, loss: &mut Loss) -> Option<&'static str> {
    match request.service_tier.as_deref()? {
        "auto" => Some("auto"),
        "default" | "standard_only" => Some("standard_only"),
        _ => {
            params::lose(request, Slot::ServiceTier, loss);
            None
        }
    }
}

/// Members that a relay of this dialect refuses, from its catalogue file. What a request cannot do without stays.
fn drop_member(wire: &mut Request<'_>, member: &str) {
    match member {
        "metadata" => wire.metadata = None,
        "output_config" => wire.output_config = None,
        "service_tier" => wire.service_tier = None,
        "stop_sequences" => wire.stop_sequences.clear(),
        "temperature" => wire.temperature = None,
        "thinking" => wire.thinking = None,
        "top_k" => wire.top_k = None,
        "top_p" => wire.top_p = None,
        _ => {}
    }
}

/// Same dialect on both sides. An output limit is demanded by the dialect; a client that forgot it gets the default.
pub(super) fn retarget(body: &Bytes, envelope: &Envelope, to: &Destination<'_>) -> Vec<Bytes> {
    let mut splice = envelope.spans.splice();
    if envelope.model != to.model {
        splice.set("model", quote(to.model));
    }
    if envelope.spans.get("max_tokens").is_none() {
        splice.set("max_tokens", to.default_max_output.to_string());
    }
    to.quirks.drop.iter().for_each(|name| splice.remove(name));
    splice.apply(body)
}
