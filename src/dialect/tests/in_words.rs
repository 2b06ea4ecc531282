//! Parts that only one dialect knows, on their way to the others.

use super::*;
use crate::domain::chat::{ChatResponse, Part};

const OTHERS: [DialectId; 4] = [CHAT, RESPONSES, DialectId::Cohere, DialectId::Ollama];

/// Everything that a body says, in one text.
fn said(body: &Value) -> String {
    match body {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(said).collect::<Vec<_>>().join("|"),
        Value::Object(members) => members.values().map(said).collect::<Vec<_>>().join("|"),
        _ => String::new(),
    }
}

#[test]
fn code_that_gemini_ran_stands_in_an_answer_in_the_clients_form_and_comes_back_as_text() {
    let parts = json!([{"text": "Let me see."}, {"executableCode": {"language": "PYTHON", "code": "print(1)"}, "thoughtSignature": "c2ln"},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "```"}}, {"text": "It is 1."}]);
    let body = json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]});
    let transcode = egress(DialectId::Gemini).unwrap().transcode();
    let text = |response: &ChatResponse| -> String {
        let texts = response.choices[0].content.iter();
        texts.filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None }).collect()
    };
    let whole = transcode.decode_response(body.to_string().as_bytes(), &Quirks::default()).unwrap();
    assert_eq!(text(&whole), "Let me see.It is 1.", "it is no part of the text");
    let frames = parts.as_array().unwrap().iter().map(|part| json!({"candidates": [{"content": {"parts": [part]}}]}));
    let last = json!({"candidates": [{"content": {"parts": []}, "finishReason": "STOP"}]});
    let stream: String = frames.chain([last]).map(|frame| format!("data: {frame}\r\n\r\n")).collect();
    let (events, result, _) =
        crate::dialect::corpus::decode(transcode.decode_stream(&Quirks::default()), stream.as_bytes(), 7);
    result.unwrap();
    let streamed = crate::dialect::corpus::gather(events);
    assert_eq!(text(&streamed), "Let me see.It is 1.");
    for answer in [&whole, &streamed] {
        let shown = |client: DialectId| -> Value {
            let whole = ingress(client).unwrap().encode_response(answer, &Rendering::example("m", false));
            serde_json::from_slice(&whole).unwrap()
        };
        let code = json!([{"type": "code", "language": "python", "code": "print(1)"}, {"type": "output", "output": "1\n"},
            {"type": "output", "output": "```", "failed": "OUTCOME_FAILED"}]);
        assert_eq!(shown(CHAT)["choices"][0]["message"]["executed_code"], code);
        let message = shown(DialectId::Anthropic);
        let kinds: Vec<_> =
            message["content"].as_array().unwrap().iter().map(|b| b["type"].as_str().unwrap()).collect();
        assert_eq!(
            kinds.iter().filter(|kind| **kind != "thinking").copied().collect::<Vec<_>>(),
            ["text", "server_tool_use", "code_execution_tool_result", "code_execution_tool_result", "text"]
        );
        let of = |kind: &str| message["content"].as_array().unwrap().iter().find(|b| b["type"] == kind).unwrap();
        assert_eq!(of("server_tool_use")["id"], of("code_execution_tool_result")["tool_use_id"]);
        let response = shown(RESPONSES);
        let items =
            response["output"].as_array().unwrap().iter().filter(|item| item["type"] == "code_interpreter_call");
        assert_eq!(
            items.clone().map(|item| item["code"].clone()).collect::<Vec<_>>(),
            [json!("print(1)"), json!(null), json!(null)]
        );
        let back = json!({"model": "m", "input": response["output"]});
        let (sent, loss) = crossed(RESPONSES, &back, DialectId::Gemini).unwrap();
        assert!(said(&sent).contains("```python\nprint(1)\n```") && said(&sent).contains("```\n1\n```"), "{sent}");
        assert!(loss.semantic.is_empty(), "{loss:?}");
        let turns = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": message["content"]}, {"role": "user", "content": "go"}]);
        let (sent, _) = crossed(
            DialectId::Anthropic,
            &json!({"model": "m", "max_tokens": 9, "messages": turns}),
            DialectId::Gemini,
        )
        .unwrap();
        assert!(said(&sent).contains("```python\nprint(1)\n```") && said(&sent).contains("```\n1\n```"), "{sent}");
        let mut events = crate::domain::collect::events(answer.clone());
        events.retain(|event| !matches!(event, ChatEvent::ReasoningSignature { .. }));
        for (client, wanted) in [
            (CHAT, "\"executed_code\":[{\"type\":\"code\""),
            (RESPONSES, "\"type\":\"code_interpreter_call\""),
            (DialectId::Anthropic, "\"type\":\"server_tool_use\""),
        ] {
            let (mut encoder, mut out) =
                (ingress(client).unwrap().encode_stream(Rendering::example("m", false)), BytesMut::new());
            events.iter().for_each(|event| encoder.event(event, &mut out));
            assert!(String::from_utf8_lossy(&out).contains(wanted), "{client:?}");
        }
    }
}

