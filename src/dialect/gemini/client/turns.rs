//! A client's contents as turns. Calls and results may come without ids: both then get the same made one, by name and
//! order.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::DIALECT;
use super::answer;
use crate::dialect::common;
use crate::dialect::read::{missing, read, typed, wrong};
use crate::domain::chat::{Json, Media, MediaSource, Message, Part, Role, Signature, ToolCall};
use crate::domain::error::Error;
use crate::domain::id::DialectId;

#[derive(Deserialize)]
struct WireContent<'a> {
    role: Option<String>,
    #[serde(borrow)]
    parts: Option<&'a RawValue>,
}

/// The parts of a content; one alone need not stand in an array.
fn listed<'a>(parts: Option<&'a RawValue>, path: &str) -> Result<Vec<&'a RawValue>, Error> {
    match parts.filter(|raw| raw.get() != "null") {
        None => Ok(Vec::new()),
        Some(raw) if raw.get().starts_with('{') => Ok(vec![raw]),
        Some(raw) => read(raw, &format!("{path}.parts"), "an array of parts"),
    }
}

#[derive(Deserialize)]
struct WirePart<'a> {
    text: Option<String>,
    thought: Option<bool>,
    #[serde(rename = "thoughtSignature", alias = "thought_signature")]
    signature: Option<String>,
    #[serde(rename = "inlineData", alias = "inline_data")]
    inline: Option<Blob>,
    #[serde(rename = "fileData", alias = "file_data")]
    file: Option<FileData>,
    #[serde(borrow, rename = "functionCall", alias = "function_call")]
    call: Option<FunctionCall<'a>>,
    #[serde(borrow, rename = "functionResponse", alias = "function_response")]
    response: Option<FunctionResponse<'a>>,
}

#[derive(Deserialize)]
struct Blob {
    #[serde(rename = "mimeType", alias = "mime_type")]
    mime_type: String,
    data: String,
}

impl Blob {
    /// Text is text: every dialect has that. Other bytes are media.
    fn part(self) -> Part {
        let data = standard(&self.data).unwrap_or(self.data);
        let read = || String::from_utf8(STANDARD.decode(&data).ok()?).ok();
        match self.mime_type.starts_with("text/").then(read).flatten() {
            Some(text) => Part::Text(text),
            None => media(MediaSource::Base64 { media_type: self.mime_type.clone(), data }, Some(self.mime_type)),
        }
    }
}

/// Data in the usual letters. Google's own client writes those of URLs, which no other provider takes.
fn standard(data: &str) -> Option<String> {
    let padding = match data.trim_end_matches('=').len() % 4 {
        2 => "==",
        3 => "=",
        _ => "",
    };
    let bare = data.trim_end_matches('=');
    if bare.len() + padding.len() == data.len() && !data.contains(['-', '_']) {
        return None;
    }
    Some(bare.replace('-', "+").replace('_', "/") + padding)
}

fn media(source: MediaSource, media_type: Option<String>) -> Part {
    let kind = media_type.clone().unwrap_or_default();
    let media = Media { source, media_type, detail: None, name: None };
    if kind.starts_with("audio/") {
        Part::Audio(media)
    } else if kind.starts_with("image/") || kind.is_empty() {
        Part::Image(media)
    } else {
        Part::File(media)
    }
}

#[derive(Deserialize)]
struct FileData {
    #[serde(rename = "mimeType", alias = "mime_type")]
    mime_type: Option<String>,
    #[serde(rename = "fileUri", alias = "file_uri")]
    uri: String,
}

impl FileData {
    fn part(self) -> Part {
        let stored = self.uri.contains("/files/") || self.uri.starts_with("gs://");
        let source = if stored {
            MediaSource::Stored { origin: DialectId::Gemini, id: self.uri }
        } else {
            MediaSource::Url(self.uri)
        };
        media(source, self.mime_type)
    }
}

#[derive(Deserialize)]
struct FunctionCall<'a> {
    id: Option<String>,
    name: String,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct FunctionResponse<'a> {
    id: Option<String>,
    name: String,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(default)]
    parts: Option<Vec<ResultPart>>,
}

/// Images and the like in a result.
#[derive(Deserialize)]
struct ResultPart {
    #[serde(rename = "inlineData", alias = "inline_data")]
    inline: Option<Blob>,
    #[serde(rename = "fileData", alias = "file_data")]
    file: Option<FileData>,
}

/// The parts of the system's turn: text.
pub(super) fn system(raw: &RawValue, path: &str) -> Result<Message, Error> {
    let mut turn = Message::at(Role::System, path);
    if raw.get().starts_with('"') {
        turn.say(Part::Text(read(raw, path, "a content")?), path);
        return Ok(turn);
    }
    let content: WireContent<'_> = serde_json::from_str(raw.get()).map_err(|e| typed(path, &e))?;
    for (at, raw) in listed(content.parts, path)?.iter().enumerate() {
        let path = format!("{path}.parts[{at}]");
        let part: WirePart<'_> = serde_json::from_str(raw.get()).map_err(|e| typed(&path, &e))?;
        turn.say(Part::Text(part.text.ok_or_else(|| missing(&format!("{path}.text")))?), &path);
    }
    Ok(turn)
}

