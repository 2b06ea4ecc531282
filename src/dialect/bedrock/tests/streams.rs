//! Streams: events in any cut, ends good and bad, exceptions.

use proptest::prelude::*;

use super::*;
use crate::domain::chat::{Citation, FinishReason, Signature};
use crate::domain::error::FailureKind;
use crate::domain::id::DialectId;
use crate::domain::usage::{Bucket, Usage};

const USAGE: &str = r#"{"usage":{"inputTokens":5,"outputTokens":7,"totalTokens":100,"cacheReadInputTokens":40,"cacheReadInputTokenCount":40,"cacheWriteInputTokens":30,"cacheDetails":[{"ttl":"5m","inputTokens":10},{"ttl":"1h","inputTokens":20}]},"metrics":{"latencyMs":1},"p":"ab"}"#;

/// Thinking, hidden thinking, text, a cited text, calls with and without arguments, a call of the provider's own.
fn rich() -> Vec<u8> {
    [
        event("messageStart", r#"{"role":"assistant","p":"abc"}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"Hm"}}}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"Si"}}}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"g="}}}"#),
        event("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"reasoningContent":{"redactedContent":"Zm9v"}}}"#),
        event("contentBlockStop", r#"{"contentBlockIndex":1}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":2,"delta":{"text":"Größe "}}"#),
        event("contentBlockStop", r#"{"contentBlockIndex":2}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":3,"delta":{"citation":{"title":"t","sourceContent":[{"text":"q"}],"location":{"web":{"url":"u"}}}}}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":3,"delta":{"text":"20"}}"#),
        event("contentBlockStop", r#"{"contentBlockIndex":3}"#),
        event("contentBlockStart", r#"{"contentBlockIndex":4,"start":{"toolUse":{"toolUseId":"s","name":"own","type":"server_tool_use"}}}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":4,"delta":{"toolUse":{"input":"{}"}}}"#),
        event("contentBlockStop", r#"{"contentBlockIndex":4}"#),
        event("contentBlockStart", r#"{"contentBlockIndex":5,"start":{"toolUse":{"toolUseId":"a","name":"f"}}}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":5,"delta":{"toolUse":{"input":"{\"x\""}}}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":5,"delta":{"toolUse":{"input":":1}"}}}"#),
        event("contentBlockStop", r#"{"contentBlockIndex":5}"#),
        event("contentBlockStart", r#"{"contentBlockIndex":6,"start":{"toolUse":{"toolUseId":"b","name":"g"}}}"#),
        event("somethingNew", "not even JSON"),
        event("messageStop", r#"{"stopReason":"tool_use","additionalModelResponseFields":{"delta":{"stop_sequence":null}}}"#),
        event("metadata", USAGE),
    ]
    .concat()
}

fn exception(name: &str, payload: &str) -> Vec<u8> {
    let head = [(":exception-type", HeaderValue::Text(name)), (":message-type", HeaderValue::Text("exception"))];
    frame(&head, payload.as_bytes())
}

#[test]
fn all_kinds_of_blocks() {
    let (events, result, observed) = decode_stream([&rich()[..]]);
    assert_eq!(result, Ok(()));
    let answer = assemble(&events);
    let choice = &answer.choices[0];
    let signed = |data: &str| Some(Signature::new(DialectId::Bedrock, data));
    assert_eq!(
        choice.content,
        [
            Part::Reasoning { text: "Hm".into(), signature: signed("Sig=") },
            Part::Reasoning { text: String::new(), signature: signed("redacted:Zm9v") },
            Part::Text("Größe 20".into()),
        ]
    );
    let calls: Vec<_> = choice.tool_calls.iter().map(|c| (&*c.id, &*c.name, &*c.arguments)).collect();
    assert_eq!(calls, [("a", "f", "{\"x\":1}"), ("b", "g", "{}")]);
    let citation =
        Citation { url: Some("u".into()), title: Some("t".into()), quoted: Some("q".into()), span: Some((6, 8)) };
    assert_eq!(choice.citations, [citation]);
    assert_eq!(choice.finish, FinishReason::ToolCalls);
    let usage = Usage::ZERO
        .with(Bucket::Input, 5)
        .with(Bucket::CacheRead, 40)
        .with(Bucket::CacheWrite, 10)
        .with(Bucket::CacheWrite1h, 20)
        .with(Bucket::Output, 7);
    assert_eq!((answer.usage, observed.usage), (Some(usage), Some(usage)));
    assert!(observed.finished && observed.began && observed.output_bytes >= 17);
}

#[test]
fn the_finish_is_told_before_the_usage_and_the_end_after_it() {
    let (events, ..) = decode_stream([&rich()[..]]);
    let [.., ChatEvent::Finish { .. }, ChatEvent::Usage(_), ChatEvent::End] = &events[..] else {
        panic!("{events:?}");
    };
    // Usage may come first, and an answer may have none.
    for body in [
        [event("metadata", USAGE), event("messageStop", r#"{"stopReason":"end_turn"}"#)].concat(),
        event("messageStop", r#"{"stopReason":"end_turn"}"#),
    ] {
        let (events, result, _) = decode_stream([&body[..]]);
        assert_eq!(result, Ok(()));
        assert_eq!(assemble(&events).choices[0].finish, FinishReason::Stop);
    }
}

#[test]
fn exceptions_end_the_stream() {
    let begun = event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"Hi"}}"#);
    let cases = [
        ("throttlingException", FailureKind::RateLimited, FailureKind::RateLimited),
        ("modelStreamErrorException", FailureKind::Upstream, FailureKind::Upstream),
        ("internalServerException", FailureKind::Upstream, FailureKind::Upstream),
        ("serviceUnavailableException", FailureKind::Upstream, FailureKind::Upstream),
        ("modelTimeoutException", FailureKind::Timeout, FailureKind::Timeout),
        // Before anything was said it is the request that is wrong, after it the target.
        ("validationException", FailureKind::Rejected, FailureKind::Upstream),
        ("newException", FailureKind::Upstream, FailureKind::Upstream),
    ];
    for (name, first, later) in cases {
        let error = exception(name, r#"{"message":"no"}"#);
        for (body, kind) in [(error.clone(), first), ([begun.clone(), error].concat(), later)] {
            let failure = decode_stream([&body[..]]).1.unwrap_err();
            assert_eq!((failure.kind, &*failure.message, failure.code.as_deref()), (kind, "no", Some(name)));
        }
    }
    let error = exception("validationException", r#"{"message":"Input is too long for requested model."}"#);
    let failure = decode_stream([&error[..]]).1.unwrap_err();
    assert_eq!((failure.kind, failure.code.as_deref()), (FailureKind::Rejected, Some("context_length_exceeded")));
    let text = HeaderValue::Text;
    let head =
        [(":message-type", text("error")), (":error-code", text("InternalError")), (":error-message", text("oh"))];
    let failure = decode_stream([&frame(&head, b"")[..]]).1.unwrap_err();
    assert_eq!((failure.kind, &*failure.message), (FailureKind::Upstream, "oh"));
}

#[test]
fn a_malformed_answer_fails_and_its_usage_is_known() {
    for reason in ["malformed_tool_use", "malformed_model_output"] {
        let stop = format!(r#"{{"stopReason":"{reason}"}}"#);
        let body = [event("messageStart", "{}"), event("messageStop", &stop), event("metadata", USAGE)].concat();
        let (events, result, observed) = decode_stream([&body[..]]);
        let failure = result.unwrap_err();
        assert_eq!((failure.kind, failure.code.as_deref()), (FailureKind::Upstream, Some(reason)));
        assert!(observed.usage.is_some() && !observed.finished);
        assert!(!events.iter().any(|e| matches!(e, ChatEvent::Finish { .. } | ChatEvent::End)));
    }
}

#[test]
fn an_image_is_whole_when_its_block_ends() {
    let image = |bytes: &str| {
        let payload = format!(r#"{{"contentBlockIndex":0,"delta":{{"image":{{"source":{{"bytes":"{bytes}"}}}}}}}}"#);
        event("contentBlockDelta", &payload)
    };
    let open = event("contentBlockStart", r#"{"contentBlockIndex":0,"start":{"image":{"format":"jpeg"}}}"#);
    let stop = event("messageStop", r#"{"stopReason":"end_turn"}"#);
    let body = [open.clone(), image("Zm9v"), image("YmE="), stop.clone()].concat();
    let (events, ..) = decode_stream([&body[..]]);
    let whole = super::response::picture(super::reply::Image {
        format: Some("jpeg".into()),
        source: Some(super::reply::ImageSource { bytes: Some("Zm9vYmE=".into()) }),
    });
    assert_eq!(assemble(&events).choices[0].content, [whole.unwrap()]);
    let body = [open, image("Zm8="), image("Zm9v"), stop].concat();
    assert_eq!(decode_stream([&body[..]]).1.unwrap_err().kind, FailureKind::Malformed);
}

#[test]
fn what_is_no_such_stream_is_malformed() {
    assert_eq!(decode_stream([&b"data: {\"a\":1}\n\n"[..]]).1.unwrap_err().kind, FailureKind::Malformed);
    let body = event("contentBlockDelta", "{");
    assert_eq!(decode_stream([&body[..]]).1.unwrap_err().kind, FailureKind::Malformed);
    assert_eq!(decode_stream([]).1.unwrap_err().kind, FailureKind::Truncated);
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_events(cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let body = rich();
        let mut at: Vec<usize> = cuts.iter().map(|c| c.index(body.len() + 1)).collect();
        at.extend([0, body.len()]);
        at.sort_unstable();
        let (events, result, observed) = decode_stream(at.windows(2).map(|w| &body[w[0]..w[1]]));
        let (whole, _, seen) = decode_stream([&body[..]]);
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(events, whole);
        prop_assert_eq!(format!("{observed:?}"), format!("{seen:?}"));
    }

    #[test]
    fn a_cut_stream_is_never_a_good_one(at in any::<prop::sample::Index>()) {
        let body = rich();
        let end = body.len() - event("metadata", USAGE).len();
        let (_, result, _) = decode_stream([&body[..at.index(end)]]);
        prop_assert_eq!(result.unwrap_err().kind, FailureKind::Truncated);
    }

    #[test]
    fn a_flipped_bit_is_never_a_good_end(bit in any::<prop::sample::Index>()) {
        let mut body = rich();
        let bit = bit.index(body.len() * 8);
        body[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(decode_stream([&body[..]]).1.is_err());
    }

    #[test]
    fn nothing_panics(kind in 0..6_usize, payload in ".{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let kinds = ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"];
        for body in [&event(kinds[kind], &payload)[..], &bytes] {
            let _ = decode_stream(body.chunks(13));
            let _ = Bedrock.decode_response(body, quirks());
            let _ = Bedrock.decode_error(400, body);
        }
    }
}
