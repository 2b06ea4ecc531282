//! What a provider still lets through: learned from its answers, kept per key, and obeyed before a request is sent.

use std::fs;

use crate::harness::{Gateway, hello};
use crate::upstream::{Step, Upstream, completion, json, json_with};

const TWO: &str = "keys = [{ env = \"PATH\" }, { env = \"CARGO_MANIFEST_DIR\" }]";

fn good(text: &str) -> Vec<Step> {
    json(200, &completion(text, 1, 1))
}

/// A good answer that says what is left.
fn told(left: [u64; 2]) -> Vec<Step> {
    let [requests, tokens] = left;
    let requests = format!("x-ratelimit-remaining-requests: {requests}");
    let tokens = format!("x-ratelimit-remaining-tokens: {tokens}");
    let headers = [
        "x-ratelimit-limit-requests: 1",
        &requests,
        "x-ratelimit-reset-requests: 2m0s",
        "x-ratelimit-limit-tokens: 100000",
        &tokens,
        "x-ratelimit-reset-tokens: 4m0.5s",
    ];
    json_with(200, &headers, &completion("from alpha", 1, 1))
}

/// The keys that alpha saw, in order.
fn keys(alpha: &Upstream) -> Vec<String> {
    alpha.seen().iter().map(|seen| seen.header("authorization").to_owned()).collect()
}

