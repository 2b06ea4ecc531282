//! Streams for clients of this dialect.
//!
//! Blocks stand one after the other here, while calls of other dialects may be interleaved: one call is sent as it
//! comes, the others wait until its arguments are whole.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::super::error;
use super::answer::{
    CODE_TOOL, CitationOut, CodeIn, ResultOut, UsageOut, hidden, id, picture, ran_id, shown, stop_reason,
};
use crate::dialect::common::write_data;
use crate::dialect::gemini::Ran;
use crate::dialect::{EncodeStream, Rendering};
use crate::domain::chat::{ChatEvent, FinishReason, Part, Signature};
use crate::domain::error::Error;
use crate::domain::usage::Usage;

/// Writes one stream.
pub(super) struct Encoder {
    rendering: Rendering,
    started: bool,
    /// How many blocks have been opened.
    blocks: u32,
    /// How often code ran.
    ran: usize,
    open: Open,
    /// Calls that wait for the open one.
    waiting: Vec<Waiting>,
    usage: Usage,
    finish: Option<(FinishReason, Option<String>)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Open {
    Nothing,
    /// Code that ran, or what came of it: open only to be closed.
    Ran,
    Text,
    Thinking,
    /// A call, with its arguments so far.
    Call {
        index: u32,
        arguments: String,
    },
}

struct Waiting {
    index: u32,
    id: String,
    name: String,
    arguments: String,
}

#[derive(Serialize)]
struct Start<'a> {
    r#type: &'static str,
    message: Head<'a>,
}

#[derive(Serialize)]
struct Head<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: [(); 0],
    stop_reason: Option<()>,
    stop_sequence: Option<()>,
    usage: UsageOut,
}

