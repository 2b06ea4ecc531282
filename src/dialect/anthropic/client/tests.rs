//! Tests of the client's side.

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dialect::{Destination, Egress, Quirks, Transcode};
use crate::domain::chat::{ChatEvent, FinishReason, MediaSource, Part, Role, Signature, ToolChoice, ToolKind};
use crate::domain::collect::Collector;
use crate::domain::id::DialectId;
use crate::domain::target::Capability;
use crate::domain::usage::{Bucket, Usage};

fn envelope(body: &Value) -> Result<Envelope, Error> {
    Anthropic.envelope(&Bytes::from(body.to_string()), &Located::default())
}

fn decode(body: &Value) -> ChatRequest {
    Anthropic.decode_request(body.to_string().as_bytes(), &Envelope::default()).unwrap()
}

fn said(content: Value) -> Value {
    json!({"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": content}]})
}

#[test]
fn the_envelope_knows_what_the_target_must_be_able_to_do() {
    let has = |body: Value, capability| envelope(&body).unwrap().needs.has(capability);
    let image = json!([{"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}]);
    assert!(has(said(image.clone()), Capability::Image));
    assert!(!has(said(json!("the word \"image\"")), Capability::Image));
    assert!(has(said(json!([{"type": "tool_result", "tool_use_id": "a", "content": image}])), Capability::Image));
    let with = |member: &str, value: Value| {
        let mut body = said(json!("hi"));
        body[member] = value;
        body
    };
    assert!(has(with("tools", json!([{"name": "f", "input_schema": {}}])), Capability::Tools));
    assert!(!has(with("tools", json!([{"type": "web_search_20250305", "name": "web_search"}])), Capability::Tools));
    let format = json!({"format": {"type": "json_schema", "schema": {}}, "effort": "low"});
    assert!(has(with("output_config", format.clone()), Capability::JsonSchema));
    let members = envelope(&with("output_config", format)).unwrap().members;
    assert!(members.iter().any(|m| &**m == "output_config.format") && !members.iter().any(|m| &**m == "output_config"));
    for (body, param) in [
        (json!({"model": "m"}), "messages"),
        (json!({"model": "m", "messages": []}), "messages"),
        (json!({"messages": [1]}), "model"),
        (with("max_tokens", json!(0)), "max_tokens"),
        (with("stream", json!("yes")), "stream"),
    ] {
        assert_eq!(envelope(&body).unwrap_err().param.as_deref(), Some(param), "{body}");
    }
}

#[test]
fn a_thread_is_named_and_its_errors_are_those_that_clients_act_on() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}],
        "thread": {"type": "continue", "previous_message_id": "msg_1"}});
    let named = Anthropic.names_stored(&Bytes::from(body.to_string()), &envelope(&body).unwrap());
    assert_eq!((named[0].id.as_str(), named[0].unknown), ("msg_1", "thread_not_found"));
    let told = |error: Error| {
        let body: Value = serde_json::from_slice(&Anthropic.encode_error(&error, "req_1")).unwrap();
        body["error"]["details"].clone()
    };
    let lost = |code| Error::new(ErrorKind::InvalidRequest, "m").code("upstream_rejected").told_code(Some(code));
    assert_eq!(told(lost("thread_already_continued".to_owned())), json!({"error_code": "thread_already_continued"}));
    assert_eq!(told(lost("other".to_owned())), Value::Null);
    let without = Error::new(ErrorKind::UnsupportedParameter, "m").param("thread");
    assert_eq!(told(without), json!({"error_code": "thread_unsupported_request", "unsupported": ["thread"]}));
    let upstream = br#"{"type":"error","error":{"type":"invalid_request_error","message":"m","details":{"error_code":"thread_not_found"}}}"#;
    assert_eq!(Anthropic.decode_error(400, upstream).code.as_deref(), Some("thread_not_found"));
}

