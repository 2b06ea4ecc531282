//! What imitators do differently, one small stream each, in their own words. The recorded traffic has more of each.

use super::*;
use crate::domain::chat::{ChatResponse, Citation, Message};

/// What a provider with these quirks says, read in cuts of that size: text, thinking, calls (id, name, arguments),
/// citations, and what was observed.
struct Heard {
    text: String,
    thinking: String,
    calls: Vec<(String, String, String)>,
    cited: Vec<Citation>,
    observed: Observed,
}

fn hear(stream: &str, quirks: &Quirks) -> Heard {
    let mut first: Option<Heard> = None;
    for cuts in [1, 7, stream.len()] {
        let heard = in_cuts(stream, quirks, cuts);
        if let Some(first) = &first {
            assert_eq!((&heard.text, &heard.thinking, &heard.calls), (&first.text, &first.thinking, &first.calls));
            assert_eq!(heard.observed.usage, first.observed.usage, "in cuts of {cuts}");
        }
        first.get_or_insert(heard);
    }
    first.unwrap()
}

fn in_cuts(stream: &str, quirks: &Quirks, cuts: usize) -> Heard {
    let (mut decoder, mut events) = (OpenAiChat.decode_stream(quirks), Vec::new());
    stream.as_bytes().chunks(cuts).for_each(|chunk| decoder.chunk(chunk, &mut events).unwrap());
    decoder.end(&mut events).unwrap();
    let (text, thinking) = (String::new(), String::new());
    let mut heard =
        Heard { text, thinking, calls: Vec::new(), cited: Vec::new(), observed: decoder.observed().clone() };
    for event in events {
        match event {
            ChatEvent::Text { text, .. } => heard.text += &text,
            ChatEvent::Reasoning { text, .. } => heard.thinking += &text,
            ChatEvent::ToolStart { id, name, .. } => heard.calls.push((id, name, String::new())),
            ChatEvent::ToolArguments { index, fragment, .. } => {
                heard.calls[usize::try_from(index).unwrap()].2 += &fragment;
            }
            ChatEvent::Citation { citation, .. } => heard.cited.push(citation),
            _ => {}
        }
    }
    heard
}

fn used(heard: &Heard) -> (u64, u64, u64, u64) {
    let usage = heard.observed.usage.unwrap();
    let of = |bucket| usage.get(bucket);
    (of(Bucket::Input), of(Bucket::CacheRead), of(Bucket::Output), of(Bucket::Reasoning))
}

fn events(chunks: &[&str]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect()
}

#[test]
fn groq_reports_its_usage_in_a_member_of_its_own() {
    let stream = events(&[
        r#"{"id":"c","model":"m","x_groq":{"id":"req"},"choices":[{"index":0,"delta":{"role":"assistant","reasoning":"hm"}}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"hi"}}]}"#,
        r#"{"id":"c","model":"m","x_groq":{"usage":{"prompt_tokens":9,"completion_tokens":4}},"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]);
    let heard = hear(&stream, &Quirks::default());
    assert_eq!((heard.text.as_str(), heard.thinking.as_str(), used(&heard)), ("hi", "hm", (9, 0, 4, 0)));
}

#[test]
fn perplexity_repeats_its_usage_and_its_message_and_ends_without_a_mark() {
    let stream = events(&[
        r#"{"id":"c","model":"m","citations":["https://a.example"],"usage":{"prompt_tokens":5,"completion_tokens":1},"choices":[{"index":0,"delta":{"role":"assistant","content":"It "},"message":{"role":"assistant","content":"It "}}]}"#,
        r#"{"id":"c","model":"m","object":"chat.completion.done","citations":["https://a.example"],"usage":{"prompt_tokens":5,"completion_tokens":3},"choices":[{"index":0,"delta":{"role":"assistant","content":"is."},"message":{"role":"assistant","content":"It is."},"finish_reason":"stop"}]}"#,
    ])
    .replace('\n', "\r\n");
    let heard = hear(&stream, &Quirks { stream_usage: StreamUsage::Always, ..Quirks::default() });
    assert_eq!((heard.text.as_str(), used(&heard)), ("It is.", (5, 0, 3, 0)), "replaced, never added");
    assert_eq!(heard.cited.len(), 1, "cited once: {:?}", heard.cited);
    assert_eq!(heard.cited[0].url.as_deref(), Some("https://a.example"));
}

#[test]
fn mistral_writes_its_content_in_parts_and_then_in_text() {
    let stream = events(&[
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]}}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":[{"type":"text","text":"a"}]}}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":2}}"#,
        "[DONE]",
    ]);
    let heard = hear(&stream, &Quirks::default());
    assert_eq!((heard.text.as_str(), heard.thinking.as_str()), ("ab", "hm"), "the last chunk has text as well");
}

