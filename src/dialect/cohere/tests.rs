//! Tests of the dialect.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dialect::corpus;
use crate::domain::chat::{Media, MediaSource, Message, Part, ReasoningSettings, Role, ToolCall};
use crate::domain::error::FailureKind;

fn stream(body: &[u8], chunk: usize) -> (Vec<crate::domain::chat::ChatEvent>, Result<(), Failure>) {
    let (events, result, _) = corpus::decode(Cohere.decode_stream(&Quirks::default()), body, chunk);
    (events, result)
}

/// What the independent reading has otherwise, with the reason.
const EXCEPTIONS: [(&str, &str); 3] = [
    ("cohere-coherev2chat-u-0e67d394", "it leaves the plan before calls out; here it is thinking"),
    ("cohere-coherev2chat-u-2fd6a4b5", "the same"),
    ("cohere-coherev2chat-s-bd35ec54", "the same"),
];

#[test]
fn recorded_answers() {
    let Some(exchanges) = corpus::load(&["other"], |x| x.id.contains("coherev2chat")) else { return };
    let (mut good, mut errors, mut wrong) = (0, 0, Vec::new());
    for (exchange, want) in &exchanges {
        let (id, body) = (&exchange.id, exchange.response.body_text.as_bytes());
        if exchange.status >= 400 {
            assert_eq!(Cohere.decode_error(exchange.status, body).status, Some(exchange.status), "{id}");
            errors += 1;
            continue;
        }
        let answer = if exchange.wire_format == "sse" {
            let (events, result) = stream(body, body.len());
            assert_eq!(result, Ok(()), "{id}");
            assert_eq!(stream(body, 61).0, events, "{id}");
            corpus::gather(events)
        } else {
            Cohere.decode_response(body, &Quirks::default()).unwrap_or_else(|e| panic!("{id}: {e:?}"))
        };
        let differences = corpus::differences(&answer, want);
        let known = EXCEPTIONS.iter().any(|(known, _)| known == id);
        if differences.is_empty() || known {
            good += 1;
        } else {
            wrong.push(format!("{id}: {differences:?}"))
        }
    }
    println!("{} recorded exchanges: {good} answers, {errors} errors", exchanges.len());
    assert!(wrong.is_empty() && !exchanges.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_tool_loop_with_an_image() {
    let png = MediaSource::Base64 { media_type: "image/png".into(), data: "iVBO".into() };
    let image = Part::Image(Media { source: png, media_type: None, detail: None, name: None });
    let mut asked = Message::new(Role::Assistant, Vec::new());
    asked.tool_calls = vec![ToolCall::new("a", "f", "{\"n\":1}")];
    let result = Message { tool_call_id: Some("a".into()), ..Message::new(Role::Tool, vec![Part::Text("one".into())]) };
    let request = ChatRequest {
        messages: vec![Message::new(Role::User, vec![Part::Text("what?".into()), image]), asked, result],
        reasoning: Some(ReasoningSettings { effort: None, budget_tokens: Some(500) }),
        max_output_tokens: Some(7),
        ..ChatRequest::default()
    };
    let quirks = Quirks::default();
    let to = Destination { model: "m", default_max_output: 1, max_output: None, quirks: &quirks };
    let (wire, loss) = Cohere.encode_request(&request, &to).unwrap();
    assert!(loss.is_empty(), "{loss:?}");
    let want = json!({"model": "m", "max_tokens": 7, "stream": false,
        "thinking": {"type": "enabled", "token_budget": 500}, "messages": [
        {"role": "user", "content": [{"type": "text", "text": "what?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}]},
        {"role": "assistant", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"n\":1}"}}]},
        {"role": "tool", "content": "one", "tool_call_id": "a"}]});
    assert_eq!(serde_json::from_slice::<Value>(&wire).unwrap(), want);
}

#[test]
fn a_cut_stream_and_errors_are_failures() {
    let cut = b"data: {\"type\":\"content-delta\",\"delta\":{\"message\":{\"content\":{\"text\":\"hi\"}}}}\n\n";
    assert_eq!(stream(cut, 5).1.unwrap_err().kind, FailureKind::Truncated);
    let error = b"data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\"}}\n\n";
    assert_eq!(stream(error, 5).1.unwrap_err().kind, FailureKind::Upstream);
    let long = Cohere.decode_error(400, b"{\"message\":\"too many tokens: 5\"}");
    assert_eq!((long.kind, long.code.as_deref()), (FailureKind::Rejected, Some("context_length_exceeded")));
    let ranked =
        Cohere.observe_other(Operation::Rerank, br#"{"results":[],"meta":{"billed_units":{"search_units":1}}}"#);
    assert_eq!(ranked.usage.unwrap().get(crate::domain::usage::Bucket::Search), 1);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = stream(&bytes, 7);
        let _ = Cohere.decode_response(&bytes, &Quirks::default());
    }
}
