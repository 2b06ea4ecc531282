//! Sources of an answer, from every dialect of providers that names them, in the words of every client.

use super::*;
use crate::domain::chat::{ChatResponse, Choice, Citation, FinishReason, Part};
use crate::domain::collect;

fn shown(client: DialectId, response: &ChatResponse) -> Value {
    let whole = ingress(client).unwrap().encode_response(response, &Rendering::example("m", false));
    serde_json::from_slice(&whole).unwrap()
}

/// The events of an answer as a client sees them.
fn streamed(client: DialectId, events: &[ChatEvent]) -> Vec<Value> {
    let (mut encoder, mut out) =
        (ingress(client).unwrap().encode_stream(Rendering::example("m", false)), BytesMut::new());
    events.iter().for_each(|event| encoder.event(event, &mut out));
    let text = String::from_utf8(out.to_vec()).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
}

fn source(url: Option<&str>, span: Option<(u32, u32)>) -> Citation {
    Citation { url: url.map(str::to_owned), title: Some("T".to_owned()), quoted: None, span }
}

/// "Zürich ist schön." and, after some thinking, "Ja: 5 €."; one source for words in each, one over both, one for none.
fn two_texts() -> ChatResponse {
    let content = vec![
        Part::Text("Zürich ist schön.".into()),
        Part::Reasoning { text: "hm".into(), signature: None },
        Part::Text("Ja: 5 €.".into()),
    ];
    let citations = vec![
        source(Some("u:1"), Some((11, 16))),
        source(Some("u:2"), Some((21, 24))),
        source(Some("u:3"), Some((7, 19))),
        source(None, Some((0, 6))),
    ];
    let choice = Choice { content, citations, finish: FinishReason::Stop, ..Choice::new(0) };
    ChatResponse { id: "a".into(), model: "m".into(), choices: vec![choice], ..ChatResponse::default() }
}

fn marked(annotation: &Value) -> (&str, u64, u64) {
    let of = |name: &str| annotation[name].as_u64().unwrap();
    (annotation["url"].as_str().unwrap(), of("start_index"), of("end_index"))
}

#[test]
fn responses_clients_find_each_source_at_the_part_that_it_supports() {
    let of = |item: &Value| -> Vec<(String, u64, u64)> {
        let list = item["content"][0]["annotations"].as_array().unwrap();
        let mut list: Vec<_> = list.iter().map(marked).map(|(url, a, b)| (url.to_owned(), a, b)).collect();
        list.sort();
        list
    };
    let want = |list: &[(&str, u64, u64)]| -> Vec<(String, u64, u64)> {
        list.iter().map(|(url, a, b)| ((*url).to_owned(), *a, *b)).collect()
    };
    let whole = shown(RESPONSES, &two_texts());
    let events = streamed(RESPONSES, &collect::events(two_texts()));
    let last = &events.last().unwrap()["response"];
    for output in [&whole["output"], &last["output"]] {
        assert_eq!(of(&output[0]), want(&[("", 0, 6), ("u:1", 11, 16), ("u:3", 7, 17)]), "{output}");
        assert_eq!(of(&output[2]), want(&[("u:2", 4, 7), ("u:3", 0, 2)]), "{output}");
    }
    let added = events.iter().filter(|event| event["type"] == "response.output_text.annotation.added");
    let added: Vec<_> = added.map(|e| (e["output_index"].as_u64().unwrap(), marked(&e["annotation"]).0)).collect();
    assert_eq!(added, [(0, "u:1"), (2, "u:2"), (0, "u:3"), (2, "u:3"), (0, "")]);
}

#[test]
fn chat_clients_find_sources_without_an_address_too() {
    let whole = shown(CHAT, &two_texts());
    let list = whole["choices"][0]["message"]["annotations"].as_array().unwrap();
    let list: Vec<_> = list.iter().map(|annotation| marked(&annotation["url_citation"])).collect();
    assert_eq!(list, [("u:1", 11, 16), ("u:2", 21, 24), ("u:3", 7, 19), ("", 0, 6)]);
    assert_eq!(whole["choices"][0]["message"]["annotations"][3]["url_citation"]["title"], "T");
}

