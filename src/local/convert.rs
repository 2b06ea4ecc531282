//! From the canonical request to the worker's job. What the worker can't do has been refused or listed before
//! (`dialect::native`).

use super::protocol::{Call, Job, Turn, TurnRole};
use crate::domain::chat::{CUSTOM_ARGUMENT, ChatRequest, Part, Role, Tool, ToolCall, ToolChoice, ToolKind};
use crate::wire::splice::quote;

pub(super) fn job(id: u64, request: &ChatRequest, max_output: u64) -> Job {
    let sampling = &request.sampling;
    let reasoning = request.reasoning.as_ref();
    let think = reasoning.and_then(|r| r.effort.as_deref().map(|w| w != "none").or(r.budget_tokens.map(|b| b > 0)));
    let tools = if request.tool_choice == Some(ToolChoice::None) {
        Vec::new()
    } else {
        request.tools.iter().filter(|tool| !matches!(tool.kind, ToolKind::Server { .. })).map(tool).collect()
    };
    Job {
        id,
        turns: turns(&request.messages),
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
    }
}

#[expect(clippy::cast_possible_truncation, reason = "sampling parameters of the runtime are f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// Where nothing of a turn can be said here, there is no turn.
fn turns(messages: &[crate::domain::chat::Message]) -> Vec<Turn> {
    let silent =
        |turn: &Turn| matches!(turn.role, TurnRole::Assistant) && turn.text.is_empty() && turn.calls.is_empty();
    messages.iter().map(turn).filter(|turn| !silent(turn)).collect()
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
    let calls = message.tool_calls.iter().map(|c| Call { name: c.name.clone(), arguments: arguments(c) });
    Turn { role, text: text.collect::<Vec<_>>().join("\n"), calls: calls.collect() }
}

/// JSON, as the templates show it.
fn arguments(call: &ToolCall) -> String {
    if call.custom { format!("{{\"{CUSTOM_ARGUMENT}\":{}}}", quote(&call.arguments)) } else { call.arguments.clone() }
}

/// A function as the templates show it; a custom tool is a function with one text argument.
fn tool(tool: &Tool) -> String {
    let custom = format!(
        "{{\"type\":\"object\",\"properties\":{{\"{CUSTOM_ARGUMENT}\":{{\"type\":\"string\"}}}},\"required\":[\"{CUSTOM_ARGUMENT}\"]}}"
    );
    let parameters = match &tool.kind {
        ToolKind::Custom { .. } => Some(custom.as_str()),
        ToolKind::Function | ToolKind::Server { .. } => tool.parameters.as_ref().map(|p| p.as_str()),
    };
    let description = tool.description.as_deref().map(|d| format!(",\"description\":{}", quote(d))).unwrap_or_default();
    let parameters = parameters.map(|p| format!(",\"parameters\":{p}")).unwrap_or_default();
    format!("{{\"type\":\"function\",\"function\":{{\"name\":{}{description}{parameters}}}}}", quote(&tool.flat_name()))
}
