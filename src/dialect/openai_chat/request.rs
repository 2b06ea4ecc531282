//! A client's request, decoded once when the target speaks another dialect. Wrong types are told with their path.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{extras, functions};
use crate::dialect::common::{self, lenient};
use crate::dialect::read::{Members, read, typed, wrong};
use crate::domain::chat::{
    CacheMark, ChatRequest, Json, Media, MediaSource, Message, Origin, Part, ReasoningSettings, ResponseFormat, Role,
    Sampling, Tool, ToolCall, ToolChoice, ToolKind,
};
use crate::domain::error::Error;
use crate::domain::id::DialectId;

pub(super) fn decode(body: &[u8]) -> Result<ChatRequest, Error> {
    let mut members = Members::of(body)?;
    let messages: Vec<&RawValue> = members.take("messages")?.unwrap_or_default();
    let mut messages = messages
        .iter()
        .enumerate()
        .map(|(i, raw)| message(raw, &format!("messages[{i}]")))
        .collect::<Result<Vec<_>, _>>()?;
    functions::match_results(&mut messages)?;
    let mut tools = tools(&mut members)?;
    let choice = members.raw("tool_choice").map(|raw| tool_choice(raw, &mut tools)).transpose()?;
    let functions = functions::take(&mut members, !tools.is_empty())?;
    let legacy_functions = functions.is_some();
    let (functions, function_choice) = functions.unwrap_or_default();
    let options: Option<StreamOptions> = members.take("stream_options")?;
    let limit: Option<u64> = members.take("max_completion_tokens")?;
    let older: Option<u64> = members.take("max_tokens")?;
    // Groq's word for saying nothing.
    let effort = members.take::<String>("reasoning_effort")?.filter(|effort| effort != "default");
    Ok(ChatRequest {
        source: DialectId::OpenAiChat,
        model: members.take("model")?.unwrap_or_default(),
        messages,
        tools: tools.into_iter().chain(functions).collect(),
        tool_choice: choice.or(function_choice),
        // The older API knows one call at a time.
        parallel_tool_calls: members.take("parallel_tool_calls")?.or(legacy_functions.then_some(false)),
        legacy_functions,
        response_format: members.raw("response_format").map(response_format).transpose()?,
        sampling: sampling(&mut members)?,
        max_output_tokens: limit.or(older),
        hide_thinking: hides_thinking(&mut members),
        reasoning: reasoning(effort, &mut members),
        stream: members.take("stream")?.unwrap_or(false),
        include_usage: options.and_then(|o| o.include_usage).unwrap_or(false),
        user: members.take("user")?,
        service_tier: members.take("service_tier")?,
        metadata: members.json("metadata"),
        prompt_cache_key: members.take("prompt_cache_key")?,
        verbosity: members.take("verbosity")?,
        extra: members.rest(),
        unread: Vec::new(),
    })
}

/// Whether the answer is to be shown without its thinking, in the words that imitators have for it.
fn hides_thinking(members: &mut Members<'_>) -> bool {
    #[derive(Deserialize)]
    struct Wish {
        exclude: Option<bool>,
        display: Option<String>,
    }
    let wish = |members: &Members<'_>, name: &str| -> Option<Wish> { members.peek(name) };
    let excluded = wish(members, "reasoning").is_some_and(|wish| wish.exclude == Some(true));
    let omitted = wish(members, "thinking").is_some_and(|wish| wish.display.as_deref() == Some("omitted"));
    let not_included = members.take_if_readable::<bool>("include_reasoning") == Some(false);
    let format: Option<String> = members.peek("reasoning_format");
    let hidden = format.as_deref() == Some("hidden");
    if matches!(format.as_deref(), Some("hidden" | "parsed")) {
        members.raw("reasoning_format");
    }
    excluded || omitted || not_included || hidden
}

