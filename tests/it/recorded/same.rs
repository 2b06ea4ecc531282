//! Clients of the dialect that was recorded: bytes pass, both ways.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use serde_json::Value;
use stellwerk::domain::id::DialectId;

use super::answers::plain;
use super::exchange::{Digest, Exchange, Members};
use super::report::{Check, Difference};
use super::stand::{CLIENTS, Stand};

/// The path of a recorded request at the gateway; none = an API that it does not have.
fn path(exchange: &Exchange, model: &str) -> Option<(DialectId, String)> {
    let url = exchange.request.url.as_deref().unwrap_or("");
    let bare = url.split('?').next().unwrap_or("");
    let openai = |path: &str| Some((DialectId::OpenAiChat, format!("/v1/{path}")));
    match exchange.dialect() {
        Some(DialectId::Gemini) => {
            let sse = if url.contains("alt=sse") { "?alt=sse" } else { "" };
            let method = bare.rsplit(':').next().filter(|m| m.ends_with("enerateContent")).unwrap_or(&exchange.api);
            let sse = if method.starts_with("stream") && exchange.wire_format == "sse" { "?alt=sse" } else { sse };
            return Some((DialectId::Gemini, format!("/v1beta/models/{model}:{method}{sse}")));
        }
        Some(dialect) if CLIENTS.contains(&dialect) => return Some((dialect, plain(dialect, model, false).0)),
        Some(_) => return None,
        None => {}
    }
    if let Some(method) =
        bare.rsplit(':').next().filter(|m| ["embedContent", "batchEmbedContents", "countTokens"].contains(m))
    {
        return Some((DialectId::Gemini, format!("/v1beta/models/{model}:{method}")));
    }
    let ends = |tail: &str| bare.ends_with(tail);
    if ends("/v1/embed") || ends("/v2/embed") || ends("/v2/rerank") || ends("/api/embed") {
        return None;
    }
    match exchange.api() {
        "messages.count_tokens" => Some((DialectId::Anthropic, "/v1/messages/count_tokens".to_owned())),
        "embeddings" if ends("/embeddings") => openai("embeddings"),
        "rerank" if ends("/rerank") => openai("rerank"),
        "moderations" => openai("moderations"),
        "images" if ends("/images/generations") => openai("images/generations"),
        "images" if ends("/images/edits") => openai("images/edits"),
        "audio" if ends("/audio/speech") => openai("audio/speech"),
        _ => None,
    }
}

/// All recorded exchanges that a client of their own dialect can have with the gateway.
pub(crate) async fn check(stand: &Stand, exchanges: &[Arc<Exchange>], want: &BTreeMap<String, Digest>) -> Vec<Check> {
    let asked =
        exchanges.iter().filter(|x| want[&x.id].error.is_none() || x.members().is_some()).map(|exchange| async move {
            let (dialect, _) = path(exchange, "")?;
            let (model, bare) = stand.model(exchange, dialect, "same");
            let (_, path) = path(exchange, &model)?;
            let recorded = exchange.members();
            let mut sent = recorded.clone().unwrap_or_else(|| {
                let body = plain(dialect, &model, exchange.streamed()).1;
                serde_json::from_str(&body.to_string()).unwrap()
            });
            if dialect != DialectId::Gemini {
                sent.set("model", &Value::from(model).to_string());
            }
            let got = stand.post(dialect, &path, sent.text()).await;
            let mut found = Vec::new();
            let failed = want[&exchange.id].error.is_some();
            match stand.replay.seen(&bare) {
                Some(body) => requests(exchange, dialect, &sent, &body, &bare, &mut found),
                // What the provider refused, the gateway may refuse as well.
                None if exchange.status == 400 && got.status == 400 => {}
                None => {
                    let text = format!("{}: {}", got.status, String::from_utf8_lossy(&got.body));
                    found.push(Difference { field: "request", got: text, want: "at the provider".to_owned() });
                }
            }
            if !failed {
                let answer = exchange.answer();
                let hidden = !shows_usage(dialect, &sent);
                let answer = if hidden && exchange.wire_format == "sse" { without_usage(&answer) } else { answer };
                // The mark of another dialect, with which some end: its clients' streams end with their last event.
                let mark: &[u8] = if dialect == DialectId::OpenAiResponses { b"data: [DONE]\n\n" } else { b"" };
                let answer = answer.strip_suffix(mark).unwrap_or(&answer).to_vec();
                if got.body != answer {
                    let at = got.body.iter().zip(&answer).take_while(|(a, b)| a == b).count();
                    let part = |bytes: &[u8]| {
                        String::from_utf8_lossy(bytes.get(at.saturating_sub(40)..).unwrap_or(&[])).into_owned()
                    };
                    found.push(Difference { field: "answer", got: part(&got.body), want: part(&answer) });
                }
            }
            Some(Check::new(exchange, dialect, "same", found))
        });
    let all: Vec<Option<Check>> = futures_util::stream::iter(asked).buffer_unordered(16).collect().await;
    all.into_iter().flatten().collect()
}

