//! Batches: uploads, questions and results, at a provider that keeps them, and what the ledger says of it.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::harness::{Answer, Gateway, provider};
use crate::upstream::{Seen, Step, Upstream, json as whole, read_request};

/// A provider of batches, in both dialects.
#[derive(Clone, Default)]
struct Keeper {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    over: Arc<Mutex<bool>>,
}

impl Keeper {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let keeper = Self { url: format!("http://{}", listener.local_addr().unwrap()), ..Self::default() };
        let this = keeper.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let this = this.clone();
                tokio::spawn(async move {
                    let mut buffer = Vec::new();
                    while let Some(seen) = read_request(&mut stream, &mut buffer).await {
                        let (status, body) = this.answer(&seen);
                        this.seen.lock().unwrap().push(seen);
                        let kind = if body.starts_with('{') && !body.contains('\n') { "json" } else { "x-ndjson" };
                        let length = body.len();
                        let head = format!(
                            "HTTP/1.1 {status} X\r\ncontent-type: application/{kind}\r\ncontent-length: {length}\r\n\r\n"
                        );
                        if stream.write_all((head + &body).as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        keeper
    }

    fn end(&self) {
        *self.over.lock().unwrap() = true;
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Method and path of everything that was asked.
    fn asked(&self) -> Vec<String> {
        let line = |seen: &Seen| seen.head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        self.seen().iter().map(line).collect()
    }

    fn answer(&self, seen: &Seen) -> (u16, String) {
        let over = *self.over.lock().unwrap();
        let line = seen.head.lines().next().unwrap();
        let (method, rest) = line.split_once(' ').unwrap();
        let path = rest.split(' ').next().unwrap();
        let messages = |over: bool| {
            let (status, url) = if over {
                ("ended", json!("https://api.example.invalid/v1/messages/batches/msgbatch_1/results"))
            } else {
                ("in_progress", Value::Null)
            };
            json!({ "id": "msgbatch_1", "type": "message_batch", "processing_status": status, "results_url": url })
        };
        let batch = |over: bool| {
            let (status, out) = if over { ("completed", json!("file-out")) } else { ("validating", Value::Null) };
            json!({ "id": "batch_1", "object": "batch", "status": status, "input_file_id": "file-in",
                    "output_file_id": out, "error_file_id": null })
        };
        let answer = match (method, path) {
            ("POST", "/v1/messages/batches") => messages(false).to_string(),
            ("GET", "/v1/messages/batches/msgbatch_1") => messages(over).to_string(),
            ("POST", "/v1/messages/batches/msgbatch_1/cancel") => messages(false).to_string(),
            ("DELETE", "/v1/messages/batches/msgbatch_1") => {
                json!({ "id": "msgbatch_1", "type": "message_batch_deleted" }).to_string()
            }
            ("GET", "/v1/messages/batches/msgbatch_1/results") => message_results(),
            ("POST", "/files") => json!({ "id": "file-in", "object": "file", "purpose": "batch" }).to_string(),
            ("GET", "/files/file-in") => json!({ "id": "file-in", "object": "file", "bytes": 7 }).to_string(),
            ("POST", "/batches") => batch(false).to_string(),
            ("GET", "/batches/batch_1") => batch(over).to_string(),
            ("GET", "/files/file-out/content") => file_results(),
            ("DELETE", "/files/file-out") => json!({ "id": "file-out", "object": "file", "deleted": true }).to_string(),
            _ => return (404, json!({ "error": { "message": "not here", "type": "not_found_error" } }).to_string()),
        };
        (200, answer)
    }
}

/// Two answers, one refusal, and a line that nobody can read.
fn message_results() -> String {
    let answer = |id: &str, input: u64, output: u64| {
        json!({ "custom_id": id, "result": { "type": "succeeded", "message": {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m-1",
            "content": [{ "type": "text", "text": "line\nbreak" }], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": { "input_tokens": input, "output_tokens": output, "service_tier": "batch" } } } })
    };
    let refused = json!({ "custom_id": "c", "result": { "type": "errored", "error": { "type": "error" } } });
    format!("{}\n{}\n{refused}\nnot json\n", answer("a", 1000, 10), answer("b \"quoted\"", 2000, 20))
}

fn file_results() -> String {
    let answer = |id: &str, status: u16, input: u64, output: u64| {
        json!({ "id": "batch_req_1", "custom_id": id, "error": null, "response": { "status_code": status, "body": {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m-1", "service_tier": "default",
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": "hi" }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output } } } })
    };
    format!("{}\n{}\n{}", answer("a", 200, 100, 10), answer("b", 200, 200, 20), answer("c", 400, 7, 7))
}

/// `kept` speaks `dialect` and has prices for batches: half of 10 and 20 USD per million. `plain` has none.
async fn start(keeper: &Keeper, dialect: &str) -> Gateway {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["providers", "policies"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    for name in ["kept", "plain"] {
        let mut text = provider(name, dialect, &keeper.url, "DE", "10", "20");
        if name == "kept" {
            text += "\n    [[model.price.service]]\n    name = \"batch\"\n    input = \"5\"\n    output = \"10\"\n";
        }
        fs::write(dir.path().join(format!("providers/{name}.toml")), text).unwrap();
    }
    fs::write(dir.path().join("policies/default.toml"), policy("")).unwrap();
    Gateway::start_in(dir).await
}

fn policy(require: &str) -> String {
    format!(
        "{require}\n[[route]]\nname = \"night\"\nmatch = {{ model = [\"auto\"] }}\ntargets = [\"plain/*\", \"kept/*\"]\n\
         baseline = {{ target = \"openai/o1@global\", price_as_of = 2025-01-31 }}\n"
    )
}

async fn send(gateway: &Gateway, method: &str, path: &str, body: Option<&Value>) -> Answer {
    as_key(gateway, &gateway.key, method, path, body).await
}

async fn as_key(gateway: &Gateway, key: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = gateway.client.request(method, format!("{}/{path}", gateway.base)).bearer_auth(key);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    Answer::read(request.send().await.unwrap()).await
}

fn message(model: &str, id: &str) -> Value {
    json!({ "custom_id": id, "params": { "model": model, "max_tokens": 50,
            "messages": [{ "role": "user", "content": "hello" }] } })
}

fn messages(models: &[&str]) -> Value {
    let ids = ["a", "b \"quoted\"", "c", "d"];
    json!({ "requests": models.iter().zip(ids).map(|(model, id)| message(model, id)).collect::<Vec<_>>() })
}

/// Uploads a file for a batch as official clients do.
async fn upload(gateway: &Gateway, purpose: &str, lines: &str) -> Answer {
    let form = format!(
        "--xyz\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n--xyz\r\nContent-Disposition: \
         form-data; name=\"file\"; filename=\"in.jsonl\"\r\nContent-Type: application/octet-stream\r\n\r\n{lines}\r\n--xyz--\r\n"
    );
    let request = gateway.client.post(format!("{}/files", gateway.base)).bearer_auth(&gateway.key);
    let request = request.header("content-type", "multipart/form-data; boundary=xyz").body(form);
    Answer::read(request.send().await.unwrap()).await
}

fn line(model: &str, url: &str, id: &str) -> String {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": "hello" }] });
    json!({ "custom_id": id, "method": "POST", "url": url, "body": body }).to_string()
}

/// Results in the ledger: tokens in and out, pico-dollars, the price's name, why there is none, the baseline's part.
type Row = (i64, i64, Option<i64>, Option<String>, Option<String>, Option<i64>);

fn rows(gateway: &Gateway) -> Vec<Row> {
    let database = rusqlite::Connection::open(gateway.path("data/stellwerk.db")).unwrap();
    let sql = "SELECT a.input, a.output, a.cost_pico, a.price_id, a.unpriced, r.baseline_input_pico
               FROM requests r JOIN attempts a ON a.request_id = r.id
               WHERE (a.cost_pico IS NOT NULL AND a.cost_pico > 0) OR a.unpriced IS NOT NULL ORDER BY a.input";
    let mut statement = database.prepare(sql).unwrap();
    let read =
        |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?));
    statement.query_map([], read).unwrap().map(Result::unwrap).collect()
}

async fn accounted(gateway: &Gateway, count: usize) -> Vec<Row> {
    for _ in 0..500 {
        let found = rows(gateway);
        if found.len() >= count {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never {count} rows: {:?}", rows(gateway));
}

#[tokio::test]
async fn batches_of_messages_pass_and_each_result_is_accounted_at_the_price_of_batches() {
    let keeper = Keeper::start().await;
    let gateway = start(&keeper, "anthropic").await;
    let made = send(&gateway, "POST", "messages/batches", Some(&messages(&["auto", "auto", "auto"]))).await;
    assert_eq!((made.status, &made.json()["id"]), (200, &"msgbatch_1".into()), "{}", made.text);
    assert_eq!((made.header("x-stellwerk-route"), made.header("x-stellwerk-target")), ("night", "kept/m-1"));
    let sent = keeper.seen()[0].json();
    assert_eq!(sent, messages(&["m-1", "m-1", "m-1"]), "only the names of the model are others");
    let begun = gateway.ledger(made.id()).await;
    assert_eq!((&begun["cost_usd"], &begun["attempts"][0]["usage"]), (&"0.00".into(), &json!({})), "{begun}");

    let one = "messages/batches/msgbatch_1";
    let shown = send(&gateway, "GET", one, None).await;
    assert_eq!(shown.json()["processing_status"], "in_progress", "{}", shown.text);
    assert_eq!(send(&gateway, "POST", &format!("{one}/cancel"), None).await.status, 200);
    let early = send(&gateway, "DELETE", one, None).await;
    assert_eq!((early.status, early.header("x-should-retry")), (409, "true"), "{}", early.text);
    assert_eq!(rows(&gateway), []);

    keeper.end();
    let shown = send(&gateway, "GET", one, None).await.json();
    assert_eq!(shown["results_url"], "/v1/messages/batches/msgbatch_1/results", "below the client's base URL: {shown}");
    let found = accounted(&gateway, 3).await;
    let price =
        |row: &Row| row.3.as_deref().is_some_and(|id| id.starts_with("kept/m-1@main#") && id.ends_with("+batch"));
    assert_eq!((found[0].2, found[0].4.as_deref()), (None, Some("usage_not_reported")), "the line that can't be read");
    assert_eq!((found[1].0, found[1].1, found[1].2), (1000, 10, Some(1000 * 5_000_000 + 10 * 10_000_000)));
    assert_eq!((found[2].0, found[2].1, found[2].2), (2000, 20, Some(2000 * 5_000_000 + 20 * 10_000_000)));
    assert!(price(&found[1]) && price(&found[2]), "{found:?}");
    assert_eq!(found[1].5, Some(1000 * 15_000_000), "what o1 would have cost");

    let results = send(&gateway, "GET", &format!("{one}/results"), None).await;
    assert_eq!((results.status, results.text.as_str()), (200, message_results().as_str()));
    let list = send(&gateway, "GET", "messages/batches?limit=5", None).await.json();
    assert_eq!((&list["data"][0]["id"], &list["has_more"]), (&"msgbatch_1".into(), &false.into()), "{list}");
    for _ in 0..500 {
        if send(&gateway, "DELETE", one, None).await.status == 200 {
            assert_eq!(rows(&gateway).len(), 3, "nothing twice");
            assert_eq!(send(&gateway, "GET", one, None).await.status, 404);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never could be removed");
}

#[tokio::test]
async fn batches_of_files_pass_and_are_accounted_though_nobody_comes_back_for_them() {
    let keeper = Keeper::start().await;
    let mut gateway = start(&keeper, "openai-chat").await;
    let lines =
        format!("{}\n\n{}\n", line("auto", "/v1/chat/completions", "a"), line("auto", "/v1/chat/completions", "b"));
    let file = upload(&gateway, "batch", &lines).await;
    assert_eq!((file.status, &file.json()["id"]), (200, &"file-in".into()), "{}", file.text);
    let sent = &keeper.seen()[0];
    assert!(sent.body.contains(&lines.replace("\"auto\"", "\"m-1\"")), "{}", sent.body);
    assert_eq!(sent.header("content-type"), "multipart/form-data; boundary=xyz");
    assert_eq!(send(&gateway, "GET", "files/file-in", None).await.json()["bytes"], 7);
    let wish = json!({ "input_file_id": "file-in", "endpoint": "/v1/chat/completions", "completion_window": "24h" });
    let made = send(&gateway, "POST", "batches", Some(&wish)).await;
    assert_eq!((made.status, &made.json()["status"]), (200, &"validating".into()), "{}", made.text);
    assert_eq!(keeper.seen().last().unwrap().json(), wish);
    assert_eq!(send(&gateway, "GET", "batches", None).await.json()["data"][0]["id"], "batch_1");

    // Nobody asks again. The process ends; the next one looks after what is open.
    keeper.end();
    gateway.app.take().unwrap().shutdown().await;
    let gateway = gateway.again().await;
    let found = accounted(&gateway, 2).await;
    let costs: Vec<_> = found.iter().map(|row| (row.0, row.1, row.2)).collect();
    let each = |n: i64| (n * 100, n * 10, Some(n * 100 * 5_000_000 + n * 10 * 10_000_000));
    assert_eq!(costs, [each(1), each(2)], "the tier in the answers is not that of the bill: {found:?}");
    let content = send(&gateway, "GET", "files/file-out/content", None).await;
    assert_eq!((content.status, content.text), (200, file_results()));
    assert_eq!(send(&gateway, "DELETE", "files/file-out", None).await.json()["deleted"], true);
    assert_eq!(send(&gateway, "GET", "files/file-out", None).await.status, 404);
    // A batch of a file that is another's, or nobody's.
    let wish = json!({ "input_file_id": "file-other", "endpoint": "/v1/chat/completions", "completion_window": "24h" });
    let none = send(&gateway, "POST", "batches", Some(&wish)).await;
    let error = &none.json()["error"];
    assert_eq!(
        (none.status, &error["code"], &error["param"]),
        (404, &"file_not_found".into(), &"input_file_id".into())
    );
}

#[tokio::test]
async fn what_lies_at_a_provider_is_the_tenants_own_and_policy_holds_at_every_question() {
    let keeper = Keeper::start().await;
    let gateway = start(&keeper, "anthropic").await;
    assert_eq!(send(&gateway, "POST", "messages/batches", Some(&messages(&["auto"]))).await.status, 200);
    keeper.end();
    let other = gateway.new_key("other", None);
    let mine = gateway.new_key("default", Some("processing=US"));
    let asked = keeper.asked().len();
    let one = "messages/batches/msgbatch_1";
    for _ in 0..250 {
        if as_key(&gateway, &mine, "GET", one, None).await.status != 401 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (method, path) in [("GET", one), ("POST", "messages/batches/msgbatch_1/cancel"), ("DELETE", one)] {
        let none = as_key(&gateway, &other, method, path, None).await;
        assert_eq!((none.status, &none.json()["error"]["type"]), (404, &"not_found_error".into()), "{}", none.text);
    }
    assert_eq!(as_key(&gateway, &other, "GET", "messages/batches", None).await.json()["data"], json!([]));
    assert_eq!(send(&gateway, "GET", "messages/batches/..%2F..%2Fmodels", None).await.status, 404);
    // A request that requires another place or only wants a plan, a key, and a policy that does by now.
    for (name, value, status) in [
        ("x-stellwerk-require", "processing=US", 403),
        ("x-stellwerk-require", "nonsense", 400),
        ("x-stellwerk-dry-run", "true", 400),
    ] {
        let url = format!("{}/{one}", gateway.base);
        let got = gateway.client.get(url).bearer_auth(&gateway.key).header(name, value).send().await.unwrap();
        assert_eq!(got.status().as_u16(), status, "{name}: {value}");
    }
    let refused = as_key(&gateway, &mine, "GET", one, None).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    gateway.policy(&policy("[require]\nprocessing = [\"US\"]")).await;
    let refused = send(&gateway, "GET", &format!("{one}/results"), None).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(refused.text.contains("not admitted any more"), "{}", refused.text);
    assert_eq!(keeper.asked().len(), asked, "nothing was asked: {:?}", keeper.asked());
    gateway.policy(&policy("")).await;
    assert_eq!(send(&gateway, "GET", one, None).await.status, 200);
}

#[tokio::test]
async fn what_a_tenant_s_own_key_began_is_asked_about_by_no_other() {
    const OWN: &str = "sk-of-the-tenant-0123456789";
    let keeper = Keeper::start().await;
    let gateway = start(&keeper, "anthropic").await;
    let token = fs::read_to_string(gateway.path("data/admin-token")).unwrap();
    let admin = |method, path: &str, body: Value| {
        let url = format!("{}/admin/v1/{path}", gateway.admin);
        gateway.client.request(method, url).bearer_auth(token.trim()).body(body.to_string()).send()
    };
    let brought = json!({ "tenant": "default", "provider": "kept", "mode": "prefer", "key": OWN });
    let told = admin(reqwest::Method::POST, "credentials", brought).await.unwrap().text().await.unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(send(&gateway, "POST", "messages/batches", Some(&messages(&["auto"]))).await.status, 200);
    assert_eq!(send(&gateway, "GET", "messages/batches/msgbatch_1", None).await.status, 200);
    let gone = format!("credentials/{}", told["id"].as_str().unwrap());
    assert_eq!(admin(reqwest::Method::DELETE, &gone, Value::Null).await.unwrap().status(), 200);
    keeper.end();
    let refused = send(&gateway, "GET", "messages/batches/msgbatch_1", None).await;
    assert_eq!(refused.status, 502, "{}", refused.text);
    assert!(refused.text.contains("this tenant's own key"), "{}", refused.text);
    let others = keeper.seen().into_iter().filter(|seen| !seen.head.contains(OWN)).count();
    assert_eq!(others, 0, "{:?}", keeper.asked());
}

#[tokio::test]
async fn what_is_wrong_with_a_batch_is_told_by_its_request_and_reaches_nobody() {
    let keeper = Keeper::start().await;
    let gateway = start(&keeper, "anthropic").await;
    let mut streams = messages(&["auto"]);
    streams["requests"][0]["params"]["stream"] = true.into();
    let mut nameless = messages(&["auto", "auto"]);
    nameless["requests"][1]["params"].as_object_mut().unwrap().remove("model");
    for (body, told) in [
        (json!({}), "`requests` is missing"),
        (json!({ "requests": [] }), "no requests"),
        (json!({ "requests": 7 }), "`requests` must be a list"),
        (json!({ "requests": [{ "custom_id": "a" }] }), "requests[0].params"),
        (messages(&["auto", "other"]), "requests[1].params: all requests of a batch ask for one model, here `auto`"),
        (streams, "requests[0].params: a batch has no streams"),
        (nameless, "requests[1].params: `model` is missing"),
        (messages(&["plain/m-1"]), "batch"),
    ] {
        let got = send(&gateway, "POST", "messages/batches", Some(&body)).await;
        let error = &got.json()["error"];
        assert_eq!((got.status, &error["type"]), (400, &"invalid_request_error".into()), "{body}: {}", got.text);
        assert!(error["message"].as_str().unwrap().contains(told), "{told}: {}", got.text);
    }
    assert_eq!(send(&gateway, "PUT", "messages/batches/x", None).await.status, 404);
    let gateway = start(&keeper, "openai-chat").await;
    let good = line("auto", "/v1/chat/completions", "a");
    for (purpose, lines, told, param) in [
        ("assistants", good.clone(), "only files for batches", "purpose"),
        ("batch", String::new(), "no requests", ""),
        ("batch", format!("{good}\n{{}}"), "file[2]: a line of a batch is an object", "file[2]"),
        ("batch", line("auto", "/v1/moderations", "a"), "`/v1/moderations` is not offered", "file[1]"),
        ("batch", format!("{good}\n{}", line("auto", "/v1/embeddings", "b")), "ask for the same", "file[2].body"),
        ("batch", good.replace("\"messages\"", "\"massages\""), "messages", "file[1].body.messages"),
    ] {
        let got = upload(&gateway, purpose, &lines).await;
        let error = &got.json()["error"];
        assert_eq!(got.status, 400, "{lines}: {}", got.text);
        assert!(error["message"].as_str().unwrap().contains(told), "{told}: {}", got.text);
        assert_eq!(error["param"].as_str().unwrap_or_default(), param, "{}", got.text);
    }
    let json_upload = send(&gateway, "POST", "files", Some(&json!({ "purpose": "batch" }))).await;
    assert_eq!(json_upload.status, 400, "{}", json_upload.text);
    assert_eq!(keeper.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_batch_leaves_nothing_and_a_dry_run_asks_nobody() {
    let keeper = Keeper::start().await;
    let gateway = start(&keeper, "anthropic").await;
    let url = format!("{}/messages/batches", gateway.base);
    let dry = gateway.client.post(url).bearer_auth(&gateway.key).header("x-stellwerk-dry-run", "true");
    let dry = dry.header("content-type", "application/json").body(messages(&["auto", "auto"]).to_string());
    let plan = Answer::read(dry.send().await.unwrap()).await.json();
    assert_eq!((&plan["admitted"][0]["target"], plan["admitted"][1].is_null()), (&"kept/m-1".into(), true), "{plan}");
    assert_eq!(plan["rejected"][0]["target"], "plain/m-1", "it has no price for batches: {plan}");
    assert!(keeper.asked().is_empty());
    // Nobody is there.
    let gone = Keeper { url: "http://127.0.0.1:1".to_owned(), ..Keeper::default() };
    let gateway = start(&gone, "anthropic").await;
    let failed = send(&gateway, "POST", "messages/batches", Some(&messages(&["auto"]))).await;
    assert_eq!(failed.status, 502, "{}", failed.text);
    let database = rusqlite::Connection::open(gateway.path("data/stellwerk.db")).unwrap();
    let left: i64 = database.query_row("SELECT count(*) FROM provider_object", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_batch_whose_client_has_gone_gets_its_name_all_the_same() {
    let begun =
        json!({ "id": "msgbatch_7", "type": "message_batch", "processing_status": "in_progress", "results_url": null });
    let mut late = vec![Step::Wait(Duration::from_millis(600))];
    late.extend(whole(200, &begun.to_string()));
    let upstream = Upstream::start(vec![late]).await;
    let keeper = Keeper { url: upstream.url(), ..Keeper::default() };
    let gateway = start(&keeper, "anthropic").await;
    let (body, sent) = (messages(&["auto"]), send(&gateway, "GET", "models", None).await);
    assert_eq!(sent.status, 200);
    let abandoned = send(&gateway, "POST", "messages/batches", Some(&body));
    // The upload has arrived there, and the client goes.
    let arrived = async {
        while upstream.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        got = abandoned => panic!("answered: {}", got.text),
        () = arrived => {}
    }
    for _ in 0..500 {
        let list = send(&gateway, "GET", "messages/batches", None).await.json();
        if list["data"][0]["id"] == "msgbatch_7" {
            assert_eq!(upstream.closed(), 0, "nobody hung up");
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it has no name");
}
