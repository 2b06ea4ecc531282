//! The request: parameters, tools and thinking; the conversation is in `turns`.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::params::carries;
use super::turns::{self, Content};
use crate::dialect::params::{self, Slot};
use crate::dialect::places;
use crate::dialect::{Destination, common};
use crate::domain::chat::{
    CUSTOM_ARGUMENT, ChatRequest, Json, Loss, ReasoningSettings, ResponseFormat, ToolChoice, ToolKind,
};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::DialectId;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tools<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'a>>,
    #[serde(skip_serializing_if = "Generation::is_empty")]
    generation_config: Generation<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Tools<'a> {
    #[serde(rename_all = "camelCase")]
    Functions { function_declarations: Vec<Function<'a>> },
    /// A tool of the provider's own, verbatim.
    Server(&'a RawValue),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Function<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<Cow<'a, RawValue>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'a> {
    function_calling_config: Calling<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Calling<'a> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_function_names: Option<[&'a str; 1]>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Generation<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<Thinking<'a>>,
}

impl Generation<'_> {
    fn is_empty(&self) -> bool {
        let numbers = [self.temperature, self.top_p, self.presence_penalty, self.frequency_penalty];
        numbers.iter().all(Option::is_none)
            && self.top_k.is_none()
            && self.max_output_tokens.is_none()
            && self.stop_sequences.is_empty()
            && self.seed.is_none()
            && self.candidate_count.is_none()
            && self.response_mime_type.is_none()
            && self.response_logprobs.is_none()
            && self.logprobs.is_none()
            && self.thinking_config.is_none()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Thinking<'a> {
    include_thoughts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<&'a str>,
}

/// Encodes a canonical request.
pub(super) fn encode(request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
    let mut loss = Loss::default();
    params::report(request, &carries, &|_| false, &mut loss);
    params::lose_server_tools(request, Some(DialectId::Gemini), &mut loss);
    let talk = turns::encode(request, &mut loss)?;
    let tools = tools(request, &mut loss)?;
    let tool_config = choice(request).filter(|_| !request.tools.is_empty());
    let wire = Request {
        contents: talk.contents,
        system_instruction: talk.system.filter(|system| !system.parts.is_empty()),
        tools,
        tool_config: tool_config.map(|calling| ToolConfig { function_calling_config: calling }),
        generation_config: without(generation(request, to, &mut loss)?, &to.quirks.drop),
    };
    let body = serde_json::to_vec(&wire)
        .map_err(|e| Error::new(ErrorKind::Internal, "the request could not be encoded").detail(e.to_string()))?;
    Ok((Bytes::from(body), loss))
}

fn generation<'a>(request: &'a ChatRequest, to: &Destination<'_>, loss: &mut Loss) -> Result<Generation<'a>, Error> {
    let s = &request.sampling;
    let mut generation = Generation {
        temperature: s.temperature,
        top_p: s.top_p,
        top_k: s.top_k.filter(|k| *k != 0),
        max_output_tokens: request.max_output_tokens.or(to.max_output),
        stop_sequences: &s.stop,
        seed: s.seed,
        presence_penalty: s.presence_penalty,
        frequency_penalty: s.frequency_penalty,
        candidate_count: s.n,
        response_logprobs: s.logprobs,
        // No other tokens: which may be said alone, and the number may not.
        logprobs: s.top_logprobs.filter(|n| *n > 0),
        thinking_config: request.reasoning.as_ref().and_then(|r| thinking(request, r, to, loss)),
        ..Generation::default()
    };
    match &request.response_format {
        None | Some(ResponseFormat::Text) => {}
        Some(ResponseFormat::JsonObject) => generation.response_mime_type = Some("application/json"),
        Some(ResponseFormat::JsonSchema { schema, .. }) => {
            generation.response_mime_type = Some("application/json");
            generation.response_json_schema = schema.as_ref().map(|s| verbatim(s, "response_format")).transpose()?;
        }
    }
    Ok(generation)
}

/// Tokens of thinking for each word, for models that know no levels.
const EFFORTS: [(&str, u64); 6] =
    [("minimal", 1024), ("low", 2048), ("medium", 8192), ("high", 24_576), ("xhigh", 24_576), ("max", 24_576)];

