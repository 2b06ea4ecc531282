//! Both halves of the dialect on small examples; the integration tests drive them over the wire.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use serde_json::{Value, json};

mod corpus;
mod vendors;

use super::*;
use crate::dialect::Tap;
use crate::domain::chat::{ChatEvent, FinishReason, MediaSource, Part, Role, ToolChoice};
use crate::domain::error::{ErrorKind, FailureKind};
use crate::domain::target::Capability;
use crate::domain::usage::{Bucket, Usage};

fn envelope(body: &Value) -> Result<Envelope, Error> {
    OpenAiChat.envelope(&Bytes::from(body.to_string()), &Located::default())
}

fn user(extra: Value) -> Value {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

fn retargeted(body: &str, model: &str, quirks: &Quirks) -> String {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let envelope = OpenAiChat.envelope(&body, &Located::default()).unwrap();
    let to = Destination { model, default_max_output: 100, max_output: None, quirks };
    String::from_utf8(OpenAiChat.retarget(&body, &envelope, &to).concat()).unwrap()
}

#[test]
fn needs_are_found_and_words_in_text_are_no_needs() {
    let has = |extra: Value, capability| envelope(&user(extra)).unwrap().needs.has(capability);
    assert!(has(json!({"tools": [{"type": "function", "function": {"name": "f"}}]}), Capability::Tools));
    assert!(!has(json!({"tools": []}), Capability::Tools));
    assert!(has(json!({"response_format": {"type": "json_schema", "json_schema": {}}}), Capability::JsonSchema));
    assert!(!has(json!({"response_format": {"type": "text"}}), Capability::Json));
    assert!(has(json!({"n": 2}), Capability::Choices));
    let image = json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]});
    assert!(has(image, Capability::Image));
    let word = json!({"messages": [{"role": "user", "content": "the word \"image_url\" and file"}]});
    assert!(!has(word, Capability::Image));
    let word =
        json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "\"file\""}], "name": "file"}]});
    assert!(!has(word, Capability::File));
}

#[test]
fn null_is_absent() {
    let body = user(json!({"stream": null, "max_tokens": null, "n": null, "tools": null, "stream_options": null}));
    let envelope = envelope(&body).unwrap();
    assert!(!envelope.stream && envelope.max_output.is_none() && envelope.choices == 1);
    assert_eq!(envelope.members.len(), 2, "null members are not reported as given");
}

#[test]
fn the_newer_output_limit_wins_and_limits_are_checked() {
    assert_eq!(envelope(&user(json!({"max_tokens": 5, "max_completion_tokens": 7}))).unwrap().max_output, Some(7));
    for bad in [json!("10"), json!(0), json!(-1), json!(1.5), json!(1e30), json!(1_u64 << 40)] {
        let error = envelope(&user(json!({"max_tokens": bad}))).unwrap_err();
        assert_eq!((error.code_str(), error.param.as_deref()), ("out_of_range", Some("max_tokens")), "{bad}");
    }
}

