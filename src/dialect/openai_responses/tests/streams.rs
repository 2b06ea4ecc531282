//! What clients get.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::domain::chat::{Citation, FinishReason, Signature, TokenLogprob};
use crate::domain::error::ErrorKind;
use crate::domain::id::DialectId;
use crate::domain::usage::{Bucket, Usage};

/// A rendering of an answer to a request with tools of all kinds.
fn rendering() -> Rendering {
    let body = json!({"model": "auto", "input": "x", "instructions": "i", "max_output_tokens": 64, "metadata": {"k": "v"},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": true},
            {"type": "namespace", "name": "ns", "description": "d", "tools": [{"type": "function", "name": "g"}]},
            {"type": "custom", "name": "patch"}, {"type": "web_search"}]});
    Rendering { request: Arc::new(decode(&body.to_string()).unwrap()), ..Rendering::example("auto", true) }
}

fn start() -> ChatEvent {
    ChatEvent::Start { id: "chatcmpl-1".into(), model: "up".into(), created: Some(7) }
}

fn tool(index: u32, name: &str) -> ChatEvent {
    let (id, name) = (format!("call_{index}"), name.to_owned());
    ChatEvent::ToolStart { choice: 0, index, id, name, custom: false, signature: None }
}

fn arguments(index: u32, fragment: &str) -> ChatEvent {
    ChatEvent::ToolArguments { choice: 0, index, fragment: fragment.into() }
}

fn script(finish: FinishReason) -> Vec<ChatEvent> {
    let citation = Citation { url: Some("u".into()), title: None, quoted: None, span: Some((0, 2)) };
    let token = TokenLogprob { token: "he".into(), logprob: -0.5, bytes: None, top: vec![("ho".into(), -1.0)] };
    vec![
        start(),
        ChatEvent::Reasoning { choice: 0, text: "hm".into() },
        ChatEvent::ReasoningSignature { choice: 0, signature: Signature::new(DialectId::Anthropic, "sig") },
        ChatEvent::Text { choice: 0, text: "he".into() },
        ChatEvent::Logprobs { choice: 0, tokens: vec![token] },
        ChatEvent::Text { choice: 0, text: "llo".into() },
        ChatEvent::Citation { choice: 0, citation },
        tool(0, "f"),
        tool(1, "ns__g"),
        tool(2, "patch"),
        arguments(1, "{\"b\":"),
        arguments(0, "{}"),
        arguments(1, "2}"),
        arguments(2, "{\"input\":\"*** a"),
        arguments(2, "\\n\"}"),
        ChatEvent::Finish { choice: 0, reason: finish, stop_sequence: None },
        ChatEvent::Usage(Usage::ZERO.with(Bucket::Input, 3).with(Bucket::CacheRead, 2).with(Bucket::Reasoning, 1)),
        ChatEvent::End,
    ]
}

#[test]
fn one_whole_stream() {
    let bytes = render(rendering(), &script(FinishReason::ToolCalls));
    let frames = frames(&bytes);
    let names: Vec<&str> = frames.iter().map(|(name, _)| name.strip_prefix("response.").unwrap()).collect();
    assert_eq!(
        names,
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.delta",
            "output_text.annotation.added",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "output_item.added",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "function_call_arguments.done",
            "output_item.done",
            "custom_tool_call_input.delta",
            "custom_tool_call_input.done",
            "output_item.done",
            "completed",
        ]
    );
    for (at, (name, data)) in frames.iter().enumerate() {
        assert_eq!((data["type"].as_str(), data["sequence_number"].as_u64()), (Some(name.as_str()), Some(at as u64)));
    }
}

