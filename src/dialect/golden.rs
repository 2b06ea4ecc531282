//! What each client dialect becomes in each provider dialect, and back: one file a pair under `tests/golden`, to be read
//! side by side. `UPDATE_GOLDEN=1` writes them anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::*;
use crate::domain::chat::{CacheMark, Choice, Citation, FinishReason, Part, Signature, TokenLogprob, ToolCall};
use crate::domain::collect;
use crate::domain::usage::{Bucket, Usage};

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The same request in the words of each client dialect: feature and body.
fn requests(dialect: DialectId) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(dir().join(format!("clients/{}.json", dialect.name()))).unwrap();
    let features: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    features.into_iter().map(|(name, body)| (name, body.to_string())).collect()
}

fn pretty(body: &[u8]) -> String {
    serde_json::from_slice::<Value>(body).map_or_else(
        |_| String::from_utf8_lossy(body).into_owned(),
        |value| serde_json::to_string_pretty(&value).unwrap(),
    )
}

/// An answer with everything that dialects can say.
fn answer(origin: DialectId) -> ChatResponse {
    let mut choice = Choice::new(0);
    let signature = Some(Signature::new(origin, SIGNATURE));
    choice.content = vec![
        Part::Reasoning { text: "The user asks for the weather.".into(), signature },
        Part::Text("Let me look.".into()),
    ];
    choice.citations = vec![Citation {
        url: Some("https://example.org/weather".into()),
        title: Some("Weather".into()),
        quoted: Some("sunny".into()),
        span: None,
    }];
    choice.tool_calls = vec![
        ToolCall::new("call_1", "weather", "{\"city\":\"Bern\"}"),
        ToolCall::new("call_2", "weather", "{\"city\":\"Wien\"}"),
    ];
    choice.finish = FinishReason::ToolCalls;
    let usage = Usage::ZERO
        .with(Bucket::Input, 100)
        .with(Bucket::CacheRead, 40)
        .with(Bucket::Output, 30)
        .with(Bucket::Reasoning, 12);
    ChatResponse {
        id: "answer-1".into(),
        model: "upstream-model".into(),
        created: Some(1_700_000_000),
        choices: vec![choice],
        usage: Some(usage),
        service_tier: None,
        served: None,
    }
}

/// The events of a streamed answer that says the same.
fn events(response: &ChatResponse) -> Vec<ChatEvent> {
    let choice = &response.choices[0];
    let mut events =
        vec![ChatEvent::Start { id: response.id.clone(), model: response.model.clone(), created: response.created }];
    for part in &choice.content {
        match part {
            Part::Reasoning { text, signature } => {
                events.push(ChatEvent::Reasoning { choice: 0, text: text.clone() });
                let signature = signature.clone().unwrap();
                events.push(ChatEvent::ReasoningSignature { choice: 0, signature });
            }
            Part::Text(text) => events.push(ChatEvent::Text { choice: 0, text: text.clone() }),
            other => panic!("not in the example: {other:?}"),
        }
    }
    events.extend(choice.citations.iter().map(|c| ChatEvent::Citation { choice: 0, citation: c.clone() }));
    for (index, call) in choice.tool_calls.iter().enumerate() {
        let index = u32::try_from(index).unwrap();
        let (id, name) = (call.id.clone(), call.name.clone());
        events.push(ChatEvent::ToolStart { choice: 0, index, id, name, custom: false, signature: None });
        events.push(ChatEvent::ToolArguments { choice: 0, index, fragment: call.arguments.clone() });
    }
    events.push(ChatEvent::Finish { choice: 0, reason: choice.finish, stop_sequence: None });
    events.push(ChatEvent::Usage(response.usage.unwrap()));
    events.push(ChatEvent::End);
    events
}

/// What providers sign their thinking with here, and the dialects whose providers want it back.
const SIGNATURE: &str = "c2lnbmF0dXJl";
const SIGNING: [DialectId; 4] =
    [DialectId::OpenAiResponses, DialectId::Anthropic, DialectId::Gemini, DialectId::Bedrock];