#[test]
fn azure_begins_with_a_chunk_about_the_prompt_and_no_names() {
    let stream = events(&[
        r#"{"id":"","model":"","object":"","created":0,"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#,
        r#"{"id":"c","model":"m-1","created":7,"choices":[{"index":0,"delta":{"role":"assistant","content":"hi"},"content_filter_results":{}}]}"#,
        r#"{"id":"c","model":"m-1","created":7,"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"id":"c","model":"m-1","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
        "[DONE]",
    ]);
    let heard = hear(&stream, &Quirks::default());
    assert_eq!((heard.text.as_str(), heard.observed.model.as_deref()), ("hi", Some("m-1")));
}

#[test]
fn openrouter_and_deepseek_say_that_they_live_in_comments() {
    let stream = format!(
        ": OPENROUTER PROCESSING\n\n: keep-alive\n\n{}",
        events(&[
            r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"hm","reasoning_details":[{"type":"reasoning.text","text":"hm"}]}}]}"#,
            r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":6,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":6,"completion_tokens_details":{"reasoning_tokens":2}}}"#,
            "[DONE]",
        ])
    );
    let heard = hear(&stream, &Quirks::default());
    assert_eq!((heard.text.as_str(), heard.thinking.as_str(), used(&heard)), ("hi", "hm", (6, 4, 4, 2)));
}

#[test]
fn xai_counts_thinking_beside_the_completion_and_writes_calls_whole() {
    let stream = events(&[
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":"hm"}}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"id":"call_1","index":0,"type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},"finish_reason":"tool_calls"}]}"#,
        r#"{"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":8,"completion_tokens":3,"total_tokens":16,"completion_tokens_details":{"reasoning_tokens":5},"num_sources_used":0,"cost_in_usd_ticks":1}}"#,
        "[DONE]",
    ]);
    let heard = hear(&stream, &Quirks { reasoning_outside_output: true, ..Quirks::default() });
    assert_eq!(heard.calls, [("call_1".to_owned(), "f".to_owned(), "{\"a\":1}".to_owned())]);
    assert_eq!(used(&heard), (8, 0, 3, 5));
}

#[test]
fn alibaba_sends_empty_ids_after_the_first_piece_of_a_call() {
    let stream = events(&[
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"","type":"function","function":{"name":"","arguments":"{\"a\""}}]}}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"","type":"function","function":{"arguments":":1}"}}]}}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
        "[DONE]",
    ]);
    let heard = hear(&stream, &Quirks::default());
    assert_eq!(heard.calls.len(), 1, "{:?}", heard.calls);
    assert_eq!(heard.calls[0], ("call_1".to_owned(), "f".to_owned(), "{\"a\":1}".to_owned()));
}

