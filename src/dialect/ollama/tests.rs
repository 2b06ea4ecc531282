//! Tests of the dialect.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dialect::corpus;
use crate::domain::chat::{Media, MediaSource, Message, Part, ReasoningSettings, Role, ToolCall};
use crate::domain::error::FailureKind;

fn stream(body: &[u8], chunk: usize) -> (Vec<crate::domain::chat::ChatEvent>, Result<(), Failure>) {
    let (events, result, _) = corpus::decode(Ollama.decode_stream(&Quirks::default()), body, chunk);
    (events, result)
}

/// What the independent reading has otherwise, with the reason.
const EXCEPTIONS: [(&str, &str); 2] = [
    ("ollama-ollamachat-u-173dc1a7", "calls end with `stop` there: clients of other dialects are told of the call"),
    ("ollama-ollamachat-s-011186a8", "the same"),
];

#[test]
fn recorded_answers() {
    let Some(exchanges) = corpus::load(&["other"], |x| x.id.contains("ollamachat")) else { return };
    let (mut good, mut errors, mut wrong) = (0, 0, Vec::new());
    for (exchange, want) in &exchanges {
        let (id, body) = (&exchange.id, exchange.response.body_text.as_bytes());
        if exchange.status >= 400 {
            assert_eq!(Ollama.decode_error(exchange.status, body).status, Some(exchange.status), "{id}");
            errors += 1;
            continue;
        }
        let answer = if exchange.wire_format == "ndjson" {
            let (events, result) = stream(body, body.len());
            assert_eq!(result, Ok(()), "{id}");
            assert_eq!(stream(body, 61).0, events, "{id}");
            corpus::gather(events)
        } else {
            Ollama.decode_response(body, &Quirks::default()).unwrap_or_else(|e| panic!("{id}: {e:?}"))
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
        reasoning: Some(ReasoningSettings { effort: Some("none".into()), budget_tokens: None }),
        max_output_tokens: Some(7),
        ..ChatRequest::default()
    };
    let quirks = Quirks::default();
    let to = Destination { model: "m", default_max_output: 1, max_output: None, quirks: &quirks };
    let (wire, loss) = Ollama.encode_request(&request, &to).unwrap();
    assert!(loss.is_empty(), "{loss:?}");
    let want = json!({"model": "m", "think": false, "stream": false, "options": {"num_predict": 7}, "messages": [
        {"role": "user", "content": "what?", "images": ["iVBO"]},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"n": 1}}}]},
        {"role": "tool", "content": "one", "tool_name": "f"}]});
    assert_eq!(serde_json::from_slice::<Value>(&wire).unwrap(), want);
    let mut by_url = request;
    let source = MediaSource::Url("https://x/y.png".into());
    by_url.messages[0].content[1] = Part::Image(Media { source, media_type: None, detail: None, name: None });
    let refused = Ollama.encode_request(&by_url, &to).unwrap_err();
    assert_eq!(refused.param.as_deref(), Some("messages[0].content[1]"));
}

#[test]
fn a_cut_stream_and_an_error_line_are_failures() {
    let cut = b"{\"model\":\"m\",\"message\":{\"content\":\"hi\"},\"done\":false}\n{\"mod";
    assert_eq!(stream(cut, 5).1.unwrap_err().kind, FailureKind::Truncated);
    let error = b"{\"model\":\"m\",\"message\":{\"content\":\"hi\"},\"done\":false}\n{\"error\":\"out of memory\"}\n";
    assert_eq!(stream(error, 5).1.unwrap_err().kind, FailureKind::Upstream);
    assert_eq!(Ollama.decode_error(404, b"{\"error\":\"model not found\"}").kind, FailureKind::NoModel);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = stream(&bytes, 7);
        let _ = Ollama.decode_response(&bytes, &Quirks::default());
    }
}
