//! Recorded exchanges, where they are at hand: every answer is decoded and compared with an independent reading, every
//! request is decoded and written again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use super::*;
use crate::domain::chat::FinishReason;
use crate::domain::usage::Bucket;

#[derive(Deserialize)]
struct Exchange {
    id: String,
    api: String,
    status: u16,
    wire_format: String,
    request: Asked,
    response: Recorded,
}

#[derive(Deserialize)]
struct Asked {
    body: Option<Box<serde_json::value::RawValue>>,
}

#[derive(Deserialize)]
struct Recorded {
    body_text: String,
}

#[derive(Debug, Deserialize)]
struct Digest {
    id: String,
    text: String,
    reasoning: String,
    refusal: String,
    tool_calls: Vec<DigestCall>,
    finish: Option<String>,
    usage: Option<DigestUsage>,
    error: Option<DigestError>,
    signatures: usize,
    terminated: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct DigestCall {
    id: Option<String>,
    name: String,
    args: serde_json::Value,
}

#[derive(Debug, Deserialize)]
struct DigestUsage {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: u64,
    cache_write: u64,
    reasoning: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct DigestError {
    message: Option<String>,
}

fn corpus() -> PathBuf {
    std::env::var_os("STELLWERK_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from)
        .join("corpus")
}

fn load() -> Option<Vec<(Exchange, Digest)>> {
    let dir = corpus();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    files.sort();
    let text: String = files.iter().map(std::fs::read_to_string).collect::<Result<_, _>>().ok()?;
    let mut oracle = Command::new("python3");
    oracle.arg(dir.join("replay.py")).arg("digest").arg("--corpus").args(&files).arg("--all");
    let readings = oracle.output().ok().filter(|o| o.status.success())?;
    let readings = String::from_utf8(readings.stdout).unwrap();
    let mut readings: BTreeMap<String, Digest> =
        readings.lines().filter_map(|l| serde_json::from_str::<Digest>(l).ok()).map(|d| (d.id.clone(), d)).collect();
    let exchanges = text.lines().filter_map(|l| serde_json::from_str::<Exchange>(l).ok());
    let ours = exchanges.filter(|x| x.api == "responses");
    Some(ours.filter_map(|x| readings.remove(&x.id).map(|d| (x, d))).collect())
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

fn compare(id: &str, answer: &ChatResponse, want: &Digest) {
    let empty = crate::domain::chat::Choice::new(0);
    let choice = answer.choices.first().unwrap_or(&empty);
    assert_eq!(text_of(answer), want.text, "{id}");
    let (mut reasoning, mut refusal, mut signatures) = (String::new(), String::new(), 0);
    for part in &choice.content {
        match part {
            Part::Reasoning { text, signature } => {
                reasoning.push_str(text);
                signatures += usize::from(signature.is_some());
            }
            Part::Refusal(text) => refusal.push_str(text),
            _ => {}
        }
    }
    assert_eq!((refusal.as_str(), signatures), (want.refusal.as_str(), want.signatures), "{id}");
    let (got, told) = (squeezed(&reasoning), squeezed(&want.reasoning));
    // Where a provider says its thinking twice, as it is and as a summary, it is read once.
    assert!(got == told || told.len() > got.len() && told.ends_with(&got), "{id}: {got} / {told}");
    let finish = match choice.finish {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "filter",
    };
    let functions: Vec<_> = choice.tool_calls.iter().filter(|call| !call.custom).collect();
    // The independent reading knows no custom tools.
    if functions.len() == choice.tool_calls.len() {
        assert_eq!(Some(finish), want.finish.as_deref(), "{id}");
    }
    assert_eq!(functions.len(), want.tool_calls.len(), "{id}");
    for (call, want) in functions.iter().zip(&want.tool_calls) {
        assert_eq!((Some(&call.id), &call.name), (want.id.as_ref(), &want.name), "{id}");
        let arguments: serde_json::Value =
            serde_json::from_str(&call.arguments).unwrap_or_else(|_| call.arguments.clone().into());
        assert_eq!(arguments, want.args, "{id}");
    }
    match (answer.usage, &want.usage) {
        (Some(got), Some(want)) => {
            assert_eq!((Some(got.input_tokens()), Some(got.output_tokens())), (want.input, want.output), "{id}");
            assert_eq!(got.get(Bucket::CacheRead), want.cache_read, "{id}");
            assert_eq!(got.get(Bucket::CacheWrite), want.cache_write, "{id}");
            assert_eq!(got.get(Bucket::Reasoning), want.reasoning.unwrap_or(0), "{id}");
        }
        (got, want) => assert_eq!(got.is_some(), want.is_some(), "{id}"),
    }
}

/// Deltas were cut out of the middle of the recording; what is left is told as it comes.
const TRIMMED: &str = "openai-responses-s-85e909d4";
/// Runs in the background: there is no answer yet.
const QUEUED: &str = "openai-responses-u-22f8b7f0";
/// Errors that recordings hold under a good status.
fn is_error(exchange: &Exchange, want: &Digest) -> bool {
    exchange.status >= 400 || want.error.is_some()
}

#[test]
fn recorded_answers() {
    let Some(exchanges) = load() else {
        println!("skipped: the recorded exchanges are not here");
        return;
    };
    let (mut whole, mut streams, mut errors) = (0, 0, 0);
    for (exchange, want) in &exchanges {
        let (id, body) = (&exchange.id, exchange.response.body_text.as_bytes());
        if exchange.status >= 400 {
            let failure = OpenAiResponses.decode_error(exchange.status, body);
            assert_eq!(failure.status, Some(exchange.status));
            let message = want.error.as_ref().and_then(|e| e.message.clone()).unwrap_or_default();
            let shown: String = message.chars().take(512).collect();
            assert!(failure.message == shown || message.starts_with('{'), "{id}: {} / {message}", failure.message);
            errors += 1;
        } else if exchange.wire_format == "sse" {
            let (events, result, observed) = decode_stream([body]);
            assert_eq!(decode_stream(body.chunks(61)).0, events, "{id}");
            let mut tap = OpenAiResponses.tap(quirks(), Watching::default());
            let mut out = Vec::new();
            let tapped = tap.chunk(Bytes::copy_from_slice(body), &mut out).and_then(|()| tap.end(&mut out));
            assert_eq!((tap.observed().usage, tap.observed().ended), (observed.usage, observed.ended), "{id}");
            assert_eq!(tapped.is_err(), result.is_err(), "{id}: {tapped:?} {result:?}");
            if is_error(exchange, want) || want.terminated == Some(false) {
                assert!(result.is_err(), "{id}");
                errors += 1;
                continue;
            }
            assert_eq!(result, Ok(()), "{id}");
            // The mark of another dialect, with which some end.
            let mark: &[u8] = b"data: [DONE]\n\n";
            assert_eq!(out.concat(), body.strip_suffix(mark).unwrap_or(body), "{id}");
            if id == TRIMMED {
                assert!(want.text.len() > text_of(&assemble(&events)).len(), "{id}");
            } else {
                compare(id, &assemble(&events), want);
            }
            streams += 1;
        } else {
            let answer = OpenAiResponses.decode_response(body, quirks());
            let observed = OpenAiResponses.observe_response(body, quirks());
            if is_error(exchange, want) || id == QUEUED {
                assert!(answer.is_err(), "{id}");
                assert_eq!(observed.is_ok(), id == QUEUED, "{id}");
                errors += 1;
                continue;
            }
            let answer = answer.unwrap_or_else(|f| panic!("{id}: {f:?}"));
            assert_eq!((observed.unwrap().usage, true), (answer.usage, true), "{id}");
            compare(id, &answer, want);
            whole += 1;
        }
    }
    println!("{} recorded answers: {whole} whole, {streams} streams, {errors} errors", exchanges.len());
    assert!(whole + streams + errors == exchanges.len() && !exchanges.is_empty());
}

#[test]
fn recorded_requests() {
    let Some(exchanges) = load() else {
        println!("skipped: the recorded exchanges are not here");
        return;
    };
    let (mut same, mut refused, mut none) = (0, 0, 0);
    let quirks = Quirks {
        takes: vec![turns::BREAKPOINT.into()],
        reasoning_member: Some("reasoning_content".into()),
        ..Quirks::default()
    };
    for (exchange, _) in &exchanges {
        let id = &exchange.id;
        let Some(body) = exchange.request.body.as_ref().map(|raw| raw.get()).filter(|b| b.starts_with('{')) else {
            none += 1;
            continue;
        };
        // What providers themselves refused may be refused here.
        let decoded = match decode(body) {
            Ok(decoded) => decoded,
            Err(error) => {
                assert!(exchange.status >= 400, "{id}: {error}");
                refused += 1;
                continue;
            }
        };
        let (again, _) = OpenAiResponses.encode_request(&decoded, &to(&quirks)).unwrap();
        let mut once = decode(std::str::from_utf8(&again).unwrap()).unwrap_or_else(|e| panic!("{id}: {e}"));
        // What has no canonical place is not written; the wish for encrypted thinking and no store are ours.
        once.extra.clear();
        let mut expected = ChatRequest { extra: Vec::new(), unread: Vec::new(), model: "m".into(), ..decoded };
        expected.messages.iter_mut().for_each(|m| m.content.iter_mut().for_each(plain_file));
        // An image without a detail is written with the default.
        let detailed = |part: &mut Part| {
            if let Part::Image(media) = part {
                media.detail.get_or_insert_with(|| "auto".to_owned());
            }
        };
        expected.messages.iter_mut().for_each(|m| m.content.iter_mut().for_each(detailed));
        assert_eq!(once, expected, "{id}");
        same += 1;
    }
    println!("{} recorded requests: {same} stable, {refused} refused, {none} without a body", exchanges.len());
    assert!(same > 0 || exchanges.is_empty());
}

/// Inline documents always go out with a name.
fn plain_file(part: &mut Part) {
    if let Part::File(media) = part
        && matches!(media.source, crate::domain::chat::MediaSource::Base64 { .. })
    {
        media.name.get_or_insert_with(|| "document".to_owned());
    }
}