#[derive(Serialize)]
struct BlockStart<'a> {
    r#type: &'static str,
    index: u32,
    content_block: Block<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text { text: &'static str },
    Thinking { thinking: &'static str, signature: &'static str },
    RedactedThinking { data: &'a str },
    ToolUse { id: &'a str, name: &'a str, input: Empty },
    ServerToolUse { id: &'a str, name: &'a str, input: Empty },
    CodeExecutionToolResult { tool_use_id: &'a str, content: ResultOut },
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct BlockDelta<'a> {
    r#type: &'static str,
    index: u32,
    delta: Delta<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Delta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
    #[serde(rename = "citations_delta")]
    Citations { citation: CitationOut<'a> },
}

#[derive(Serialize)]
struct BlockStop {
    r#type: &'static str,
    index: u32,
}

#[derive(Serialize)]
struct MessageDelta<'a> {
    r#type: &'static str,
    delta: Ending<'a>,
    usage: UsageOut,
}

#[derive(Serialize)]
struct Ending<'a> {
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
}

#[derive(Serialize)]
struct Bare {
    r#type: &'static str,
}

fn write(out: &mut BytesMut, name: &str, event: &impl Serialize) {
    out.put_slice(b"event: ");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\ndata: ");
    write_data(out, event);
}

impl Encoder {
    pub(super) fn new(rendering: Rendering) -> Self {
        Self {
            rendering,
            started: false,
            blocks: 0,
            ran: 0,
            open: Open::Nothing,
            waiting: Vec::new(),
            usage: Usage::ZERO,
            finish: None,
        }
    }

    fn start(&mut self, given: &str, out: &mut BytesMut) {
        if self.started {
            return;
        }
        self.started = true;
        let id = id(given, &self.rendering);
        let message = Head {
            id: &id,
            r#type: "message",
            role: "assistant",
            model: &self.rendering.model,
            content: [],
            stop_reason: None,
            stop_sequence: None,
            usage: UsageOut::new(&Usage::ZERO),
        };
        write(out, "message_start", &Start { r#type: "message_start", message });
    }

    fn open_block(&mut self, open: Open, block: Block<'_>, out: &mut BytesMut) {
        self.close(out);
        self.start("", out);
        let start = BlockStart { r#type: "content_block_start", index: self.blocks, content_block: block };
        write(out, "content_block_start", &start);
        self.open = open;
    }

    fn close(&mut self, out: &mut BytesMut) {
        if self.open == Open::Nothing {
            return;
        }
        // Clients parse what was sent of a call; without arguments there is nothing to parse but an empty object.
        if matches!(&self.open, Open::Call { arguments, .. } if arguments.trim().is_empty()) {
            self.delta(Delta::InputJson { partial_json: "{}" }, out);
        }
        write(out, "content_block_stop", &BlockStop { r#type: "content_block_stop", index: self.blocks });
        self.blocks += 1;
        self.open = Open::Nothing;
    }

    fn delta(&self, delta: Delta<'_>, out: &mut BytesMut) {
        let event = BlockDelta { r#type: "content_block_delta", index: self.blocks, delta };
        write(out, "content_block_delta", &event);
    }

    fn text(&mut self, text: &str, out: &mut BytesMut) {
        if text.is_empty() {
            return;
        }
        if self.open != Open::Text {
            self.flush(out);
            self.open_block(Open::Text, Block::Text { text: "" }, out);
        }
        self.delta(Delta::Text { text }, out);
    }

    fn thinking(&mut self, text: &str, out: &mut BytesMut) {
        if self.open != Open::Thinking {
            self.flush(out);
            self.open_block(Open::Thinking, Block::Thinking { thinking: "", signature: "" }, out);
        }
        if !text.is_empty() {
            self.delta(Delta::Thinking { thinking: text }, out);
        }
    }

    /// The signature ends its block. Without thinking before it, it has a block of its own.
    fn signature(&mut self, signature: &Signature, out: &mut BytesMut) {
        if self.open != Open::Thinking {
            self.flush(out);
            if let Some(data) = hidden(signature) {
                // A redacted block has no deltas; it is open only to be closed.
                self.open_block(Open::Thinking, Block::RedactedThinking { data }, out);
                self.close(out);
                return;
            }
            self.thinking("", out);
        }
        let signature = shown(Some(signature));
        self.delta(Delta::Signature { signature: &signature }, out);
        self.close(out);
    }

    fn call(&mut self, index: u32, id: &str, name: &str, out: &mut BytesMut) {
        let (id, name) = (id.to_owned(), name.to_owned());
        self.waiting.push(Waiting { index, id, name, arguments: String::new() });
        self.advance(false, out);
    }

    fn arguments(&mut self, index: u32, fragment: &str, out: &mut BytesMut) {
        if let Open::Call { index: open, arguments } = &mut self.open
            && *open == index
        {
            arguments.push_str(fragment);
            self.delta(Delta::InputJson { partial_json: fragment }, out);
            return;
        }
        if let Some(waiting) = self.waiting.iter_mut().find(|w| w.index == index) {
            waiting.arguments.push_str(fragment);
            self.advance(false, out);
        }
    }

    /// Sends the next waiting call, if the open one is whole. `last`: nothing more comes for any of them.
    fn advance(&mut self, last: bool, out: &mut BytesMut) {
        while !self.waiting.is_empty() {
            let whole = match &self.open {
                Open::Call { arguments, .. } => serde_json::from_str::<serde::de::IgnoredAny>(arguments).is_ok(),
                _ => true,
            };
            if !(whole || last) {
                return;
            }
            let next = self.waiting.remove(0);
            let block = Block::ToolUse { id: &next.id, name: &next.name, input: Empty {} };
            self.open_block(Open::Call { index: next.index, arguments: next.arguments.clone() }, block, out);
            if !next.arguments.is_empty() {
                self.delta(Delta::InputJson { partial_json: &next.arguments }, out);
            }
        }
    }

    /// Code that another provider ran, and what came of it.
    fn ran(&mut self, part: &Part, out: &mut BytesMut) {
        let Some(ran) = Ran::of(part) else { return };
        self.flush(out);
        match ran {
            Ran::Code { code, .. } => {
                self.ran += 1;
                let id = ran_id(&self.rendering, self.ran);
                self.open_block(Open::Ran, Block::ServerToolUse { id: &id, name: CODE_TOOL, input: Empty {} }, out);
                let input = serde_json::to_string(&CodeIn { code }).unwrap_or_default();
                self.delta(Delta::InputJson { partial_json: &input }, out);
            }
            Ran::Outcome { output, failed } => {
                let (id, content) = (ran_id(&self.rendering, self.ran), ResultOut::new(output, failed));
                self.open_block(Open::Ran, Block::CodeExecutionToolResult { tool_use_id: &id, content }, out);
            }
        }
        self.close(out);
    }

    /// Everything that waits, before something else begins.
    fn flush(&mut self, out: &mut BytesMut) {
        self.advance(true, out);
    }

    fn end(&mut self, out: &mut BytesMut) {
        self.start("", out);
        self.flush(out);
        self.close(out);
        let (finish, sequence) = self.finish.take().unwrap_or((FinishReason::Stop, None));
        let stop_reason = stop_reason(finish, sequence.as_deref());
        let delta = Ending { stop_reason, stop_sequence: sequence.as_deref() };
        let event = MessageDelta { r#type: "message_delta", delta, usage: UsageOut::new(&self.usage) };
        write(out, "message_delta", &event);
        write(out, "message_stop", &Bare { r#type: "message_stop" });
    }
}

impl EncodeStream for Encoder {
    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut) {
        match event {
            ChatEvent::Start { id, .. } => self.start(id, out),
            ChatEvent::Text { choice: 0, text } | ChatEvent::Refusal { choice: 0, text } => self.text(text, out),
            ChatEvent::Reasoning { choice: 0, text } => self.thinking(text, out),
            ChatEvent::ReasoningSignature { choice: 0, signature } => self.signature(signature, out),
            ChatEvent::ToolStart { choice: 0, index, id, name, signature, .. } => {
                // The dialect's calls have no signature. The first one's is shown as that of the thinking before it.
                if let (0, Some(signature)) = (*index, signature) {
                    self.signature(signature, out);
                }
                self.call(*index, id, name, out);
            }
            ChatEvent::ToolArguments { choice: 0, index, fragment } => self.arguments(*index, fragment, out),
            ChatEvent::Citation { choice: 0, citation } => {
                // A text that is over takes no more: then it hangs on one of its own.
                if self.open != Open::Text {
                    self.flush(out);
                    self.open_block(Open::Text, Block::Text { text: "" }, out);
                }
                self.delta(Delta::Citations { citation: CitationOut::new(citation) }, out);
            }
            ChatEvent::Media { choice: 0, part: Part::Image(media) } => self.text(&picture(media), out),
            ChatEvent::Media { choice: 0, part } => self.ran(part, out),
            ChatEvent::Finish { choice: 0, reason, stop_sequence } => {
                self.finish.get_or_insert((*reason, stop_sequence.clone()));
            }
            ChatEvent::Usage(usage) => self.usage = *usage,
            ChatEvent::End => self.end(out),
            // The dialect has one answer to a request, and no place for sound and probabilities. The relay ends the
            // stream with an error event.
            _ => {}
        }
    }

    fn broken(&mut self, error: &Error, out: &mut BytesMut) {
        out.put_slice(&error::event(error));
    }

    fn ping(&mut self, out: &mut BytesMut) {
        if self.started {
            write(out, "ping", &Bare { r#type: "ping" });
        }
    }
}
