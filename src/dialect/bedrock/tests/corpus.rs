//! Recorded exchanges, where they are at hand: every answer is decoded and compared with an independent reading, and
//! every request is read into the canonical model and written again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::reader::{Any, read};
use super::*;
use crate::domain::chat::FinishReason;
use crate::domain::error::FailureKind;
use crate::domain::usage::Bucket;

#[derive(Deserialize)]
struct Exchange {
    id: String,
    provider: String,
    api: String,
    status: u16,
    wire_format: String,
    request: Asked,
    response: Recorded,
}

#[derive(Deserialize)]
struct Asked {
    url: Option<String>,
    body: Option<Box<RawValue>>,
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
    signatures: usize,
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
}

#[derive(Debug, Deserialize)]
struct DigestError {
    message: Option<String>,
}

fn shared() -> PathBuf {
    std::env::var_os("STELLWERK_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from)
        .join("corpus")
}

fn load() -> Option<Vec<(Exchange, Digest)>> {
    let dir = shared();
    let files = [dir.join("bedrock.jsonl"), dir.join("reported.jsonl")];
    let mut oracle = Command::new("python3");
    oracle.arg(dir.join("replay.py")).arg("digest").arg("--corpus").args(&files).arg("--all");
    let text: String = files.iter().map(std::fs::read_to_string).collect::<Result<_, _>>().ok()?;
    let readings = oracle.output().ok().filter(|o| o.status.success())?;
    let readings = String::from_utf8(readings.stdout).unwrap();
    let mut readings: BTreeMap<String, Digest> =
        readings.lines().filter_map(|l| serde_json::from_str::<Digest>(l).ok()).map(|d| (d.id.clone(), d)).collect();
    let exchanges = text.lines().map(|l| serde_json::from_str::<Exchange>(l).unwrap());
    let ours = exchanges.filter(|x| x.provider == "bedrock" && matches!(&*x.api, "converse" | "converse-stream"));
    Some(ours.filter_map(|x| readings.remove(&x.id).map(|d| (x, d))).collect())
}

fn skip() {
    println!("skipped: no recorded exchanges at {}", shared().display());
}

/// Answers whose cited words stand in blocks of their own, which the independent reading leaves out.
const CITED: [(&str, &str); 2] = [
    ("bedrock-converse-u-a464255e", "Employees should consult with your manager for details."),
    ("bedrock-converse-u-abfb4ebf", "The title of this document is \"Dummy PDF file\"."),
];

/// A stream with citations.
const CITED_STREAM: &str = "bedrock-conversestream-s-1236ee9c";

fn base64(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes().filter(|b| *b != b'=') {
        bits = bits << 6 | u32::try_from(alphabet.iter().position(|a| *a == byte).unwrap()).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xFF) as u8);
        }
    }
    out
}

fn compare(id: &str, answer: &ChatResponse, want: &Digest) {
    let choice = &answer.choices[0];
    let cited = CITED.iter().find(|(cited, _)| *cited == id);
    assert_eq!(text_of(answer), cited.map_or(&*want.text, |(_, text)| text), "{id}");
    assert_eq!(choice.citations.is_empty(), cited.is_none() && id != CITED_STREAM, "{id}");
    let thoughts = choice
        .content
        .iter()
        .filter_map(|p| if let Part::Reasoning { text, signature } = p { Some((text, signature)) } else { None });
    let reasoning: String = thoughts.clone().map(|(text, _)| text.as_str()).collect();
    assert_eq!(reasoning, want.reasoning, "{id}");
    assert_eq!(thoughts.filter(|(_, s)| s.is_some()).count(), want.signatures, "{id}");
    let finish = match choice.finish {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "filter",
    };
    assert_eq!(Some(finish), want.finish.as_deref(), "{id}");
    assert_eq!(choice.tool_calls.len(), want.tool_calls.len(), "{id}");
    for (call, want) in choice.tool_calls.iter().zip(&want.tool_calls) {
        assert_eq!((Some(&call.id), &call.name), (want.id.as_ref(), &want.name), "{id}");
        let arguments: Any = serde_json::from_str(&call.arguments).unwrap_or(Any::Text(call.arguments.clone()));
        assert_eq!(arguments, want.args, "{id}");
    }
    let (Some(got), Some(want)) = (answer.usage, &want.usage) else {
        assert_eq!(answer.usage.is_some(), want.usage.is_some(), "{id}");
        return;
    };
    assert_eq!((got.input_tokens(), Some(got.output_tokens())), (want.input, want.output), "{id}");
    assert_eq!(got.get(Bucket::CacheRead), want.cache_read, "{id}");
    assert_eq!(got.get(Bucket::CacheWrite) + got.get(Bucket::CacheWrite1h), want.cache_write, "{id}");
}

