//! Recorded exchanges, where they are at hand: every answer is decoded and compared with an independent reading.

use super::*;
use crate::dialect::corpus::{self, Digest, differences};
use crate::domain::chat::FinishReason;
use crate::domain::error::FailureKind;

/// The server says `stop` where the answer ends with calls, and the reader repeats it; for clients it is the calls.
fn check(id: &str, mut answer: ChatResponse, want: &Digest) {
    let choice = &mut answer.choices[0];
    if !choice.tool_calls.is_empty() {
        assert_eq!((choice.finish, want.finish.as_deref()), (FinishReason::ToolCalls, Some("stop")), "{id}");
        choice.finish = FinishReason::Stop;
    }
    assert!(answer.created.is_some() && !answer.model.is_empty(), "{id}");
    let found = differences(&answer, want);
    assert!(found.is_empty(), "{id}: {found:#?}");
}

#[test]
fn recorded_answers() {
    let Some(exchanges) = corpus::load(&["other"], |x| x.id.contains("-ollamachat-")) else { return };
    let (mut whole, mut streams, mut errors, mut calls) = (0, 0, 0, 0);
    for (exchange, want) in &exchanges {
        let (id, body) = (&exchange.id, exchange.response.body_text.as_bytes());
        if exchange.status >= 400 {
            let failure = Ollama.decode_error(exchange.status, body);
            assert_eq!((failure.kind, failure.status), (FailureKind::NoModel, Some(404)), "{id}");
            assert_eq!(failure.message, "model 'nonexistent-model:latest' not found", "{id}");
            errors += 1;
            continue;
        }
        let answer = if exchange.wire_format == "ndjson" {
            let (events, result, observed) = corpus::decode(Ollama.decode_stream(quirks()), body, usize::MAX);
            assert_eq!(result, Ok(()), "{id}");
            assert!(observed.finished && observed.ended && observed.began, "{id}");
            for size in [1, 7, 61] {
                assert_eq!(corpus::decode(Ollama.decode_stream(quirks()), body, size).0, events, "{id} by {size}");
            }
            streams += 1;
            assemble(&events)
        } else {
            whole += 1;
            Ollama.decode_response(body, quirks()).unwrap()
        };
        calls += usize::from(!answer.choices[0].tool_calls.is_empty());
        check(id, answer, want);
    }
    println!("{} recorded exchanges: {whole} whole, {streams} streams, {errors} errors", exchanges.len());
    println!("{calls} answers with calls");
    assert!(!exchanges.is_empty() && calls > 0);
}
