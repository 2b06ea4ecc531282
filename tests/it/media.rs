//! Images and sound: passed on as they come, metered by what is told, never shown whole when they were cut.

use serde_json::json;

use crate::harness::{Answer, Gateway};
use crate::upstream::{Step, Upstream, chunk, json as whole, stream_end};

fn head(media: &str) -> Step {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ntransfer-encoding: chunked\r\n\r\n");
    Step::Send(head.into_bytes())
}

/// A gateway whose provider `alpha` does that operation.
async fn gateway(alpha: &Upstream, operation: &str) -> Gateway {
    let gateway = Gateway::start(Some(alpha), None, None).await;
    gateway.offer("alpha", "openai-chat", operation).await;
    gateway
}

async fn post(gateway: &Gateway, path: &str, body: serde_json::Value) -> reqwest::Response {
    let request = gateway.client.post(format!("{}{path}", gateway.base)).bearer_auth(&gateway.key);
    request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap()
}

#[tokio::test]
async fn sound_is_passed_on_before_it_is_whole() {
    let alpha = Upstream::start(vec![vec![head("audio/mpeg"), chunk("ID3 first"), Step::Hang]]).await;
    let gateway = gateway(&alpha, "speech").await;
    let mut got = post(&gateway, "/audio/speech", json!({"model": "alpha/m-1", "input": "hello", "voice": "v"})).await;
    assert_eq!(got.headers()["content-type"], "audio/mpeg");
    let id = got.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(got.chunk().await.unwrap().unwrap(), "ID3 first", "the upstream has said no more and has not ended");
    drop(got);
    let row = gateway.ledger(&id).await;
    assert_eq!(row["attempts"][0]["outcome"], "cancelled", "{row}");
    assert_eq!(row["attempts"][0]["unpriced"], "usage_not_reported", "{row}");
}

#[tokio::test]
async fn sound_that_was_cut_is_never_shown_as_whole() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 5000\r\n\r\nID3 first".to_vec();
    let alpha = Upstream::start(vec![vec![Step::Send(cut)]]).await;
    let gateway = gateway(&alpha, "speech").await;
    let got = post(&gateway, "/audio/speech", json!({"model": "alpha/m-1", "input": "hello", "voice": "v"})).await;
    let id = got.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert!(got.bytes().await.is_err(), "the connection is cut");
    assert_eq!(gateway.ledger(&id).await["attempts"][0]["outcome"], "truncated");
}

#[tokio::test]
async fn a_stream_of_speech_passes_byte_by_byte_and_is_metered() {
    let events = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"SUQz\"}\n\n";
    let done = "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":101}}\n\n";
    let alpha = Upstream::start(vec![vec![head("text/event-stream"), chunk(events), chunk(done), stream_end()]]).await;
    let gateway = gateway(&alpha, "speech").await;
    let asked = json!({"model": "alpha/m-1", "input": "hello", "voice": "v", "stream_format": "sse"});
    let got = Answer::read(post(&gateway, "/audio/speech", asked).await).await;
    assert_eq!(got.text, format!("{events}{done}"));
    let row = gateway.ledger(got.id()).await;
    assert_eq!(row["attempts"][0]["usage"], json!({"input": 14, "output_audio": 101}), "{row}");
    assert_eq!(row["attempts"][0]["unpriced"], "no_rate_for_bucket", "its file has no price for sound");
}

#[tokio::test]
async fn a_stream_that_broke_ends_with_an_error_event() {
    let events = "data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"QQ==\"}\n\n";
    let alpha = Upstream::start(vec![vec![head("text/event-stream"), chunk(events), stream_end()]]).await;
    let gateway = gateway(&alpha, "images").await;
    let asked = json!({"model": "alpha/m-1", "prompt": "a cat", "stream": true, "partial_images": 1});
    let got = Answer::read(post(&gateway, "/images/generations", asked).await).await;
    let rest = got.text.strip_prefix(events).unwrap();
    assert!(rest.starts_with("data: {\"error\":"), "{rest}");
    assert_eq!(gateway.ledger(got.id()).await["attempts"][0]["outcome"], "truncated");
}

#[tokio::test]
async fn large_images_are_metered_on_their_way_and_small_ones_may_fail_over() {
    let data = "iVBORw0KGgo".repeat(50_000);
    let answer = format!(
        "{{\"created\":1,\"data\":[{{\"b64_json\":\"{data}\"}}],\"usage\":{{\"input_tokens\":7,\"output_tokens\":1000}}}}"
    );
    let alpha = Upstream::start(vec![whole(200, &answer), whole(500, "{}")]).await;
    let beta = Upstream::start(vec![whole(200, "{\"created\":1,\"data\":[{\"url\":\"u\"}]}")]).await;
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    gateway.offer("alpha", "openai-chat", "images").await;
    gateway.offer("beta", "openai-chat", "images").await;
    let got =
        Answer::read(post(&gateway, "/images/generations", json!({"model": "auto", "prompt": "a cat"})).await).await;
    assert_eq!((got.status, got.text.len()), (200, answer.len()));
    assert_eq!(got.text, answer);
    let row = gateway.ledger(got.id()).await;
    assert_eq!(row["attempts"][0]["usage"], json!({"input": 7, "output_image": 1000}), "{row}");
    let second =
        Answer::read(post(&gateway, "/images/generations", json!({"model": "auto", "prompt": "a cat"})).await).await;
    assert_eq!((second.status, second.header("x-stellwerk-target")), (200, "beta/m-1"), "{}", second.text);
    let row = gateway.ledger(second.id()).await;
    assert_eq!(row["attempts"][1]["unpriced"], "usage_not_reported", "an unknown price is not the prompt's: {row}");
}

#[tokio::test]
async fn forms_with_files_pass_byte_by_byte() {
    let alpha =
        Upstream::start(vec![whole(200, "{\"text\":\"hi\",\"usage\":{\"type\":\"duration\",\"seconds\":5}}")]).await;
    let gateway = gateway(&alpha, "transcription").await;
    let form = "--x-y\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n\r\nmodel \r\n--x-y\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nalpha/m-1\r\n--x-y--\r\n";
    let request = gateway.client.post(format!("{}/audio/transcriptions", gateway.base)).bearer_auth(&gateway.key);
    let request = request.header("content-type", "multipart/form-data; boundary=x-y").body(form);
    let got = Answer::read(request.send().await.unwrap()).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let seen = &alpha.seen()[0];
    assert_eq!(seen.body, form.replace("alpha/m-1", "m-1"));
    assert_eq!(seen.header("content-type"), "multipart/form-data; boundary=x-y");
    assert_eq!(seen.header("content-length"), (form.len() - 6).to_string());
    let row = gateway.ledger(got.id()).await;
    assert_eq!(row["attempts"][0]["unpriced"], "usage_not_reported", "seconds have no price here: {row}");
}
