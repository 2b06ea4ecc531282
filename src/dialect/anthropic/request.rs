//! The request: parameters, tools and thinking; the conversation is in `turns`.
//!
//! With thinking on, the provider takes neither a temperature nor `top_k`, and no forced call. Whichever of the two
//! the client must do without changes the answer, so the sampling side is reported as lost and thinking stays. One
//! case is the other way round: a conversation that stops amid tool calls whose thinking the client did not keep
//! cannot go on with thinking at all; the effort is then dropped for this one answer and listed.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::params::carries;
use super::types::{
    AnyTool, CacheControl, Content, Metadata, OutputConfig, OutputFormat, Request, Thinking, Tool, ToolChoice,
    WantedThinking,
};
use super::{schema, turns};
use crate::dialect::common;
use crate::dialect::params::{self, Slot};
use crate::dialect::places;
use crate::dialect::{Destination, Envelope};
use crate::domain::chat::{ChatRequest, Loss, ResponseFormat, ToolChoice as Choice, ToolKind};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::DialectId;
use crate::wire::splice::quote;

/// The least budget that the provider takes.
const MIN_THINKING: u64 = 1024;

/// Tokens of thinking for each word, before they are fitted into the output limit.
const EFFORTS: [(&str, u64); 6] =
    [("minimal", 1024), ("low", 2048), ("medium", 8192), ("high", 24_576), ("xhigh", 32_768), ("max", 32_768)];

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
    if request.response_format == Some(ResponseFormat::JsonObject) {
        conversation.system.push(super::types::Block::Text { text: common::ANY_JSON, cache_control: None });
    }
    let resumes = turns::resumes_without_thinking(&conversation.turns);
    let thinking = thinking(request, max_tokens, resumes, &mut loss);
    let mut wire = Request {
        model: to.model,
        max_tokens,
        system: match conversation.system.as_slice() {
            [] => None,
            [super::types::Block::Text { text, cache_control: None }] => Some(Content::Text(text)),
            _ => Some(Content::Blocks(conversation.system)),
        },
        messages: conversation.turns,
        tools: tools(request)?,
        tool_choice: None,
        thinking: None,
        output_config: output_config(request, &mut loss)?,
        temperature: None,
        top_p: None,
        top_k: None,
        stop_sequences: stop_sequences(request, &mut loss),
        metadata: metadata(request, &mut loss),
        service_tier: service_tier(request, &mut loss),
        stream: request.stream,
    };
    wire.tool_choice = tool_choice(request, thinking.is_some(), &mut loss);
    sample(request, thinking.is_some(), &mut wire, &mut loss)?;
    wire.thinking = thinking;
    for member in &to.quirks.drop {
        drop_member(&mut wire, member);
    }
    let body = serde_json::to_vec(&wire)
        .map_err(|e| Error::new(ErrorKind::Internal, "the request could not be encoded").detail(e.to_string()))?;
    Ok((Bytes::from(body), loss))
}

fn thinking(request: &ChatRequest, max_tokens: u64, resumes: bool, loss: &mut Loss) -> Option<Thinking> {
    let (name, wanted) = wanted_thinking(request)?;
    if resumes {
        loss.advisory.push(name.to_owned());
        return None;
    }
    // At least a fifth of the limit stays for the answer itself, where there is room for it.
    let most = max_tokens.saturating_sub(max_tokens / 5).max(MIN_THINKING).min(max_tokens.saturating_sub(1));
    match wanted {
        Some(budget) if budget >= MIN_THINKING && most >= MIN_THINKING => {
            Some(Thinking { kind: "enabled", budget_tokens: budget.min(most) })
        }
        // A word says how much to think where there is room; the limit is what was demanded.
        Some(_) if most < MIN_THINKING && params::thinks_by_word(request) => {
            loss.advisory.push(name.to_owned());
            None
        }
        // An unknown word, a limit below the provider's least budget, or no room for one.
        _ => {
            loss.semantic.push(name.to_owned());
            None
        }
    }
}