#[test]
fn anthropics_clients_find_each_source_at_its_block_and_none_is_lost_in_a_stream() {
    let whole = shown(DialectId::Anthropic, &two_texts());
    let urls = |block: &Value| -> Vec<String> {
        block["citations"].as_array().unwrap().iter().map(|c| c["url"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(urls(&whole["content"][0]), ["u:1", "u:3", ""], "{whole}");
    assert_eq!(urls(&whole["content"][2]), ["u:2", "u:3"]);
    // Thinking is open when the source comes.
    let mut response = two_texts();
    response.choices[0].content.pop();
    let events = streamed(DialectId::Anthropic, &collect::events(response));
    let told = events.iter().filter(|event| event["delta"]["type"] == "citations_delta");
    let starts = events.iter().filter(|event| event["type"] == "content_block_start");
    let kinds: Vec<_> = starts.map(|event| event["content_block"]["type"].as_str().unwrap()).collect();
    assert_eq!((told.count(), kinds), (4, vec!["text", "thinking", "text"]));
}

#[test]
fn geminis_clients_are_told_bytes() {
    let whole = shown(DialectId::Gemini, &two_texts());
    let grounding = &whole["candidates"][0]["groundingMetadata"];
    let supports = grounding["groundingSupports"].as_array().unwrap();
    let texts = whole["candidates"][0]["content"]["parts"].as_array().unwrap();
    let mut said = Vec::new();
    for support in supports {
        let segment = &support["segment"];
        let at = |name: &str| usize::try_from(segment[name].as_u64().unwrap_or(0)).unwrap();
        let text = texts[at("partIndex")]["text"].as_str().unwrap();
        let words = &text[at("startIndex")..at("endIndex")];
        assert_eq!(segment["text"], words);
        said.push((words, support["groundingChunkIndices"][0].as_u64().unwrap()));
    }
    assert_eq!(said, [("schön", 0), ("5 €", 1), ("ist schön.", 2), ("Ja", 2), ("Zürich", 3)]);
    let events = streamed(DialectId::Gemini, &collect::events(two_texts()));
    let last = events.last().unwrap();
    let supports = last["candidates"][0]["groundingMetadata"]["groundingSupports"].as_array().unwrap();
    let all = "Zürich ist schön.Ja: 5 €.";
    for support in supports {
        let of = |name: &str| usize::try_from(support["segment"][name].as_u64().unwrap()).unwrap();
        assert_eq!(support["segment"]["text"], all[of("startIndex")..of("endIndex")]);
    }
    assert_eq!(supports.len(), 4);
}

#[test]
fn geminis_bytes_become_characters_whole_or_in_a_stream() {
    let web = |n: usize| json!({"web": {"uri": format!("u:{n}"), "title": "T"}});
    let support = |part: usize, start: usize, end: usize, text: &str| json!({"segment": {"partIndex": part, "startIndex": start, "endIndex": end, "text": text}, "groundingChunkIndices": [0]});
    let read = |body: Value| {
        let quirks = Quirks::default();
        egress(DialectId::Gemini).unwrap().transcode().decode_response(body.to_string().as_bytes(), &quirks).unwrap()
    };
    let answer = |parts: Value, supports: Value, chunks: Value| {
        json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP", "groundingMetadata":
            {"groundingChunks": chunks, "groundingSupports": supports}}]})
    };
    let parts = json!([{"text": "hm", "thought": true}, {"text": "Zürich"}, {"text": " ist schön."}]);
    let supports = json!([
        support(1, 0, 7, "Zürich"),
        support(2, 5, 11, "schön"),
        support(0, 0, 7, "Zürich"),
        support(0, 40, 50, "schön"),
        support(0, 2, 1, "")
    ]);
    let response = read(answer(parts, supports, json!([web(0)])));
    let spans: Vec<_> = response.choices[0].citations.iter().map(|citation| citation.span).collect();
    assert_eq!(spans, [Some((0, 6)), Some((11, 16)), None], "each once; what is nowhere is the whole answer's");
    let other = read(answer(
        json!([{"text": "x"}]),
        json!([]),
        json!([{"retrievedContext": {"uri": "gs://b/d", "title": "D"}}]),
    ));
    assert_eq!(other.choices[0].citations[0].url.as_deref(), Some("gs://b/d"), "a document of the caller's");
    let repeated = read(json!({"candidates": [{"content": {"parts": [{"text": "ä song"}]}, "finishReason": "STOP",
        "citationMetadata": {"citationSources": [{"startIndex": 3, "endIndex": 7, "uri": "u:9"}]}}]}));
    assert_eq!(
        repeated.choices[0].citations,
        [Citation { url: Some("u:9".into()), span: Some((2, 6)), ..Citation::default() }]
    );
    let frames = [
        json!({"candidates": [{"content": {"parts": [{"text": "Zürich "}]}}]}),
        json!({"candidates": [{"content": {"parts": [{"text": "ist schön."}]}}]}),
        answer(json!([{"text": ""}]), json!([support(0, 12, 18, "schön")]), json!([web(0)])),
    ];
    let stream: String = frames.iter().map(|frame| format!("data: {frame}\r\n\r\n")).collect();
    let mut decoder = egress(DialectId::Gemini).unwrap().transcode().decode_stream(&Quirks::default());
    let mut events = Vec::new();
    decoder.chunk(stream.as_bytes(), &mut events).unwrap();
    let spans: Vec<_> = events
        .iter()
        .filter_map(|e| if let ChatEvent::Citation { citation, .. } = e { citation.span } else { None })
        .collect();
    assert_eq!(spans, [(11, 16)]);
}

