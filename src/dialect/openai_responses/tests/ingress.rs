//! What clients send.

use serde_json::json;

use super::*;
use crate::domain::chat::{MediaSource, ResponseFormat, Role, ToolChoice, ToolKind};
use crate::domain::error::ErrorKind;
use crate::domain::id::DialectId;
use crate::domain::target::Capability;

fn envelope(value: &serde_json::Value) -> Result<Envelope, Error> {
    OpenAiResponses.envelope(&Bytes::from(value.to_string()), &Located::default())
}

fn request(value: &serde_json::Value) -> ChatRequest {
    decode(&value.to_string()).unwrap()
}

#[test]
fn the_envelope_has_what_routing_needs() {
    let body = json!({"model": "m", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "u"}]}],
        "stream": true, "max_output_tokens": 9, "background": false, "text": {"format": {"type": "json_schema", "name": "a"},
        "verbosity": "low"}, "reasoning": {"effort": "low", "summary": null}, "include": ["message.output_text.logprobs"],
        "tools": [{"type": "web_search"}]});
    let envelope = envelope(&body).unwrap();
    assert_eq!((envelope.model.as_str(), envelope.stream, envelope.max_output), ("m", true, Some(9)));
    for need in [Capability::Stream, Capability::Image, Capability::JsonSchema, Capability::Logprobs] {
        assert!(envelope.needs.has(need), "{need:?}");
    }
    assert!(!envelope.needs.has(Capability::Tools), "tools of the provider need nothing");
    let members: Vec<&str> = envelope.members.iter().map(|m| &**m).collect();
    for name in ["text.format", "text.verbosity", "reasoning.effort", params::LOGPROBS] {
        assert!(members.contains(&name), "{name}");
    }
    for name in ["text", "background", "reasoning.summary"] {
        assert!(!members.contains(&name), "{name}");
    }
}

#[test]
fn state_at_the_provider_is_refused_elsewhere_and_only_there() {
    for name in ["previous_response_id", "conversation", "prompt", "background"] {
        let mut body = json!({"model": "m", "input": "x"});
        body[name] = if name == "background" { json!(true) } else { json!("s") };
        let envelope = envelope(&body).unwrap();
        assert!(!envelope.cacheable);
        let lost = crate::dialect::inexpressible(&envelope, DialectId::OpenAiResponses, DialectId::OpenAiChat);
        assert_eq!(lost, [name]);
    }
    let error =
        decode(&json!({"model": "m", "input": [{"type": "item_reference", "id": "x"}]}).to_string()).unwrap_err();
    assert_eq!((error.kind, error.param.as_deref()), (ErrorKind::UnsupportedParameter, Some("input[0]")));
}

#[test]
fn wrong_requests_name_their_parameter() {
    let cases = [
        (json!({"input": "x"}), "model"),
        (json!({"model": "m"}), "input"),
        (json!({"model": "m", "input": 1}), "input"),
        (json!({"model": "m", "input": "x", "max_output_tokens": 0}), "max_output_tokens"),
        (json!({"model": "m", "input": "x", "text": {"format": {}}}), "text.format.type"),
        (json!({"model": "m", "input": [{"role": "robot", "content": "x"}]}), "input[0].role"),
        (json!({"model": "m", "input": [{"content": "x"}]}), "input[0].type"),
        (json!({"model": "m", "input": [{"type": "function_call", "name": "f"}]}), "input[0].call_id"),
        (json!({"model": "m", "input": "x", "tools": [{"type": "function"}]}), "tools[0].name"),
        (json!({"model": "m", "input": "x", "tool_choice": "some"}), "tool_choice"),
    ];
    for (body, param) in cases {
        let error = envelope(&body).err().unwrap_or_else(|| decode(&body.to_string()).unwrap_err());
        assert_eq!(error.param.as_deref(), Some(param), "{body}");
    }
}

