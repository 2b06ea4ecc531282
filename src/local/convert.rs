//! From the canonical request to the worker's job. What the worker can't do is refused by name, never dropped.

use super::protocol::{Call, Job, Turn, TurnRole};
use crate::domain::chat::{ChatRequest, Part, ResponseFormat, Role, Tool, ToolChoice};
use crate::domain::error::{Failure, FailureKind};

/// Top-level parameters of a client that the runtime takes, or whose loss changes nothing about the answer.
const ADVISORY: [&str; 9] = [
    "metadata",
    "store",
    "prompt_cache_key",
    "safety_identifier",
    "prompt_cache_retention",
    "service_tier",
    "user",
    "verbosity",
    "stream_options",
];

/// The parameter that the runtime can't honour, if there is one. Neutral values are no parameters.
#[must_use]
pub fn unsupported(request: &ChatRequest) -> Option<String> {
    let sampling = &request.sampling;
    let format =
        matches!(request.response_format, Some(ResponseFormat::JsonObject | ResponseFormat::JsonSchema { .. }));
    let forced = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Function(_)));
    let named = [
        (sampling.n.is_some_and(|n| n > 1), "n"),
        (sampling.logprobs == Some(true), "logprobs"),
        (sampling.logit_bias.is_some(), "logit_bias"),
        (format, "response_format"),
        (forced, "tool_choice"),
    ];
    let named = named.into_iter().find(|(given, _)| *given).map(|(_, name)| name.to_owned());
    let media = || {
        request.messages.iter().enumerate().find_map(|(i, message)| {
            let part = message
                .content
                .iter()
                .position(|part| !matches!(part, Part::Text(_) | Part::Reasoning { .. } | Part::Refusal(_)));
            part.map(|part| format!("messages[{i}].content[{part}]"))
        })
    };
    let extra = || request.extra.iter().map(|(name, _)| name).find(|name| !ADVISORY.contains(&name.as_str())).cloned();
    named.or_else(media).or_else(extra)
}

/// Parameters that were given, are hints, and have no effect here.
#[must_use]
pub fn advisory(request: &ChatRequest) -> Vec<String> {
    let mut names: Vec<String> = request.extra.iter().map(|(name, _)| name.clone()).collect();
    names.extend(request.user.as_ref().map(|_| "user".to_owned()));
    names.extend(request.service_tier.as_ref().map(|_| "service_tier".to_owned()));
    names
}

pub(super) fn job(id: u64, request: &ChatRequest, max_output: u64) -> Result<Job, Failure> {
    if let Some(param) = unsupported(request) {
        let message = format!("the embedded runtime does not support `{param}`");
        return Err(Failure { param: Some(param), ..Failure::new(FailureKind::Rejected, message) });
    }
    let sampling = &request.sampling;
    let think = request.reasoning.as_ref().and_then(|r| r.effort.as_deref()).map(|effort| effort != "none");
    let tools = if request.tool_choice == Some(ToolChoice::None) {
        Vec::new()
    } else {
        request.tools.iter().map(tool).collect()
    };
    Ok(Job {
        id,
        turns: request.messages.iter().map(turn).collect(),
        tools,
        max_output,
        temperature: sampling.temperature.map(narrow),
        top_p: sampling.top_p.map(narrow),
        top_k: sampling.top_k,
        min_p: sampling.min_p.map(narrow),
        frequency_penalty: sampling.frequency_penalty.map(narrow),
        presence_penalty: sampling.presence_penalty.map(narrow),
        // The runtime's seed has 32 bits; the low ones tell two seeds apart as well.
        seed: sampling.seed.map(|seed| u32::try_from(seed & 0xFFFF_FFFF).unwrap_or(0)),
        stop: sampling.stop.clone(),
        think,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "sampling parameters of the runtime are f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}

fn turn(message: &crate::domain::chat::Message) -> Turn {
    let role = match message.role {
        Role::System | Role::Developer => TurnRole::System,
        Role::User => TurnRole::User,
        Role::Assistant => TurnRole::Assistant,
        Role::Tool => TurnRole::Tool,
    };
    // Thinking of earlier turns is not shown to the model again: its makers say so.
    let text = message.content.iter().filter_map(|part| match part {
        Part::Text(text) | Part::Refusal(text) => Some(text.as_str()),
        _ => None,
    });
    let calls = message.tool_calls.iter().map(|c| Call { name: c.name.clone(), arguments: c.arguments.clone() });
    Turn { role, text: text.collect::<Vec<_>>().join("\n"), calls: calls.collect() }
}

fn tool(tool: &Tool) -> String {
    let quote = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let description = tool.description.as_deref().map(|d| format!(",\"description\":{}", quote(d))).unwrap_or_default();
    let parameters = tool.parameters.as_ref().map(|p| format!(",\"parameters\":{}", p.as_str())).unwrap_or_default();
    format!("{{\"type\":\"function\",\"function\":{{\"name\":{}{description}{parameters}}}}}", quote(&tool.name))
}
