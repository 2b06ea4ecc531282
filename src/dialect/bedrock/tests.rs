//! Tests of the dialect, and what they share.

mod corpus;
mod encode;
mod reader;
mod streams;
mod whole;

use super::*;
use crate::dialect::Observed;
use crate::domain::chat::{ChatEvent, Part};
use crate::domain::collect::Collector;
use crate::wire::eventstream::HeaderValue;
use crate::wire::eventstream::tests::frame;

fn quirks() -> &'static Quirks {
    static NONE: std::sync::OnceLock<Quirks> = std::sync::OnceLock::new();
    NONE.get_or_init(Quirks::default)
}

/// The quirks of the shipped catalogue file.
fn shipped() -> &'static Quirks {
    static SHIPPED: std::sync::OnceLock<Quirks> = std::sync::OnceLock::new();
    SHIPPED.get_or_init(|| {
        let around = crate::catalogue::Surroundings { env: &|_| None, served: &[] };
        let catalogue = crate::catalogue::Catalogue::compile(&[], &around).unwrap();
        let target = catalogue.target(catalogue.named("bedrock/deepseek-r1")[0]);
        (*catalogue.endpoint(target).quirks).clone()
    })
}

fn to(model: &str) -> Destination<'_> {
    Destination { model, default_max_output: 4096, max_output: None, quirks: shipped() }
}

/// An event of a stream.
fn event(kind: &str, payload: &str) -> Vec<u8> {
    let text = HeaderValue::Text;
    let head =
        [(":event-type", text(kind)), (":content-type", text("application/json")), (":message-type", text("event"))];
    frame(&head, payload.as_bytes())
}

/// Decodes a stream cut into the given chunks.
fn decode_stream<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<ChatEvent>, Result<(), Failure>, Observed) {
    let mut decoder = Bedrock.decode_stream(quirks());
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

/// All text of an answer.
fn text_of(answer: &ChatResponse) -> String {
    let texts = answer.choices[0].content.iter();
    texts.filter_map(|p| if let Part::Text(t) = p { Some(t.as_str()) } else { None }).collect()
}

#[test]
fn the_path_names_model_and_operation() {
    assert_eq!(Bedrock.path("us.deepseek.r1-v1:0", false), "/model/us.deepseek.r1-v1%3A0/converse");
    let arn = "arn:aws:bedrock:eu-central-1:1:inference-profile/eu.a";
    let path = "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A1%3Ainference-profile%2Feu.a/converse-stream";
    assert_eq!(Bedrock.path(arn, true), path);
    assert_eq!(Bedrock.path("a b\u{e4}?", false), "/model/a%20b%C3%A4%3F/converse");
    assert!(Bedrock.passthrough().is_none());
}
