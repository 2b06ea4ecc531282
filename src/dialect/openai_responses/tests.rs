//! Tests of the dialect, and what they share.

mod corpus;
mod ingress;
mod streams;
mod upstream;

use super::*;
use crate::domain::chat::{ChatEvent, Part};
use crate::domain::collect::Collector;
use crate::wire::sse::SseDecoder;

fn quirks() -> &'static Quirks {
    static NONE: std::sync::OnceLock<Quirks> = std::sync::OnceLock::new();
    NONE.get_or_init(Quirks::default)
}

fn to<'a>(quirks: &'a Quirks) -> Destination<'a> {
    Destination { model: "m", default_max_output: 100, max_output: None, quirks }
}

/// Decodes a request, envelope included.
fn decode(body: &str) -> Result<ChatRequest, Error> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let envelope = OpenAiResponses.envelope(&body, &Located::default())?;
    OpenAiResponses.decode_request(&body, &envelope)
}

/// Decodes a stream cut into the given chunks.
fn decode_stream<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<ChatEvent>, Result<(), Failure>, Observed) {
    let mut decoder = OpenAiResponses.decode_stream(quirks());
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

/// The whole answer that a stream's events describe. Checks the promises of `ChatEvent` on the way.
fn assemble(events: &[ChatEvent]) -> ChatResponse {
    let mut collector = Collector::default();
    let mut finished = false;
    for (at, event) in events.iter().enumerate() {
        assert_eq!(at == 0, matches!(event, ChatEvent::Start { .. }), "the opening comes first and once");
        let tail = matches!(event, ChatEvent::Usage(_) | ChatEvent::End);
        assert!(!finished || tail, "no content after the finish");
        finished |= matches!(event, ChatEvent::Finish { .. });
        collector.take(event.clone()).unwrap();
    }
    assert!(finished);
    collector.finish().unwrap()
}

/// All text of an answer.
fn text_of(answer: &ChatResponse) -> String {
    let text = |p: &Part| if let Part::Text(t) = p { Some(t.clone()) } else { None };
    answer.choices.iter().flat_map(|choice| &choice.content).filter_map(text).collect()
}

/// Events of an encoded stream: name and data.
fn frames(bytes: &[u8]) -> Vec<(String, serde_json::Value)> {
    let mut out = Vec::new();
    let mut sse = SseDecoder::new(1 << 20);
    sse.push(bytes, &mut |event| {
        out.push((event.name.unwrap_or_default().to_owned(), serde_json::from_str(event.data).unwrap()));
    })
    .unwrap();
    out
}

/// Renders events as a client gets them.
fn render(rendering: Rendering, events: &[ChatEvent]) -> Vec<u8> {
    let mut encoder = OpenAiResponses.encode_stream(rendering);
    let mut out = bytes::BytesMut::new();
    events.iter().for_each(|event| encoder.event(event, &mut out));
    out.to_vec()
}
