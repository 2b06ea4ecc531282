//! The conversation: system turns hoisted, turns of one side merged, results of tools first in their user turn.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::family::{member, takes};
use super::types::{Block, CachePoint, Document, Media as WireMedia, Reasoning, Source, ToolResult, ToolUse, Turn};
use super::{DIALECT, REDACTED};
use crate::dialect::Destination;
use crate::dialect::common::{self, no_equal};
use crate::dialect::ids::short_tool_id;
use crate::dialect::params::{self, Slot};
use crate::dialect::places;
use crate::domain::chat::{
    CacheMark, ChatRequest, Json, Loss, Media, MediaSource, Message, Part, Role, Signature, ToolCall,
};
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::DialectId;

/// The conversation in this dialect's shape.
pub(super) struct Conversation<'a> {
    pub(super) system: Vec<Block<'a>>,
    pub(super) turns: Vec<Turn<'a>>,
    /// Names of the functions that were called in it, each once.
    pub(super) called: Vec<&'a str>,
}

/// Translates all turns.
///
/// # Errors
/// Content that has no equal, with its path.
pub(super) fn encode<'a>(
    request: &'a ChatRequest,
    to: &Destination<'_>,
    loss: &mut Loss,
) -> Result<Conversation<'a>, Error> {
    let mut talk = Talk {
        request,
        caches: takes(to, member::CACHE_POINT),
        lifetimes: takes(to, member::CACHE_TTL),
        loss,
        documents: BTreeSet::new(),
        said: Conversation { system: Vec::new(), turns: Vec::new(), called: Vec::new() },
    };
    let by_user = common::said_by_user(request);
    for (at, message) in request.messages.iter().enumerate() {
        if message.name.as_ref().is_some_and(|n| !n.is_empty()) {
            talk.loss.advisory.push(places::turn(at, "name"));
        }
        match message.role {
            Role::System | Role::Developer if by_user == Some(at) => {
                talk.loss.advisory.push(places::turn(at, "role"));
                let blocks = talk.blocks(message, at, true)?;
                talk.append("user", blocks);
            }
            Role::System | Role::Developer => {
                if !talk.said.turns.is_empty() {
                    // Its words arrive, its place in the conversation does not.
                    talk.loss.advisory.push(places::turn(at, "role"));
                }
                talk.system_turn(message, at)?;
            }
            Role::User => {
                let blocks = talk.blocks(message, at, true)?;
                talk.append("user", blocks);
            }
            Role::Assistant => talk.assistant_turn(message, at)?,
            Role::Tool => talk.tool_turn(message, at)?,
        }
    }
    let mut said = talk.said;
    if said.turns.is_empty() {
        let message = "the conversation has no turn of the user that is not empty";
        return Err(Error::new(ErrorKind::InvalidRequest, message).param("messages"));
    }
    if said.turns.first().is_some_and(|turn| turn.role == "assistant") {
        let first = request.messages.iter().position(|message| message.role == Role::Assistant);
        loss.advisory.push(places::turn(first.unwrap_or_default(), "role"));
        said.turns.insert(0, asked(OPENING));
    }
    trim_last(&mut said.turns);
    Ok(said)
}

/// What the user says first where the conversation begins with the assistant, which the provider refuses for every model.
/// A turn of the assistant's keeps its place and its words by it. Source: "A conversation must start with a user message".
const OPENING: &str = "(The assistant speaks first.)";

