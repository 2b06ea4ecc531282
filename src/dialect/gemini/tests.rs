//! Tests of the provider's side.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::dialect::corpus;
use crate::domain::chat::{
    ChatEvent, FinishReason, Media, MediaSource, Message, Part, ReasoningSettings, Role, Signature, ToolCall,
};
use crate::domain::error::FailureKind;
use crate::domain::id::DialectId;

fn quirks() -> &'static Quirks {
    static NONE: std::sync::OnceLock<Quirks> = std::sync::OnceLock::new();
    NONE.get_or_init(Quirks::default)
}

fn stream(body: &[u8], chunk: usize) -> (Vec<ChatEvent>, Result<(), Failure>, Observed) {
    corpus::decode(Gemini.decode_stream(quirks()), body, chunk)
}

/// What the independent reading has otherwise, with the reason.
const EXCEPTIONS: [(&str, &str); 2] = [
    ("gemini-sgen-s-c2fc2171", "it keeps pieces of arguments as they came; ours are put together"),
    ("vertex-gen-u-79cde3bb", "the call is there, and a client that is told so can answer it"),
];

#[test]
fn recorded_answers() {
    let apis = ["generateContent", "streamGenerateContent"];
    let Some(exchanges) = corpus::load(&apis, |_| true) else { return };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (exchange, want) in &exchanges {
        let (id, body) = (&exchange.id, exchange.response.body_text.as_bytes());
        if exchange.status >= 400 {
            let failure = Gemini.decode_error(exchange.status, body);
            assert_eq!(failure.status, Some(exchange.status), "{id}");
            *counts.entry("errors").or_default() += 1;
            continue;
        }
        let answer = if exchange.wire_format == "sse" || exchange.api == "streamGenerateContent" {
            let (events, result, observed) = stream(body, body.len());
            assert_eq!(stream(body, 61).0, events, "{id}");
            let mut tap = Gemini.tap(quirks(), Watching::default());
            let mut passed = Vec::new();
            let tapped = tap.chunk(Bytes::copy_from_slice(body), &mut passed).and_then(|()| tap.end(&mut passed));
            assert_eq!(tapped.is_ok(), result.is_ok(), "{id}");
            assert_eq!(tap.observed().usage, observed.usage, "{id}");
            match result {
                Ok(()) => {
                    assert_eq!(passed.concat(), body, "{id}");
                    corpus::gather(events)
                }
                Err(failure) => {
                    wrong.push(format!("{id}: {failure:?}"));
                    continue;
                }
            }
        } else {
            match Gemini.decode_response(body, quirks()) {
                Ok(answer) => answer,
                Err(failure) if failure.code.as_deref() == Some("malformed_function_call") => {
                    *counts.entry("misfired calls").or_default() += 1;
                    continue;
                }
                Err(failure) => {
                    wrong.push(format!("{id}: {failure:?}"));
                    continue;
                }
            }
        };
        let differences = corpus::differences(&answer, want);
        if differences.is_empty() || EXCEPTIONS.iter().any(|(known, _)| known == id) {
            *counts.entry("answers").or_default() += 1;
        } else {
            wrong.push(format!("{id}: {differences:?}"));
        }
    }
    println!("{} recorded exchanges: {counts:?}", exchanges.len());
    assert!(wrong.is_empty() && !exchanges.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

fn encode(request: &ChatRequest) -> (Value, Loss) {
    let to = Destination { model: "g", default_max_output: 9, max_output: None, quirks: quirks() };
    let (body, loss) = Gemini.encode_request(request, &to).unwrap();
    (serde_json::from_slice(&body).unwrap(), loss)
}

#[test]
fn a_tool_loop_goes_back_with_its_signatures() {
    let mut asked = Message::new(Role::Assistant, vec![Part::Text("let me".into())]);
    let signed = Some(Signature::new(DialectId::Gemini, "c2ln"));
    asked.tool_calls =
        vec![ToolCall { signature: signed, ..ToolCall::new("a", "f", "{\"n\":1}") }, ToolCall::new("b", "g", "")];
    let result = |id: &str, text: &str| Message {
        tool_call_id: Some(id.into()),
        ..Message::new(Role::Tool, vec![Part::Text(text.into())])
    };
    let request = ChatRequest {
        messages: vec![
            Message::new(Role::System, vec![Part::Text("be brief".into())]),
            Message::new(Role::User, vec![Part::Text("hi".into())]),
            asked,
            result("b", "{\"x\": 2}"),
            result("a", "one"),
        ],
        reasoning: Some(ReasoningSettings { effort: Some("high".into()), budget_tokens: None }),
        ..ChatRequest::default()
    };
    let (wire, loss) = encode(&request);
    assert!(loss.is_empty(), "{loss:?}");
    let want = json!({
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [
                {"text": "let me"},
                {"functionCall": {"id": "a", "name": "f", "args": {"n": 1}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"id": "b", "name": "g", "args": {}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "b", "name": "g", "response": {"x": 2}}},
                {"functionResponse": {"id": "a", "name": "f", "response": {"result": "one"}}}]}],
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "generationConfig": {"thinkingConfig": {"includeThoughts": true, "thinkingLevel": "high"}},
    });
    assert_eq!(wire, want);
}

