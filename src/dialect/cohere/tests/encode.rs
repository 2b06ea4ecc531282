//! Goldens of requests: the wire text and the losses, side by side.

use super::*;
use crate::domain::chat::{
    Json, Media, MediaSource, Message, Part, ReasoningSettings, ResponseFormat, Role, Signature, Tool, ToolCall,
    ToolChoice, ToolKind,
};
use crate::domain::error::ErrorKind;
use crate::domain::id::DialectId;

fn text(role: Role, text: &str) -> Message {
    Message::new(role, vec![Part::Text(text.to_owned())])
}

fn thought(text: &str, origin: Option<DialectId>) -> Part {
    Part::Reasoning { text: text.to_owned(), signature: origin.map(|o| Signature::new(o, "c2ln")) }
}

fn result(id: &str, answer: &str) -> Message {
    Message { tool_call_id: Some(id.to_owned()), ..text(Role::Tool, answer) }
}

fn tool(name: &str, parameters: Option<&str>) -> Tool {
    Tool { name: name.to_owned(), parameters: parameters.map(Json::new), ..Tool::default() }
}

fn image(url: &str) -> Part {
    Part::Image(Media { source: MediaSource::Url(url.to_owned()), media_type: None, detail: None, name: None })
}

fn ask(messages: Vec<Message>) -> ChatRequest {
    ChatRequest { model: "alias".to_owned(), messages, ..ChatRequest::default() }
}

fn hello() -> ChatRequest {
    ask(vec![text(Role::User, "hi")])
}

fn encode_with(request: &ChatRequest, max_output: Option<u64>, quirks: &Quirks) -> Result<(String, Loss), Error> {
    let to = Destination { model: "command-x", default_max_output: 4096, max_output, quirks };
    let (body, loss) = Cohere.encode_request(request, &to)?;
    Ok((String::from_utf8(body.to_vec()).unwrap(), loss))
}