/// How much to think: by the dialect's own word, by Anthropic's object, which SDKs pass on, or by `OpenRouter`'s. One
/// that cannot be read is left where it is and counts as unknown.
fn reasoning(effort: Option<String>, members: &mut Members<'_>) -> Option<ReasoningSettings> {
    #[derive(Deserialize)]
    struct Thinking {
        r#type: String,
        budget_tokens: Option<u64>,
    }
    #[derive(Deserialize)]
    struct Wanted {
        effort: Option<String>,
        max_tokens: Option<u64>,
        enabled: Option<bool>,
    }
    if let Some(effort) = effort {
        return Some(ReasoningSettings { effort: Some(effort), budget_tokens: None });
    }
    let word = |word: &str| Some(word.to_owned());
    if let Some(thinking) = members.take_if_readable::<Thinking>("thinking") {
        return Some(match (thinking.r#type.as_str(), thinking.budget_tokens) {
            ("disabled", _) => ReasoningSettings { effort: word("none"), budget_tokens: None },
            (_, Some(budget)) => ReasoningSettings { effort: None, budget_tokens: Some(budget) },
            (_, None) => ReasoningSettings { effort: word("medium"), budget_tokens: None },
        });
    }
    let wanted = members.take_if_readable::<Wanted>("reasoning")?;
    Some(match (wanted.effort, wanted.max_tokens, wanted.enabled) {
        (_, _, Some(false)) => ReasoningSettings { effort: word("none"), budget_tokens: None },
        (Some(effort), budget_tokens, _) => ReasoningSettings { effort: Some(effort), budget_tokens },
        (None, Some(budget), _) => ReasoningSettings { effort: None, budget_tokens: Some(budget) },
        (None, None, Some(true)) => ReasoningSettings { effort: word("medium"), budget_tokens: None },
        (None, None, None) => return None,
    })
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

fn sampling(members: &mut Members<'_>) -> Result<Sampling, Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stop {
        One(String),
        Many(Vec<String>),
    }
    let stop =
        members.raw("stop").map(|raw| read::<Stop>(raw, "stop", "a string or an array of strings")).transpose()?;
    Ok(Sampling {
        temperature: members.take("temperature")?,
        top_p: members.take("top_p")?,
        top_k: members.take("top_k")?,
        min_p: members.take("min_p")?,
        frequency_penalty: members.take("frequency_penalty")?,
        presence_penalty: members.take("presence_penalty")?,
        seed: members.take("seed")?,
        stop: match stop {
            None => Vec::new(),
            Some(Stop::One(one)) => vec![one],
            Some(Stop::Many(many)) => many,
        },
        logit_bias: members.raw("logit_bias").filter(|raw| raw.get() != "{}").map(|raw| Json::new(raw.get())),
        logprobs: members.take("logprobs")?,
        top_logprobs: members.take("top_logprobs")?,
        n: members.take("n")?,
    })
}

