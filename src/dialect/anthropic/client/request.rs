//! A client's request, decoded once when the target speaks another dialect. Wrong types are told with their path.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{DIALECT, REDACTED};
use crate::dialect::common;
use crate::dialect::read::{Members, missing, read, typed, wrong};
use crate::domain::chat::{
    CacheMark, ChatRequest, Json, Media, MediaSource, Message, Origin, Part, ReasoningSettings, ResponseFormat, Role,
    Sampling, Signature, Tool, ToolCall, ToolChoice, ToolKind,
};
use crate::domain::error::Error;
use crate::domain::id::DialectId;

pub(super) fn decode(body: &[u8]) -> Result<ChatRequest, Error> {
    let mut members = Members::of(body)?;
    let mut messages = Vec::new();
    if let Some(system) = members.raw("system") {
        let mut turn = Message::at(Role::System, "system");
        texts(system, "system", &mut turn)?;
        messages.push(turn);
    }
    let turns: Vec<&RawValue> = members.take("messages")?.unwrap_or_default();
    for (at, raw) in turns.iter().enumerate() {
        turn(raw, &format!("messages[{at}]"), &mut messages)?;
    }
    let choice: Option<WireChoice> = members.take("tool_choice")?;
    let parallel = choice.as_ref().and_then(|c| c.disable_parallel_tool_use).map(|disabled| !disabled);
    let config: WireConfig<'_> = members.take("output_config")?.unwrap_or_default();
    let format = config.format.or(members.raw("output_format"));
    let thinking: Option<WireThinking> = members.take("thinking")?;
    let hide_thinking = thinking.as_ref().is_some_and(|thinking| thinking.display.as_deref() == Some("omitted"));
    let reasoning = reasoning(thinking, config.effort);
    // `{"user_id": …}` names the end user; other labels stay labels.
    let labels = members.raw("metadata");
    let user = labels.and_then(|raw| serde_json::from_str::<UserId>(raw.get()).ok()).and_then(|u| u.user_id);
    // A mark on the whole request asks for caching where the provider thinks best: at the end of the prompt.
    if let Some(mark) = members.raw("cache_control")
        && let Some(last) = messages.last_mut()
    {
        last.say(Part::CacheMark(cache_mark(mark, "cache_control")?), "cache_control");
    }
    Ok(ChatRequest {
        source: DialectId::Anthropic,
        model: members.take("model")?.unwrap_or_default(),
        messages,
        tools: tools(&mut members)?,
        tool_choice: choice.map(tool_choice).transpose()?,
        parallel_tool_calls: parallel,
        legacy_functions: false,
        response_format: format.map(response_format).transpose()?,
        sampling: Sampling {
            temperature: members.take("temperature")?,
            top_p: members.take("top_p")?,
            top_k: members.take("top_k")?,
            stop: members.take("stop_sequences")?.unwrap_or_default(),
            ..Sampling::default()
        },
        max_output_tokens: members.take("max_tokens")?,
        reasoning,
        hide_thinking,
        stream: members.take("stream")?.unwrap_or(false),
        include_usage: true,
        user,
        service_tier: members.take::<String>("service_tier")?.map(|tier| match tier.as_str() {
            "standard_only" => "default".to_owned(),
            _ => tier,
        }),
        metadata: None,
        prompt_cache_key: None,
        verbosity: None,
        extra: members.rest(),
        unread: Vec::new(),
    })
}

#[derive(Deserialize)]
struct UserId {
    user_id: Option<String>,
}

#[derive(Default, Deserialize)]
struct WireConfig<'a> {
    #[serde(borrow)]
    format: Option<&'a RawValue>,
    effort: Option<String>,
}

#[derive(Deserialize)]
struct WireThinking {
    r#type: String,
    budget_tokens: Option<u64>,
    display: Option<String>,
}