#[test]
fn retarget_replaces_the_model_and_nothing_else() {
    let body = r#"{"x":[1e400, "\u00e9"], "model" : "a", "messages":[{"role":"user","content":"hi"}]}"#;
    let quirks = Quirks::default();
    assert_eq!(retargeted(body, "b\"c", &quirks), body.replace("\"a\"", r#""b\"c""#));
    assert_eq!(retargeted(body, "a", &quirks), body);
}

#[test]
fn usage_is_asked_for_beside_other_stream_options() {
    let body = r#"{"model":"a","stream":true,"stream_options":{"x":1,"include_usage":false},"messages":[{}]}"#;
    let sent: Value = serde_json::from_str(&retargeted(body, "a", &Quirks::default())).unwrap();
    assert_eq!(sent["stream_options"], json!({"include_usage": true, "x": 1}));
    let always = Quirks { stream_usage: StreamUsage::Always, ..Quirks::default() };
    assert_eq!(retargeted(body, "a", &always), body);
}

#[test]
fn quirks_drop_and_rename() {
    let quirks =
        Quirks { max_output_member: Some("max_tokens".into()), drop: vec!["store".into()], ..Quirks::default() };
    let body = r#"{"model":"a","messages":[{}],"max_completion_tokens":5,"store":true}"#;
    let sent: Value = serde_json::from_str(&retargeted(body, "a", &quirks)).unwrap();
    assert_eq!(sent, json!({"model": "a", "messages": [{}], "max_tokens": 5}));
}

fn buckets(usage: Value, quirks: &Quirks) -> Option<Usage> {
    serde_json::from_value::<usage::WireUsage>(usage).unwrap().buckets(quirks)
}

#[test]
fn usage_parts_are_disjoint_and_add_up() {
    let plain = Quirks::default();
    let got = buckets(
        json!({"prompt_tokens": 100, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 5},
               "completion_tokens_details": {"reasoning_tokens": 30}}),
        &plain,
    )
    .unwrap();
    assert_eq!((got.get(Bucket::Input), got.get(Bucket::CacheRead), got.get(Bucket::InputAudio)), (35, 60, 5));
    assert_eq!((got.get(Bucket::Output), got.get(Bucket::Reasoning)), (20, 30));
    assert_eq!((got.input_tokens(), got.output_tokens()), (100, 50));
    let hit =
        buckets(json!({"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 4}), &plain).unwrap();
    assert_eq!(hit.get(Bucket::CacheRead), 4);
    let over = buckets(
        json!({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 32},
                              "completion_tokens_details": {"reasoning_tokens": 6}}),
        &plain,
    )
    .unwrap();
    assert_eq!(
        (over.get(Bucket::Input), over.get(Bucket::CacheRead), over.get(Bucket::Output), over.get(Bucket::Reasoning)),
        (0, 10, 0, 5)
    );
    let outside = Quirks { reasoning_outside_output: true, ..Quirks::default() };
    let hidden = buckets(json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40}), &outside).unwrap();
    assert_eq!((hidden.get(Bucket::Output), hidden.get(Bucket::Reasoning)), (5, 25));
    assert_eq!(buckets(json!({"prompt_tokens": -1, "completion_tokens": 5}), &plain), None, "nonsense is no usage");
    assert_eq!(buckets(json!({"prompt_tokens": 9_000_000_000_000_000_000_i64}), &plain), None);
}

const STREAM: &str = concat!(
    ": OPENROUTER PROCESSING\n\n",
    "data: {\"id\":\"\",\"choices\":[],\"model\":\"\",\"prompt_filter_results\":[]}\n\n",
    "data: {\"id\":\"c\",\"model\":\"m-2\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\r\n\r\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"h\u{00e9}\"}}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"abc\"}}]}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
    "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n",
    "data: [DONE]\n\n",
);

fn tapped(cuts: &[usize], hide: bool) -> (String, Observed) {
    let mut tap = tap::ChatTap::new(&Quirks::default(), hide);
    let (mut out, mut at) = (Vec::new(), 0);
    for cut in cuts.iter().copied().chain([STREAM.len()]) {
        let cut = cut.clamp(at, STREAM.len());
        tap.chunk(Bytes::copy_from_slice(&STREAM.as_bytes()[at..cut]), &mut out).unwrap();
        at = cut;
    }
    tap.end(&mut out).unwrap();
    (String::from_utf8(out.concat()).unwrap(), tap.observed().clone())
}

#[test]
fn a_tap_learns_all_and_hides_only_the_report_we_asked_for() {
    let (out, observed) = tapped(&[], false);
    assert_eq!(out, STREAM);
    assert!(observed.finished && observed.began);
    assert_eq!(observed.output_bytes, 3 + 3 + 2);
    assert_eq!(observed.model.as_deref(), Some("m-2"));
    assert_eq!(observed.usage.unwrap().output_tokens(), 3);
    let (hidden, _) = tapped(&[], true);
    let report = "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n";
    assert_eq!(hidden, STREAM.replace(report, ""));
}

#[test]
fn a_report_beside_an_answer_is_hidden_too() {
    let bodies = [
        (
            "data: {\"id\":\"c\",\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3},\"choices\":[{\"index\":0,\"delta\":{\"content\":\"usage\"},\"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]\n\n",
            "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"usage\"},\"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]\n\n",
        ),
        (
            "data:{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n",
            "data:{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        ),
    ];
    for (body, want) in bodies {
        for (hide, want) in [(true, want), (false, body)] {
            let watching = Watching { hide_usage: hide, ..Watching::default() };
            let mut tap = OpenAiChat.tap(&Quirks { stream_usage: StreamUsage::Always, ..Quirks::default() }, watching);
            let mut out = Vec::new();
            tap.chunk(Bytes::from_static(body.as_bytes()), &mut out).unwrap();
            tap.end(&mut out).unwrap();
            assert_eq!(String::from_utf8(out.concat()).unwrap(), want);
            assert_eq!(tap.observed().usage.unwrap().output_tokens(), 3);
        }
    }
}

#[test]
fn an_end_without_a_finish_is_a_truncation_and_done_or_a_finish_is_a_good_end() {
    let ends = |text: &str| {
        let mut tap = tap::ChatTap::new(&Quirks::default(), false);
        let mut out = Vec::new();
        tap.chunk(Bytes::copy_from_slice(text.as_bytes()), &mut out).unwrap();
        tap.end(&mut out).map_err(|f| f.kind)
    };
    assert_eq!(ends("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"), Err(FailureKind::Truncated));
    assert_eq!(ends("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"), Ok(()));
    assert_eq!(ends("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n"), Ok(()));
    assert_eq!(ends("data: [DONE]\n\n"), Err(FailureKind::Truncated), "the end of nothing");
    assert_eq!(ends(""), Err(FailureKind::Truncated));
}

#[test]
fn an_answer_of_two_choices_has_ended_when_both_have() {
    let chunk = |index: u32, delta: &str, finish: &str| {
        format!(
            "data: {{\"model\":\"m\",\"choices\":[{{\"index\":{index},\"delta\":{{{delta}}},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let (first, second) = (chunk(0, "\"content\":\"a\"", "null"), chunk(1, "\"content\":\"b\"", "null"));
    let (end_of_first, end_of_second) = (chunk(0, "", "\"stop\""), chunk(1, "", "\"stop\""));
    const NAMED: &str = "data: {\"model\":\"m\",\"choices\":[]}\n\n";
    let late =
        "data: {\"error\":{\"message\":\"slow down\",\"code\":429},\"choices\":[{\"index\":1,\"delta\":{}}]}\n\n";
    for (stream, want) in [
        ([&*first, &second, &end_of_first].concat(), Err(FailureKind::Truncated)),
        ([&*first, &end_of_first, &second].concat(), Err(FailureKind::Truncated)),
        ([NAMED, &first, &second, &end_of_second].concat(), Err(FailureKind::Truncated)),
        ([&*first, &second, &end_of_first, late].concat(), Err(FailureKind::RateLimited)),
        ([&*first, &second, &end_of_first, &end_of_second].concat(), Ok(())),
        ([&*first, &second, &end_of_first, "data: [DONE]\n\n"].concat(), Ok(())),
        ([&*first, &end_of_first].concat(), Ok(())),
    ] {
        let stream = Bytes::from(stream);
        let mut tap = OpenAiChat.tap(&Quirks::default(), Watching::default());
        let mut out = Vec::new();
        let passed = tap.chunk(stream.clone(), &mut out).and_then(|()| tap.end(&mut out)).map_err(|f| f.kind);
        let mut decoder = OpenAiChat.decode_stream(&Quirks::default());
        let mut events = Vec::new();
        let read = decoder.chunk(&stream, &mut events).and_then(|()| decoder.end(&mut events)).map_err(|f| f.kind);
        assert_eq!((passed, read), (want, want), "{stream:?}");
    }
}

#[test]
fn what_stands_before_an_error_in_the_same_chunk_goes_on_and_no_half_frame_does() {
    let good = "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let bad = "event: error\ndata: {\"message\":\"boom\",\"code\":\"tool_use_failed\"}\n\n";
    let stream = format!("{good}{bad}");
    for cut in 1..=stream.len() {
        let mut tap = tap::ChatTap::new(&Quirks::default(), false);
        let (mut out, mut failed) = (Vec::new(), None);
        for chunk in stream.as_bytes().chunks(cut) {
            failed = failed.or(tap.chunk(Bytes::copy_from_slice(chunk), &mut out).err());
        }
        let failure = failed.unwrap();
        assert_eq!((failure.kind, failure.code.as_deref()), (FailureKind::Upstream, Some("tool_use_failed")));
        assert_eq!((failure.message.as_str(), String::from_utf8(out.concat()).unwrap()), ("boom", good.to_owned()));
    }
}

#[test]
fn errors_inside_answers_are_failures() {
    let mut tap = tap::ChatTap::new(&Quirks::default(), false);
    let error = Bytes::from_static(b"data: {\"error\":{\"message\":\"slow down\",\"code\":429},\"choices\":[]}\n\n");
    let failure = tap.chunk(error, &mut Vec::new()).unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::RateLimited, "slow down"));
    let observe = |body: &str| OpenAiChat.observe_response(body.as_bytes(), &Quirks::default());
    assert_eq!(observe("{\"error\":{\"message\":\"no\"}}").unwrap_err().kind, FailureKind::Upstream);
    assert_eq!(observe("<html>").unwrap_err().kind, FailureKind::Malformed);
    assert_eq!(observe("{}").unwrap_err().kind, FailureKind::Malformed);
    assert!(
        observe("\n\n {\"choices\":[{\"message\":{\"content\":null}}]}").is_ok(),
        "leading blank lines are keep-alive"
    );
}

#[test]
fn an_error_beside_an_answer_that_has_ended_is_no_failure() {
    let body = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"length\"}]}\n\ndata: {\"error\":{\"code\":400,\"message\":\"Token limit reached\"},\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\ndata: [DONE]\n\n";
    let mut tap = tap::ChatTap::new(&Quirks::default(), false);
    let mut out = Vec::new();
    assert_eq!(tap.chunk(Bytes::from_static(body.as_bytes()), &mut out).and_then(|()| tap.end(&mut out)), Ok(()));
    assert_eq!(out.concat(), body.as_bytes());
    let mut decoder = OpenAiChat.decode_stream(&Quirks::default());
    let mut events = Vec::new();
    assert_eq!(decoder.chunk(body.as_bytes(), &mut events).and_then(|()| decoder.end(&mut events)), Ok(()));
    assert!(events.contains(&ChatEvent::Finish { choice: 0, reason: FinishReason::Length, stop_sequence: None }));
}

#[test]
fn a_call_with_every_member_filled_in_is_a_call_of_its_function() {
    let call = json!({"id": "c", "type": "function", "custom": {"input": "", "name": ""},
        "function": {"name": "weather", "arguments": "{\"city\":\"Bern\"}"}});
    let body =
        json!({"choices": [{"index": 0, "message": {"content": "", "tool_calls": [call]}, "finish_reason": ""}]});
    let answer = OpenAiChat.decode_response(body.to_string().as_bytes(), &Quirks::default()).unwrap();
    let call = &answer.choices[0].tool_calls[0];
    assert_eq!((&*call.name, &*call.arguments, call.custom), ("weather", "{\"city\":\"Bern\"}", false));
}

#[test]
fn error_answers_of_many_shapes() {
    let decode = |status, body: &str| OpenAiChat.decode_error(status, body.as_bytes());
    let cases = [
        (
            401,
            r#"{"error":{"message":"m","type":"invalid_request_error","code":"invalid_api_key"}}"#,
            FailureKind::Credentials,
        ),
        (401, r#"{"detail":"m"}"#, FailureKind::Credentials),
        (400, r#"{"error":{"code":400,"message":"m","status":"API_KEY_INVALID"}}"#, FailureKind::Credentials),
        (429, r#"{"error":{"message":"m","type":"insufficient_quota"}}"#, FailureKind::Credentials),
        (429, r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]"#, FailureKind::RateLimited),
        (400, r#"{"object":"error","message":"m","type":"x","param":null,"code":"1210"}"#, FailureKind::Rejected),
        (400, r#"{"code":"c","error":"m"}"#, FailureKind::Rejected),
        (404, r#"{"error":"m"}"#, FailureKind::NoModel),
        (502, "<html>m</html>", FailureKind::Upstream),
        (529, r#"{"error":{"message":"m"}}"#, FailureKind::Upstream),
        (408, r#"{"error":{"message":"m"}}"#, FailureKind::Timeout),
        (410, r#"{"error":{"message":"m","code":"ModelRetired"}}"#, FailureKind::NoModel),
        (422, r#"{"detail":[{"msg":"m"}]}"#, FailureKind::Rejected),
        (
            400,
            r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"m"}}}"#,
            FailureKind::Rejected,
        ),
    ];
    for (status, body, kind) in cases {
        let failure = decode(status, body);
        assert_eq!(failure.kind, kind, "{status} {body}");
        assert!(failure.message == "m" || body.starts_with('<'), "{status} {body}: {}", failure.message);
    }
}

#[test]
fn a_bad_key_under_400_is_no_fault_of_the_request() {
    let decode = |body: &str| OpenAiChat.decode_error(400, body.as_bytes()).kind;
    let xai = r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***Ab."}"#;
    assert_eq!(decode(xai), FailureKind::Credentials);
    assert_eq!(decode(r#"[{"error":{"code":400,"message":"API key not valid. Please"}}]"#), FailureKind::Credentials);
    let about = r#"{"error":{"message":"messages[0]: Incorrect API key provided is no role"}}"#;
    assert_eq!(decode(about), FailureKind::Rejected, "words of the request");
}

#[test]
fn findings_of_a_validator_and_words_behind_a_relay_are_read() {
    let decode = |body: &str| {
        let failure = OpenAiChat.decode_error(422, body.as_bytes());
        (failure.message, failure.param, failure.code)
    };
    let some = |text: &str| Some(text.to_owned());
    let found = r#"{"detail":[{"type":"missing","loc":["body","messages",0,"role"],"msg":"Field required","input":{}},
        {"loc":["body","n"],"msg":"too many"}]}"#;
    let told = "messages.0.role: Field required; n: too many".to_owned();
    assert_eq!(decode(found), (told.clone(), some("messages.0.role"), None));
    let inside = format!(r#"{{"object":"error","message":{found},"type":"invalid_request_error","code":null}}"#);
    assert_eq!(decode(&inside), (told, some("messages.0.role"), some("invalid_request_error")));
    let relayed = r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"provider_name":"X","raw":"{\"error\":{\"message\":\"no tools\",\"param\":\"tools\",\"code\":\"UnsupportedTools\"}}"}},"user_id":"u"}"#;
    assert_eq!(decode(relayed), ("no tools".to_owned(), some("tools"), some("UnsupportedTools")));
    let html = r#"{"error":{"message":"Provider returned error","metadata":{"raw":"<html>"}}}"#;
    assert_eq!(decode(html).0, "Provider returned error");
}

#[test]
fn an_error_event_tells_when_to_come_back() {
    let after = Some(std::time::Duration::from_millis(1500));
    let error = Error::new(ErrorKind::RateLimited, "slow down").retry_after(after);
    let event = String::from_utf8(error::event(&error)).unwrap();
    assert!(event.contains("\"retry_after\":2}") && event.contains("rate_limit_exceeded"), "{event}");
    assert!(!String::from_utf8(error::encode(&error)).unwrap().contains("retry_after"), "a header says it there");
}

#[test]
fn a_request_is_decoded_whole() {
    let body = json!({
        "model": "m", "temperature": 0.5, "stop": "x", "seed": 7, "max_completion_tokens": 9, "reasoning_effort": "low",
        "tool_choice": {"type": "function", "function": {"name": "f"}}, "x_new": {"a": 1}, "store": null,
        "messages": [
            {"role": "developer", "content": "be"},
            {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}]},
            {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "t", "content": "ok"}
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    });
    let request = OpenAiChat.decode_request(body.to_string().as_bytes(), &Envelope::default()).unwrap();
    assert_eq!(request.messages[0].role, Role::Developer);
    let Part::Image(image) = &request.messages[1].content[1] else { panic!("an image") };
    assert_eq!(image.source, MediaSource::Base64 { media_type: "image/png".into(), data: "AA==".into() });
    assert_eq!(request.messages[2].content, [Part::Reasoning { text: "hm".into(), signature: None }]);
    assert_eq!(request.messages[2].tool_calls[0].name, "f");
    assert_eq!(request.tool_choice, Some(ToolChoice::Function("f".into())));
    assert_eq!(request.max_output_tokens, Some(9));
    assert_eq!(request.extra.len(), 1, "{:?}", request.extra);
    assert_eq!(request.extra[0].0, "x_new");
}

#[test]
fn sound_may_be_base64_alone() {
    let body =
        user(json!({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": "UklGRg=="}]}]}));
    let request = OpenAiChat.decode_request(body.to_string().as_bytes(), &Envelope::default()).unwrap();
    let Part::Audio(media) = &request.messages[0].content[0] else { panic!("{request:?}") };
    let want = MediaSource::Base64 { media_type: "audio/wav".into(), data: "UklGRg==".into() };
    assert_eq!(media.source, want);
}

#[test]
fn wrong_types_are_told_with_their_path() {
    let error =
        |extra: Value| OpenAiChat.decode_request(user(extra).to_string().as_bytes(), &Envelope::default()).unwrap_err();
    let cases = [
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"messages": [{"role": "king", "content": "x"}]}), "messages[0].role"),
        (json!({"messages": [{"content": "x"}]}), "messages[0].role"),
        (json!({"messages": [{"role": "user", "content": 5}]}), "messages[0].content"),
        (json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}), "messages[0].content[0].text"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), "messages[0].tool_call_id"),
        (json!({"tools": [{"type": "magic"}]}), "tools[0].type"),
        (json!({"tool_choice": "maybe"}), "tool_choice"),
        (json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema"),
    ];
    for (extra, param) in cases {
        let error = error(extra.clone());
        assert_eq!((error.kind, error.param.as_deref()), (ErrorKind::InvalidRequest, Some(param)), "{extra}");
    }
}

fn encoded(events: &[ChatEvent], include_usage: bool) -> String {
    let options = Rendering { created: 5, ..Rendering::example("shown", include_usage) };
    let (mut encoder, mut out) = (stream::Encoder::new(options), BytesMut::new());
    events.iter().for_each(|event| encoder.event(event, &mut out));
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn an_encoded_stream_keeps_the_rules_of_the_dialect() {
    let events = [
        ChatEvent::Start { id: "up-1".into(), model: "real".into(), created: Some(9) },
        ChatEvent::Reasoning { choice: 0, text: "hm".into() },
        ChatEvent::Text { choice: 0, text: "a\n\"b".into() },
        ChatEvent::ToolStart { choice: 0, index: 0, id: "t".into(), name: "f".into(), custom: false, signature: None },
        ChatEvent::ToolArguments { choice: 0, index: 0, fragment: "{}".into() },
        ChatEvent::Finish { choice: 0, reason: FinishReason::ToolCalls, stop_sequence: None },
        ChatEvent::Usage(Usage::ZERO.with(Bucket::Input, 4).with(Bucket::Reasoning, 1).with(Bucket::Output, 2)),
        ChatEvent::End,
    ];
    let text = encoded(&events, true);
    let chunks: Vec<Value> = text
        .split("\n\n")
        .filter_map(|frame| frame.strip_prefix("data: ").filter(|data| *data != "[DONE]"))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    assert!(chunks.iter().all(|c| c["id"] == "up-1" && c["model"] == "shown" && c["created"] == 9), "{text}");
    assert_eq!(chunks.iter().filter(|c| c["choices"][0]["delta"]["role"] == "assistant").count(), 1);
    assert_eq!(chunks.iter().filter(|c| c["choices"][0]["finish_reason"].is_string()).count(), 1);
    let last = chunks.last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&json!([]), &json!(3)));
    assert_eq!(last["usage"]["completion_tokens_details"]["reasoning_tokens"], 1);
    assert!(text.ends_with("data: [DONE]\n\n") && text.matches("[DONE]").count() == 1);
    assert!(!encoded(&events, false).contains("usage"));
}

proptest! {
    #[test]
    fn a_tap_is_split_invariant(mut cuts in prop::collection::vec(0..STREAM.len(), 0..12), hide in any::<bool>()) {
        cuts.sort_unstable();
        let (whole, cut) = (tapped(&[], hide), tapped(&cuts, hide));
        prop_assert_eq!(whole.0, cut.0);
        prop_assert_eq!(format!("{:?}", whole.1), format!("{:?}", cut.1));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), hide in any::<bool>()) {
        let mut tap = tap::ChatTap::new(&Quirks::default(), hide);
        let mut out = Vec::new();
        let _ = tap.chunk(Bytes::copy_from_slice(&bytes), &mut out);
        let _ = tap.end(&mut out);
        let _ = OpenAiChat.observe_response(&bytes, &Quirks::default());
        let _ = OpenAiChat.decode_error(500, &bytes);
        let _ = OpenAiChat.decode_request(&bytes, &Envelope::default());
        let _ = OpenAiChat.envelope(&Bytes::from(bytes), &Located::default());
    }
}

#[test]
fn functions_of_the_older_api_become_tools_and_calls_go_back_in_its_form() {
    let functions = json!([{"name": "f", "parameters": {"type": "object"}}]);
    let body = json!({"model": "m", "functions": functions, "function_call": "auto", "messages": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
        {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{\"a\":1}"}},
        {"role": "function", "name": "f", "content": "2"}]});
    let request = request::decode(body.to_string().as_bytes()).unwrap();
    assert_eq!((request.tools.len(), &request.tool_choice), (1, &Some(ToolChoice::Auto)));
    assert_eq!((request.legacy_functions, request.parallel_tool_calls), (true, Some(false)));
    let ids: Vec<_> = request.messages.iter().flat_map(|m| m.tool_calls.iter().map(|c| c.id.clone())).collect();
    let answered: Vec<_> = request.messages.iter().filter_map(|m| m.tool_call_id.clone()).collect();
    assert_eq!(ids, answered);
    assert_ne!(ids[0], ids[1]);
    let rendering = || Rendering { request: std::sync::Arc::new(request.clone()), ..Rendering::example("m", false) };
    let mut choice = crate::domain::chat::Choice::new(0);
    choice.tool_calls = vec![crate::domain::chat::ToolCall::new("c1", "f", "{\"a\":2}")];
    choice.finish = FinishReason::ToolCalls;
    let answer = ChatResponse { choices: vec![choice], model: "x".into(), ..ChatResponse::default() };
    let whole: Value = serde_json::from_slice(&response::encode(&answer, &rendering())).unwrap();
    let said = &whole["choices"][0];
    assert_eq!(said["message"]["function_call"], json!({"name": "f", "arguments": "{\"a\":2}"}));
    assert_eq!((&said["finish_reason"], said["message"].get("tool_calls")), (&json!("function_call"), None));
    let mut stream = BytesMut::new();
    let mut encoder = OpenAiChat.encode_stream(rendering());
    let (id, name) = ("c1".to_owned(), "f".to_owned());
    for event in [
        ChatEvent::ToolStart { choice: 0, index: 0, id, name, custom: false, signature: None },
        ChatEvent::ToolArguments { choice: 0, index: 0, fragment: "{}".into() },
        ChatEvent::Finish { choice: 0, reason: FinishReason::ToolCalls, stop_sequence: None },
    ] {
        encoder.event(&event, &mut stream);
    }
    let text = String::from_utf8(stream.to_vec()).unwrap();
    assert!(text.contains(r#""function_call":{"name":"f","arguments":""}"#), "{text}");
    assert!(text.contains(r#""function_call":{"arguments":"{}"}"#), "{text}");
    assert!(text.contains(r#""finish_reason":"function_call""#) && !text.contains("tool_calls"), "{text}");
}

#[test]
fn wrong_functions_are_told_by_their_place() {
    let wrong = |extra: Value| {
        let error = request::decode(user(extra).to_string().as_bytes()).unwrap_err();
        (error.kind, error.param.unwrap_or_default())
    };
    let functions = json!([{"name": "f"}]);
    let bad = |param: &str| (ErrorKind::InvalidRequest, param.to_owned());
    assert_eq!(wrong(json!({"functions": [{}]})), bad("functions[0].name"));
    assert_eq!(wrong(json!({"functions": functions, "function_call": "required"})), bad("function_call"));
    let both = json!({"functions": functions, "tools": [{"type": "function", "function": {"name": "g"}}]});
    assert_eq!(wrong(both), bad("functions"));
    let nameless = json!({"messages": [{"role": "function", "content": "1"}]});
    assert_eq!(wrong(nameless), bad("messages[0].name"));
    let uncalled = json!({"messages": [{"role": "function", "name": "f", "content": "1"}]});
    assert_eq!(wrong(uncalled), bad("messages[0].name"));
}
