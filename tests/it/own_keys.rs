//! Keys that tenants bring: used for that tenant alone, on every way out of the gateway, and kept where nobody reads them.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json as object};

use crate::harness::{Answer, Gateway};
use crate::upstream::{Step, Upstream, chunk, completion, json, json_with, stream_end, stream_head};

const OWN: &str = "sk-of-tenant-a-0123456789";

/// Requests of two tenants, told apart by what they say.
struct Two {
    gateway: Gateway,
    keys: [String; 2],
}

impl Two {
    async fn start(alpha: &Upstream, beta: Option<&Upstream>, gamma: Option<&Upstream>) -> Self {
        Self::of(Gateway::start(Some(alpha), beta, gamma).await).await
    }

    async fn of(mut gateway: Gateway) -> Self {
        let keys = ["a", "b"].map(|tenant| gateway.new_key(tenant, None));
        for key in &keys {
            gateway.key.clone_from(key);
            gateway.wait_for_key().await;
        }
        Self { gateway, keys }
    }

    /// A request of a tenant: 0 or 1.
    async fn ask(&self, tenant: usize, path: &str, mut body: Value) -> Answer {
        let words = format!("said by {}", ["a", "b"][tenant]);
        if body.get("input").is_some() {
            body["input"] = words.into();
        } else {
            body["messages"] = object!([{ "role": "user", "content": words }]);
        }
        let url = format!("{}/{path}", self.gateway.base);
        let request = self.gateway.client.post(url).bearer_auth(&self.keys[tenant]);
        Answer::read(request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap())
            .await
    }

    async fn chat(&self, tenant: usize) -> Answer {
        self.ask(tenant, "chat/completions", object!({ "model": "auto" })).await
    }

    async fn admin(&self, method: reqwest::Method, path: &str, body: Value) -> (u16, Value) {
        let token = fs::read_to_string(self.gateway.path("data/admin-token")).unwrap();
        let request = self.gateway.client.request(method, format!("{}/admin/v1/{path}", self.gateway.admin));
        let response = request.bearer_auth(token.trim()).body(body.to_string()).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")))
    }

    /// Gives tenant a a key of its own.
    async fn brings(&self, provider: &str, mode: &str) -> String {
        let body = object!({ "tenant": "a", "provider": provider, "mode": mode, "key": OWN });
        let (status, told) = self.admin(reqwest::Method::POST, "credentials", body).await;
        assert_eq!(status, 201, "{told}");
        assert!(!told.to_string().contains(OWN), "{told}");
        told["id"].as_str().unwrap().to_owned()
    }
}

/// Of the requests that an upstream saw: how many had the tenant's key, and how many another. No other tenant's had it.
fn seen(upstream: &Upstream) -> (usize, usize) {
    let (mut own, mut other) = (0, 0);
    for seen in upstream.seen() {
        if seen.head.contains(OWN) {
            assert!(seen.body.contains("said by a") && !seen.body.contains("said by b"), "{}", seen.body);
            own += 1;
        } else {
            other += 1;
        }
    }
    (own, other)
}

fn good() -> Vec<Step> {
    json(200, &completion("hi", 10, 10))
}

fn streamed() -> Vec<Step> {
    let frame = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":null}]}\n\n";
    let end = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\ndata: [DONE]\n\n";
    vec![stream_head(), chunk(frame), chunk(end), stream_end()]
}

