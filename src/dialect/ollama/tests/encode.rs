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

fn media(source: MediaSource) -> Media {
    Media { source, media_type: None, detail: None, name: None }
}

fn image(url: &str) -> Part {
    Part::Image(media(MediaSource::Url(url.to_owned())))
}

fn ask(messages: Vec<Message>) -> ChatRequest {
    ChatRequest { model: "alias".to_owned(), messages, ..ChatRequest::default() }
}

fn hello() -> ChatRequest {
    ask(vec![text(Role::User, "hi")])
}

fn encode_with(request: &ChatRequest, max_output: Option<u64>, quirks: &Quirks) -> Result<(String, Loss), Error> {
    let to = Destination { model: "qwen3:4b", default_max_output: 4096, max_output, quirks };
    let (body, loss) = Ollama.encode_request(request, &to)?;
    Ok((String::from_utf8(body.to_vec()).unwrap(), loss))
}

const HEAD: &str = r#"{"model":"qwen3:4b","#;
const TAIL: &str = r#","truncate":false,"shift":false,"stream":false}"#;

/// Encodes, expects exactly these losses, and gives what lies between the members that are always the same.
fn wire(request: &ChatRequest, semantic: &[&str], advisory: &[&str]) -> String {
    let (body, loss) = encode_with(request, None, quirks()).unwrap();
    assert_eq!(loss.semantic, semantic, "semantic");
    assert_eq!(loss.advisory, advisory, "advisory");
    body.strip_prefix(HEAD).unwrap().strip_suffix(TAIL).unwrap().to_owned()
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
    let options = r#""options":{"num_predict":9},"truncate":false,"shift":false,"stream":true"#;
    assert_eq!(body, format!(r#"{HEAD}{HI},{options}}}"#));
}

#[test]
fn all_roles_and_a_tool_loop() {
    let mut call = Message::new(Role::Assistant, vec![thought("I look.", None), Part::Text("Wait".into())]);
    call.tool_calls = vec![ToolCall::new("c1", "w", " {\"city\": \"Bern\"}\n"), ToolCall::new("c2", "now", "")];
    call.tool_calls.push(ToolCall { custom: true, ..ToolCall::new("c3", "run", "ls \"a\"") });
    let picture = image("data:image/png;base64,QUJD");
    let mut failed = Message::new(Role::Tool, vec![Part::Text("no".into()), picture, Part::Text("way".into())]);
    (failed.tool_call_id, failed.tool_failed) = (Some("c3".into()), true);
    let mut stray = result("c9", "?");
    stray.name = Some("old".into());
    let mut request = ask(vec![
        text(Role::System, "brief"),
        call,
        result("c1", "{\"sky\":1}"),
        result("c2", ""),
        failed,
        Message::new(Role::Assistant, vec![thought("secret", Some(DialectId::Anthropic)), Part::Text("Sun.".into())]),
        Message::new(Role::Developer, vec![Part::Text("be".into()), Part::Text("polite".into())]),
        stray,
        Message { name: Some("Ann".into()), ..text(Role::User, "and?") },
    ]);
    let custom = Tool { kind: ToolKind::Custom { format: None }, ..tool("run", None) };
    let server = ToolKind::Server { origin: DialectId::Anthropic, raw: Json::new("{}") };
    let strict = Tool { strict: Some(true), ..tool("w", Some("{\"type\":\"object\"}")) };
    request.tools = vec![strict, custom, Tool { kind: server, ..tool("web", None) }];
    let advisory =
        ["tools[2]", "messages[4].is_error", "messages[5].content[0]", "messages[8].name", "tools[0].strict"];
    assert_eq!(
        wire(&request, &[], &advisory),
        concat!(
            r#""messages":[{"role":"system","content":"brief"},"#,
            r#"{"role":"assistant","content":"Wait","thinking":"I look.","tool_calls":["#,
            r#"{"id":"c1","function":{"name":"w","arguments":{"city": "Bern"}}},"#,
            r#"{"id":"c2","function":{"name":"now","arguments":{}}},"#,
            r#"{"id":"c3","function":{"name":"run","arguments":{"input":"ls \"a\""}}}]},"#,
            r#"{"role":"tool","content":"{\"sky\":1}","tool_name":"w","tool_call_id":"c1"},"#,
            r#"{"role":"tool","content":"","tool_name":"now","tool_call_id":"c2"},"#,
            r#"{"role":"tool","content":"no\n\nway","tool_name":"run","tool_call_id":"c3"},"#,
            r#"{"role":"user","content":"","images":["QUJD"]},"#,
            r#"{"role":"assistant","content":"Sun."},"#,
            r#"{"role":"system","content":"be\n\npolite"},"#,
            r#"{"role":"tool","content":"?","tool_name":"old","tool_call_id":"c9"},"#,
            r#"{"role":"user","content":"and?"}],"#,
            r#""tools":[{"type":"function","function":{"name":"w","parameters":{"type":"object"}}},"#,
            r#"{"type":"function","function":{"name":"run","parameters":{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}}}]"#,
        )
    );
}

#[test]
fn arguments_must_be_an_object() {
    for arguments in ["[1]", "{", "7", "\"x\""] {
        let mut turn = Message::new(Role::Assistant, Vec::new());
        turn.tool_calls = vec![ToolCall::new("a", "f", "{}"), ToolCall::new("b", "f", arguments)];
        let param = "messages[1].tool_calls[1].arguments";
        let body = wire(&ask(vec![text(Role::User, "hi"), turn]), &[], &[param]);
        assert!(body.contains("{\"_incomplete_arguments\":"), "given whole: {body}");
    }
}

#[test]
fn images_and_what_cannot_be_sent() {
    let inline = || MediaSource::Base64 { media_type: "image/png".into(), data: "QQ==".into() };
    let detailed = Media { detail: Some("high".into()), ..media(inline()) };
    let content = vec![
        Part::Text("look".into()),
        Part::Image(detailed),
        image("data:image/jpeg;base64,Qg=="),
        Part::Text("!".into()),
    ];
    assert_eq!(
        wire(&ask(vec![Message::new(Role::User, content)]), &[], &["messages[0].content[1].detail"]),
        r#""messages":[{"role":"user","content":"look\n\n!","images":["QQ==","Qg=="]}]"#
    );
    let stored = MediaSource::Stored { origin: DialectId::Anthropic, id: "f".into() };
    for part in [
        image("https://example.org/a.png"),
        image("data:image/svg+xml,<svg/>"),
        Part::Image(media(stored)),
        Part::Audio(media(inline())),
        Part::File(media(inline())),
        Part::Opaque { dialect: "anthropic", raw: Json::new("{}") },
    ] {
        let turn = Message::new(Role::User, vec![Part::Text("a".into()), part]);
        refused(&ask(vec![turn]), ErrorKind::UnsupportedParameter, "messages[0].content[1]");
    }
    let turn = Message::new(Role::Assistant, vec![Part::Image(media(inline()))]);
    refused(&ask(vec![turn]), ErrorKind::UnsupportedParameter, "messages[0].content[0]");
}

#[test]
fn sampling_as_options() {
    let mut request = hello();
    request.max_output_tokens = Some(100);
    let s = &mut request.sampling;
    (s.temperature, s.top_p, s.top_k, s.min_p) = (Some(0.5), Some(0.9), Some(0), Some(0.05));
    (s.frequency_penalty, s.presence_penalty, s.seed) = (Some(0.25), Some(1.5), Some(-7));
    s.stop = vec!["END".into()];
    assert_eq!(
        beside(&request, &[], &[]),
        concat!(
            r#""options":{"temperature":0.5,"top_k":0,"top_p":0.9,"min_p":0.05,"seed":-7,"stop":["END"],"#,
            r#""num_predict":100,"frequency_penalty":0.25,"presence_penalty":1.5}"#,
        )
    );
    let quirks = Quirks { drop: vec!["min_p".into(), "truncate".into(), "shift".into()], ..Quirks::default() };
    let (body, _) = encode_with(&request, None, &quirks).unwrap();
    assert!(["min_p", "truncate", "shift"].iter().all(|gone| !body.contains(gone)), "{body}");
}

#[test]
fn what_the_dialect_has_no_words_for() {
    let mut request = hello();
    let s = &mut request.sampling;
    (s.n, s.logprobs, s.top_logprobs, s.logit_bias) = (Some(2), Some(true), Some(3), Some(Json::new("{\"1\":2}")));
    request.user = Some("u".into());
    request.verbosity = Some("low".into());
    request.extra = vec![("web_search_options".into(), Json::new("{}")), ("store".into(), Json::new("true"))];
    let semantic = ["logit_bias", "n", "web_search_options", "logprobs", "top_logprobs"];
    assert_eq!(beside(&request, &semantic, &["verbosity", "user", "store"]), "");
    let takes = Quirks { takes: vec!["logprobs".into(), "top_logprobs".into()], ..Quirks::default() };
    let (body, loss) = encode_with(&request, None, &takes).unwrap();
    assert!(body.contains(r#""logprobs":true,"top_logprobs":3"#), "{body}");
    assert!(!loss.semantic.iter().any(|name| name.contains("logprobs")), "{loss:?}");
}

#[test]
fn which_tool_must_be_called() {
    let with = |choice, parallel: Option<bool>| ChatRequest {
        tools: vec![tool("f", Some("{ }"))],
        tool_choice: Some(choice),
        parallel_tool_calls: parallel,
        ..hello()
    };
    let f = r#""tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}]"#;
    assert_eq!(beside(&with(ToolChoice::Auto, Some(true)), &[], &[]), f);
    assert_eq!(beside(&with(ToolChoice::None, None), &[], &[]), "");
    assert_eq!(beside(&with(ToolChoice::Required, None), &["tool_choice"], &[]), f);
    let named = with(ToolChoice::Function("f".into()), Some(false));
    assert_eq!(beside(&named, &["tool_choice"], &[]), f);
    assert_eq!(beside(&ChatRequest { tools: Vec::new(), ..named }, &[], &[]), "");
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
    assert_eq!(beside(&format(ResponseFormat::JsonObject), &[], &[]), r#""format":"json""#);
    assert_eq!(beside(&format(schema(None)), &[], &[]), r#""format":"json""#);
    let object = format(schema(Some("{\"type\": \"object\"}")));
    assert_eq!(beside(&object, &[], &[]), r#""format":{"type": "object"}"#);
    refused(&format(schema(Some("{"))), ErrorKind::InvalidRequest, "response_format");
}

#[test]
fn how_much_to_think() {
    let think = |effort: Option<&str>, budget_tokens| ChatRequest {
        reasoning: Some(ReasoningSettings { effort: effort.map(str::to_owned), budget_tokens }),
        ..hello()
    };
    for (effort, budget, want) in [
        (Some("none"), None, r#""think":false"#),
        (None, Some(0), r#""think":false"#),
        (Some("minimal"), None, r#""think":"low""#),
        (Some("low"), Some(20_000), r#""think":"low""#),
        (Some("medium"), None, r#""think":"medium""#),
        (Some("xhigh"), None, r#""think":"high""#),
        (None, Some(4000), r#""think":"low""#),
        (None, Some(8000), r#""think":"medium""#),
        (None, Some(20_000), r#""think":"high""#),
        (None, None, ""),
    ] {
        assert_eq!(beside(&think(effort, budget), &[], &[]), want, "{effort:?} {budget:?}");
    }
    assert_eq!(beside(&think(Some("wild"), None), &["reasoning_effort"], &[]), "");
    let plain = Quirks { drop: vec!["think.level".into()], ..Quirks::default() };
    assert!(encode_with(&think(Some("low"), None), None, &plain).unwrap().0.contains(r#""think":true"#));
    assert!(encode_with(&think(Some("none"), None), None, &plain).unwrap().0.contains(r#""think":false"#));
}