#[test]
fn the_system_alone_is_said_by_the_user() {
    let said = Message::new(Role::System, vec![Part::Text("hi".to_owned())]);
    let (body, loss) = encode(&ChatRequest { messages: vec![said], ..ChatRequest::default() });
    assert_eq!(body["contents"], json!([{"role": "user", "parts": [{"text": "hi"}]}]));
    assert!(body.get("systemInstruction").is_none());
    assert_eq!(loss.advisory, ["messages[0].role"]);
}

#[test]
fn a_model_without_levels_is_told_a_number() {
    let quirks = Quirks { drop: vec!["gemini-2/thinkingConfig.thinkingLevel".into()], ..Quirks::default() };
    let config = |model: &str, effort: &str| {
        let to = Destination { model, default_max_output: 9, max_output: None, quirks: &quirks };
        let request = ChatRequest {
            messages: vec![Message::new(Role::User, vec![Part::Text("hi".into())])],
            reasoning: Some(ReasoningSettings { effort: Some(effort.into()), budget_tokens: None }),
            ..ChatRequest::default()
        };
        let (body, loss) = Gemini.encode_request(&request, &to).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (body["generationConfig"]["thinkingConfig"].clone(), loss.semantic)
    };
    let number = json!({"includeThoughts": true, "thinkingBudget": 2048});
    assert_eq!(config("gemini-2.5-flash", "low"), (number, vec![]));
    let level = json!({"includeThoughts": true, "thinkingLevel": "low"});
    assert_eq!(config("gemini-3-pro", "low"), (level, vec![]));
    let nothing = json!({"includeThoughts": false, "thinkingBudget": 0});
    assert_eq!(config("gemini-2.5-flash", "none"), (nothing, vec![]));
    assert_eq!(config("gemini-2.5-flash", "odd").1, ["reasoning_effort"]);
}

#[test]
fn a_signature_that_was_shown_with_the_thinking_goes_back_on_the_call() {
    let signed =
        |text: &str| Part::Reasoning { text: text.into(), signature: Some(Signature::new(DialectId::Gemini, "c2ln")) };
    for (part, want) in [(signed("hm"), json!([{"text": "hm", "thought": true}])), (signed(""), json!([]))] {
        let mut asked = Message::new(Role::Assistant, vec![part]);
        asked.tool_calls = vec![ToolCall::new("a", "f", "{}")];
        let (wire, loss) = encode(&ChatRequest { messages: vec![asked], ..ChatRequest::default() });
        assert!(loss.is_empty(), "{loss:?}");
        let mut want = want.as_array().unwrap().clone();
        want.push(json!({"functionCall": {"id": "a", "name": "f", "args": {}}, "thoughtSignature": "c2ln"}));
        assert_eq!(wire["contents"][0]["parts"], json!(want));
    }
}

#[test]
fn calls_of_another_provider_are_marked_as_such() {
    let mut asked = Message::new(Role::Assistant, Vec::new());
    let foreign = Some(Signature::new(DialectId::Anthropic, "c2ln"));
    asked.content.push(Part::Reasoning { text: "hm".into(), signature: foreign });
    asked.tool_calls = vec![ToolCall::new("a", "f", "{}")];
    let request = ChatRequest { messages: vec![asked], ..ChatRequest::default() };
    let (wire, loss) = encode(&request);
    let call = &wire["contents"][0]["parts"][0];
    assert_eq!(call["thoughtSignature"], "skip_thought_signature_validator");
    assert_eq!(loss.advisory, ["messages[0].content[0]"], "another's thinking stays at home and is listed");
}