#[test]
fn code_in_a_conversation_with_gemini_reaches_others_as_text_and_gemini_as_it_is() {
    let ran = json!({"executableCode": {"language": "PYTHON", "code": "print(1)"}});
    let body = json!({"contents": [{"role": "user", "parts": [{"text": "run"}]},
        {"role": "model", "parts": [ran, {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}, {"text": "done"}]},
        {"role": "user", "parts": [{"text": "again"}]}]});
    for to in OTHERS.into_iter().chain([DialectId::Anthropic, DialectId::Bedrock]) {
        let (sent, loss) = crossed(DialectId::Gemini, &body, to).unwrap();
        let all = said(&sent);
        assert!(all.contains("```python\nprint(1)\n```") && all.contains("```\n1\n```"), "{sent}");
        assert!(loss.is_empty(), "{to:?}: {loss:?}");
    }
    let (sent, loss) = crossed(DialectId::Gemini, &body, DialectId::Gemini).unwrap();
    assert_eq!(sent["contents"][1]["parts"], body["contents"][1]["parts"]);
    assert!(loss.is_empty());
}

#[test]
fn search_results_and_documents_of_blocks_are_text_for_others() {
    let photo = json!({"type": "base64", "media_type": "image/png", "data": "aGk="});
    let found = json!({"type": "search_result", "source": "https://a.example", "title": "A page",
        "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "citations": {"enabled": true}});
    let document = json!({"type": "document", "title": "D", "context": "about D", "citations": {"enabled": true},
        "source": {"type": "content", "content": [{"type": "text", "text": "three"}, {"type": "image", "source": photo}]}});
    let body = json!({"model": "m", "max_tokens": 9, "system": "s", "messages": [
        {"role": "user", "content": [document, {"type": "text", "text": "search"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [found, {"type": "tool_reference", "tool_name": "g"}]}]}]});
    for to in OTHERS.into_iter().chain([DialectId::Gemini, DialectId::Bedrock]) {
        let (sent, loss) = crossed(DialectId::Anthropic, &body, to).unwrap_or_else(|error| panic!("{to:?}: {error:?}"));
        let all = said(&sent);
        let plain =
            all.contains("A page\nhttps://a.example\n\none\n\ntwo") || all.contains("A page\\nhttps://a.example");
        assert!(plain && all.contains("D\nabout D\n\nthree") && all.contains("aGk="), "{to:?} {sent}");
        let listed = ["messages.content.citations.enabled", "messages[2].content[0].content[0].citations"];
        assert_eq!(
            (loss.semantic.as_slice(), loss.advisory.as_slice()),
            (&[][..], &listed.map(str::to_owned)[..]),
            "{to:?}"
        );
    }
    let (sent, loss) = crossed(DialectId::Anthropic, &body, DialectId::Anthropic).unwrap();
    assert_eq!(sent["messages"][0]["content"][0]["source"], body["messages"][0]["content"][0]["source"]);
    assert_eq!(sent["messages"][2]["content"][0]["content"][0], body["messages"][2]["content"][0]["content"][0]);
    assert!(loss.semantic.is_empty());
    let strange = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]});
    let error = crossed(DialectId::Anthropic, &strange, CHAT).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("messages[0].content[0]"), "what cannot be told is refused by name");
}

#[test]
fn the_embedded_runtime_is_told_the_same() {
    let found =
        json!({"type": "search_result", "source": "u", "title": "T", "content": [{"type": "text", "text": "one"}]});
    let body = Bytes::from(
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [found]}]}).to_string(),
    );
    let client = ingress(DialectId::Anthropic).unwrap();
    let envelope = client.envelope(&body, &Located::default()).unwrap();
    let request = client.decode_request(&body, &envelope).unwrap();
    let (told, loss) = native::told(&request).unwrap();
    assert_eq!(told.messages[0].content, [Part::Text("T\nu\n\none".into())]);
    assert!(loss.is_empty());
}
