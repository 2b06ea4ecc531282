//! Whole answers and errors.

use super::*;
use crate::domain::chat::{Citation, FinishReason, Media, MediaSource, Signature};
use crate::domain::error::FailureKind;
use crate::domain::id::DialectId;
use crate::domain::usage::Bucket;

fn decode(content: &str, rest: &str) -> Result<ChatResponse, Failure> {
    let body = format!(r#"{{"output":{{"message":{{"role":"assistant","content":[{content}]}}}}{rest}}}"#);
    Bedrock.decode_response(body.as_bytes(), quirks())
}

#[test]
fn all_kinds_of_blocks() {
    let content = r#"{"reasoningContent":{"reasoningText":{"text":"Hm","signature":"s"}}},{"reasoningContent":{"redactedContent":"Zm9v"}},
        {"text":"ä "},{"citationsContent":{"content":[{"text":"20"}],"citations":[{"title":"t","location":{"web":{"url":"u"}}},{"source":"https://s"}]}},
        {"toolUse":{"toolUseId":"a","name":"f","input":{"x": 1},"type":"tool_use"}},{"toolUse":{"toolUseId":"b","name":"own","input":{},"type":"server_tool_use"}},
        {"image":{"format":"png","source":{"bytes":"QUJD"}}}"#;
    let answer = decode(
        content,
        r#","stopReason":"tool_use","serviceTier":{"type":"flex"},"trace":{"promptRouter":{"invokedModelId":"m"}}"#,
    )
    .unwrap();
    let choice = &answer.choices[0];
    let signed = |data: &str| Some(Signature::new(DialectId::Bedrock, data));
    let raw = r#"{"toolUse":{"toolUseId":"b","name":"own","input":{},"type":"server_tool_use"}}"#;
    let source = MediaSource::Base64 { media_type: "image/png".into(), data: "QUJD".into() };
    assert_eq!(
        choice.content,
        [
            Part::Reasoning { text: "Hm".into(), signature: signed("s") },
            Part::Reasoning { text: String::new(), signature: signed("redacted:Zm9v") },
            Part::Text("ä ".into()),
            Part::Text("20".into()),
            Part::Opaque { dialect: DIALECT, raw: crate::domain::chat::Json::new(raw) },
            Part::Image(Media { source, media_type: None, detail: None, name: None }),
        ]
    );
    assert_eq!((&*choice.tool_calls[0].arguments, choice.tool_calls.len()), ("{\"x\": 1}", 1));
    let named = Citation { url: Some("u".into()), title: Some("t".into()), span: Some((2, 4)), ..Citation::default() };
    let found = Citation {
        url: Some("https://s".into()),
        title: Some("https://s".into()),
        span: Some((2, 4)),
        ..Citation::default()
    };
    assert_eq!(choice.citations, [named, found]);
    assert_eq!((&*answer.model, answer.service_tier.as_deref()), ("m", Some("flex")));
    assert_eq!(choice.finish, FinishReason::ToolCalls);
}

#[test]
fn stop_reasons() {
    let finish =
        |reason: &str| decode(r#"{"text":"x"}"#, &format!(r#","stopReason":"{reason}""#)).map(|a| a.choices[0].finish);
    for reason in ["end_turn", "stop_sequence", "tool_use", "something_new"] {
        assert_eq!(finish(reason), Ok(FinishReason::Stop), "{reason}: there is no call");
    }
    assert_eq!(finish("max_tokens"), Ok(FinishReason::Length));
    assert_eq!(finish("model_context_window_exceeded"), Ok(FinishReason::Length));
    assert_eq!(finish("guardrail_intervened"), Ok(FinishReason::ContentFilter));
    assert_eq!(finish("content_filtered"), Ok(FinishReason::ContentFilter));
    for reason in ["malformed_model_output", "malformed_tool_use"] {
        let failure = finish(reason).unwrap_err();
        assert_eq!((failure.kind, failure.code.as_deref()), (FailureKind::Upstream, Some(reason)));
    }
    let fields = r#","stopReason":"stop_sequence","additionalModelResponseFields":{"stop_sequence":"END"}"#;
    assert_eq!(decode("", fields).unwrap().choices[0].stop_sequence.as_deref(), Some("END"));
}

#[test]
fn usage_is_disjoint_and_absurd_reports_are_none() {
    let of = |usage: &str| decode("", &format!(r#","usage":{usage}"#)).unwrap().usage;
    let doubles =
        of(r#"{"inputTokens":1,"outputTokens":2,"cacheReadInputTokenCount":3,"cacheWriteInputTokenCount":4}"#);
    let doubles = doubles.unwrap();
    assert_eq!((doubles.input_tokens(), doubles.output_tokens()), (8, 2));
    assert_eq!((doubles.get(Bucket::CacheRead), doubles.get(Bucket::CacheWrite)), (3, 4));
    let details = of(r#"{"inputTokens":1,"cacheWriteInputTokens":5,"cacheDetails":[{"ttl":"1h","inputTokens":9}]}"#);
    assert_eq!(details.unwrap().get(Bucket::CacheWrite1h), 5, "details never exceed the sum");
    for bad in [r#"{"inputTokens":-1}"#, r#"{"inputTokens":1e30}"#, r#"{"outputTokens":99999999999999}"#, "7", "null"] {
        assert_eq!(of(bad), None, "{bad}");
    }
}

#[test]
fn what_is_no_answer_is_a_failure() {
    let kind = |body: &str| Bedrock.decode_response(body.as_bytes(), quirks()).unwrap_err().kind;
    assert_eq!(kind("{}"), FailureKind::Malformed);
    assert_eq!(kind("<html>"), FailureKind::Malformed);
    let unknown = r#"{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}"#;
    assert_eq!(kind(unknown), FailureKind::Malformed);
    assert_eq!(kind(r#"{"__type":"ThrottlingException","message":"slow down"}"#), FailureKind::RateLimited);
    assert_eq!(kind(r#"{"message":"hm"}"#), FailureKind::Upstream);
}

#[test]
fn errors_by_status_type_and_words() {
    let of = |status, body: &str| Bedrock.decode_error(status, body.as_bytes());
    let message = |text: &str| format!(r#"{{"message":"{text}"}}"#);
    let kinds = [
        (400, FailureKind::Rejected),
        (401, FailureKind::Credentials),
        (403, FailureKind::Credentials),
        (404, FailureKind::Upstream),
        (408, FailureKind::Timeout),
        (413, FailureKind::Rejected),
        (424, FailureKind::Upstream),
        (429, FailureKind::RateLimited),
        (500, FailureKind::Upstream),
        (503, FailureKind::Upstream),
    ];
    for (status, kind) in kinds {
        let failure = of(status, &message("no"));
        assert_eq!((failure.kind, &*failure.message, failure.status), (kind, "no", Some(status)));
        assert_eq!(of(status, "<html>").kind, kind);
        assert!(!of(status, "").message.is_empty());
    }
    for text in [
        "Input is too long for requested model.",
        "The model returned the following errors: prompt is too long: 903884 tokens > 200000 maximum",
        "This model's maximum context length is 8192 tokens. Please reduce the length of the prompt",
    ] {
        let failure = of(400, &message(text));
        assert_eq!((failure.kind, failure.code.as_deref()), (FailureKind::Rejected, Some("context_length_exceeded")));
    }
    assert_ne!(
        of(429, &message("Too many input tokens, please wait")).code.as_deref(),
        Some("context_length_exceeded")
    );
    assert_eq!(of(400, &message("The provided model identifier is invalid.")).kind, FailureKind::Upstream);
    assert_eq!(of(400, &message("Operation not allowed")).kind, FailureKind::Credentials);
    let typed = of(400, r#"{"__type":"com.amazon.coral#ExpiredTokenException:http://x/","Message":"old"}"#);
    assert_eq!(
        (typed.kind, typed.code.as_deref(), &*typed.message),
        (FailureKind::Credentials, Some("ExpiredTokenException"), "old")
    );
    let param = |text: &str| of(400, &message(text)).param;
    let found = param("The model returned the following errors: messages.1.content.0.type: Expected thinking");
    assert_eq!(found.as_deref(), Some("messages.1.content.0.type"));
    let found =
        param("1 validation error detected: Value 'x' at 'messages.1.member.role' failed to satisfy constraint: y");
    assert_eq!(found.as_deref(), Some("messages.1.member.role"));
    assert_eq!(param("no: such path"), None);
}