/// `adaptive` leaves it to the model: the effort says how much, `medium` where nothing does.
fn reasoning(thinking: Option<WireThinking>, effort: Option<String>) -> Option<ReasoningSettings> {
    match thinking {
        None => effort.map(|effort| ReasoningSettings { effort: Some(effort), budget_tokens: None }),
        Some(thinking) => match thinking.r#type.as_str() {
            "disabled" => Some(ReasoningSettings { effort: Some("none".to_owned()), budget_tokens: None }),
            "enabled" => Some(ReasoningSettings { effort, budget_tokens: thinking.budget_tokens }),
            _ => {
                let effort = effort.unwrap_or_else(|| "medium".to_owned());
                Some(ReasoningSettings { effort: Some(effort), budget_tokens: None })
            }
        },
    }
}

#[derive(Deserialize)]
struct WireChoice {
    r#type: String,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

fn tool_choice(wire: WireChoice) -> Result<ToolChoice, Error> {
    match (wire.r#type.as_str(), wire.name) {
        ("auto", _) => Ok(ToolChoice::Auto),
        ("any", _) => Ok(ToolChoice::Required),
        ("none", _) => Ok(ToolChoice::None),
        ("tool", Some(name)) => Ok(ToolChoice::Function(name)),
        ("tool", None) => Err(missing("tool_choice.name")),
        _ => Err(wrong("tool_choice.type", "`auto`, `any`, `tool` or `none`")),
    }
}

fn response_format(raw: &RawValue) -> Result<ResponseFormat, Error> {
    let mut members = Members::within(raw, "output_config.format")?;
    match members.take::<String>("type")?.as_deref() {
        Some("json_schema") => Ok(ResponseFormat::JsonSchema {
            name: String::new(),
            description: None,
            schema: members.json("schema"),
            strict: Some(true),
        }),
        _ => Err(wrong("output_config.format.type", "`json_schema`")),
    }
}

fn tools(members: &mut Members<'_>) -> Result<Vec<Tool>, Error> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        r#type: Option<String>,
        name: Option<String>,
        description: Option<String>,
        #[serde(borrow)]
        input_schema: Option<&'a RawValue>,
        strict: Option<bool>,
        #[serde(borrow)]
        cache_control: Option<&'a RawValue>,
    }
    let raw: Vec<&RawValue> = members.take("tools")?.unwrap_or_default();
    let tool = |(at, raw): (usize, &&RawValue)| {
        let path = format!("tools[{at}]");
        let wire: Wire<'_> = serde_json::from_str(raw.get()).map_err(|e| typed(&path, &e))?;
        let cache = wire.cache_control.filter(|raw| raw.get() != "null");
        let cache = cache.map(|raw| cache_mark(raw, &format!("{path}.cache_control"))).transpose()?;
        let server = wire.r#type.as_deref().is_some_and(|kind| kind != "custom");
        let kind = if server {
            ToolKind::Server { origin: DialectId::Anthropic, raw: Json::new(raw.get()) }
        } else {
            ToolKind::Function
        };
        let name = match (wire.name, server) {
            (Some(name), _) => name,
            (None, true) => String::new(),
            (None, false) => return Err(missing(&format!("{path}.name"))),
        };
        Ok(Tool {
            name,
            namespace: None,
            description: wire.description,
            parameters: wire.input_schema.map(|raw| Json::new(raw.get())),
            strict: wire.strict,
            kind,
            cache,
            origin: Origin::at(&path),
        })
    };
    raw.iter().enumerate().map(tool).collect()
}

fn cache_mark(raw: &RawValue, path: &str) -> Result<CacheMark, Error> {
    #[derive(Deserialize)]
    struct Wire {
        ttl: Option<String>,
    }
    let wire: Wire = read(raw, path, "an object")?;
    Ok(CacheMark { ttl: wire.ttl })
}

#[derive(Deserialize)]
struct WireTurn<'a> {
    role: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct WireBlock<'a> {
    r#type: String,
    text: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    data: Option<String>,
    id: Option<String>,
    name: Option<String>,
    title: Option<String>,
    context: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    tool_use_id: Option<String>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    is_error: Option<bool>,
    #[serde(borrow)]
    cache_control: Option<&'a RawValue>,
}