fn tools(members: &mut Members<'_>) -> Result<Vec<Tool>, Error> {
    #[derive(Deserialize)]
    struct Outer<'a> {
        r#type: Option<String>,
        #[serde(borrow)]
        function: Option<Function<'a>>,
        #[serde(borrow)]
        custom: Option<Custom<'a>>,
        #[serde(default, deserialize_with = "lenient")]
        cache_control: Option<WireMark>,
    }
    #[derive(Deserialize)]
    struct Custom<'a> {
        name: String,
        description: Option<String>,
        #[serde(borrow)]
        format: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Function<'a> {
        name: String,
        description: Option<String>,
        #[serde(borrow)]
        parameters: Option<&'a RawValue>,
        strict: Option<bool>,
    }
    let raw: Vec<&RawValue> = members.take("tools")?.unwrap_or_default();
    let tool = |(i, raw): (usize, &&RawValue)| {
        let path = format!("tools[{i}]");
        let outer: Outer<'_> = serde_json::from_str(raw.get()).map_err(|e| typed(&path, &e))?;
        match (outer.r#type.as_deref(), outer.custom) {
            (None | Some("function"), _) => {}
            (Some("custom"), Some(custom)) => {
                let kind = ToolKind::Custom { format: custom.format.and_then(grammar) };
                let (name, description) = (custom.name, custom.description);
                return Ok(Tool { name, description, kind, origin: Origin::at(&path), ..Tool::default() });
            }
            // Of some provider's own: no other knows it. Those that name them so, or searches, which all have.
            (Some(kind), _) if kind.contains(':') || kind.starts_with("web_search") => {
                let kind = ToolKind::Server { origin: DialectId::OpenAiChat, raw: Json::new(raw.get()) };
                return Ok(Tool { kind, origin: Origin::at(&path), ..Tool::default() });
            }
            _ => return Err(wrong(&format!("{path}.type"), "`function` or `custom`")),
        }
        let function = outer.function.ok_or_else(|| wrong(&format!("{path}.function"), "given"))?;
        Ok(Tool {
            name: function.name,
            description: function.description,
            parameters: function.parameters.map(|raw| Json::new(raw.get())),
            strict: function.strict,
            cache: outer.cache_control.map(WireMark::mark),
            origin: Origin::at(&path),
            ..Tool::default()
        })
    };
    raw.iter().enumerate().map(tool).collect()
}

/// The form of a custom tool's text. The sibling dialect's flat form is the canonical one; text of any form needs no word.
fn grammar(raw: &RawValue) -> Option<Json> {
    #[derive(Deserialize)]
    struct Format<'a> {
        r#type: &'a str,
        #[serde(borrow)]
        grammar: Option<Grammar<'a>>,
    }
    #[derive(Deserialize)]
    struct Grammar<'a> {
        #[serde(borrow)]
        definition: &'a RawValue,
        #[serde(borrow)]
        syntax: &'a RawValue,
    }
    match serde_json::from_str::<Format<'_>>(raw.get()) {
        Ok(Format { r#type: "text", .. }) => None,
        Ok(Format { r#type: "grammar", grammar: Some(Grammar { definition, syntax }) }) => Some(Json::new(format!(
            r#"{{"type":"grammar","definition":{},"syntax":{}}}"#,
            definition.get(),
            syntax.get()
        ))),
        _ => Some(Json::new(raw.get())).filter(|json| json.as_str() != "null"),
    }
}

/// A choice among some tools leaves only those in the list.
fn tool_choice(raw: &RawValue, tools: &mut Vec<Tool>) -> Result<ToolChoice, Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Wire {
        Word(String),
        Function { function: Named },
        Custom { custom: Named },
        Allowed { allowed_tools: Allowed },
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    #[derive(Deserialize)]
    struct Allowed {
        mode: String,
        tools: Vec<AllowedTool>,
    }
    #[derive(Deserialize)]
    struct AllowedTool {
        #[serde(alias = "custom")]
        function: Option<Named>,
    }
    let expected = "`none`, `auto`, `required`, a function, or `allowed_tools`";
    match read::<Wire>(raw, "tool_choice", expected)? {
        Wire::Function { function: named } | Wire::Custom { custom: named } => Ok(ToolChoice::Function(named.name)),
        Wire::Word(word) => match word.as_str() {
            "none" => Ok(ToolChoice::None),
            "auto" => Ok(ToolChoice::Auto),
            // `any` is Mistral's word.
            "required" | "any" => Ok(ToolChoice::Required),
            _ => Err(wrong("tool_choice", expected)),
        },
        Wire::Allowed { allowed_tools } => {
            let named = |tool: &Tool| {
                let names = allowed_tools.tools.iter().filter_map(|allowed| allowed.function.as_ref());
                names.into_iter().any(|allowed| allowed.name == tool.name)
            };
            tools.retain(named);
            match allowed_tools.mode.as_str() {
                _ if tools.is_empty() => Err(wrong("tool_choice.allowed_tools.tools", "tools that are in `tools`")),
                "auto" => Ok(ToolChoice::Auto),
                "required" => Ok(ToolChoice::Required),
                _ => Err(wrong("tool_choice.allowed_tools.mode", "`auto` or `required`")),
            }
        }
    }
}

