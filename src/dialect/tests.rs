//! What must hold on the way from one dialect to another, by small examples.

use serde_json::{Value, json};

use super::*;

mod cited;
mod in_words;
mod places;

use crate::domain::chat::{ChatResponse, Choice, FinishReason, ToolCall};
use crate::domain::error::ErrorKind;
use crate::domain::target::Capability;

/// What a request of one dialect is in another.
fn crossed(from: DialectId, body: &Value, to: DialectId) -> Result<(Value, Loss), Error> {
    let body = Bytes::from(body.to_string());
    let located = Located { model: (from == DialectId::Gemini).then(|| "m".to_owned()), ..Located::default() };
    let ingress = ingress(from).unwrap();
    let envelope = ingress.envelope(&body, &located)?;
    let request = ingress.decode_request(&body, &envelope)?;
    let quirks = Quirks::default();
    let to_there = Destination { model: "there", default_max_output: 4096, max_output: None, quirks: &quirks };
    let (body, loss) = egress(to).unwrap().transcode().encode_request(&request, &to_there)?;
    Ok((serde_json::from_slice(&body).unwrap(), loss))
}

fn chat(messages: Value) -> Value {
    json!({"model": "m", "messages": messages})
}

const CHAT: DialectId = DialectId::OpenAiChat;
const RESPONSES: DialectId = DialectId::OpenAiResponses;

#[test]
fn what_the_assistant_said_aloud_is_its_words_or_cannot_be_told() {
    let spoken = |audio: Value| {
        chat(json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": null, "audio": audio},
            {"role": "user", "content": "and?"}]))
    };
    let words = spoken(json!({"id": "a", "transcript": "Hello."}));
    for to in [DialectId::Anthropic, DialectId::Gemini, RESPONSES, DialectId::Cohere, DialectId::Ollama] {
        let (body, _) = crossed(CHAT, &words, to).unwrap();
        assert!(body.to_string().contains("Hello."), "{body}");
        let error = crossed(CHAT, &spoken(json!({"id": "a"})), to).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnsupportedParameter, "{to:?} {error}");
        assert!(error.param.is_some_and(|param| param.starts_with("messages[1]")), "{to:?}");
    }
}

#[test]
fn a_turn_of_which_nothing_can_be_said_is_no_turn() {
    let body = json!({"model": "m", "input": [{"role": "user", "content": "hi"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"role": "user", "content": "and?"}]});
    for to in [CHAT, DialectId::Anthropic, DialectId::Gemini, DialectId::Bedrock, DialectId::Cohere, DialectId::Ollama]
    {
        let (sent, loss) = crossed(RESPONSES, &body, to).unwrap();
        let turns = sent.get("messages").or(sent.get("contents")).unwrap();
        assert!(!turns.to_string().contains("\"assistant\"") && !turns.to_string().contains("\"model\""), "{turns}");
        assert_eq!(loss.advisory, ["input[1]"], "{to:?}");
    }
}

