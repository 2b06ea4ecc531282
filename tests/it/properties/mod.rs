//! What holds for any answer, any request and any bytes, in every dialect. `PROPTEST_CASES` says how many are tried.

#[path = "../../../fuzz/drive.rs"]
pub(crate) mod drive;
mod generate;

use std::path::Path;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use serde_json::{Value, json};
use stellwerk::dialect::{self, Destination, Quirks};
use stellwerk::domain::chat::{ChatEvent, ChatResponse, FinishReason, Part};
use stellwerk::domain::collect::Collector;
use stellwerk::domain::id::DialectId;
use stellwerk::domain::usage::Bucket;

use crate::recorded::requests::same_told;

/// The dialects that are spoken on both sides: what one half writes, the other reads.
const BOTH: [DialectId; 4] =
    [DialectId::OpenAiChat, DialectId::OpenAiResponses, DialectId::Anthropic, DialectId::Gemini];

/// What every dialect can say of an answer.
#[derive(Debug, PartialEq)]
struct Said {
    text: String,
    thinking: String,
    calls: Vec<(String, String, Value)>,
    finish: FinishReason,
    tokens: Option<[u64; 4]>,
}

fn said(answer: &ChatResponse) -> Said {
    let choice = &answer.choices[0];
    let mut said = Said {
        text: String::new(),
        thinking: String::new(),
        calls: Vec::new(),
        finish: choice.finish,
        tokens: answer.usage.map(|usage| {
            let (cached, thought) = (usage.get(Bucket::CacheRead), usage.get(Bucket::Reasoning));
            [usage.input_tokens(), usage.output_tokens(), cached, thought]
        }),
    };
    for part in &choice.content {
        match part {
            Part::Text(text) => said.text.push_str(text),
            Part::Reasoning { text, .. } => said.thinking.push_str(text),
            other => panic!("nobody said {other:?}"),
        }
    }
    for call in &choice.tool_calls {
        let arguments = serde_json::from_str(&call.arguments).unwrap();
        said.calls.push((call.id.clone(), call.name.clone(), arguments));
    }
    said
}

fn written_whole(client: DialectId, answer: &ChatResponse) -> Bytes {
    dialect::ingress(client).unwrap().encode_response(answer, &drive::rendering(false))
}

fn written_stream(client: DialectId, events: &[ChatEvent], array: bool) -> Vec<u8> {
    let mut encoder = dialect::ingress(client).unwrap().encode_stream(drive::rendering(array));
    let mut out = BytesMut::new();
    events.iter().for_each(|event| encoder.event(event, &mut out));
    out.to_vec()
}

fn read_stream(provider: DialectId, body: &[u8], piece: usize) -> (ChatResponse, Vec<ChatEvent>) {
    let (events, result, _) = drive::decoded(dialect::egress(provider).unwrap(), body, piece, &Quirks::default());
    assert_eq!(result, Ok(()), "{}: {}", provider.name(), String::from_utf8_lossy(body));
    let mut collector = Collector::default();
    events.iter().for_each(|event| collector.take(event.clone()).unwrap());
    (collector.finish().unwrap(), events)
}

