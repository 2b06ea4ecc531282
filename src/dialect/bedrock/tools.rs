//! Tools and which of them must be called.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::family::{member, takes};
use super::turns::verbatim;
use super::types::{CachePoint, InputSchema, Tool, ToolChoice, ToolConfig, ToolSpec};
use crate::dialect::Destination;
use crate::dialect::params::{self, Slot};
use crate::dialect::places;
use crate::domain::chat::{ChatRequest, Loss, ToolChoice as Choice, ToolKind};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::DialectId;

/// The schema of the function that stands for a custom tool: its text as the one argument.
const CUSTOM_SCHEMA: &str =
    r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;

/// The schema of a function without arguments; the provider demands one.
const NO_ARGUMENTS: &str = r#"{"type":"object","properties":{}}"#;

/// Tools and choice. `called` are the functions called in the conversation: as soon as there is one, the provider
/// demands tools, even where the client has none any more or wants none called.
///
/// # Errors
/// A schema that is no JSON.
pub(super) fn config<'a>(
    request: &'a ChatRequest,
    called: &[&'a str],
    free: bool,
    to: &Destination<'_>,
    loss: &mut Loss,
) -> Result<Option<ToolConfig<'a>>, Error> {
    let none_wanted = request.tool_choice == Some(Choice::None);
    if none_wanted && called.is_empty() {
        // No tools, no calls.
        return Ok(None);
    }
    let mut list = tools(request, to, loss)?;
    if list.is_empty() {
        let json = fixed(NO_ARGUMENTS)?;
        let stand_in = |name: &&'a str| {
            let input_schema = InputSchema { json };
            Tool::ToolSpec(ToolSpec { name: Cow::Borrowed(*name), description: None, input_schema, strict: None })
        };
        list.extend(called.iter().map(stand_in));
        return Ok((!list.is_empty()).then_some(ToolConfig { tools: list, tool_choice: None }));
    }
    let tool_choice = match request.tool_choice.as_ref() {
        None => None,
        Some(Choice::Auto) => Some(ToolChoice::Auto {}),
        Some(Choice::None) => {
            params::lose(request, Slot::ToolChoice, loss);
            None
        }
        Some(Choice::Required | Choice::Function(_)) if !free => {
            params::lose(request, Slot::ToolChoice, loss);
            Some(ToolChoice::Auto {})
        }
        Some(Choice::Required) => Some(ToolChoice::Any {}),
        Some(Choice::Function(name)) => Some(ToolChoice::Tool { name }),
    };
    Ok(Some(ToolConfig { tools: list, tool_choice }))
}

fn tools<'a>(request: &'a ChatRequest, to: &Destination<'_>, loss: &mut Loss) -> Result<Vec<Tool<'a>>, Error> {
    let (caches, lifetimes) = (takes(to, member::TOOLS_CACHE_POINT), takes(to, member::CACHE_TTL));
    let mut tools = Vec::with_capacity(request.tools.len());
    for (at, tool) in request.tools.iter().enumerate() {
        let json = match &tool.kind {
            ToolKind::Function => match tool.parameters.as_ref().filter(|p| params::squeezed(p.as_str()) != "{}") {
                Some(schema) => verbatim(schema, || places::tool_member(at, "parameters"))?,
                None => fixed(NO_ARGUMENTS)?,
            },
            ToolKind::Custom { format } => {
                if format.is_some() {
                    loss.advisory.push(places::tool_member(at, "format"));
                }
                fixed(CUSTOM_SCHEMA)?
            }
            ToolKind::Server { origin: DialectId::Bedrock, raw } => {
                tools.push(Tool::Raw(verbatim(raw, || places::tool(at))?));
                continue;
            }
            // Reported with the loss.
            ToolKind::Server { .. } => continue,
        };
        let strict = tool.strict.filter(|s| *s && matches!(tool.kind, ToolKind::Function));
        let taken = strict.filter(|_| takes(to, member::STRICT));
        if taken != strict {
            // The schema is still told; only the promise to follow it is not there.
            loss.advisory.push(places::tool_member(at, "strict"));
        }
        let description = tool.description.as_deref().filter(|d| !d.is_empty());
        let input_schema = InputSchema { json };
        tools.push(Tool::ToolSpec(ToolSpec { name: tool.flat_name(), description, input_schema, strict: taken }));
        match &tool.cache {
            Some(mark) if caches => tools.push(Tool::CachePoint(CachePoint::new(mark, lifetimes))),
            Some(_) => params::lose(request, Slot::CacheMarks, loss),
            None => {}
        }
    }
    Ok(tools)
}

fn fixed(schema: &'static str) -> Result<&'static RawValue, Error> {
    serde_json::from_str(schema)
        .map_err(|e| Error::new(ErrorKind::Internal, "a fixed schema is broken").detail(e.to_string()))
}
