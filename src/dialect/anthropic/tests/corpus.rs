//! Recorded exchanges, where they are at hand: every answer is decoded and compared with an independent reading.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use super::*;
use crate::domain::usage::Bucket;

#[derive(Deserialize)]
struct Exchange {
    id: String,
    api: String,
    status: u16,
    wire_format: String,
    response: Recorded,
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
    tool_calls: Vec<DigestCall>,
    finish: Option<String>,
    usage: Option<DigestUsage>,
    error: Option<DigestError>,
}

#[derive(Debug, Deserialize)]
struct DigestCall {
    id: Option<String>,
    name: String,
    args: Any,
}

#[derive(Debug, Deserialize)]
struct DigestUsage {
    input: u64,
    output: Option<u64>,
    cache_read: u64,
    cache_write: u64,
    reasoning: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct DigestError {
    message: Option<String>,
}

/// JSON by value, for comparison.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Any {
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Any>),
    Map(BTreeMap<String, Any>),
    Null,
}

fn shared() -> PathBuf {
    std::env::var_os("STELLWERK_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from)
        .join("corpus")
}

fn load() -> Option<Vec<(Exchange, Digest)>> {
    let dir = shared();
    let files = [dir.join("anthropic.jsonl"), dir.join("reported.jsonl")];
    let mut oracle = Command::new("python3");
    oracle.arg(dir.join("replay.py")).arg("digest").arg("--corpus").args(&files).arg("--all");
    let text: String = files.iter().map(std::fs::read_to_string).collect::<Result<_, _>>().ok()?;
    let readings = oracle.output().ok().filter(|o| o.status.success())?;
    let readings = String::from_utf8(readings.stdout).unwrap();
    let mut readings: BTreeMap<String, Digest> =
        readings.lines().filter_map(|l| serde_json::from_str::<Digest>(l).ok()).map(|d| (d.id.clone(), d)).collect();
    let exchanges = text.lines().map(|l| serde_json::from_str::<Exchange>(l).unwrap());
    let ours = exchanges.filter(|x| x.api == "messages" && x.id.contains("anthropic"));
    Some(ours.filter_map(|x| readings.remove(&x.id).map(|d| (x, d))).collect())
}

/// Two answers spliced into one stream: the independent reading glues the two calls together.
const SPLICED: &str = "anthropic-messages-s-1fed7804";

fn compare(id: &str, answer: &ChatResponse, want: &Digest) {
    let choice = &answer.choices[0];
    assert_eq!(text_of(answer), want.text, "{id}");
    let reasoning: String = choice
        .content
        .iter()
        .filter_map(|p| if let Part::Reasoning { text, .. } = p { Some(text.as_str()) } else { None })
        .collect();
    assert_eq!(reasoning, want.reasoning, "{id}");
    let finish = match choice.finish {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "filter",
    };
    assert_eq!(Some(finish), want.finish.as_deref(), "{id}");
    if id != SPLICED {
        assert_eq!(choice.tool_calls.len(), want.tool_calls.len(), "{id}");
        for (call, want) in choice.tool_calls.iter().zip(&want.tool_calls) {
            assert_eq!((Some(&call.id), &call.name), (want.id.as_ref(), &want.name), "{id}");
            let arguments: Any =
                serde_json::from_str(&call.arguments).unwrap_or_else(|_| Any::Text(call.arguments.clone()));
            assert_eq!(arguments, want.args, "{id}");
        }
    }
}

fn compare_usage(exchange: &Exchange, answer: &ChatResponse, want: &Digest) {
    let id = &exchange.id;
    let (Some(got), Some(want)) = (answer.usage, &want.usage) else {
        assert_eq!(answer.usage.is_some(), want.usage.is_some(), "{id}");
        return;
    };
    if exchange.response.body_text.contains("\"compaction\"") {
        assert!(got.input_tokens() > want.input, "{id}: passes that condense are billed beside the totals");
        return;
    }
    assert_eq!(got.input_tokens(), want.input, "{id}");
    assert_eq!(Some(got.output_tokens()), want.output, "{id}");
    assert_eq!(got.get(Bucket::CacheRead), want.cache_read, "{id}");
    assert_eq!(got.get(Bucket::CacheWrite) + got.get(Bucket::CacheWrite1h), want.cache_write, "{id}");
    assert_eq!(got.get(Bucket::Reasoning), want.reasoning.unwrap_or(0), "{id}");
}

#[test]
fn recorded_answers() {
    let Some(exchanges) = load() else {
        println!("skipped: no recorded exchanges at {}", shared().display());
        return;
    };
    let (mut whole, mut streams, mut errors) = (0, 0, 0);
    for (exchange, want) in &exchanges {
        let (id, body) = (&exchange.id, exchange.response.body_text.as_bytes());
        if exchange.status >= 400 {
            let failure = Anthropic.decode_error(exchange.status, body);
            assert_eq!(Some(failure.message), want.error.as_ref().and_then(|e| e.message.clone()), "{id}");
            assert_eq!(failure.status, Some(exchange.status));
            errors += 1;
            continue;
        }
        if exchange.wire_format == "sse" {
            let (events, result, observed) = decode_stream([body]);
            assert_eq!(decode_stream(body.chunks(61)).0, events, "{id}");
            let (passed, tapped, seen) = super::streams_tap(body);
            assert_eq!((seen.usage, seen.finished), (observed.usage, observed.finished), "{id}");
            assert_eq!(tapped.is_err(), result.is_err(), "{id}");
            if let Some(error) = &want.error {
                assert_eq!(Some(result.unwrap_err().message), error.message, "{id}");
                errors += 1;
                continue;
            }
            assert_eq!(result, Ok(()), "{id}");
            assert_eq!(passed, body, "{id}");
            let answer = assemble(&events);
            compare(id, &answer, want);
            compare_usage(exchange, &answer, want);
            streams += 1;
        } else {
            let answer = Anthropic.decode_response(body, quirks()).unwrap();
            let observed = Anthropic.observe_response(body, quirks()).unwrap();
            assert_eq!((observed.usage, observed.finished), (answer.usage, true), "{id}");
            compare(id, &answer, want);
            compare_usage(exchange, &answer, want);
            whole += 1;
        }
    }
    println!("{} recorded exchanges: {whole} whole, {streams} streams, {errors} errors", exchanges.len());
    assert!(whole + streams + errors == exchanges.len() && !exchanges.is_empty());
}
