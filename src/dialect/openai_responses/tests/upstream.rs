//! What providers get and send, beyond what is recorded.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::chat::{
    Json, Message, ReasoningSettings, ResponseFormat, Role, Signature, Tool, ToolCall, ToolChoice, ToolKind,
};
use crate::domain::error::{ErrorKind, FailureKind};
use crate::domain::id::DialectId;
use crate::domain::usage::Bucket;

#[test]
fn a_foreign_request_in_this_dialect() {
    let mut assistant = Message::new(
        Role::Assistant,
        vec![
            Part::Reasoning { text: "t".into(), signature: Some(Signature::new(DialectId::OpenAiResponses, "enc")) },
            Part::Reasoning { text: "u".into(), signature: None },
            Part::Text("said".into()),
        ],
    );
    assistant.tool_calls.push(ToolCall::new("c1", "f", ""));
    let mut tool = Message::new(Role::Tool, vec![Part::Text("r".into())]);
    tool.tool_call_id = Some("c1".into());
    let mut request = ChatRequest {
        messages: vec![Message::new(Role::System, vec![Part::Text("s".into())]), assistant, tool],
        tools: vec![Tool { name: "f".into(), parameters: Some(Json::new("{\"type\":\"object\"}")), ..Tool::default() }],
        tool_choice: Some(ToolChoice::Function("f".into())),
        response_format: Some(ResponseFormat::JsonObject),
        reasoning: Some(ReasoningSettings { effort: None, budget_tokens: Some(4000) }),
        max_output_tokens: Some(50),
        stream: true,
        ..ChatRequest::default()
    };
    request.sampling.stop = vec!["x".into()];
    let (body, loss) = OpenAiResponses.encode_request(&request, &to(quirks())).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        body,
        json!({
        "model": "m", "store": false, "stream": true, "max_output_tokens": 50,
        "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_object"}},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": false}],
        "tool_choice": {"type": "function", "name": "f"},
        "input": [
            {"type": "message", "role": "system", "content": "Answer with one JSON object and nothing else."},
            {"type": "message", "role": "system", "content": "s"},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}], "encrypted_content": "enc"},
            {"type": "message", "role": "assistant", "content": "said"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "r"}]})
    );
    assert_eq!((loss.semantic, loss.advisory), (vec!["stop".to_owned()], vec!["messages[1].content[1]".to_owned()]));
}

#[test]
fn server_tools_of_others_are_dropped_and_own_ones_stay() {
    let server = |origin| Tool {
        kind: ToolKind::Server { origin, raw: Json::new("{\"type\":\"web_search\"}") },
        ..Tool::default()
    };
    let tools = vec![server(DialectId::Anthropic), server(DialectId::OpenAiResponses)];
    let request = ChatRequest { tools, ..ChatRequest::default() };
    let (body, loss) = OpenAiResponses.encode_request(&request, &to(quirks())).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["tools"], json!([{"type": "web_search"}]));
    assert_eq!(loss.advisory, ["tools[0]"]);
}

#[test]
fn only_what_must_change_changes_for_the_same_dialect() {
    let body =
        Bytes::from_static(b"{\"model\": \"a\", \"input\": \"x\", \"new\": 12345678901234567890, \"user\":\"u\"}");
    let envelope = OpenAiResponses.envelope(&body, &Located::default()).unwrap();
    let quirks = Quirks { drop: vec!["user".into()], ..Quirks::default() };
    let pieces = OpenAiResponses.retarget(&body, &envelope, &Destination { max_output: Some(7), ..to(&quirks) });
    let sent: serde_json::Value = serde_json::from_slice(&pieces.concat()).unwrap();
    let wanted = json!({"model": "m", "input": "x", "new": 12345678901234567890_u64, "max_output_tokens": 7});
    assert_eq!(sent, wanted);
}

