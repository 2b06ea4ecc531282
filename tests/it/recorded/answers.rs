//! Every recorded answer, shown to a client of every dialect and read by the independent reader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use stellwerk::domain::id::DialectId;

use super::exchange::{Digest, DigestCall, Exchange, digests};
use super::report::{Check, Difference};
use super::stand::{CLIENTS, Got, Stand};

/// The API that a client of that dialect calls, in the reader's words.
fn api(client: DialectId, stream: bool) -> &'static str {
    match client {
        DialectId::OpenAiChat => "chat.completions",
        DialectId::OpenAiResponses => "responses",
        DialectId::Anthropic => "messages",
        DialectId::Gemini if stream => "streamGenerateContent",
        DialectId::Gemini => "generateContent",
        _ => "completions",
    }
}

/// A plain request of that dialect: path and body. It asks for everything that an answer may show.
pub(crate) fn plain(client: DialectId, model: &str, stream: bool) -> (String, Value) {
    let options = if stream { json!({"include_usage": true}) } else { Value::Null };
    match client {
        DialectId::OpenAiChat => (
            "/v1/chat/completions".to_owned(),
            json!({"model": model, "stream": stream, "stream_options": options,
                "messages": [{"role": "user", "content": "hello"}]}),
        ),
        DialectId::OpenAiResponses => {
            ("/v1/responses".to_owned(), json!({"model": model, "stream": stream, "input": "hello"}))
        }
        DialectId::Anthropic => (
            "/v1/messages".to_owned(),
            json!({"model": model, "stream": stream, "max_tokens": 100,
                "messages": [{"role": "user", "content": "hello"}]}),
        ),
        DialectId::Gemini => {
            let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
            (
                format!("/v1beta/models/{model}:{method}"),
                json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}],
                    "generationConfig": {"thinkingConfig": {"includeThoughts": true}}}),
            )
        }
        _ => (
            "/v1/completions".to_owned(),
            json!({"model": model, "stream": stream, "stream_options": options, "prompt": "hello"}),
        ),
    }
}

/// All recorded conversations by all client dialects.
pub(crate) async fn check(stand: &Stand, exchanges: &[Arc<Exchange>], want: &BTreeMap<String, Digest>) -> Vec<Check> {
    let mut pairs = Vec::new();
    for exchange in exchanges {
        let Some(dialect) = exchange.dialect() else { continue };
        for client in CLIENTS {
            // A completion passes, and is not translated: clients of other dialects ask chat models.
            let translated = dialect != DialectId::OpenAiCompletions && client != dialect;
            if translated || (client == dialect && exchange.status >= 400) {
                pairs.push((Arc::clone(exchange), client));
            }
        }
    }
    let asked = pairs.into_iter().map(|(exchange, client)| async move {
        let (model, _) = stand.model(&exchange, client, "answer");
        let (path, body) = plain(client, &model, exchange.streamed() || exchange.stream);
        let got = stand.post(client, &path, body.to_string()).await;
        (exchange, client, got)
    });
    let got: Vec<(Arc<Exchange>, DialectId, Got)> =
        futures_util::stream::iter(asked).buffer_unordered(16).collect().await;
    let read = read(&got);
    got.iter()
        .map(|(exchange, client, answer)| {
            let name = format!("{}|{}", exchange.id, client.name());
            let differences = differences(*client, &want[&exchange.id], &read[&name], answer);
            Check::new(
                exchange,
                *client,
                if *client == exchange.dialect().unwrap() { "same" } else { "answer" },
                differences,
            )
        })
        .collect()
}