#[test]
fn a_tool_loop_with_thinking_is_understood() {
    let request = decode(&json!({
        "model": "m", "max_tokens": 100, "stream": true, "temperature": 0.5, "stop_sequences": ["END"],
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "metadata": {"user_id": "u-1"}, "thinking": {"type": "enabled", "budget_tokens": 2048},
        "tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}},
                  {"type": "web_search_20250305", "name": "web_search"}],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": true},
        "context_management": {"edits": []},
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "ZGF0YQ=="},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"n": 12345678901234567890_u64}},
                {"type": "tool_use", "id": "t2", "name": "f", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
                {"type": "tool_result", "tool_use_id": "t2", "is_error": true,
                 "content": [{"type": "text", "text": "two"}]},
                {"type": "text", "text": "go on"}]}],
    }));
    let roles: Vec<Role> = request.messages.iter().map(|m| m.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::Tool, Role::User]);
    assert!(matches!(&request.messages[0].content[1], Part::CacheMark(m) if m.ttl.as_deref() == Some("1h")));
    let assistant = &request.messages[2];
    let signed = Some(Signature::new(DialectId::Anthropic, "c2ln"));
    assert_eq!(assistant.content[0], Part::Reasoning { text: "hm".into(), signature: signed });
    assert_eq!(assistant.tool_calls[0].arguments, r#"{"n":12345678901234567890}"#);
    assert!(!request.messages[3].tool_failed && request.messages[4].tool_failed);
    assert_eq!(request.tool_choice, Some(ToolChoice::Function("f".into())));
    assert_eq!(request.parallel_tool_calls, Some(false));
    assert_eq!(request.user.as_deref(), Some("u-1"));
    assert_eq!(request.reasoning.as_ref().unwrap().budget_tokens, Some(2048));
    assert!(request.tools[0].cache.is_some() && matches!(request.tools[1].kind, ToolKind::Server { .. }));
    assert_eq!(request.extra.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["context_management"]);
}

#[test]
fn through_the_canonical_form_and_back_the_request_is_the_same() {
    let body = json!({
        "model": "m", "max_tokens": 4000, "system": "be brief",
        "messages": [
            {"role": "user", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"},
                 "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "what is it?"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "text", "text": "let me look"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1, {"b": null}]}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": true}]}],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}},
                  {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
        "thinking": {"type": "enabled", "budget_tokens": 2000}, "metadata": {"user_id": "u"},
        "stop_sequences": ["END"], "stream": true,
    });
    let quirks = Quirks::default();
    let to = Destination { model: "m", default_max_output: 1, max_output: None, quirks: &quirks };
    let (wire, loss) = Anthropic.encode_request(&decode(&body), &to).unwrap();
    assert!(loss.is_empty(), "{loss:?}");
    assert_eq!(serde_json::from_slice::<Value>(&wire).unwrap(), body);
}

#[test]
fn wrong_types_are_told_with_their_path() {
    let error = |content: Value| {
        let body = said(content).to_string();
        Anthropic.decode_request(body.as_bytes(), &Envelope::default()).unwrap_err().param.unwrap()
    };
    assert_eq!(error(json!(5)), "messages[0].content");
    assert_eq!(error(json!([{"type": "text"}])), "messages[0].content[0].text");
    assert_eq!(error(json!([{"type": "image"}])), "messages[0].content[0].source");
    assert_eq!(error(json!([{"type": "tool_result"}])), "messages[0].content[0].tool_use_id");
    assert_eq!(
        error(json!([{"type": "tool_use", "id": "a", "name": "f", "input": []}])),
        "messages[0].content[0].input"
    );
    // What nobody knows is kept for those who do.
    let kept = decode(&said(json!([{"type": "container_upload", "file_id": "x"}])));
    assert!(matches!(&kept.messages[0].content[0], Part::Opaque { dialect: "anthropic", .. }));
    let file = decode(&said(json!([{"type": "document", "source": {"type": "file", "file_id": "x"}}])));
    assert!(matches!(&file.messages[0].content[0], Part::File(m) if matches!(m.source, MediaSource::Stored { .. })));
}

/// Events with two interleaved calls, as OpenAI-like providers may send them.
fn events() -> Vec<ChatEvent> {
    let tool = |index, id: &str| ChatEvent::ToolStart {
        choice: 0,
        index,
        id: id.into(),
        name: "f".into(),
        custom: false,
        signature: None,
    };
    let part = |index, fragment: &str| ChatEvent::ToolArguments { choice: 0, index, fragment: fragment.into() };
    vec![
        ChatEvent::Start { id: "up-1".into(), model: "real".into(), created: None },
        ChatEvent::Reasoning { choice: 0, text: "hm".into() },
        ChatEvent::ReasoningSignature { choice: 0, signature: Signature::new(DialectId::Gemini, "Z2Vt") },
        ChatEvent::Text { choice: 0, text: "let ".into() },
        ChatEvent::Text { choice: 0, text: "me".into() },
        tool(0, "a"),
        part(0, "{\"n\":"),
        tool(1, "b"),
        part(1, "{\"m\":2"),
        part(0, "1}"),
        part(1, "}"),
        tool(2, "c"),
        ChatEvent::Finish { choice: 0, reason: FinishReason::ToolCalls, stop_sequence: None },
        ChatEvent::Usage(Usage::ZERO.with(Bucket::Input, 5).with(Bucket::CacheRead, 3).with(Bucket::Output, 9)),
        ChatEvent::End,
    ]
}