#[test]
fn what_only_the_last_event_tells_is_told() {
    let last = json!({"type": "response.completed", "response": {"id": "r", "model": "m", "status": "completed", "output": [
        {"type": "web_search_call", "id": "w", "action": {"type": "search"}},
        {"type": "web_search_call", "id": "w2", "action": {"type": "open_page"}},
        {"type": "message", "content": [{"type": "output_text", "text": "hi", "annotations": [
            {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 2}]}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": {"a": 1}}],
        "usage": {"input_tokens": 9, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
        "output_tokens_details": {"reasoning_tokens": 2}}}});
    let (events, result, observed) = decode_stream([format!("data: {last}\r\n\r\n").as_bytes()]);
    assert_eq!(result, Ok(()));
    let answer = assemble(&events);
    assert_eq!((text_of(&answer).as_str(), answer.choices[0].tool_calls[0].arguments.as_str()), ("hi", "{\"a\":1}"));
    assert_eq!(answer.choices[0].citations[0].span, Some((0, 2)));
    let usage = observed.usage.unwrap();
    let buckets =
        [Bucket::Input, Bucket::CacheRead, Bucket::CacheWrite, Bucket::Output, Bucket::Reasoning, Bucket::Search];
    assert_eq!(buckets.map(|b| usage.get(b)), [2, 4, 3, 3, 2, 1]);
}

#[test]
fn failures_are_told_apart() {
    let kind = |data: serde_json::Value| decode_stream([format!("data: {data}\n\n").as_bytes()]).1.unwrap_err().kind;
    let failed = |code: &str| json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": code, "message": "m"}}});
    assert_eq!(kind(failed("server_error")), FailureKind::Upstream);
    assert_eq!(kind(failed("rate_limit_exceeded")), FailureKind::RateLimited);
    assert_eq!(kind(json!({"type": "error", "code": "server_error", "message": "m"})), FailureKind::Upstream);
    assert_eq!(kind(json!({"error": {"message": "m"}})), FailureKind::Upstream);
    assert_eq!(kind(json!({"type": "response.created", "response": {"id": "r"}})), FailureKind::Truncated);
    assert_eq!(decode_stream([b"data: nonsense\n\n".as_slice()]).1.unwrap_err().kind, FailureKind::Malformed);
}

#[test]
fn an_end_of_our_own_continues_the_stream_that_broke() {
    let mut tap = OpenAiResponses.tap(quirks(), Watching::default());
    let mut out = Vec::new();
    let event = json!({"type": "response.created", "sequence_number": 6, "response": {"id": "resp_x", "model": "m", "created_at": 5}});
    tap.chunk(Bytes::from(format!("data: {event}\n\ndata: {{\"type\":")), &mut out).unwrap();
    assert_eq!(out.concat(), format!("data: {event}\n\n").as_bytes(), "half a frame is held");
    assert_eq!(tap.end(&mut out).unwrap_err().kind, FailureKind::Truncated);
    let broken = tap.broken(&Error::new(ErrorKind::UpstreamFailed, "cut"));
    let frames = frames(&broken);
    let (name, data) = &frames[0];
    assert_eq!(
        (name.as_str(), &data["type"], &data["sequence_number"]),
        ("response.failed", &json!("response.failed"), &json!(7))
    );
    assert_eq!(data["response"]["id"], "resp_x");
    assert_eq!(data["response"]["error"], json!({"code": "server_error", "message": "cut"}));
}

/// A stream with thinking, text of several bytes a letter, two calls and CRLF.
fn sample() -> Vec<u8> {
    let events = [
        json!({"type": "response.created", "response": {"id": "r", "model": "m", "usage": null}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "a"}}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm"}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 1, "delta": "so"}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning", "encrypted_content": "e"}}),
        json!({"type": "response.output_text.delta", "output_index": 1, "delta": "grüß"}),
        json!({"type": "response.output_text.delta", "output_index": 1, "delta": " dich 🦀"}),
        json!({"type": "response.output_item.added", "output_index": 2, "item": {"type": "function_call", "call_id": "c", "name": "f"}}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "{}"}),
        json!({"type": "response.output_item.done", "output_index": 3, "item": {"type": "custom_tool_call", "call_id": "d", "name": "g", "input": "x"}}),
        json!({"type": "response.incomplete", "response": {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "usage": {"input_tokens": 1, "output_tokens": 2}}}),
    ];
    let frames =
        events.iter().map(|e| format!(": alive\r\nevent: {}\r\ndata: {e}\r\n\r\n", e["type"].as_str().unwrap()));
    frames.collect::<String>().into_bytes()
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_events(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..24)) {
        let body = sample();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
        let (events, result, _) = decode_stream(pieces.iter().copied());
        let (whole, _, observed) = decode_stream([body.as_slice()]);
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(&events, &whole);
        let answer = assemble(&events);
        prop_assert_eq!(text_of(&answer), "grüß dich 🦀");
        prop_assert_eq!(answer.choices[0].content[0].clone(), Part::Reasoning {
            text: "hm\n\nso".into(), signature: Some(Signature::new(DialectId::OpenAiResponses, "e")) });
        prop_assert_eq!(answer.choices[0].tool_calls.len(), 2);
        let mut tap = OpenAiResponses.tap(quirks(), Watching::default());
        let mut out = Vec::new();
        for piece in pieces {
            tap.chunk(Bytes::copy_from_slice(piece), &mut out).unwrap();
        }
        tap.end(&mut out).unwrap();
        prop_assert_eq!(out.concat(), body);
        prop_assert_eq!(tap.observed().usage, observed.usage);
    }
}