/// The parameter that asks for thinking and the budget it asks for; no budget = it asks for something unknown here.
/// The client's own dialect has only `reasoning_effort`; this dialect's `thinking` comes with some SDKs' extra members.
fn wanted_thinking(request: &ChatRequest) -> Option<(&'static str, Option<u64>)> {
    if let Some((_, raw)) = request.extra.iter().find(|(name, _)| name == "thinking") {
        let Ok(wire) = serde_json::from_str::<WantedThinking<'_>>(raw.as_str()) else {
            return Some(("thinking", None));
        };
        return match &*wire.kind {
            "disabled" => None,
            "enabled" => Some(("thinking", wire.budget_tokens)),
            _ => Some(("thinking", None)),
        };
    }
    let settings = request.reasoning.as_ref()?;
    let name = params::name_of(request.source, Slot::Reasoning);
    match (settings.budget_tokens, settings.effort.as_deref()) {
        (Some(0), _) | (None, None | Some("none")) => None,
        (Some(budget), _) => Some((name, Some(budget))),
        (None, Some(word)) => {
            let budget = EFFORTS.iter().find(|(known, _)| *known == word).map(|(_, budget)| *budget);
            Some((name, budget))
        }
    }
}

fn sample<'a>(request: &'a ChatRequest, thinking: bool, wire: &mut Request<'a>, loss: &mut Loss) -> Result<(), Error> {
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
    if !thinking {
        (wire.temperature, wire.top_p, wire.top_k) = (temperature, top_p, top_k);
        return Ok(());
    }
    wire.top_p = top_p.filter(|p| *p >= 0.95);
    let lost =
        [(Slot::Temperature, temperature.is_some()), (Slot::TopK, top_k.is_some()), (Slot::TopP, wire.top_p != top_p)];
    lost.iter().filter(|(_, lost)| *lost).for_each(|(slot, _)| params::lose(request, *slot, loss));
    Ok(())
}

/// The schema of the function that stands for a custom tool: its text as the one argument.
const CUSTOM_SCHEMA: &str =
    r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;

fn tools(request: &ChatRequest) -> Result<Vec<AnyTool<'_>>, Error> {
    let mut tools = Vec::with_capacity(request.tools.len());
    for (at, tool) in request.tools.iter().enumerate() {
        let path = || places::tool(at);
        match &tool.kind {
            ToolKind::Function => {}
            ToolKind::Custom { .. } => {
                tools.push(AnyTool::Client(Tool {
                    name: tool.flat_name(),
                    description: tool.description.as_deref(),
                    input_schema: fixed(CUSTOM_SCHEMA)?,
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

fn output_config<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Result<Option<OutputConfig<'a>>, Error> {
    match &request.response_format {
        // Any object is asked for in words.
        None | Some(ResponseFormat::Text | ResponseFormat::JsonObject) => Ok(None),
        Some(ResponseFormat::JsonSchema { schema: Some(schema), strict, .. }) => {
            let given = turns::verbatim(schema, || "response_format.json_schema.schema".to_owned())?;
            let closed = schema::closed(given.get());
            // Who demands a strict answer means closed objects. Others may have meant open ones.
            if let Some(closed) = closed.as_ref().filter(|_| *strict != Some(true)) {
                if closed.emptied {
                    params::lose(request, Slot::ResponseFormat, loss);
                    return Ok(None);
                }
                let name = params::name_of(request.source, Slot::ResponseFormat);
                loss.advisory.push(format!("{name}.additionalProperties"));
            }
            let closed = closed.and_then(|closed| RawValue::from_string(closed.schema).ok());
            let schema = closed.map_or(Cow::Borrowed(given), Cow::Owned);
            Ok(Some(OutputConfig { format: OutputFormat { kind: "json_schema", schema } }))
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