/// A turn of the user with these words.
pub(super) fn asked(words: &'static str) -> Turn<'static> {
    Turn { role: "user", content: vec![Block::Text(words)] }
}

/// Whether the model is to go on with a turn that was made without thinking, or whose thinking the client did not send back:
/// the conversation ends with the results of its calls, or with the turn itself. Models with a budget refuse that.
pub(super) fn resumes_without_thinking(turns: &[Turn<'_>]) -> bool {
    let own = match turns {
        [.., own] if own.role == "assistant" => own,
        [.., own, answered] if answered.content.iter().any(|b| matches!(b, Block::ToolResult(_))) => own,
        _ => return false,
    };
    own.role == "assistant" && !matches!(own.content.first(), Some(Block::ReasoningContent(_)))
}

/// What is known while the turns are translated.
struct Talk<'a, 'l> {
    request: &'a ChatRequest,
    /// Whether the model takes marks at which to cache, and lifetimes of them.
    caches: bool,
    lifetimes: bool,
    loss: &'l mut Loss,
    /// Names of documents so far: no two may be alike.
    documents: BTreeSet<String>,
    said: Conversation<'a>,
}

impl<'a> Talk<'a, '_> {
    fn system_turn(&mut self, message: &'a Message, at: usize) -> Result<(), Error> {
        let mut blocks = std::mem::take(&mut self.said.system);
        for (part_at, part) in message.content.iter().enumerate() {
            match part {
                Part::Text(text) => blocks.extend(text_block(text)),
                Part::CacheMark(mark) => self.mark(&mut blocks, mark),
                Part::Opaque { dialect, raw } if *dialect == DIALECT => {
                    blocks.push(Block::Raw(verbatim(raw, || places::part(at, part_at))?));
                }
                _ => return Err(no_equal(at, part_at, "only text can be a system turn")),
            }
        }
        self.said.system = blocks;
        Ok(())
    }

    fn assistant_turn(&mut self, message: &'a Message, at: usize) -> Result<(), Error> {
        let mut blocks = Vec::new();
        for (part_at, part) in message.content.iter().enumerate() {
            match part {
                Part::Text(text) | Part::Refusal(text) => blocks.extend(text_block(text)),
                Part::Reasoning { text, signature } => match thinking(text, signature.as_ref()) {
                    Some(block) => blocks.push(block),
                    None => self.loss.advisory.push(places::part(at, part_at)),
                },
                Part::Opaque { dialect, raw } if *dialect == DIALECT => {
                    blocks.push(Block::Raw(verbatim(raw, || places::part(at, part_at))?));
                }
                Part::CacheMark(mark) => self.mark(&mut blocks, mark),
                // What another provider ran for itself cannot be shown to this one: its words were told in the text.
                Part::Opaque { .. } => self.loss.advisory.push(places::part(at, part_at)),
                Part::Image(_) | Part::Audio(_) | Part::File(_) => {
                    return Err(no_equal(at, part_at, "this kind of content cannot be in an assistant turn"));
                }
            }
        }
        for (call_at, call) in message.tool_calls.iter().enumerate() {
            blocks.push(Block::ToolUse(tool_use(call, at, call_at, self.loss)));
            if !self.said.called.contains(&call.name.as_str()) {
                self.said.called.push(&call.name);
            }
        }
        self.append("assistant", blocks);
        Ok(())
    }

    fn tool_turn(&mut self, message: &'a Message, at: usize) -> Result<(), Error> {
        let Some(id) = message.tool_call_id.as_deref() else {
            let param = places::turn(at, "tool_call_id");
            return Err(Error::new(ErrorKind::InvalidRequest, "a tool turn must name its call").param(param));
        };
        let mut content = self.blocks(message, at, false)?;
        // A mark cannot stand inside a result, only after it.
        let marks = content.extract_if(.., |b| matches!(b, Block::CachePoint(_))).last();
        let status = message.tool_failed.then_some("error");
        let turn = self.turn("user");
        let ours = |b: &&Block<'_>| matches!(b, Block::ToolResult(_) | Block::CachePoint(_));
        let results = turn.content.iter().take_while(ours).count();
        let result = Block::ToolResult(ToolResult { tool_use_id: short_tool_id(id), content, status });
        turn.content.splice(results..results, std::iter::once(result).chain(marks));
        Ok(())
    }

    /// What users and tools may say.
    fn blocks(&mut self, message: &'a Message, at: usize, user: bool) -> Result<Vec<Block<'a>>, Error> {
        let mut blocks = Vec::with_capacity(message.content.len());
        for (part_at, part) in message.content.iter().enumerate() {
            let refuse = |message| no_equal(at, part_at, message);
            match part {
                Part::Text(text) | Part::Refusal(text) => blocks.extend(text_block(text)),
                Part::Image(media) => {
                    if media.detail.as_deref().is_some_and(|d| d != "auto") {
                        self.loss.advisory.push(places::detail(at, part_at));
                    }
                    let (format, source) = source(media, image_format).map_err(refuse)?;
                    blocks.push(Block::Image(WireMedia { format, source }));
                }
                Part::Audio(media) if user => {
                    let (format, source) = source(media, audio_format).map_err(refuse)?;
                    blocks.push(Block::Audio(WireMedia { format, source }));
                }
                Part::File(media) => {
                    let (format, source) = source(media, document_format).map_err(refuse)?;
                    let name = self.document_name(media.name.as_deref());
                    blocks.push(Block::Document(Document { format, name, source }));
                }
                Part::Opaque { dialect, raw } if *dialect == DIALECT => {
                    blocks.push(Block::Raw(verbatim(raw, || places::part(at, part_at))?));
                }
                Part::Reasoning { .. } => self.loss.advisory.push(places::part(at, part_at)),
                Part::CacheMark(mark) => self.mark(&mut blocks, mark),
                Part::Audio(_) | Part::Opaque { .. } => {
                    return Err(refuse("this kind of content cannot be sent to this provider"));
                }
            }
        }
        Ok(blocks)
    }

    /// A mark with nothing before it marks nothing; thinking cannot be marked.
    fn mark(&mut self, blocks: &mut Vec<Block<'a>>, mark: &'a CacheMark) {
        if !self.caches {
            params::lose(self.request, Slot::CacheMarks, self.loss);
        } else if !matches!(blocks.last(), None | Some(Block::CachePoint(_) | Block::ReasoningContent(_))) {
            blocks.push(Block::CachePoint(CachePoint::new(mark, self.lifetimes)));
        }
    }

    /// A name as the provider allows it (letters, digits, single spaces, hyphens, brackets), unlike all before it.
    /// The same conversation always gives the same names, or the prompt cache would miss.
    fn document_name(&mut self, wanted: Option<&str>) -> String {
        const MOST: usize = 180;
        let stem = wanted.unwrap_or_default();
        let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
        let mut name = String::new();
        for c in stem.chars().take(MOST) {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '(' | ')' | '[' | ']') {
                name.push(c);
            } else if !name.is_empty() && !name.ends_with(' ') {
                name.push(' ');
            }
        }
        let name = name.trim_end();
        let name = if name.is_empty() { "document" } else { name };
        let mut unique = name.to_owned();
        let mut next = 2;
        while !self.documents.insert(unique.clone()) {
            unique = format!("{name} ({next})");
            next += 1;
        }
        unique
    }

    fn append(&mut self, role: &'static str, blocks: Vec<Block<'a>>) {
        if !blocks.is_empty() {
            self.turn(role).content.extend(blocks);
        }
    }

    /// The last turn, if it is of that side, else a new one.
    fn turn(&mut self, role: &'static str) -> &mut Turn<'a> {
        let turns = &mut self.said.turns;
        if turns.last().is_none_or(|t| t.role != role) {
            turns.push(Turn { role, content: Vec::new() });
        }
        let last = turns.len() - 1;
        &mut turns[last]
    }
}

/// A beginning of the answer must not end in white space.
fn trim_last(turns: &mut [Turn<'_>]) {
    if let Some(Turn { role: "assistant", content }) = turns.last_mut()
        && let Some(Block::Text(text)) = content.last_mut()
    {
        *text = text.trim_end();
    }
}

/// Blocks without a visible character are refused by the provider and say nothing.
fn text_block(text: &str) -> Option<Block<'_>> {
    (!text.trim().is_empty()).then_some(Block::Text(text))
}

/// Thinking goes back only to the provider that signed it: unsigned thinking is another model's.
fn thinking<'a>(text: &'a str, signature: Option<&'a Signature>) -> Option<Block<'a>> {
    let signature = signature?.of(DialectId::Bedrock)?;
    Some(Block::ReasoningContent(match signature.strip_prefix(REDACTED) {
        Some(data) => Reasoning::RedactedContent(data),
        None => Reasoning::ReasoningText { text, signature },
    }))
}

/// The source of media and the format that `known` finds for their type and name.
fn source<'a>(
    media: &'a Media,
    known: fn(&str, &str) -> Option<&'static str>,
) -> Result<(&'static str, Source<'a>), &'static str> {
    let declared = media.media_type.as_deref().unwrap_or_default();
    let (media_type, name, source) = match &media.source {
        MediaSource::Base64 { media_type, data } => (media_type.as_str(), media.name.as_deref(), Source::Bytes(data)),
        MediaSource::Stored { .. } => {
            return Err("a file that is stored at another provider cannot be sent to this one");
        }
        MediaSource::Url(url) => match url.strip_prefix("data:") {
            Some(inline) => {
                let (head, data) = inline.split_once(',').unwrap_or_default();
                let media_type = head.strip_suffix(";base64").ok_or("inline media must be base64")?;
                (media_type, media.name.as_deref(), Source::Bytes(data))
            }
            None if url.starts_with("s3://") => {
                (declared, media.name.as_deref().or(Some(url)), Source::S3Location { uri: url })
            }
            None => return Err("this provider takes media inline or from S3, not from other addresses"),
        },
    };
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let ending = name.and_then(|n| n.rsplit_once('.')).map_or("", |(_, ending)| ending);
    let format =
        known(media_type, &ending.to_ascii_lowercase()).ok_or("this media type cannot be sent to this provider")?;
    Ok((format, source))
}

