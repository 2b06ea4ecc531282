//! What policies decide, seen from outside: conditions, shares, caps, rests.

use std::time::Duration;

use stellwerk::admission::NewKey;

use crate::harness::{Gateway, hello, hello_stream};
use crate::upstream::{Step, Upstream, chunk, completion, json, json_with, stream_end, stream_head};

async fn good(text: &str) -> Upstream {
    Upstream::start(vec![json(200, &completion(text, 1, 1))]).await
}

#[tokio::test]
async fn conditions_see_who_asks_and_a_broken_one_refuses() {
    let (alpha, beta) = (good("a").await, good("b").await);
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    gateway
        .policy(
            r#"
[[route]]
name = "legal"
match = { model = ["auto"] }
when = '"legal" in key.tags && key.team == "claims"'
targets = ["beta/*"]

[[route]]
name = "named"
match = { model = ["auto"] }
when = 'request.user == "ada" && 10 / request.max_output > 0'
targets = ["beta/*"]

[[route]]
name = "rest"
match = { model = ["auto"] }
targets = ["alpha/*"]
"#,
        )
        .await;
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!((got.status, got.header("x-stellwerk-route")), (200, "rest"), "{}", got.text);
    let body = hello("auto").replace("\"model\"", "\"user\":\"ada\",\"max_tokens\":5,\"model\"");
    assert_eq!(gateway.chat(&body).await.header("x-stellwerk-route"), "named");
    let got = gateway.chat(&body.replace("\"max_tokens\":5,", "")).await;
    assert_eq!((got.status, &got.json()["error"]["code"]), (403, &"policy_error".into()), "{}", got.text);
    assert!(got.text.contains("route `named`"), "{}", got.text);
    let row = gateway.ledger(got.id()).await;
    assert_eq!((&row["route"], &row["status"]), (&"named".into(), &403.into()), "{row}");
    assert!(
        gateway.metrics().await.contains(r#"stellwerk_policy_errors_total{policy="default",route="named"} 1"#),
        "counted"
    );
    let mut legal = gateway;
    legal.key = legal.key_of(NewKey { team: "claims".into(), tags: vec!["legal".into()], ..Default::default() });
    legal.wait_for_key().await;
    assert_eq!(legal.chat(&hello("auto")).await.header("x-stellwerk-route"), "legal");
}

#[tokio::test]
async fn a_session_stays_on_its_side_of_a_split() {
    let (alpha, beta) = (good("a").await, good("b").await);
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    gateway
        .policy(
            r#"
[[route]]
name = "split"
match = { model = ["auto"] }
targets = ["alpha/*", "beta/*"]
prefer = { order = "weighted", weights = { "alpha/*" = 1, "beta/*" = 1 }, sticky = "session" }
"#,
        )
        .await;
    let target = async |body: &str, session: Option<&str>| {
        let header = session.map(|session| ("x-stellwerk-session", session));
        let got = gateway.chat_with(body, header.as_slice()).await;
        assert_eq!(got.status, 200, "{}", got.text);
        got.header("x-stellwerk-target").to_owned()
    };
    let turn = |first: &str, more: &str| {
        format!(
            r#"{{"model":"auto","messages":[{{"role":"system","content":"be kind"}},{{"role":"user","content":"{first}"}}{more}]}}"#
        )
    };
    let more = r#",{"role":"assistant","content":"yes?"},{"role":"user","content":"go on"}"#;
    let mut seen = std::collections::HashSet::new();
    for n in 0..24 {
        let first = target(&turn(&format!("question {n}"), ""), None).await;
        assert_eq!(
            target(&turn(&format!("question {n}"), more), None).await,
            first,
            "the second turn follows the first"
        );
        seen.insert(first);
        let by_name = target(&hello("auto"), Some(&format!("s-{n}"))).await;
        assert_eq!(target(&turn("another", more), Some(&format!("s-{n}"))).await, by_name);
    }
    assert_eq!(seen.len(), 2, "both sides have some: one in eight million runs has not");
    let got = gateway.chat(&hello("auto")).await;
    gateway.ledger(got.id()).await;
    let told = gateway.cli(&["explain", "--request", got.id()]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("in this order (at most 3; by weights, for this caller):"), "{told}");
}

#[tokio::test]
async fn claude_code_names_its_sessions_in_a_header_of_its_own() {
    let (alpha, beta) = (good("a").await, good("b").await);
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    gateway
        .policy(
            r#"
[[route]]
name = "split"
match = { model = ["auto"] }
targets = ["alpha/*", "beta/*"]
prefer = { order = "weighted", weights = { "alpha/*" = 1, "beta/*" = 1 }, sticky = "session" }
"#,
        )
        .await;
    let root = gateway.base.trim_end_matches("/v1").to_owned();
    let target = async |text: &str, session: &str| {
        let body = format!(r#"{{"model":"auto","max_tokens":9,"messages":[{{"role":"user","content":"{text}"}}]}}"#);
        let request = gateway.client.post(format!("{root}/v1/messages?beta=true")).header("x-api-key", &gateway.key);
        let request = request.header("anthropic-version", "2023-06-01").header("x-claude-code-session-id", session);
        let got = crate::harness::Answer::read(request.body(body).send().await.unwrap()).await;
        assert_eq!(got.status, 200, "{}", got.text);
        got.header("x-stellwerk-target").to_owned()
    };
    let mut seen = std::collections::HashSet::new();
    for n in 0..24 {
        let first = target("a title, please", &format!("s-{n}")).await;
        assert_eq!(target("something else", &format!("s-{n}")).await, first, "one session, one side");
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "both sides have some: one in eight million runs has not");
    for seen in alpha.seen().iter().chain(&beta.seen()) {
        assert_eq!(seen.header("x-claude-code-session-id"), "", "it is no other vendor's");
    }
}

#[tokio::test]
async fn what_a_client_will_not_hear_any_more_is_not_tried() {
    let late = || vec![Step::Wait(Duration::from_millis(1200))].into_iter().chain(json(500, "{}")).collect::<Vec<_>>();
    for (header, tried) in [("1", 0), ("90", 1), ("NOT_GIVEN", 1)] {
        let (alpha, beta) = (Upstream::start(vec![late()]).await, good("b").await);
        let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
        for name in ["x-stainless-timeout", "x-stainless-read-timeout"] {
            let got = gateway.chat_with(&hello("auto"), &[(name, header)]).await;
            assert_eq!(got.status == 200, tried == 1, "{name} {header}: {}", got.text);
            if tried == 0 {
                break;
            }
        }
        assert_eq!(beta.seen().is_empty(), tried == 0, "{header}");
    }
}

#[tokio::test]
async fn more_output_than_the_cap_is_refused_in_the_client_s_words_and_none_means_the_cap() {
    let alpha = good("a").await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    gateway
        .policy("[[route]]\nname = \"r\"\nmatch = { model = [\"auto\"] }\ntargets = [\"alpha/*\"]\noutput_cap = 100\n")
        .await;
    assert_eq!(gateway.chat(&hello("auto")).await.status, 200);
    let sent = alpha.seen()[0].json();
    assert!(sent["max_tokens"] == 100 || sent["max_completion_tokens"] == 100, "{sent}");
    for name in ["max_tokens", "max_completion_tokens"] {
        let got = gateway.chat(&hello("auto").replace("\"model\"", &format!("\"{name}\":101,\"model\""))).await;
        let error = &got.json()["error"];
        assert_eq!((got.status, &error["code"], &error["param"]), (400, &"output_cap".into(), &name.into()), "{error}");
    }
    assert_eq!(alpha.seen().len(), 1);
}

#[tokio::test]
async fn a_single_target_is_tried_though_it_rests_unless_it_asked_for_the_rest() {
    let failing = json(500, "{}");
    let alpha =
        Upstream::start(vec![failing.clone(), failing.clone(), failing, json(200, &completion("back", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    gateway.policy("[[route]]\nname = \"r\"\nmatch = { model = [\"auto\"] }\ntargets = [\"alpha/*\"]\n").await;
    for _ in 0..3 {
        assert_eq!(gateway.chat(&hello("auto")).await.status, 500);
    }
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!(got.status, 200, "the breaker is open, and nothing else is left: {}", got.text);

    let limited = json_with(429, &["retry-after: 30"], r#"{"error":{"message":"slow down"}}"#);
    let alpha = Upstream::start(vec![limited]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    gateway.policy("[[route]]\nname = \"r\"\nmatch = { model = [\"auto\"] }\ntargets = [\"alpha/*\"]\n").await;
    for _ in 0..2 {
        let got = gateway.chat(&hello("auto")).await;
        assert_eq!((got.status, &got.json()["error"]["code"]), (429, &"rate_limit_exceeded".into()), "{}", got.text);
        let wait: u64 = got.header("retry-after").parse().unwrap();
        assert!((20..=30).contains(&wait), "{wait}");
    }
    assert_eq!(alpha.seen().len(), 1, "it was asked for rest and has it");
}

#[tokio::test]
async fn what_rests_is_tried_when_all_else_has_failed() {
    let failing = json(500, "{}");
    let mut ill = vec![failing.clone(); 3];
    ill.push(json(200, &completion("well again", 1, 1)));
    let (alpha, beta) = (Upstream::start(ill).await, Upstream::start(vec![failing]).await);
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    let route = |targets: &str| {
        format!(
            "[[route]]\nname = \"r\"\nmatch = {{ model = [\"auto\"] }}\ntargets = [{targets}]\nprefer = {{ order = \"listed\" }}\n"
        )
    };
    gateway.policy(&route("\"alpha/*\"")).await;
    for _ in 0..3 {
        assert_eq!(gateway.chat(&hello("auto")).await.status, 500);
    }
    gateway.policy(&route("\"alpha/*\", \"beta/*\"")).await;
    let plan = gateway.chat_with(&hello("auto"), &[("x-stellwerk-dry-run", "true")]).await.json();
    assert_eq!(
        (&plan["admitted"][0]["target"], &plan["rejected"][0]["tried_last"]),
        (&"beta/m-1".into(), &true.into())
    );
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!((got.status, got.header("x-stellwerk-target")), (200, "alpha/m-1"), "{}", got.text);
    assert_eq!((alpha.seen().len(), beta.seen().len()), (4, 1));

    let limited = json_with(429, &["retry-after-ms: 400"], r#"{"error":{"message":"slow down"}}"#);
    let alpha = Upstream::start(vec![limited, json(200, &completion("rested", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    gateway.policy(&route("\"alpha/*\", \"beta/*\"")).await;
    let began = std::time::Instant::now();
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!((got.status, got.header("x-stellwerk-target")), (500, ""), "once it was asked: {}", got.text);
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!((got.status, got.header("x-stellwerk-target")), (200, "alpha/m-1"), "{}", got.text);
    assert!(began.elapsed() >= Duration::from_millis(400), "not before it had rested");
}

const HEDGED: &str = r#"
[[route]]
name = "hedged"
match = { model = ["auto"] }
targets = ["alpha/*", "beta/*"]
prefer = { order = "listed" }
[route.attempts]
hedge = { after = "100ms", max_extra_cost = "1 USD" }
timeout = { connect = "5s", first_token = "20s", idle = "20s", total = "40s" }
"#;

fn streamed(text: &str) -> Vec<Step> {
    let frame = format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{{\"index\":0,\"delta\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    );
    let end = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\ndata: [DONE]\n\n";
    vec![stream_head(), chunk(&frame), chunk(end), stream_end()]
}

#[tokio::test]
async fn a_silent_target_is_hedged_once_and_both_attempts_are_in_the_ledger() {
    let alpha = Upstream::start(vec![vec![Step::Hang]]).await;
    let beta = Upstream::start(vec![streamed("from beta")]).await;
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    gateway.policy(HEDGED).await;
    let got = gateway.chat(&hello_stream("auto")).await;
    assert_eq!((got.status, got.header("x-stellwerk-target")), (200, "beta/m-1"), "{}", got.text);
    assert!(got.text.contains("from beta") && got.text.ends_with("data: [DONE]\n\n"), "{}", got.text);
    let row = gateway.ledger(got.id()).await;
    let attempts = row["attempts"].as_array().unwrap();
    let told: Vec<_> =
        attempts.iter().map(|a| (a["no"].as_u64(), a["target"].as_str(), a["outcome"].as_str())).collect();
    let expected = [(Some(1), Some("alpha/m-1"), Some("hedged")), (Some(2), Some("beta/m-1"), Some("completed"))];
    assert_eq!(told, expected, "{row}");
    assert!(attempts[0]["usage"]["input"].as_u64().unwrap() > 0, "its prompt was sent and may be billed: {row}");
    assert!(gateway.metrics().await.contains(r#"stellwerk_hedges_total{outcome="won"} 1"#));
}

#[tokio::test]
async fn the_first_target_wins_where_the_second_fails_and_a_whole_answer_is_not_hedged() {
    let mut slow = vec![Step::Wait(Duration::from_millis(1_000))];
    slow.extend(streamed("from alpha"));
    let mut whole = vec![Step::Wait(Duration::from_millis(500))];
    whole.extend(json(200, &completion("whole", 1, 1)));
    let alpha = Upstream::start(vec![slow, whole]).await;
    let beta = Upstream::start(vec![json(500, "{}")]).await;
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    gateway.policy(HEDGED).await;
    let got = gateway.chat(&hello_stream("auto")).await;
    assert_eq!(got.header("x-stellwerk-target"), "alpha/m-1", "{}", got.text);
    let row = gateway.ledger(got.id()).await;
    let told: Vec<_> = row["attempts"].as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap()).collect();
    assert_eq!(told, ["completed", "failed"], "{row}");
    assert_eq!(gateway.chat(&hello("auto")).await.status, 200);
    assert_eq!(beta.seen().len(), 1);
}

#[tokio::test]
async fn a_target_that_is_always_overtaken_does_not_stay_the_first_one() {
    let mut script = vec![streamed("quick"); 5];
    script.push(vec![Step::Hang]);
    let (alpha, beta) = (Upstream::start(script).await, Upstream::start(vec![streamed("from beta")]).await);
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    // What alpha is cheaper by is worth a quarter of a second, which a busy machine does not add, and no wait in vain.
    let weighed = HEDGED.replace("order = \"listed\"", "second_is_worth = \"0.04 USD\", explore = \"0.0001%\"");
    let weighed = weighed.replace("100ms", "500ms");
    assert!(weighed.contains("0.04 USD") && weighed.contains("500ms"));
    gateway.policy(&weighed).await;
    // Both are known to be quick; alpha is the cheaper one.
    for _ in 0..5 {
        assert_eq!(gateway.chat(&hello_stream("beta/m-1")).await.status, 200);
        assert_eq!(gateway.chat(&hello_stream("alpha/m-1")).await.status, 200);
    }
    for _ in 0..20 {
        let got = gateway.chat(&hello_stream("auto")).await;
        assert!(got.text.contains("from beta"), "{}", got.text);
    }
    // Asked by its own name five times, and until so many of the last ten waits were in vain.
    let asked = alpha.seen().len();
    assert!((6..16).contains(&asked), "it was asked {asked} times: what it keeps others waiting for is learned");
}

#[tokio::test]
async fn a_target_whose_whole_answers_nobody_waits_for_does_not_stay_the_first_one() {
    let (alpha, beta) = (Upstream::start(vec![vec![Step::Hang]]).await, good("from beta").await);
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    let weighed = HEDGED.replace("order = \"listed\"", "second_is_worth = \"1 USD\", explore = \"0%\"");
    gateway.policy(&weighed).await;
    let asks = |model: &str| hello(model).replacen('{', "{\"max_tokens\":5,", 1);
    let (to_alpha, to_any) = (asks("alpha/m-1"), asks("auto"));
    let waits = (0..12).map(|_| tokio::time::timeout(Duration::from_secs(1), gateway.chat(&to_alpha)));
    assert!(futures_util::future::join_all(waits).await.iter().all(Result::is_err), "clients have had enough");
    let left = "stellwerk_attempts_total{outcome=\"cancelled\",target=\"alpha/m-1\"} 12";
    for _ in 0..250 {
        if gateway.metrics().await.contains(left) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(gateway.metrics().await.contains(left), "{}", gateway.metrics().await);
    for _ in 0..5 {
        let got = tokio::time::timeout(Duration::from_secs(5), gateway.chat(&to_any)).await;
        assert_eq!(got.expect("beta answers at once").header("x-stellwerk-target"), "beta/m-1");
    }
}

#[tokio::test]
async fn a_target_that_was_too_slow_comes_back_by_one_request_that_looks() {
    let mut waits = vec![Step::Wait(Duration::from_millis(700))];
    waits.extend(streamed("from alpha"));
    let (alpha, beta) = (Upstream::start(vec![waits]).await, Upstream::start(vec![streamed("from beta")]).await);
    let mut gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    gateway.policy(&HEDGED.replace("hedge = { after = \"100ms\", max_extra_cost = \"1 USD\" }", "")).await;
    gateway.app.take().unwrap().shutdown().await;
    // It was three seconds slow, four minutes and a half ago.
    let three = ["3000000"; 20].join(",");
    let ago = |seconds: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        (now.as_secs() - seconds) * 1_000
    };
    let remember = |gateway: &Gateway, seconds: u64| {
        let database = rusqlite::Connection::open(gateway.path("data/stellwerk.db")).unwrap();
        let known = format!(
            "{{\"speed\":{{\"base_us\":[{three}],\"per_token_us\":[9000],\"per_kilotoken_us\":0,\"last\":{}}},\"routes\":[]}}",
            ago(seconds)
        );
        let put = "INSERT OR REPLACE INTO measurements (target, at, data) VALUES ('alpha/m-1', ?1, ?2)";
        database.execute(put, rusqlite::params![ago(0).to_string(), known]).unwrap();
    };
    remember(&gateway, 270);
    let mut gateway = gateway.again().await;
    let fast = async |gateway: &Gateway| {
        let got = gateway.chat_with(&hello_stream("auto"), &[("x-stellwerk-require", "ttft_p95=2s")]).await;
        got.header("x-stellwerk-target").to_owned()
    };
    assert_eq!(fast(&gateway).await, "beta/m-1", "it is known to be slow");
    gateway.app.take().unwrap().shutdown().await;
    remember(&gateway, 301);
    let gateway = gateway.again().await;
    let later = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        fast(&gateway).await
    };
    let both = tokio::join!(fast(&gateway), later);
    assert_eq!(both, ("alpha/m-1".to_owned(), "beta/m-1".to_owned()), "one looks, and meanwhile nobody else");
    assert_eq!(fast(&gateway).await, "alpha/m-1", "it was fast enough");
}

#[tokio::test]
async fn a_route_that_is_not_for_such_requests_is_told_from_a_name_that_is_not_there() {
    let gateway = Gateway::start(None, None, None).await;
    gateway
        .policy(
            "[[route]]\nname = \"small\"\nmatch = { model = [\"auto\"] }\nwhen = 'request.input_tokens < 1'\n\
             targets = [\"alpha/*\"]\n[[route]]\nname = \"vectors\"\n\
             match = { model = [\"vec\"], operation = [\"embeddings\"] }\ntargets = [\"alpha/*\"]\n",
        )
        .await;
    for (model, route) in [("auto", "small"), ("vec", "vectors")] {
        let got = gateway.chat(&hello(model)).await;
        assert_eq!((got.status, got.json()["error"]["code"].as_str()), (404, Some("model_not_found")), "{}", got.text);
        assert!(got.text.contains(&format!("`{route}` is for it, but not for such requests")), "{}", got.text);
    }
    let got = gateway.chat(&hello("outo")).await;
    assert!(got.text.contains("did you mean auto?"), "{}", got.text);
}
