//! Tools and the choice among them, both ways. Groups (`namespace`) become prefixes of names elsewhere.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::dialect::read::{missing, object, read, wrong};
use crate::domain::chat::{CUSTOM_ARGUMENT, ChatRequest, Json, Origin, Tool, ToolChoice, ToolKind};
use crate::domain::error::Error;
use crate::domain::id::DialectId;

#[derive(Deserialize)]
struct Read<'a> {
    r#type: String,
    name: Option<String>,
    description: Option<String>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    strict: Option<bool>,
    #[serde(borrow)]
    format: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<Vec<&'a RawValue>>,
}

/// Reads the client's tools. Kinds that nobody knows are the provider's own.
pub(super) fn decode(list: Vec<&RawValue>) -> Result<Vec<Tool>, Error> {
    let mut tools = Vec::with_capacity(list.len());
    for (at, raw) in list.into_iter().enumerate() {
        let path = format!("tools[{at}]");
        #[derive(Deserialize)]
        struct Kind {
            r#type: String,
        }
        let kind: Kind = object(raw, &path)?;
        if kind.r#type != "namespace" {
            tools.push(tool(raw, &path, &kind.r#type, None)?);
            continue;
        }
        let group: Read<'_> = object(raw, &path)?;
        let name = group.name.ok_or_else(|| missing(&format!("{path}.name")))?;
        for (inner, raw) in group.tools.unwrap_or_default().into_iter().enumerate() {
            let path = format!("{path}.tools[{inner}]");
            let kind: Kind = object(raw, &path)?;
            tools.push(tool(raw, &path, &kind.r#type, Some(name.clone()))?);
        }
    }
    Ok(tools)
}

fn tool(raw: &RawValue, path: &str, kind: &str, namespace: Option<String>) -> Result<Tool, Error> {
    if !matches!(kind, "function" | "custom") {
        let kind = ToolKind::Server { origin: DialectId::OpenAiResponses, raw: Json::new(raw.get()) };
        return Ok(Tool { kind, namespace, origin: Origin::at(path), ..Tool::default() });
    }
    let wire: Read<'_> = object(raw, path)?;
    let name = wire.name.ok_or_else(|| missing(&format!("{path}.name")))?;
    let json = |raw: Option<&RawValue>| raw.filter(|raw| raw.get() != "null").map(|raw| Json::new(raw.get()));
    let kind = match wire.r#type.as_str() {
        // Any text, which is what happens without one.
        "custom" if wire.format.is_some_and(|raw| crate::dialect::params::squeezed(raw.get()) == ANY_TEXT) => {
            ToolKind::Custom { format: None }
        }
        "custom" => ToolKind::Custom { format: json(wire.format) },
        _ => ToolKind::Function,
    };
    Ok(Tool {
        name,
        namespace,
        description: wire.description,
        parameters: json(wire.parameters),
        strict: wire.strict,
        kind,
        cache: None,
        origin: Origin::at(path),
    })
}

const ANY_TEXT: &str = r#"{"type":"text"}"#;

/// Which tool the client forces.
pub(super) enum Choice {
    /// The model decides: what every dialect does when nothing is said.
    Default,
    /// One that the canonical model knows.
    Known(ToolChoice),
    /// A tool that the provider runs itself.
    Own,
}

impl Choice {
    pub(super) fn known(self) -> Option<ToolChoice> {
        match self {
            Self::Known(choice) => Some(choice),
            Self::Default | Self::Own => None,
        }
    }
}

#[derive(Deserialize)]
struct Named {
    r#type: String,
    name: Option<String>,
    namespace: Option<String>,
    mode: Option<String>,
    tools: Option<Vec<Named>>,
}

/// Reads the choice. A choice among some tools leaves only those in the list.
pub(super) fn choice(raw: &RawValue, tools: &mut Vec<Tool>) -> Result<Choice, Error> {
    let expected = "`none`, `auto`, `required` or an object that names a tool";
    if raw.get().starts_with('"') {
        return word(&read::<String>(raw, "tool_choice", expected)?, "tool_choice");
    }
    let named: Named = read(raw, "tool_choice", expected)?;
    match named.r#type.as_str() {
        "function" | "custom" => {
            let name = named.name.ok_or_else(|| missing("tool_choice.name"))?;
            Ok(Choice::Known(ToolChoice::Function(flat(named.namespace.as_deref(), name, tools))))
        }
        "allowed_tools" => {
            let allowed = named.tools.ok_or_else(|| missing("tool_choice.tools"))?;
            tools.retain(|tool| allowed.iter().any(|named| named.is(tool)));
            if tools.is_empty() {
                return Err(wrong("tool_choice.tools", "tools that are in `tools`"));
            }
            word(named.mode.as_deref().unwrap_or("auto"), "tool_choice.mode")
        }
        _ => Ok(Choice::Own),
    }
}

fn word(word: &str, path: &str) -> Result<Choice, Error> {
    match word {
        "auto" => Ok(Choice::Default),
        "none" => Ok(Choice::Known(ToolChoice::None)),
        "required" => Ok(Choice::Known(ToolChoice::Required)),
        _ => Err(wrong(path, "`none`, `auto` or `required`")),
    }
}

impl Named {
    fn is(&self, tool: &Tool) -> bool {
        match &tool.kind {
            ToolKind::Server { raw, .. } => {
                serde_json::from_str::<Named>(raw.as_str()).is_ok_and(|own| own.r#type == self.r#type)
            }
            ToolKind::Function | ToolKind::Custom { .. } => {
                let same = self.name.as_ref() == Some(&tool.name);
                let group = self.namespace.is_none() || self.namespace == tool.namespace;
                // A whole group may be named as well.
                same && group || self.r#type == "namespace" && self.name.is_some() && self.name == tool.namespace
            }
        }
    }
}

/// The name of a function outside of its group. Providers name a group in calls of tools that stand in none.
pub(super) fn flat(namespace: Option<&str>, name: String, tools: &[Tool]) -> String {
    let grouped =
        |tool: &&Tool| tool.name == name && tool.namespace.is_some() && tool.namespace.as_deref() == namespace;
    tools.iter().find(grouped).map(|tool| tool.flat_name().into_owned()).unwrap_or(name)
}

/// What a called tool is, by the name the model used.
pub(super) struct Called<'a> {
    pub(super) name: &'a str,
    pub(super) namespace: Option<&'a str>,
    pub(super) custom: bool,
}

/// The tool of that flat name.
pub(super) fn called<'a>(request: &'a ChatRequest, flat: &'a str, custom: bool) -> Called<'a> {
    let server = |tool: &Tool| matches!(tool.kind, ToolKind::Server { .. });
    match request.tools.iter().find(|tool| !server(tool) && tool.flat_name() == flat) {
        Some(tool) => Called {
            name: &tool.name,
            namespace: tool.namespace.as_deref(),
            custom: custom || matches!(tool.kind, ToolKind::Custom { .. }),
        },
        None => Called { name: flat, namespace: None, custom },
    }
}

/// The text given to a custom tool that was carried as a function with one argument.
pub(super) fn custom_input(arguments: &str) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct Arguments {
        input: String,
    }
    debug_assert_eq!(CUSTOM_ARGUMENT, "input");
    match serde_json::from_str::<Arguments>(arguments) {
        Ok(arguments) => Cow::Owned(arguments.input),
        // Cut short, or written by a model that knows such tools: then it is the text.
        Err(_) => Cow::Borrowed(arguments),
    }
}

