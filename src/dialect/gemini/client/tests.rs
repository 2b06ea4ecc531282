//! Tests of the client's side.

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Egress, Passthrough as _};
use super::*;
use crate::dialect::corpus;
use crate::dialect::{Destination, Quirks, Transcode};
use crate::domain::chat::{
    ChatEvent, FinishReason, Media, MediaSource, Part, ResponseFormat, Role, Signature, ToolChoice, ToolKind,
};
use crate::domain::id::DialectId;
use crate::domain::target::Capability;
use crate::domain::usage::{Bucket, Usage};

fn located(stream: bool, array: bool) -> Located {
    Located { model: Some("m".into()), stream, array, unnamed: None }
}

fn envelope(body: &Value) -> Result<Envelope, Error> {
    Gemini.envelope(&Bytes::from(body.to_string()), &located(false, false))
}

fn decode(body: &Value) -> ChatRequest {
    Gemini.decode_request(body.to_string().as_bytes(), &envelope(body).unwrap()).unwrap()
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "parts": [{"text": text}]}])
}

#[test]
fn the_envelope_reads_both_spellings() {
    let body = json!({"contents": user("hi"), "generation_config": {"max_output_tokens": 7, "candidate_count": 2,
        "response_mime_type": "application/json"}, "tools": [{"function_declarations": [{"name": "f"}]}]});
    let read = envelope(&body).unwrap();
    assert_eq!((read.max_output, read.choices, read.model.as_str()), (Some(7), 2, "m"));
    for capability in [Capability::Json, Capability::Tools, Capability::Choices] {
        assert!(read.needs.has(capability), "{capability:?}");
    }
    assert!(read.members.iter().any(|m| &**m == "generationConfig.maxOutputTokens"), "{:?}", read.members);
    let image = json!({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "x"}}]}]});
    assert!(envelope(&image).unwrap().needs.has(Capability::Image));
    assert!(!envelope(&json!({"contents": user("\"inlineData\"")})).unwrap().needs.has(Capability::Image));
    for (body, param) in [
        (json!({}), "contents"),
        (json!({"contents": []}), "contents"),
        (json!({"contents": user("x"), "generationConfig": 5}), "generationConfig"),
        (
            json!({"contents": user("x"), "generationConfig": {"maxOutputTokens": 0}}),
            "generationConfig.maxOutputTokens",
        ),
    ] {
        assert_eq!(envelope(&body).unwrap_err().param.as_deref(), Some(param), "{body}");
    }
}

#[test]
fn calls_and_results_without_ids_find_each_other() {
    let request = decode(&json!({
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [
                {"text": "hm", "thought": true},
                {"functionCall": {"name": "f", "args": {"n": 1}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "f", "args": {"n": 2}}},
                {"functionCall": {"name": "g"}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "f", "response": {"result": "one"}}},
                {"functionResponse": {"name": "g", "response": {"error": "broken"}}},
                {"functionResponse": {"name": "f", "response": {"x": 2, "y": 3}}}]}],
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {
            "n": {"type": "INTEGER", "nullable": true}}, "propertyOrdering": ["n"]}}]}, {"googleSearch": {}}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {"thinkingConfig": {"thinkingBudget": 2048}, "topK": 40.0, "stopSequences": ["END"],
            "responseSchema": {"type": "STRING", "enum": ["a"]}, "responseMimeType": "application/json"},
        "safetySettings": [],
    }));
    let roles: Vec<Role> = request.messages.iter().map(|m| m.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::Tool, Role::Tool]);
    let calls = &request.messages[2].tool_calls;
    let ids: Vec<&str> = request.messages[3..].iter().map(|m| m.tool_call_id.as_deref().unwrap()).collect();
    assert_eq!(ids, [&*calls[0].id, &*calls[2].id, &*calls[1].id]);
    assert_eq!(calls[0].signature, Some(Signature::new(DialectId::Gemini, "c2ln")));
    assert_eq!(request.messages[3].content, [Part::Text("one".into())]);
    assert!(request.messages[4].tool_failed && !request.messages[5].tool_failed);
    let schema: Value = serde_json::from_str(request.tools[0].parameters.as_ref().unwrap().as_str()).unwrap();
    assert_eq!(schema, json!({"type": "object", "properties": {"n": {"type": ["integer", "null"]}}}));
    assert!(matches!(request.tools[1].kind, ToolKind::Server { origin: DialectId::Gemini, .. }));
    assert_eq!(request.tool_choice, Some(ToolChoice::Function("f".into())));
    assert_eq!(request.reasoning.as_ref().unwrap().budget_tokens, Some(2048));
    assert_eq!((request.sampling.top_k, request.sampling.stop.as_slice()), (Some(40), &["END".to_owned()][..]));
    assert!(
        matches!(&request.response_format, Some(ResponseFormat::JsonSchema { schema: Some(s), .. }) if s.as_str().contains("string"))
    );
    assert_eq!(request.extra.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["safetySettings"]);
}