#[test]
fn what_the_events_hold() {
    let frames = frames(&render(rendering(), &script(FinishReason::ToolCalls)));
    assert_eq!(
        frames[4].1,
        json!({"type": "response.reasoning_summary_text.delta", "sequence_number": 4,
        "item_id": "rs_sw_own0", "output_index": 0, "summary_index": 0, "delta": "hm"})
    );
    assert_eq!(
        frames[10].1,
        json!({"type": "response.output_text.delta", "sequence_number": 10,
        "item_id": "msg_own1", "output_index": 1, "content_index": 0, "delta": "he", "logprobs": []})
    );
    assert_eq!(frames[11].1["logprobs"][0]["token"], "he");
    assert_eq!(frames[0].1["response"]["usage"], json!(null));
    let last = &frames.last().unwrap().1["response"];
    assert_eq!(
        last["output"],
        json!([
        {"type": "reasoning", "id": "rs_sw_own0", "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "sw.anthropic.sig"},
        {"type": "message", "id": "msg_own1", "status": "completed", "role": "assistant", "content": [
            {"type": "output_text", "text": "hello",
            "annotations": [{"type": "url_citation", "start_index": 0, "end_index": 2, "url": "u", "title": ""}],
            "logprobs": [{"token": "he", "bytes": [104, 101], "logprob": -0.5,
                "top_logprobs": [{"token": "ho", "bytes": [104, 111], "logprob": -1.0}]}]}]},
        {"type": "function_call", "id": "fc_own2", "status": "completed", "call_id": "call_0", "name": "f", "arguments": "{}"},
        {"type": "function_call", "id": "fc_own3", "status": "completed", "call_id": "call_1", "namespace": "ns",
            "name": "g", "arguments": "{\"b\":2}"},
        {"type": "custom_tool_call", "id": "ctc_own4", "status": "completed", "call_id": "call_2", "name": "patch",
            "input": "*** a\n"}])
    );
    assert_eq!(
        last["usage"],
        json!({"input_tokens": 5, "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 6})
    );
    assert_eq!(
        (&last["id"], &last["status"], &last["created_at"]),
        (&json!("resp_own"), &json!("completed"), &json!(7))
    );
    assert_eq!((&last["instructions"], &last["metadata"]), (&json!("i"), &json!({"k": "v"})));
    assert_eq!(
        last["tools"][1],
        json!({"type": "namespace", "name": "ns", "description": "",
        "tools": [{"type": "function", "name": "g", "parameters": null}]})
    );
}

/// The whole answer has the items of the stream's last event, and reading either gives the same.
#[test]
fn whole_and_stream_agree() {
    for finish in [FinishReason::ToolCalls, FinishReason::Length, FinishReason::ContentFilter] {
        let streamed = render(rendering(), &script(finish));
        let last = frames(&streamed).pop().unwrap().1;
        let answer = assemble(&script(finish));
        let whole = OpenAiResponses.encode_response(&answer, &rendering());
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&whole).unwrap(), last["response"], "{finish:?}");
        let (events, result, _) = decode_stream([streamed.as_slice()]);
        assert_eq!(result, Ok(()));
        let (from_stream, from_whole) = (assemble(&events), OpenAiResponses.decode_response(&whole, quirks()).unwrap());
        assert_eq!(from_stream.choices[0].finish, finish);
        assert_eq!(from_stream, from_whole);
        let again = OpenAiResponses.encode_response(&from_whole, &rendering());
        let reread = OpenAiResponses.decode_response(&again, quirks()).unwrap();
        assert_eq!(text_of(&reread), text_of(&answer));
        assert_eq!(reread.choices[0].tool_calls, from_whole.choices[0].tool_calls);
    }
}

#[test]
fn an_answer_that_was_cut_says_so() {
    let events = [
        start(),
        ChatEvent::Text { choice: 0, text: "a".into() },
        ChatEvent::Refusal { choice: 0, text: "no".into() },
        ChatEvent::Finish { choice: 0, reason: FinishReason::Length, stop_sequence: None },
        ChatEvent::End,
    ];
    let frames = frames(&render(rendering(), &events));
    let (name, last) = frames.last().unwrap();
    assert_eq!(name, "response.incomplete");
    assert_eq!(last["response"]["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(last["response"]["output"][0]["status"], "incomplete");
    assert_eq!(last["response"]["output"][0]["content"][1], json!({"type": "refusal", "refusal": "no"}));
    assert!(last["response"]["usage"].is_object(), "usage is never left out");
    assert!(frames.iter().any(|(name, _)| name == "response.refusal.done"));
}

#[test]
fn a_stream_that_breaks_has_no_good_end() {
    let mut encoder = OpenAiResponses.encode_stream(rendering());
    let mut out = bytes::BytesMut::new();
    encoder.event(&start(), &mut out);
    encoder.event(&ChatEvent::Text { choice: 0, text: "a".into() }, &mut out);
    encoder.broken(&Error::new(ErrorKind::RateLimited, "slow down"), &mut out);
    let (name, last) = frames(&out).pop().unwrap();
    assert_eq!(name, "response.failed");
    assert_eq!(last["response"]["status"], "failed");
    assert_eq!(last["response"]["error"], json!({"code": "rate_limit_exceeded", "message": "slow down"}));
    assert_eq!(last["response"]["id"], "resp_own");
}
