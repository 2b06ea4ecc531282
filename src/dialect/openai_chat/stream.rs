//! Streams of this dialect, written from canonical events.

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;

use super::error;
use super::extras::{self, Annotation, Call, Executed, Image, Logprobs};
use super::functions::FunctionCall;
use super::response::{UsageOut, finish, legacy_finish};
use crate::dialect::common::write_data;
use crate::dialect::{EncodeStream, Rendering};
use crate::domain::chat::{ChatEvent, Part};
use crate::domain::error::Error;
use crate::domain::usage::Usage;

/// Writes one stream: one id, the role once per choice, one finish per choice, usage only if asked, `[DONE]` once.
pub(super) struct Encoder {
    options: Rendering,
    /// Choices whose role has been sent.
    opened: Vec<u32>,
    usage: Option<Usage>,
    /// Calls of custom tools.
    custom: Vec<(u32, u32)>,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: &'a [ChunkChoice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageOut>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: u32,
    delta: Delta<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Logprobs<'a>>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Call<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionCall<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasoning_details: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<Annotation<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Image>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    executed_code: Vec<Executed>,
}

impl Encoder {
    pub(super) fn new(mut options: Rendering) -> Self {
        options.id = format!("chatcmpl-{}", options.id);
        Self { options, opened: Vec::new(), usage: None, custom: Vec::new() }
    }

    fn delta(&mut self, choice: u32, mut delta: Delta<'_>, out: &mut BytesMut) {
        if !self.opened.contains(&choice) {
            self.opened.push(choice);
            delta.role = Some("assistant");
        }
        self.chunk(&[ChunkChoice { index: choice, delta, logprobs: None, finish_reason: None }], None, out);
    }

    fn media(&mut self, choice: u32, part: &Part, out: &mut BytesMut) {
        let images = extras::image(part).into_iter().collect();
        let executed_code = Executed::of(part).into_iter().collect();
        self.delta(choice, Delta { images, executed_code, ..Delta::default() }, out);
    }

    fn chunk(&self, choices: &[ChunkChoice<'_>], usage: Option<UsageOut>, out: &mut BytesMut) {
        let chunk = Chunk {
            id: &self.options.id,
            object: "chat.completion.chunk",
            created: self.options.created,
            model: &self.options.model,
            choices,
            usage,
        };
        out.put_slice(b"data: ");
        write_data(out, &chunk);
    }
}

impl EncodeStream for Encoder {
    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut) {
        match event {
            ChatEvent::Start { id, created, .. } => {
                if !id.is_empty() {
                    self.options.id.clone_from(id);
                }
                self.options.created = created.unwrap_or(self.options.created);
            }
            ChatEvent::Text { choice, text } => {
                self.delta(*choice, Delta { content: Some(text), ..Delta::default() }, out);
            }
            ChatEvent::Reasoning { choice, text } => {
                self.delta(*choice, Delta { reasoning_content: Some(text), ..Delta::default() }, out);
            }
            ChatEvent::Refusal { choice, text } => {
                self.delta(*choice, Delta { refusal: Some(text), ..Delta::default() }, out);
            }
            ChatEvent::ReasoningSignature { choice, signature } => {
                let reasoning_details = extras::details(signature);
                self.delta(*choice, Delta { reasoning_details, ..Delta::default() }, out);
            }
            ChatEvent::Media { choice, part } => self.media(*choice, part, out),
            ChatEvent::Logprobs { choice, tokens } => {
                let (delta, logprobs) = (Delta::default(), extras::logprobs(tokens));
                self.chunk(&[ChunkChoice { index: *choice, delta, logprobs, finish_reason: None }], None, out);
            }
            ChatEvent::Citation { choice, citation } => {
                let annotations = extras::annotations(std::slice::from_ref(citation));
                self.delta(*choice, Delta { annotations, ..Delta::default() }, out);
            }
            ChatEvent::ToolStart { choice, name, .. } if self.options.request.legacy_functions => {
                let function_call = Some(FunctionCall { name: Some(name), arguments: "" });
                self.delta(*choice, Delta { function_call, ..Delta::default() }, out);
            }
            ChatEvent::ToolArguments { choice, fragment, .. } if self.options.request.legacy_functions => {
                let function_call = Some(FunctionCall { name: None, arguments: fragment });
                self.delta(*choice, Delta { function_call, ..Delta::default() }, out);
            }
            ChatEvent::ToolStart { choice, index, id, name, custom, signature } => {
                if *custom {
                    self.custom.push((*choice, *index));
                }
                let extra_content = extras::extra_content(signature.as_ref());
                let call = Call::of(*custom, Some(name), "");
                let call = Call { index: Some(*index), id: Some(id), extra_content, ..call };
                self.delta(*choice, Delta { tool_calls: Some([call]), ..Delta::default() }, out);
            }
            ChatEvent::ToolArguments { choice, index, fragment } => {
                let custom = self.custom.contains(&(*choice, *index));
                let call = Call { index: Some(*index), ..Call::of(custom, None, fragment) };
                self.delta(*choice, Delta { tool_calls: Some([call]), ..Delta::default() }, out);
            }
            ChatEvent::Finish { choice, reason, .. } => {
                let role = (!self.opened.contains(choice)).then_some("assistant");
                let delta = Delta { role, ..Delta::default() };
                let legacy = self.options.request.legacy_functions;
                let finish_reason = Some(if legacy { legacy_finish(*reason) } else { finish(*reason) });
                self.chunk(&[ChunkChoice { index: *choice, delta, logprobs: None, finish_reason }], None, out);
            }
            ChatEvent::Usage(usage) => self.usage = Some(*usage),
            // The relay ends the stream with an error event of this dialect.
            ChatEvent::Error(_) => {}
            ChatEvent::End => {
                if self.options.include_usage {
                    self.chunk(&[], self.usage.as_ref().map(UsageOut::new), out);
                }
                out.put_slice(b"data: [DONE]\n\n");
            }
        }
    }

    fn broken(&mut self, error: &Error, out: &mut BytesMut) {
        out.put_slice(&error::event(error));
    }
}
