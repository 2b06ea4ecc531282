//! Shadow runs: in the background, within residency and money, charged to nobody.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Gateway, hello, hello_stream};
use crate::upstream::{Step, Upstream, completion, json};

/// `auto` goes to `alpha` (DE), and all of it to `beta` (US) as well.
fn policy(max_cost: &str) -> String {
    format!(
        "[[route]]\nname = \"main\"\nmatch = {{ model = [\"auto\"] }}\ntargets = [\"alpha/*\"]\n\
         shadow = {{ target = \"beta/*\", sample = 1.0, max_cost = \"{max_cost}\" }}\n"
    )
}

/// Waits until so many shadow runs had that outcome.
async fn came(gateway: &Gateway, outcome: &str, times: u32) {
    let wanted = format!("stellwerk_shadow_runs_total{{outcome=\"{outcome}\"}} {times}");
    for _ in 0..500 {
        if gateway.metrics().await.lines().any(|line| line == wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never came to `{wanted}`:\n{}", gateway.metrics().await);
}

fn advice(gateway: &Gateway) -> Value {
    let told = gateway.cli(&["advise", "--since", "1d", "--json"]);
    serde_json::from_slice(&told.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&told.stderr)))
}

#[tokio::test]
async fn a_sampled_request_is_answered_by_one_and_compared_with_the_other() {
    let alpha = Upstream::start(vec![json(200, &completion("It is 42.", 100, 10))]).await;
    // The shadow takes its time: nobody waits for it.
    let mut slow = vec![Step::Wait(Duration::from_millis(300))];
    slow.extend(json(200, &completion("So 42", 100, 20)));
    let beta = Upstream::start(vec![slow]).await;
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    gateway.policy(&policy("5 USD/day")).await;
    let got = gateway.chat(&hello("auto")).await;
    assert_eq!((got.status, got.header("x-stellwerk-target")), (200, "alpha/m-1"), "{}", got.text);
    assert!(!gateway.metrics().await.contains("outcome=\"compared\""), "the client did not wait");
    came(&gateway, "compared", 1).await;
    assert_eq!(beta.seen().len(), 1);
    let row = gateway.ledger(got.id()).await;
    assert_eq!((row["attempts"].as_array().unwrap().len(), &row["cost_usd"]), (1, &"0.00012".into()), "{row}");
    let told = gateway.cli(&["explain", "--request", got.id()]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let besides =
        told.lines().find(|line| line.starts_with("  shadow    beta/m-1 in US under US  answered, ")).unwrap();
    assert!(besides.ends_with("0.001400 USD, same answer: no, same last number: yes"), "{told}");
    assert!(told.contains("1. alpha/m-1 in DE under DE  completed"), "{told}");
    let told = gateway.cli(&["explain", "--request", got.id(), "--json"]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let outcome = &told["shadow"]["outcome"];
    assert_eq!((&told["shadow"]["target"], &outcome["cost_usd"]), (&"beta/m-1".into(), &"0.0014".into()), "{told}");
    let places = gateway.cli(&["report", "residency"]);
    let places = String::from_utf8_lossy(&places.stdout);
    assert!(places.contains("Shadow runs besides") && places.contains("processed in US, operator US: 1"), "{places}");
    let advice = advice(&gateway);
    let shadow = &advice["routes"][0]["shadow"][0];
    assert_eq!(
        (&shadow["primary"], &shadow["shadow"], &shadow["runs"]),
        (&"alpha/m-1".into(), &"beta/m-1".into(), &1.into())
    );
    let good = |name: &str| {
        let criteria = shadow["criteria"].as_array().unwrap();
        criteria.iter().find(|c| c["criterion"] == name).map(|c| (c["good"].clone(), c["all"].clone())).unwrap()
    };
    assert_eq!(good("same answer"), (0.into(), 1.into()), "{shadow}");
    assert_eq!(good("same last number"), (1.into(), 1.into()), "{shadow}");
    assert_eq!(
        (&shadow["cost_usd_primary"], &shadow["cost_usd_shadow"]),
        (&"0.00012".into(), &"0.0014".into()),
        "{shadow}"
    );
    let text = gateway.cli(&["advise", "--since", "1d"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("shadow alpha/m-1 ∥ beta/m-1: 1 runs"), "{text}");
    assert!(!text.contains("changes by"), "one pair says nothing of the spread: {text}");
    assert_eq!(gateway.chat(&hello("auto")).await.status, 200);
    came(&gateway, "compared", 2).await;
    let shadow = &self::advice(&gateway)["routes"][0]["shadow"][0];
    let change = |name: &str| ["pairs", "low", "high"].map(|member| shadow[name][member].clone());
    assert_eq!(change("output_tokens_change"), [2, 9, 11].map(Value::from), "ten each time, rounded outwards");
    assert_eq!(
        change("cost_change_usd"),
        [Value::from(2), "0.001279999999".into(), "0.001280000001".into()],
        "{shadow}"
    );
    assert_eq!(change("duration_ms_change")[0], 2, "{shadow}");
}

#[tokio::test]
async fn a_stream_has_a_shadow_of_numbers() {
    let end = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"choices\":[{\"index\":0,\
               \"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let stream = vec![crate::upstream::stream_head(), crate::upstream::chunk(end), crate::upstream::stream_end()];
    let alpha = Upstream::start(vec![stream]).await;
    let beta = Upstream::start(vec![json(200, &completion("a", 100, 20))]).await;
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    gateway.policy(&policy("5 USD/day")).await;
    assert_eq!(gateway.chat(&hello_stream("auto")).await.status, 200);
    came(&gateway, "compared", 1).await;
    assert_ne!(beta.seen()[0].json()["stream"], true, "{}", beta.seen()[0].body);
}

#[tokio::test]
async fn a_shadow_is_no_way_around_residency() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 100, 10))]).await;
    let beta = Upstream::start(vec![json(200, &completion("hi", 100, 20))]).await;
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    gateway.policy(&policy("5 USD/day")).await;
    let got = gateway.chat_with(&hello("auto"), &[("x-stellwerk-require", "processing=EU")]).await;
    assert_eq!(got.status, 200, "{}", got.text);
    // The next one has a shadow: when it has come, the first would have come too.
    gateway.chat(&hello("auto")).await;
    came(&gateway, "compared", 1).await;
    assert_eq!(beta.seen().len(), 1);
}

