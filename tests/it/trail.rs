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

    async fn admin_post(&self, path: &str, body: &str) -> Answer {
        let token = std::fs::read_to_string(self.path("data/admin-token")).unwrap();
        let url = format!("{}/admin/v1/{path}", self.admin);
        Answer::read(self.client.post(url).bearer_auth(token.trim()).body(body.to_owned()).send().await.unwrap()).await
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

    /// The same with a file as its input.
    pub(crate) fn cli_reading(&self, arguments: &[&str], file: &std::path::Path) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stellwerk"));
        let input = std::fs::File::open(file).unwrap();
        command.args(arguments).arg("--config").arg(self.path("stellwerk.toml")).stdin(input).output().unwrap()
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

#[tokio::test]
async fn feedback_is_checked_kept_and_the_same_word_twice_is_one() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 100, 10))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let got = gateway.chat(&hello("auto")).await;
    gateway.ledger(got.id()).await;
    let say = |rest: &str| format!(r#"{{"request_id":"{}",{rest}}}"#, got.id());
    for (rest, score, stored) in [
        (r#""outcome":"good""#, "1", true),
        (r#""outcome":"good""#, "1", false),
        (r#""score":"0.25","comment":"too long""#, "0.25", true),
        (r#""score":"0.25","label":"tone""#, "0.25", true),
    ] {
        let answer = gateway.admin_post("feedback", &say(rest)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!((&answer.json()["score"], &answer.json()["stored"]), (&score.into(), &stored.into()), "{rest}");
    }
    for (rest, param) in [
        (r#""outcome":"fine""#, "outcome"),
        (r#""label":"x""#, "outcome"),
        (r#""outcome":"good","score":"1""#, "outcome"),
        (r#""score":"1.5""#, "score"),
        (r#""score":"1","label":"a\u0007""#, "label"),
    ] {
        let answer = gateway.admin_post("feedback", &say(rest)).await;
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &param.into()), "{rest}: {}", answer.text);
    }
    for (score, status) in [("0.3333333", 400), ("1e-1", 400), ("true", 400), ("0.25", 200)] {
        let answer = gateway.admin_post("feedback", &say(&format!(r#""label":"tone","score":{score}"#))).await;
        assert_eq!(answer.status, status, "a number is its digits: {score}: {}", answer.text);
    }
    let unknown = r#"{"request_id":"req_00000000000000000000000000000001","outcome":"good"}"#;
    let answer = gateway.admin_post("feedback", unknown).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (404, Some("request_not_found")));
    let advice = gateway.cli(&["advise", "--since", "1d", "--json"]);
    let advice: Value = serde_json::from_slice(&advice.stdout).unwrap();
    let words = advice["routes"][0]["feedback"].as_array().unwrap();
    let text = gateway.cli(&["advise", "--since", "1d"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("nothing admitted was cheaper\n    feedback on alpha/m-1: 0 of 1 good"), "{text}");
    let seen: Vec<_> =
        words.iter().map(|w| (w["label"].as_str().unwrap(), w["good"].as_u64(), w["all"].as_u64())).collect();
    assert_eq!(seen, [("", Some(0), Some(1)), ("tone", Some(0), Some(1))], "{advice}");
}

#[tokio::test]
async fn a_backtest_from_the_command_line_compares_a_directory_with_what_was_in_force() {
    let answer = || vec![json(200, &completion("hi", 1_000_000, 0))];
    let (alpha, beta) = (Upstream::start(answer()).await, Upstream::start(answer()).await);
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    let listed = "[[route]]\nname = \"main\"\nmatch = { model = [\"auto\"] }\ntargets = [\"beta/*\", \"alpha/*\"]\n";
    gateway.policy(&format!("{listed}prefer = {{ order = \"listed\" }}\n")).await;
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!(got.header("x-stellwerk-target"), "beta/m-1", "{}", got.text);
    gateway.ledger(got.id()).await;
    let dir = gateway.path("next");
    std::fs::create_dir(&dir).unwrap();
    let (next, empty) = (dir.to_str().unwrap().to_owned(), gateway.path("data"));
    let refused = gateway.cli(&["policy", "backtest", empty.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("has no policy files"), "{}", text(&refused.stderr));
    std::fs::write(dir.join("default.toml"), listed).unwrap();
    let told = gateway.cli(&["policy", "backtest", &next, "--since", "1d", "--json"]);
    let found: Value = serde_json::from_slice(&told.stdout).unwrap_or_else(|_| panic!("{}", text(&told.stderr)));
    let total = &found["total"];
    assert_eq!((&total["cost_before_usd"], &total["cost_after_usd"]), (&"10.00".into(), &"1.00".into()), "{found}");
    assert_eq!(found["moves"][0]["to"], "alpha/m-1", "{found}");
    assert_eq!(
        (&found["residency_changes"][0]["from"], &found["residency_changes"][0]["to"]),
        (&"US".into(), &"DE".into())
    );
    let told = gateway.cli(&["policy", "backtest", &next, "--policy", "other"]);
    assert!(text(&told.stderr).contains("no policy `other`"), "{}", text(&told.stderr));
    let spent = |more: &[&str]| gateway.cli(&[&["report", "spend", "--json"], more].concat());
    let (all, day, moment) = (spent(&[]), spent(&["--since", "1d"]), spent(&["--since", "1ms"]));
    assert!(text(&all.stdout).contains("10.00") && all.stdout == day.stdout, "{}", text(&day.stdout));
    assert!(!text(&moment.stdout).contains("10.00"), "{}", text(&moment.stdout));
    let wrong = spent(&["--since", "soon"]);
    assert!(text(&wrong.stderr).contains("--since: "), "{}", text(&wrong.stderr));
    assert_eq!(spent(&["--since", "1d", "--from", "2026-11-01"]).status.code(), Some(2));
    let told = gateway.cli(&["report", "residency", "--since", "1h"]);
    let told = text(&told.stdout);
    assert!(told.contains("processed in") && told.contains("US") && told.contains("10.0000"), "{told}");
}

#[tokio::test]
async fn a_running_gateway_says_which_policies_there_are_and_what_the_plan_of_one_request_does_not_show() {
    let gateway = Gateway::start(None, None, None).await;
    gateway
        .policy(
            "[[route]]\nname = \"main\"\nmatch = { model = [\"auto\"] }\ntargets = [\"alpha/*\"]\n\
             shadow = { target = \"beta/m-1\", sample = 0.025, max_cost = \"5 USD/day\" }\n\
             [route.require]\nprocessing = [\"EU\"]\n[route.prefer]\ncanary = { target = \"gamma/m-1\", share = \"20%\" }\n\
             [route.attempts]\nhedge = { after = \"300ms\", max_extra_cost = \"0.01 USD\" }\n",
        )
        .await;
    let ask = |body: &'static str| gateway.admin_post("explain", body);
    let got = ask(r#"{"model": "auto", "input_tokens": 10, "policy": "nope"}"#).await;
    let told = got.json()["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(told, "there is no policy `nope`; there are default, eu-only");
    let got = ask(r#"{"model": "auto", "input_tokens": 10}"#).await;
    assert_eq!(got.json()["admitted"][0]["target"], "alpha/m-1", "{}", got.text);
    assert_eq!(got.header("content-type"), "application/json");
    let got = ask(r#"{"model": "auto", "input_tokens": 10, "json": false}"#).await;
    for line in [
        "canary gamma/m-1: tried first by 20 % of the requests\n",
        "shadow beta/m-1: 2.5 % of the conversations as well, for at most 5.00 USD a day; never now, since: processes in US",
        "hedge: a stream silent for 300 ms is asked of the next one too, for at most 0.01 USD\n",
    ] {
        assert!(got.text.contains(line), "{line}\n{}", got.text);
    }
    let got = ask(r#"{"model": "alpha/m-1", "input_tokens": 10, "json": false}"#).await;
    assert!(!got.text.contains("besides"), "{}", got.text);
}