/// What the reader makes of what the clients got.
fn read(got: &[(Arc<Exchange>, DialectId, Got)]) -> BTreeMap<String, Digest> {
    let lines: Vec<String> = got
        .iter()
        .map(|(exchange, client, answer)| {
            let sse = answer.kind.starts_with("text/event-stream");
            json!({"id": format!("{}|{}", exchange.id, client.name()), "api": api(*client, sse),
                "wire_format": if sse { "sse" } else { "json" }, "status": answer.status,
                "response": {"body_encoding": "utf8", "body_text": String::from_utf8_lossy(&answer.body)}})
            .to_string()
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("got.jsonl");
    std::fs::write(&file, lines.join("\n")).unwrap();
    if let Some(dump) = super::dump() {
        std::fs::copy(&file, dump.join("answers.jsonl")).unwrap();
    }
    digests(Some(file))
}

/// No arguments are said in three ways.
fn arguments(call: &DigestCall) -> Value {
    let nothing = call.args.is_null() || call.args == "" || call.args == json!({});
    // Where arguments are an object, those of a call that was cut stand in it as text.
    match call.args.get("_incomplete_arguments") {
        Some(text) => text.clone(),
        None if nothing => Value::Null,
        None => call.args.clone(),
    }
}

fn differences(client: DialectId, want: &Digest, got: &Digest, answer: &Got) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut check = |field: &'static str, got: String, want: String| {
        if got != want {
            found.push(Difference { field, got, want });
        }
    };
    if want.error.is_some() {
        // The reader does not look for errors in streams of the legacy API.
        let legacy = client == DialectId::OpenAiCompletions && answer.body.ends_with(b"}}\n\n");
        let told = got.error.as_ref().and_then(|e| e.message.clone());
        let told = told.or(legacy.then(|| "told".to_owned())).unwrap_or_default();
        check("error", (!told.is_empty()).to_string(), true.to_string());
        check("a provider's credentials", matches!(answer.status, 401 | 403).to_string(), false.to_string());
        if answer.status == 400 {
            let want = want.error.as_ref().and_then(|e| e.message.clone()).unwrap_or_default();
            let kept = told.contains(want.trim());
            check("error message", if kept { want.clone() } else { told }, want);
        }
        return found;
    }
    check("status", answer.status.to_string(), "200".to_owned());
    if answer.status != 200 {
        found[0].got = format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        return found;
    }
    check("error", format!("{:?}", got.error), "None".to_owned());
    check("end", got.terminated.unwrap_or(true).to_string(), true.to_string());
    check("text", got.text.clone(), want.text.clone());
    check("refusal", got.refusal.clone(), want.refusal.clone());
    check("reasoning", got.reasoning.clone(), want.reasoning.clone());
    if let Some(finish) = want.finish.clone().filter(|finish| !finish.is_empty()) {
        check("finish", got.finish.clone().unwrap_or_default(), finish);
    }
    let calls = |digest: &Digest| {
        format!("{:?}", digest.tool_calls.iter().map(|c| (&c.name, arguments(c))).collect::<Vec<_>>())
    };
    check("calls", calls(got), calls(want));
    let ids = |of: &Digest| of.tool_calls.iter().map(|c| c.id.clone().unwrap_or_default()).collect::<Vec<_>>();
    let (got_ids, want_ids) = (ids(got), ids(want));
    check("distinct ids", got_ids.iter().collect::<BTreeSet<_>>().len().to_string(), got_ids.len().to_string());
    if want_ids.iter().all(|id| !id.is_empty()) {
        check("call ids", format!("{got_ids:?}"), format!("{want_ids:?}"));
    }
    usage(client, want, got, &mut check);
    found
}

fn usage(client: DialectId, want: &Digest, got: &Digest, check: &mut dyn FnMut(&'static str, String, String)) {
    let Some(want) = &want.usage else { return };
    let Some(got) = &got.usage else {
        check("usage", "none".to_owned(), "some".to_owned());
        return;
    };
    let number = |count: Option<u64>| count.unwrap_or(0).to_string();
    check("input tokens", number(got.input), number(want.input));
    if want.output.is_some() {
        check("output tokens", number(got.output), number(want.output));
    }
    check("cached tokens", got.cache_read.to_string(), want.cache_read.to_string());
    // Gemini's clients have no member for it.
    if client != DialectId::Gemini {
        check("tokens written to the cache", got.cache_write.to_string(), want.cache_write.to_string());
    }
    if want.reasoning.is_some() {
        check("reasoning tokens", number(got.reasoning), number(want.reasoning));
    }
}
