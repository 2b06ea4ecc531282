//! Access tokens: fetched for admitted requests, once, and never from a place that the request's requirement excludes.

use crate::harness::{Gateway, hello};
use crate::upstream::{Upstream, completion, json as whole};

/// A gateway whose provider `alpha` (in Germany) gets its tokens from a place in the United States.
async fn gateway(alpha: &Upstream, tokens: &Upstream) -> Gateway {
    let dir = Gateway::files(Some(alpha), None, None);
    let file = dir.path().join("providers/alpha.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let keys = "keys = [{ env = \"PATH\", grant = \"client-credentials\", id_env = \"CARGO_MANIFEST_DIR\" }]";
    let token = format!(
        "[token]\nurl = \"{}/token\"\nscope = \"s\"\nallow_http = true\nprocessing = [\"US\"]\noperator = \"US\"\n\
         source = \"a test\"\nchecked = 2026-01-01\n\n[[endpoint]]",
        tokens.url()
    );
    let text = text.replace("keys = [{ env = \"PATH\" }]", keys).replace("[[endpoint]]", &token);
    std::fs::write(&file, text).unwrap();
    Gateway::start_in(dir).await
}

#[tokio::test]
async fn a_token_is_fetched_once_and_only_for_requests_that_admit_its_place() {
    let alpha = Upstream::start(vec![whole(200, &completion("hi", 1, 1))]).await;
    let tokens = Upstream::start(vec![whole(200, r#"{"access_token":"granted-1","expires_in":3600}"#)]).await;
    let gateway = gateway(&alpha, &tokens).await;
    let refused = gateway.chat_with(&hello("alpha/m-1"), &[("x-stellwerk-require", "processing=EU")]).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    assert!(tokens.seen().is_empty(), "not even the token endpoint is asked");
    for _ in 0..3 {
        let got = gateway.chat(&hello("alpha/m-1")).await;
        assert_eq!(got.status, 200, "{}", got.text);
    }
    assert!(alpha.seen().iter().all(|seen| seen.header("authorization") == "Bearer granted-1"));
    assert_eq!((alpha.seen().len(), tokens.seen().len()), (3, 1));
    assert!(tokens.seen()[0].body.starts_with("grant_type=client_credentials&client_id="), "{}", tokens.seen()[0].body);
    let again = gateway.chat_with(&hello("alpha/m-1"), &[("x-stellwerk-require", "processing=EU")]).await;
    assert_eq!(again.status, 403, "a token that is there changes nothing: it would have to be renewed");
}

#[tokio::test]
async fn without_a_token_the_next_target_takes_over() {
    let alpha = Upstream::start(vec![whole(200, &completion("hi", 1, 1))]).await;
    let beta = Upstream::start(vec![whole(200, &completion("from beta", 1, 1))]).await;
    let tokens = Upstream::start(vec![whole(400, r#"{"error":"invalid_client"}"#)]).await;
    let dir = gateway(&alpha, &tokens).await;
    let file = dir.path("providers/beta.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("http://127.0.0.1:1", &beta.url());
    std::fs::write(&file, text).unwrap();
    assert_eq!(dir.reload().await.0, 200);
    let got = dir.chat(&hello("auto")).await;
    assert_eq!((got.status, got.header("x-stellwerk-target")), (200, "beta/m-1"), "{}", got.text);
    assert!(alpha.seen().is_empty(), "nothing goes out without a credential");
    let row = dir.ledger(got.id()).await;
    assert_eq!(row["attempts"][0]["failure"], "credentials", "{row}");
}