/// Encodes, expects exactly these losses, and gives what lies between model and stream.
fn wire(request: &ChatRequest, semantic: &[&str], advisory: &[&str]) -> String {
    let (body, loss) = encode_with(request, None, quirks()).unwrap();
    assert_eq!(loss.semantic, semantic, "semantic");
    assert_eq!(loss.advisory, advisory, "advisory");
    body.strip_prefix(r#"{"model":"command-x","#).unwrap().strip_suffix(r#","stream":false}"#).unwrap().to_owned()
}

const HI: &str = r#""messages":[{"role":"user","content":"hi"}]"#;

/// The same for a request of one turn: what stands behind the turn.
fn beside(request: &ChatRequest, semantic: &[&str], advisory: &[&str]) -> String {
    wire(request, semantic, advisory).strip_prefix(HI).unwrap().trim_start_matches(',').to_owned()
}

fn refused(request: &ChatRequest, kind: ErrorKind, param: &str) {
    let error = encode_with(request, None, quirks()).unwrap_err();
    assert_eq!((error.kind, error.param.as_deref()), (kind, Some(param)), "{error}");
}

#[test]
fn the_least_request() {
    assert_eq!(wire(&hello(), &[], &[]), HI);
    let (body, _) = encode_with(&ChatRequest { stream: true, ..hello() }, Some(9), quirks()).unwrap();
    assert_eq!(body, format!(r#"{{"model":"command-x",{HI},"max_tokens":9,"stream":true}}"#));
}

#[test]
fn all_roles_and_a_tool_loop() {
    let mut call = Message::new(Role::Assistant, vec![thought("I look.", None), Part::Text(String::new())]);
    call.tool_calls = vec![ToolCall::new("c1", "w", "{\"city\": \"Bern\"}"), ToolCall::new("c2", "now", "")];
    call.tool_calls.push(ToolCall { custom: true, ..ToolCall::new("c3", "run", "ls \"a\"") });
    let mut failed =
        Message::new(Role::Tool, vec![Part::Text("no".into()), image("https://e.org/a.png"), Part::Text("way".into())]);
    (failed.tool_call_id, failed.tool_failed) = (Some("c3".into()), true);
    let mut named = text(Role::User, "weather?");
    named.name = Some("Ann".into());
    let mut request = ask(vec![
        text(Role::System, "brief"),
        named,
        call,
        result("c1", "{\"sky\":1}"),
        result("c2", ""),
        failed,
        Message::new(Role::Assistant, vec![thought("Hm.", None), Part::Text("Sun.".into())]),
        Message::new(Role::Assistant, vec![thought("nothing but this", None)]),
        Message::new(Role::Developer, vec![Part::Text("be".into()), Part::Text("polite".into())]),
        text(Role::User, "and?"),
    ]);
    let custom = Tool { kind: ToolKind::Custom { format: Some(Json::new("{}")) }, ..tool("run", None) };
    let server = ToolKind::Server { origin: DialectId::Anthropic, raw: Json::new("{}") };
    let described = Tool { description: Some("d".into()), ..tool("w", Some("{\"type\":\"object\"}")) };
    request.tools = vec![described, tool("now", Some("{ }")), custom, Tool { kind: server, ..tool("web", None) }];
    let advisory = [
        "tools[3]",
        "tools[2].format",
        "messages[1].name",
        "messages[5].is_error",
        "messages[6].content[0]",
        "messages[7].content[0]",
    ];
    assert_eq!(
        wire(&request, &[], &advisory),
        concat!(
            r#""messages":[{"role":"system","content":"brief"},{"role":"user","content":"weather?"},"#,
            r#"{"role":"assistant","tool_plan":"I look.","tool_calls":["#,
            r#"{"id":"c1","type":"function","function":{"name":"w","arguments":"{\"city\": \"Bern\"}"}},"#,
            r#"{"id":"c2","type":"function","function":{"name":"now","arguments":"{}"}},"#,
            r#"{"id":"c3","type":"function","function":{"name":"run","arguments":"{\"input\":\"ls \\\"a\\\"\"}"}}]},"#,
            r#"{"role":"tool","content":"{\"sky\":1}","tool_call_id":"c1"},"#,
            r#"{"role":"tool","content":"","tool_call_id":"c2"},"#,
            r#"{"role":"tool","content":[{"type":"text","text":"no"},{"type":"text","text":"way"}],"tool_call_id":"c3"},"#,
            r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://e.org/a.png"}}]},"#,
            r#"{"role":"assistant","content":"Sun."},"#,
            r#"{"role":"system","content":[{"type":"text","text":"be"},{"type":"text","text":"polite"}]},"#,
            r#"{"role":"user","content":"and?"}],"#,
            r#""tools":[{"type":"function","function":{"name":"w","description":"d","parameters":{"type":"object"}}},"#,
            r#"{"type":"function","function":{"name":"now","parameters":{"type":"object","properties":{}}}},"#,
            r#"{"type":"function","function":{"name":"run","parameters":{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}}}]"#,
        )
    );
}

#[test]
fn thinking_that_another_provider_signed_stays_at_home() {
    let turn = |origin| {
        let mut turn = Message::new(Role::Assistant, vec![thought("secret", origin)]);
        turn.tool_calls = vec![ToolCall::new("c", "f", "{}")];
        ask(vec![text(Role::User, "hi"), turn, result("c", "ok")])
    };
    assert!(!wire(&turn(Some(DialectId::Anthropic)), &[], &["messages[1].content[0]"]).contains("secret"));
    assert!(wire(&turn(Some(DialectId::Cohere)), &[], &[]).contains(r#""tool_plan":"secret""#));
}

#[test]
fn images_and_what_cannot_be_sent() {
    let media = |source, detail: Option<&str>| Media {
        source,
        media_type: None,
        detail: detail.map(str::to_owned),
        name: None,
    };
    let inline = || MediaSource::Base64 { media_type: "image/png".into(), data: "QUJD".into() };
    let content =
        vec![Part::Text("look".into()), Part::Image(media(inline(), Some("low"))), image("https://example.org/a.png")];
    assert_eq!(
        wire(&ask(vec![Message::new(Role::User, content)]), &[], &[]),
        concat!(
            r#""messages":[{"role":"user","content":[{"type":"text","text":"look"},"#,
            r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,QUJD","detail":"low"}},"#,
            r#"{"type":"image_url","image_url":{"url":"https://example.org/a.png"}}]}]"#,
        )
    );
    let stored = MediaSource::Stored { origin: DialectId::Anthropic, id: "f".into() };
    let opaque = Part::Opaque { dialect: "anthropic", raw: Json::new("{}") };
    let parts = [
        Part::Audio(media(inline(), None)),
        Part::File(media(inline(), None)),
        Part::Image(media(stored, None)),
        opaque,
    ];
    for part in parts {
        let turn = Message::new(Role::User, vec![Part::Text("a".into()), part.clone()]);
        refused(&ask(vec![turn]), ErrorKind::UnsupportedParameter, "messages[0].content[1]");
        if !matches!(part, Part::Opaque { .. }) {
            let turn = Message::new(Role::Assistant, vec![part]);
            refused(&ask(vec![turn]), ErrorKind::UnsupportedParameter, "messages[0].content[0]");
        }
    }
    refused(&ask(vec![text(Role::Tool, "x")]), ErrorKind::InvalidRequest, "messages[0].tool_call_id");
    let system = Message::new(Role::System, vec![image("https://e.org")]);
    refused(&ask(vec![system]), ErrorKind::UnsupportedParameter, "messages[0].content[0]");
}

#[test]
fn sampling_in_the_providers_words() {
    let mut request = hello();
    request.max_output_tokens = Some(100);
    let s = &mut request.sampling;
    (s.temperature, s.top_p, s.top_k) = (Some(0.5), Some(0.9), Some(40));
    (s.frequency_penalty, s.presence_penalty, s.seed) = (Some(0.25), Some(1.0), Some(7));
    (s.stop, s.logprobs) = (vec!["END".into()], Some(true));
    assert_eq!(
        beside(&request, &[], &[]),
        concat!(
            r#""max_tokens":100,"temperature":0.5,"p":0.9,"k":40,"frequency_penalty":0.25,"presence_penalty":1.0,"#,
            r#""seed":7,"stop_sequences":["END"],"logprobs":true"#,
        )
    );
    let quirks = Quirks { drop: vec!["p".into(), "logprobs".into(), "temperature".into()], ..Quirks::default() };
    let (body, _) = encode_with(&request, None, &quirks).unwrap();
    assert!(!body.contains("\"p\":") && !body.contains("logprobs") && !body.contains("temperature"), "{body}");
}

#[test]
fn values_beyond_the_providers_are_lost_by_name() {
    let mut request = hello();
    let s = &mut request.sampling;
    (s.top_p, s.top_k, s.frequency_penalty, s.presence_penalty) = (Some(1.0), Some(501), Some(1.5), Some(-0.5));
    (s.seed, s.stop) = (Some(-1), ["a", "b", "c", "d", "e", "f"].map(str::to_owned).to_vec());
    let lost = ["top_k", "frequency_penalty", "presence_penalty", "seed", "stop"];
    assert_eq!(beside(&request, &lost, &[]), r#""p":0.99,"stop_sequences":["a","b","c","d","e"]"#);
    let mut request = hello();
    (request.sampling.top_p, request.sampling.top_k) = (Some(0.0), Some(0));
    assert_eq!(beside(&request, &[], &[]), r#""p":0.01"#);
    let mut request = hello();
    let s = &mut request.sampling;
    (s.min_p, s.n, s.top_logprobs, s.logit_bias) = (Some(0.1), Some(2), Some(3), Some(Json::new("{\"1\":2}")));
    request.user = Some("u".into());
    request.metadata = Some(Json::new("{\"a\":1}"));
    request.verbosity = Some("low".into());
    request.extra = vec![("web_search_options".into(), Json::new("{}")), ("store".into(), Json::new("true"))];
    let semantic = ["min_p", "logit_bias", "top_logprobs", "n", "web_search_options"];
    assert_eq!(beside(&request, &semantic, &["verbosity", "user", "metadata", "store"]), "");
}

#[test]
fn which_tool_must_be_called() {
    let with = |choice, parallel: Option<bool>| ChatRequest {
        tools: vec![tool("f", None), tool("g", None)],
        tool_choice: Some(choice),
        parallel_tool_calls: parallel,
        ..hello()
    };
    let f = r#"{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}"#;
    let g = f.replace("\"f\"", "\"g\"");
    assert_eq!(beside(&with(ToolChoice::Auto, None), &[], &[]), format!(r#""tools":[{f},{g}]"#));
    let required = format!(r#""tools":[{f},{g}],"tool_choice":"REQUIRED""#);
    assert_eq!(beside(&with(ToolChoice::Required, Some(true)), &[], &[]), required);
    assert_eq!(
        beside(&with(ToolChoice::None, Some(false)), &[], &[]),
        format!(r#""tools":[{f},{g}],"tool_choice":"NONE""#)
    );
    let named = with(ToolChoice::Function("g".into()), None);
    assert_eq!(beside(&named, &[], &[]), format!(r#""tools":[{g}],"tool_choice":"REQUIRED""#));
    let none = ChatRequest { tools: Vec::new(), ..named };
    assert_eq!(beside(&none, &[], &[]), "");
}

#[test]
fn strictness_is_all_tools_or_none() {
    let mut request = ChatRequest { tools: vec![tool("f", None), tool("g", None)], ..hello() };
    request.tools[0].strict = Some(true);
    assert!(!beside(&request, &[], &["tools[0].strict"]).contains("strict"));
    request.tools[1].strict = Some(true);
    assert!(beside(&request, &[], &[]).ends_with(r#""strict_tools":true"#));
}

#[test]
fn structured_output() {
    let schema = |schema: Option<&str>| ResponseFormat::JsonSchema {
        name: "city".into(),
        description: None,
        schema: schema.map(Json::new),
        strict: Some(true),
    };
    let format = |format| ChatRequest { response_format: Some(format), ..hello() };
    assert_eq!(beside(&format(ResponseFormat::Text), &[], &[]), "");
    let any = r#""response_format":{"type":"json_object"}"#;
    assert_eq!(beside(&format(ResponseFormat::JsonObject), &[], &[]), any);
    assert_eq!(beside(&format(schema(None)), &[], &[]), any);
    assert_eq!(
        beside(&format(schema(Some("{\"type\": \"object\"}"))), &[], &[]),
        r#""response_format":{"type":"json_object","json_schema":{"type": "object"}}"#
    );
    refused(&format(schema(Some("{"))), ErrorKind::InvalidRequest, "response_format");
    let both = ChatRequest { tools: vec![tool("f", None)], ..format(ResponseFormat::JsonObject) };
    assert!(!beside(&both, &["response_format"], &[]).contains("json"));
}

#[test]
fn how_much_to_think() {
    let think = |effort: Option<&str>, budget_tokens, limit| ChatRequest {
        reasoning: Some(ReasoningSettings { effort: effort.map(str::to_owned), budget_tokens }),
        max_output_tokens: limit,
        ..hello()
    };
    let enabled = |budget: &str| format!(r#""thinking":{{"type":"enabled"{budget}}}"#);
    assert_eq!(beside(&think(Some("low"), None, None), &[], &[]), enabled(r#","token_budget":2048"#));
    assert_eq!(beside(&think(Some("high"), None, None), &[], &[]), enabled(""));
    assert_eq!(beside(&think(None, Some(4000), None), &[], &[]), enabled(r#","token_budget":4000"#));
    assert_eq!(
        beside(&think(None, Some(4000), Some(1000)), &[], &[]),
        format!(r#""max_tokens":1000,{}"#, enabled(r#","token_budget":800"#))
    );
    for off in [think(Some("none"), None, None), think(None, Some(0), None)] {
        assert_eq!(beside(&off, &[], &[]), r#""thinking":{"type":"disabled"}"#);
    }
    assert_eq!(beside(&think(Some("wild"), None, None), &["reasoning_effort"], &[]), "");
    assert_eq!(beside(&think(None, None, None), &[], &[]), "");
}