#[test]
fn an_answer_without_a_message_is_no_empty_answer() {
    let read = |choice: &str| {
        let body = format!(r#"{{"id":"c","model":"m","choices":[{choice}],"usage":null}}"#);
        let quirks = Quirks::default();
        let seen = OpenAiChat.observe_response(body.as_bytes(), &quirks).map(|_| ());
        (OpenAiChat.decode_response(body.as_bytes(), &quirks), seen)
    };
    for lost in ["", r#"{"index":0,"finish_reason":"stop"}"#, r#"{"index":0,"finish_reason":"stop","message":null}"#] {
        let (decoded, seen) = read(lost);
        assert_eq!(decoded.unwrap_err().kind, FailureKind::Malformed, "{lost}");
        assert_eq!(seen.unwrap_err().kind, FailureKind::Malformed, "{lost}");
    }
    for lost in [r#"{"role":"assistant"}"#, r#"{"content":5}"#, r#"{"content":["a"]}"#, r#"{"content":{"text":"a"}}"#] {
        let (decoded, _) = read(&format!(r#"{{"index":0,"finish_reason":"stop","message":{lost}}}"#));
        assert_eq!(decoded.unwrap_err().kind, FailureKind::Malformed, "{lost}");
    }
    for empty in [r#"{"content":null}"#, r#"{"content":""}"#, r#"{"tool_calls":[]}"#, r#"{"content":[]}"#] {
        let (decoded, seen) = read(&format!(r#"{{"index":0,"finish_reason":"stop","message":{empty}}}"#));
        assert_eq!(decoded.unwrap().choices[0].content, [], "{empty}");
        assert!(seen.is_ok(), "{empty}");
    }
    // Azure's filter takes the message away.
    let (decoded, seen) = read(r#"{"index":0,"finish_reason":"content_filter","content_filter_results":{}}"#);
    assert_eq!(decoded.unwrap().choices[0].finish, FinishReason::ContentFilter);
    assert!(seen.is_ok());
}

#[test]
fn a_stream_of_two_answers_of_which_one_is_cut_is_cut() {
    let both = [
        r#"{"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}"#,
        r#"{"id":"c","choices":[{"index":1,"delta":{"content":"b"}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    ];
    let ends = |stream: String| {
        let (mut decoder, mut out) = (OpenAiChat.decode_stream(&Quirks::default()), Vec::new());
        decoder.chunk(stream.as_bytes(), &mut out).unwrap();
        decoder.end(&mut out).map_err(|failure| failure.kind)
    };
    assert_eq!(ends(events(&both)), Err(FailureKind::Truncated));
    assert_eq!(ends(events(&both) + "data: [DONE]\n\n"), Ok(()), "some end without a reason");
}

#[test]
fn openrouters_pieces_of_signed_thinking_go_back_as_one() {
    let stream = events(&[
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"reasoning":"Let","reasoning_details":[{"type":"reasoning.text","text":"Let","format":"anthropic-claude-v1","index":0}]}}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"reasoning":" me","reasoning_details":[{"type":"reasoning.text","text":" me","format":"anthropic-claude-v1","index":0}]}}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.text","signature":"Et8B","format":"anthropic-claude-v1","index":0}]}}]}"#,
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]);
    let mut decoder = OpenAiChat.decode_stream(&Quirks::default());
    let mut out = Vec::new();
    decoder.chunk(stream.as_bytes(), &mut out).unwrap();
    decoder.end(&mut out).unwrap();
    let signed = out.iter().find_map(|event| match event {
        ChatEvent::ReasoningSignature { signature, .. } => Some(signature.data.as_str()),
        _ => None,
    });
    let want =
        r#"{"type":"reasoning.text","text":"Let me","format":"anthropic-claude-v1","index":0,"signature":"Et8B"}"#;
    assert_eq!(signed, Some(want));
}

#[test]
fn what_a_router_or_a_provider_broke_off_is_no_answer() {
    let whole = |choice: &str| {
        let body = format!(r#"{{"id":"c","model":"m","choices":[{choice}]}}"#);
        OpenAiChat.decode_response(body.as_bytes(), &Quirks::default())
    };
    let routed = r#"{"index":0,"message":{"content":"ha"},"finish_reason":"error","error":{"code":502,"message":"upstream gone"}}"#;
    let failure = whole(routed).unwrap_err();
    assert_eq!(
        (failure.kind, failure.status, failure.message.as_str()),
        (FailureKind::Upstream, Some(502), "upstream gone")
    );
    for word in ["error", "insufficient_system_resource", "network_error"] {
        let failure =
            whole(&format!(r#"{{"index":0,"message":{{"content":"ha"}},"finish_reason":"{word}"}}"#)).unwrap_err();
        assert_eq!((failure.kind, failure.code.as_deref()), (FailureKind::Upstream, Some(word)));
    }
    let sensitive = whole(r#"{"index":0,"message":{"content":""},"finish_reason":"sensitive"}"#).unwrap();
    assert_eq!(sensitive.choices[0].finish, FinishReason::ContentFilter);
    // The same in a stream that passes: no good end.
    let stream = events(&[
        r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"ha"}}]}"#,
        &format!(
            r#"{{"id":"c","model":"m","choices":[{}]}}"#,
            routed.replace("message\":{\"content", "delta\":{\"content")
        ),
        "[DONE]",
    ]);
    let mut tap = OpenAiChat.tap(&Quirks::default(), Watching::default());
    let told = tap.chunk(Bytes::from(stream), &mut Vec::new()).unwrap_err();
    assert_eq!((told.kind, told.status), (FailureKind::Upstream, Some(502)));
}

#[test]
fn thinking_in_the_one_of_two_members_that_says_something() {
    let body = r#"{"id":"c","model":"m","choices":[{"index":0,"message":{"content":"hi","reasoning_content":"","reasoning":"hm"},"finish_reason":"stop"}]}"#;
    let answer = OpenAiChat.decode_response(body.as_bytes(), &Quirks::default()).unwrap();
    assert_eq!(answer.choices[0].content[0], Part::Reasoning { text: "hm".into(), signature: None });
}

#[test]
fn usage_that_some_tell_in_members_of_their_own() {
    let told = |usage: &str| {
        let body = format!(
            r#"{{"id":"c","model":"m","choices":[{{"index":0,"message":{{"content":"a"}},"finish_reason":"stop"}}],"usage":{usage}}}"#
        );
        OpenAiChat.decode_response(body.as_bytes(), &Quirks::default()).unwrap().usage.unwrap()
    };
    let parts = |usage: &str| told(usage).parts().collect::<Vec<_>>();
    use Bucket::{CacheRead, CacheWrite, CacheWrite1h, Input, Output, OutputImage, Reasoning, Search};
    // Perplexity's research: what it read and thought stands beside the totals.
    let research = r#"{"prompt_tokens":33,"completion_tokens":7163,"total_tokens":7196,"citation_tokens":20016,"num_search_queries":18,"reasoning_tokens":73997}"#;
    assert_eq!(parts(research), [(Input, 20049), (Output, 7163), (Reasoning, 73997), (Search, 18)]);
    // Within the completion, where the numbers allow it; beside it, where the sum says so.
    let within = r#"{"prompt_tokens":3,"completion_tokens":9,"total_tokens":12,"reasoning_tokens":4}"#;
    assert_eq!(parts(within), [(Input, 3), (Output, 5), (Reasoning, 4)]);
    let beside = r#"{"prompt_tokens":3,"completion_tokens":9,"total_tokens":16,"reasoning_tokens":4}"#;
    assert_eq!(parts(beside), [(Input, 3), (Output, 9), (Reasoning, 4)]);
    let hidden = r#"{"prompt_tokens":3,"completion_tokens":9,"total_tokens":16,"reasoning_tokens":0}"#;
    assert_eq!(parts(hidden), [(Input, 3), (Output, 9), (Reasoning, 4)]);
    // Mistral's older name; Alibaba's, LiteLLM's and relays' of Claude for what is written to the cache.
    assert_eq!(
        parts(r#"{"prompt_tokens":9,"completion_tokens":1,"num_cached_tokens":4}"#),
        [(Input, 5), (CacheRead, 4), (Output, 1)]
    );
    let alibaba = r#"{"prompt_tokens":20,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":0,"cache_creation_input_tokens":16,"cache_creation":{"ephemeral_5m_input_tokens":16}}}"#;
    assert_eq!(parts(alibaba), [(Input, 4), (CacheWrite, 16), (Output, 1)]);
    let litellm = r#"{"prompt_tokens":20,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":3,"cache_creation_tokens":12},"cache_creation_input_tokens":12,"cache_read_input_tokens":3}"#;
    assert_eq!(parts(litellm), [(Input, 5), (CacheRead, 3), (CacheWrite, 12), (Output, 1)]);
    let relayed = r#"{"prompt_tokens":20,"completion_tokens":1,"cache_creation_input_tokens":12,"cache_creation":{"ephemeral_5m_input_tokens":4,"ephemeral_1h_input_tokens":8}}"#;
    assert_eq!(parts(relayed), [(Input, 8), (CacheWrite, 4), (CacheWrite1h, 8), (Output, 1)]);
    // A router's images and searches.
    let routed = r#"{"prompt_tokens":5,"completion_tokens":1300,"completion_tokens_details":{"reasoning_tokens":0,"image_tokens":1290},"server_tool_use_details":{"web_search_requests":3}}"#;
    assert_eq!(parts(routed), [(Input, 5), (Output, 10), (OutputImage, 1290), (Search, 3)]);
    assert_eq!(
        parts(r#"{"prompt_tokens":5,"completion_tokens":1,"cache_creation":0,"server_tool_use_details":[]}"#),
        [(Input, 5), (Output, 1)],
        "what has another form spoils nothing"
    );
}

#[test]
fn decoration_of_another_form_breaks_no_answer() {
    let choice = r#""choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop""#;
    for odd in [
        r#"}],"usage":7"#,
        r#"}],"usage":{"prompt_tokens":1,"prompt_tokens_details":[]}"#,
        r#"}],"created":"2026-01-01""#,
        r#"}],"service_tier":{"a":1}"#,
        r#"}],"x_groq":"a""#,
        r#"}],"error":"""#,
        r#"}],"error":{}"#,
        r#"}],"error":{"code":0,"message":"","type":""}"#,
        r#"}],"error":false"#,
        r#","logprobs":[-0.1]}]"#,
        r#","logprobs":{"content":[{"token":"hi","logprob":null}]}}]"#,
        r#","error":{"message":""}}]"#,
    ] {
        let body = format!(r#"{{"id":"c","model":"m",{choice}{odd}}}"#);
        let quirks = Quirks::default();
        assert!(OpenAiChat.observe_response(body.as_bytes(), &quirks).is_ok(), "{body}");
        let answer = OpenAiChat.decode_response(body.as_bytes(), &quirks).unwrap_or_else(|e| panic!("{body}: {e:?}"));
        assert_eq!(answer.choices[0].content, [Part::Text("hi".into())], "{body}");
        let event = events(&[&body.replace("\"message\":{", "\"delta\":{"), "[DONE]"]);
        assert_eq!(hear(&event, &quirks).text, "hi", "{body}");
        let mut tap = OpenAiChat.tap(&quirks, Watching::default());
        let passed = tap.chunk(Bytes::from(event), &mut Vec::new()).and_then(|()| tap.end(&mut Vec::new()));
        assert!(passed.is_ok(), "{body}: {passed:?}");
    }
    let told = r#"{"id":"c","model":"m","choices":[],"error":{"code":502,"message":""}}"#;
    assert!(OpenAiChat.observe_response(told.as_bytes(), &Quirks::default()).is_err(), "a code is a word");
}

#[test]
fn calls_that_all_have_the_same_number_are_told_apart_by_their_ids() {
    let piece = |id: &str, name: &str, arguments: &str| {
        let call =
            json!([{"index": 0, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]);
        json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"tool_calls": call}}]}).to_string()
    };
    let end = r#"{"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#;
    let calls = |pieces: &[String]| {
        let mut all: Vec<&str> = pieces.iter().map(String::as_str).collect();
        all.extend([end, "[DONE]"]);
        hear(&events(&all), &Quirks::default()).calls
    };
    let call = |id: &str, name: &str, arguments: &str| (id.to_owned(), name.to_owned(), arguments.to_owned());
    let two = [piece("a", "f", r#"{"x":1}"#), piece("b", "f", r#"{"x":2}"#)];
    assert_eq!(calls(&two), [call("a", "f", r#"{"x":1}"#), call("b", "f", r#"{"x":2}"#)]);
    // One call whose every piece has an id of its own.
    let one = [piece("a", "f", r#"{"x""#), piece("b", "f", ":1}")];
    assert_eq!(calls(&one), [call("a", "f", r#"{"x":1}"#)]);
    // Its id comes late.
    let late = [piece("", "f", r#"{"x":1}"#), piece("b", "f", "")];
    assert_eq!(calls(&late).len(), 1);
}

#[test]
fn images_among_the_parts_of_an_answer_are_shown() {
    let body = r#"{"id":"c","model":"m","choices":[{"index":0,"message":{"content":[{"type":"text","text":"here"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},"finish_reason":"stop"}]}"#;
    let answer = OpenAiChat.decode_response(body.as_bytes(), &Quirks::default()).unwrap();
    assert!(matches!(answer.choices[0].content.as_slice(), [Part::Text(_), Part::Image(_)]), "{answer:?}");
}

/// A conversation whose second turn is that answer, as it is told to a provider with these quirks, and what is listed.
fn goes_on(answer: &ChatResponse, quirks: &Quirks) -> (Value, Vec<String>) {
    let choice = &answer.choices[0];
    let mut said = Message::new(Role::Assistant, choice.content.clone());
    said.tool_calls.clone_from(&choice.tool_calls);
    let asked = Message::new(Role::User, vec![Part::Text("hello".into())]);
    let request = ChatRequest { model: "m".into(), messages: vec![asked, said], ..ChatRequest::default() };
    let to = Destination { model: "m", default_max_output: 100, max_output: None, quirks };
    let (body, loss) = OpenAiChat.encode_request(&request, &to).unwrap();
    (serde_json::from_slice::<Value>(&body).unwrap()["messages"][1].clone(), loss.advisory)
}

#[test]
fn what_googles_compatible_path_signs_goes_back_to_its_place() {
    let body = r#"{"id":"c","model":"m","choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant","extra_content":{"google":{"thought_signature":"m"}},"tool_calls":[
        {"id":"a","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"s"}}},
        {"id":"b","type":"function","function":{"name":"f","arguments":"{}"}}]}}]}"#;
    let answer = OpenAiChat.decode_response(body.as_bytes(), &Quirks::default()).unwrap();
    let (turn, listed) = goes_on(&answer, &Quirks::default());
    assert_eq!(turn["tool_calls"][0]["extra_content"], json!({"google": {"thought_signature": "s"}}));
    assert_eq!(turn["extra_content"], json!({"google": {"thought_signature": "m"}}));
    assert!(turn["tool_calls"][1].get("extra_content").is_none() && turn.get("reasoning_details").is_none(), "{turn}");
    assert!(listed.is_empty(), "{listed:?}");
    let refuses = Quirks { drop: vec!["messages.tool_calls.extra_content".to_owned()], ..Quirks::default() };
    let (turn, listed) = goes_on(&answer, &refuses);
    assert!(!turn.to_string().contains("extra_content"), "{turn}");
    assert_eq!(listed.len(), 1, "{listed:?}");
}

#[test]
fn encrypted_details_go_where_they_are_taken_and_are_listed_elsewhere() {
    let body = r#"{"id":"c","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"content":"hi","reasoning_details":[{"type":"reasoning.encrypted","data":"gAAA","index":0}]}}]}"#;
    let answer = OpenAiChat.decode_response(body.as_bytes(), &Quirks::default()).unwrap();
    let takes = Quirks { reasoning_member: Some("reasoning".to_owned()), ..Quirks::default() };
    let (turn, listed) = goes_on(&answer, &takes);
    assert_eq!(turn["reasoning_details"], json!([{"type": "reasoning.encrypted", "data": "gAAA", "index": 0}]));
    assert!(listed.is_empty(), "{listed:?}");
    let (turn, listed) = goes_on(&answer, &Quirks::default());
    assert_eq!((turn.get("reasoning_details"), listed.len()), (None, 1), "{listed:?}");
}