async fn with_keys(alpha: &Upstream, beta: &Upstream, keys: &str) -> Gateway {
    let dir = Gateway::files(Some(alpha), Some(beta), None);
    let file = dir.path().join("providers/alpha.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("keys = [{ env = \"PATH\" }]", keys)).unwrap();
    Gateway::start_in(dir).await
}

async fn target(gateway: &Gateway, body: &str) -> String {
    let got = gateway.chat(body).await;
    assert_eq!(got.status, 200, "{}", got.text);
    got.header("x-stellwerk-target").to_owned()
}

#[tokio::test]
async fn a_key_without_requests_left_is_passed_over_and_then_its_target() {
    let (alpha, beta) = (Upstream::start(vec![told([0, 9_000])]).await, Upstream::start(vec![good("beta")]).await);
    let gateway = with_keys(&alpha, &beta, TWO).await;
    for _ in 0..2 {
        assert_eq!(target(&gateway, &hello("auto")).await, "alpha/m-1");
    }
    let seen = keys(&alpha);
    assert_ne!(seen[0], seen[1], "the key that has nothing left is not asked again");
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!(got.header("x-stellwerk-target"), "beta/m-1", "{}", got.text);
    assert_eq!(alpha.seen().len(), 2, "nothing was sent to find that out");
    assert_eq!(gateway.ledger(got.id()).await["attempts"].as_array().unwrap().len(), 1);
    let metrics = gateway.metrics().await;
    for label in ["PATH", "CARGO_MANIFEST_DIR"] {
        let labels = format!("{{key=\"{label}\",limit=\"requests\",provider=\"alpha\",target=\"alpha/m-1\"}}");
        assert!(metrics.contains(&format!("stellwerk_key_headroom{labels} 0")), "{metrics}");
    }
    let secret = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    assert!(!metrics.contains(&secret), "a key's value is nowhere");
    // Where there is no other target: a rate limit with its end, and still nothing is sent.
    gateway.policy("[[route]]\nname = \"only\"\nmatch = { model = [\"*\"] }\ntargets = [\"alpha/*\"]\n").await;
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!((got.status, alpha.seen().len()), (429, 2), "{}", got.text);
    let wait: u64 = got.header("retry-after").parse().unwrap();
    assert!((100..=120).contains(&wait), "{wait}");
}

#[tokio::test]
async fn a_request_that_needs_more_tokens_than_are_left_goes_elsewhere_and_a_small_one_does_not() {
    let (alpha, beta) = (Upstream::start(vec![told([1, 2_000])]).await, Upstream::start(vec![good("beta")]).await);
    let gateway = with_keys(&alpha, &beta, "keys = [{ env = \"PATH\" }]").await;
    let asked = |bytes: usize| {
        let text = "a".repeat(bytes);
        format!(r#"{{"model":"auto","max_tokens":50,"messages":[{{"role":"user","content":"{text}"}}]}}"#)
    };
    assert_eq!(target(&gateway, &asked(40)).await, "alpha/m-1", "nothing is known yet");
    assert_eq!(target(&gateway, &asked(40_000)).await, "beta/m-1", "ten thousand tokens");
    assert_eq!(target(&gateway, &asked(40)).await, "alpha/m-1");
}

#[tokio::test]
async fn a_limit_that_the_file_names_is_kept_where_the_provider_tells_none() {
    let (alpha, beta) = (Upstream::start(vec![good("alpha")]).await, Upstream::start(vec![good("beta")]).await);
    let gateway = with_keys(&alpha, &beta, "keys = [{ env = \"PATH\", rpm = 2 }]").await;
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(target(&gateway, &hello("auto")).await);
    }
    assert_eq!(taken, ["alpha/m-1", "alpha/m-1", "beta/m-1", "beta/m-1"]);
}

#[tokio::test]
async fn many_at_once_do_not_take_more_than_is_left() {
    let slow = |script: Vec<Step>| [vec![Step::Wait(std::time::Duration::from_millis(300))], script].concat();
    let (alpha, beta) = (Upstream::start(vec![slow(good("alpha"))]).await, Upstream::start(vec![good("beta")]).await);
    let gateway = with_keys(&alpha, &beta, "keys = [{ env = \"PATH\", rpm = 3 }]").await;
    let body = hello("auto");
    let all = (0..12).map(|_| gateway.chat(&body));
    let got = futures_util::future::join_all(all).await;
    assert!(got.iter().all(|got| got.status == 200));
    assert_eq!((alpha.seen().len(), beta.seen().len()), (3, 9));
}

#[tokio::test]
async fn an_exhausted_account_rests_with_all_its_keys_and_a_refused_key_alone() {
    let poor = r#"{"error":{"message":"pay","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    let bad = r#"{"error":{"message":"bad key","code":"invalid_api_key"}}"#;
    let of_one = "keys = [{ env = \"PATH\", account = \"a\" }, { env = \"CARGO_MANIFEST_DIR\", account = \"a\" }]";
    for (name, script, keys_of, asked) in [
        ("exhausted, one account", json(429, poor), of_one, 1),
        ("exhausted, two accounts", json(429, poor), TWO, 2),
        ("refused, one account", json(401, bad), of_one, 2),
    ] {
        let (alpha, beta) = (Upstream::start(vec![script]).await, Upstream::start(vec![good("beta")]).await);
        let gateway = with_keys(&alpha, &beta, keys_of).await;
        for _ in 0..3 {
            assert_eq!(target(&gateway, &hello("auto")).await, "beta/m-1", "{name}");
        }
        assert_eq!(alpha.seen().len(), asked, "{name}");
    }
}

#[tokio::test]
async fn a_limit_of_the_account_rests_its_other_keys_too_where_the_provider_counts_so() {
    let limited = json_with(429, &["retry-after: 20"], r#"{"error":{"message":"slow down"}}"#);
    for (of, asked) in [("account", 1), ("key", 2)] {
        let (alpha, beta) = (Upstream::start(vec![limited.clone()]).await, Upstream::start(vec![good("beta")]).await);
        let keys = "keys = [{ env = \"PATH\", account = \"a\" }, { env = \"CARGO_MANIFEST_DIR\", account = \"a\" }]\n";
        let gateway = with_keys(&alpha, &beta, &format!("{keys}limits = {{ of = \"{of}\" }}")).await;
        assert_eq!(target(&gateway, &hello("auto")).await, "beta/m-1");
        assert_eq!(alpha.seen().len(), asked, "{of}");
    }
}

#[tokio::test]
async fn a_limit_of_one_model_leaves_the_others_of_a_wildcard_in_peace() {
    let limited = json_with(429, &["retry-after: 20"], r#"{"error":{"message":"slow down"}}"#);
    let alpha = Upstream::start(vec![limited, good("alpha")]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let file = gateway.path("providers/alpha.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("id = \"m-1\"", "id = \"*\"");
    std::fs::write(&file, text).unwrap();
    assert_eq!(gateway.reload().await.0, 200);
    for (model, status, asked) in [("alpha/a", 429, 1), ("alpha/a", 429, 1), ("alpha/b", 200, 2), ("alpha/a", 429, 2)] {
        let answer = gateway.chat(&hello(model)).await;
        assert_eq!((answer.status, alpha.seen().len()), (status, asked), "{model}: {}", answer.text);
        assert!(status == 200 || answer.header("retry-after").parse::<u32>().unwrap() > 15, "{model}");
    }
}

#[tokio::test]
async fn a_provider_names_its_own_headers() {
    let headers = ["x-left: 0", "x-again: 40"];
    let alpha = Upstream::start(vec![json_with(200, &headers, &completion("alpha", 1, 1))]).await;
    let beta = Upstream::start(vec![good("beta")]).await;
    let own = "limits = { header = [{ counts = \"requests\", remaining = \"x-left\", reset = \"x-again\", refill = \"whole\" }] }";
    let gateway = with_keys(&alpha, &beta, &format!("keys = [{{ env = \"PATH\" }}]\n{own}")).await;
    assert_eq!(target(&gateway, &hello("auto")).await, "alpha/m-1");
    assert_eq!(target(&gateway, &hello("auto")).await, "beta/m-1");
}
