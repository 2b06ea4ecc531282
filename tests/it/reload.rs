//! Reload: whole or not at all, on change and on demand.

use std::fs;
use std::time::Duration;

use crate::harness::{Gateway, POLICY, hello};
use crate::upstream::{Upstream, completion, json};

#[tokio::test]
async fn a_changed_policy_is_in_force_without_a_restart() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    assert_eq!(gateway.chat(&hello("fresh")).await.status, 404);
    let policy =
        format!("{POLICY}\n[[route]]\nname = \"fresh\"\nmatch = {{ model = [\"fresh\"] }}\ntargets = [\"alpha/*\"]\n");
    fs::write(gateway.path("policies/default.toml"), policy).unwrap();
    for _ in 0..500 {
        if gateway.chat(&hello("fresh")).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the new route never came into force");
}

#[tokio::test]
async fn a_bad_file_never_replaces_a_good_one_and_all_problems_are_told() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let bad = POLICY.replace("\"gamma/*\"]\nbaseline", "\"gama/*\"]\nbaseline").replace("[\"EU\"]", "[\"EUU\"]");
    fs::write(gateway.path("policies/default.toml"), bad).unwrap();
    let (status, told) = gateway.reload().await;
    assert_eq!(status, 422, "{told}");
    let problems: Vec<_> = told["problems"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems.iter().any(|p| p.contains("gama") && p.contains("default.toml:5")), "{problems:#?}");
    assert!(problems.iter().any(|p| p.contains("EUU") && p.contains("EU")), "{problems:#?}");
    assert_eq!(gateway.chat(&hello("auto")).await.status, 200, "the good one stays");
    assert!(gateway.metrics().await.contains("stellwerk_reloads_total{outcome=\"refused\"}"));

    fs::write(gateway.path("policies/default.toml"), format!("{POLICY}\n# changed\n")).unwrap();
    let (status, told) = gateway.reload().await;
    assert_eq!(status, 200, "{told}");
}

#[tokio::test]
async fn the_admin_plane_wants_its_token_and_a_host_of_this_machine() {
    let gateway = Gateway::start(None, None, None).await;
    let get = |path: &str| gateway.client.get(format!("{}{path}", gateway.admin));
    assert_eq!(get("/healthz").send().await.unwrap().status(), 200);
    assert_eq!(get("/readyz").send().await.unwrap().status(), 200);
    assert_eq!(get("/admin/v1/targets").send().await.unwrap().status(), 401);
    assert_eq!(get("/admin/v1/targets").bearer_auth(&gateway.key).send().await.unwrap().status(), 401);
    for (host, status) in [("evil.test", 403), ("localhost:1", 200), ("[::1]", 200), ("stellwerk.test:9", 200)] {
        assert_eq!(get("/healthz").header("host", host).send().await.unwrap().status(), status, "{host}");
    }
    let h2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge();
    let address: std::net::SocketAddr = gateway.admin.trim_start_matches("http://").parse().unwrap();
    let h2 = h2.resolve("evil.test", address).resolve("localhost", address).build().unwrap();
    for (host, status) in [("evil.test", 403), ("localhost", 200)] {
        let url = format!("http://{host}:{}/healthz", address.port());
        assert_eq!(h2.get(url).send().await.unwrap().status(), status, "{host} by HTTP/2");
    }
}

#[tokio::test]
async fn problems_of_all_files_are_told_at_once_and_none_that_only_follows() {
    let gateway = Gateway::start(None, None, None).await;
    fs::write(gateway.path("providers/beta.toml"), "name = 5\n").unwrap();
    let bad = POLICY.replace("[\"gamma/*\"]", "[\"gama/*\"]");
    fs::write(gateway.path("policies/default.toml"), bad).unwrap();
    let config = fs::read_to_string(gateway.path("stellwerk.toml")).unwrap();
    let local = "[[local.model]]\nname = \"smollm2-135m-instruct\"\npath = \"nothing.gguf\"\n";
    let (status, told) = gateway.reload().await;
    let problems = told["problems"].as_array().unwrap();
    // The policy names `beta/*` too, which is there but for its broken file.
    let elsewhere = problems.iter().filter(|p| !p.as_str().unwrap().contains("providers/beta.toml")).count();
    assert_eq!((status, elsewhere), (422, 1), "{told}");
    assert!(problems.iter().any(|p| p.as_str().unwrap().contains("providers/beta.toml:1:8")), "{told}");
    assert!(problems.iter().any(|p| p.as_str().unwrap().contains("gama/*")), "{told}");
    fs::write(gateway.path("stellwerk.toml"), format!("{config}{local}")).unwrap();
    let (status, told) = gateway.reload().await;
    assert_eq!(status, 422, "{told}");
    assert!(told["problems"][0].as_str().unwrap().contains("there is no file"), "{told}");
}

#[tokio::test]
async fn a_key_in_a_file_is_exchanged_while_running() {
    let alpha = Upstream::start(vec![json(200, &completion("hi", 1, 1))]).await;
    let dir = Gateway::files(Some(&alpha), None, None);
    let (key, file) = (dir.path().join("key"), dir.path().join("providers/alpha.toml"));
    fs::write(&key, "first-secret\n").unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let keys = format!("keys = [{{ file = \"{}\" }}]", key.display());
    fs::write(&file, text.replace("keys = [{ env = \"PATH\" }]", &keys)).unwrap();
    let gateway = Gateway::start_in(dir).await;
    gateway.chat(&hello("auto")).await;
    assert_eq!(alpha.seen()[0].header("authorization"), "Bearer first-secret");
    fs::write(&key, "second-secret\n").unwrap();
    for _ in 0..500 {
        gateway.chat(&hello("auto")).await;
        if alpha.seen().last().unwrap().header("authorization") == "Bearer second-secret" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the new key was never used");
}
