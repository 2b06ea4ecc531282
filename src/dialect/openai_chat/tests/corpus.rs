//! Recorded exchanges with OpenAI and its imitators, where they are at hand: every answer is decoded and compared with
//! an independent reading; every request passes with nothing but the model changed, and decodes.

use std::collections::BTreeMap;

use super::*;
use crate::dialect::corpus;

/// What providers of this dialect do differently, as their catalogue files say.
fn quirks_of(id: &str) -> Quirks {
    Quirks { reasoning_outside_output: id.starts_with("xai-") || id.starts_with("gemini-"), ..Quirks::default() }
}

/// What the independent reading has otherwise, by the beginning of the id, with the reason.
const EXCEPTIONS: [(&str, &str); 17] = [
    ("azure-chat-u-748014ef", "more cached tokens than tokens are reported: clamped"),
    ("azure-chat-u-94a2d84e", "the same"),
    ("azure-chat-u-dbb1e6ec", "the same"),
    ("azure-chat-s-0c8ce995", "the same"),
    ("azure-chat-s-892aa398", "the same"),
    ("azure-chat-s-c0ac2bea", "the same"),
    ("openai-chat-u-02ce4e99", "it does not know custom tools"),
    ("openai-chat-u-98f06746", "the transcript of a spoken answer is its text"),
    ("openai-chat-u-3606b1bc", "a forced call ends with `stop`: clients of other dialects are told of the call"),
    ("openai-chat-u-a4b1476e", "the same"),
    ("openai-chat-s-56bdba53", "the same"),
    ("openai-chat-s-a8b9ad56", "the same"),
    ("snowflake-chat-u-", "an empty `function_call` is no call"),
    ("openrouter-chat-s-19ec71a1", "more thinking than output is reported: clamped"),
    ("perplexity-chat-s-5f4100b6", "text of the whole message beside each delta is not added to it"),
    ("perplexity-chat-s-d3b984fd", "the same"),
    ("perplexity-chat-s-d479cfd8", "the same"),
];

#[test]
fn recorded_answers() {
    let Some(exchanges) = corpus::load(&["chat.completions"], |_| true) else { return };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (exchange, want) in &exchanges {
        let (id, body) = (&exchange.id, exchange.response.body_text.as_bytes());
        let quirks = quirks_of(id);
        if exchange.status >= 400 {
            let failure = OpenAiChat.decode_error(exchange.status, body);
            assert_eq!(failure.status, Some(exchange.status), "{id}");
            *counts.entry("errors").or_default() += 1;
            continue;
        }
        let stream = exchange.wire_format == "sse" || body.trim_ascii_start().starts_with(b"data:");
        let answer = if stream {
            let decoder = || OpenAiChat.decode_stream(&quirks);
            let (events, result, observed) = corpus::decode(decoder(), body, body.len());
            assert_eq!(corpus::decode(decoder(), body, 61).0, events, "{id}");
            let mut tap = OpenAiChat.tap(&quirks, Watching::default());
            let mut passed = Vec::new();
            let tapped = tap.chunk(Bytes::copy_from_slice(body), &mut passed).and_then(|()| tap.end(&mut passed));
            assert_eq!(tapped.is_ok(), result.is_ok(), "{id}: {tapped:?} {result:?}");
            assert_eq!(tap.observed().usage, observed.usage, "{id}");
            if result.is_err() {
                *counts.entry("streams that end in an error").or_default() += 1;
                continue;
            }
            assert_eq!(passed.concat(), body, "{id}");
            corpus::gather(events)
        } else {
            match OpenAiChat.decode_response(body, &quirks) {
                Ok(answer) => answer,
                Err(_) if body.windows(8).any(|w| w == b"\"error\":") => {
                    *counts.entry("errors under a good status").or_default() += 1;
                    continue;
                }
                Err(failure) => {
                    wrong.push(format!("{id}: {failure:?}"));
                    continue;
                }
            }
        };
        let differences = corpus::differences(&answer, want);
        if differences.is_empty() || EXCEPTIONS.iter().any(|(known, _)| id.starts_with(known)) {
            *counts.entry("answers").or_default() += 1;
        } else {
            wrong.push(format!("{id}: {differences:?}"));
        }
    }
    println!("{} recorded exchanges: {counts:?}", exchanges.len());
    assert!(wrong.is_empty() && !exchanges.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn recorded_requests() {
    let Some(exchanges) = corpus::load(&["chat.completions"], |x| x.status < 400) else { return };
    let (mut passed, mut decoded, mut refused) = (0, 0, Vec::new());
    for (exchange, _) in &exchanges {
        let Some(raw) = exchange.request.body.as_ref().filter(|raw| raw.get().starts_with('{')) else { continue };
        let body = Bytes::from(raw.get().to_owned());
        let Ok(envelope) = OpenAiChat.envelope(&body, &Located::default()) else {
            // Azure names its deployment in the path.
            continue;
        };
        let quirks = Quirks { stream_usage: StreamUsage::Always, ..Quirks::default() };
        let to = Destination { model: "other", default_max_output: 1, max_output: None, quirks: &quirks };
        let sent: Value = serde_json::from_slice(&OpenAiChat.retarget(&body, &envelope, &to).concat()).unwrap();
        let mut want: Value = serde_json::from_str(raw.get()).unwrap();
        want["model"] = json!("other");
        assert_eq!(sent, want, "{}", exchange.id);
        passed += 1;
        match OpenAiChat.decode_request(&body, &envelope) {
            Ok(request) => {
                assert_eq!(request.messages.len(), want["messages"].as_array().unwrap().len(), "{}", exchange.id);
                decoded += 1;
            }
            Err(error) => refused.push(format!("{}: {error}", exchange.id)),
        }
    }
    println!(
        "{passed} recorded requests pass, {decoded} are understood, {} are not:\n{}",
        refused.len(),
        refused.join("\n")
    );
    assert!(passed > 150 && refused.len() * 20 < passed, "{refused:?}");
}
