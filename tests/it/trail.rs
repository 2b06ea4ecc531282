//! Trust tools: why a request went where it went, and where one would go.

use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{Answer, Gateway, hello, hello_stream};
use crate::upstream::{Upstream, completion, json};

impl Gateway {
    pub(crate) async fn admin_get(&self, path: &str) -> Answer {
        let token = std::fs::read_to_string(self.path("data/admin-token")).unwrap();
        let url = format!("{}/admin/v1/{path}", self.admin);
        Answer::read(self.client.get(url).bearer_auth(token.trim()).send().await.unwrap()).await
    }

    /// The decision of a request, once the ledger has it.
    async fn decision(&self, request: &str) -> Value {
        self.ledger(request).await;
        let answer = self.admin_get(&format!("decisions/{request}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// The command line of this gateway's files.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stellwerk"));
        command.args(arguments).arg("--config").arg(self.path("stellwerk.toml")).output().unwrap()
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_past_request_is_explained_with_every_candidate_and_the_chain_of_attempts() {
    let alpha = Upstream::start(vec![json(500, "{}")]).await;
    let beta = Upstream::start(vec![json(200, &completion("hi", 100, 10))]).await;
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    let got = gateway.chat_with(&hello("auto"), &[("x-stellwerk-require", "processing=DE,US")]).await;
    assert_eq!((got.status, got.header("x-stellwerk-target")), (200, "beta/m-1"), "{}", got.text);
    let told = gateway.decision(got.id()).await;
    let decision = &told["decision"];
    let admitted: Vec<&str> =
        decision["admitted"].as_array().unwrap().iter().map(|a| a["target"].as_str().unwrap()).collect();
    assert_eq!(admitted, ["alpha/m-1", "beta/m-1"], "{told}");
    assert_eq!(decision["rejected"][0]["target"], "gamma/m-1", "{told}");
    assert_eq!(decision["rejected"][0]["reason"], "processing", "{told}");
    assert!(decision["admitted"][0]["expected_cost_usd"].is_string(), "{told}");
    assert!(decision["admitted"][0]["expected_latency_ms"].is_u64(), "{told}");
    assert_eq!((&decision["route"], &decision["request_requires"]), (&"main".into(), &"processing=DE,US".into()));
    assert_eq!(decision["residency_premium_usd"], "0.00", "what is kept out is dearer: {told}");
    assert_eq!(decision["policy_version"].as_str().unwrap().len(), 16, "{told}");
    let attempts = told["attempts"].as_array().unwrap();
    assert_eq!((&attempts[0]["outcome"], &attempts[0]["upstream_status"]), (&"failed".into(), &500.into()), "{told}");
    assert_eq!((&attempts[1]["outcome"], &attempts[1]["target"]), (&"completed".into(), &"beta/m-1".into()), "{told}");
    assert_eq!(attempts[1]["cost_usd"], "0.0012", "{told}");

    let shown = gateway.cli(&["explain", "--request", got.id()]);
    let shown = text(&shown.stdout);
    for part in [
        "auto",
        "alpha/m-1",
        "beta/m-1",
        "gamma/m-1",
        "processes in FR",
        "failed (upstream), status 500",
        "0.001200 USD",
    ] {
        assert!(shown.contains(part), "missing {part}:\n{shown}");
    }
    assert!(!shown.contains("hello"), "no prompt is kept:\n{shown}");
    let json = gateway.cli(&["explain", "--request", got.id(), "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&json.stdout).unwrap()["decision"], *decision);
}

#[tokio::test]
async fn what_is_not_in_the_ledger_is_said_to_be_missing() {
    let gateway = Gateway::start(None, None, None).await;
    let unknown = "req_00000000000000000000000000000001";
    let answer = gateway.admin_get(&format!("decisions/{unknown}")).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (404, Some("request_not_found")));
    let told = gateway.cli(&["explain", "--request", unknown]);
    assert_eq!(told.status.code(), Some(1));
    assert!(text(&told.stderr).contains("there is no request req_0000"), "{}", text(&told.stderr));
    let told = gateway.cli(&["explain", "--request", "seven"]);
    assert_eq!(told.status.code(), Some(1));
    assert!(text(&told.stderr).contains("no request id"), "{}", text(&told.stderr));
    assert_eq!(gateway.cli(&["explain"]).status.code(), Some(2), "neither a model nor a request");
}

#[tokio::test]
async fn a_refusal_has_a_decision_too() {
    let gateway = Gateway::start(None, None, None).await;
    let got = gateway.chat_with(&hello("eu"), &[("x-stellwerk-require", "processing=US")]).await;
    assert_eq!(got.status, 403);
    let told = gateway.decision(got.id()).await;
    assert_eq!(told["decision"]["refusal"], "policy_no_target", "{told}");
    assert_eq!(told["decision"]["rejected"].as_array().unwrap().len(), 3, "{told}");
    assert_eq!(told["attempts"], serde_json::json!([]));
}

#[tokio::test]
async fn a_dry_run_shows_the_plan_and_calls_nobody() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let dry = [("x-stellwerk-dry-run", "true")];
    for body in [hello("cached"), hello_stream("auto")] {
        let got = gateway.chat_with(&body, &dry).await;
        assert_eq!((got.status, got.header("x-stellwerk-dry-run")), (200, "true"), "{}", got.text);
        assert_eq!(got.header("content-type"), "application/json");
        let plan = got.json();
        assert_eq!((&plan["dry_run"], &plan["admitted"][0]["target"]), (&true.into(), &"alpha/m-1".into()), "{plan}");
        assert!(plan["refusal"].is_null(), "{plan}");
        let row = gateway.admin_get(&format!("requests/{}", got.id())).await;
        assert_eq!(row.status, 404, "nothing was asked of anybody, so nothing is written: {}", row.text);
    }
    assert!(alpha.seen().is_empty());
    let real = gateway.chat(&hello("cached")).await;
    assert_eq!((real.header("x-stellwerk-cache"), alpha.seen().len()), ("", 1), "a dry run fills no cache");
    assert_eq!(gateway.chat_with(&hello("cached"), &dry).await.json()["dry_run"], true, "and is answered from none");
    assert!(gateway.metrics().await.contains("stellwerk_in_flight_requests 0"), "{}", gateway.metrics().await);
}

#[tokio::test]
async fn a_dry_run_shows_the_refusal_that_it_would_be() {
    let gateway = Gateway::start(None, None, None).await;
    let dry = ("x-stellwerk-dry-run", "true");
    let got = gateway.chat_with(&hello("eu"), &[dry, ("x-stellwerk-require", "processing=US")]).await;
    assert_eq!(got.status, 200, "{}", got.text);
    assert_eq!(
        (&got.json()["refusal"]["status"], &got.json()["refusal"]["code"]),
        (&403.into(), &"policy_no_target".into())
    );
    let got = gateway.chat_with(&hello("eu"), &[("x-stellwerk-dry-run", "yes")]).await;
    assert_eq!((got.status, &got.json()["error"]["param"]), (400, &"x-stellwerk-dry-run".into()), "{}", got.text);
    let mut stranger = gateway;
    stranger.key = "sk-sw-nobody".to_owned();
    assert_eq!(stranger.chat_with(&hello("eu"), &[dry]).await.status, 401, "a plan is for those who have a key");
}

#[tokio::test]
async fn other_operations_have_dry_runs_too() {
    let alpha = Upstream::start(vec![json(200, "{}")]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let url = format!("{}/embeddings", gateway.base);
    let request = gateway.client.post(url).bearer_auth(&gateway.key).header("x-stellwerk-dry-run", "true");
    let body = r#"{"model":"auto","input":"hello"}"#;
    let got = Answer::read(request.header("content-type", "application/json").body(body).send().await.unwrap()).await;
    assert_eq!((got.status, &got.json()["operation"]), (200, &"embeddings".into()), "{}", got.text);
    assert!(alpha.seen().is_empty());
}
