//! `functions` and `function_call`, the older form of tools: one call at a time, and no ids.
//!
//! Format: OpenAI API reference, "Create chat completion", deprecated members.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::dialect::read::{Members, read, typed, wrong};
use crate::domain::chat::{Json, Message, Origin, Role, Tool, ToolCall, ToolChoice};
use crate::domain::error::Error;

/// The id of a call or a result until it is matched. No client can write it: ids of this form are given here alone.
pub(super) const UNMATCHED: &str = "";

/// A call, whole or a piece of it.
#[derive(Serialize)]
pub(super) struct FunctionCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    pub(super) arguments: &'a str,
}

/// Tools, and which of them is to be called.
type Functions = (Vec<Tool>, Option<ToolChoice>);

/// Functions and which of them is to be called; none = the request has none.
pub(super) fn take(members: &mut Members<'_>, tools: bool) -> Result<Option<Functions>, Error> {
    #[derive(Deserialize)]
    struct Function<'a> {
        name: String,
        description: Option<String>,
        #[serde(borrow)]
        parameters: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Choice {
        Word(String),
        Named { name: String },
    }
    let given: Vec<&RawValue> = members.take("functions")?.unwrap_or_default();
    let choice = members.raw("function_call");
    if given.is_empty() {
        return Ok(None);
    }
    if tools {
        return Err(wrong("functions", "left out where `tools` is given"));
    }
    let tool = |(i, raw): (usize, &&RawValue)| {
        let path = format!("functions[{i}]");
        let function: Function<'_> = serde_json::from_str(raw.get()).map_err(|e| typed(&path, &e))?;
        let parameters = function.parameters.map(|raw| Json::new(raw.get()));
        let (description, origin) = (function.description, Origin::at(&path));
        Ok(Tool { name: function.name, description, parameters, origin, ..Tool::default() })
    };
    let functions = given.iter().enumerate().map(tool).collect::<Result<_, Error>>()?;
    let expected = "`none`, `auto` or a function";
    let choice = match choice.map(|raw| read::<Choice>(raw, "function_call", expected)).transpose()? {
        None => None,
        Some(Choice::Named { name }) => Some(ToolChoice::Function(name)),
        Some(Choice::Word(word)) => match word.as_str() {
            "none" => Some(ToolChoice::None),
            "auto" => Some(ToolChoice::Auto),
            _ => return Err(wrong("function_call", expected)),
        },
    };
    Ok(Some((functions, choice)))
}

/// A call in an assistant's message, without an id yet.
pub(super) fn call(raw: &RawValue, path: &str) -> Result<ToolCall, Error> {
    #[derive(Deserialize)]
    struct Wire {
        name: String,
        #[serde(default)]
        arguments: String,
    }
    let wire: Wire = serde_json::from_str(raw.get()).map_err(|e| typed(path, &e))?;
    Ok(ToolCall::new(UNMATCHED, wire.name, wire.arguments))
}

/// Gives every call an id, and its result the same: the one that follows it and has its name.
pub(super) fn match_results(messages: &mut [Message]) -> Result<(), Error> {
    let mut open: Vec<(String, String)> = Vec::new();
    for (at, message) in messages.iter_mut().enumerate() {
        for call in message.tool_calls.iter_mut().filter(|call| call.id == UNMATCHED) {
            call.id = format!("call_function_{at}");
            open.push((call.name.clone(), call.id.clone()));
        }
        if message.role == Role::Tool && message.tool_call_id.as_deref() == Some(UNMATCHED) {
            let name = message.name.as_deref().unwrap_or_default();
            let found = open.iter().position(|(called, _)| called == name);
            let Some(found) = found else {
                return Err(wrong(&format!("messages[{at}].name"), "the function of a call before it"));
            };
            message.tool_call_id = Some(open.remove(found).1);
        }
    }
    Ok(())
}
