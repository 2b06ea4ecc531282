//! Tiers of service: what a request asks for is expected, what the answer says was done is charged, and a tier without a
//! price is unpriced.

use std::fs;

use serde_json::{Value, json as object};

use crate::harness::{Answer, Gateway};
use crate::upstream::{Step, Upstream, chunk, completion, json, stream_end, stream_head};

/// `alpha` is dear, and cheap in `flex`; `gamma` has a dearer `priority`; `beta` has no tiers.
async fn start(alpha: &Upstream, beta: &Upstream, gamma: Option<&Upstream>) -> Gateway {
    let dir = Gateway::files(Some(alpha), Some(beta), gamma);
    for (name, from, to) in [
        ("alpha", "input = \"1\"\n  output = \"2\"", "input = \"100\"\n  cache_read = \"10\"\n  output = \"200\""),
        ("gamma", "input = \"100\"", "input = \"100\""),
    ] {
        let service = match name {
            "alpha" => "name = \"flex\"\n    input = \"1\"\n    output = \"2\"",
            _ => "name = \"priority\"\n    input = \"1000\"\n    output = \"2000\"",
        };
        let file = dir.path().join(format!("providers/{name}.toml"));
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&file, format!("{}\n    [[model.price.service]]\n    {service}\n", text.replace(from, to))).unwrap();
    }
    Gateway::start_in(dir).await
}

fn asked(model: &str, tier: Option<&str>) -> Value {
    let mut body = object!({ "model": model, "max_tokens": 50, "messages": [{ "role": "user", "content": "hi" }] });
    if let Some(tier) = tier {
        body["service_tier"] = tier.into();
    }
    body
}

/// An answer that names the tier it was made in, or none.
fn answer(tier: Option<&str>) -> Vec<Step> {
    let mut body: Value = serde_json::from_str(&completion("hi", 10, 10)).unwrap();
    if let Some(tier) = tier {
        body["service_tier"] = tier.into();
    }
    json(200, &body.to_string())
}

/// What the ledger has of the last attempt: cost, why it has none, the price.
async fn charged(gateway: &Gateway, got: &Answer) -> (Value, Value, Value) {
    assert_eq!(got.status, 200, "{}", got.text);
    let row = gateway.ledger(got.id()).await;
    let last = row["attempts"].as_array().unwrap().last().unwrap().clone();
    (last["cost_usd"].clone(), last["unpriced"].clone(), last["price_id"].clone())
}

#[tokio::test]
async fn the_tier_that_the_answer_names_is_charged_and_else_the_one_that_was_asked_for() {
    let (flex, standard) = ("0.00003", "0.003");
    for (asks, says, cost) in [
        (Some("flex"), Some("flex"), Some(flex)),
        (Some("flex"), Some("default"), Some(standard)),
        (Some("flex"), None, Some(flex)),
        (None, Some("flex"), Some(flex)),
        (None, None, Some(standard)),
        (Some("auto"), Some("default"), Some(standard)),
        (None, Some("auto"), Some(standard)),
        (None, Some("priority"), None),
        (Some("priority"), None, None),
        (Some("a new one"), None, None),
    ] {
        let (alpha, beta) = (Upstream::start(vec![answer(says)]).await, Upstream::start(vec![answer(None)]).await);
        let gateway = start(&alpha, &beta, None).await;
        let got = gateway.chat(&asked("alpha/m-1", asks).to_string()).await;
        let (is, unpriced, price) = charged(&gateway, &got).await;
        match cost {
            Some(cost) => {
                assert_eq!(is, cost, "{asks:?} {says:?}");
                assert_eq!(price.as_str().unwrap().ends_with("+flex"), cost == flex, "{asks:?} {says:?}: {price}");
            }
            None => assert_eq!(unpriced, "no_price_for_service_tier", "{asks:?} {says:?}"),
        }
        assert_eq!(got.header("x-stellwerk-cost").is_empty(), cost.is_none(), "{asks:?} {says:?}");
    }
}

#[tokio::test]
async fn streams_and_translations_are_charged_alike() {
    let frame = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"service_tier\":\"flex\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":null}]}\n\n";
    let end = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-1\",\"service_tier\":\"flex\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":10,\"total_tokens\":20}}\n\ndata: [DONE]\n\n";
    let stream = vec![stream_head(), chunk(frame), chunk(end), stream_end()];
    let alpha = Upstream::start(vec![stream.clone(), stream, answer(Some("flex"))]).await;
    let beta = Upstream::start(vec![answer(None)]).await;
    let gateway = start(&alpha, &beta, None).await;
    let mut streamed = asked("alpha/m-1", Some("priority"));
    streamed["stream"] = true.into();
    let post = |path: &str, body: Value| {
        let request = gateway.client.post(format!("{}/{path}", gateway.base)).bearer_auth(&gateway.key);
        async move {
            Answer::read(
                request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap(),
            )
            .await
        }
    };
    let mut plain = asked("alpha/m-1", None);
    for (path, body) in [
        ("chat/completions", streamed.clone()),
        ("messages", {
            plain["stream"] = true.into();
            plain.clone()
        }),
        ("messages", asked("alpha/m-1", None)),
    ] {
        let got = post(path, body).await;
        let (cost, _, price) = charged(&gateway, &got).await;
        assert_eq!(cost, "0.00003", "{path}: {price}");
    }
}

