//! Whole answers, usage and errors.

use super::*;
use crate::domain::chat::{Citation, FinishReason, Part, TokenLogprob};
use crate::domain::error::FailureKind;
use crate::domain::usage::{Bucket, Usage};

fn decode(body: &str) -> Result<ChatResponse, Failure> {
    Cohere.decode_response(body.as_bytes(), quirks())
}

fn ended(reason: &str) -> Result<ChatResponse, Failure> {
    decode(&format!(
        r#"{{"id":"1","message":{{"content":[{{"type":"text","text":"hi"}}]}},"finish_reason":"{reason}"}}"#
    ))
}

fn usage(report: &str) -> Option<Usage> {
    decode(&format!(r#"{{"message":{{}},"finish_reason":"COMPLETE","usage":{report}}}"#)).unwrap().usage
}

#[test]
fn everything_at_once() {
    let body = concat!(
        r#"{"id":"a","message":{"role":"assistant","tool_plan":"First f.","content":[{"type":"thinking","thinking":"Hm."},"#,
        r#"{"type":"text","text":"Größe: "},{"type":"new","image":1},{"type":"text","text":"20 m"}],"#,
        r#""tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},"#,
        r#"{"id":"c2","type":"function","function":{"name":"g","arguments":""}}],"#,
        r#""citations":[{"start":0,"end":2,"text":"20","type":"TEXT_CONTENT","content_index":3,"sources":["#,
        r#"{"type":"document","id":"d","document":{"title":"T","url":"https://e.org/t","text":"long"}},"#,
        r#"{"type":"tool","id":"f:0","tool_output":{"content":{"deep":1}}}]},"#,
        r#"{"start":0,"end":5,"text":"First","type":"PLAN","sources":[{"type":"tool","id":"http://e.org","tool_output":7}]}]},"#,
        r#""logprobs":[{"text":"20 m","token_ids":[1,2],"logprobs":[-0.25,-0.5]},{"token_ids":[3]}],"#,
        r#""finish_reason":"TOOL_CALL","usage":{"tokens":{"input_tokens":30,"output_tokens":20,"reasoning_tokens":5},"cached_tokens":10}}"#,
    );
    let answer = decode(body).unwrap();
    let choice = &answer.choices[0];
    let thought = Part::Reasoning { text: "First f.Hm.".into(), signature: None };
    assert_eq!(choice.content, [thought, Part::Text("Größe: 20 m".into())]);
    let calls: Vec<_> = choice.tool_calls.iter().map(|c| (&*c.id, &*c.name, &*c.arguments)).collect();
    assert_eq!(calls, [("c1", "f", "{\"x\":1}"), ("c2", "g", "{}")]);
    assert_eq!(choice.finish, FinishReason::ToolCalls);
    let text = |t: &str| Some(t.to_owned());
    // Places are told within the block that is cited, and wanted within the whole text.
    let want = [
        Citation { url: text("https://e.org/t"), title: text("T"), quoted: text("20"), span: Some((7, 9)) },
        Citation { url: None, title: text("f:0"), quoted: text("20"), span: Some((7, 9)) },
        Citation { url: text("http://e.org"), title: text("http://e.org"), quoted: text("First"), span: None },
    ];
    assert_eq!(choice.citations, want);
    let token = TokenLogprob { token: "20 m".into(), logprob: -0.75, bytes: None, top: Vec::new() };
    assert_eq!(choice.logprobs, [token]);
    let parts: Vec<_> = answer.usage.unwrap().parts().collect();
    assert_eq!(parts, [(Bucket::Input, 20), (Bucket::CacheRead, 10), (Bucket::Output, 15), (Bucket::Reasoning, 5)]);
}

#[test]
fn usage_is_disjoint_and_never_negative() {
    let parts = |report: &str| usage(report).map(|u| u.parts().collect::<Vec<_>>());
    let images = r#"{"billed_units":{"input_tokens":267,"output_tokens":52},"tokens":{"input_tokens":34,"output_tokens":56.0,"reasoning_tokens":0,"image_tokens":259},"cached_tokens":0}"#;
    assert_eq!(parts(images).unwrap(), [(Bucket::Input, 34), (Bucket::Output, 56), (Bucket::InputImage, 259)]);
    // A part that is larger than its whole is as large as its whole.
    let clamped = r#"{"tokens":{"input_tokens":4,"output_tokens":2,"reasoning_tokens":9},"cached_tokens":9}"#;
    assert_eq!(parts(clamped).unwrap(), [(Bucket::CacheRead, 4), (Bucket::Reasoning, 2)]);
    let billed = r#"{"billed_units":{"input_tokens":4,"output_tokens":2,"image_tokens":3}}"#;
    assert_eq!(parts(billed).unwrap(), [(Bucket::Input, 4), (Bucket::Output, 2)]);
    for useless in [
        "null",
        "{}",
        "7",
        r#"{"tokens":{"input_tokens":-4}}"#,
        r#"{"tokens":{"input_tokens":1.5}}"#,
        r#"{"tokens":{"input_tokens":9e15}}"#,
        r#"{"tokens":{"input_tokens":"4"}}"#,
    ] {
        assert_eq!(parts(useless), None, "{useless}");
    }
}

#[test]
fn calls_that_did_not_come_are_missed() {
    let thought =
        r#"{"message":{"content":[{"type":"thinking","thinking":"I shall look."}]},"finish_reason":"TOOL_CALL"}"#;
    assert_eq!(decode(thought).unwrap_err().kind, FailureKind::Malformed);
}

#[test]
fn words_for_the_end() {
    let finish = |word: &str| ended(word).unwrap().choices[0].finish;
    assert_eq!(finish("COMPLETE"), FinishReason::Stop);
    assert_eq!(finish("STOP_SEQUENCE"), FinishReason::Stop);
    assert_eq!(finish("MAX_TOKENS"), FinishReason::Length);
    assert_eq!(finish("ERROR_TOXIC"), FinishReason::ContentFilter);
    assert_eq!(finish("TOOL_CALL"), FinishReason::Stop, "without a call there is none to answer");
    assert_eq!(finish("NEW"), FinishReason::Stop);
    for (word, kind) in [("ERROR", FailureKind::Upstream), ("TIMEOUT", FailureKind::Timeout)] {
        let failure = ended(word).unwrap_err();
        assert_eq!((failure.kind, failure.code.as_deref()), (kind, Some(word)));
    }
}

#[test]
fn what_is_no_answer() {
    for body in ["", "[]", "{}", "<html>", r#"{"message":[1]}"#, r#"{"message":{"tool_calls":[{"function":"f"}]}}"#] {
        assert_eq!(decode(body).unwrap_err().kind, FailureKind::Malformed, "{body}");
    }
    let failure = decode(r#"{"id":"x","message":"internal server error"}"#).unwrap_err();
    assert_eq!((failure.kind, &*failure.message), (FailureKind::Upstream, "internal server error"));
    let empty = decode(r#"{"message":{"content":null,"tool_calls":null,"citations":null}}"#).unwrap();
    assert!(empty.choices[0].content.is_empty() && empty.usage.is_none());
    let text = decode(r#"{"message":{"content":"plain"}}"#).unwrap();
    assert_eq!(text.choices[0].content, [Part::Text("plain".into())]);
}

#[test]
fn errors_by_status_and_words() {
    let body = r#"{"id":"x","message":"no"}"#;
    for (status, kind) in [
        (400, FailureKind::Rejected),
        (401, FailureKind::Credentials),
        (402, FailureKind::Credentials),
        (403, FailureKind::Credentials),
        (404, FailureKind::NoModel),
        (408, FailureKind::Timeout),
        (422, FailureKind::Rejected),
        (429, FailureKind::RateLimited),
        (498, FailureKind::Rejected),
        (499, FailureKind::Upstream),
        (500, FailureKind::Upstream),
        (503, FailureKind::Upstream),
        (504, FailureKind::Timeout),
        (302, FailureKind::Malformed),
    ] {
        let failure = Cohere.decode_error(status, body.as_bytes());
        assert_eq!((failure.kind, &*failure.message, failure.status), (kind, "no", Some(status)));
    }
    let long = Cohere.decode_error(400, br#"{"message":"too many tokens: total number of tokens ..."}"#);
    assert_eq!(long.code.as_deref(), Some("context_length_exceeded"));
    let typed = Cohere.decode_error(400, br#"{"message":"x","error_type":"INVALID"}"#);
    assert_eq!((typed.kind, typed.code.as_deref()), (FailureKind::Rejected, Some("INVALID")));
    let trial = br#"{"message":"You are using a Trial key, which is limited to 1000 API calls / month."}"#;
    assert_eq!(Cohere.decode_error(429, trial).kind, FailureKind::Credentials);
    assert_eq!(Cohere.decode_error(502, b"<h1>Bad gateway</h1>").message, "<h1>Bad gateway</h1>");
    assert!(Cohere.decode_error(503, b"").message.contains("503"));
}
