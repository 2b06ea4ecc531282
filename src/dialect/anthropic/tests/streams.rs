//! Tests of streams: goldens, the tap, and properties under any cut.

use proptest::prelude::*;

use super::*;
use crate::domain::error::FailureKind;
use crate::domain::usage::Bucket;

fn frames(data: &[&str]) -> String {
    data.iter().map(|d| format!("event: x\ndata: {d}\n\n")).collect()
}

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"usage":{"input_tokens":10,"cache_read_input_tokens":4,"output_tokens":3}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;
const END: &str =
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":12}}"#;

/// Thinking, text, a call with and one without arguments, a tool of the server's, and all the noise.
fn rich() -> String {
    let end = r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"input_tokens":11,"output_tokens":12,"output_tokens_details":{"thinking_tokens":5}}}"#;
    frames(&[
        START,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"let me"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":" see"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"ZA=="}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"text","text":"","citations":null}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"Caf\u00e9 \ud83d\udc0c"}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"a":1}}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"u","title":"t","cited_text":"q"}}}"#,
        r#"{"type":"content_block_stop","index":2}"#,
        r#"{"type":"content_block_start","index":3,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}"#,
        r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"query\":1}"}}"#,
        r#"{"type":"content_block_stop","index":3}"#,
        r#"{"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"t1","name":"f","input":{}}}"#,
        r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#,
        r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
        r#"{"type":"content_block_stop","index":4}"#,
        r#"{"type":"content_block_start","index":5,"content_block":{"type":"tool_use","id":"t2","name":"g","input":{}}}"#,
        r#"{"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_stop","index":5}"#,
        end,
        STOP,
    ])
}

#[test]
fn a_stream_with_everything_equals_the_whole_answer() {
    let body = rich();
    let (events, result, observed) = decode_stream([body.as_bytes()]);
    assert_eq!(result, Ok(()));
    let whole = concat!(
        r#"{"id":"msg_1","model":"claude-x","stop_reason":"tool_use","content":[{"type":"thinking","thinking":"let me see","signature":"c2ln"},"#,
        r#"{"type":"redacted_thinking","data":"ZA=="},{"type":"text","text":"Café 🐌","citations":[{"url":"u","title":"t","cited_text":"q"}]},"#,
        r#"{"type":"tool_use","id":"t1","name":"f","input":{"a":1}},{"type":"tool_use","id":"t2","name":"g","input":{}}],"#,
        r#""usage":{"input_tokens":11,"cache_read_input_tokens":4,"output_tokens":12,"output_tokens_details":{"thinking_tokens":5}}}"#,
    );
    let whole = Anthropic.decode_response(whole.as_bytes(), quirks()).unwrap();
    assert_eq!(assemble(&events), whole);
    assert_eq!(whole.choices[0].citations[0].span, Some((0, 6)), "the stretch of its block");
    assert_eq!(observed.usage, whole.usage);
    assert!(observed.began && observed.finished);
    assert_eq!(observed.output_bytes, "let me seeCafé 🐌{\"query\":1}{\"a\":1}{}".len() as u64);
    let prompt = observed.prompt.unwrap();
    assert_eq!(prompt.parts().collect::<Vec<_>>(), [(Bucket::Input, 10), (Bucket::CacheRead, 4)]);
}

#[test]
fn arguments_given_at_the_opening_count_only_without_deltas() {
    let call = |deltas: &[&str]| {
        let open = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{"x":1}}}"#;
        let mut data = vec![START, open];
        data.extend(deltas);
        data.extend([END, STOP]);
        let body = frames(&data);
        assemble(&decode_stream([body.as_bytes()]).0).choices[0].tool_calls[0].arguments.clone()
    };
    assert_eq!(call(&[]), "{\"x\":1}");
    let delta =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"y\":2}"}}"#;
    assert_eq!(call(&[delta]), "{\"y\":2}");
}

