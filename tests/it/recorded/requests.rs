//! Every recorded request, put to a provider of every other dialect: translated so that our own reader of that dialect
//! finds the same in it, or refused by the name of what cannot be said there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use stellwerk::catalogue::{Catalogue, Surroundings};
use stellwerk::dialect::{self, Destination, Located, Quirks};
use stellwerk::domain::chat::{ChatRequest, Loss, Part, ResponseFormat, Role, ToolKind};
use stellwerk::domain::id::DialectId;

use super::exchange::Exchange;
use super::stand::CLIENTS;

/// What became of one request at one provider dialect.
pub(crate) enum Outcome {
    /// It was said, and these hints were left out and listed.
    Said(Vec<String>),
    /// It cannot be said there; the parameter that is named.
    Refused(String),
    /// It should have been.
    Wrong(String),
}

/// One request, translated.
pub(crate) struct Translated {
    pub(crate) id: String,
    pub(crate) from: DialectId,
    pub(crate) to: DialectId,
    pub(crate) outcome: Outcome,
    /// What is sent, with the model as the dialect names it beside the body.
    pub(crate) wire: Option<Bytes>,
}

/// The provider whose peculiarities stand for a dialect, and a model of it.
const PROVIDERS: [(DialectId, &str, &str); 7] = [
    (DialectId::OpenAiChat, "openai", "gpt-x"),
    (DialectId::OpenAiResponses, "openai", "gpt-x"),
    (DialectId::Anthropic, "anthropic", "claude-x"),
    (DialectId::Gemini, "gemini", "gemini-x"),
    (DialectId::Bedrock, "bedrock", "anthropic.claude-sonnet-4-20250514-v1:0"),
    (DialectId::Cohere, "cohere", "command-x"),
    (DialectId::Ollama, "ollama", "model-x"),
];

/// All of them.
pub(crate) fn translate(exchanges: &[Arc<Exchange>]) -> Vec<Translated> {
    let around = Surroundings { env: &|_| Some("https://localhost".to_owned()), served: &[] };
    let catalogue = Catalogue::compile(&[], &around).unwrap();
    let quirks = |name: &str| {
        let target = catalogue.targets().iter().find(|target| &*target.provider == name).unwrap();
        Arc::clone(&catalogue.endpoint(target).quirks)
    };
    let providers = PROVIDERS.map(|(dialect, name, model)| (dialect, quirks(name), model));
    let mut all = Vec::new();
    // What a provider refused to do is no example of what must be possible.
    for exchange in exchanges.iter().filter(|x| x.status < 400) {
        let Some(from) = exchange.dialect().filter(|dialect| CLIENTS.contains(dialect)) else { continue };
        let Some(mut members) = exchange.members() else { continue };
        if from != DialectId::Gemini && members.get("model").is_none() {
            members.set("model", "\"from-the-path\"");
        }
        let body = Bytes::from(members.text());
        for (to, quirks, model) in providers.iter().filter(|(to, ..)| *to != from) {
            let (outcome, wire) = one(exchange, from, &body, *to, quirks, model);
            all.push(Translated { id: exchange.id.clone(), from, to: *to, outcome, wire });
        }
    }
    all
}

