//! Streams: events in any cut, ends good and bad.

use proptest::prelude::*;

use super::*;
use crate::domain::chat::{Citation, FinishReason, Part};
use crate::domain::error::FailureKind;

const START: &str = r#"{"id":"m1","type":"message-start","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}"#;
const END: &str = r#"{"type":"message-end","delta":{"finish_reason":"TOOL_CALL","usage":{"tokens":{"input_tokens":9,"output_tokens":6,"reasoning_tokens":2},"cached_tokens":4}}}"#;

fn frames(data: &[&str]) -> String {
    data.iter().map(|d| format!("event: x\ndata: {d}\n\n")).collect()
}

/// A plan, thinking, a cited text with probabilities, calls with and without arguments, and what is not known.
fn rich() -> String {
    frames(&[
        START,
        r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I will"}}}"#,
        r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":" look."}}}"#,
        r#"{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"thinking","thinking":""}}}}"#,
        r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":" Hm"}}}}"#,
        r#"{"type":"content-end","index":0}"#,
        r#"{"type":"content-start","index":1,"delta":{"message":{"content":{"type":"text","text":"Größe "}}}}"#,
        r#"{"type":"content-end","index":1}"#,
        r#"{"type":"content-start","index":2,"delta":{"message":{"content":{"type":"text","text":""}}}}"#,
        r#"{"type":"content-delta","index":2,"delta":{"message":{"content":{"text":"20\ud83d\udc0c"}}},"logprobs":{"text":"20","token_ids":[5],"logprobs":[-0.5]}}"#,
        r#"{"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":0,"end":2,"text":"20","sources":[{"type":"tool","id":"f:0","tool_output":{"url":"https://e.org"}}],"type":"TEXT_CONTENT"}}}}"#,
        r#"{"type":"citation-end","index":0}"#,
        r#"{"type":"citation-start","index":1,"delta":{"message":{"citations":{"start":"?"}}}}"#,
        r#"{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"c1","type":"function","function":{"name":"f","arguments":""}}}}}"#,
        r#"{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"{\"x\""}}}}}"#,
        r#"{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":": 1}"}}}}}"#,
        r#"{"type":"tool-call-end","index":0}"#,
        r#"{"type":"tool-call-delta","index":7,"delta":{"message":{"tool_calls":{"function":{"arguments":"lost"}}}}}"#,
        r#"{"type":"tool-call-start","index":1,"delta":{"message":{"tool_calls":{"id":"c2","type":"function","function":{"name":"g"}}}}}"#,
        r#"{"type":"something-new","delta":{"message":{"role":"assistant"}}}"#,
        END,
        "[DONE]",
    ])
}

#[test]
fn a_stream_with_everything_equals_the_whole_answer() {
    let body = rich();
    let (events, result, observed) = decode_stream([body.as_bytes()]);
    assert_eq!(result, Ok(()));
    let whole = concat!(
        r#"{"id":"m1","message":{"tool_plan":"I will look.","content":[{"type":"thinking","thinking":" Hm"},{"type":"text","text":"Größe "},{"type":"text","text":"20🐌"}],"#,
        r#""tool_calls":[{"id":"c1","function":{"name":"f","arguments":"{\"x\": 1}"}},{"id":"c2","function":{"name":"g"}}],"#,
        r#""citations":[{"start":0,"end":2,"text":"20","content_index":2,"sources":[{"id":"f:0","tool_output":{"url":"https://e.org"}}]}]},"#,
        r#""logprobs":[{"text":"20","token_ids":[5],"logprobs":[-0.5]}],"finish_reason":"TOOL_CALL","#,
        r#""usage":{"tokens":{"input_tokens":9,"output_tokens":6,"reasoning_tokens":2},"cached_tokens":4}}"#,
    );
    let whole = Cohere.decode_response(whole.as_bytes(), quirks()).unwrap();
    let answer = assemble(&events);
    assert_eq!(answer, whole);
    assert_eq!(answer.choices[0].content.len(), 2);
    let citation = Citation {
        url: Some("https://e.org".into()),
        title: Some("f:0".into()),
        quoted: Some("20".into()),
        span: Some((6, 8)),
    };
    assert_eq!(answer.choices[0].citations, [citation]);
    assert_eq!(observed.usage, whole.usage);
    assert!(observed.began && observed.finished && observed.ended);
    assert_eq!(observed.output_bytes, "I will look. HmGröße 20🐌{\"x\": 1}{}".len() as u64);
}

