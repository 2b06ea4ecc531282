//! The request: parameters, tools and thinking; the conversation is in `turns`.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::params::carries;
use super::turns::{self, Turn};
use crate::dialect::Destination;
use crate::dialect::common::{self, WireTool};
use crate::dialect::params::{self, Slot};
use crate::dialect::places;
use crate::domain::chat::{ChatRequest, Loss, ResponseFormat, ToolChoice, ToolKind};
use crate::domain::error::{Error, ErrorKind};

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict_tools: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    logprobs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
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

/// Most likely tokens kept: the most that the provider takes.
const MAX_K: u32 = 500;

/// Stop sequences: the most that the provider takes.
const MAX_STOP: usize = 5;

/// Encodes a canonical request.
pub(super) fn encode(request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
    let mut loss = Loss::default();
    params::report(request, &carries, &|_| false, &mut loss);
    params::lose_server_tools(request, None, &mut loss);
    let s = &request.sampling;
    let limit = request.max_output_tokens.or(to.max_output);
    let (tool_choice, only) = choice(request);
    let tools = common::tools(request, only, &mut loss)?;
    let mut wire = Request {
        model: to.model,
        messages: turns::encode(request, &mut loss)?,
        strict_tools: strict(request, &mut loss),
        tool_choice: tool_choice.filter(|_| !tools.is_empty()),
        response_format: response_format(request, !tools.is_empty(), &mut loss)?,
        tools,
        max_tokens: limit,
        temperature: s.temperature,
        p: s.top_p.map(|p| p.clamp(0.01, 0.99)),
        k: s.top_k.filter(|k| *k != 0),
        frequency_penalty: s.frequency_penalty,
        presence_penalty: s.presence_penalty,
        seed: s.seed,
        stop_sequences: s.stop.get(..MAX_STOP).unwrap_or(&s.stop),
        logprobs: s.logprobs == Some(true),
        thinking: thinking(request, limit, &mut loss),
        stream: request.stream,
    };
    leave_out(request, &mut wire, &mut loss);
    to.quirks.drop.iter().for_each(|member| drop_member(&mut wire, member));
    let body = serde_json::to_vec(&wire)
        .map_err(|e| Error::new(ErrorKind::Internal, "the request could not be encoded").detail(e.to_string()))?;
    Ok((Bytes::from(body), loss))
}

/// Values beyond what the provider takes stay at home and are reported.
fn leave_out(request: &ChatRequest, wire: &mut Request<'_>, loss: &mut Loss) {
    let mut lose = |slot: Slot| params::lose(request, slot, loss);
    if wire.k.take_if(|k| *k > MAX_K).is_some() {
        lose(Slot::TopK);
    }
    for (penalty, slot) in
        [(&mut wire.frequency_penalty, Slot::FrequencyPenalty), (&mut wire.presence_penalty, Slot::PresencePenalty)]
    {
        if penalty.take_if(|p| !(0.0..=1.0).contains(p)).is_some() {
            lose(slot);
        }
    }
    if wire.seed.take_if(|seed| *seed < 0).is_some() {
        lose(Slot::Seed);
    }
    if request.sampling.stop.len() > MAX_STOP {
        lose(Slot::Stop);
    }
}

/// The word, and the one tool to show where the client names it: a call is then demanded and only that one is possible.
fn choice(request: &ChatRequest) -> (Option<&'static str>, Option<&str>) {
    match request.tool_choice.as_ref() {
        None | Some(ToolChoice::Auto) => (None, None),
        Some(ToolChoice::None) => (Some("NONE"), None),
        Some(ToolChoice::Required) => (Some("REQUIRED"), None),
        Some(ToolChoice::Function(name)) => (Some("REQUIRED"), Some(name)),
    }
}

/// Strictness is all tools' or none's here.
fn strict(request: &ChatRequest, loss: &mut Loss) -> bool {
    let functions = request.tools.iter().enumerate().filter(|(_, t)| !matches!(t.kind, ToolKind::Server { .. }));
    let wanted: Vec<(usize, bool)> = functions.map(|(at, tool)| (at, tool.strict == Some(true))).collect();
    let all = !wanted.is_empty() && wanted.iter().all(|(_, strict)| *strict);
    if !all {
        let lost = wanted.iter().filter(|(_, strict)| *strict);
        loss.advisory.extend(lost.map(|(at, _)| places::tool_member(*at, "strict")));
    }
    all
}

fn response_format<'a>(
    request: &'a ChatRequest,
    with_tools: bool,
    loss: &mut Loss,
) -> Result<Option<Format<'a>>, Error> {
    let schema = match &request.response_format {
        None | Some(ResponseFormat::Text) => return Ok(None),
        Some(_) if with_tools => {
            params::lose(request, Slot::ResponseFormat, loss);
            return Ok(None);
        }
        Some(ResponseFormat::JsonObject) => None,
        Some(ResponseFormat::JsonSchema { schema, .. }) => schema.as_ref(),
    };
    let json_schema = schema.map(|s| common::verbatim(s, || "response_format".to_owned())).transpose()?;
    Ok(Some(Format { r#type: "json_object", json_schema }))
}

/// Tokens of thinking for each word; none = as much as the model likes.
const EFFORTS: [(&str, Option<u64>); 6] = [
    ("minimal", Some(1024)),
    ("low", Some(2048)),
    ("medium", Some(8192)),
    ("high", None),
    ("xhigh", None),
    ("max", None),
];

/// At least a fifth of the limit stays for the answer itself. Models that can think do so unless told not to.
fn thinking(request: &ChatRequest, limit: Option<u64>, loss: &mut Loss) -> Option<Thinking> {
    let settings = request.reasoning.as_ref()?;
    let budget = match (settings.budget_tokens, settings.effort.as_deref()) {
        (Some(0), _) | (None, Some("none")) => return Some(Thinking { r#type: "disabled", token_budget: None }),
        (Some(budget), _) => Some(budget),
        (None, Some(word)) => match EFFORTS.iter().find(|(known, _)| *known == word) {
            Some((_, budget)) => *budget,
            None => {
                params::lose(request, Slot::Reasoning, loss);
                return None;
            }
        },
        (None, None) => return None,
    };
    let fitted = budget.map(|b| limit.map_or(b, |limit| b.min(limit - limit / 5)).max(1));
    Some(Thinking { r#type: "enabled", token_budget: fitted })
}

/// Members that a provider or model refuses, from the catalogue file.
fn drop_member(wire: &mut Request<'_>, member: &str) {
    match member {
        "frequency_penalty" => wire.frequency_penalty = None,
        "k" => wire.k = None,
        "logprobs" => wire.logprobs = false,
        "p" => wire.p = None,
        "presence_penalty" => wire.presence_penalty = None,
        "seed" => wire.seed = None,
        "strict_tools" => wire.strict_tools = false,
        "temperature" => wire.temperature = None,
        "thinking" => wire.thinking = None,
        _ => {}
    }
}