/// Calls that have not been answered yet: name and id.
#[derive(Default)]
struct Open(Vec<(String, String)>);

impl Open {
    fn answered(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }
}

/// All contents; one alone need not stand in an array.
pub(super) fn decode(raw: &RawValue, out: &mut Vec<Message>) -> Result<(), Error> {
    let contents: Vec<&RawValue> =
        if raw.get().starts_with('[') { read(raw, "contents", "an array of contents")? } else { vec![raw] };
    let mut open = Open::default();
    for (at, raw) in contents.iter().enumerate() {
        let path = format!("contents[{at}]");
        let content: WireContent<'_> = serde_json::from_str(raw.get()).map_err(|e| typed(&path, &e))?;
        let role = match content.role.as_deref() {
            None | Some("user" | "function") => Role::User,
            Some("model") => Role::Assistant,
            Some("system") => Role::System,
            Some(_) => return Err(wrong(&format!("{path}.role"), "`user` or `model`")),
        };
        let mut turn = Turn { said: Message::at(role, &path), results: Vec::new(), number: at };
        for (part_at, raw) in listed(content.parts, &path)?.iter().enumerate() {
            turn.part(raw, &format!("{path}.parts[{part_at}]"), &mut open)?;
        }
        let answered = !turn.results.is_empty();
        out.append(&mut turn.results);
        if !answered || !turn.said.content.is_empty() {
            out.push(turn.said);
        }
    }
    Ok(())
}

struct Turn {
    said: Message,
    /// Results of calls become turns of their own, before whatever else is said.
    results: Vec<Message>,
    number: usize,
}

impl Turn {
    fn part(&mut self, raw: &RawValue, path: &str, open: &mut Open) -> Result<(), Error> {
        let part: WirePart<'_> = serde_json::from_str(raw.get()).map_err(|e| typed(path, &e))?;
        let signature = part.signature.filter(|s| !s.is_empty()).map(|s| answer::read_signature(&s));
        if let Some(call) = part.call {
            self.call(call, signature, path, open)?;
        } else if let Some(response) = part.response {
            self.result(response, path, open);
        } else if let Some(text) = part.text {
            self.text(text, part.thought == Some(true), signature, path);
        } else if let Some(blob) = part.inline {
            self.said.say(blob.part(), path);
        } else if let Some(file) = part.file {
            self.said.say(file.part(), path);
        } else {
            // Code that the provider ran and what comes next: only this dialect's providers understand it.
            self.said.say(Part::Opaque { dialect: DIALECT, raw: Json::new(raw.get()) }, path);
        }
        Ok(())
    }

    /// A signature on a text is of the thinking before it.
    fn text(&mut self, text: String, thought: bool, signature: Option<Signature>, path: &str) {
        if thought {
            self.said.say(Part::Reasoning { text, signature }, path);
            return;
        }
        if signature.is_some() {
            self.said.say(Part::Reasoning { text: String::new(), signature }, path);
        }
        if !text.is_empty() {
            self.said.say(Part::Text(text), path);
        }
    }

    fn call(
        &mut self,
        call: FunctionCall<'_>,
        signature: Option<Signature>,
        path: &str,
        open: &mut Open,
    ) -> Result<(), Error> {
        let arguments = call.args.filter(|raw| raw.get() != "null").map_or("{}", RawValue::get);
        if !arguments.starts_with('{') {
            return Err(wrong(&format!("{path}.functionCall.args"), "an object"));
        }
        let made = || format!("call_{}_{}", self.number, self.said.tool_calls.len());
        let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(made);
        open.0.push((call.name.clone(), id.clone()));
        let call = ToolCall { signature, ..ToolCall::new(id, call.name, common::given(arguments)) };
        self.said.call(call, path);
        Ok(())
    }

    fn result(&mut self, response: FunctionResponse<'_>, path: &str, open: &mut Open) {
        let by_order = open.answered(&response.name);
        let id = response.id.filter(|id| !id.is_empty()).or(by_order);
        let id = id.unwrap_or_else(|| format!("call_{}_{}", self.number, self.results.len()));
        let raw = response.response.map_or("{}", RawValue::get);
        let (text, failed) = unwrapped(raw);
        let mut message = Message::at(Role::Tool, path);
        message.say(Part::Text(text), path);
        for (at, part) in response.parts.unwrap_or_default().into_iter().enumerate() {
            let shown = part.inline.map(Blob::part).or(part.file.map(FileData::part));
            if let Some(shown) = shown {
                message.say(shown, &format!("{path}.functionResponse.parts[{at}]"));
            }
        }
        message.tool_call_id = Some(id);
        message.tool_failed = failed;
        self.results.push(message);
    }
}

/// SDKs wrap a result as `{"result": …}` and an error as `{"error": …}`; other objects are the result themselves.
fn unwrapped(raw: &str) -> (String, bool) {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wrapped<'a> {
        #[serde(borrow, alias = "output")]
        result: Option<&'a RawValue>,
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    let plain = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
    match serde_json::from_str::<Wrapped<'_>>(raw) {
        Ok(Wrapped { result: Some(result), error: None }) => (plain(result), false),
        Ok(Wrapped { result: None, error: Some(error) }) => (plain(error), true),
        _ => (raw.to_owned(), false),
    }
}