/// An answer as a client got it, sent back with the results of its calls; none = the dialect has no calls.
fn again(from: DialectId, shown: &Value) -> Option<Value> {
    let (question, results) = ("Weather in Bern and Wien?", [("call_1", "sunny"), ("call_2", "rain")]);
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let asked = json!({"role": "user", "content": question});
    let all = |list: &Value| list.as_array().unwrap().clone();
    Some(match from {
        DialectId::OpenAiChat => {
            let mut messages = vec![asked, shown["choices"][0]["message"].clone()];
            messages.extend(results.map(|(id, text)| json!({"role": "tool", "tool_call_id": id, "content": text})));
            let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": parameters}}]);
            json!({"model": "asked-model", "max_tokens": 3000, "messages": messages, "tools": tools})
        }
        DialectId::OpenAiResponses => {
            let mut input = vec![asked];
            input.extend(all(&shown["output"]));
            let output = |(id, text)| json!({"type": "function_call_output", "call_id": id, "output": text});
            input.extend(results.map(output));
            let tools = json!([{"type": "function", "name": "weather", "parameters": parameters}]);
            json!({"model": "asked-model", "max_output_tokens": 3000, "input": input, "tools": tools})
        }
        DialectId::Anthropic => {
            let said = json!({"role": "assistant", "content": shown["content"]});
            let results = results.map(|(id, text)| json!({"type": "tool_result", "tool_use_id": id, "content": text}));
            let tools = json!([{"name": "weather", "input_schema": parameters}]);
            let messages = json!([asked, said, {"role": "user", "content": results}]);
            json!({"model": "asked-model", "max_tokens": 3000, "messages": messages, "tools": tools})
        }
        DialectId::Gemini => {
            let told = |(id, text)| json!({"id": id, "name": "weather", "response": {"result": text}});
            let results = results.map(|result| json!({"functionResponse": told(result)}));
            let contents = json!([{"role": "user", "parts": [{"text": question}]},
                shown["candidates"][0]["content"], {"role": "user", "parts": results}]);
            let tools = json!([{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": parameters}]}]);
            json!({"contents": contents, "tools": tools, "generationConfig": {"maxOutputTokens": 3000}})
        }
        _ => return None,
    })
}

/// Answers that are something else than text and calls.
fn others() -> Vec<(&'static str, ChatResponse)> {
    let one = |choice: Choice| {
        let usage = Usage::ZERO.with(Bucket::Input, 20).with(Bucket::Output, 3);
        let (id, model) = ("answer-2".to_owned(), "upstream-model".to_owned());
        let created = Some(1_700_000_000);
        ChatResponse { id, model, created, choices: vec![choice], usage: Some(usage), service_tier: None, served: None }
    };
    let said = |part: Option<Part>, finish| Choice { content: part.into_iter().collect(), finish, ..Choice::new(0) };
    let refusal = Part::Refusal("I can't help with that.".into());
    let token = TokenLogprob { token: "Yes".into(), logprob: -0.25, bytes: None, top: vec![("No".into(), -1.5)] };
    let sure = Choice { logprobs: vec![token], ..said(Some(Part::Text("Yes".into())), FinishReason::Stop) };
    let half = vec![ToolCall::new("call_1", "weather", "{\"city\":\"Be")];
    vec![
        ("refusal", one(said(Some(refusal), FinishReason::Stop))),
        ("filtered", one(said(None, FinishReason::ContentFilter))),
        ("logprobs", one(sure)),
        ("a call that was cut", one(Choice { tool_calls: half, ..said(None, FinishReason::Length) })),
    ]
}

fn pair(from: DialectId, to: DialectId) -> String {
    let (client, provider) = (ingress(from).unwrap(), egress(to).unwrap());
    let quirks = Quirks::default();
    let target = Destination { model: "upstream-model", default_max_output: 4096, max_output: None, quirks: &quirks };
    let located = Located { model: Some("asked-model".into()), stream: false, array: false, unnamed: None };
    // Writing to a string cannot fail.
    let mut out = String::new();
    let _ = writeln!(out, "# {} clients, {} providers\n", from.name(), to.name());
    for (feature, body) in requests(from) {
        let bytes = Bytes::from(body);
        let envelope = client.envelope(&bytes, &located).unwrap_or_else(|e| panic!("{feature}: {e}"));
        let early = inexpressible(&envelope, from, to);
        let _ = writeln!(out, "## {feature}\n");
        if !early.is_empty() {
            let _ = writeln!(out, "not admitted: {}\n", early.join(", "));
        }
        let request = client.decode_request(&bytes, &envelope).unwrap_or_else(|e| panic!("{feature}: {e}"));
        match provider.transcode().encode_request(&request, &target) {
            Ok((wire, loss)) => {
                let _ = writeln!(out, "```json\n{}\n```\n", pretty(&wire));
                let list = |names: &[String]| if names.is_empty() { "-".to_owned() } else { names.join(", ") };
                let _ = writeln!(out, "lost: {}; listed: {}\n", list(&loss.semantic), list(&loss.advisory));
            }
            Err(error) => {
                let _ = writeln!(out, "refused: {} ({})\n", error.message, error.param.unwrap_or_default());
            }
        }
    }
    let rendering = || Rendering { created: 1_700_000_000, ..Rendering::example("asked-model", true) };
    let response = answer(to);
    let whole = client.encode_response(&response, &rendering());
    let _ = writeln!(out, "## answer\n\n```json\n{}\n```\n", pretty(&whole));
    let stream = |events: &[ChatEvent]| {
        let (mut encoder, mut stream) = (client.encode_stream(rendering()), BytesMut::new());
        events.iter().for_each(|event| encoder.event(event, &mut stream));
        String::from_utf8_lossy(&stream).trim_end().replace('\r', "")
    };
    let _ = writeln!(out, "## stream\n\n```\n{}\n```", stream(&events(&response)));
    if let Some(body) = again(from, &serde_json::from_slice(&whole).unwrap()) {
        let bytes = Bytes::from(body.to_string());
        let envelope = client.envelope(&bytes, &located).unwrap();
        let request = client.decode_request(&bytes, &envelope).unwrap();
        let (wire, loss) = provider.transcode().encode_request(&request, &target).unwrap();
        let wire = pretty(&wire);
        assert!(!SIGNING.contains(&to) || wire.contains(SIGNATURE), "{from:?} to {to:?}: {wire}");
        let _ = writeln!(out, "\n## the answer sent back with results\n\n```json\n{wire}\n```\n");
        let list = |names: &[String]| if names.is_empty() { "-".to_owned() } else { names.join(", ") };
        let _ = writeln!(out, "lost: {}; listed: {}", list(&loss.semantic), list(&loss.advisory));
    }
    for (feature, response) in others() {
        let whole = client.encode_response(&response, &rendering());
        let _ = writeln!(out, "\n## answer: {feature}\n\n```json\n{}\n```\n", pretty(&whole));
        let _ = writeln!(out, "```\n{}\n```", stream(&collect::events(response)));
    }
    out
}

#[test]
fn every_pair_says_what_its_golden_file_says() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let (mut pairs, mut stale) = (0, Vec::new());
    for from in DialectId::ALL.into_iter().filter(|d| ingress(*d).is_some()) {
        for to in DialectId::ALL.into_iter().filter(|d| egress(*d).is_some() && *d != from) {
            if egress(to).unwrap().transcode().carries(Slot::Core) == Carriage::No {
                continue;
            }
            let path = dir().join(format!("{}--{}.md", from.name(), to.name()));
            let text = pair(from, to);
            if update {
                std::fs::write(&path, &text).unwrap();
            }
            if std::fs::read_to_string(&path).unwrap_or_default() != text {
                stale.push(path);
            }
            pairs += 1;
        }
    }
    println!("{pairs} pairs");
    assert!(stale.is_empty(), "look at the difference, then UPDATE_GOLDEN=1: {stale:?}");
}

/// A request means the same after a turn through any other dialect that can say it.
#[test]
fn marks_and_signatures_never_reach_a_foreign_provider() {
    let mut turn = crate::domain::chat::Message::new(crate::domain::chat::Role::Assistant, Vec::new());
    turn.content = vec![
        Part::Reasoning { text: "secret thought".into(), signature: Some(Signature::new(DialectId::Native, "x")) },
        Part::Text("hi".into()),
        Part::CacheMark(CacheMark { ttl: None }),
    ];
    let user = crate::domain::chat::Message::new(crate::domain::chat::Role::User, vec![Part::Text("go".into())]);
    let request = ChatRequest { messages: vec![user.clone(), turn, user], ..ChatRequest::default() };
    let quirks = Quirks::default();
    let target = Destination { model: "m", default_max_output: 4096, max_output: None, quirks: &quirks };
    for to in DialectId::ALL.into_iter().filter_map(egress).map(Egress::transcode) {
        if to.carries(Slot::Core) == Carriage::No {
            continue;
        }
        let (wire, loss) = to.encode_request(&request, &target).unwrap();
        assert!(!String::from_utf8_lossy(&wire).contains("secret thought"));
        assert!(!loss.is_empty(), "what stayed at home is listed");
    }
}

/// Requests for vectors in the words of each client dialect: form, body, name.
const VECTORS: [(DialectId, &str, &str, &str); 6] = [
    (
        DialectId::OpenAiChat,
        "one text, everything said",
        "embeddings",
        r#"{"model":"m","input":"hello","dimensions":2,"encoding_format":"base64","user":"u-1","input_type":"query"}"#,
    ),
    (
        DialectId::OpenAiChat,
        "several texts",
        "embeddings",
        r#"{"model":"m","input":["a","b"],"encoding_format":"float"}"#,
    ),
    (DialectId::OpenAiChat, "token numbers", "embeddings", r#"{"model":"m","input":[[1,2],[3]]}"#),
    (
        DialectId::OpenAiChat,
        "a member that nobody knows",
        "embeddings",
        r#"{"model":"m","input":"a","output_dtype":"int8"}"#,
    ),
    (
        DialectId::Gemini,
        "one",
        "embedContent",
        r#"{"content":{"parts":[{"text":"hel"},{"text":"lo"}]},"taskType":"QUESTION_ANSWERING","outputDimensionality":2}"#,
    ),
    (
        DialectId::Gemini,
        "a batch",
        "batchEmbedContents",
        r#"{"requests":[{"model":"models/m","content":{"parts":[{"text":"a"}]},"taskType":"RETRIEVAL_DOCUMENT","title":"t"},{"model":"models/m","content":{"parts":[{"text":"b"}]},"task_type":"RETRIEVAL_DOCUMENT","title":"t"}]}"#,
    ),
];

/// What each provider answers, for so many vectors.
fn vectors(to: DialectId, count: usize) -> String {
    let list = |form: &str| vec![form; count].join(",");
    match to {
        DialectId::Gemini => format!("{{\"embeddings\":[{}]}}", list("{\"values\":[0.25,-0.013168523]}")),
        DialectId::Cohere => format!(
            "{{\"id\":\"e\",\"embeddings\":{{\"float\":[{}]}},\"meta\":{{\"billed_units\":{{\"input_tokens\":3}}}}}}",
            list("[0.25,-0.013168523]")
        ),
        DialectId::Ollama => {
            format!("{{\"model\":\"m:1\",\"embeddings\":[{}],\"prompt_eval_count\":3}}", list("[0.25,-0.013168523]"))
        }
        _ => {
            let item = |index: usize| format!("{{\"index\":{index},\"embedding\":\"AACAPmHBV7w=\"}}");
            let items: Vec<String> = (0..count).rev().map(item).collect();
            format!(
                "{{\"object\":\"list\",\"data\":[{}],\"model\":\"m-1\",\"usage\":{{\"prompt_tokens\":3,\"total_tokens\":3}}}}",
                items.join(",")
            )
        }
    }
}

#[test]
fn vectors_between_dialects_say_what_the_golden_file_says() {
    let mut out = String::from("# Vectors between dialects\n");
    for (from, title, path, body) in VECTORS {
        let client = ingress(from).unwrap().embeddings().unwrap();
        let request = client.decode(body.as_bytes(), path).unwrap();
        let _ = writeln!(out, "\n## {}: {title}\n\n```json\n{}\n```", from.name(), pretty(body.as_bytes()));
        for to in DialectId::ALL.into_iter().filter(|to| *to != from) {
            let Some(provider) = embeddings(to) else { continue };
            let (semantic, hints) = embed::missing(&request, client, Some(provider));
            let _ = writeln!(out, "\n### {}\n", to.name());
            let list = |names: &[String]| if names.is_empty() { "-".to_owned() } else { names.join(", ") };
            let _ = writeln!(out, "lost: {}; listed: {}\n", list(&semantic), list(&hints));
            match provider.encode(&request, "upstream-model", &Quirks::default()) {
                Ok((path, wire)) => {
                    let _ = writeln!(out, "```json\nPOST {path}\n{}\n```\n", pretty(&wire));
                }
                Err(error) => {
                    let _ = writeln!(out, "refused: {} ({})", error.message, error.param.unwrap_or_default());
                    continue;
                }
            }
            let answer = provider.decode(vectors(to, request.inputs.len()).as_bytes()).unwrap();
            assert_eq!(answer.vectors.len(), request.inputs.len());
            let shown = client.encode(&answer, &request, "asked-model", 7);
            let _ = writeln!(out, "```json\n{}\n```", pretty(&shown));
        }
    }
    let path = dir().join("embeddings.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &out).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), out, "look, then UPDATE_GOLDEN=1");
}

#[test]
fn what_is_no_request_for_vectors_is_refused_by_name() {
    let cases = [
        (DialectId::OpenAiChat, "embeddings", r#"{"model":"m"}"#, "input"),
        (DialectId::OpenAiChat, "embeddings", r#"{"model":"m","input":[]}"#, "input"),
        (DialectId::OpenAiChat, "embeddings", r#"{"model":"m","input":["a",""]}"#, "input"),
        (DialectId::OpenAiChat, "embeddings", r#"{"model":"m","input":[1,"a"]}"#, "input"),
        (DialectId::OpenAiChat, "embeddings", r#"{"model":"m","input":[-1]}"#, "input"),
        (
            DialectId::OpenAiChat,
            "embeddings",
            r#"{"model":"m","input":"a","encoding_format":"int8"}"#,
            "encoding_format",
        ),
        (DialectId::OpenAiChat, "embeddings", r#"{"model":"m","input":"a","dimensions":0}"#, "dimensions"),
        (DialectId::OpenAiChat, "embeddings", r#"{"model":"m","input":"a","dimensions":"2"}"#, "dimensions"),
        (DialectId::Gemini, "embedContent", "{}", "content"),
        (DialectId::Gemini, "embedContent", r#"{"content":{"parts":[{"inlineData":{}}]}}"#, "content.parts[0]"),
        (DialectId::Gemini, "embedContent", r#"{"content":{"parts":[{"text":"a"}]},"taskType":"X"}"#, "taskType"),
        (DialectId::Gemini, "batchEmbedContents", r#"{"requests":[]}"#, "requests"),
        (DialectId::Gemini, "batchEmbedContents", r#"{"requests":[{}]}"#, "requests[0].content"),
        (
            DialectId::Gemini,
            "batchEmbedContents",
            r#"{"requests":[{"content":{"parts":[{"text":"a"}]}},{"content":{"parts":[{"text":"b"}]},"title":"t"}]}"#,
            "requests[1]",
        ),
    ];
    for (from, path, body, param) in cases {
        let client = ingress(from).unwrap().embeddings().unwrap();
        let error = client.decode(body.as_bytes(), path).unwrap_err();
        assert_eq!((error.kind.status(), error.param.as_deref()), (400, Some(param)), "{body}: {}", error.message);
    }
    for to in DialectId::ALL.into_iter().filter_map(embeddings) {
        for body in ["", "{}", "[]", r#"{"data":[{"embedding":"??"}],"embeddings":[{"values":["a"]}]}"#] {
            assert!(to.decode(body.as_bytes()).is_err(), "{body}");
        }
    }
}

#[test]
fn a_body_of_googles_that_passes_names_the_targets_model_everywhere() {
    let gemini = egress(DialectId::Gemini).unwrap();
    let renamed = |body: &str| {
        let body = gemini.rename_other(&Bytes::copy_from_slice(body.as_bytes()), "m-2");
        String::from_utf8(body.to_vec()).unwrap()
    };
    assert_eq!(renamed(r#"{"model":"models/m","content":{}}"#), r#"{"model":"models/m-2","content":{}}"#);
    assert_eq!(
        renamed(r#"{"requests":[{"model":"models/m","a":1.50},{"b":2}]}"#),
        r#"{"requests":[{"model":"models/m-2","a":1.50},{"b":2}]}"#
    );
    assert_eq!(
        renamed(r#"{"generateContentRequest":{"model":"models/m","contents":[]}}"#),
        r#"{"generateContentRequest":{"model":"models/m-2","contents":[]}}"#
    );
    assert_eq!(renamed("{\"contents\":[]}"), "{\"contents\":[]}");
}