#[test]
fn calls_of_the_past_whose_arguments_are_no_object_travel_whole_and_come_back() {
    let cut = "{\"city\": \"Be";
    let calls = json!([{"id": "a", "type": "function", "function": {"name": "f", "arguments": cut}}]);
    let body =
        chat(json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": null, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": "bad arguments"}]));
    for to in [DialectId::Anthropic, DialectId::Gemini, DialectId::Bedrock, DialectId::Ollama] {
        let (sent, loss) = crossed(CHAT, &body, to).unwrap();
        assert!(sent.to_string().contains(r#"{"_incomplete_arguments":"{\"city\": \"Be"}"#), "{sent}");
        assert_eq!(loss.advisory, ["messages[1].tool_calls[0].function.arguments"], "{to:?}");
        if let (Some(_), DialectId::Anthropic | DialectId::Gemini) = (ingress(to), to) {
            let (back, _) = crossed(to, &sent, CHAT).unwrap();
            assert!(back.to_string().contains(&json!(cut).to_string()), "{back}");
        }
    }
}

#[test]
fn a_choice_among_some_functions_leaves_only_those() {
    let declared = json!([{"functionDeclarations": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}]);
    let gemini = |calling: Value| json!({"contents": [{"parts": [{"text": "hi"}]}], "tools": declared, "toolConfig": {"functionCallingConfig": calling}});
    let names = |body: &Value| -> Vec<String> {
        body["tools"].as_array().unwrap().iter().map(|t| t["function"]["name"].as_str().unwrap().to_owned()).collect()
    };
    for (calling, choice, left) in [
        (json!({"mode": "ANY", "allowedFunctionNames": ["a", "b"]}), json!("required"), vec!["a", "b"]),
        (json!({"mode": "VALIDATED", "allowedFunctionNames": ["c"]}), json!("auto"), vec!["c"]),
        (json!({"mode": "ANY"}), json!("required"), vec!["a", "b", "c"]),
        (
            json!({"mode": "ANY", "allowedFunctionNames": ["b"]}),
            json!({"type": "function", "function": {"name": "b"}}),
            vec!["a", "b", "c"],
        ),
    ] {
        let (body, loss) = crossed(DialectId::Gemini, &gemini(calling), CHAT).unwrap();
        assert_eq!((&body["tool_choice"], names(&body)), (&choice, left.iter().map(ToString::to_string).collect()));
        assert!(loss.is_empty(), "{loss:?}");
    }
    let none = gemini(json!({"mode": "ANY", "allowedFunctionNames": ["x", "y"]}));
    let error = crossed(DialectId::Gemini, &none, CHAT).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("toolConfig.functionCallingConfig.allowedFunctionNames"));

    let tools = json!([{"type": "function", "function": {"name": "a"}}, {"type": "custom", "custom": {"name": "b"}},
        {"type": "function", "function": {"name": "c"}}]);
    let among = |mode: &str, named: Value| {
        let mut body = chat(json!([{"role": "user", "content": "hi"}]));
        body["tools"] = tools.clone();
        body["tool_choice"] = json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": named}});
        body
    };
    let two = json!([{"type": "function", "function": {"name": "a"}}, {"type": "custom", "custom": {"name": "b"}}]);
    let (body, _) = crossed(CHAT, &among("required", two.clone()), DialectId::Anthropic).unwrap();
    let left: Vec<&Value> = body["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!((left, &body["tool_choice"]["type"]), (vec![&json!("a"), &json!("b")], &json!("any")));
    for (body, param) in [
        (among("any", two), "tool_choice.allowed_tools.mode"),
        (among("auto", json!([{"type": "function", "function": {"name": "x"}}])), "tool_choice.allowed_tools.tools"),
    ] {
        assert_eq!(crossed(CHAT, &body, DialectId::Anthropic).unwrap_err().param.as_deref(), Some(param));
    }
    let custom = json!({"type": "custom", "custom": {"name": "b"}});
    let mut body = among("auto", json!([]));
    body["tool_choice"] = custom;
    let (body, _) = crossed(CHAT, &body, DialectId::Anthropic).unwrap();
    assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "b"}));
}

#[test]
fn what_is_said_about_a_document_is_told_and_a_wish_for_citations_is_not_lost() {
    let source = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="});
    let asked = |citations: Value| {
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [
            {"type": "document", "source": source, "title": "T", "context": "A report of 2019.", "citations": citations},
            {"type": "text", "text": "sum up"}]}]})
    };
    let (body, loss) = crossed(DialectId::Anthropic, &asked(json!({"enabled": false})), CHAT).unwrap();
    let content = &body["messages"][0]["content"];
    assert_eq!((&content[0]["text"], &content[1]["type"]), (&json!("A report of 2019."), &json!("file")));
    assert!(loss.is_empty(), "{loss:?}");
    let (_, loss) = crossed(DialectId::Anthropic, &asked(json!({"enabled": true})), CHAT).unwrap();
    assert_eq!(loss.advisory, ["messages.content.citations.enabled"]);
}

#[test]
fn schemas_that_are_not_strict_are_closed_with_a_word_or_not_at_all() {
    let asked = |schema: Value, strict: Value| {
        let mut body = chat(json!([{"role": "user", "content": "hi"}]));
        body["response_format"] =
            json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": strict}});
        body
    };
    let one = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let free = json!({"type": "object", "properties": {"a": {"type": "object"}}});
    let bounded = json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}},
        "additionalProperties": false});
    for (schema, strict, semantic, advisory) in [
        (one.clone(), json!(true), vec![], vec![]),
        (one.clone(), json!(false), vec![], vec!["response_format.additionalProperties"]),
        (one, Value::Null, vec![], vec!["response_format.additionalProperties"]),
        (free.clone(), json!(false), vec!["response_format"], vec![]),
        (free, json!(true), vec![], vec![]),
        (bounded.clone(), json!(true), vec![], vec!["response_format.minimum"]),
        (bounded, json!(false), vec![], vec!["response_format.minimum"]),
    ] {
        let (body, loss) = crossed(CHAT, &asked(schema, strict), DialectId::Anthropic).unwrap();
        assert_eq!(
            (loss.semantic.as_slice(), loss.advisory.as_slice()),
            (as_texts(&semantic).as_slice(), as_texts(&advisory).as_slice())
        );
        assert_eq!(body.get("output_config").is_some(), semantic.is_empty());
    }
}

