//! Names of places in a conversation, for errors and for the list of what is lost.
//!
//! Encoders know a place by its number in the canonical conversation, and name it in one way, whoever the client is:
//! `messages[2].content[0]`. Here such a name becomes the client's own path (`input[3]`, `contents[1].parts[0]`,
//! `system`), from what its decoder wrote down. Every encoder's result goes through [`told`].

use super::params::{self, Slot};
use crate::domain::chat::{ChatRequest, Loss, Origin};
use crate::domain::error::Error;
use crate::domain::id::DialectId;

/// A member of a turn: `name`, `role`, `is_error`, `tool_call_id`.
pub(super) fn turn(at: usize, member: &str) -> String {
    format!("messages[{at}].{member}")
}

/// A part of a turn.
pub(super) fn part(at: usize, part_at: usize) -> String {
    format!("messages[{at}].content[{part_at}]")
}

/// How closely a picture is to be looked at.
pub(super) fn detail(at: usize, part_at: usize) -> String {
    format!("messages[{at}].content[{part_at}].detail")
}

/// The arguments of a call.
pub(super) fn arguments(at: usize, call_at: usize) -> String {
    format!("messages[{at}].tool_calls[{call_at}].arguments")
}

/// A tool.
pub(super) fn tool(at: usize) -> String {
    format!("tools[{at}]")
}

/// A member of a tool: `strict`, `format`, `parameters`.
pub(super) fn tool_member(at: usize, member: &str) -> String {
    format!("tools[{at}].{member}")
}

/// An encoder's result in the client's words.
pub(super) fn told<T>(request: &ChatRequest, result: Result<(T, Loss), Error>) -> Result<(T, Loss), Error> {
    match result {
        Ok((body, loss)) => Ok((body, lost(request, loss))),
        Err(mut error) => {
            error.param = error.param.map(|name| own(request, name));
            Err(error)
        }
    }
}

/// What is lost, in the client's words.
pub(super) fn lost(request: &ChatRequest, loss: Loss) -> Loss {
    let names = |list: Vec<String>| {
        let mut names: Vec<String> = Vec::with_capacity(list.len());
        for name in list.into_iter().map(|name| own(request, name)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    };
    Loss { semantic: names(loss.semantic), advisory: names(loss.advisory) }
}

/// The client's path of what an encoder names.
fn own(request: &ChatRequest, name: String) -> String {
    if name == "messages" {
        return conversation(request.source).to_owned();
    }
    if let Some((at, rest)) = numbered(&name, "messages[") {
        let origin = request.messages.get(at).map(|message| &message.origin);
        return origin.and_then(|origin| in_turn(request.source, origin, rest)).unwrap_or(name);
    }
    if let Some((at, member)) = numbered(&name, "tools[") {
        let path = request.tools.get(at).and_then(|tool| tool.origin.path.as_deref());
        return path.map(|path| format!("{path}{}", of_tool(request.source, path, member))).unwrap_or(name);
    }
    name
}

/// The client's name of a parameter by which a provider of another dialect calls it.
pub(super) fn param_of(provider: DialectId, source: DialectId, name: &str) -> Option<String> {
    if name == "model" {
        return Some(name.to_owned());
    }
    let head = name.split(['.', '[']).next().unwrap_or_default();
    if ["messages", "input", "contents", "prompt"].contains(&head) {
        return Some(conversation(source).to_owned());
    }
    let table = crate::dialect::ingress(provider)?.parameters();
    let row = table.iter().find(|row| row.name == name).or_else(|| table.iter().find(|row| row.name == head))?;
    let own = params::name_of(source, row.slot);
    let known = !matches!(row.slot, Slot::Core | Slot::Own(_)) && own != "?";
    known.then(|| own.to_owned())
}

/// What a dialect's clients call the conversation.
fn conversation(source: DialectId) -> &'static str {
    match source {
        DialectId::OpenAiCompletions => "prompt",
        DialectId::OpenAiResponses => "input",
        DialectId::Gemini => "contents",
        _ => "messages",
    }
}

/// The number after a beginning, and what follows its bracket.
fn numbered<'n>(name: &'n str, before: &str) -> Option<(usize, &'n str)> {
    let (number, rest) = name.strip_prefix(before)?.split_once(']')?;
    Some((number.parse().ok()?, rest))
}

fn in_turn(source: DialectId, origin: &Origin, rest: &str) -> Option<String> {
    let whole = origin.path.as_deref()?;
    if let Some((at, member)) = numbered(rest, ".content[") {
        let Some(path) = origin.parts.get(at) else { return Some(whole.to_owned()) };
        let member = match (source, member) {
            (DialectId::OpenAiChat, ".detail") => ".image_url.detail",
            (_, member) => member,
        };
        return Some(format!("{path}{member}"));
    }
    if let Some((at, _)) = numbered(rest, ".tool_calls[") {
        let Some(path) = origin.calls.get(at) else { return Some(whole.to_owned()) };
        let member = match source {
            DialectId::OpenAiChat if !path.ends_with(".function_call") => "function.arguments",
            DialectId::Anthropic => "input",
            DialectId::Gemini => "functionCall.args",
            _ => "arguments",
        };
        return Some(format!("{path}.{member}"));
    }
    let member = match (source, rest) {
        (DialectId::OpenAiResponses, ".tool_call_id") => ".call_id",
        (DialectId::Anthropic, ".tool_call_id") => ".tool_use_id",
        (DialectId::Gemini, ".tool_call_id") => ".functionResponse.id",
        (DialectId::Gemini, ".is_error") => ".functionResponse.response.error",
        (_, member) => member,
    };
    Some(format!("{whole}{member}"))
}

/// A member of a tool as its client's dialect calls it.
fn of_tool<'m>(source: DialectId, path: &str, member: &'m str) -> &'m str {
    match (source, member) {
        (DialectId::OpenAiChat, _) if path.starts_with("functions[") => member,
        (DialectId::OpenAiChat, ".strict") => ".function.strict",
        (DialectId::OpenAiChat, ".parameters") => ".function.parameters",
        (DialectId::OpenAiChat, ".format") => ".custom.format",
        (DialectId::Anthropic, ".parameters") => ".input_schema",
        (DialectId::Gemini, ".parameters") => ".parametersJsonSchema",
        (_, member) => member,
    }
}
