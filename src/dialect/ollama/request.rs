//! The request: options, tools and thinking; the conversation is in `turns`.
//!
//! A prompt that does not fit is cut by the server without a word unless told not to, and so is the beginning of a
//! conversation when an answer grows over the context: `truncate` and `shift` forbid both. `keep_alive` is the
//! operator's business and never sent.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::params::carries;
use super::turns::{self, Turn};
use crate::dialect::common::{self, WireTool};
use crate::dialect::params::{self, Slot};
use crate::dialect::places;
use crate::dialect::{Destination, Quirks};
use crate::domain::chat::{ChatRequest, Loss, ReasoningSettings, ResponseFormat, ToolChoice, ToolKind};
use crate::domain::error::{Error, ErrorKind};

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<Think>,
    #[serde(skip_serializing_if = "Options::is_empty")]
    options: Options<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shift: Option<bool>,
    /// Always told: the server streams unless it is told not to.
    stream: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Format<'a> {
    Word(&'static str),
    Schema(&'a RawValue),
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Think {
    Switch(bool),
    Level(&'static str),
}

#[derive(Serialize)]
struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
}

impl Options<'_> {
    fn is_empty(&self) -> bool {
        let numbers = [self.temperature, self.top_p, self.min_p, self.frequency_penalty, self.presence_penalty];
        numbers.iter().all(Option::is_none)
            && self.top_k.is_none()
            && self.seed.is_none()
            && self.stop.is_empty()
            && self.num_predict.is_none()
    }
}

/// Encodes a canonical request.
pub(super) fn encode(request: &ChatRequest, to: &Destination<'_>) -> Result<(Bytes, Loss), Error> {
    let mut loss = Loss::default();
    params::report(request, &carries, &|_| false, &mut loss);
    params::lose_server_tools(request, None, &mut loss);
    let s = &request.sampling;
    let quirks = to.quirks;
    let logprobs = s.logprobs.filter(|wanted| *wanted);
    let top_logprobs = s.top_logprobs.filter(|n| *n != 0);
    let mut wire = Request {
        model: to.model,
        messages: turns::encode(request, &mut loss)?,
        tools: tools(request, &mut loss)?,
        format: format(request)?,
        think: request.reasoning.as_ref().and_then(|r| think(request, r, &mut loss)),
        options: Options {
            temperature: s.temperature,
            top_k: s.top_k,
            top_p: s.top_p,
            min_p: s.min_p,
            seed: s.seed,
            stop: &s.stop,
            num_predict: request.max_output_tokens.or(to.max_output),
            frequency_penalty: s.frequency_penalty,
            presence_penalty: s.presence_penalty,
        },
        logprobs: taken(request, quirks, "logprobs", Slot::Logprobs, logprobs, &mut loss),
        top_logprobs: taken(request, quirks, "top_logprobs", Slot::TopLogprobs, top_logprobs, &mut loss),
        truncate: Some(false),
        shift: Some(false),
        stream: request.stream,
    };
    quirks.drop.iter().for_each(|member| drop_member(&mut wire, member));
    let body = serde_json::to_vec(&wire)
        .map_err(|e| Error::new(ErrorKind::Internal, "the request could not be encoded").detail(e.to_string()))?;
    Ok((Bytes::from(body), loss))
}

/// A member that only newer servers know; older ones would ignore it without a word.
fn taken<T>(
    request: &ChatRequest,
    quirks: &Quirks,
    member: &str,
    slot: Slot,
    value: Option<T>,
    loss: &mut Loss,
) -> Option<T> {
    if value.is_some() && !quirks.takes.iter().any(|taken| taken == member) {
        params::lose(request, slot, loss);
        return None;
    }
    value
}

/// The dialect cannot force a call, but it can make one impossible.
fn tools<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Result<Vec<WireTool<'a>>, Error> {
    match request.tool_choice {
        Some(ToolChoice::None) => return Ok(Vec::new()),
        Some(ToolChoice::Required | ToolChoice::Function(_)) if !request.tools.is_empty() => {
            params::lose(request, Slot::ToolChoice, loss);
        }
        _ => {}
    }
    let functions = request.tools.iter().enumerate().filter(|(_, t)| !matches!(t.kind, ToolKind::Server { .. }));
    let strict = functions.filter(|(_, tool)| tool.strict == Some(true));
    loss.advisory.extend(strict.map(|(at, _)| places::tool_member(at, "strict")));
    common::tools(request, None, loss)
}

fn format(request: &ChatRequest) -> Result<Option<Format<'_>>, Error> {
    Ok(match &request.response_format {
        None | Some(ResponseFormat::Text) => None,
        Some(ResponseFormat::JsonObject | ResponseFormat::JsonSchema { schema: None, .. }) => {
            Some(Format::Word("json"))
        }
        Some(ResponseFormat::JsonSchema { schema: Some(schema), .. }) => {
            Some(Format::Schema(common::verbatim(schema, || "response_format".to_owned())?))
        }
    })
}

/// A word as the level of that name, a budget as the level whose usual budget is nearest. Models that know no levels
/// read each of them as yes.
fn think(request: &ChatRequest, settings: &ReasoningSettings, loss: &mut Loss) -> Option<Think> {
    Some(match (settings.effort.as_deref(), settings.budget_tokens) {
        (Some("none"), _) | (None, Some(0)) => Think::Switch(false),
        (Some("minimal" | "low"), _) | (None, Some(..=4096)) => Think::Level("low"),
        (Some("medium"), _) | (None, Some(..=16_384)) => Think::Level("medium"),
        (Some("high" | "xhigh" | "max"), _) | (None, Some(_)) => Think::Level("high"),
        (Some(_), _) => {
            params::lose(request, Slot::Reasoning, loss);
            return None;
        }
        (None, None) => return None,
    })
}

/// Members that a server or model refuses, from the catalogue file. A level of thinking becomes a plain yes where
/// `think` has no levels.
fn drop_member(wire: &mut Request<'_>, member: &str) {
    match member {
        "think" => wire.think = None,
        "think.level" => {
            if let Some(Think::Level(_)) = wire.think {
                wire.think = Some(Think::Switch(true));
            }
        }
        "truncate" => wire.truncate = None,
        "shift" => wire.shift = None,
        "temperature" => wire.options.temperature = None,
        "top_k" => wire.options.top_k = None,
        "top_p" => wire.options.top_p = None,
        "min_p" => wire.options.min_p = None,
        "seed" => wire.options.seed = None,
        "frequency_penalty" => wire.options.frequency_penalty = None,
        "presence_penalty" => wire.options.presence_penalty = None,
        _ => {}
    }
}