fn rendered(events: &[ChatEvent]) -> String {
    let (mut encoder, mut out) = (events::Encoder::new(Rendering::example("shown", true)), BytesMut::new());
    events.iter().for_each(|event| encoder.event(event, &mut out));
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn a_stream_has_its_blocks_one_after_the_other() {
    let text = rendered(&events());
    let mut open: Option<u64> = None;
    let mut blocks = Vec::new();
    for frame in text.split_terminator("\n\n") {
        let (name, data) = frame.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name);
        match name {
            "content_block_start" => {
                assert_eq!(open, None, "{text}");
                open = data["index"].as_u64();
                assert_eq!(open, Some(blocks.len() as u64));
                blocks.push((data["content_block"]["type"].as_str().unwrap().to_owned(), String::new()));
            }
            "content_block_delta" => {
                assert_eq!(data["index"].as_u64(), open, "{text}");
                let delta = &data["delta"];
                let piece = ["text", "thinking", "partial_json", "signature"].iter().find_map(|m| delta[*m].as_str());
                blocks.last_mut().unwrap().1.push_str(piece.unwrap());
            }
            "content_block_stop" => assert_eq!(data["index"].as_u64(), open.take()),
            _ => assert_eq!(open, None, "{name}"),
        }
    }
    let blocks: Vec<(&str, &str)> = blocks.iter().map(|(k, t)| (k.as_str(), t.as_str())).collect();
    let want = [
        ("thinking", "hmsw.gemini.Z2Vt"),
        ("text", "let me"),
        ("tool_use", "{\"n\":1}"),
        ("tool_use", "{\"m\":2}"),
        ("tool_use", "{}"),
    ];
    assert_eq!(blocks, want);
    assert!(text.contains(r#""stop_reason":"tool_use""#) && text.ends_with("data: {\"type\":\"message_stop\"}\n\n"));
    assert!(text.contains(r#""cache_read_input_tokens":3"#) && text.contains(r#""output_tokens":9"#));
    assert!(!text.contains("[DONE]"));
}

#[test]
fn a_second_answer_that_was_never_asked_for_is_not_mixed_into_the_first() {
    let mut all = events();
    let second = all.iter().position(|event| matches!(event, ChatEvent::Text { .. })).unwrap();
    all.insert(second, ChatEvent::Text { choice: 1, text: "another".into() });
    assert_eq!(rendered(&all), rendered(&events()));
}

#[test]
fn thinking_is_counted_apart_where_there_was_some() {
    let usage = Usage::ZERO.with(Bucket::Output, 5).with(Bucket::Reasoning, 7);
    let text = rendered(&[ChatEvent::Usage(usage), ChatEvent::End]);
    assert!(text.contains(r#""output_tokens":12,"output_tokens_details":{"thinking_tokens":7}"#), "{text}");
}

#[test]
fn our_own_reader_reads_what_we_write() {
    let text = rendered(&events());
    let mut decoder = Anthropic.decode_stream(&Quirks::default());
    let mut read = Vec::new();
    decoder.chunk(text.as_bytes(), &mut read).unwrap();
    decoder.end(&mut read).unwrap();
    let gather = |events: Vec<ChatEvent>| {
        let mut collector = Collector::default();
        events.into_iter().for_each(|event| collector.take(event).unwrap());
        collector.finish().unwrap()
    };
    let (sent, got) = (gather(events()), gather(read));
    assert_eq!(got.usage, sent.usage);
    let (sent, got) = (&sent.choices[0], &got.choices[0]);
    assert_eq!(got.finish, sent.finish);
    let calls = |choice: &crate::domain::chat::Choice| -> Vec<(String, String)> {
        let text = |a: &str| if a.is_empty() { "{}".to_owned() } else { a.to_owned() };
        choice.tool_calls.iter().map(|c| (c.id.clone(), text(&c.arguments))).collect()
    };
    assert_eq!(calls(got), calls(sent));
    // A whole answer says the same as the stream.
    let whole = Anthropic.encode_response(&gather(events()), &Rendering::example("shown", true));
    let whole = Anthropic.decode_response(&whole, &Quirks::default()).unwrap();
    assert_eq!((calls(&whole.choices[0]), whole.usage), (calls(sent), Some(gather(events()).usage.unwrap())));
}

#[test]
fn an_answer_that_was_cut_in_a_call_says_so() {
    let mut call = crate::domain::chat::Choice::new(0);
    call.tool_calls.push(crate::domain::chat::ToolCall::new("a", "f", "{\"n\": 1"));
    call.finish = FinishReason::Length;
    let response = ChatResponse { choices: vec![call], ..ChatResponse::default() };
    let body = Anthropic.encode_response(&response, &Rendering::example("m", true));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["content"][0]["input"], json!({"_incomplete_arguments": "{\"n\": 1"}));
    assert_eq!((&body["stop_reason"], &body["id"]), (&json!("max_tokens"), &json!("msg_own")));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Anthropic.decode_request(&bytes, &Envelope::default());
        let _ = Anthropic.envelope(&Bytes::from(bytes), &Located::default());
    }
}