#[test]
fn inline_data_are_written_in_the_usual_letters_text_is_text_and_results_show_images() {
    let blob = |kind: &str, data: &str| json!({"inlineData": {"mimeType": kind, "data": data}});
    let body = json!({"contents": [
        {"role": "user", "parts": [blob("image/png", "-_-_YQ"), blob("text/csv", "YSxi"), blob("text/csv", "_w"),
            blob("image/png", "+/+/YQ==")]},
        {"role": "model", "parts": [{"functionCall": {"name": "f"}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "r"},
            "parts": [blob("image/png", "_w=="), {"fileData": {"fileUri": "https://e.org/a.pdf",
                "mimeType": "application/pdf"}}]}}]}]});
    let request = decode(&body);
    let inline = |kind: &str, data: &str| Media {
        source: MediaSource::Base64 { media_type: kind.to_owned(), data: data.to_owned() },
        media_type: Some(kind.to_owned()),
        detail: None,
        name: None,
    };
    let image = |data| Part::Image(inline("image/png", data));
    let not_text = Part::File(inline("text/csv", "/w=="));
    assert_eq!(request.messages[0].content, [image("+/+/YQ=="), Part::Text("a,b".into()), not_text, image("+/+/YQ==")]);
    let [text, shown, file] = &*request.messages[2].content else { panic!("{:?}", request.messages[2]) };
    assert_eq!((text, shown), (&Part::Text("r".into()), &image("/w==")));
    assert!(matches!(file, Part::File(media) if media.source == MediaSource::Url("https://e.org/a.pdf".into())));
    assert_eq!(request.unread, [""; 0]);
    let needs = |body: &Value| envelope(body).unwrap().needs;
    assert!(needs(&body).has(Capability::Image) && needs(&body).has(Capability::File));
    let text = json!({"contents": [{"parts": [blob("text/plain", "YQ==")]}]});
    assert!(!needs(&text).has(Capability::File), "text is text");
}

#[test]
fn recorded_requests_keep_their_form_through_the_canonical_one() {
    let apis = ["generateContent", "streamGenerateContent"];
    let Some(exchanges) = corpus::load(&apis, |x| x.status < 400 && x.request.body.is_some()) else { return };
    let quirks = Quirks::default();
    let to = Destination { model: "m", default_max_output: 9, max_output: None, quirks: &quirks };
    let (mut stable, mut refused) = (0, Vec::new());
    for (exchange, _) in &exchanges {
        let body = Bytes::from(exchange.request.body.as_ref().unwrap().get().to_owned());
        if !body.starts_with(b"{") {
            continue;
        }
        let read = |body: &Bytes| {
            let envelope = Gemini.envelope(body, &located(false, false))?;
            Gemini.decode_request(body, &envelope)
        };
        let first = read(&body).unwrap_or_else(|e| panic!("{}: {e}", exchange.id));
        match Gemini.encode_request(&first, &to) {
            Ok((again, _)) => {
                let second = read(&again).unwrap();
                let shape = |r: &ChatRequest| {
                    let said = r.messages.iter().map(|m| (m.role, m.content.clone(), m.tool_calls.len()));
                    (said.collect::<Vec<_>>(), r.sampling.clone(), r.max_output_tokens, r.tools.len())
                };
                let merged = |r: &ChatRequest| r.messages.len();
                if merged(&first) == merged(&second) {
                    let (mut one, mut two) = (shape(&first), shape(&second));
                    // Thinking without a signature of its own stays at home.
                    for side in [&mut one.0, &mut two.0] {
                        side.iter_mut().for_each(|(_, content, _)| {
                            content.retain(|p| !matches!(p, Part::Reasoning { .. } | Part::Opaque { .. }));
                        });
                    }
                    assert_eq!(one, two, "{}", exchange.id);
                }
                stable += 1;
            }
            Err(error) => refused.push(format!("{}: {error}", exchange.id)),
        }
    }
    println!("{stable} recorded requests are stable, {} refused: {refused:?}", refused.len());
    assert!(stable > 40 && refused.is_empty(), "{refused:?}");
}

