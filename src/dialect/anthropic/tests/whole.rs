//! Tests of whole answers and error answers.

use super::*;
use crate::domain::chat::Signature;
use crate::domain::error::FailureKind;
use crate::domain::id::DialectId;
use crate::domain::usage::{Bucket, Usage};

fn decode(body: &str) -> Result<ChatResponse, Failure> {
    Anthropic.decode_response(body.as_bytes(), quirks())
}

fn usage_of(usage: &str) -> Usage {
    let body = format!(r#"{{"type":"message","content":[],"usage":{usage}}}"#);
    let observed = Anthropic.observe_response(body.as_bytes(), quirks()).unwrap();
    let decoded = decode(&body).unwrap();
    assert_eq!(observed.usage, decoded.usage);
    decoded.usage.unwrap()
}

#[test]
fn an_answer_with_everything() {
    let answer = decode(concat!(
        "\n\n ",
        r#"{"type":"message","id":"msg_1","model":"claude-x","role":"assistant","stop_reason":"tool_use","content":["#,
        r#"{"type":"thinking","thinking":"hm","signature":"c2ln"},{"type":"redacted_thinking","data":"ZA=="},"#,
        r#"{"type":"text","text":"Caf\u00e9"},{"type":"server_tool_use","id":"s","name":"web_search","input":{"q":1}},"#,
        r#"{"type":"tool_use","id":"t1","name":"f","input":{"n": 12345678901234567890}},{"type":"tool_use","id":"t2","name":"g","input":{}}],"#,
        r#""usage":{"input_tokens":5,"output_tokens":9,"cache_creation":null}}"#,
    ))
    .unwrap();
    assert_eq!((answer.id.as_str(), answer.model.as_str()), ("msg_1", "claude-x"));
    let choice = &answer.choices[0];
    assert_eq!(choice.finish, FinishReason::ToolCalls);
    assert_eq!(choice.tool_calls[0].arguments, "{\"n\": 12345678901234567890}");
    assert_eq!(choice.tool_calls[1].arguments, "{}");
    let signature = |s: &str| Some(Signature::new(DialectId::Anthropic, s));
    assert_eq!(choice.content[0], Part::Reasoning { text: "hm".to_owned(), signature: signature("c2ln") });
    assert_eq!(choice.content[1], Part::Reasoning { text: String::new(), signature: signature("redacted:ZA==") });
    assert_eq!(choice.content[2], Part::Text("Café".to_owned()));
    assert!(
        matches!(&choice.content[3], Part::Opaque { dialect: "anthropic", raw } if raw.as_str().contains("web_search"))
    );
    assert_eq!(choice.content.len(), 4);
}

#[test]
fn stop_reasons() {
    let finish = |reason: &str, content: &str| {
        decode(&format!(r#"{{"content":[{content}],"stop_reason":{reason}}}"#)).unwrap().choices[0].finish
    };
    let call = r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#;
    assert_eq!(finish("\"end_turn\"", ""), FinishReason::Stop);
    assert_eq!(finish("\"stop_sequence\"", ""), FinishReason::Stop);
    assert_eq!(finish("\"max_tokens\"", call), FinishReason::Length);
    assert_eq!(finish("\"model_context_window_exceeded\"", ""), FinishReason::Length);
    assert_eq!(finish("\"pause_turn\"", ""), FinishReason::Length);
    assert_eq!(finish("\"refusal\"", ""), FinishReason::ContentFilter);
    assert_eq!(finish("\"tool_use\"", call), FinishReason::ToolCalls);
    assert_eq!(finish("\"tool_use\"", ""), FinishReason::Stop, "only the server's own tools ran");
    assert_eq!(finish("\"new\"", ""), FinishReason::Stop);
    assert_eq!(finish("null", call), FinishReason::ToolCalls);
}

#[test]
fn usage_is_disjoint() {
    let usage = usage_of(concat!(
        r#"{"input_tokens":10,"cache_read_input_tokens":20,"cache_creation_input_tokens":30,"#,
        r#""cache_creation":{"ephemeral_5m_input_tokens":18,"ephemeral_1h_input_tokens":12},"output_tokens":50,"#,
        r#""output_tokens_details":{"thinking_tokens":40},"server_tool_use":{"web_search_requests":2},"service_tier":"x"}"#,
    ));
    let want = [
        (Bucket::Input, 10),
        (Bucket::CacheRead, 20),
        (Bucket::CacheWrite, 18),
        (Bucket::CacheWrite1h, 12),
        (Bucket::Output, 10),
        (Bucket::Reasoning, 40),
        (Bucket::Search, 2),
    ];
    assert_eq!(usage.parts().collect::<Vec<_>>(), want);
    assert_eq!((usage.input_tokens(), usage.output_tokens()), (60, 50));
}

#[test]
fn usage_at_odds_with_itself_never_goes_negative() {
    let usage = usage_of(concat!(
        r#"{"input_tokens":1,"cache_creation_input_tokens":5,"cache_creation":{"ephemeral_1h_input_tokens":9},"#,
        r#""output_tokens":3,"output_tokens_details":{"thinking_tokens":4}}"#,
    ));
    assert_eq!((usage.get(Bucket::CacheWrite), usage.get(Bucket::CacheWrite1h)), (0, 5));
    assert_eq!((usage.get(Bucket::Output), usage.get(Bucket::Reasoning)), (0, 3));
    let only_lifetimes =
        usage_of(r#"{"cache_creation":{"ephemeral_5m_input_tokens":4,"ephemeral_1h_input_tokens":9}}"#);
    assert_eq!(only_lifetimes.input_tokens(), 13);
    assert!(usage_of("{}").is_zero());
}

#[test]
fn a_worthless_report_is_no_usage_and_no_failure() {
    for usage in
        ["null", "7", "\"x\"", r#"{"input_tokens":-1}"#, r#"{"output_tokens":1e30}"#, r#"{"input_tokens":1.5}"#]
    {
        let body = format!(r#"{{"content":[],"stop_reason":"end_turn","usage":{usage}}}"#);
        let usage = decode(&body).unwrap().usage;
        assert_eq!(usage, None, "{body}");
        assert_eq!(Anthropic.observe_response(body.as_bytes(), quirks()).unwrap().usage, usage);
    }
    assert_eq!(decode(r#"{"content":[],"usage":{"output_tokens":9999999999999}}"#).unwrap().usage, None);
}

#[test]
fn condensing_passes_are_billed_other_passes_are_not_counted_twice() {
    let usage = usage_of(concat!(
        r#"{"input_tokens":6,"output_tokens":2,"iterations":[{"type":"compaction","input_tokens":100,"output_tokens":5},"#,
        r#"{"type":"message","input_tokens":6,"output_tokens":2},{"type":"advisor_message","input_tokens":9,"output_tokens":9}]}"#,
    ));
    assert_eq!((usage.get(Bucket::Input), usage.get(Bucket::Output)), (106, 7));
}

#[test]
fn what_is_no_answer_is_a_failure() {
    for (body, kind) in [
        ("", FailureKind::Malformed),
        ("<html>", FailureKind::Malformed),
        ("{}", FailureKind::Malformed),
        (r#"{"content":"text"}"#, FailureKind::Malformed),
        (r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, FailureKind::Upstream),
        (r#"{"type":"error"}"#, FailureKind::Upstream),
        (r#"{"type":"error","error":{"type":"rate_limit_error"}}"#, FailureKind::RateLimited),
    ] {
        assert_eq!(decode(body).unwrap_err().kind, kind, "{body}");
        if body != r#"{"content":"text"}"# {
            assert_eq!(Anthropic.observe_response(body.as_bytes(), quirks()).unwrap_err().kind, kind, "{body}");
        }
    }
}

#[test]
fn what_metering_sees_of_an_answer() {
    let see = |body: &str| Anthropic.observe_response(body.as_bytes(), quirks()).unwrap();
    let full = see(r#"{"model":"m","content":[{"type":"text","text":"abc"}],"stop_reason":"end_turn"}"#);
    assert!(full.began && full.finished && full.output_bytes >= 3 && full.usage.is_none());
    assert_eq!(full.model.as_deref(), Some("m"));
    let empty = see(r#"{"content":[],"stop_reason":"end_turn"}"#);
    assert!(!empty.began && empty.finished && empty.output_bytes == 0);
}

#[test]
fn error_answers() {
    let read = |status, kind: &str, message: &str| {
        let body = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}},"request_id":null}}"#);
        Anthropic.decode_error(status, body.as_bytes())
    };
    for (status, kind, want) in [
        (400, "invalid_request_error", FailureKind::Rejected),
        (413, "request_too_large", FailureKind::Rejected),
        (401, "authentication_error", FailureKind::Credentials),
        (402, "billing_error", FailureKind::Credentials),
        (403, "permission_error", FailureKind::Credentials),
        (404, "not_found_error", FailureKind::NoModel),
        (429, "rate_limit_error", FailureKind::RateLimited),
        (500, "api_error", FailureKind::Upstream),
        (504, "timeout_error", FailureKind::Timeout),
        (529, "overloaded_error", FailureKind::Upstream),
        (429, "brand_new_error", FailureKind::RateLimited),
        (504, "api_error", FailureKind::Timeout),
        (408, "api_error", FailureKind::Timeout),
        (422, "api_error", FailureKind::Rejected),
        (409, "api_error", FailureKind::Rejected),
    ] {
        let failure = read(status, kind, "why");
        assert_eq!((failure.kind, failure.status), (want, Some(status)), "{kind}");
        assert_eq!((failure.code.as_deref(), failure.message.as_str()), (Some(kind), "why"));
    }
    let poor = read(400, "invalid_request_error", "Your credit balance is too low to use the API");
    assert!(poor.is_no_quota(), "the account rests, not the key alone");
    let long = read(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum");
    assert_eq!((long.code.as_deref(), long.param), (Some("context_length_exceeded"), None));
    let named = read(400, "invalid_request_error", "messages.0.content: Input should be a list");
    assert_eq!(named.param.as_deref(), Some("messages.0.content"));
}

#[test]
fn error_answers_that_are_no_json() {
    for (status, kind) in [
        (502, FailureKind::Upstream),
        (403, FailureKind::Credentials),
        (422, FailureKind::Rejected),
        (408, FailureKind::Timeout),
        (302, FailureKind::Malformed),
    ] {
        let failure = Anthropic.decode_error(status, b" <html>bad\xFF</html> ");
        assert_eq!((failure.kind, failure.message.as_str()), (kind, "<html>bad\u{FFFD}</html>"));
    }
    assert!(Anthropic.decode_error(500, b"").message.contains("500"));
    assert!(Anthropic.decode_error(500, &vec![b'x'; 9000]).message.len() <= 300);
}
