//! Streams for clients of this dialect. A call stands in one part here, so its arguments are gathered first.

use bytes::{BufMut, BytesMut};

use super::super::error;
use super::answer::{
    Answer, Candidate, Content, PartOut, UsageOut, calls, finish_reason, grounding, logprobs, part, shown,
};
use crate::dialect::{EncodeStream, Rendering};
use crate::domain::chat::{ChatEvent, Citation, FinishReason, Signature, TokenLogprob, ToolCall};
use crate::domain::error::Error;
use crate::domain::usage::Usage;

/// Writes one stream, as events or as an array.
pub(super) struct Encoder {
    rendering: Rendering,
    elements: usize,
    choices: Vec<Open>,
    usage: Option<Usage>,
}

#[derive(Default)]
struct Open {
    index: u32,
    calls: Vec<ToolCall>,
    finish: Option<FinishReason>,
    citations: Vec<Citation>,
    /// All text so far: sources name stretches of it, in bytes.
    text: String,
    logprobs: Vec<TokenLogprob>,
}

impl Encoder {
    pub(super) fn new(rendering: Rendering) -> Self {
        Self { rendering, elements: 0, choices: Vec::new(), usage: None }
    }

    fn choice(&mut self, index: u32) -> &mut Open {
        let at = self.choices.iter().position(|open| open.index == index).unwrap_or_else(|| {
            self.choices.push(Open { index, ..Open::default() });
            self.choices.len() - 1
        });
        &mut self.choices[at]
    }

    fn element(&mut self, body: &[u8], out: &mut BytesMut) {
        if self.rendering.array {
            out.put_slice(if self.elements == 0 { b"[" } else { b",\r\n" });
            out.put_slice(body);
        } else {
            out.put_slice(b"data: ");
            // Line ends between the tokens of a call's arguments would end the line.
            out.extend(body.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
            out.put_slice(b"\r\n\r\n");
        }
        self.elements += 1;
    }

    fn parts(&mut self, index: u32, parts: Vec<PartOut<'_>>, out: &mut BytesMut) {
        let content = Content { parts, role: "model" };
        let candidate =
            Candidate { content, finish_reason: None, index, grounding_metadata: None, logprobs_result: None };
        let answer = Answer {
            candidates: vec![candidate],
            usage_metadata: None,
            model_version: &self.rendering.model,
            response_id: &self.rendering.id,
        };
        let body = serde_json::to_vec(&answer).unwrap_or_default();
        self.element(&body, out);
    }

    fn signature(&mut self, index: u32, signature: &Signature, out: &mut BytesMut) {
        let thought_signature = Some(shown(signature));
        self.parts(index, vec![PartOut { text: Some(""), thought_signature, ..PartOut::default() }], out);
    }

    /// Calls, sources, reasons and usage go out with the last element.
    fn end(&mut self, out: &mut BytesMut) {
        let choices = std::mem::take(&mut self.choices);
        let candidates = choices.iter().map(|open| Candidate {
            content: Content { parts: calls(&open.calls).collect(), role: "model" },
            finish_reason: Some(finish_reason(open.finish.unwrap_or(FinishReason::Stop))),
            index: open.index,
            // In a stream the text of all elements counts as one.
            grounding_metadata: grounding(&open.citations, &[(0, &open.text)]),
            logprobs_result: logprobs(&open.logprobs),
        });
        let answer = Answer {
            candidates: candidates.collect(),
            usage_metadata: self.usage.as_ref().map(UsageOut::new),
            model_version: &self.rendering.model,
            response_id: &self.rendering.id,
        };
        let body = serde_json::to_vec(&answer).unwrap_or_default();
        self.element(&body, out);
        if self.rendering.array {
            out.put_slice(b"]");
        }
    }
}

impl EncodeStream for Encoder {
    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut) {
        match event {
            ChatEvent::Start { id, .. } => {
                if !id.is_empty() {
                    self.rendering.id.clone_from(id);
                }
            }
            ChatEvent::Text { choice, text } | ChatEvent::Refusal { choice, text } => {
                if matches!(event, ChatEvent::Text { .. }) {
                    self.choice(*choice).text.push_str(text);
                }
                self.choice(*choice);
                self.parts(*choice, vec![PartOut { text: Some(text), ..PartOut::default() }], out);
            }
            ChatEvent::Reasoning { choice, text } => {
                self.choice(*choice);
                let part = PartOut { text: Some(text), thought: Some(true), ..PartOut::default() };
                self.parts(*choice, vec![part], out);
            }
            ChatEvent::ReasoningSignature { choice, signature } => self.signature(*choice, signature, out),
            ChatEvent::ToolStart { choice, id, name, custom, signature, .. } => {
                let call = ToolCall { custom: *custom, signature: signature.clone(), ..ToolCall::new(id, name, "") };
                self.choice(*choice).calls.push(call);
            }
            ChatEvent::ToolArguments { choice, index, fragment } => {
                if let Some(call) = self.choice(*choice).calls.get_mut(*index as usize) {
                    call.arguments.push_str(fragment);
                }
            }
            ChatEvent::Media { choice, part: media } => {
                self.choice(*choice);
                self.parts(*choice, part(media).into_iter().collect(), out);
            }
            ChatEvent::Logprobs { choice, tokens } => self.choice(*choice).logprobs.extend(tokens.iter().cloned()),
            ChatEvent::Citation { choice, citation } => self.choice(*choice).citations.push(citation.clone()),
            ChatEvent::Finish { choice, reason, .. } => self.choice(*choice).finish = Some(*reason),
            ChatEvent::Usage(usage) => self.usage = Some(*usage),
            // The relay ends the stream with an error element.
            ChatEvent::Error(_) => {}
            ChatEvent::End => self.end(out),
        }
    }

    fn broken(&mut self, error: &Error, out: &mut BytesMut) {
        let body = error::encode(error);
        self.element(&body, out);
        if self.rendering.array {
            out.put_slice(b"]");
        }
    }

    fn ping(&mut self, out: &mut BytesMut) {
        if !self.rendering.array {
            out.put_slice(b": ping\n");
        }
    }
}
