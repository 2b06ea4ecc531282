//! Recorded exchanges, where they are at hand: every answer is decoded and compared with an independent reading.

use serde::Deserialize;

use super::*;
use crate::dialect::corpus::{self, differences};
use crate::domain::chat::Part;
use crate::domain::error::FailureKind;

/// Answers whose plan we read as thinking; the independent reader leaves plans out.
const PLANS: [(&str, &str); 3] = [
    ("cohere-coherev2chat-u-0e67d394", "I will roll the dice three times."),
    ("cohere-coherev2chat-u-2fd6a4b5", "I will use one or more of the available tools to find the answer"),
    ("cohere-coherev2chat-s-bd35ec54", "I will use one or more of the available tools to find the answer"),
];

/// Takes the plan out of an answer that has one, and looks at it.
fn without_plan(id: &str, mut answer: ChatResponse) -> ChatResponse {
    if let Some((_, plan)) = PLANS.iter().find(|(planned, _)| *planned == id) {
        let content = &mut answer.choices[0].content;
        assert_eq!(content.remove(0), Part::Reasoning { text: (*plan).to_owned(), signature: None }, "{id}");
    }
    answer
}

#[test]
fn recorded_answers() {
    #[derive(Deserialize)]
    struct Told {
        message: String,
    }
    let Some(exchanges) = corpus::load(&["other"], |x| x.id.contains("-coherev2chat-")) else { return };
    let (mut whole, mut streams, mut errors, mut cited) = (0, 0, 0, 0);
    for (exchange, want) in &exchanges {
        let (id, body) = (&exchange.id, exchange.response.body_text.as_bytes());
        if exchange.status >= 400 {
            let failure = Cohere.decode_error(exchange.status, body);
            let told: Told = serde_json::from_slice(body).unwrap();
            assert_eq!((failure.message, failure.status), (told.message, Some(exchange.status)), "{id}");
            let (kind, code) = match exchange.status {
                400 => (FailureKind::Rejected, Some("context_length_exceeded")),
                401 => (FailureKind::Credentials, None),
                _ => (FailureKind::NoModel, None),
            };
            assert_eq!((failure.kind, failure.code.as_deref()), (kind, code), "{id}");
            errors += 1;
            continue;
        }
        let answer = if exchange.wire_format == "sse" {
            let (events, result, observed) = corpus::decode(Cohere.decode_stream(quirks()), body, usize::MAX);
            assert_eq!(result, Ok(()), "{id}");
            assert!(observed.finished && observed.ended && observed.began, "{id}");
            for size in [1, 7, 61] {
                assert_eq!(corpus::decode(Cohere.decode_stream(quirks()), body, size).0, events, "{id} by {size}");
            }
            streams += 1;
            assemble(&events)
        } else {
            whole += 1;
            Cohere.decode_response(body, quirks()).unwrap()
        };
        cited += answer.choices[0].citations.len();
        assert!(!answer.id.is_empty(), "{id}");
        let found = differences(&without_plan(id, answer), want);
        assert!(found.is_empty(), "{id}: {found:#?}");
    }
    println!("{} recorded exchanges: {whole} whole, {streams} streams, {errors} errors", exchanges.len());
    println!("{} plans read as thinking, {cited} citations", PLANS.len());
    assert!(!exchanges.is_empty() && cited > 0);
}