#[test]
fn recorded_answers() {
    let Some(exchanges) = load() else { return skip() };
    let (mut whole, mut streams, mut errors) = (0, 0, 0);
    for (exchange, want) in &exchanges {
        let (id, body) = (&exchange.id, &exchange.response.body_text);
        let error = want.error.as_ref().and_then(|e| e.message.clone());
        if exchange.status >= 400 {
            let failure = Bedrock.decode_error(exchange.status, body.as_bytes());
            assert_eq!(Some(&failure.message), error.as_ref(), "{id}");
            assert_eq!(failure.status, Some(exchange.status));
            // All recorded ones are about the model, the key or the rate, never about the request.
            let kind = match exchange.status {
                403 => FailureKind::Credentials,
                429 => FailureKind::RateLimited,
                _ => FailureKind::Upstream,
            };
            assert_eq!(failure.kind, kind, "{id}");
            errors += 1;
        } else if exchange.wire_format == "aws-eventstream" {
            let body = base64(body);
            let (events, result, _) = decode_stream([&body[..]]);
            assert_eq!(decode_stream(body.chunks(61)).0, events, "{id}");
            if error.is_some() {
                let failure = result.unwrap_err();
                assert_eq!(Some(failure.message), error, "{id}");
                let kind = if id.ends_with("throttling") { FailureKind::RateLimited } else { FailureKind::Upstream };
                assert_eq!(failure.kind, kind, "{id}");
                assert!(events.contains(&ChatEvent::Text { choice: 0, text: want.text.clone() }), "{id}");
                errors += 1;
                continue;
            }
            assert_eq!(result, Ok(()), "{id}");
            compare(id, &assemble(&events), want);
            streams += 1;
        } else {
            compare(id, &Bedrock.decode_response(body.as_bytes(), quirks()).unwrap(), want);
            whole += 1;
        }
    }
    println!("{} recorded exchanges: {whole} whole, {streams} streams, {errors} errors", exchanges.len());
    assert!(whole + streams + errors == exchanges.len() && !exchanges.is_empty());
}

/// What the encoder is tested with: a limit that leaves room for all recorded budgets.
const LIMIT: u64 = 8192;

fn map(any: &mut Any) -> &mut BTreeMap<String, Any> {
    let Any::Map(map) = any else { panic!("{any:?}") };
    map
}

fn empty(any: &Any) -> bool {
    matches!(any, Any::Map(m) if m.is_empty()) || matches!(any, Any::List(l) if l.is_empty())
}

/// Brings a request into the form in which two that say the same are equal.
fn normal(mut body: Any) -> Any {
    let request = map(&mut body);
    // The canonical model has no guardrails: clients of other dialects cannot ask for them.
    request.remove("guardrailConfig");
    if let Some(config) = request.get_mut("inferenceConfig") {
        map(config).retain(|_, value| !empty(value));
    }
    request.retain(|_, value| !empty(value));
    if let Some(Any::Map(fields)) = request.get_mut("additionalModelRequestFields")
        && let Some(config) = fields.remove("reasoning_config")
    {
        // Two names of one member.
        fields.insert("thinking".to_owned(), config);
    }
    let budget = matches!(request.get("additionalModelRequestFields"), Some(Any::Map(f)) if f.contains_key("thinking"));
    if budget {
        let config = request.entry("inferenceConfig".to_owned()).or_insert_with(|| Any::Map(BTreeMap::new()));
        // With thinking the limit is always told, and a temperature of 1 is the only one there is.
        map(config).entry("maxTokens".to_owned()).or_insert(Any::Number(LIMIT as f64));
        map(config).remove("temperature");
    }
    let Some(Any::List(turns)) = request.remove("messages") else { panic!("no messages") };
    let mut merged: Vec<(Any, Vec<Any>)> = Vec::new();
    for mut turn in turns {
        let Some(Any::List(mut blocks)) = map(&mut turn).remove("content") else { panic!("no content") };
        blocks.iter_mut().for_each(normal_block);
        let role = map(&mut turn).remove("role").unwrap();
        match merged.last_mut() {
            Some((last, so_far)) if *last == role => so_far.extend(blocks),
            _ => merged.push((role, blocks)),
        }
    }
    let turns = merged.into_iter().map(|(role, blocks)| Any::List(vec![role, Any::List(blocks)])).collect();
    request.insert("messages".to_owned(), Any::List(turns));
    body
}

fn normal_block(block: &mut Any) {
    let Some(Any::Map(result)) = map(block).get_mut("toolResult") else { return };
    if result.contains_key("type") {
        // A result of the provider's own tool goes back as it came.
        return;
    }
    if result.get("status") == Some(&Any::Text("success".to_owned())) {
        result.remove("status");
    }
    let Some(Any::List(content)) = result.get_mut("content") else { panic!("no content") };
    for piece in content {
        // Tools answer in text elsewhere.
        let piece = map(piece);
        if let Some(json) = piece.remove("json") {
            piece.insert("text".to_owned(), json);
        } else if let Some(Any::Text(text)) = piece.get("text")
            && let Ok(json @ Any::Map(_)) = serde_json::from_str(text)
        {
            piece.insert("text".to_owned(), json);
        }
    }
}

#[test]
fn recorded_requests() {
    let Some(exchanges) = load() else { return skip() };
    let mut same = 0;
    for (exchange, _) in &exchanges {
        let (id, asked) = (&exchange.id, &exchange.request);
        let (Some(url), Some(body)) = (&asked.url, &asked.body) else { continue };
        let (_, path) = url.split_once("/model/").unwrap();
        let model = path.split('/').next().unwrap().replace("%3A", ":").replace("%2F", "/");
        let stream = exchange.api == "converse-stream";
        assert_eq!(Bedrock.path(&model, stream), format!("/model/{}", path.replace(':', "%3A")), "{id}");
        let request = read(body.get());
        let to = Destination { model: &model, default_max_output: LIMIT, max_output: None, quirks: shipped() };
        let (written, loss) = Bedrock.encode_request(&request, &to).unwrap();
        let parse = |text: &[u8]| normal(serde_json::from_slice(text).unwrap());
        assert_eq!(parse(&written), parse(body.get().as_bytes()), "{id}");
        assert!(loss.is_empty(), "{id}: {loss:?}");
        same += 1;
    }
    println!("{same} recorded requests written as they were");
    assert!(same > 0);
}
