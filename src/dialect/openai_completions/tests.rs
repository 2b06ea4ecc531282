//! Tests of the dialect.

use bytes::BytesMut;
use serde_json::{Value, json};

use super::*;
use crate::domain::chat::{ChatEvent, Choice, FinishReason, Part};
use crate::domain::id::DialectId;
use crate::domain::usage::{Bucket, Usage};

fn envelope(body: &Value) -> Result<Envelope, Error> {
    OpenAiCompletions.envelope(&Bytes::from(body.to_string()), &Located::default())
}

fn decode(body: &Value) -> Result<ChatRequest, Error> {
    OpenAiCompletions.decode_request(body.to_string().as_bytes(), &Envelope::default())
}

#[test]
fn a_prompt_becomes_a_turn() {
    let body = json!({"model": "m", "prompt": ["say hi"], "max_tokens": 5, "stop": "x", "stream": true, "echo": false});
    let (envelope, request) = (envelope(&body).unwrap(), decode(&body).unwrap());
    assert_eq!((envelope.max_output, envelope.stream), (Some(5), true));
    assert_eq!(request.messages[0].content, [Part::Text("say hi".into())]);
    assert_eq!(request.sampling.stop, ["x"]);
}

#[test]
fn what_only_a_text_model_can_do_is_refused_by_name() {
    for prompt in [json!([1, 2, 3]), json!(["a", "b"]), json!([[1], [2]])] {
        assert_eq!(decode(&json!({"model": "m", "prompt": prompt})).unwrap_err().param.as_deref(), Some("prompt"));
    }
    assert_eq!(envelope(&json!({"model": "m"})).unwrap_err().param.as_deref(), Some("prompt"));
    let suffix = json!({"model": "m", "prompt": "a", "suffix": "b", "best_of": 1});
    let to = Destination { model: "m", default_max_output: 9, max_output: None, quirks: &Quirks::default() };
    let chat = crate::dialect::egress(DialectId::OpenAiChat).unwrap();
    let (_, loss) = chat.transcode().encode_request(&decode(&suffix).unwrap(), &to).unwrap();
    assert_eq!(loss.semantic, ["suffix"], "a neutral `best_of` is none");
}

#[test]
fn answers_have_the_shape_of_the_dialect() {
    let mut choice = Choice::new(0);
    choice.content = vec![Part::Reasoning { text: "hm".into(), signature: None }, Part::Text("hi".into())];
    choice.finish = FinishReason::Length;
    let usage = Usage::ZERO.with(Bucket::Input, 3).with(Bucket::Output, 2);
    let response = ChatResponse { choices: vec![choice], usage: Some(usage), ..ChatResponse::default() };
    let body = OpenAiCompletions.encode_response(&response, &Rendering::example("m", true));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["object"], "text_completion");
    assert_eq!((&body["choices"][0]["text"], &body["choices"][0]["finish_reason"]), (&json!("hi"), &json!("length")));
    assert_eq!(body["usage"]["total_tokens"], 5);

    let (mut encoder, mut out) = (answer::Encoder::new(Rendering::example("m", true)), BytesMut::new());
    let events = [
        ChatEvent::Start { id: "up".into(), model: "x".into(), created: Some(7) },
        ChatEvent::Reasoning { choice: 0, text: "hm".into() },
        ChatEvent::Text { choice: 0, text: "hi".into() },
        ChatEvent::Finish { choice: 0, reason: FinishReason::Stop, stop_sequence: None },
        ChatEvent::Usage(usage),
        ChatEvent::End,
    ];
    events.iter().for_each(|event| encoder.event(event, &mut out));
    let text = String::from_utf8(out.to_vec()).unwrap();
    assert!(!text.contains("hm") && text.matches("\"text\":\"hi\"").count() == 1, "{text}");
    assert!(text.contains("\"choices\":[],\"usage\"") && text.ends_with("data: [DONE]\n\n"), "{text}");
}

#[test]
fn a_stream_that_passes_is_metered() {
    let stream = "data: {\"id\":\"c\",\"object\":\"text_completion\",\"choices\":[{\"text\":\"hello\",\"index\":0,\"finish_reason\":null}]}\n\ndata: {\"id\":\"c\",\"choices\":[{\"text\":\"\",\"index\":0,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":1,\"total_tokens\":3}}\n\ndata: [DONE]\n\n";
    let mut tap = OpenAiCompletions.tap(&Quirks::default(), Watching::default());
    let mut out = Vec::new();
    tap.chunk(Bytes::from(stream), &mut out).unwrap();
    tap.end(&mut out).unwrap();
    assert_eq!(out.concat(), stream.as_bytes());
    let seen = tap.observed();
    assert!(seen.began && seen.finished && seen.output_bytes == 5, "{seen:?}");
    assert_eq!(seen.usage, Some(Usage::ZERO.with(Bucket::Input, 2).with(Bucket::Output, 1)));
}

#[test]
fn code_that_the_provider_ran_stands_beside_the_text() {
    let part = |raw: &str| Part::Opaque { dialect: "gemini", raw: crate::domain::chat::Json::new(raw) };
    let parts = [
        part(r#"{"executableCode":{"language":"PYTHON","code":"print(1)"}}"#),
        part(r#"{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1\n"}}"#),
        Part::Text("It is 1.".into()),
    ];
    let want = json!([{"type": "code", "language": "python", "code": "print(1)"}, {"type": "output", "output": "1\n"}]);
    let mut choice = Choice::new(0);
    choice.content = parts.to_vec();
    let response = ChatResponse { choices: vec![choice], ..ChatResponse::default() };
    let body = OpenAiCompletions.encode_response(&response, &Rendering::example("m", true));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["choices"][0]["text"], &body["choices"][0]["executed_code"]), (&json!("It is 1."), &want));

    let (mut encoder, mut out) = (answer::Encoder::new(Rendering::example("m", true)), BytesMut::new());
    for event in crate::domain::collect::events(response) {
        encoder.event(&event, &mut out);
    }
    let frames = std::str::from_utf8(&out).unwrap().lines().filter_map(|line| line.strip_prefix("data: {"));
    let chunks: Vec<Value> = frames.map(|frame| serde_json::from_str(&format!("{{{frame}")).unwrap()).collect();
    let code = chunks.iter().filter_map(|chunk| chunk["choices"][0]["executed_code"].as_array()).flatten();
    assert_eq!(code.cloned().collect::<Value>(), want);
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, "It is 1.");
}