#[test]
fn usage_is_replaced_member_by_member() {
    let delta = |usage: &str| format!(r#"{{"type":"message_delta","delta":{{}},"usage":{usage}}}"#);
    let first = delta(r#"{"output_tokens":5}"#);
    let second = delta(r#"{"output_tokens":9,"input_tokens":30,"cache_creation_input_tokens":null}"#);
    let body = frames(&[START, &first, &second, END, STOP]);
    let usage = decode_stream([body.as_bytes()]).2.usage.unwrap();
    let want = [(Bucket::Input, 30), (Bucket::CacheRead, 4), (Bucket::Output, 12)];
    assert_eq!(usage.parts().collect::<Vec<_>>(), want);
}

#[test]
fn the_placeholder_of_the_start_is_no_usage() {
    let body =
        frames(&[START, r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello"}}"#]);
    let (_, result, observed) = decode_stream([body.as_bytes()]);
    assert_eq!(result.unwrap_err().kind, FailureKind::Truncated);
    assert_eq!((observed.usage, observed.output_bytes, observed.finished), (None, 5, false));
    assert_eq!(observed.prompt.unwrap().output_tokens(), 0);
}

#[test]
fn good_and_bad_ends() {
    let kind = |data: &[&str], tail: &str| {
        let body = frames(data) + tail;
        decode_stream([body.as_bytes()]).1.err().map(|f| f.kind)
    };
    assert_eq!(kind(&[START, END, STOP], ""), None);
    assert_eq!(kind(&[START, END], ""), None, "a stop reason is an end");
    assert_eq!(kind(&[START, STOP], ""), None, "an empty answer is legal");
    assert_eq!(kind(&[START, END], "data: {\"type\":\"message_stop\"}"), None);
    assert_eq!(kind(&[START, END, STOP], "data: [DONE]\n\n"), None);
    assert_eq!(kind(&[], ""), Some(FailureKind::Truncated));
    assert_eq!(kind(&[START], ""), Some(FailureKind::Truncated));
    assert_eq!(kind(&[START], "data: {\"type\":\"content_blo"), Some(FailureKind::Truncated));
    assert_eq!(kind(&[START, "{\"type\":"], ""), Some(FailureKind::Malformed));
    assert_eq!(kind(&[], "<html>\n\n"), Some(FailureKind::Truncated));
}

#[test]
fn error_events() {
    let error = r#"{"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded"}}"#;
    let text = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}"#;
    let body = frames(&[START, text, error, text, STOP]);
    let (events, result, observed) = decode_stream(body.as_bytes().chunks(7));
    let failure = result.unwrap_err();
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Upstream, "Overloaded"));
    assert_eq!(events.len(), 2, "what came before it stands, what comes after does not");
    assert!(observed.began && !observed.finished);
    let at_once = frames(&[error]);
    assert!(!decode_stream([at_once.as_bytes()]).2.began);
}

#[test]
fn a_stream_spliced_from_two_answers_ends_once() {
    let text = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#;
    let other = START.replace("msg_1", "msg_2");
    let body = frames(&[START, text, &other, text, END, STOP, text, STOP]);
    let answer = assemble(&decode_stream([body.as_bytes()]).0);
    assert_eq!((answer.id.as_str(), text_of(&answer).as_str()), ("msg_1", "aa"));
    assert_eq!(answer.usage.unwrap().output_tokens(), 12);
}

#[test]
fn a_client_of_the_other_dialect_reads_it() {
    let call = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#;
    let text = r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"hi"}}"#;
    let body = frames(&[
        START,
        text,
        call,
        r#"{"type":"content_block_stop","index":0}"#,
        &END.replace("end_turn", "tool_use"),
        STOP,
    ]);
    let client = crate::dialect::ingress(crate::domain::id::DialectId::OpenAiChat).unwrap();
    let rendering = crate::dialect::Rendering { created: 1, ..crate::dialect::Rendering::example("alias", true) };
    let mut encoder = client.encode_stream(rendering);
    let mut out = bytes::BytesMut::new();
    decode_stream([body.as_bytes()]).0.iter().for_each(|event| encoder.event(event, &mut out));
    let out = String::from_utf8(out.to_vec()).unwrap();
    let head = r#"data: {"id":"msg_1","object":"chat.completion.chunk","created":1,"model":"alias","choices":["#;
    let chunks: Vec<&str> = out.split("\n\n").map(|chunk| chunk.strip_prefix(head).unwrap_or(chunk)).collect();
    let want = [
        r#"{"index":0,"delta":{"role":"assistant","content":"hi"},"finish_reason":null}]}"#,
        r#"{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null}]}"#,
        r#"{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]},"finish_reason":null}]}"#,
        r#"{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
        r#"],"usage":{"prompt_tokens":14,"completion_tokens":12,"total_tokens":26,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}}}"#,
        "data: [DONE]",
        "",
    ];
    assert_eq!(chunks, want);
}