/// A tool as this dialect writes it.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum WireTool<'a> {
    Function {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        parameters: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
    Custom {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        format: Option<&'a RawValue>,
    },
    Namespace {
        name: &'a str,
        description: &'static str,
        tools: Vec<WireTool<'a>>,
    },
    #[serde(untagged)]
    Raw(&'a RawValue),
}

/// Writes tools, those of one group together.
///
/// # Errors
/// What is not well-formed JSON in a tool, by its number.
pub(super) fn encode(request: &ChatRequest) -> Result<Vec<WireTool<'_>>, usize> {
    let own = request.source == DialectId::OpenAiResponses;
    let mut out: Vec<WireTool<'_>> = Vec::with_capacity(request.tools.len());
    for (at, tool) in request.tools.iter().enumerate() {
        let description = tool.description.as_deref();
        let wire = match &tool.kind {
            ToolKind::Function => WireTool::Function {
                name: &tool.name,
                description,
                parameters: tool.parameters.as_ref().map(|json| raw(json, at)).transpose()?,
                // Left out, the provider makes the schema strict where it can, which makes optional arguments
                // required: no other dialect does.
                strict: tool.strict.or((!own).then_some(false)),
            },
            ToolKind::Custom { format } => WireTool::Custom {
                name: &tool.name,
                description,
                format: format.as_ref().map(|json| raw(json, at)).transpose()?,
            },
            ToolKind::Server { origin: DialectId::OpenAiResponses, raw: json } => WireTool::Raw(raw(json, at)?),
            ToolKind::Server { .. } => continue,
        };
        match (&tool.namespace, out.last_mut()) {
            (None, _) => out.push(wire),
            (Some(group), Some(WireTool::Namespace { name, tools, .. })) if group == name => tools.push(wire),
            (Some(group), _) => out.push(WireTool::Namespace { name: group, description: "", tools: vec![wire] }),
        }
    }
    Ok(out)
}

fn raw(json: &Json, at: usize) -> Result<&RawValue, usize> {
    serde_json::from_str(json.as_str()).map_err(|_| at)
}

/// The choice as this dialect writes it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum WireChoice<'a> {
    Word(&'static str),
    Tool {
        r#type: &'static str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'a str>,
    },
}

/// Writes the choice.
pub(super) fn encode_choice(request: &ChatRequest) -> Option<WireChoice<'_>> {
    Some(match request.tool_choice.as_ref()? {
        ToolChoice::Auto => WireChoice::Word("auto"),
        ToolChoice::None => WireChoice::Word("none"),
        ToolChoice::Required => WireChoice::Word("required"),
        ToolChoice::Function(name) => {
            let called = called(request, name, false);
            let r#type = if called.custom { "custom" } else { "function" };
            WireChoice::Tool { r#type, name: called.name, namespace: called.namespace }
        }
    })
}
