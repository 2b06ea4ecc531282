//! Streams: lines in any cut, ends good and bad.

use proptest::prelude::*;

use super::*;
use crate::domain::chat::{FinishReason, Part};
use crate::domain::error::FailureKind;

fn line(rest: &str) -> String {
    format!("{{\"model\":\"m\",\"created_at\":\"2026-08-04T19:59:29.1Z\",{rest}}}\n")
}

const DONE: &str = r#""message":{"role":"assistant","content":"!"},"done":true,"done_reason":"stop","prompt_eval_count":5,"eval_count":3"#;

/// Thinking, text and two calls alike, without ids.
fn rich() -> String {
    let call = r#"{"function":{"name":"f","arguments":{"x": 1}}}"#;
    [
        line(r#""message":{"role":"assistant","content":"","thinking":"Hm"},"done":false"#),
        line(r#""message":{"role":"assistant","content":"","thinking":"m"},"done":false"#),
        line(r#""message":{"role":"assistant","content":"Gr\u00f6ße 🐌"},"done":false"#),
        line(&format!(r#""message":{{"role":"assistant","content":"","tool_calls":[{call}]}},"done":false"#)),
        line(&format!(r#""message":{{"role":"assistant","content":"","tool_calls":[{call}]}},"done":false"#)),
        line(r#""logprobs":[{"token":"!","logprob":-1}],"done":false"#),
        line(DONE),
    ]
    .concat()
}

#[test]
fn a_stream_with_everything() {
    let body = rich();
    let (events, result, observed) = decode_stream([body.as_bytes()]);
    assert_eq!(result, Ok(()));
    let answer = assemble(&events);
    let choice = &answer.choices[0];
    let thought = Part::Reasoning { text: "Hmm".into(), signature: None };
    assert_eq!(choice.content, [thought, Part::Text("Größe 🐌!".into())]);
    let [first, second] = &choice.tool_calls[..] else { panic!("{:?}", choice.tool_calls) };
    assert_eq!((&*first.name, &*first.arguments, &*second.arguments), ("f", "{\"x\": 1}", "{\"x\": 1}"));
    assert!(!first.id.is_empty() && first.id != second.id);
    assert_eq!((choice.finish, choice.logprobs.len()), (FinishReason::ToolCalls, 1));
    assert_eq!((observed.usage, observed.model.as_deref()), (answer.usage, Some("m")));
    assert!(answer.usage.is_some() && observed.began && observed.finished && observed.ended);
    assert_eq!(observed.output_bytes, "HmmGröße 🐌!{\"x\": 1}{\"x\": 1}".len() as u64);
}

#[test]
fn a_stream_that_stops_early_is_truncated() {
    let body = rich();
    let last = body.trim_end().rfind('\n').unwrap() + 1;
    for cut in [0, 10, last, last + 50] {
        let (events, result, observed) = decode_stream([&body.as_bytes()[..cut]]);
        assert_eq!(result.unwrap_err().kind, FailureKind::Truncated, "{cut}");
        assert!(!observed.finished && !events.contains(&ChatEvent::End));
    }
    // The last line may lack its end, and what follows it says nothing.
    assert_eq!(decode_stream([body.trim_end().as_bytes()]).1, Ok(()));
    let more = body.clone() + &line(r#""message":{"content":"late"},"done":false"#);
    assert_eq!(decode_stream([more.as_bytes()]).0, decode_stream([body.as_bytes()]).0);
}

#[test]
fn errors_inside_a_stream() {
    let text = line(r#""message":{"content":"Hi"},"done":false"#);
    let broken = text.clone() + "{\"error\":\"an error was encountered while running the model\"}\n" + &line(DONE);
    let (events, result, observed) = decode_stream([broken.as_bytes()]);
    let failure = result.unwrap_err();
    assert_eq!(
        (failure.kind, &*failure.message),
        (FailureKind::Upstream, "an error was encountered while running the model")
    );
    assert_eq!(events.len(), 2, "nothing follows it");
    assert!(observed.began && !observed.finished);
    let first = decode_stream([&b"{\"error\":\"prompt too long\"}\n"[..]]);
    assert!(first.0.is_empty() && !first.2.began);
    assert_eq!(first.1.unwrap_err().code.as_deref(), Some("context_length_exceeded"));
    let garbage = text + "<html>\n";
    assert_eq!(decode_stream([garbage.as_bytes()]).1.unwrap_err().kind, FailureKind::Malformed);
}

#[test]
fn a_line_without_end_is_refused() {
    let mut decoder = Ollama.decode_stream(quirks());
    let mut events = Vec::new();
    let piece = vec![b'x'; 1 << 20];
    let failure = (0..20).find_map(|_| decoder.chunk(&piece, &mut events).err()).unwrap();
    assert_eq!(failure.kind, FailureKind::Malformed);
    assert_eq!(decoder.end(&mut events), Err(failure));
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
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..1200) {
        let mut bytes = rich().into_bytes();
        let at = cut.min(bytes.len());
        bytes.splice(at..at, body);
        let _ = decode_stream([&bytes[..]]);
        let _ = Ollama.decode_response(&bytes, quirks());
        let _ = Ollama.decode_error(400, &bytes);
    }
}
