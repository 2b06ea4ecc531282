//! Names of places in a conversation, for errors and for the list of what is lost.
//!
//! Encoders know a place by its number in the canonical conversation, and name it in one way, whoever the client is:
//! `messages[2].content[0]`. Here such a name becomes the client's own path (`input[3]`, `contents[1].parts[0]`,
//! `system`), from what its decoder wrote down and what its dialect calls the rest ([`ClientWords`]). Every encoder's result goes through [`told`].

use super::params::{self, Slot};
use super::{Ingress, ingress};
use crate::domain::chat::{ChatRequest, Loss, Origin};
use crate::domain::error::Error;
use crate::domain::id::DialectId;

/// What a dialect's clients call the places that their decoder wrote down.
#[derive(Debug)]
pub struct ClientWords {
    /// The conversation.
    pub conversation: &'static str,
    /// Members of turns, parts and calls, with their dots: as encoders name them, and as the client does where that is
    /// another word.
    pub members: &'static [(&'static str, &'static str)],
    /// A member of the tool at a path; none = as encoders name it.
    pub of_tool: fn(path: &str, member: &str) -> Option<&'static str>,
}

impl ClientWords {
    /// Those of a client that says everything as encoders do.
    pub const PLAIN: Self = Self { conversation: "messages", members: &[], of_tool: |_, _| None };

    fn of<'m>(&self, member: &'m str) -> &'m str {
        self.members.iter().find(|(ours, _)| *ours == member).map_or(member, |(_, own)| own)
    }
}

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
    let Some(words) = ingress(request.source).map(Ingress::words) else { return name };
    if name == "messages" {
        return words.conversation.to_owned();
    }
    if let Some((at, rest)) = numbered(&name, "messages[") {
        let origin = request.messages.get(at).map(|message| &message.origin);
        return origin.and_then(|origin| in_turn(words, origin, rest)).unwrap_or(name);
    }
    if let Some((at, member)) = numbered(&name, "tools[") {
        let path = request.tools.get(at).and_then(|tool| tool.origin.path.as_deref());
        return path.map(|path| format!("{path}{}", (words.of_tool)(path, member).unwrap_or(member))).unwrap_or(name);
    }
    name
}

/// The client's name of a parameter by which a provider of another dialect calls it.
pub(super) fn param_of(provider: DialectId, source: DialectId, name: &str) -> Option<String> {
    if name == "model" {
        return Some(name.to_owned());
    }
    let head = name.split(['.', '[']).next().unwrap_or_default();
    let mut clients = DialectId::ALL.into_iter().filter_map(ingress);
    if clients.any(|client| client.words().conversation == head) {
        return Some(ingress(source)?.words().conversation.to_owned());
    }
    let table = ingress(provider)?.parameters();
    let row = table.iter().find(|row| row.name == name).or_else(|| table.iter().find(|row| row.name == head))?;
    let own = params::name_of(source, row.slot);
    let known = !matches!(row.slot, Slot::Core | Slot::Own(_)) && own != "?";
    known.then(|| own.to_owned())
}

/// The number after a beginning, and what follows its bracket.
fn numbered<'n>(name: &'n str, before: &str) -> Option<(usize, &'n str)> {
    let (number, rest) = name.strip_prefix(before)?.split_once(']')?;
    Some((number.parse().ok()?, rest))
}

fn in_turn(words: &ClientWords, origin: &Origin, rest: &str) -> Option<String> {
    let whole = origin.path.as_deref()?;
    if let Some((at, member)) = numbered(rest, ".content[") {
        let Some(path) = origin.parts.get(at) else { return Some(whole.to_owned()) };
        return Some(format!("{path}{}", words.of(member)));
    }
    if let Some((at, member)) = numbered(rest, ".tool_calls[") {
        let Some(path) = origin.calls.get(at) else { return Some(whole.to_owned()) };
        return Some(format!("{path}{}", words.of(member)));
    }
    Some(format!("{whole}{}", words.of(rest)))
}
