//! Whether what a client gets has the form of its dialect: whole answers and streams, good and broken.

use serde_json::Value;
use stellwerk::domain::id::DialectId;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Good,
    Broken,
}

/// What is not well with a whole answer; none = all is well.
pub(crate) fn whole(client: DialectId, body: &[u8]) -> Result<(), String> {
    let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let has = |place: &str| body.pointer(place).is_some_and(|value| !value.is_null());
    let needed: &[&str] = match client {
        DialectId::OpenAiChat | DialectId::OpenAiCompletions => &["/id", "/object", "/created", "/model", "/choices"],
        DialectId::OpenAiResponses => &["/id", "/object", "/status", "/output", "/model"],
        DialectId::Anthropic => &["/id", "/type", "/role", "/content", "/stop_reason", "/usage"],
        _ => &["/candidates"],
    };
    needed.iter().find(|place| !has(place)).map_or(Ok(()), |place| Err(format!("no {place}")))?;
    usage(client, &body)
}

/// Parts of a usage report are never more than their whole, and the total is their sum.
fn usage(client: DialectId, body: &Value) -> Result<(), String> {
    let of = |place: &str| body.pointer(place).and_then(Value::as_u64).unwrap_or(0);
    let (sum, total) = match client {
        DialectId::OpenAiChat | DialectId::OpenAiCompletions => {
            (of("/usage/prompt_tokens").saturating_add(of("/usage/completion_tokens")), of("/usage/total_tokens"))
        }
        DialectId::OpenAiResponses => {
            (of("/usage/input_tokens").saturating_add(of("/usage/output_tokens")), of("/usage/total_tokens"))
        }
        DialectId::Anthropic => (0, 0),
        _ => {
            let parts = ["promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"];
            let parts = parts.map(|name| of(&format!("/usageMetadata/{name}")));
            (parts.into_iter().fold(0, u64::saturating_add), of("/usageMetadata/totalTokenCount"))
        }
    };
    let cached = of("/usage/prompt_tokens_details/cached_tokens");
    if sum != total || cached > of("/usage/prompt_tokens") {
        return Err(format!("usage does not add up: {body}"));
    }
    Ok(())
}

/// The events of a stream: name and data.
fn events(text: &str) -> Vec<(Option<&str>, &str)> {
    let text = text.trim_end_matches(['\r', '\n']);
    let mut out = Vec::new();
    for block in text.split("\n\n").flat_map(|block| block.split("\r\n\r\n")) {
        let name = block.lines().find_map(|line| line.strip_prefix("event: "));
        let data = block.lines().find_map(|line| line.strip_prefix("data: "));
        out.extend(data.map(|data| (name, data)));
    }
    out
}

/// What is not well with a stream.
pub(crate) fn stream(client: DialectId, bytes: &[u8], end: End) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut read = Vec::new();
    for (name, data) in events(text) {
        if data == "[DONE]" {
            read.push((name, Value::from("[DONE]")));
            continue;
        }
        let json = serde_json::from_str::<Value>(data).map_err(|error| format!("{error} in {data}"))?;
        read.push((name, json));
    }
    let checked = match client {
        DialectId::OpenAiChat | DialectId::OpenAiCompletions => chunks(&read, end),
        DialectId::OpenAiResponses => responses(&read, end),
        DialectId::Anthropic => messages(&read, end),
        _ => elements(&read, end),
    };
    checked.map_err(|what| format!("{what}\n{text}"))
}

type Read<'t> = [(Option<&'t str>, Value)];

fn chunks(read: &Read<'_>, end: End) -> Result<(), String> {
    let done = read.iter().filter(|(_, json)| json == "[DONE]").count();
    let last = &read.last().ok_or("nothing")?.1;
    match end {
        End::Good if done != 1 || last != "[DONE]" => return Err("no single [DONE] at the end".to_owned()),
        End::Broken if done != 0 || last["error"].is_null() => return Err("no error at the end".to_owned()),
        _ => {}
    }
    let mut finished = std::collections::BTreeMap::new();
    let mut ids = std::collections::BTreeSet::new();
    for (_, chunk) in read.iter().filter(|(_, json)| json.is_object() && json["error"].is_null()) {
        ids.insert(chunk["id"].to_string());
        for choice in chunk["choices"].as_array().ok_or("a chunk without choices")? {
            let count = finished.entry(choice["index"].to_string()).or_insert(0);
            *count += i32::from(choice["finish_reason"].is_string());
        }
        usage(DialectId::OpenAiChat, chunk)?;
    }
    if ids.len() > 1 {
        return Err("more than one id".to_owned());
    }
    match end {
        End::Good if finished.is_empty() || finished.values().any(|count| *count != 1) => {
            Err(format!("not one finish for each choice: {finished:?}"))
        }
        _ => Ok(()),
    }
}

fn responses(read: &Read<'_>, end: End) -> Result<(), String> {
    for (number, (name, event)) in read.iter().enumerate() {
        let kind = event["type"].as_str().ok_or("an event without a type")?;
        if event["sequence_number"] != number || name.is_some_and(|name| name != kind) {
            return Err(format!("event {number} is {event}"));
        }
    }
    let count = |kind: &str| read.iter().filter(|(_, event)| event["type"] == kind).count();
    if count("response.output_item.added") != count("response.output_item.done") && end == End::Good {
        return Err("an item is open at the end".to_owned());
    }
    let last = &read.last().ok_or("nothing")?.1;
    let kind = last["type"].as_str().unwrap_or_default();
    match end {
        End::Good if !["response.completed", "response.incomplete"].contains(&kind) => Err(format!("ends with {kind}")),
        End::Broken if kind != "response.failed" => Err(format!("breaks with {kind}")),
        _ => usage(DialectId::OpenAiResponses, &last["response"]),
    }
}

fn messages(read: &Read<'_>, end: End) -> Result<(), String> {
    let (mut open, mut next, mut begun) = (None, 0, false);
    for (name, event) in read {
        let kind = event["type"].as_str().ok_or("an event without a type")?;
        if *name != Some(kind) {
            return Err(format!("{name:?} is {kind}"));
        }
        let index = event["index"].as_u64();
        match kind {
            "message_start" if begun => return Err("it starts twice".to_owned()),
            "message_start" => begun = true,
            "content_block_start" if open.is_some() || index != Some(next) => return Err("blocks overlap".to_owned()),
            "content_block_start" => open = index,
            "content_block_delta" if open.is_none() || open != index => return Err("a delta of no block".to_owned()),
            "content_block_stop" if open.is_none() || open != index => return Err("an end of no block".to_owned()),
            "content_block_stop" => (open, next) = (None, next + 1),
            _ => {}
        }
    }
    let count = |kind: &str| read.iter().filter(|(_, event)| event["type"] == kind).count();
    let last = read.last().ok_or("nothing")?.1["type"].as_str().unwrap_or_default();
    let good = last == "message_stop" && open.is_none() && begun && count("message_delta") == 1;
    match end {
        End::Good if !good => Err(format!("ends with {last}, {open:?} open")),
        End::Broken if last != "error" || count("message_stop") > 0 => Err(format!("breaks with {last}")),
        _ => Ok(()),
    }
}

fn elements(read: &Read<'_>, end: End) -> Result<(), String> {
    let last = &read.last().ok_or("nothing")?.1;
    match end {
        End::Good if last["candidates"][0]["finishReason"].is_null() => return Err("no reason at the end".to_owned()),
        End::Broken if last["error"].is_null() => return Err("no error at the end".to_owned()),
        _ => {}
    }
    read.iter().try_for_each(|(_, element)| usage(DialectId::Gemini, element))
}
