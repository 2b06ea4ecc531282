//! The conversation: system turns hoisted, turns of one side merged, results of tools in one user turn before
//! anything else that the user says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::types::{Block, Content, Source, Turn};
use super::{DIALECT, REDACTED};
use crate::dialect::common::{self, no_equal};
use crate::dialect::ids::tool_id;
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
}

/// Translates all turns.
///
/// # Errors
/// Content that has no equal, with its path.
pub(super) fn encode<'a>(request: &'a ChatRequest, loss: &mut Loss) -> Result<Conversation<'a>, Error> {
    let mut talk = Conversation { system: Vec::new(), turns: Vec::new() };
    let by_user = common::said_by_user(request);
    for (at, message) in request.messages.iter().enumerate() {
        if message.name.as_ref().is_some_and(|n| !n.is_empty()) {
            loss.advisory.push(places::turn(at, "name"));
        }
        match message.role {
            Role::System | Role::Developer if by_user == Some(at) => {
                loss.advisory.push(places::turn(at, "role"));
                talk.user_turn(message, at, loss)?;
            }
            Role::System | Role::Developer => {
                if !talk.turns.is_empty() {
                    // Its words arrive, its place in the conversation does not.
                    loss.advisory.push(places::turn(at, "role"));
                }
                talk.system_turn(message, at)?;
            }
            Role::User => talk.user_turn(message, at, loss)?,
            Role::Assistant => talk.assistant_turn(message, at, loss)?,
            Role::Tool => talk.tool_turn(message, at, loss)?,
        }
    }
    if talk.turns.is_empty() {
        let message = "the conversation has no turn of the user that is not empty";
        return Err(Error::new(ErrorKind::InvalidRequest, message).param("messages"));
    }
    talk.trim_last();
    Ok(talk)
}

/// Whether the model is to go on with a turn that was made without thinking, or whose thinking the client did not send back:
/// the conversation ends with the results of its calls, or with the turn itself. With a budget of thinking the provider
/// refuses that; where the model decides by itself (`adaptive`) it does not.
/// Source: Claude API, "Thinking in tool and multi-turn workflows".
pub(super) fn resumes_without_thinking(turns: &[Turn<'_>]) -> bool {
    let own = match turns {
        [.., own] if own.role == "assistant" => own,
        [.., own, answered] if answered.content.iter().any(|b| matches!(b, Block::ToolResult { .. })) => own,
        _ => return false,
    };
    let thought = matches!(own.content.first(), Some(Block::Thinking { .. } | Block::RedactedThinking { .. }));
    own.role == "assistant" && !thought
}

impl<'a> Conversation<'a> {
    /// Puts words of the user behind all else.
    pub(super) fn ask(&mut self, words: &'static str) {
        self.append("user", vec![Block::Text { text: words, cache_control: None }]);
    }

    fn system_turn(&mut self, message: &'a Message, at: usize) -> Result<(), Error> {
        for (part_at, part) in message.content.iter().enumerate() {
            match part {
                Part::Text(text) => self.system.extend(text_block(text)),
                Part::CacheMark(mark) => mark_last(&mut self.system, mark),
                _ => return Err(no_equal(at, part_at, "only text can be a system turn")),
            }
        }
        Ok(())
    }

    fn user_turn(&mut self, message: &'a Message, at: usize, loss: &mut Loss) -> Result<(), Error> {
        let blocks = blocks(message, at, loss)?;
        self.append("user", blocks);
        Ok(())
    }

    fn assistant_turn(&mut self, message: &'a Message, at: usize, loss: &mut Loss) -> Result<(), Error> {
        let mut blocks = Vec::new();
        for (part_at, part) in message.content.iter().enumerate() {
            match part {
                Part::Text(text) | Part::Refusal(text) => blocks.extend(text_block(text)),
                Part::Reasoning { text, signature } => match thinking(text, signature.as_ref()) {
                    Some(block) => blocks.push(block),
                    None => loss.advisory.push(places::part(at, part_at)),
                },
                Part::Opaque { dialect, raw } if *dialect == DIALECT => {
                    blocks.push(Block::Raw(verbatim(raw, || places::part(at, part_at))?));
                }
                Part::CacheMark(mark) => mark_last(&mut blocks, mark),
                // What another provider ran for itself cannot be shown to this one: its words were told in the text.
                Part::Opaque { .. } => loss.advisory.push(places::part(at, part_at)),
                Part::Image(_) | Part::Audio(_) | Part::File(_) => {
                    return Err(no_equal(at, part_at, "this kind of content cannot be in an assistant turn"));
                }
            }
        }
        for (call_at, call) in message.tool_calls.iter().enumerate() {
            blocks.push(tool_use(call, at, call_at, loss));
        }
        self.append("assistant", blocks);
        Ok(())
    }

    fn tool_turn(&mut self, message: &'a Message, at: usize, loss: &mut Loss) -> Result<(), Error> {
        let Some(id) = message.tool_call_id.as_deref() else {
            let param = places::turn(at, "tool_call_id");
            return Err(Error::new(ErrorKind::InvalidRequest, "a tool turn must name its call").param(param));
        };
        let mut blocks = blocks(message, at, loss)?;
        let content = match blocks.as_slice() {
            [] => None,
            [Block::Text { text, cache_control: None }] => Some(Content::Text(text)),
            _ => Some(Content::Blocks(std::mem::take(&mut blocks))),
        };
        let (is_error, cache_control) = (message.tool_failed, None);
        let turn = self.turn("user");
        // Results come first in a turn, in their own order.
        let results = turn.content.iter().take_while(|b| matches!(b, Block::ToolResult { .. })).count();
        turn.content.insert(results, Block::ToolResult { tool_use_id: tool_id(id), content, is_error, cache_control });
        Ok(())
    }

    fn append(&mut self, role: &'static str, blocks: Vec<Block<'a>>) {
        if !blocks.is_empty() {
            self.turn(role).content.extend(blocks);
        }
    }

    /// The last turn, if it is of that side, else a new one.
    fn turn(&mut self, role: &'static str) -> &mut Turn<'a> {
        if self.turns.last().is_none_or(|t| t.role != role) {
            self.turns.push(Turn { role, content: Vec::new() });
        }
        let last = self.turns.len() - 1;
        &mut self.turns[last]
    }

    /// A beginning of the answer must not end in white space.
    fn trim_last(&mut self) {
        if let Some(Turn { role: "assistant", content }) = self.turns.last_mut()
            && let Some(Block::Text { text, .. }) = content.last_mut()
        {
            *text = text.trim_end();
        }
    }
}

/// What users and tools may say.
fn blocks<'a>(message: &'a Message, at: usize, loss: &mut Loss) -> Result<Vec<Block<'a>>, Error> {
    let mut blocks = Vec::with_capacity(message.content.len());
    for (part_at, part) in message.content.iter().enumerate() {
        match part {
            Part::Text(text) | Part::Refusal(text) => blocks.extend(text_block(text)),
            Part::Image(media) => {
                if media.detail.as_deref().is_some_and(|d| d != "auto") {
                    loss.advisory.push(places::detail(at, part_at));
                }
                blocks.push(Block::Image { source: source(media, &IMAGES, at, part_at)?, cache_control: None });
            }
            Part::File(media) => {
                let source = source(media, &DOCUMENTS, at, part_at)?;
                blocks.push(Block::Document { source, title: media.name.as_deref(), cache_control: None });
            }
            Part::Opaque { dialect, raw } if *dialect == DIALECT => {
                blocks.push(Block::Raw(verbatim(raw, || places::part(at, part_at))?));
            }
            Part::Reasoning { .. } => loss.advisory.push(places::part(at, part_at)),
            Part::CacheMark(mark) => mark_last(&mut blocks, mark),
            Part::Audio(_) => return Err(no_equal(at, part_at, "audio cannot be sent to this provider")),
            Part::Opaque { .. } => {
                return Err(no_equal(at, part_at, "this kind of content cannot be sent to this provider"));
            }
        }
    }
    Ok(blocks)
}

