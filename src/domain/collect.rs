//! A whole answer gathered from its events, and the other way round.

use futures_util::{Stream, StreamExt};

use super::chat::{ChatEvent, ChatResponse, Choice, Part, ToolCall};
use super::error::{Failure, FailureKind};

/// Gathers events in order.
#[derive(Debug, Default)]
pub struct Collector {
    response: ChatResponse,
    ended: bool,
}

impl Collector {
    /// Takes one event.
    ///
    /// # Errors
    /// The failure that ended the stream.
    pub fn take(&mut self, event: ChatEvent) -> Result<(), Failure> {
        match event {
            ChatEvent::Start { id, model, created } => {
                (self.response.id, self.response.model, self.response.created) = (id, model, created);
            }
            ChatEvent::Text { choice, text } => self.append(choice, Part::Text(text)),
            ChatEvent::Reasoning { choice, text } => self.append(choice, Part::Reasoning { text, signature: None }),
            ChatEvent::Refusal { choice, text } => self.append(choice, Part::Refusal(text)),
            ChatEvent::ReasoningSignature { choice, signature } => {
                let content = &mut self.choice(choice).content;
                match content.last_mut() {
                    Some(Part::Reasoning { signature: open @ None, .. }) => *open = Some(signature),
                    // A signature of its own: thinking whose text the provider withholds.
                    _ => content.push(Part::Reasoning { text: String::new(), signature: Some(signature) }),
                }
            }
            ChatEvent::ToolStart { choice, id, name, custom, signature, .. } => {
                let call = ToolCall { custom, signature, ..ToolCall::new(id, name, "") };
                self.choice(choice).tool_calls.push(call);
            }
            ChatEvent::ToolArguments { choice, index, fragment } => {
                if let Some(call) = self.choice(choice).tool_calls.get_mut(index as usize) {
                    call.arguments.push_str(&fragment);
                }
            }
            ChatEvent::Finish { choice, reason, stop_sequence } => {
                let choice = self.choice(choice);
                (choice.finish, choice.stop_sequence) = (reason, stop_sequence);
            }
            ChatEvent::Media { choice, part } => self.choice(choice).content.push(part),
            ChatEvent::Logprobs { choice, tokens } => self.choice(choice).logprobs.extend(tokens),
            ChatEvent::Citation { choice, citation } => self.choice(choice).citations.push(citation),
            ChatEvent::Usage(usage) => self.response.usage = Some(usage),
            ChatEvent::Error(failure) => return Err(failure),
            ChatEvent::End => self.ended = true,
        }
        Ok(())
    }

    /// The answer, if it reached its end.
    ///
    /// # Errors
    /// `Truncated` otherwise.
    pub fn finish(self) -> Result<ChatResponse, Failure> {
        if self.ended { Ok(self.response) } else { Err(Failure::new(FailureKind::Truncated, "the answer broke off")) }
    }

    /// Gathers a whole stream.
    ///
    /// # Errors
    /// The failure that ended the stream, or `Truncated`.
    pub async fn drain(events: impl Stream<Item = ChatEvent> + Unpin) -> Result<ChatResponse, Failure> {
        let (mut events, mut collector) = (events, Self::default());
        while let Some(event) = events.next().await {
            collector.take(event)?;
        }
        collector.finish()
    }

    fn choice(&mut self, index: u32) -> &mut Choice {
        let position = self.response.choices.iter().position(|c| c.index == index).unwrap_or_else(|| {
            self.response.choices.push(Choice::new(index));
            self.response.choices.len() - 1
        });
        &mut self.response.choices[position]
    }

    /// Joins deltas of one kind; a change of kind opens a new part.
    fn append(&mut self, choice: u32, part: Part) {
        let content = &mut self.choice(choice).content;
        match (content.last_mut(), part) {
            (Some(Part::Text(text)), Part::Text(more)) | (Some(Part::Refusal(text)), Part::Refusal(more)) => {
                text.push_str(&more);
            }
            (Some(Part::Reasoning { text, signature: None }), Part::Reasoning { text: more, .. }) => {
                text.push_str(&more)
            }
            (_, part) => content.push(part),
        }
    }
}

impl ChatResponse {
    /// Bytes of text, thinking, refusals and arguments: the basis of an estimate where usage is not reported.
    #[must_use]
    pub fn output_bytes(&self) -> u64 {
        let said = |part: &Part| match part {
            Part::Text(text) | Part::Refusal(text) | Part::Reasoning { text, .. } => text.len(),
            _ => 0,
        };
        let of = |choice: &Choice| {
            let calls: usize = choice.tool_calls.iter().map(|call| call.arguments.len()).sum();
            choice.content.iter().map(said).sum::<usize>() + calls
        };
        self.choices.iter().map(of).sum::<usize>() as u64
    }
}