fn response_format(raw: &RawValue) -> Result<ResponseFormat, Error> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        r#type: String,
        #[serde(borrow)]
        json_schema: Option<Schema<'a>>,
        /// Where some imitators take a schema.
        #[serde(borrow)]
        schema: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Schema<'a> {
        #[serde(default)]
        name: String,
        description: Option<String>,
        #[serde(borrow)]
        schema: Option<&'a RawValue>,
        strict: Option<bool>,
    }
    let wire: Wire<'_> = serde_json::from_str(raw.get()).map_err(|e| typed("response_format", &e))?;
    match (wire.r#type.as_str(), wire.json_schema) {
        ("text", _) => Ok(ResponseFormat::Text),
        ("json_object", _) => Ok(match wire.schema.filter(|raw| raw.get().starts_with('{')) {
            None => ResponseFormat::JsonObject,
            Some(schema) => ResponseFormat::JsonSchema {
                name: String::new(),
                description: None,
                schema: Some(Json::new(schema.get())),
                strict: None,
            },
        }),
        ("json_schema", Some(schema)) => Ok(ResponseFormat::JsonSchema {
            name: schema.name,
            description: schema.description,
            schema: schema.schema.map(|raw| Json::new(raw.get())),
            strict: schema.strict,
        }),
        ("json_schema", None) => Err(wrong("response_format.json_schema", "given")),
        _ => Err(wrong("response_format.type", "`text`, `json_object` or `json_schema`")),
    }
}

#[derive(Deserialize)]
struct WireMessage<'a> {
    role: String,
    name: Option<String>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
    #[serde(borrow)]
    reasoning_details: Option<Vec<&'a RawValue>>,
    refusal: Option<String>,
    #[serde(borrow)]
    tool_calls: Option<Vec<&'a RawValue>>,
    tool_call_id: Option<String>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient")]
    audio: Option<Spoken>,
}

/// What the assistant said aloud: the provider keeps the sound.
#[derive(Deserialize)]
struct Spoken {
    id: String,
    transcript: Option<String>,
}

impl Spoken {
    /// Its words, where the client has them. The sound itself no other provider can read.
    fn part(self) -> Part {
        let sound = |id| Media {
            source: MediaSource::Stored { origin: DialectId::OpenAiChat, id },
            media_type: None,
            detail: None,
            name: None,
        };
        match self.transcript.filter(|words| !words.is_empty()) {
            Some(words) => Part::Text(words),
            None => Part::Audio(sound(self.id)),
        }
    }
}