#[test]
fn what_cohere_cites_of_a_tool_reaches_openais_clients() {
    let body = json!({"id": "a", "finish_reason": "COMPLETE", "message": {"role": "assistant", "content": [{"type": "text", "text": "It is 20 °C."}],
        "citations": [{"start": 6, "end": 11, "text": "20 °C", "sources": [{"type": "tool", "id": "weather:0", "tool_output": {"temp": "20"}}]}]},
        "usage": {"tokens": {"input_tokens": 1, "output_tokens": 1}}});
    let cohere = egress(DialectId::Cohere).unwrap().transcode();
    let response = cohere.decode_response(body.to_string().as_bytes(), &Quirks::default()).unwrap();
    let chat = shown(CHAT, &response);
    let want = json!([{"type": "url_citation", "url_citation": {"start_index": 6, "end_index": 11, "url": "", "title": "weather:0", "content": "20 °C"}}]);
    assert_eq!(chat["choices"][0]["message"]["annotations"], want);
    let items = shown(RESPONSES, &response);
    assert_eq!(marked(&items["output"][0]["content"][0]["annotations"][0]), ("", 6, 11));
}

#[test]
fn files_that_openais_responses_cite_reach_others() {
    let cited = json!([{"type": "file_citation", "index": 3, "file_id": "f_1", "filename": "a.pdf"},
        {"type": "url_citation", "start_index": 0, "end_index": 3, "url": "u:1", "title": "T"}]);
    let body = json!({"id": "r", "status": "completed", "model": "m", "output": [{"type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "yes", "annotations": cited}]}], "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}});
    let from = egress(RESPONSES).unwrap().transcode();
    let response = from.decode_response(body.to_string().as_bytes(), &Quirks::default()).unwrap();
    let titles: Vec<_> = response.choices[0].citations.iter().map(|c| (c.title.as_deref(), c.span)).collect();
    assert_eq!(titles, [(Some("a.pdf"), Some((3, 3))), (Some("T"), Some((0, 3)))]);
}
