//! Recorded exchanges for tests, where they are at hand, with an independent reading of each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{DecodeStream, Observed};
use crate::domain::chat::{ChatEvent, ChatResponse, FinishReason, Part};
use crate::domain::collect::Collector;
use crate::domain::error::Failure;
use crate::domain::usage::Bucket;

/// One exchange.
#[derive(Deserialize)]
pub(super) struct Exchange {
    pub(super) id: String,
    pub(super) api: String,
    pub(super) status: u16,
    pub(super) wire_format: String,
    pub(super) request: Asked,
    pub(super) response: Recorded,
}

#[derive(Deserialize)]
pub(super) struct Asked {
    pub(super) body: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
pub(super) struct Recorded {
    pub(super) body_text: String,
}

/// What an independent reader makes of an answer.
#[derive(Debug, Deserialize)]
pub(super) struct Digest {
    id: String,
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) tool_calls: Vec<DigestCall>,
    pub(super) finish: Option<String>,
    pub(super) usage: Option<DigestUsage>,
}

#[derive(Debug, Deserialize)]
pub(super) struct DigestCall {
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) args: Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct DigestUsage {
    pub(super) input: u64,
    pub(super) output: Option<u64>,
    pub(super) cache_read: u64,
    pub(super) reasoning: Option<u64>,
}

/// Where the recordings are.
pub(super) fn dir() -> PathBuf {
    std::env::var_os("STELLWERK_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from)
        .join("corpus")
}

/// All exchanges of these APIs with their readings; none = there are no recordings here, which is told.
pub(super) fn load(apis: &[&str], keep: impl Fn(&Exchange) -> bool) -> Option<Vec<(Exchange, Digest)>> {
    let dir = dir();
    let Ok(listing) = std::fs::read_dir(&dir) else {
        println!("skipped: no recorded exchanges at {}", dir.display());
        return None;
    };
    let mut files: Vec<PathBuf> = listing.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "jsonl"));
    files.sort();
    let mut oracle = Command::new("python3");
    oracle.arg(dir.join("replay.py")).arg("digest").arg("--corpus").args(&files).arg("--all");
    let readings = oracle.output().ok().filter(|o| o.status.success())?;
    let readings = String::from_utf8(readings.stdout).unwrap();
    let mut readings: BTreeMap<String, Digest> =
        readings.lines().filter_map(|l| serde_json::from_str::<Digest>(l).ok()).map(|d| (d.id.clone(), d)).collect();
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let exchanges = text.lines().map(|line| serde_json::from_str::<Exchange>(line).unwrap());
    let ours = exchanges.filter(|x| apis.contains(&x.api.as_str()) && keep(x));
    Some(ours.filter_map(|x| readings.remove(&x.id).map(|digest| (x, digest))).collect())
}

/// Decodes a stream cut into chunks of that size.
pub(super) fn decode(
    mut decoder: Box<dyn DecodeStream>,
    body: &[u8],
    chunk: usize,
) -> (Vec<ChatEvent>, Result<(), Failure>, Observed) {
    let (mut events, mut result) = (Vec::new(), Ok(()));
    for chunk in body.chunks(chunk.max(1)) {
        result = decoder.chunk(chunk, &mut events);
        if result.is_err() {
            break;
        }
    }
    if result.is_ok() {
        result = decoder.end(&mut events);
    }
    (events, result, decoder.observed().clone())
}

/// The whole answer that a stream's events describe.
pub(super) fn gather(events: Vec<ChatEvent>) -> ChatResponse {
    let mut collector = Collector::default();
    events.into_iter().for_each(|event| collector.take(event).unwrap());
    collector.finish().unwrap()
}

/// No arguments are said in three ways.
fn plain(arguments: Value) -> Value {
    let nothing = arguments.is_null() || arguments == "" || arguments == serde_json::json!({});
    if nothing { Value::Null } else { arguments }
}

/// How an answer differs from the independent reading of it; empty = not at all.
pub(super) fn differences(answer: &ChatResponse, want: &Digest) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |what: &str, got: String, want: String| {
        if got != want {
            found.push(format!("{what}: got {got:?}, want {want:?}"));
        }
    };
    // The reading is of the first answer where there are several.
    let choice = answer.choices.iter().min_by_key(|choice| choice.index);
    let parts = choice.map_or(&[][..], |choice| &choice.content);
    let text: String = parts
        .iter()
        .filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let reasoning: String = parts
        .iter()
        .filter_map(|part| if let Part::Reasoning { text, .. } = part { Some(text.as_str()) } else { None })
        .collect();
    check("text", text, want.text.clone());
    check("reasoning", reasoning, want.reasoning.clone());
    let finish = match choice.map_or(FinishReason::Stop, |choice| choice.finish) {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "filter",
    };
    // A word that the reader does not know reads as nothing.
    if let Some(want) = want.finish.as_ref().filter(|want| !want.is_empty()) {
        check("finish", finish.to_owned(), want.clone());
    }
    let calls = choice.map_or(&[][..], |choice| &choice.tool_calls);
    let got: Vec<(&str, Value)> = calls
        .iter()
        .map(|call| {
            let arguments = serde_json::from_str(&call.arguments).unwrap_or(Value::from(&*call.arguments));
            (call.name.as_str(), plain(arguments))
        })
        .collect();
    let wanted: Vec<(&str, Value)> = want.tool_calls.iter().map(|c| (c.name.as_str(), plain(c.args.clone()))).collect();
    check("calls", format!("{got:?}"), format!("{wanted:?}"));
    for (call, want) in calls.iter().zip(&want.tool_calls) {
        if let Some(id) = want.id.as_ref().filter(|id| !id.is_empty()) {
            check("call id", call.id.clone(), id.clone());
        }
    }
    // Those that have none get one when the answer is rendered.
    let given: Vec<&str> = calls.iter().map(|call| call.id.as_str()).filter(|id| !id.is_empty()).collect();
    let ids: std::collections::BTreeSet<&&str> = given.iter().collect();
    check("distinct ids", ids.len().to_string(), given.len().to_string());
    match (answer.usage, &want.usage) {
        (Some(got), Some(want)) => {
            check("input", got.input_tokens().to_string(), want.input.to_string());
            if let Some(output) = want.output {
                check("output", got.output_tokens().to_string(), output.to_string());
            }
            check("cache read", got.get(Bucket::CacheRead).to_string(), want.cache_read.to_string());
            if let Some(reasoning) = want.reasoning {
                check("reasoning tokens", got.get(Bucket::Reasoning).to_string(), reasoning.to_string());
            }
        }
        (got, want) => check("usage", got.is_some().to_string(), want.is_some().to_string()),
    }
    found
}