/// One turn; results of tools become turns of their own, before whatever else the user says in it.
fn turn(raw: &RawValue, path: &str, out: &mut Vec<Message>) -> Result<(), Error> {
    let wire: WireTurn<'_> = serde_json::from_str(raw.get()).map_err(|e| typed(path, &e))?;
    let role = match wire.role.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(wrong(&format!("{path}.role"), "`user`, `assistant` or `system`")),
    };
    let mut said = Message::at(role, path);
    let path = format!("{path}.content");
    if wire.content.get().starts_with('"') {
        said.say(Part::Text(read(wire.content, &path, "a string")?), &path);
        out.push(said);
        return Ok(());
    }
    let blocks: Vec<&RawValue> = read(wire.content, &path, "a string or an array of blocks")?;
    let mut results = 0;
    for (at, raw) in blocks.iter().enumerate() {
        let path = format!("{path}[{at}]");
        let block: WireBlock<'_> = serde_json::from_str(raw.get()).map_err(|e| typed(&path, &e))?;
        let mark = block.cache_control.filter(|raw| raw.get() != "null");
        let mark = mark.map(|raw| cache_mark(raw, &format!("{path}.cache_control"))).transpose()?;
        if block.r#type == "tool_result" {
            let mut result = tool_result(&block, &path)?;
            mark.into_iter().for_each(|mark| result.say(Part::CacheMark(mark), &path));
            out.push(result);
            results += 1;
            continue;
        }
        if block.r#type == "tool_use" {
            said.call(tool_use(block, &path)?, &path);
        } else {
            parts_of(block, raw, &path)?.for_each(|part| said.say(part, &path));
        }
        mark.into_iter().for_each(|mark| said.say(Part::CacheMark(mark), &path));
    }
    if results == 0 || !said.content.is_empty() {
        out.push(said);
    }
    Ok(())
}

fn tool_use(block: WireBlock<'_>, path: &str) -> Result<ToolCall, Error> {
    let id = block.id.ok_or_else(|| missing(&format!("{path}.id")))?;
    let name = block.name.ok_or_else(|| missing(&format!("{path}.name")))?;
    let input = block.input.map_or("{}", RawValue::get);
    if !input.starts_with('{') {
        return Err(wrong(&format!("{path}.input"), "an object"));
    }
    Ok(ToolCall::new(id, name, common::given(input)))
}

fn tool_result(block: &WireBlock<'_>, path: &str) -> Result<Message, Error> {
    let id = block.tool_use_id.clone().ok_or_else(|| missing(&format!("{path}.tool_use_id")))?;
    let mut message = Message::at(Role::Tool, path);
    if let Some(raw) = block.content.filter(|raw| raw.get() != "null") {
        parts(raw, &format!("{path}.content"), &mut message)?;
    }
    message.tool_call_id = Some(id);
    message.tool_failed = block.is_error == Some(true);
    Ok(message)
}

/// Text, or blocks.
fn parts(raw: &RawValue, path: &str, out: &mut Message) -> Result<(), Error> {
    if raw.get().starts_with('"') {
        out.say(Part::Text(read(raw, path, "a string")?), path);
        return Ok(());
    }
    let blocks: Vec<&RawValue> = read(raw, path, "a string or an array of blocks")?;
    for (at, raw) in blocks.iter().enumerate() {
        let path = format!("{path}[{at}]");
        let block: WireBlock<'_> = serde_json::from_str(raw.get()).map_err(|e| typed(&path, &e))?;
        parts_of(block, raw, &path)?.for_each(|part| out.say(part, &path));
    }
    Ok(())
}

