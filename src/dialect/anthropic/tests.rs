//! Tests of the dialect, and what they share.

mod corpus;
mod encode;
mod params;
mod streams;
mod whole;

use super::*;
use crate::domain::chat::{ChatEvent, Choice, FinishReason, Part, ToolCall};

fn quirks() -> &'static Quirks {
    static NONE: std::sync::OnceLock<Quirks> = std::sync::OnceLock::new();
    NONE.get_or_init(Quirks::default)
}

/// Decodes a stream cut into the given chunks.
fn decode_stream<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<ChatEvent>, Result<(), Failure>, Observed) {
    let mut decoder = Anthropic.decode_stream(quirks());
    let mut events = Vec::new();
    let mut result = Ok(());
    for chunk in chunks {
        result = decoder.chunk(chunk, &mut events);
        if result.is_err() {
            break;
        }
    }
    if result.is_ok() {
        result = decoder.end(&mut events);
    }
    (events, result, decoder.observed().clone())
}

/// Sends a stream through the tap: what the client gets, how it ended, what was learned.
fn streams_tap(body: &[u8]) -> (Vec<u8>, Result<(), Failure>, Observed) {
    let mut tap = Anthropic.tap(quirks(), Watching { hide_usage: false, ..Watching::default() });
    let mut out = Vec::new();
    let result = tap.chunk(Bytes::copy_from_slice(body), &mut out).and_then(|()| tap.end(&mut out));
    (out.concat(), result, tap.observed().clone())
}

/// The whole answer that a stream's events describe. Checks the promises of `ChatEvent` on the way.
fn assemble(events: &[ChatEvent]) -> ChatResponse {
    let mut answer = ChatResponse::default();
    let mut choice = Choice::new(0);
    let (mut finished, mut ended) = (0, 0);
    for (at, event) in events.iter().enumerate() {
        assert_eq!(at == 0, matches!(event, ChatEvent::Start { .. }), "the opening comes first and once");
        assert_eq!(ended, 0, "nothing follows the end");
        let content = !matches!(event, ChatEvent::Usage(_) | ChatEvent::End | ChatEvent::Finish { .. });
        assert!(finished == 0 || !content, "no content after the finish");
        match event {
            ChatEvent::Start { id, model, created } => {
                (answer.id, answer.model, answer.created) = (id.clone(), model.clone(), *created);
            }
            ChatEvent::Text { text, .. } => match choice.content.last_mut() {
                Some(Part::Text(so_far)) => so_far.push_str(text),
                _ => choice.content.push(Part::Text(text.clone())),
            },
            ChatEvent::Reasoning { text, .. } => match choice.content.last_mut() {
                Some(Part::Reasoning { text: so_far, signature: None }) => so_far.push_str(text),
                _ => choice.content.push(Part::Reasoning { text: text.clone(), signature: None }),
            },
            ChatEvent::ReasoningSignature { signature, .. } => match choice.content.last_mut() {
                Some(Part::Reasoning { signature: open @ None, .. }) => *open = Some(signature.clone()),
                _ => choice.content.push(Part::Reasoning { text: String::new(), signature: Some(signature.clone()) }),
            },
            ChatEvent::ToolStart { index, id, name, .. } => {
                assert_eq!(*index as usize, choice.tool_calls.len(), "numbers of calls are dense");
                choice.tool_calls.push(ToolCall::new(id, name, ""));
            }
            ChatEvent::ToolArguments { index, fragment, .. } => {
                choice.tool_calls[*index as usize].arguments.push_str(fragment);
            }
            ChatEvent::Finish { reason, .. } => {
                finished += 1;
                choice.finish = *reason;
            }
            ChatEvent::Usage(usage) => answer.usage = Some(*usage),
            ChatEvent::End => ended += 1,
            ChatEvent::Citation { citation, .. } => choice.citations.push(citation.clone()),
            ChatEvent::Media { .. } | ChatEvent::Logprobs { .. } => panic!("not of this dialect"),
            ChatEvent::Refusal { .. } | ChatEvent::Error(_) => panic!("not of this dialect: {event:?}"),
        }
    }
    assert_eq!((finished, ended), (1, 1));
    answer.choices.push(choice);
    answer
}

/// All text of an answer.
fn text_of(answer: &ChatResponse) -> String {
    answer.choices[0]
        .content
        .iter()
        .filter_map(|p| if let Part::Text(t) = p { Some(t.as_str()) } else { None })
        .collect()
}
