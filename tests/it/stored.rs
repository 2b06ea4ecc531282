//! Answers that a provider has stored: who may ask for them later, and where the question goes.

use serde_json::{Value, json};

use crate::harness::{Answer, Gateway};
use crate::upstream::{Upstream, chunk, json as whole, stream_end, stream_head};

fn answer(id: &str) -> String {
    json!({ "id": id, "object": "response", "status": "completed", "model": "m-1", "output": [],
            "usage": { "input_tokens": 3, "output_tokens": 1, "total_tokens": 4 } })
    .to_string()
}

async fn send(gateway: &Gateway, key: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = gateway.client.request(method, format!("{}/{path}", gateway.base)).bearer_auth(key);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    Answer::read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_stored_answer_is_asked_for_where_it_lies_by_its_tenant_alone() {
    let event = "data: {\"type\":\"response.completed\",\"sequence_number\":2,\"response\":{\"id\":\"resp_1\"}}\n\n";
    let alpha = Upstream::start(vec![
        whole(200, &answer("resp_1")),
        whole(200, &answer("resp_1")),
        whole(200, r#"{"object":"list","data":[]}"#),
        whole(200, &answer("resp_1")),
        vec![stream_head(), chunk(event), stream_end()],
        whole(404, r#"{"error":{"message":"gone","type":"invalid_request_error","param":null,"code":null}}"#),
        whole(200, r#"{"id":"resp_1","object":"response","deleted":true}"#),
    ])
    .await;
    let dir = Gateway::files(Some(&alpha), None, None);
    let file = dir.path().join("providers/alpha.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"openai-chat\"", "\"openai-responses\"");
    std::fs::write(&file, text).unwrap();
    let mut gateway = Gateway::start_in(dir).await;
    let made =
        send(&gateway, &gateway.key, "POST", "responses", Some(json!({ "model": "alpha/m-1", "input": "hi" }))).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let other = gateway.new_key("other", None);
    // The next process knows it as well.
    gateway.ledger(made.id()).await;
    gateway.app.take().unwrap().shutdown().await;
    let mut gateway = gateway.again().await;
    let key = gateway.key.clone();
    let shown = send(&gateway, &key, "GET", "responses/resp_1?include%5B%5D=a", None).await;
    assert_eq!(
        (shown.status, shown.text.as_str(), shown.header("x-stellwerk-target")),
        (200, answer("resp_1").as_str(), "alpha/m-1")
    );
    let line = |at: usize| alpha.seen()[at].head.lines().next().unwrap().to_owned();
    assert_eq!(line(1), "GET /responses/resp_1?include%5B%5D=a HTTP/1.1");
    assert!(alpha.seen()[1].header("authorization").starts_with("Bearer "));
    let row = gateway.ledger(shown.id()).await;
    assert_eq!((&row["cost_usd"], &row["attempts"][0]["usage"]), (&"0.00".into(), &json!({})), "{row}");
    assert_eq!(send(&gateway, &key, "GET", "responses/resp_1/input_items?limit=2", None).await.status, 200);
    assert_eq!(line(2), "GET /responses/resp_1/input_items?limit=2 HTTP/1.1");
    assert_eq!(send(&gateway, &key, "POST", "responses/resp_1/cancel", None).await.status, 200);
    assert_eq!(line(3), "POST /responses/resp_1/cancel HTTP/1.1");
    let stream = send(&gateway, &key, "GET", "responses/resp_1?stream=true&starting_after=1", None).await;
    assert_eq!((stream.text.as_str(), stream.header("content-type")), (event, "text/event-stream"));

    let reached = alpha.seen().len();
    for (who, path) in [(&other, "responses/resp_1"), (&key, "responses/resp_2"), (&key, "responses/..%2Ffiles")] {
        let none = send(&gateway, who, "GET", path, None).await;
        assert_eq!((none.status, &none.json()["error"]["code"]), (404, &"response_not_kept".into()), "{}", none.text);
    }
    let policy = std::fs::read_to_string(gateway.path("policies/default.toml")).unwrap();
    gateway.policy(&format!("[require]\nprocessing = [\"US\"]\n{policy}")).await;
    let refused = send(&gateway, &key, "GET", "responses/resp_1", None).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    gateway.policy(&policy).await;
    assert_eq!(alpha.seen().len(), reached, "nothing of it was sent");

    let gone = send(&gateway, &key, "GET", "responses/resp_1", None).await;
    assert_eq!((gone.status, gone.json()["error"]["message"].is_string()), (404, true), "{}", gone.text);
    let deleted = send(&gateway, &key, "DELETE", "responses/resp_1", None).await;
    assert_eq!(deleted.json()["deleted"], true);
    assert_eq!(send(&gateway, &key, "GET", "responses/resp_1", None).await.status, 404);
    gateway.app.take().unwrap().shutdown().await;
    let gateway = gateway.again().await;
    assert_eq!(send(&gateway, &key, "GET", "responses/resp_1", None).await.status, 404);
    assert_eq!(alpha.seen().len(), reached + 2);
}