#[tokio::test]
async fn the_key_goes_with_its_tenant_s_requests_alone_and_lies_nowhere_in_the_clear() {
    let alpha = Upstream::start(vec![good()]).await;
    let two = Two::start(&alpha, None, None).await;
    two.chat(0).await;
    assert_eq!(seen(&alpha), (0, 1), "nothing was brought yet");
    let id = two.brings("alpha", "prefer").await;
    let got = two.chat(0).await;
    assert_eq!(two.chat(1).await.status, 200);
    assert_eq!(seen(&alpha), (1, 2));
    let row = two.gateway.ledger(got.id()).await;
    assert_eq!(row["attempts"][0]["own_key"], true, "{row}");
    // Nowhere in the directory, which holds the database with its log, and nowhere in what is told.
    // Another process reads it: this one would let go of the database's locks with the first of its files that it closes.
    let files = fs::read_dir(two.gateway.path("data")).unwrap().map(|entry| entry.unwrap().path());
    let all = Command::new("cat").args(files).output().unwrap();
    assert!(all.status.success() && all.stdout.len() > 10_000, "{all:?}");
    assert!(!all.stdout.windows(OWN.len()).any(|window| window == OWN.as_bytes()));
    assert!(!two.gateway.metrics().await.contains(OWN));
    let (status, listed) = two.admin(reqwest::Method::GET, "credentials?tenant=a", Value::Null).await;
    assert_eq!((status, &listed["credentials"][0]["id"]), (200, &id.as_str().into()), "{listed}");
    assert!(!listed.to_string().contains(OWN));
    let (_, others) = two.admin(reqwest::Method::GET, "credentials?tenant=b", Value::Null).await;
    assert_eq!(others["credentials"].as_array().unwrap().len(), 0, "{others}");
    let report = two.gateway.cli(&["report", "spend"]);
    let report = String::from_utf8_lossy(&report.stdout).into_owned();
    assert!(report.contains("on the bills of tenants, by keys of their own"), "{report}");
    let (status, _) = two.admin(reqwest::Method::DELETE, &format!("credentials/{id}"), Value::Null).await;
    assert_eq!(status, 200);
    two.chat(0).await;
    assert_eq!(seen(&alpha), (1, 3), "a forgotten key is used no more");
}