fn one(
    exchange: &Exchange,
    from: DialectId,
    body: &Bytes,
    to: DialectId,
    quirks: &Quirks,
    model: &str,
) -> (Outcome, Option<Bytes>) {
    let (client, provider) = (dialect::ingress(from).unwrap(), dialect::egress(to).unwrap().transcode());
    let stream = exchange.api == "streamGenerateContent";
    let located =
        Located { model: (from == DialectId::Gemini).then(|| "m".to_owned()), stream, array: false, unnamed: None };
    let envelope = match client.envelope(body, &located) {
        Ok(envelope) => envelope,
        Err(error) => return (Outcome::Wrong(format!("envelope: {error}")), None),
    };
    // As planning does, before anything is decoded.
    if let Some(name) = dialect::inexpressible(&envelope, from, to).into_iter().next() {
        return (Outcome::Refused(name), None);
    }
    let request = match client.decode_request(body, &envelope) {
        Ok(request) => request,
        Err(error) => return (Outcome::Wrong(format!("decoding: {error}")), None),
    };
    let target = Destination { model, default_max_output: 4096, max_output: None, quirks };
    let (wire, Loss { semantic, advisory }) = match provider.encode_request(&request, &target) {
        Ok(encoded) => encoded,
        Err(error) => {
            return match error.param {
                Some(param) => (Outcome::Refused(general(&param)), None),
                None => (Outcome::Wrong(format!("encoding: {error}")), None),
            };
        }
    };
    if let Some(name) = semantic.first() {
        return (Outcome::Refused(general(name)), None);
    }
    let listed: Vec<String> = advisory.iter().map(|name| general(name)).collect();
    match same_told(&request, to, &wire) {
        Ok(()) => (Outcome::Said(listed), Some(wire)),
        Err(difference) => (Outcome::Wrong(difference), Some(wire)),
    }
}

/// A path without its numbers: `messages[3].content[0].type` and `messages[5].content[2].type` are the same reason.
fn general(path: &str) -> String {
    let mut out = String::new();
    for (at, part) in path.split(']').enumerate() {
        if at > 0 {
            out.push(']');
        }
        let (before, inside) = part.split_once('[').map_or((part, None), |(before, inside)| (before, Some(inside)));
        out.push_str(before);
        if inside.is_some() {
            out.push('[');
        }
    }
    out
}

/// What a model is told, in a form that all dialects have.
#[derive(Debug, PartialEq)]
struct Told {
    /// All text of instructions and turns without white space, by who says it.
    system: String,
    user: String,
    assistant: String,
    results: String,
    calls: Vec<(String, Value)>,
    tools: Vec<String>,
    media: usize,
}

fn told(request: &ChatRequest) -> Told {
    let mut told = Told {
        system: String::new(),
        user: String::new(),
        assistant: String::new(),
        results: String::new(),
        calls: Vec::new(),
        tools: Vec::new(),
        media: 0,
    };
    for message in &request.messages {
        for part in &message.content {
            match part {
                Part::Text(text) | Part::Refusal(text) => {
                    let place = match message.role {
                        Role::System | Role::Developer => &mut told.system,
                        Role::User => &mut told.user,
                        Role::Assistant => &mut told.assistant,
                        Role::Tool => &mut told.results,
                    };
                    place.extend(text.chars().filter(|c| !c.is_whitespace()));
                }
                Part::Image(_) | Part::Audio(_) | Part::File(_) => told.media += 1,
                // Code that ran is told in words.
                Part::Opaque { raw, .. } => {
                    let words = ran(raw.as_str()).unwrap_or_default();
                    told.assistant.extend(words.chars().filter(|c| !c.is_whitespace()));
                }
                Part::Reasoning { .. } | Part::CacheMark(_) => {}
            }
        }
        for call in &message.tool_calls {
            let arguments = serde_json::from_str(&call.arguments).unwrap_or(Value::Null);
            let arguments = if arguments.is_null() { json!({}) } else { arguments };
            told.calls.push((call.name.clone(), arguments));
        }
    }
    let own = |tool: &&stellwerk::domain::chat::Tool| !matches!(tool.kind, ToolKind::Server { .. });
    told.tools = request.tools.iter().filter(own).map(|tool| tool.flat_name().into_owned()).collect();
    told
}

/// A part of Gemini's that is code, or what came of it.
fn ran(raw: &str) -> Option<String> {
    let part: Value = serde_json::from_str(raw).ok()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(code) = part.get("executableCode") {
        return Some(format!("```{}{}```", text(&code["language"]).to_lowercase(), text(&code["code"])));
    }
    let result = part.get("codeExecutionResult")?;
    let failed = text(&result["outcome"]).replace("OUTCOME_OK", "");
    Some(format!("```{failed}{}```", text(&result["output"])))
}