fn events() -> Vec<ChatEvent> {
    let call = |index, id: &str, signature| ChatEvent::ToolStart {
        choice: 0,
        index,
        id: id.into(),
        name: "f".into(),
        custom: false,
        signature,
    };
    let part = |index, fragment: &str| ChatEvent::ToolArguments { choice: 0, index, fragment: fragment.into() };
    vec![
        ChatEvent::Start { id: "up-1".into(), model: "real".into(), created: None },
        ChatEvent::Reasoning { choice: 0, text: "hm".into() },
        ChatEvent::ReasoningSignature { choice: 0, signature: Signature::new(DialectId::Anthropic, "YW50") },
        ChatEvent::Text { choice: 0, text: "let me".into() },
        call(0, "a", Some(Signature::new(DialectId::Gemini, "Z2Vt"))),
        call(1, "b", None),
        part(1, "{\"m\":2}"),
        part(0, "{\"n\":"),
        part(0, "1}"),
        ChatEvent::Finish { choice: 0, reason: FinishReason::ToolCalls, stop_sequence: None },
        ChatEvent::Usage(Usage::ZERO.with(Bucket::Input, 5).with(Bucket::CacheRead, 3).with(Bucket::Output, 9)),
        ChatEvent::End,
    ]
}

fn rendered(array: bool) -> String {
    let rendering = Rendering { array, ..Rendering::example("shown", true) };
    let (mut encoder, mut out) = (events::Encoder::new(rendering), BytesMut::new());
    events().iter().for_each(|event| encoder.event(event, &mut out));
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn foreign_signatures_are_bytes_for_the_client_and_come_back_in_either_alphabet() {
    let foreign = Signature::new(DialectId::Anthropic, "a?>~+/==");
    let shown = answer::shown(&foreign).into_owned();
    assert!(shown.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)), "{shown}");
    let of_urls = shown.replace('+', "-").replace('/', "_");
    for given in [&shown, &of_urls, of_urls.trim_end_matches('=')] {
        assert_eq!(answer::read_signature(given), foreign, "{given}");
    }
    let own = Signature::new(DialectId::Gemini, "Z2Vt");
    assert_eq!((answer::shown(&own).as_ref(), answer::read_signature("Z2Vt")), ("Z2Vt", own.clone()));
    assert_eq!(answer::read_signature("no base64!").origin, DialectId::Gemini);
}

#[test]
fn our_own_reader_reads_what_we_write_in_either_form() {
    let want = corpus::gather(events());
    for array in [false, true] {
        let text = rendered(array);
        let (read, result, _) = corpus::decode(Gemini.decode_stream(&Quirks::default()), text.as_bytes(), 11);
        assert_eq!(result, Ok(()), "{text}");
        let got = corpus::gather(read);
        assert_eq!((got.usage, got.choices[0].finish), (want.usage, FinishReason::ToolCalls), "{text}");
        let calls = |r: &ChatResponse| -> Vec<_> {
            r.choices[0].tool_calls.iter().map(|c| (c.id.clone(), c.arguments.clone(), c.signature.clone())).collect()
        };
        assert_eq!(calls(&got), calls(&want), "{text}");
        assert!(text.contains("c3cuYW50aHJvcGljLllXNTA=") && text.contains("\"Z2Vt\"") && !text.contains("[DONE]"));
    }
    let list: Vec<Value> = serde_json::from_str(&rendered(true)).unwrap();
    assert_eq!(list.last().unwrap()["usageMetadata"]["totalTokenCount"], 17);
    let whole = Gemini.encode_response(&want, &Rendering::example("shown", true));
    let again = Gemini.decode_response(&whole, &Quirks::default()).unwrap();
    assert_eq!(again.choices[0].tool_calls, want.choices[0].tool_calls);
    assert!(Gemini.observe_response(&whole, &Quirks::default()).unwrap().usage.is_some());
    assert!(Gemini.passthrough().is_some());
}

#[test]
fn a_broken_stream_ends_with_an_error_in_either_form() {
    let error = Error::new(crate::domain::error::ErrorKind::UpstreamFailed, "broken");
    for array in [false, true] {
        let rendering = Rendering { array, ..Rendering::example("shown", true) };
        let (mut encoder, mut out) = (events::Encoder::new(rendering), BytesMut::new());
        encoder.event(&events()[3], &mut out);
        encoder.broken(&error, &mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        if array {
            let list: Vec<Value> = serde_json::from_str(&text).unwrap();
            assert_eq!(list[1]["error"]["status"], "UNAVAILABLE");
        } else {
            assert!(text.contains("\"error\":{\"code\":502"), "{text}");
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Gemini.decode_request(&bytes, &Envelope::default());
        let _ = Gemini.envelope(&Bytes::from(bytes), &located(true, true));
    }
}

#[test]
fn kinds_of_values_may_be_numbers_of_googles_enumeration() {
    let schema = crate::domain::chat::Json::new(
        r#"{"type":6,"properties":{"city":{"type":1},"days":{"type":5,"items":{"type":3}}}}"#,
    );
    let read: Value = serde_json::from_str(schema::json_schema(&schema).as_str()).unwrap();
    let want = json!({"type": "object", "properties": {"city": {"type": "string"},
        "days": {"type": "array", "items": {"type": "integer"}}}});
    assert_eq!(read, want);
}