#[tokio::test]
async fn what_is_no_tenant_s_key_is_refused_without_repeating_it() {
    let alpha = Upstream::start(vec![good()]).await;
    let two = Two::start(&alpha, None, None).await;
    let with = |name: &str, value: Value| {
        let mut body = object!({ "tenant": "a", "provider": "alpha", "key": OWN });
        body[name] = value;
        body
    };
    for (body, param) in [
        (with("provider", "alhpa".into()), "provider"),
        (with("mode", "sometimes".into()), "mode"),
        (with("key", format!("{OWN} {OWN}").into()), ""),
        (with("key", object!({ "text": OWN })), ""),
        (with("more", OWN.into()), ""),
        (with("tenant", "a/b".into()), ""),
    ] {
        let (status, told) = two.admin(reqwest::Method::POST, "credentials", body).await;
        let told = told.to_string();
        assert_eq!(status, 400, "{told}");
        assert!(told.contains(param) && !told.contains(OWN), "{told}");
    }
    let (status, _) = two.admin(reqwest::Method::DELETE, "credentials/cred_0", Value::Null).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn another_process_brings_and_takes_a_key() {
    let alpha = Upstream::start(vec![good()]).await;
    let two = Two::start(&alpha, None, None).await;
    let file = two.gateway.path("key");
    fs::write(&file, format!("{OWN}\n")).unwrap();
    let add = ["credentials", "add", "--tenant", "a", "--provider", "alpha", "--mode", "only"];
    let told = two.gateway.cli_reading(&add, &file);
    assert!(told.status.success() && !String::from_utf8_lossy(&told.stdout).contains(OWN), "{told:?}");
    let until = |wanted: usize| {
        let (two, alpha) = (&two, &alpha);
        async move {
            for _ in 0..250 {
                let before = seen(alpha).0;
                assert_eq!(two.chat(0).await.status, 200);
                if seen(alpha).0 - before == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("the change was never learned");
        }
    };
    until(1).await;
    let listed = two.gateway.cli(&["credentials", "list", "--tenant", "a"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("alpha") && listed.contains("only") && !listed.contains(OWN), "{listed}");
    assert!(two.gateway.cli(&["credentials", "rotate"]).status.success());
    until(1).await;
    let remove = ["credentials", "remove", "--tenant", "a", "--provider", "alpha"];
    assert!(two.gateway.cli(&remove).status.success());
    until(0).await;
    assert!(!two.gateway.cli(&remove).status.success(), "there is none any more");
    let wrong = two.gateway.cli_reading(&["credentials", "add", "--tenant", "a", "--provider", "alhpa"], &file);
    let told = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(told.contains("did you mean `alpha`?") && !told.contains(OWN), "{told}");
}

#[tokio::test]
async fn every_way_out_takes_the_right_key() {
    let counted = json(200, r#"{"input_tokens":7}"#);
    let alpha = Upstream::start(vec![good()]).await;
    let gamma = Upstream::start(vec![counted]).await;
    let two = Two::start(&alpha, None, Some(&gamma)).await;
    two.gateway.offer("alpha", "openai-chat", "embeddings").await;
    two.brings("alpha", "prefer").await;
    two.brings("gamma", "prefer").await;
    for tenant in [0, 1] {
        let got = two.chat(tenant).await;
        assert_eq!(got.status, 200, "{}", got.text);
        let got = two.ask(tenant, "chat/completions", object!({ "model": "alpha/m-1" })).await;
        assert_eq!(got.status, 200, "{}", got.text);
        // Translated: another dialect's client.
        let asked = object!({ "model": "alpha/m-1", "max_tokens": 9 });
        assert_eq!(two.ask(tenant, "messages", asked).await.status, 200);
        two.ask(tenant, "embeddings", object!({ "model": "alpha/m-1", "input": "" })).await;
        let got = two.ask(tenant, "messages/count_tokens", object!({ "model": "gamma/m-1" })).await;
        assert_eq!(got.status, 200, "{}", got.text);
    }
    assert_eq!(seen(&alpha), (4, 4));
    assert_eq!(seen(&gamma), (1, 1));
}

#[tokio::test]
async fn retries_hedges_and_shadows_keep_to_it() {
    // A retry: the key is alpha's alone, and does not go on to beta.
    let (alpha, beta) = (Upstream::start(vec![json(500, "{}")]).await, Upstream::start(vec![good()]).await);
    let two = Two::start(&alpha, Some(&beta), None).await;
    two.brings("alpha", "prefer").await;
    for tenant in [0, 1] {
        assert_eq!(two.chat(tenant).await.header("x-stellwerk-target"), "beta/m-1");
    }
    assert_eq!((seen(&alpha), seen(&beta)), ((1, 1), (0, 2)));
    // A hedge: each of the two targets by its own key.
    let (alpha, beta) = (Upstream::start(vec![vec![Step::Hang]]).await, Upstream::start(vec![streamed()]).await);
    let two = Two::start(&alpha, Some(&beta), None).await;
    two.brings("beta", "only").await;
    two.gateway
        .policy(
            "[[route]]\nname = \"hedged\"\nmatch = { model = [\"auto\"] }\ntargets = [\"alpha/*\", \"beta/*\"]\nprefer = { order = \"listed\" }\n\
             [route.attempts]\nhedge = { after = \"100ms\", max_extra_cost = \"1 USD\" }\n",
        )
        .await;
    for tenant in [0, 1] {
        let got = two.ask(tenant, "chat/completions", object!({ "model": "auto", "stream": true })).await;
        assert_eq!(got.header("x-stellwerk-target"), "beta/m-1", "{}", got.text);
    }
    assert_eq!((seen(&alpha), seen(&beta)), ((0, 2), (1, 1)));
    // A shadow is the operator's, and so is its key: no run where the tenant wants no key but its own.
    for (mode, runs) in [("prefer", 2), ("only", 1)] {
        let (alpha, beta) = (Upstream::start(vec![good()]).await, Upstream::start(vec![good()]).await);
        let two = Two::start(&alpha, Some(&beta), None).await;
        two.brings("alpha", "prefer").await;
        two.brings("beta", mode).await;
        two.gateway
            .policy(
                "[[route]]\nname = \"main\"\nmatch = { model = [\"auto\"] }\ntargets = [\"alpha/*\"]\n\
                 shadow = { target = \"beta/*\", sample = 1.0, max_cost = \"5 USD/day\" }\n",
            )
            .await;
        for tenant in [0, 1] {
            assert_eq!(two.chat(tenant).await.status, 200);
        }
        let spared = |metrics: &str| metrics.contains("stellwerk_shadow_runs_total{outcome=\"own_key\"} 1");
        for _ in 0..250 {
            if beta.seen().len() == runs && spared(&two.gateway.metrics().await) == (runs == 1) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!((seen(&alpha), seen(&beta)), ((1, 1), (0, runs)), "{mode}");
        let said: Vec<bool> = beta.seen().iter().map(|seen| seen.body.contains("said by a")).collect();
        assert_eq!(said.contains(&true), runs == 2, "{mode}");
    }
}

#[tokio::test]
async fn a_refused_or_limited_key_of_a_tenant_says_nothing_of_the_target() {
    let bad = json(401, r#"{"error":{"message":"no"}}"#);
    let limited = json_with(429, &["retry-after: 60"], r#"{"error":{"message":"slow"}}"#);
    for (name, script) in [("refused", bad), ("limited", limited)] {
        for mode in ["prefer", "only"] {
            let (alpha, beta) =
                (Upstream::start(vec![script.clone(), good()]).await, Upstream::start(vec![good()]).await);
            let two = Two::start(&alpha, Some(&beta), None).await;
            two.brings("alpha", mode).await;
            let got = two.chat(0).await;
            let target = if mode == "only" { "beta/m-1" } else { "alpha/m-1" };
            assert_eq!(got.header("x-stellwerk-target"), target, "{name}, {mode}: {}", got.text);
            let got = two.chat(1).await;
            assert_eq!(got.header("x-stellwerk-target"), "alpha/m-1", "{name}, {mode}: the others' target is up");
            let got = two.chat(0).await;
            assert_eq!(got.header("x-stellwerk-target"), target, "{name}, {mode}: its own key rests");
            assert_eq!(seen(&alpha).0, 1, "{name}, {mode}");
        }
    }
}

#[tokio::test]
async fn a_tenant_is_told_that_it_is_its_own_key_that_is_refused() {
    let alpha = Upstream::start(vec![json(401, r#"{"error":{"message":"no"}}"#)]).await;
    let two = Two::start(&alpha, None, None).await;
    two.brings("alpha", "only").await;
    two.gateway.policy("[[route]]\nname = \"main\"\nmatch = { model = [\"auto\"] }\ntargets = [\"alpha/*\"]\n").await;
    let told = |got: Answer| (got.status, got.json()["error"]["message"].as_str().unwrap().to_owned());
    assert_eq!(told(two.chat(0).await), (502, "the provider refused this tenant's own key".to_owned()));
    assert_eq!(told(two.chat(1).await), (502, "the provider refused the gateway's credentials".to_owned()));
}

#[tokio::test]
async fn a_provider_without_a_key_of_the_gateway_s_serves_those_who_bring_one() {
    let alpha = Upstream::start(vec![good()]).await;
    let dir = Gateway::files(Some(&alpha), None, None);
    let file = dir.path().join("providers/alpha.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("env = \"PATH\"", "env = \"STELLWERK_NO_SUCH_VARIABLE\"")).unwrap();
    let two = Two::of(Gateway::start_in(dir).await).await;
    let asked = || object!({ "model": "alpha/m-1" });
    assert_eq!(two.ask(0, "chat/completions", asked()).await.status, 503);
    two.brings("alpha", "prefer").await;
    assert_eq!(two.ask(0, "chat/completions", asked()).await.status, 200);
    assert_eq!(two.ask(1, "chat/completions", asked()).await.status, 503);
    assert_eq!(seen(&alpha), (1, 0));
    for (tenant, there) in [(0, true), (1, false)] {
        let models = two.gateway.client.get(format!("{}/models", two.gateway.base)).bearer_auth(&two.keys[tenant]);
        let models = models.send().await.unwrap().text().await.unwrap();
        assert_eq!(models.contains("alpha/m-1"), there, "{models}");
    }
}

#[tokio::test]
async fn residency_holds_for_own_keys_as_ever() {
    let alpha = Upstream::start(vec![good()]).await;
    let beta = Upstream::start(vec![good()]).await;
    let two = Two::start(&alpha, Some(&beta), None).await;
    two.brings("beta", "only").await;
    for _ in 0..3 {
        let got = two.ask(0, "chat/completions", object!({ "model": "eu" })).await;
        assert_eq!(got.header("x-stellwerk-target"), "alpha/m-1", "{}", got.text);
    }
    assert_eq!(beta.seen().len(), 0, "the key is for a provider in the US");
}

#[tokio::test]
async fn a_start_with_a_wrong_master_key_is_told_clearly() {
    let alpha = Upstream::start(vec![good()]).await;
    let two = Two::start(&alpha, None, None).await;
    let id = two.brings("alpha", "only").await;
    fs::write(two.gateway.path("data/master-key"), "ab".repeat(32)).unwrap();
    let told = two.gateway.cli(&["serve"]);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    for part in [id.as_str(), "tenant `a`", "put that master key back"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