fn message(raw: &RawValue, path: &str) -> Result<Message, Error> {
    let wire: WireMessage<'_> = serde_json::from_str(raw.get()).map_err(|e| typed(path, &e))?;
    let role = match wire.role.as_str() {
        "system" => Role::System,
        "developer" => Role::Developer,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" | "function" => Role::Tool,
        _ => return Err(wrong(&format!("{path}.role"), "`system`, `developer`, `user`, `assistant` or `tool`")),
    };
    let legacy = wire.role == "function";
    if legacy && wire.name.is_none() {
        return Err(wrong(&format!("{path}.name"), "given for a `function` message"));
    }
    if role == Role::Tool && !legacy && wire.tool_call_id.is_none() {
        return Err(wrong(&format!("{path}.tool_call_id"), "given for a `tool` message"));
    }
    let (thought_in, thinking) = match (wire.reasoning_content, wire.reasoning) {
        (Some(text), _) => ("reasoning_content", text),
        (None, Some(text)) => ("reasoning", text),
        (None, None) => ("reasoning_details", String::new()),
    };
    let signature = wire.reasoning_details.as_deref().and_then(extras::signature);
    let mut message = Message::at(role, path);
    if !thinking.is_empty() || signature.is_some() {
        message.say(Part::Reasoning { text: thinking, signature }, &format!("{path}.{thought_in}"));
    }
    if let Some(raw) = wire.content {
        content(raw, &format!("{path}.content"), &mut message)?;
    }
    if let Some(text) = wire.refusal.filter(|text| !text.is_empty()) {
        message.say(Part::Refusal(text), &format!("{path}.refusal"));
    }
    if let Some(spoken) = wire.audio {
        message.say(spoken.part(), &format!("{path}.audio"));
    }
    for (at, raw) in wire.tool_calls.unwrap_or_default().into_iter().enumerate() {
        let path = format!("{path}.tool_calls[{at}]");
        message.call(call(raw, &path)?, &format!("{path}.function"));
    }
    if let Some(raw) = wire.function_call.filter(|_| message.tool_calls.is_empty()) {
        let path = format!("{path}.function_call");
        message.call(functions::call(raw, &path)?, &path);
    }
    message.name = wire.name;
    message.tool_call_id = if legacy { Some(functions::UNMATCHED.to_owned()) } else { wire.tool_call_id };
    Ok(message)
}

fn call(raw: &RawValue, path: &str) -> Result<ToolCall, Error> {
    #[derive(Deserialize)]
    struct Wire {
        id: String,
        function: Option<Function>,
        custom: Option<Custom>,
        extra_content: Option<extras::ExtraContent>,
    }
    #[derive(Deserialize)]
    struct Function {
        name: String,
        #[serde(default)]
        arguments: String,
    }
    #[derive(Deserialize)]
    struct Custom {
        name: String,
        #[serde(default)]
        input: String,
    }
    let wire: Wire = serde_json::from_str(raw.get()).map_err(|e| typed(path, &e))?;
    let signature = wire.extra_content.map(extras::ExtraContent::signature);
    match (wire.function, wire.custom) {
        (Some(function), _) => Ok(ToolCall { signature, ..ToolCall::new(wire.id, function.name, function.arguments) }),
        (None, Some(custom)) => Ok(ToolCall { custom: true, ..ToolCall::new(wire.id, custom.name, custom.input) }),
        (None, None) => Err(wrong(&format!("{path}.function"), "given")),
    }
}

/// Text, null, or parts.
fn content(raw: &RawValue, path: &str, out: &mut Message) -> Result<(), Error> {
    let text = raw.get();
    if text == "null" {
        return Ok(());
    }
    if text.starts_with('"') {
        out.say(Part::Text(read(raw, path, "a string")?), path);
        return Ok(());
    }
    let parts: Vec<&RawValue> = read(raw, path, "a string or an array of parts")?;
    for (i, raw) in parts.into_iter().enumerate() {
        let path = format!("{path}[{i}]");
        let mut wire: WirePart = serde_json::from_str(raw.get()).map_err(|e| typed(&path, &e))?;
        let mark = wire.cache_control.take();
        out.say(part(wire, raw, &path)?, &path);
        if let Some(mark) = mark {
            out.say(Part::CacheMark(mark.mark()), &path);
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct WirePart {
    r#type: String,
    text: Option<String>,
    refusal: Option<String>,
    image_url: Option<ImageUrl>,
    input_audio: Option<InputAudio>,
    file: Option<File>,
    thinking: Option<Vec<Thought>>,
    /// Anthropic's mark, which SDKs and other gateways pass on.
    #[serde(default, deserialize_with = "lenient")]
    cache_control: Option<WireMark>,
}

#[derive(Deserialize)]
struct WireMark {
    ttl: Option<String>,
}

impl WireMark {
    fn mark(self) -> CacheMark {
        CacheMark { ttl: self.ttl }
    }
}

/// An object, or with some the address alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum ImageUrl {
    Object { url: String, detail: Option<String> },
    Address(String),
}

/// Mistral's thinking comes back in parts.
#[derive(Deserialize)]
struct Thought {
    text: Option<String>,
}

/// An object, or with Mistral the base64 or the address alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum InputAudio {
    Object { data: String, format: String },
    Alone(String),
}

/// What kind of sound begins like this, in base64: a WAV file, FLAC, Ogg; else MP3.
fn sound(data: &str) -> &'static str {
    match data.get(..4) {
        Some("UklG") => "audio/wav",
        Some("Zkxh") => "audio/flac",
        Some("T2dn") => "audio/ogg",
        _ => "audio/mp3",
    }
}