/// The events of a whole answer, in the order of a stream. Gathered again they are the same answer, but for its service
/// tier, which no event tells.
#[must_use]
pub fn events(response: ChatResponse) -> Vec<ChatEvent> {
    let ChatResponse { id, model, created, choices, usage, .. } = response;
    let mut events = vec![ChatEvent::Start { id, model, created }];
    for Choice { index: choice, content, tool_calls, finish, stop_sequence, logprobs, citations } in choices {
        for part in content {
            match part {
                Part::Text(text) => events.push(ChatEvent::Text { choice, text }),
                Part::Refusal(text) => events.push(ChatEvent::Refusal { choice, text }),
                Part::Reasoning { text, signature } => {
                    if !text.is_empty() {
                        events.push(ChatEvent::Reasoning { choice, text });
                    }
                    events.extend(signature.map(|signature| ChatEvent::ReasoningSignature { choice, signature }));
                }
                part => events.push(ChatEvent::Media { choice, part }),
            }
        }
        if !logprobs.is_empty() {
            events.push(ChatEvent::Logprobs { choice, tokens: logprobs });
        }
        events.extend(citations.into_iter().map(|citation| ChatEvent::Citation { choice, citation }));
        for (index, call) in (0..).zip(tool_calls) {
            let ToolCall { id, name, arguments: fragment, custom, signature, .. } = call;
            events.push(ChatEvent::ToolStart { choice, index, id, name, custom, signature });
            events.push(ChatEvent::ToolArguments { choice, index, fragment });
        }
        events.push(ChatEvent::Finish { choice, reason: finish, stop_sequence });
    }
    events.extend(usage.map(ChatEvent::Usage));
    events.push(ChatEvent::End);
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chat::{Citation, FinishReason, Signature, TokenLogprob};
    use crate::domain::id::DialectId;
    use crate::domain::usage::{Bucket, Usage};

    #[test]
    fn deltas_of_a_kind_are_joined_and_a_missing_end_is_a_truncation() {
        let mut collector = Collector::default();
        let text = |t: &str| ChatEvent::Text { choice: 0, text: t.into() };
        let thought = |t: &str| ChatEvent::Reasoning { choice: 0, text: t.into() };
        for event in [thought("a"), thought("b"), text("c"), text("d")] {
            collector.take(event).unwrap();
        }
        collector.take(ChatEvent::Finish { choice: 0, reason: FinishReason::Length, stop_sequence: None }).unwrap();
        let choice = collector.response.choices[0].clone();
        assert_eq!(choice.content, [Part::Reasoning { text: "ab".into(), signature: None }, Part::Text("cd".into())]);
        assert_eq!(choice.finish, FinishReason::Length);
        assert_eq!(collector.finish().unwrap_err().kind, FailureKind::Truncated);
    }

    #[test]
    fn an_answer_survives_its_events() {
        let signature = Signature::new(DialectId::Anthropic, "s".to_owned());
        let call = |id: &str, custom| ToolCall { custom, ..ToolCall::new(id, "f", "{}") };
        let token = TokenLogprob { token: "a".into(), logprob: -0.5, bytes: None, top: Vec::new() };
        let choice = Choice {
            content: vec![
                Part::Reasoning { text: "hm".into(), signature: Some(signature.clone()) },
                Part::Reasoning { text: String::new(), signature: Some(signature) },
                Part::Text("one".into()),
                Part::Refusal("no".into()),
            ],
            tool_calls: vec![call("1", false), call("2", true)],
            finish: FinishReason::ToolCalls,
            stop_sequence: Some("x".into()),
            logprobs: vec![token],
            citations: vec![Citation { url: Some("u".into()), ..Citation::default() }],
            ..Choice::new(0)
        };
        let answer = ChatResponse {
            id: "id".into(),
            model: "m".into(),
            created: Some(7),
            choices: vec![choice, Choice { content: vec![Part::Text("two".into())], ..Choice::new(1) }],
            usage: Some(Usage::ZERO.with(Bucket::Input, 3)),
            service_tier: None,
            served: None,
        };
        assert_eq!(answer.output_bytes(), 14);
        let mut collector = Collector::default();
        events(answer.clone()).into_iter().for_each(|event| collector.take(event).unwrap());
        assert_eq!(collector.finish().unwrap(), answer);
    }
}
