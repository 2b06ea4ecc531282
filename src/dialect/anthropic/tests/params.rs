//! Tests of what the dialect can say.

use super::*;
use crate::dialect::Located;
use crate::domain::id::DialectId;

fn envelope(body: &str) -> Envelope {
    let client = crate::dialect::ingress(crate::domain::id::DialectId::OpenAiChat).unwrap();
    client.envelope(&Bytes::copy_from_slice(body.as_bytes()), &Located::default()).unwrap()
}

#[test]
fn what_cannot_be_said_is_known_before_the_prompt_is_read() {
    let lost = |members: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{members}}}"#);
        crate::dialect::inexpressible(&envelope(&body), DialectId::OpenAiChat, DialectId::Anthropic)
    };
    assert!(
        lost(r#""n":1,"logprobs":false,"response_format":{"type":"text"},"seed":null,"store":true,"stop":["a"]"#)
            .is_empty()
    );
    assert!(lost(r#""frequency_penalty":0,"verbosity":"medium","response_format":{"type":"json_schema"}"#).is_empty());
    let all = lost(r#""n":2,"logprobs":true,"response_format":{"type":"json_object"},"seed":0,"odd":{}"#);
    assert_eq!(all, ["n", "logprobs", "seed", "odd"]);
}

#[test]
fn the_same_dialect_is_only_addressed_anew() {
    let drop = Quirks { drop: vec!["metadata".to_owned()], ..Quirks::default() };
    let retarget = |body: &str, quirks: &Quirks| {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let to = Destination { model: "claude-x", default_max_output: 7, max_output: None, quirks };
        let pieces = Anthropic.retarget(&body, &envelope(std::str::from_utf8(&body).unwrap()), &to);
        String::from_utf8(pieces.concat()).unwrap()
    };
    let rest = r#""messages":[{"role":"user","content":"hi"}], "thinking" : {"type":"adaptive"},"new":1.0"#;
    let same = format!(r#"{{"model":"claude-x","max_tokens":5,{rest}}}"#);
    assert_eq!(retarget(&same, quirks()), same);
    assert_eq!(retarget(&same.replace("claude-x", "alias"), quirks()), same);
    let rest = rest.replace("}], ", "}],");
    let without = format!(r#"{{"model":"a","metadata":{{}},{rest}}}"#);
    assert_eq!(retarget(&without, &drop), format!(r#"{{"model":"claude-x",{rest},"max_tokens":7}}"#));
}

#[test]
fn a_client_of_the_other_dialect_is_understood_end_to_end() {
    let client = crate::dialect::ingress(crate::domain::id::DialectId::OpenAiChat).unwrap();
    let body = concat!(
        r#"{"model":"m","max_completion_tokens":3000,"reasoning_effort":"low","frequency_penalty":0,"metadata":{"a":"b"},"#,
        r#""messages":[{"role":"system","content":"be brief"},{"role":"user","content":[{"type":"text","text":"look"},"#,
        r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,QUJD"}}]},"#,
        r#"{"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[{"id":"c1","type":"function","#,
        r#""function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"ok"},"#,
        r#"{"role":"user","content":"go on"}],"tools":[{"type":"function","function":{"name":"f"}}]}"#,
    );
    let to = Destination { model: "claude-x", default_max_output: 7, max_output: None, quirks: quirks() };
    let (wire, loss) =
        Anthropic.encode_request(&client.decode_request(body.as_bytes(), &envelope(body)).unwrap(), &to).unwrap();
    let want = concat!(
        r#"{"model":"claude-x","max_tokens":3000,"system":"be brief","messages":[{"role":"user","content":["#,
        r#"{"type":"text","text":"look"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QUJD"}}]},"#,
        r#"{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"f","input":{}}]},"#,
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"ok"},{"type":"text","text":"go on"}]}],"#,
        r#""tools":[{"name":"f","input_schema":{"type":"object","properties":{}}}]}"#,
    );
    assert_eq!(wire, want);
    assert_eq!(loss.semantic, Vec::<String>::new());
    assert_eq!(loss.advisory, ["metadata", "messages[2].reasoning_content", "reasoning_effort"]);
}