fn as_texts(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn a_bare_word_of_some_is_refused_by_name_and_a_schema_beside_any_json_is_a_schema() {
    let gemini = json!({"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"responseMimeType": "text/x.enum",
        "responseSchema": {"type": "STRING", "enum": ["a", "b"]}}});
    for to in [CHAT, RESPONSES, DialectId::Anthropic, DialectId::Cohere] {
        let (_, loss) = crossed(DialectId::Gemini, &gemini, to).unwrap();
        assert_eq!(loss.semantic, ["generationConfig.responseMimeType"], "{to:?}");
    }
    let mut body = chat(json!([{"role": "user", "content": "hi"}]));
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false});
    body["response_format"] = json!({"type": "json_object", "schema": schema});
    let (sent, loss) = crossed(CHAT, &body, DialectId::Anthropic).unwrap();
    assert_eq!((&sent["output_config"]["format"]["schema"], loss.is_empty()), (&schema, true));
    let envelope = ingress(CHAT).unwrap().envelope(&Bytes::from(body.to_string()), &Located::default()).unwrap();
    assert!(
        envelope.needs.has(Capability::JsonSchema) && inexpressible(&envelope, CHAT, DialectId::Anthropic).is_empty()
    );
    body["response_format"] = json!({"type": "json_object"});
    let envelope = ingress(CHAT).unwrap().envelope(&Bytes::from(body.to_string()), &Located::default()).unwrap();
    assert!(inexpressible(&envelope, CHAT, DialectId::Anthropic).is_empty(), "it is asked for in words");
}

#[test]
fn any_json_is_asked_for_in_words_where_the_provider_has_no_format_or_looks_for_the_word() {
    let words = "Answer with one JSON object and nothing else.";
    let gemini = |text: &str| json!({"contents": [{"parts": [{"text": text}]}], "generationConfig": {"responseMimeType": "application/json"}});
    for (text, told) in [("a city", true), ("a city as Json", false)] {
        let (sent, loss) = crossed(DialectId::Gemini, &gemini(text), CHAT).unwrap();
        assert_eq!((&sent["response_format"]["type"], loss.is_empty()), (&json!("json_object"), true));
        assert_eq!(sent["messages"][0]["content"] == words, told, "{sent}");
        let (sent, _) = crossed(DialectId::Gemini, &gemini(text), RESPONSES).unwrap();
        assert_eq!(sent["text"]["format"]["type"], "json_object");
        assert_eq!(sent["input"][0]["content"] == words, told, "{sent}");
    }
    let mut body =
        chat(json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "a city as json"}]));
    body["response_format"] = json!({"type": "json_object"});
    let (sent, loss) = crossed(CHAT, &body, DialectId::Anthropic).unwrap();
    assert!(loss.is_empty() && sent.get("output_config").is_none(), "{loss:?}");
    assert_eq!(sent["system"], json!([{"type": "text", "text": "be brief"}, {"type": "text", "text": words}]));
    let (sent, loss) = crossed(CHAT, &body, DialectId::Bedrock).unwrap();
    assert!(loss.is_empty() && sent.get("outputConfig").is_none(), "{loss:?}");
    assert_eq!(sent["system"], json!([{"text": "be brief"}, {"text": words}]));
}

#[test]
fn what_the_responses_api_has_no_word_for_is_refused_mapped_or_listed() {
    let with = |name: &str, value: Value| {
        let mut body = chat(json!([{"role": "user", "content": "hi"}]));
        body[name] = value;
        crossed(CHAT, &body, RESPONSES)
    };
    let sound = json!([{"role": "user", "content": [{"type": "text", "text": "hi"},
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}]}]);
    let error = with("messages", sound).unwrap_err();
    assert_eq!((error.kind, error.param.as_deref()), (ErrorKind::UnsupportedParameter, Some("messages[0].content[1]")));
    let (body, loss) = with("reasoning_effort", json!("default")).unwrap();
    assert!(body.get("reasoning").is_none() && loss.is_empty(), "{body} {loss:?}");
    let (body, loss) = with("reasoning_effort", json!("turbo")).unwrap();
    assert!(body.get("reasoning").is_none() && loss.semantic == ["reasoning_effort"], "{body} {loss:?}");
    let (body, loss) = with("service_tier", json!("on_demand")).unwrap();
    assert!(body.get("service_tier").is_none() && loss.advisory == ["service_tier"], "{body} {loss:?}");
    assert_eq!(with("service_tier", json!("flex")).unwrap().0["service_tier"], "flex");
    let grammar = json!({"type": "grammar", "grammar": {"definition": "start: A", "syntax": "lark"}});
    let tool =
        |format: &Value| json!([{"type": "custom", "custom": {"name": "p", "description": "d", "format": format}}]);
    let (body, _) = with("tools", tool(&grammar)).unwrap();
    let flat = json!({"type": "grammar", "definition": "start: A", "syntax": "lark"});
    assert_eq!(body["tools"], json!([{"type": "custom", "name": "p", "description": "d", "format": flat}]));
    let (body, loss) = with("tools", tool(&json!({"type": "text"}))).unwrap();
    assert!(body["tools"][0].get("format").is_none() && loss.is_empty(), "{body}");
}