#[derive(Deserialize)]
struct File {
    file_data: Option<String>,
    file_id: Option<String>,
    filename: Option<String>,
}

fn part(wire: WirePart, raw: &RawValue, path: &str) -> Result<Part, Error> {
    let missing = |member: &str| wrong(&format!("{path}.{member}"), "given");
    match wire.r#type.as_str() {
        "text" => wire.text.map(Part::Text).ok_or_else(|| missing("text")),
        "refusal" => wire.refusal.map(Part::Refusal).ok_or_else(|| missing("refusal")),
        "image_url" => {
            let image = wire.image_url.ok_or_else(|| missing("image_url"))?;
            let (url, detail) = match image {
                ImageUrl::Object { url, detail } => (url, detail),
                ImageUrl::Address(url) => (url, None),
            };
            let source = source(url, &format!("{path}.image_url.url"))?;
            Ok(Part::Image(Media { source, media_type: None, detail, name: None }))
        }
        "input_audio" => {
            let source = match wire.input_audio.ok_or_else(|| missing("input_audio"))? {
                InputAudio::Object { data, format } => {
                    MediaSource::Base64 { media_type: format!("audio/{format}"), data }
                }
                InputAudio::Alone(address) if address.contains(':') => source(address, &format!("{path}.input_audio"))?,
                InputAudio::Alone(data) => MediaSource::Base64 { media_type: sound(&data).to_owned(), data },
            };
            Ok(Part::Audio(Media { source, media_type: None, detail: None, name: None }))
        }
        "file" => {
            let file = wire.file.ok_or_else(|| missing("file"))?;
            let source = match (file.file_data, file.file_id) {
                (Some(data), _) => common::document(data, file.filename.as_deref())
                    .ok_or_else(|| wrong(&format!("{path}.file.file_data"), "base64, or a data URL in base64"))?,
                (None, Some(id)) => MediaSource::Stored { origin: DialectId::OpenAiChat, id },
                (None, None) => return Err(missing("file.file_data")),
            };
            Ok(Part::File(Media { source, media_type: None, detail: None, name: file.filename }))
        }
        "thinking" => {
            let thoughts = wire.thinking.ok_or_else(|| missing("thinking"))?;
            let text = thoughts.into_iter().filter_map(|thought| thought.text).collect();
            Ok(Part::Reasoning { text, signature: None })
        }
        // Of some provider's own: no other can read it, and where it matters the encoder refuses it by its path.
        _ => Ok(Part::Opaque { dialect: DialectId::OpenAiChat.name(), raw: Json::new(raw.get()) }),
    }
}

/// A URL, or the parts of a `data:` URL.
fn source(url: String, path: &str) -> Result<MediaSource, Error> {
    let Some(rest) = url.strip_prefix("data:") else { return Ok(MediaSource::Url(url)) };
    let (head, data) = rest.split_once(',').ok_or_else(|| wrong(path, "a URL or a base64 data URL"))?;
    let media_type = head.strip_suffix(";base64").ok_or_else(|| wrong(path, "a data URL in base64"))?;
    Ok(MediaSource::Base64 { media_type: media_type.to_owned(), data: data.to_owned() })
}