/// Blocks without a visible character are refused by the provider and say nothing.
fn text_block(text: &str) -> Option<Block<'_>> {
    (!text.trim().is_empty()).then_some(Block::Text { text, cache_control: None })
}

/// A mark with nothing before it marks nothing.
fn mark_last<'a>(blocks: &mut [Block<'a>], mark: &'a CacheMark) {
    if let Some(last) = blocks.iter_mut().rev().find(|b| !matches!(b, Block::Raw(_))) {
        last.mark(mark);
    }
}

/// Thinking goes back only to the provider that signed it: unsigned thinking is another model's.
fn thinking<'a>(text: &'a str, signature: Option<&'a Signature>) -> Option<Block<'a>> {
    let signature = signature?.of(DialectId::Anthropic)?;
    Some(match signature.strip_prefix(REDACTED) {
        Some(data) => Block::RedactedThinking { data },
        None => Block::Thinking { thinking: text, signature },
    })
}

const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
const DOCUMENTS: [&str; 1] = ["application/pdf"];

fn source<'a>(media: &'a Media, types: &[&str], at: usize, part_at: usize) -> Result<Source<'a>, Error> {
    let (media_type, data) = match &media.source {
        MediaSource::Base64 { media_type, data } => (media_type.as_str(), data.as_str()),
        MediaSource::Stored { origin: DialectId::Anthropic, id } => return Ok(Source::File { file_id: id }),
        MediaSource::Stored { .. } => {
            return Err(no_equal(at, part_at, "a file that is stored at another provider cannot be sent to this one"));
        }
        MediaSource::Url(url) => match url.strip_prefix("data:") {
            None => return Ok(Source::Url { url }),
            Some(inline) => {
                let (head, data) = inline.split_once(',').unwrap_or_default();
                let Some(media_type) = head.strip_suffix(";base64") else {
                    return Err(no_equal(at, part_at, "inline media must be base64"));
                };
                (media_type.split(';').next().unwrap_or_default(), data)
            }
        },
    };
    // A document of text is told as text, the one other form that the provider takes.
    if types == DOCUMENTS
        && media_type.starts_with("text/")
        && let Some(data) = STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok())
    {
        return Ok(Source::Text { media_type: "text/plain", data });
    }
    if types.contains(&media_type) {
        Ok(Source::Base64 { media_type, data })
    } else {
        Err(no_equal(at, part_at, "this media type cannot be sent to this provider"))
    }
}

fn tool_use<'a>(call: &'a ToolCall, at: usize, call_at: usize, loss: &mut Loss) -> Block<'a> {
    let path = || places::arguments(at, call_at);
    let input = common::object_of(call, path, loss);
    Block::ToolUse { id: tool_id(&call.id), name: &call.name, input, cache_control: None }
}

/// JSON text for the wire, checked: one bad stretch would spoil the whole body.
pub(super) fn verbatim(json: &Json, param: impl FnOnce() -> String) -> Result<&RawValue, Error> {
    serde_json::from_str(json.as_str())
        .map_err(|_| Error::new(ErrorKind::InvalidRequest, "this is not well-formed JSON").param(param()))
}
