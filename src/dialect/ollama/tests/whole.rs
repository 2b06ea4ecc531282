//! Whole answers, usage and errors.

use super::*;
use crate::domain::chat::{FinishReason, Part, TokenLogprob};
use crate::domain::error::FailureKind;
use crate::domain::usage::{Bucket, Usage};

fn decode(body: &str) -> Result<ChatResponse, Failure> {
    Ollama.decode_response(body.as_bytes(), quirks())
}

fn usage(counts: &str) -> Option<Usage> {
    decode(&format!(r#"{{"message":{{"content":"x"}},"done":true{counts}}}"#)).unwrap().usage
}

#[test]
fn everything_at_once() {
    let body = concat!(
        r#"{"model":"m:4b","created_at":"2026-08-04T21:59:29+02:00","message":{"role":"assistant","content":"Hi","thinking":"Hm","#,
        r#""tool_calls":[{"id":"c1","function":{"index":0,"name":"f","arguments":{"x": 1}}},{"function":{"name":"g","arguments":"{\"y\":2}"}},"#,
        r#"{"function":{"name":"h","arguments":null}},{"function":{"name":"h"}}]},"done":true,"done_reason":"stop","#,
        r#""logprobs":[{"token":"Hi","logprob":-0.5,"bytes":[72,105],"top_logprobs":[{"token":"Ho","logprob":-2,"bytes":null}]}],"#,
        r#""total_duration":5,"prompt_eval_count":7,"eval_count":9}"#,
    );
    let answer = decode(body).unwrap();
    assert_eq!((&*answer.model, answer.created), ("m:4b", Some(1_785_873_569)));
    let choice = &answer.choices[0];
    let thought = Part::Reasoning { text: "Hm".into(), signature: None };
    assert_eq!(choice.content, [thought, Part::Text("Hi".into())]);
    let calls: Vec<_> = choice.tool_calls.iter().map(|c| (&*c.name, &*c.arguments)).collect();
    assert_eq!(calls, [("f", "{\"x\": 1}"), ("g", "{\"y\":2}"), ("h", "{}"), ("h", "{}")]);
    assert_eq!(choice.finish, FinishReason::ToolCalls);
    let top = vec![("Ho".to_owned(), -2.0)];
    assert_eq!(choice.logprobs, [TokenLogprob { token: "Hi".into(), logprob: -0.5, bytes: Some(vec![72, 105]), top }]);
    assert_eq!(answer.usage.unwrap().parts().collect::<Vec<_>>(), [(Bucket::Input, 7), (Bucket::Output, 9)]);
}

#[test]
fn ids_are_made_where_there_are_none() {
    let ids = |at: &str, arguments: &str| {
        let call = format!(r#"{{"function":{{"name":"f","arguments":{arguments}}}}}"#);
        let body = format!(r#"{{"created_at":"{at}","message":{{"tool_calls":[{call},{call}]}},"done":true}}"#);
        let calls = decode(&body).unwrap().choices.remove(0).tool_calls;
        calls.into_iter().map(|call| call.id).collect::<Vec<_>>()
    };
    let first = ids("2026-08-04T19:59:29Z", "{}");
    assert_eq!(first, ids("2026-08-04T19:59:29Z", "{}"), "the same bytes, the same ids");
    let others = [ids("2026-08-04T19:59:30Z", "{}"), ids("2026-08-04T19:59:29Z", "{\"a\":1}")].concat();
    let all: std::collections::BTreeSet<_> = first.iter().chain(&others).collect();
    assert_eq!(all.len(), 6, "calls alike are told apart by place and time");
    assert!(all.iter().all(|id| id.starts_with("call_") && id.len() == 29 && id.is_ascii()));
}

#[test]
fn usage_that_is_missing_or_senseless() {
    let parts = |counts: &str| usage(counts).map(|u| u.parts().collect::<Vec<_>>());
    assert_eq!(parts(r#","eval_count":9"#).unwrap(), [(Bucket::Output, 9)], "the whole prompt was cached");
    assert_eq!(parts(r#","prompt_eval_count":4"#).unwrap(), [(Bucket::Input, 4)]);
    for useless in
        ["", r#","eval_count":-1"#, r#","eval_count":"9""#, r#","eval_count":2e12"#, r#","eval_count":1e300"#]
    {
        assert_eq!(parts(useless), None, "{useless}");
    }
    assert_eq!(parts(r#","prompt_eval_count":1,"eval_count":1099511627776"#), None);
}

#[test]
fn words_for_the_end() {
    let finish = |reason: &str, calls: &str| {
        let body = format!(r#"{{"message":{{"content":"x"{calls}}},"done":true,"done_reason":{reason}}}"#);
        decode(&body).unwrap().choices[0].finish
    };
    assert_eq!(finish("\"stop\"", ""), FinishReason::Stop);
    assert_eq!(finish("\"load\"", ""), FinishReason::Stop);
    assert_eq!(finish("null", ""), FinishReason::Stop);
    assert_eq!(finish("\"length\"", ""), FinishReason::Length);
    let call = r#","tool_calls":[{"function":{"name":"f","arguments":{}}}]"#;
    assert_eq!(finish("\"stop\"", call), FinishReason::ToolCalls);
    assert_eq!(finish("\"length\"", call), FinishReason::Length);
}

#[test]
fn what_is_no_answer() {
    for body in ["", "[]", "{}", "<html>", r#"{"message":"x"}"#, r#"{"message":{"tool_calls":[{"id":"1"}]}}"#] {
        assert_eq!(decode(body).unwrap_err().kind, FailureKind::Malformed, "{body}");
    }
    let failure = decode(r#"{"error":"llama runner process has terminated"}"#).unwrap_err();
    assert_eq!((failure.kind, &*failure.message), (FailureKind::Upstream, "llama runner process has terminated"));
    let fine = decode(r#"{"error":null,"message":{"content":null,"tool_calls":null}}"#).unwrap();
    assert!(fine.choices[0].content.is_empty() && fine.usage.is_none() && fine.created.is_none());
}

#[test]
fn errors_by_status_and_words() {
    for (status, kind) in [
        (400, FailureKind::Rejected),
        (401, FailureKind::Credentials),
        (403, FailureKind::Credentials),
        (404, FailureKind::NoModel),
        (408, FailureKind::Timeout),
        (429, FailureKind::RateLimited),
        (500, FailureKind::Upstream),
        (503, FailureKind::Upstream),
        (504, FailureKind::Timeout),
        (301, FailureKind::Malformed),
    ] {
        let failure = Ollama.decode_error(status, br#"{"error":"no"}"#);
        assert_eq!((failure.kind, &*failure.message, failure.status), (kind, "no", Some(status)));
    }
    for words in [
        "prompt too long; exceeded max context length by 1119046 tokens (ref: 1)",
        "the input length exceeds the context length",
        "the request exceeds the available context size. try increasing the context size",
    ] {
        let failure = Ollama.decode_error(400, format!(r#"{{"error":"{words}"}}"#).as_bytes());
        assert_eq!((failure.code.as_deref(), &*failure.message), (Some("context_length_exceeded"), words));
    }
    let object = Ollama.decode_error(400, br#"{"error":{"message":"\"m\" does not support tools","type":"x"}}"#);
    assert_eq!((object.kind, &*object.message), (FailureKind::Rejected, "\"m\" does not support tools"));
    assert_eq!(Ollama.decode_error(502, b"<h1>Bad gateway</h1>").message, "<h1>Bad gateway</h1>");
    assert_eq!(Ollama.decode_error(400, br#"{"error":7}"#).message, r#"{"error":7}"#);
    assert!(Ollama.decode_error(503, b"").message.contains("503"));
}
