//! Tests of the dialect, and what they share.

mod corpus;
mod encode;
mod streams;
mod whole;

use super::*;
use crate::domain::chat::ChatEvent;
use crate::domain::collect::Collector;
use crate::domain::usage::Bucket;

fn quirks() -> &'static Quirks {
    static NONE: std::sync::OnceLock<Quirks> = std::sync::OnceLock::new();
    NONE.get_or_init(Quirks::default)
}

/// Decodes a stream cut into the given chunks.
fn decode_stream<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<ChatEvent>, Result<(), Failure>, Observed) {
    let mut decoder = Cohere.decode_stream(quirks());
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
        assert_eq!(at + 1 == events.len(), *event == ChatEvent::End, "the end comes last and once");
        let content = !matches!(event, ChatEvent::Usage(_) | ChatEvent::End);
        assert!(!finished || !content, "no content after the finish");
        finished |= matches!(event, ChatEvent::Finish { .. });
        collector.take(event.clone()).unwrap();
    }
    assert!(finished);
    collector.finish().unwrap()
}

#[test]
fn the_path_is_below_the_host_and_nothing_passes_through() {
    assert_eq!(Cohere.path("command-a-03-2025", true), "/v2/chat");
    assert_eq!(Cohere.accept(), "text/event-stream");
    assert!(Cohere.passthrough().is_none() && Cohere.headers().is_empty());
}

#[test]
fn reranking_is_metered_in_searches() {
    assert_eq!(Cohere.path_of_other(Operation::Rerank, "rerank", "rerank-v3.5").as_deref(), Some("/v2/rerank"));
    assert_eq!(Cohere.path_of_other(Operation::Embeddings, "embeddings", "m"), None);
    let units = |body: &str| Cohere.observe_other(Operation::Rerank, body.as_bytes()).usage;
    let usage = units(r#"{"results":[],"meta":{"api_version":{"version":"2"},"billed_units":{"search_units":1}}}"#);
    assert_eq!(usage.unwrap().parts().collect::<Vec<_>>(), [(Bucket::Search, 1)]);
    for body in ["", "{}", r#"{"meta":null}"#, r#"{"meta":{"billed_units":{"search_units":-1}}}"#] {
        assert_eq!(units(body), None, "{body}");
    }
}
