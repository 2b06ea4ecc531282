//! Names of places in the client's own words.

use super::*;

const PHOTO: &str = "data:image/png;base64,aGk=";

fn from_responses() -> Value {
    json!({"model": "m", "instructions": "be brief", "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": PHOTO, "detail": "low"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "e"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"cut"},
        {"type": "function_call_output", "call_id": "c", "output": "ok"},
        {"role": "developer", "content": "and now"}, {"role": "user", "content": "go"}],
        "tools": [{"type": "namespace", "name": "g", "tools": [{"type": "function", "name": "x", "strict": true, "parameters": {"type": "object"}}]},
            {"type": "web_search"}]})
}

fn from_gemini() -> Value {
    json!({"systemInstruction": {"parts": [{"text": "be brief"}]}, "contents": [
        {"role": "user", "parts": [{"text": "hi"}]},
        {"role": "model", "parts": [{"text": "hm", "thought": true, "thoughtSignature": "e"}, {"functionCall": {"name": "f", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"error": "no"}}}]}],
        "tools": [{"googleSearch": {}}]})
}

fn from_anthropic() -> Value {
    json!({"model": "m", "max_tokens": 9, "system": "be brief", "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "tool_result", "tool_use_id": "t", "is_error": true, "content": "no"}]}],
        "tools": [{"name": "f", "strict": true, "input_schema": {"type": "object"}}]})
}

fn from_chat() -> Value {
    json!({"model": "m", "messages": [
        {"role": "assistant", "reasoning_content": "hm", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
            {"type": "image_url", "image_url": {"url": PHOTO, "detail": "low"}}]}],
        "tools": [{"type": "function", "function": {"name": "f", "strict": true}}]})
}

#[test]
fn places_are_named_by_the_clients_own_paths() {
    let cases = [
        (
            RESPONSES,
            from_responses(),
            DialectId::Anthropic,
            vec!["tools[1]", "input[0].content[1].detail", "input[1]", "input[2].arguments", "input[4].role"],
        ),
        (
            RESPONSES,
            from_responses(),
            DialectId::Ollama,
            vec![
                "tools[1]",
                "tools[0].tools[0].strict",
                "input[0].content[1].detail",
                "input[1]",
                "input[2].arguments",
            ],
        ),
        (
            DialectId::Gemini,
            from_gemini(),
            CHAT,
            vec![
                "tools[0].googleSearch",
                "contents[1].parts[0]",
                "contents[2].parts[0].functionResponse.response.error",
            ],
        ),
        (
            DialectId::Anthropic,
            from_anthropic(),
            CHAT,
            vec!["messages[1].content[1]", "messages[2].content[1].is_error"],
        ),
        (
            DialectId::Anthropic,
            from_anthropic(),
            DialectId::Cohere,
            vec!["messages[1].content[1]", "messages[2].content[1].is_error"],
        ),
        (
            CHAT,
            from_chat(),
            DialectId::Gemini,
            vec![
                "messages.content.cache_control",
                "tools[0].function.strict",
                "messages[0].reasoning_content",
                "messages[1].content[1].image_url.detail",
            ],
        ),
    ];
    for (from, body, to, mut want) in cases {
        let mut listed = crossed(from, &body, to).unwrap().1.advisory;
        listed.sort();
        want.sort();
        assert_eq!(listed, want, "{from:?} to {to:?}");
    }
}

#[test]
fn what_is_refused_is_named_by_the_clients_own_path() {
    let sound = json!({"mimeType": "audio/wav", "data": "aGk="});
    let gemini = json!({"systemInstruction": {"parts": [{"text": "s"}]}, "contents": [{"parts": [{"text": "a"}]},
        {"role": "model", "parts": [{"text": "b"}]}, {"role": "user", "parts": [{"text": "c"}, {"inlineData": sound}]}]});
    let gone =
        |id: &str| json!({"role": "user", "parts": [{"functionResponse": {"id": id, "name": "f", "response": {}}}]});
    let file = json!({"type": "document", "source": {"type": "file", "file_id": "f"}});
    let anthropic = json!({"model": "m", "max_tokens": 9, "system": "s", "messages": [{"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}, {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "c"}, file]}]}]});
    let responses = json!({"model": "m", "instructions": "s", "input": [{"role": "user", "content": "a"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file", "file_id": "f"}]}]});
    let orphan = json!({"model": "m", "instructions": "s", "input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]});
    let silent = json!({"contents": [{"parts": [{"text": ""}]}]});
    for (from, body, to, want) in [
        (DialectId::Gemini, gemini, DialectId::Anthropic, "contents[2].parts[1]"),
        (DialectId::Anthropic, anthropic, DialectId::Gemini, "messages[2].content[0].content[1]"),
        (RESPONSES, responses, DialectId::Bedrock, "input[2].output[0]"),
        (RESPONSES, orphan, DialectId::Gemini, "input[0].call_id"),
        (DialectId::Gemini, silent, DialectId::Anthropic, "contents"),
    ] {
        let error = crossed(from, &body, to).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(want), "{from:?} to {to:?}: {}", error.message);
    }
    assert!(crossed(DialectId::Gemini, &json!({"contents": [gone("x")]}), CHAT).is_ok(), "they name their function");
}

#[test]
fn a_parameter_that_a_provider_blames_is_told_by_the_clients_name_for_it() {
    let (anthropic, gemini) = (DialectId::Anthropic, DialectId::Gemini);
    for (provider, client, name, want) in [
        (CHAT, RESPONSES, "messages[3].content", Some("input")),
        (CHAT, gemini, "max_tokens", Some("generationConfig.maxOutputTokens")),
        (CHAT, RESPONSES, "max_completion_tokens", Some("max_output_tokens")),
        (CHAT, anthropic, "response_format", Some("output_config.format")),
        (CHAT, gemini, "messages", Some("contents")),
        (CHAT, anthropic, "model", Some("model")),
        (CHAT, anthropic, "store", None),
        (RESPONSES, CHAT, "input[0].content[1]", Some("messages")),
    ] {
        assert_eq!(param_of(provider, client, name).as_deref(), want, "{name} to {client:?}");
    }
}