#[test]
fn arguments_that_come_piece_by_piece_are_put_together() {
    let event = |call: &str, rest: &str| {
        format!("data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"functionCall\":{call}}}]}}{rest}}}]}}\r\n\r\n")
    };
    let body = [
        event(r#"{"name":"f","willContinue":true}"#, ""),
        event(r#"{"partialArgs":[{"jsonPath":"$.to.name","stringValue":"An","willContinue":true}],"willContinue":true}"#, ""),
        event(r#"{"partialArgs":[{"jsonPath":"$.to.name","stringValue":"na"},{"jsonPath":"$.list[1]","numberValue":2}],"willContinue":true}"#, ""),
        event(r#"{"partialArgs":[{"jsonPath":"$.ok","boolValue":true}]}"#, r#","finishReason":"STOP""#),
    ]
    .concat();
    let (events, result, _) = stream(body.as_bytes(), 7);
    assert_eq!(result, Ok(()));
    let answer = corpus::gather(events);
    let call = &answer.choices[0].tool_calls[0];
    assert_eq!(call.arguments, r#"{"to":{"name":"Anna"},"list":[null,2],"ok":true}"#);
    assert_eq!(answer.choices[0].finish, FinishReason::ToolCalls);
}

#[test]
fn errors_say_who_is_to_blame_and_when_to_come_back() {
    let read = |status, body: &str| Gemini.decode_error(status, body.as_bytes());
    let limited = read(
        429,
        r#"[{"error":{"code":429,"message":"slow","status":"RESOURCE_EXHAUSTED","details":[{"@type":"x","retryDelay":"48s"}]}}]"#,
    );
    assert_eq!(limited.kind, FailureKind::RateLimited);
    assert_eq!(limited.retry_after, Some(std::time::Duration::from_secs(48)));
    let key = read(
        400,
        r#"{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
    );
    assert_eq!(key.kind, FailureKind::Credentials);
    let field =
        read(400, r#"{"error":{"code":400,"message":"m","details":[{"fieldViolations":[{"field":"contents"}]}]}}"#);
    assert_eq!((field.kind, field.param.as_deref()), (FailureKind::Rejected, Some("contents")));
    assert_eq!(read(404, "nope").kind, FailureKind::NoModel);
    assert_eq!(read(500, "").kind, FailureKind::Upstream);
}

#[test]
fn an_array_is_made_of_events_for_those_who_want_one() {
    let body = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\r\n\r\ndata: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\r\n\r\n";
    let mut tap = Gemini.tap(quirks(), Watching { array: true, ..Watching::default() });
    let mut out = Vec::new();
    for chunk in body.as_bytes().chunks(9) {
        tap.chunk(Bytes::copy_from_slice(chunk), &mut out).unwrap();
    }
    tap.end(&mut out).unwrap();
    let text = String::from_utf8(out.concat()).unwrap();
    assert!(text.contains("}\n,\r\n{") && text.ends_with("}\n]"), "{text}");
    let list: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(list[0]["candidates"][0]["content"]["parts"][0]["text"], "a");
}

#[test]
fn an_answer_of_two_candidates_has_ended_when_both_have() {
    let event = |index: u32, finish: &str| {
        format!(
            "data: {{\"candidates\":[{{\"index\":{index},\"content\":{{\"parts\":[{{\"text\":\"a\"}}]}}{finish}}}]}}\r\n\r\n"
        )
    };
    let stop = ",\"finishReason\":\"STOP\"";
    for (events, whole) in [
        (vec![event(0, ""), event(1, ""), event(0, stop)], false),
        (vec![event(0, stop), event(1, "")], false),
        (vec![event(0, ""), event(1, stop), event(0, stop)], true),
    ] {
        let body = Bytes::from(events.concat());
        let mut tap = Gemini.tap(quirks(), Watching::default());
        let passed = tap.chunk(body.clone(), &mut Vec::new()).and_then(|()| tap.end(&mut Vec::new()));
        let (_, read, _) = stream(&body, 64);
        assert_eq!((passed.is_ok(), read.is_ok()), (whole, whole), "{body:?}");
    }
}

#[test]
fn text_before_a_call_that_failed_is_no_whole_answer() {
    let ends = |reason: &str, part: &str| {
        let body = format!(
            r#"{{"candidates":[{{"content":{{"parts":[{part}]}},"finishReason":{reason}}}],"usageMetadata":{{}}}}"#
        );
        stream(format!("data: {body}\n\n").as_bytes(), 9).0.into_iter().find_map(|event| match event {
            ChatEvent::Finish { reason, .. } => Some(reason),
            _ => None,
        })
    };
    let (text, call) = (r#"{"text":"I look it up."}"#, r#"{"functionCall":{"name":"f","args":{}}}"#);
    for reason in
        ["\"MALFORMED_FUNCTION_CALL\"", "\"UNEXPECTED_TOOL_CALL\"", "\"TOO_MANY_TOOL_CALLS\"", "10", "12", "13"]
    {
        assert_eq!(ends(reason, text), Some(FinishReason::ContentFilter), "{reason}");
        assert_eq!(ends(reason, call), Some(FinishReason::ToolCalls), "{reason}: the client is told of the call");
    }
    assert_eq!(ends("\"STOP\"", text), Some(FinishReason::Stop));
}

#[test]
fn drafts_of_an_image_are_no_part_of_the_answer() {
    let image =
        |data: &str, thought: bool| json!({"inlineData": {"mimeType": "image/png", "data": data}, "thought": thought});
    let parts =
        json!([{"text": "A sketch first.", "thought": true}, image("ZHJhZnQ=", true), image("ZmluYWw=", false)]);
    let body = json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}).to_string();
    let answer = Gemini.decode_response(body.as_bytes(), quirks()).unwrap();
    let images: Vec<&Part> = answer.choices[0].content.iter().filter(|part| matches!(part, Part::Image(_))).collect();
    let [Part::Image(Media { source: MediaSource::Base64 { data, .. }, .. })] = images.as_slice() else {
        panic!("{images:?}")
    };
    assert_eq!(data, "ZmluYWw=");
}

#[test]
fn an_end_that_says_that_nothing_useful_came_is_no_empty_answer() {
    for (word, code) in [
        ("MALFORMED_RESPONSE", "malformed_response"),
        ("MISSING_THOUGHT_SIGNATURE", "missing_thought_signature"),
        ("UNEXPECTED_TOOL_CALL", "malformed_function_call"),
    ] {
        let body =
            |parts: Value| json!({"candidates": [{"content": {"parts": parts}, "finishReason": word}]}).to_string();
        let failure = Gemini.decode_response(body(json!([])).as_bytes(), quirks()).unwrap_err();
        assert_eq!((failure.kind, failure.code.as_deref()), (FailureKind::Upstream, Some(code)));
        let said = Gemini.decode_response(body(json!([{"text": "a"}])).as_bytes(), quirks()).unwrap();
        assert_eq!(said.choices[0].finish, FinishReason::ContentFilter, "{word}: not the whole answer");
    }
}

#[test]
fn paths_are_encoded() {
    assert_eq!(Gemini.path("gemini-x", false), "/models/gemini-x:generateContent");
    assert_eq!(Gemini.path("a b:c", true), "/models/a%20b%3Ac:streamGenerateContent?alt=sse");
}

const STREAM: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"h\u{e9}\",\"thought\":true}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":3}}\r\n\r\ndata: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"hi\"},{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":1}},\"thoughtSignature\":\"cw==\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":4,\"thoughtsTokenCount\":5},\"responseId\":\"r1\"}\r\n\r\n";

proptest! {
    #[test]
    fn any_cut_gives_the_same_events(mut cuts in prop::collection::vec(0..STREAM.len(), 0..12)) {
        cuts.sort_unstable();
        let whole = stream(STREAM.as_bytes(), STREAM.len());
        let (mut decoder, mut events, mut from) = (Gemini.decode_stream(quirks()), Vec::new(), 0);
        for cut in cuts.into_iter().chain([STREAM.len()]) {
            decoder.chunk(&STREAM.as_bytes()[from..cut], &mut events).unwrap();
            from = cut;
        }
        decoder.end(&mut events).unwrap();
        prop_assert_eq!(events, whole.0);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = stream(&bytes, 7);
        let _ = Gemini.decode_response(&bytes, quirks());
        let _ = Gemini.decode_error(400, &bytes);
    }
}