#[test]
fn a_grammar_that_a_target_does_not_keep_is_listed() {
    let grammar = json!({"type": "grammar", "syntax": "lark", "definition": "start: \"x\""});
    let others = [DialectId::Anthropic, DialectId::Gemini, DialectId::Bedrock, DialectId::Cohere, DialectId::Ollama];
    let clients = |format: &Value| {
        let user = json!([{"role": "user", "content": "go"}]);
        let own = if format["type"] == "text" { format.clone() } else { json!({"type": "grammar", "grammar": format}) };
        [
            (
                RESPONSES,
                json!({"model": "m", "input": user, "tools": [{"type": "custom", "name": "c", "format": format}]}),
            ),
            (
                CHAT,
                json!({"model": "m", "messages": user, "tools": [{"type": "custom", "custom": {"name": "c", "format": own}}]}),
            ),
        ]
    };
    for to in others {
        for (from, body) in clients(&grammar) {
            let (_, loss) = crossed(from, &body, to).unwrap();
            assert!(loss.advisory.iter().any(|name| name.ends_with("format")), "{from:?} {to:?}: {loss:?}");
        }
        for (from, body) in clients(&json!({"type": "text"})) {
            let (_, loss) = crossed(from, &body, to).unwrap();
            assert!(loss.advisory.is_empty(), "any text is what happens anyway: {from:?} {to:?}: {loss:?}");
        }
    }
}

#[test]
fn no_other_tokens_beside_each_is_no_number() {
    let body =
        json!({"model": "m", "messages": [{"role": "user", "content": "go"}], "logprobs": false, "top_logprobs": 0});
    let (sent, _) = crossed(CHAT, &body, DialectId::Gemini).unwrap();
    assert!(sent.pointer("/generationConfig/logprobs").is_none(), "{sent}");
    let body = json!({"contents": [{"parts": [{"text": "go"}]}], "generationConfig": {"responseLogprobs": false, "logprobs": 0}});
    let (sent, _) = crossed(DialectId::Gemini, &body, CHAT).unwrap();
    assert!(sent.get("top_logprobs").is_none(), "{sent}");
}

#[test]
fn what_is_repeated_of_a_request_that_stands_on_many_lines_stays_on_one_in_a_stream() {
    let parameters = "{\n  \"type\": \"object\",\r\n  \"properties\": {}\n}";
    let body = Bytes::from(format!(
        "{{\n\"model\": \"m\", \"input\": \"hi\", \"metadata\": {{\n\"a\": \"b\"}}, \"tools\": [{{\"type\": \"function\", \"name\": \"f\", \"parameters\": {parameters}}}]}}"
    ));
    let client = ingress(RESPONSES).unwrap();
    let envelope = client.envelope(&body, &Located::default()).unwrap();
    let request = std::sync::Arc::new(client.decode_request(&body, &envelope).unwrap());
    let call = ToolCall::new("c", "f", "{\n \"a\": \"x\\ny\"\n}");
    let choice = Choice { tool_calls: vec![call], finish: FinishReason::ToolCalls, ..Choice::new(0) };
    let answer = ChatResponse { choices: vec![choice], ..ChatResponse::default() };
    for (dialect, client) in DialectId::ALL.into_iter().filter_map(|dialect| Some((dialect, ingress(dialect)?))) {
        let rendering = Rendering { request: std::sync::Arc::clone(&request), ..Rendering::example("m", true) };
        let (mut encoder, mut out) = (client.encode_stream(rendering), BytesMut::new());
        crate::domain::collect::events(answer.clone()).iter().for_each(|event| encoder.event(event, &mut out));
        let text = String::from_utf8(out.to_vec()).unwrap();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let known = ["event: ", "data: "].iter().any(|name| line.starts_with(name));
            assert!(known, "{dialect:?}: {line:?} in {text}");
        }
        let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
        data.for_each(|data| drop(serde_json::from_str::<Value>(data).unwrap()));
    }
}
