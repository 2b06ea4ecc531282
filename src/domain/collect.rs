//! A whole answer gathered from its events.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chat::FinishReason;

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
}