#[tokio::test]
async fn another_dialect_says_it_in_its_usage() {
    let body = |tier: &str| {
        let body = object!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m-1", "stop_reason": "end_turn",
            "stop_sequence": null, "content": [{ "type": "text", "text": "hi" }],
            "usage": { "input_tokens": 10, "output_tokens": 10, "service_tier": tier }
        });
        json(200, &body.to_string())
    };
    let other = Upstream::start(vec![answer(None)]).await;
    for (tier, cost) in [("priority", "0.03"), ("standard", "0.003")] {
        for path in ["messages", "chat/completions"] {
            let gamma = Upstream::start(vec![body(tier)]).await;
            let gateway = start(&other, &other, Some(&gamma)).await;
            let request = gateway.client.post(format!("{}/{path}", gateway.base)).bearer_auth(&gateway.key);
            let request = request.header("content-type", "application/json").body(asked("gamma/m-1", None).to_string());
            let got = Answer::read(request.send().await.unwrap()).await;
            assert_eq!(charged(&gateway, &got).await.0, cost, "{tier} {path}");
        }
    }
}

#[tokio::test]
async fn a_faster_mode_is_a_tier_by_another_name() {
    let usage =
        |speed: &str| object!({ "input_tokens": 10, "output_tokens": 10, "service_tier": "standard", "speed": speed });
    let whole = |speed: &str| {
        let body = object!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m-1", "stop_reason": "end_turn",
            "stop_sequence": null, "content": [{ "type": "text", "text": "hi" }], "usage": usage(speed)
        });
        json(200, &body.to_string())
    };
    let other = Upstream::start(vec![answer(None)]).await;
    let gamma = Upstream::start(vec![whole("fast"), whole("standard"), whole("fast")]).await;
    let dir = Gateway::files(Some(&other), Some(&other), Some(&gamma));
    let file = dir.path().join("providers/gamma.toml");
    let text = fs::read_to_string(&file).unwrap();
    let fast = "    [[model.price.service]]\n    name = \"fast\"\n    input = \"1000\"\n    output = \"2000\"\n";
    fs::write(&file, format!("{text}\n{fast}")).unwrap();
    let gateway = Gateway::start_in(dir).await;
    let mut body = asked("gamma/m-1", None);
    body["speed"] = "fast".into();
    for (cost, require) in [(Some("0.03"), None), (Some("0.003"), None), (None, Some("max_cost=0.02 USD"))] {
        let request = gateway.client.post(format!("{}/messages", gateway.base)).bearer_auth(&gateway.key);
        let request = require.into_iter().fold(request, |request, limit| request.header("x-stellwerk-require", limit));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let got = Answer::read(request.send().await.unwrap()).await;
        match cost {
            Some(cost) => assert_eq!(charged(&gateway, &got).await.0, cost, "as the answer says"),
            None => assert_eq!(got.status, 403, "it is expected at its own price: {}", got.text),
        }
    }
}

#[tokio::test]
async fn the_tier_that_is_asked_for_is_expected_where_there_are_tiers() {
    let (alpha, beta) = (Upstream::start(vec![answer(Some("flex"))]).await, Upstream::start(vec![answer(None)]).await);
    let gateway = start(&alpha, &beta, None).await;
    for (tier, target) in [
        (None, "beta/m-1"),
        (Some("flex"), "alpha/m-1"),
        // What it costs there is not known: last, and never the standard price.
        (Some("priority"), "beta/m-1"),
    ] {
        let got = gateway.chat(&asked("auto", tier).to_string()).await;
        assert_eq!(got.header("x-stellwerk-target"), target, "{tier:?}: {}", got.text);
    }
    let limit = [("x-stellwerk-require", "max_cost=1 USD")];
    let got = gateway.chat_with(&asked("alpha/m-1", Some("priority")).to_string(), &limit).await;
    assert_eq!(got.status, 403, "a limit on cost needs a price: {}", got.text);
}

#[tokio::test]
async fn a_tier_whose_word_is_lost_in_translation_is_neither_expected_nor_charged() {
    for (takes, cost, expected) in [(false, "0.003", "0.0111"), (true, "0.00003", "0.000111")] {
        let (alpha, beta) = (Upstream::start(vec![answer(None)]).await, Upstream::start(vec![answer(None)]).await);
        let gateway = start(&alpha, &beta, None).await;
        if takes {
            let file = gateway.path("providers/alpha.toml");
            let text = fs::read_to_string(&file).unwrap();
            let text = text.replace("\n[[endpoint]]", "\n[quirks]\ntakes = [\"service_tier\"]\n\n[[endpoint]]");
            fs::write(&file, text).unwrap();
            assert_eq!(gateway.reload().await.0, 200);
        }
        let url = format!("{}beta/models/alpha%2Fm-1:generateContent", gateway.base);
        let body = object!({
            "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }], "serviceTier": "flex",
            "generationConfig": { "maxOutputTokens": 50 },
        });
        let send = |dry: bool| {
            let request = gateway.client.post(&url).bearer_auth(&gateway.key).body(body.to_string());
            let request = request.header("content-type", "application/json");
            if dry { request.header("x-stellwerk-dry-run", "true") } else { request }
        };
        let plan = Answer::read(send(true).send().await.unwrap()).await.json();
        assert_eq!(plan["admitted"][0]["expected_cost_usd"], expected, "{plan}");
        let got = Answer::read(send(false).send().await.unwrap()).await;
        assert_eq!(charged(&gateway, &got).await.0, cost, "{takes}");
        assert_eq!(alpha.seen()[0].json()["service_tier"] == "flex", takes, "{}", alpha.seen()[0].json());
    }
}