#[test]
fn a_stream_that_stops_early_is_truncated() {
    let body = rich();
    let end = body.find("event: x\ndata: {\"type\":\"message-end\"").unwrap();
    for cut in [0, 10, end - 1, end, end + 40] {
        let (events, result, observed) = decode_stream([&body.as_bytes()[..cut]]);
        assert_eq!(result.unwrap_err().kind, FailureKind::Truncated, "{cut}");
        assert!(!observed.finished && !events.contains(&ChatEvent::End));
    }
    // The end mark and even the blank line before it may be missing.
    let last = body.find("\n\nevent: x\ndata: [DONE]").unwrap();
    let (events, result, _) = decode_stream([&body.as_bytes()[..last]]);
    assert_eq!(result, Ok(()));
    assert_eq!(assemble(&events).choices[0].finish, FinishReason::ToolCalls);
}

#[test]
fn errors_inside_a_stream() {
    let text = r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"Hi"}}}}"#;
    let failed = r#"{"type":"message-end","delta":{"finish_reason":"ERROR","error":"the model broke","usage":{"tokens":{"input_tokens":1,"output_tokens":1}}}}"#;
    let late = r#"{"type":"message-end","delta":{"finish_reason":"TIMEOUT"}}"#;
    let plain = r#"{"id":"m1","message":"too many tokens: 9"}"#;
    for (last, kind, code, message) in [
        (failed, FailureKind::Upstream, Some("ERROR"), "the model broke"),
        (late, FailureKind::Timeout, Some("TIMEOUT"), "the provider ended with TIMEOUT"),
        (plain, FailureKind::Upstream, Some("context_length_exceeded"), "too many tokens: 9"),
    ] {
        let body = frames(&[START, text, last, text, END]);
        let (events, result, observed) = decode_stream([body.as_bytes()]);
        let failure = result.unwrap_err();
        assert_eq!((failure.kind, failure.code.as_deref(), &*failure.message), (kind, code, message));
        assert_eq!(events.len(), 2, "nothing follows it");
        assert!(!observed.finished && observed.began);
        assert_eq!(observed.usage.is_some(), last == failed);
    }
    let broken = frames(&[START, "{"]);
    assert_eq!(decode_stream([broken.as_bytes()]).1.unwrap_err().kind, FailureKind::Malformed);
}

#[test]
fn a_line_without_end_is_refused() {
    let mut decoder = Cohere.decode_stream(quirks());
    let mut events = Vec::new();
    let piece = vec![b'x'; 1 << 20];
    let failure = (0..20).find_map(|_| decoder.chunk(&piece, &mut events).err()).unwrap();
    assert_eq!(failure.kind, FailureKind::Malformed);
    assert_eq!(decoder.end(&mut events), Err(failure));
}

#[test]
fn text_before_the_opening_opens_the_answer() {
    let body = frames(&[r#"{"type":"content-delta","delta":{"message":{"content":{"text":"Hi"}}}}"#, END]);
    let answer = assemble(&decode_stream([body.as_bytes()]).0);
    assert_eq!(answer.choices[0].content, [Part::Text("Hi".into())]);
    assert_eq!(answer.choices[0].finish, FinishReason::Stop);
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_events(cuts in proptest::collection::vec(1_usize..90, 1..40), crlf: bool) {
        let body = if crlf { rich().replace('\n', "\r\n") } else { rich() };
        let whole = decode_stream([body.as_bytes()]);
        let mut rest = body.as_bytes();
        let mut chunks = Vec::new();
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            chunks.push(head);
            rest = tail;
        }
        let (events, result, observed) = decode_stream(chunks);
        prop_assert_eq!(events, whole.0);
        prop_assert_eq!(result, whole.1);
        prop_assert_eq!(observed.output_bytes, whole.2.output_bytes);
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..3000) {
        let rich = rich();
        let mut bytes = rich.as_bytes().to_vec();
        let at = cut.min(bytes.len());
        bytes.splice(at..at, body);
        let _ = decode_stream([&bytes[..]]);
        let _ = Cohere.decode_response(&bytes, quirks());
        let _ = Cohere.decode_error(400, &bytes);
    }
}