fn tap<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Bytes>, Result<(), Failure>, Observed) {
    let mut tap = Anthropic.tap(quirks(), Watching { hide_usage: true, ..Watching::default() });
    let mut out = Vec::new();
    let mut result = Ok(());
    for chunk in chunks {
        result = tap.chunk(Bytes::copy_from_slice(chunk), &mut out);
        if result.is_err() {
            break;
        }
    }
    if result.is_ok() {
        result = tap.end(&mut out);
    }
    (out, result, tap.observed().clone())
}

#[test]
fn the_tap_passes_every_byte_and_learns_the_same() {
    let body = rich();
    for size in [1, 7, 100, body.len()] {
        let (out, result, observed) = tap(body.as_bytes().chunks(size));
        assert_eq!(result, Ok(()));
        assert_eq!(out.concat(), body.as_bytes());
        let decoded = decode_stream([body.as_bytes()]).2;
        assert_eq!((observed.usage, observed.prompt), (decoded.usage, decoded.prompt));
        assert_eq!((&observed.model, observed.began, observed.finished), (&decoded.model, true, true));
        assert!(observed.output_bytes >= decoded.output_bytes - 2);
    }
    let (out, _, _) = tap([body.as_bytes()]);
    assert_eq!(out.len(), 1, "a chunk of whole frames stays one");
}

#[test]
fn the_tap_stops_before_an_error_and_never_inside_a_frame() {
    let good = frames(&[START]);
    let error = frames(&[r#"{"type":"error","error":{"type":"api_error","message":"no"}}"#]);
    let body = good.clone() + &error;
    for size in [1, 9, body.len()] {
        let (out, result, _) = tap(body.as_bytes().chunks(size));
        assert_eq!(result.unwrap_err().kind, FailureKind::Upstream);
        assert_eq!(out.concat(), good.as_bytes());
    }
    let cut = good.clone() + "event: content_block_del";
    let (out, result, _) = tap(cut.as_bytes().chunks(11));
    assert_eq!(result.unwrap_err().kind, FailureKind::Truncated);
    assert_eq!(out.concat(), good.as_bytes());
}

#[test]
fn signs_of_life_pass_the_tap_at_once() {
    let mut tap = Anthropic.tap(quirks(), Watching { hide_usage: false, ..Watching::default() });
    let mut out = Vec::new();
    tap.chunk(Bytes::from_static(b": ping\n"), &mut out).unwrap();
    assert_eq!(out.concat(), b": ping\n");
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_events(cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20), crlf: bool) {
        let body = if crlf { rich().replace('\n', "\r\n") } else { rich() };
        let mut at: Vec<usize> = cuts.iter().map(|c| c.index(body.len() + 1)).collect();
        at.extend([0, body.len()]);
        at.sort_unstable();
        let pieces = || at.windows(2).map(|w| &body.as_bytes()[w[0]..w[1]]);
        let (events, result, observed) = decode_stream(pieces());
        let (whole, _, seen) = decode_stream([body.as_bytes()]);
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(events, whole);
        prop_assert_eq!(format!("{observed:?}"), format!("{seen:?}"));
        prop_assert_eq!(tap(pieces()).0.concat(), body.as_bytes());
    }

    #[test]
    fn a_cut_stream_is_never_a_good_one(at in any::<prop::sample::Index>()) {
        let body = rich();
        let end = body.find("message_delta").unwrap();
        let (_, result, _) = decode_stream([&body.as_bytes()[..at.index(end)]]);
        prop_assert_eq!(result.unwrap_err().kind, FailureKind::Truncated);
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)) {
        let mut body = rich().into_bytes();
        for (at, byte) in flips {
            let at = at.index(body.len());
            body[at] = byte;
        }
        for body in [&body, &bytes] {
            let _ = decode_stream(body.chunks(13));
            let _ = tap(body.chunks(13));
            let _ = Anthropic.decode_response(body, quirks());
            let _ = Anthropic.observe_response(body, quirks());
            let _ = Anthropic.decode_error(400, body);
        }
    }
}