/// Reads what was written with our own reader of that dialect, where clients speak it.
pub(crate) fn same_told(request: &ChatRequest, to: DialectId, wire: &Bytes) -> Result<(), String> {
    if serde_json::from_slice::<Value>(wire).map_or(true, |value| !value.is_object()) {
        return Err("what is sent is no JSON object".to_owned());
    }
    let Some(reader) = dialect::ingress(to) else { return Ok(()) };
    let located = Located { model: Some("m".to_owned()), stream: request.stream, array: false, unnamed: None };
    let envelope = reader.envelope(wire, &located).map_err(|error| format!("what is sent has no envelope: {error}"))?;
    let again =
        reader.decode_request(wire, &envelope).map_err(|error| format!("what is sent cannot be read: {error}"))?;
    let (mut want, mut got) = (told(request), told(&again));
    if want.user.is_empty() && want.results.is_empty() && got.system.is_empty() {
        // Where nobody else asks, what the system says is said by the user in dialects that keep the two apart.
        want.user = std::mem::take(&mut want.system);
    }
    if request.response_format == Some(ResponseFormat::JsonObject) {
        // Asked for in words, where the provider has no format for it or looks for the word in the prompt.
        got.system = got.system.replacen("AnswerwithoneJSONobjectandnothingelse.", "", 1);
    }
    if want == got { Ok(()) } else { Err(format!("what is sent says something else: want {want:?}, got {got:?}")) }
}

/// Writes what would be sent, one a line, for the types of the official clients to look at.
pub(crate) fn dump(all: &[Translated], dir: &Path) {
    let lines = all.iter().filter_map(|one| {
        let body: &str = std::str::from_utf8(one.wire.as_ref()?).unwrap();
        let body: Box<RawValue> = serde_json::from_str(body).ok()?;
        let names = json!({"id": one.id, "from": one.from.name(), "to": one.to.name()}).to_string();
        Some(format!("{},\"body\":{}}}\n", names.strip_suffix('}').unwrap(), body.get()))
    });
    std::fs::write(dir.join("requests.jsonl"), lines.collect::<String>()).unwrap();
}

/// The part of the document about requests, and what is wrong.
pub(crate) fn report(all: &[Translated]) -> (String, Vec<String>) {
    #[derive(Default)]
    struct Row {
        said: usize,
        refused: BTreeMap<String, usize>,
        listed: BTreeMap<String, usize>,
        wrong: usize,
    }
    let mut rows: BTreeMap<(&str, &str), Row> = BTreeMap::new();
    let mut wrong = Vec::new();
    for one in all {
        let row = rows.entry((one.from.name(), one.to.name())).or_default();
        match &one.outcome {
            Outcome::Said(listed) => {
                row.said += 1;
                listed.iter().for_each(|name| *row.listed.entry(name.clone()).or_default() += 1);
            }
            Outcome::Refused(name) => *row.refused.entry(name.clone()).or_default() += 1,
            Outcome::Wrong(why) => {
                row.wrong += 1;
                wrong.push(format!("{} {} -> {}: {why}", one.id, one.from.name(), one.to.name()));
            }
        }
    }
    let mut text = String::from(REQUESTS);
    let list = |names: &BTreeMap<String, usize>| {
        let names: Vec<String> = names.iter().map(|(name, count)| format!("`{name}` {count}")).collect();
        if names.is_empty() { "-".to_owned() } else { names.join(", ") }
    };
    for ((from, to), row) in &rows {
        let refused: usize = row.refused.values().sum();
        let (by, listed) = (list(&row.refused), list(&row.listed));
        let _ = writeln!(text, "| {from} | {to} | {} | {refused} | {by} | {listed} |", row.said);
    }
    (text, wrong)
}

const REQUESTS: &str = "
## Requests

Every recorded request that its provider took, put to every other dialect with the peculiarities of that dialect's own
provider. *Said*: our own reader of the other dialect, where clients speak it, finds the same instructions, turns, calls,
results, tools and media in what is sent. *Refused*: the answer would be another one, so the target is not used and the parameter is named. *Listed*: hints that
were left out.

| client | provider | said | refused | by the name of | listed |
|---|---|---|---|---|---|
";
