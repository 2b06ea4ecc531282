//! Answers, whole and streamed. Only text has a place here. Code that a provider ran stands beside it, in the member of ours that
//! clients of Chat Completions have; thinking stays away from clients that would show it as the
//! answer.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use crate::dialect::common::write_data;
use crate::dialect::openai_chat::{Executed, Family, UsageOut};
use crate::dialect::{EncodeStream, Rendering};
use crate::domain::chat::{ChatEvent, ChatResponse, FinishReason, Part};
use crate::domain::error::Error;
use crate::domain::usage::Usage;

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageOut>,
}

#[derive(Serialize)]
struct Choice {
    text: String,
    index: u32,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    executed_code: Vec<Executed>,
}

/// The dialect has no calls: a model that wants one has nothing more to say here.
fn finish(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::ToolCalls => "stop",
        FinishReason::Length => "length",
        FinishReason::ContentFilter => "content_filter",
    }
}

pub(super) fn encode(response: &ChatResponse, rendering: &Rendering) -> Bytes {
    let text = |part: &Part| match part {
        Part::Text(text) | Part::Refusal(text) => Some(text.clone()),
        _ => None,
    };
    let choices = response.choices.iter().map(|choice| Choice {
        text: choice.content.iter().filter_map(text).collect(),
        index: choice.index,
        logprobs: None,
        finish_reason: Some(finish(choice.finish)),
        executed_code: choice.content.iter().filter_map(Executed::of).collect(),
    });
    let own = format!("cmpl-{}", rendering.id);
    let answer = Answer {
        id: if response.id.is_empty() { &own } else { &response.id },
        object: "text_completion",
        created: response.created.unwrap_or(rendering.created),
        model: &rendering.model,
        choices: choices.collect(),
        usage: response.usage.as_ref().map(UsageOut::new),
    };
    Bytes::from(serde_json::to_vec(&answer).unwrap_or_default())
}

/// Writes one stream.
pub(super) struct Encoder {
    rendering: Rendering,
    usage: Option<Usage>,
}

impl Encoder {
    pub(super) fn new(mut rendering: Rendering) -> Self {
        rendering.id = format!("cmpl-{}", rendering.id);
        Self { rendering, usage: None }
    }

    fn chunk(&self, choices: Vec<Choice>, usage: Option<UsageOut>, out: &mut BytesMut) {
        let chunk = Answer {
            id: &self.rendering.id,
            object: "text_completion",
            created: self.rendering.created,
            model: &self.rendering.model,
            choices,
            usage,
        };
        out.put_slice(b"data: ");
        write_data(out, &chunk);
    }
}

impl EncodeStream for Encoder {
    fn event(&mut self, event: &ChatEvent, out: &mut BytesMut) {
        let choice = |index: u32, text: &str, finish_reason| {
            let (text, executed_code) = (text.to_owned(), Vec::new());
            vec![Choice { text, index, logprobs: None, finish_reason, executed_code }]
        };
        match event {
            ChatEvent::Start { id, created, .. } => {
                if !id.is_empty() {
                    self.rendering.id.clone_from(id);
                }
                self.rendering.created = created.unwrap_or(self.rendering.created);
            }
            ChatEvent::Text { choice: index, text } | ChatEvent::Refusal { choice: index, text } => {
                self.chunk(choice(*index, text, None), None, out);
            }
            ChatEvent::Media { choice: index, part } => {
                let mut told = choice(*index, "", None);
                told[0].executed_code.extend(Executed::of(part));
                if !told[0].executed_code.is_empty() {
                    self.chunk(told, None, out);
                }
            }
            ChatEvent::Finish { choice: index, reason, .. } => {
                self.chunk(choice(*index, "", Some(finish(*reason))), None, out);
            }
            ChatEvent::Usage(usage) => self.usage = Some(*usage),
            ChatEvent::End => {
                if self.rendering.include_usage {
                    self.chunk(Vec::new(), self.usage.as_ref().map(UsageOut::new), out);
                }
                out.put_slice(b"data: [DONE]\n\n");
            }
            // No tools can be asked for here, and nothing else has a place.
            ChatEvent::Reasoning { .. }
            | ChatEvent::ReasoningSignature { .. }
            | ChatEvent::ToolStart { .. }
            | ChatEvent::ToolArguments { .. }
            | ChatEvent::Logprobs { .. }
            | ChatEvent::Citation { .. }
            | ChatEvent::Error(_) => {}
        }
    }

    fn broken(&mut self, error: &Error, out: &mut BytesMut) {
        out.put_slice(&Family::event(error));
    }
}