/// The members of a request that the gateway owns, and the others, which pass.
fn requests(
    exchange: &Exchange,
    dialect: DialectId,
    sent: &Members,
    body: &str,
    model: &str,
    found: &mut Vec<Difference>,
) {
    let mut want = sent.clone();
    // Counts and batches name the model once more inside.
    if dialect == DialectId::Gemini {
        if exchange.dialect().is_none() {
            want = serde_json::from_str(&renamed(&want.text(), model)).unwrap();
        }
    } else {
        want.set("model", &Value::from(model).to_string());
    }
    let owned = |name: &str| {
        name == "stream_options" && matches!(dialect, DialectId::OpenAiChat | DialectId::OpenAiCompletions)
    };
    let Ok(mut got) = serde_json::from_str::<Members>(body) else {
        found.push(Difference { field: "request", got: body.to_owned(), want: want.text() });
        return;
    };
    if owned("stream_options") && sent.get("stream") == Some("true") {
        let options: Value = serde_json::from_str(got.get("stream_options").unwrap_or("null")).unwrap();
        if options["include_usage"] != true {
            found.push(Difference {
                field: "request",
                got: options.to_string(),
                want: "usage is asked for".to_owned(),
            });
        }
    }
    if sent.get("stream") == Some("true") {
        got.0.retain(|(name, _)| !owned(name));
        want.0.retain(|(name, _)| !owned(name));
        if got.text() != want.text() {
            found.push(Difference { field: "request", got: got.text(), want: want.text() });
        }
    } else if body != want.text() {
        found.push(Difference { field: "request", got: body.to_owned(), want: want.text() });
    }
}

/// With another name for the model wherever a resource of that kind is named.
fn renamed(text: &str, model: &str) -> String {
    let mark = "\"model\": \"models/";
    let mut parts = text.split(mark);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| {
        let rest = part.split_once('"').map_or("", |(_, rest)| rest);
        format!("{out}{mark}{model}\"{rest}")
    })
}

fn shows_usage(dialect: DialectId, sent: &Members) -> bool {
    let options = sent.get("stream_options").and_then(|raw| serde_json::from_str::<Value>(raw).ok());
    !matches!(dialect, DialectId::OpenAiChat | DialectId::OpenAiCompletions)
        || options.is_some_and(|options| options["include_usage"] == true)
}

/// A stream as a client gets it that did not ask for usage: without the chunks that say nothing else, and without the
/// member in others.
fn without_usage(stream: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(stream);
    let end = if text.contains("\r\n\r\n") { "\r\n\r\n" } else { "\n\n" };
    let frames = text.split_inclusive(end).map(|frame| {
        let data = frame.trim().strip_prefix("data:").and_then(|data| serde_json::from_str::<Members>(data).ok());
        let Some(data) = data else { return frame.to_owned() };
        match data.get("usage").filter(|usage| usage.starts_with('{')) {
            Some(_) if data.get("choices") == Some("[]") => String::new(),
            Some(usage) => {
                // The last place: some have the same report in a member of their own as well.
                let member = [format!(",\"usage\":{usage}"), format!(", \"usage\": {usage}")];
                let at = member.iter().find_map(|member| Some((frame.rfind(member)?, member.len())));
                at.map_or_else(|| frame.to_owned(), |(at, length)| [&frame[..at], &frame[at + length..]].concat())
            }
            None => frame.to_owned(),
        }
    });
    frames.collect::<String>().into_bytes()
}