proptest! {
    /// A whole answer and a stream say the same in every dialect, in any pieces, and after a way through two of them.
    #[test]
    fn an_answer_is_the_same_whole_or_streamed_in_any_pieces_through_every_pair(
        (answer, events) in generate::answer(),
        piece in 1..40_usize,
        array: bool,
    ) {
        let want = said(&answer);
        for first in BOTH {
            let transcode = dialect::egress(first).unwrap().transcode();
            let whole = transcode.decode_response(&written_whole(first, &answer), &Quirks::default()).unwrap();
            prop_assert_eq!(&said(&whole), &want, "{}", first.name());
            let bytes = written_stream(first, &events, array);
            let (streamed, read) = read_stream(first, &bytes, piece);
            prop_assert_eq!(&said(&streamed), &want, "{}", first.name());
            prop_assert_eq!(&read_stream(first, &bytes, bytes.len()).1, &read, "{}", first.name());
            for second in BOTH {
                let transcode = dialect::egress(second).unwrap().transcode();
                let through = transcode.decode_response(&written_whole(second, &whole), &Quirks::default()).unwrap();
                prop_assert_eq!(&said(&through), &want, "{} then {}", first.name(), second.name());
                let (through, _) = read_stream(second, &written_stream(second, &read, false), piece);
                prop_assert_eq!(&said(&through), &want, "{} then {}", first.name(), second.name());
            }
        }
    }

    /// What a provider dialect says without loss, a client of that dialect would have meant.
    #[test]
    fn a_request_that_loses_nothing_reads_the_same(request in generate::request()) {
        let quirks = Quirks::default();
        let to = Destination { model: "m", default_max_output: 100, max_output: None, quirks: &quirks };
        for dialect in BOTH {
            let (wire, loss) = dialect::egress(dialect).unwrap().transcode().encode_request(&request, &to).unwrap();
            prop_assert!(loss.semantic.is_empty(), "{}: {:?}", dialect.name(), loss);
            let same = same_told(&request, dialect, &wire);
            prop_assert!(same.is_ok(), "{}: {:?}", dialect.name(), same);
        }
    }

    /// The parts of a usage report add up to its totals, whatever a provider reports.
    #[test]
    fn usage_is_disjoint_and_adds_up(
        prompt in 0..1_000_000_u64, cached in 0..1_500_000_u64, answer in 0..1_000_000_u64, thought in 0..1_500_000_u64,
    ) {
        let chat = json!({"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": answer,
                "prompt_tokens_details": {"cached_tokens": cached}, "completion_tokens_details": {"reasoning_tokens": thought}}});
        let responses = json!({"id": "r", "status": "completed", "model": "m", "output": [],
            "usage": {"input_tokens": prompt, "output_tokens": answer,
                "input_tokens_details": {"cached_tokens": cached}, "output_tokens_details": {"reasoning_tokens": thought}}});
        for (dialect, body) in [(DialectId::OpenAiChat, chat), (DialectId::OpenAiResponses, responses)] {
            let transcode = dialect::egress(dialect).unwrap().transcode();
            let usage = transcode.decode_response(body.to_string().as_bytes(), &Quirks::default()).unwrap().usage.unwrap();
            prop_assert_eq!((usage.input_tokens(), usage.output_tokens()), (prompt, answer), "{}", dialect.name());
            prop_assert_eq!(usage.get(Bucket::CacheRead), cached.min(prompt));
            prop_assert_eq!(usage.get(Bucket::Reasoning), thought.min(answer));
        }
        let anthropic = json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [],
            "stop_reason": "end_turn", "usage": {"input_tokens": prompt, "cache_read_input_tokens": cached, "output_tokens": answer}});
        let transcode = dialect::egress(DialectId::Anthropic).unwrap().transcode();
        let usage = transcode.decode_response(anthropic.to_string().as_bytes(), &Quirks::default()).unwrap().usage.unwrap();
        prop_assert_eq!((usage.input_tokens(), usage.output_tokens()), (prompt + cached, answer));
    }

    #[test]
    fn no_decoder_panics_on_any_bytes(data in prop::collection::vec(any::<u8>(), 0..400)) {
        drive::request(&data);
        drive::answer(&data);
        drive::error(&data);
        drive::stream(&data);
    }

    /// Bytes that are almost right get further than noise.
    #[test]
    fn no_decoder_panics_on_what_is_almost_right(
        pick in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let kept = kept();
        let (kind, data) = &kept[pick.index(kept.len())];
        let mut data = data.clone();
        for (at, byte, how) in changes {
            let at = at.index(data.len().max(1));
            match how {
                0 if at < data.len() => data[at] = byte,
                1 => data.truncate(at),
                _ => data.insert(at.min(data.len()), byte),
            }
        }
        run(kind, &data);
    }
}

/// The kept inputs of the fuzz targets: target and bytes.
fn kept() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut kept = Vec::new();
    for target in ["answer", "error", "request", "stream"] {
        let mut files: Vec<_> =
            std::fs::read_dir(dir.join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        kept.extend(files.into_iter().map(|file| (target.to_owned(), std::fs::read(file).unwrap())));
    }
    kept
}

fn run(target: &str, data: &[u8]) {
    match target {
        "answer" => drive::answer(data),
        "error" => drive::error(data),
        "request" => drive::request(data),
        _ => drive::stream(data),
    }
}

#[test]
fn kept_inputs_of_the_fuzz_targets() {
    let kept = kept();
    assert!(kept.len() > 40, "{}", kept.len());
    kept.iter().for_each(|(target, data)| run(target, data));
}