/// A block; what is said about a document stands before it.
fn parts_of(mut block: WireBlock<'_>, raw: &RawValue, path: &str) -> Result<impl Iterator<Item = Part>, Error> {
    let about = block.context.take().filter(|text| !text.is_empty() && block.r#type == "document");
    let part = part(block, raw, path)?;
    let about = about.filter(|_| !matches!(part, Part::Opaque { .. }));
    Ok(about.map(Part::Text).into_iter().chain(std::iter::once(part)))
}

/// Text, or blocks of text with their marks.
fn texts(raw: &RawValue, path: &str, out: &mut Message) -> Result<(), Error> {
    if raw.get().starts_with('"') {
        out.say(Part::Text(read(raw, path, "a string")?), path);
        return Ok(());
    }
    let blocks: Vec<&RawValue> = read(raw, path, "a string or an array of text blocks")?;
    for (at, raw) in blocks.iter().enumerate() {
        let path = format!("{path}[{at}]");
        let block: WireBlock<'_> = serde_json::from_str(raw.get()).map_err(|e| typed(&path, &e))?;
        out.say(Part::Text(block.text.ok_or_else(|| missing(&format!("{path}.text")))?), &path);
        let mark = block.cache_control.filter(|raw| raw.get() != "null");
        let mark = mark.map(|raw| cache_mark(raw, &format!("{path}.cache_control"))).transpose()?;
        mark.into_iter().for_each(|mark| out.say(Part::CacheMark(mark), &path));
    }
    Ok(())
}

fn part(block: WireBlock<'_>, raw: &RawValue, path: &str) -> Result<Part, Error> {
    let absent = |member: &str| missing(&format!("{path}.{member}"));
    match block.r#type.as_str() {
        "text" => block.text.map(Part::Text).ok_or_else(|| absent("text")),
        "thinking" => {
            let signature = block.signature.filter(|s| !s.is_empty());
            let signature = signature.map(|s| Signature::read(&s, DialectId::Anthropic));
            Ok(Part::Reasoning { text: block.thinking.unwrap_or_default(), signature })
        }
        "redacted_thinking" => {
            let data = block.data.ok_or_else(|| absent("data"))?;
            let signature = Signature::new(DialectId::Anthropic, format!("{REDACTED}{data}"));
            Ok(Part::Reasoning { text: String::new(), signature: Some(signature) })
        }
        "image" => source(block.source.ok_or_else(|| absent("source"))?, path).map(Part::Image),
        "document" => document(block, raw, path),
        // Blocks of server tools, references and what comes next: only this dialect's providers understand them.
        _ => Ok(Part::Opaque { dialect: DIALECT, raw: Json::new(raw.get()) }),
    }
}

#[derive(Deserialize)]
struct WireSource {
    r#type: String,
    media_type: Option<String>,
    data: Option<String>,
    url: Option<String>,
    file_id: Option<String>,
}

pub(super) fn source(raw: &RawValue, path: &str) -> Result<Media, Error> {
    let path = format!("{path}.source");
    let wire: WireSource = serde_json::from_str(raw.get()).map_err(|e| typed(&path, &e))?;
    let absent = |member: &str| missing(&format!("{path}.{member}"));
    let source = match wire.r#type.as_str() {
        "base64" => MediaSource::Base64 {
            media_type: wire.media_type.ok_or_else(|| absent("media_type"))?,
            data: wire.data.ok_or_else(|| absent("data"))?,
        },
        "url" => MediaSource::Url(wire.url.ok_or_else(|| absent("url"))?),
        "file" => {
            let id = wire.file_id.ok_or_else(|| absent("file_id"))?;
            MediaSource::Stored { origin: DialectId::Anthropic, id }
        }
        _ => return Err(wrong(&format!("{path}.type"), "`base64`, `url` or `file`")),
    };
    Ok(Media { source, media_type: None, detail: None, name: None })
}

/// A document of plain text is text: every dialect has that.
fn document(block: WireBlock<'_>, raw: &RawValue, path: &str) -> Result<Part, Error> {
    let source_raw = block.source.ok_or_else(|| missing(&format!("{path}.source")))?;
    let wire: WireSource = match serde_json::from_str(source_raw.get()) {
        Ok(wire) => wire,
        Err(error) => return Err(typed(&format!("{path}.source"), &error)),
    };
    match (wire.r#type.as_str(), wire.data) {
        ("text", Some(text)) => {
            let title = block.title.map(|title| format!("{title}\n\n")).unwrap_or_default();
            Ok(Part::Text(format!("{title}{text}")))
        }
        // Blocks within a document: understood by this dialect's providers alone.
        ("content", _) => Ok(Part::Opaque { dialect: DIALECT, raw: Json::new(raw.get()) }),
        _ => {
            let media = source(source_raw, path)?;
            Ok(Part::File(Media { name: block.title, ..media }))
        }
    }
}