fn image_format(media_type: &str, ending: &str) -> Option<&'static str> {
    Some(match (media_type, ending) {
        ("image/png", _) | ("", "png") => "png",
        ("image/jpeg" | "image/jpg", _) | ("", "jpg" | "jpeg") => "jpeg",
        ("image/gif", _) | ("", "gif") => "gif",
        ("image/webp", _) | ("", "webp") => "webp",
        _ => return None,
    })
}

fn audio_format(media_type: &str, ending: &str) -> Option<&'static str> {
    Some(match (media_type, ending) {
        ("audio/mpeg" | "audio/mp3", _) | ("", "mp3") => "mp3",
        ("audio/wav" | "audio/x-wav" | "audio/wave", _) | ("", "wav") => "wav",
        ("audio/flac" | "audio/x-flac", _) | ("", "flac") => "flac",
        ("audio/aac", _) | ("", "aac") => "aac",
        ("audio/ogg", _) | ("", "ogg") => "ogg",
        ("audio/opus", _) | ("", "opus") => "opus",
        ("audio/mp4" | "audio/m4a" | "audio/x-m4a", _) | ("", "m4a") => "m4a",
        ("audio/webm", _) | ("", "webm") => "webm",
        _ => return None,
    })
}

/// A type that says nothing leaves it to the ending of the name; text of any other kind is text.
fn document_format(media_type: &str, ending: &str) -> Option<&'static str> {
    Some(match media_type {
        "application/pdf" => "pdf",
        "text/csv" | "application/csv" => "csv",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "text/html" => "html",
        "text/markdown" | "text/x-markdown" => "md",
        "" | "application/octet-stream" | "text/plain" => match ending {
            "pdf" => "pdf",
            "csv" => "csv",
            "doc" => "doc",
            "docx" => "docx",
            "xls" => "xls",
            "xlsx" => "xlsx",
            "html" | "htm" => "html",
            "md" => "md",
            "txt" => "txt",
            _ if media_type == "text/plain" => "txt",
            _ => return None,
        },
        "application/json" => "txt",
        _ if media_type.starts_with("text/") => "txt",
        _ => return None,
    })
}

fn tool_use<'a>(call: &'a ToolCall, at: usize, call_at: usize, loss: &mut Loss) -> ToolUse<'a> {
    let path = || places::arguments(at, call_at);
    let input = common::object_of(call, path, loss);
    ToolUse { tool_use_id: short_tool_id(&call.id), name: &call.name, input }
}

/// JSON text for the wire, checked: one bad stretch would spoil the whole body.
pub(super) fn verbatim(json: &Json, param: impl FnOnce() -> String) -> Result<&RawValue, Error> {
    serde_json::from_str(json.as_str())
        .map_err(|_| Error::new(ErrorKind::InvalidRequest, "this is not well-formed JSON").param(param()))
}