#[test]
fn decoration_of_another_form_breaks_no_answer() {
    let output =
        r#""output":[{"type":"message","id":"m","role":"assistant","content":[{"type":"output_text","text":"hi"}]}]"#;
    for odd in [
        r#""usage":7"#,
        r#""usage":{"input_tokens":5.5}"#,
        r#""usage":{"input_tokens":5,"input_tokens_details":[1]}"#,
        r#""created_at":"now""#,
        r#""service_tier":1"#,
    ] {
        let body = format!(r#"{{"id":"resp_1","status":"completed","model":"m",{output},{odd}}}"#);
        assert!(OpenAiResponses.observe_response(body.as_bytes(), quirks()).is_ok(), "{body}");
        let answer =
            OpenAiResponses.decode_response(body.as_bytes(), quirks()).unwrap_or_else(|e| panic!("{body}: {e:?}"));
        assert_eq!(answer.choices[0].content, [Part::Text("hi".into())], "{body}");
        let event = format!("data: {{\"type\":\"response.completed\",\"response\":{body}}}\n\n");
        let mut tap = OpenAiResponses.tap(quirks(), crate::dialect::Watching::default());
        let passed = tap.chunk(Bytes::from(event), &mut Vec::new()).and_then(|()| tap.end(&mut Vec::new()));
        assert!(passed.is_ok(), "{body}: {passed:?}");
    }
}

#[test]
fn an_answer_that_failed_tells_what_it_used() {
    let stream = concat!(
        "data: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"model\":\"m\"}}\n\n",
        "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"m\"},\"usage\":{\"input_tokens\":5,\"output_tokens\":2}}}\n\n",
    );
    let mut tap = OpenAiResponses.tap(quirks(), crate::dialect::Watching::default());
    assert!(tap.chunk(Bytes::from(stream), &mut Vec::new()).is_err());
    let (_, result, observed) = decode_stream([stream.as_bytes()]);
    assert!(result.is_err());
    for usage in [tap.observed().usage, observed.usage] {
        assert_eq!(usage.map(|usage| (usage.input_tokens(), usage.output_tokens())), Some((5, 2)));
    }
}

/// Only messages with ids of the provider's own have parts, says the official clients' types.
#[test]
fn a_refusal_that_was_made_elsewhere_is_plain_text() {
    let said = vec![Part::Text("a".into()), Part::Refusal("no".into())];
    let messages = vec![Message::new(Role::User, vec![Part::Text("q".into())]), Message::new(Role::Assistant, said)];
    let (body, _) =
        OpenAiResponses.encode_request(&ChatRequest { messages, ..ChatRequest::default() }, &to(quirks())).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let message = |text: &str| json!({"type": "message", "role": "assistant", "content": text});
    assert_eq!(body["input"].as_array().unwrap()[1..], [message("a"), message("no")], "{body}");
}