#[tokio::test]
async fn the_limit_of_a_day_holds_over_a_restart_and_failures_are_counted() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 100, 10))]).await;
    let beta = Upstream::start(vec![json(200, &completion("hi", 1_000_000, 0)), json(500, "{}")]).await;
    let mut gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    // The first run costs 10 USD, more than was expected of it.
    gateway.policy(&policy("9 USD/day")).await;
    gateway.chat(&hello("auto")).await;
    came(&gateway, "compared", 1).await;
    gateway.chat(&hello("auto")).await;
    came(&gateway, "limit", 1).await;
    let app = gateway.app.take().unwrap();
    app.shutdown().await;
    let Gateway { dir, .. } = gateway;
    let gateway = Gateway::start_in(dir).await;
    gateway.chat(&hello("auto")).await;
    came(&gateway, "limit", 1).await;
    assert_eq!(beta.seen().len(), 1);
    gateway.policy(&policy("50 USD/day")).await;
    gateway.chat(&hello("auto")).await;
    came(&gateway, "failed", 1).await;
    assert_eq!(advice(&gateway)["routes"][0]["shadow"][0]["failed"], 1);
}

#[tokio::test]
async fn a_run_is_reserved_at_the_most_that_it_may_cost() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 100, 10))]).await;
    let cut = completion("hi and", 100, 2_400).replace("\"stop\"", "\"length\"");
    let beta = Upstream::start(vec![json(200, &completion("hi", 100, 20)), json(200, &cut)]).await;
    let gateway = Gateway::start(Some(&alpha), Some(&beta), None).await;
    gateway.policy(&policy("0.06 USD/day")).await;
    // 4000 tokens may cost 8 cents, though 500 are expected. A client's limit is not made smaller.
    let asks = hello("auto").replacen('{', "{\"max_tokens\":4000,", 1);
    assert_eq!(gateway.chat(&asks).await.status, 200);
    came(&gateway, "limit", 1).await;
    assert_eq!(beta.seen().len(), 0);
    // Without one it gets what the money pays for.
    assert_eq!(gateway.chat(&hello("auto")).await.status, 200);
    came(&gateway, "compared", 1).await;
    let bound = |number: usize| beta.seen()[number].json()["max_tokens"].as_u64().unwrap();
    assert!((2_400..2_500).contains(&bound(0)), "{}", beta.seen()[0].body);
    // One that ends at that limit is compared with nothing, and cost what it cost.
    assert_eq!(gateway.chat(&hello("auto")).await.status, 200);
    came(&gateway, "failed", 1).await;
    assert!(bound(1) < bound(0), "the first was not for nothing");
    let shadow = &advice(&gateway)["routes"][0]["shadow"][0];
    assert_eq!((&shadow["runs"], &shadow["failed"]), (&2.into(), &1.into()), "{shadow}");
    assert_eq!(gateway.chat(&hello("auto")).await.status, 200);
    came(&gateway, "limit", 2).await;
    assert_eq!(beta.seen().len(), 2, "less than a cent is left");
    gateway.policy(&policy("5 USD/day")).await;
    let asks = hello("auto").replacen('{', "{\"web_search_options\":{},", 1);
    assert_eq!(gateway.chat(&asks).await.status, 200);
    came(&gateway, "unbounded", 1).await;
    assert_eq!(gateway.chat(&hello("auto")).await.status, 200);
    came(&gateway, "compared", 2).await;
    assert_eq!(bound(2), 4_096, "as much as the model gives, where the day pays for it");
}