/// A budget as it is; a word as the level of that name, or as its usual budget for models without levels. `none` is a
/// budget of nothing.
fn thinking<'a>(
    request: &ChatRequest,
    settings: &'a ReasoningSettings,
    to: &Destination<'_>,
    loss: &mut Loss,
) -> Option<Thinking<'a>> {
    let levels = !common::named(&to.quirks.drop, to.model, "thinkingConfig.thinkingLevel");
    let usual = |word: &str| EFFORTS.iter().find(|(known, _)| *known == word).map(|(_, budget)| *budget);
    let (budget, level) = match (settings.budget_tokens, settings.effort.as_deref()) {
        (Some(budget), _) => (Some(budget), None),
        (None, Some("none")) => (Some(0), None),
        (None, Some(word)) if !levels && usual(word).is_some() => (usual(word), None),
        (None, Some(word @ ("minimal" | "low" | "medium" | "high"))) => (None, Some(word)),
        (None, Some("xhigh" | "max")) => (None, Some("high")),
        (None, Some(_)) => {
            params::lose(request, Slot::Reasoning, loss);
            return None;
        }
        (None, None) => return None,
    };
    let include_thoughts = budget != Some(0) && !request.hide_thinking;
    Some(Thinking { include_thoughts, thinking_budget: budget, thinking_level: level })
}

fn tools<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Result<Vec<Tools<'a>>, Error> {
    let (mut functions, mut tools) = (Vec::new(), Vec::new());
    for (at, tool) in request.tools.iter().enumerate() {
        let path = || places::tool(at);
        let schema = match &tool.kind {
            ToolKind::Function => {
                let filled = tool.parameters.as_ref().filter(|p| params::squeezed(p.as_str()) != "{}");
                filled.map(|p| verbatim(p, &places::tool_member(at, "parameters"))).transpose()?.map(Cow::Borrowed)
            }
            ToolKind::Custom { format } => {
                if format.is_some() {
                    loss.advisory.push(places::tool_member(at, "format"));
                }
                let schema = format!(
                    r#"{{"type":"object","properties":{{"{CUSTOM_ARGUMENT}":{{"type":"string"}}}},"required":["{CUSTOM_ARGUMENT}"]}}"#
                );
                RawValue::from_string(schema).ok().map(Cow::Owned)
            }
            ToolKind::Server { origin: DialectId::Gemini, raw } => {
                tools.push(Tools::Server(verbatim(raw, &path())?));
                continue;
            }
            // Reported with the loss.
            ToolKind::Server { .. } => continue,
        };
        if tool.strict == Some(true) {
            loss.advisory.push(places::tool_member(at, "strict"));
        }
        let description = tool.description.as_deref();
        functions.push(Function { name: tool.flat_name(), description, parameters_json_schema: schema });
    }
    if !functions.is_empty() {
        tools.insert(0, Tools::Functions { function_declarations: functions });
    }
    Ok(tools)
}

fn choice(request: &ChatRequest) -> Option<Calling<'_>> {
    let (mode, name) = match request.tool_choice.as_ref()? {
        ToolChoice::Auto => ("AUTO", None),
        ToolChoice::None => ("NONE", None),
        ToolChoice::Required => ("ANY", None),
        ToolChoice::Function(name) => ("ANY", Some([name.as_str()])),
    };
    Some(Calling { mode, allowed_function_names: name })
}

/// Members that a model of this dialect refuses, from its catalogue file.
fn without<'a>(mut generation: Generation<'a>, drop: &[String]) -> Generation<'a> {
    for member in drop {
        match member.as_str() {
            "seed" => generation.seed = None,
            "thinkingConfig" => generation.thinking_config = None,
            "presencePenalty" => generation.presence_penalty = None,
            "frequencyPenalty" => generation.frequency_penalty = None,
            "topK" => generation.top_k = None,
            _ => {}
        }
    }
    generation
}

/// JSON text for the wire, checked: one bad stretch would spoil the whole body.
fn verbatim<'a>(json: &'a Json, param: &str) -> Result<&'a RawValue, Error> {
    serde_json::from_str(json.as_str())
        .map_err(|_| Error::new(ErrorKind::InvalidRequest, "this is not well-formed JSON").param(param))
}