/// A coding agent's request: nothing in it may fail, and what another provider lacks is listed as a hint.
#[test]
fn a_coding_agent_works_anywhere() {
    let body = json!({"model": "m", "store": false, "stream": true, "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "k", "client_metadata": {"a": 1}, "brand_new": 7, "parallel_tool_calls": true,
        "tool_choice": "auto", "reasoning": {"summary": "auto"},
        "tools": [
            {"type": "function", "name": "shell", "parameters": {"type": "object"}, "strict": false},
            {"type": "namespace", "name": "mcp", "description": "d", "tools": [{"type": "function", "name": "find"}]},
            {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
            {"type": "web_search"}, {"type": "local_shell"}],
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "rules"}]},
            {"role": "user", "content": "go"},
            {"type": "reasoning", "summary": [], "encrypted_content": "sw.anthropic.sig"},
            {"type": "web_search_call", "id": "ws", "status": "completed"},
            {"type": "function_call", "call_id": "c1", "namespace": "mcp", "name": "find", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "*** x"},
            {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "found"}]},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": "ok"}]});
    let request = request(&body);
    let roles: Vec<Role> = request.messages.iter().map(|m| m.role).collect();
    assert_eq!(roles, [Role::Developer, Role::User, Role::Assistant, Role::Tool, Role::Tool]);
    let assistant = &request.messages[2];
    let Part::Reasoning { signature: Some(signature), .. } = &assistant.content[0] else { panic!() };
    assert_eq!((signature.origin, signature.data.as_str()), (DialectId::Anthropic, "sig"));
    assert!(matches!(assistant.content[1], Part::Opaque { dialect: "openai-responses", .. }));
    let calls: Vec<_> = assistant.tool_calls.iter().map(|c| (c.name.as_str(), c.custom)).collect();
    assert_eq!(calls, [("mcp__find", false), ("apply_patch", true)]);
    assert_eq!(request.messages[3].content, [Part::Text("found".into())]);
    assert!(matches!(request.tools[2].kind, ToolKind::Custom { format: Some(_) }));
    assert!(matches!(request.tools[3].kind, ToolKind::Server { origin: DialectId::OpenAiResponses, .. }));
    for dialect in [DialectId::OpenAiChat, DialectId::Anthropic] {
        let (_, loss) =
            crate::dialect::egress(dialect).unwrap().transcode().encode_request(&request, &to(quirks())).unwrap();
        assert_eq!(loss.semantic, Vec::<String>::new(), "{dialect:?}");
        for name in ["tools[3]", "tools[4]", "client_metadata", "brand_new"] {
            assert!(loss.advisory.iter().any(|lost| lost == name), "{dialect:?} {name} {:?}", loss.advisory);
        }
        assert!(!loss.advisory.iter().any(|lost| lost == "include" || lost == "store"), "{:?}", loss.advisory);
    }
}

#[test]
fn all_kinds_of_content() {
    let body = json!({"model": "m", "instructions": "be brief", "input": [
        {"role": "user", "content": [
            {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
            {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
            {"type": "input_image", "file_id": "file-1"},
            {"type": "input_file", "filename": "n.pdf", "file_data": "data:application/pdf;base64,BB=="},
            {"type": "input_file", "file_url": "https://x/y.pdf"}]},
        {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [
            {"type": "output_text", "text": "b", "annotations": []}, {"type": "refusal", "refusal": "no"}]}],
        "text": {"format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}, "strict": true}},
        "tool_choice": {"type": "function", "name": "f"}, "tools": [{"type": "function", "name": "f"}]});
    let request = request(&body);
    assert_eq!(request.messages[0].role, Role::System);
    let user = &request.messages[1].content;
    assert!(matches!(user[1], Part::CacheMark(_)));
    assert!(matches!(&user[2], Part::Image(m) if m.detail.as_deref() == Some("low")));
    assert!(matches!(&user[3], Part::Image(m) if matches!(m.source, MediaSource::Stored { .. })));
    assert!(matches!(&user[4], Part::File(m) if m.name.as_deref() == Some("n.pdf")));
    assert!(matches!(&user[5], Part::File(m) if matches!(m.source, MediaSource::Url(_))));
    assert_eq!(request.messages[2].content, [Part::Text("b".into()), Part::Refusal("no".into())]);
    assert!(matches!(&request.response_format, Some(ResponseFormat::JsonSchema { strict: Some(true), .. })));
    assert_eq!(request.tool_choice, Some(ToolChoice::Function("f".into())));
}

#[test]
fn a_choice_among_some_tools_leaves_only_those() {
    let body = json!({"model": "m", "input": "x", "tools": [{"type": "function", "name": "f"}, {"type": "function", "name": "g"}],
        "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}});
    let request = request(&body);
    assert_eq!(request.tools.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["g"]);
    assert_eq!(request.tool_choice, Some(ToolChoice::Required));
    let forced = json!({"model": "m", "input": "x", "tool_choice": {"type": "web_search"}});
    let (_, loss) = crate::dialect::egress(DialectId::OpenAiChat)
        .unwrap()
        .transcode()
        .encode_request(&decode(&forced.to_string()).unwrap(), &to(quirks()))
        .unwrap();
    assert_eq!(loss.semantic, ["tool_choice"]);
}
