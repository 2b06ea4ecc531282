//! Versions of policies: applied over the admin plane and by the command line, recorded, rolled back.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Gateway, POLICY, hello};
use crate::upstream::{Upstream, completion, json as whole};

/// The policy of the tests with one more name.
fn with(name: &str) -> String {
    format!("{POLICY}\n[[route]]\nname = \"{name}\"\nmatch = {{ model = [\"{name}\"] }}\ntargets = [\"alpha/*\"]\n")
}

async fn call(gateway: &Gateway, path: &str, body: Option<Value>) -> (u16, Value) {
    let token = fs::read_to_string(gateway.path("data/admin-token")).unwrap();
    let url = format!("{}/admin/v1/policies/{path}", gateway.admin);
    let request = match body {
        Some(body) => gateway.client.post(url).body(body.to_string()),
        None => gateway.client.get(url),
    };
    let response = request.bearer_auth(token.trim()).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

async fn versions(gateway: &Gateway) -> Vec<(String, String, String)> {
    let (status, told) = call(gateway, "versions", None).await;
    assert_eq!(status, 200, "{told}");
    let text = |v: &Value, name: &str| v[name].as_str().unwrap().to_owned();
    let list = told["versions"].as_array().unwrap().iter();
    list.map(|v| (text(v, "author"), text(v, "message"), text(v, "state"))).collect()
}

fn row(author: &str, message: &str, state: &str) -> (String, String, String) {
    (author.into(), message.into(), state.into())
}

/// What a first start finds.
fn first() -> (String, String, String) {
    row("disk", "found at the first start", "in_force")
}

#[tokio::test]
async fn policies_are_applied_recorded_and_rolled_back_over_the_admin_plane() {
    let alpha = Upstream::start(vec![whole(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    assert_eq!(versions(&gateway).await, [first()], "the first start");
    let files = |text: &str| json!({ "files": { "default.toml": text }, "author": "ann", "message": "a new name" });

    let (status, told) = call(&gateway, "validate", Some(json!({ "files": { "default.toml": with("fresh") } }))).await;
    assert_eq!((status, &told["ok"]), (200, &true.into()), "{told}");
    assert_eq!(gateway.chat(&hello("fresh")).await.status, 404, "validating changes nothing");
    let (status, told) = call(&gateway, "apply", Some(files(&with("fresh")))).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(gateway.chat(&hello("fresh")).await.status, 200, "in force when the answer comes");
    assert_eq!(versions(&gateway).await, [row("ann", "a new name", "in_force"), first()]);

    let (status, told) = call(&gateway, "apply", Some(files(&with("b").replace("alpha/*", "alfa/*")))).await;
    assert_eq!((status, told["error"]["code"].as_str()), (422, Some("problems")), "{told}");
    let failing = with("b") + "[[test]]\nname = \"t\"\ngiven = { model = \"b\" }\nexpect = { first = \"beta/*\" }\n";
    let (status, told) = call(&gateway, "apply", Some(files(&failing))).await;
    assert_eq!((status, told["error"]["code"].as_str()), (422, Some("tests_fail")), "{told}");
    let mut unexpected = files(&with("b"));
    unexpected["expect"] = "0000000".into();
    let (status, told) = call(&gateway, "apply", Some(unexpected)).await;
    assert_eq!((status, told["error"]["code"].as_str()), (409, Some("not_as_expected")), "{told}");
    let (status, told) = call(&gateway, "apply", Some(json!({ "files": {}, "x": 1 }))).await;
    assert_eq!(status, 400, "{told}");
    assert_eq!(gateway.chat(&hello("fresh")).await.status, 200, "what is refused changes nothing");

    let (status, told) = call(&gateway, "rollback", Some(json!({ "version": 1, "author": "bob" }))).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(gateway.chat(&hello("fresh")).await.status, 404);
    assert_eq!(versions(&gateway).await[0], row("bob", "rollback to version 1", "in_force"));
    let (status, told) = call(&gateway, "versions/2", None).await;
    assert_eq!((status, told["files"]["default.toml"].as_str()), (200, Some(with("fresh").as_str())));
    assert_eq!(call(&gateway, "versions/77", None).await.0, 404);
    assert_eq!(call(&gateway, "rollback", Some(json!({ "version": 77 }))).await.0, 404);
}

#[tokio::test]
async fn edits_on_the_disk_are_versions_too_and_bad_ones_are_not_overwritten() {
    let gateway = Gateway::start(None, None, None).await;
    fs::write(gateway.path("policies/default.toml"), with("edited")).unwrap();
    assert_eq!(gateway.reload().await.0, 200);
    assert_eq!(versions(&gateway).await, [row("disk", "default.toml edited", "in_force"), first()]);
    fs::write(gateway.path("policies/default.toml"), "[[rout]]\n").unwrap();
    let files = json!({ "files": { "default.toml": with("b") } });
    let (status, told) = call(&gateway, "apply", Some(files.clone())).await;
    assert_eq!((status, told["error"]["code"].as_str()), (409, Some("edited_on_disk")), "{told}");
    let mut forced = files;
    forced["force"] = true.into();
    assert_eq!(call(&gateway, "apply", Some(forced)).await.0, 200);
    let list = versions(&gateway).await;
    assert_eq!((list[0].0.as_str(), list[1].2.as_str()), ("admin", "abandoned"), "{list:?}");
}

#[tokio::test]
async fn a_rollback_restores_every_byte_and_a_refused_apply_tells_all_problems() {
    let gateway = Gateway::start(None, None, None).await;
    let odd = format!("# \u{fc}ber alles\r\n{}\n\n\t# no line end", with("odd"));
    let next = json!({ "default.toml": odd, "more.toml": with("more"), "eu-only.toml": with("mine") });
    let (status, told) = call(&gateway, "apply", Some(json!({ "files": next, "author": "ann" }))).await;
    assert_eq!(status, 200, "{told}");
    let (status, told) = call(&gateway, "apply", Some(json!({ "files": { "default.toml": with("b") } }))).await;
    assert_eq!(status, 200, "{told}");
    assert!(!gateway.path("policies/more.toml").exists());
    let hash = call(&gateway, "versions", None).await.1["versions"][1]["hash"].as_str().unwrap()[..8].to_owned();
    let (status, told) = call(&gateway, "rollback", Some(json!({ "version": hash, "message": "as it was" }))).await;
    assert_eq!(status, 200, "{told}");
    for (name, text) in next.as_object().unwrap() {
        assert_eq!(fs::read_to_string(gateway.path(&format!("policies/{name}"))).unwrap(), text.as_str().unwrap());
    }
    assert_eq!(versions(&gateway).await[0], row("admin", "as it was", "in_force"));
    let bad = with("b").replace("alpha/*", "alfa/*").replace("[\"EU\"]", "[\"EUU\"]");
    let bad = json!({ "files": { "default.toml": bad, "more.toml": "x = 1\n" }, "force": true });
    let (status, told) = call(&gateway, "apply", Some(bad)).await;
    let problems = told["error"]["problems"].as_array().unwrap();
    let has = |word: &str| problems.iter().any(|p| p.as_str().unwrap().contains(word));
    assert!(status == 422 && has("alfa") && has("EUU") && has("more.toml:1"), "{told}");
    assert_eq!(fs::read_to_string(gateway.path("policies/default.toml")).unwrap(), odd);
}

#[tokio::test]
async fn what_the_gateway_refuses_is_taken_back_and_half_a_set_is_not_read() {
    let alpha = Upstream::start(vec![whole(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    let config = fs::read_to_string(gateway.path("stellwerk.toml")).unwrap();
    fs::write(gateway.path("stellwerk.toml"), "[server]\nlisten = 5\n").unwrap();
    let files = json!({ "files": { "default.toml": with("fresh") } });
    let (status, told) = call(&gateway, "apply", Some(files.clone())).await;
    assert_eq!((status, told["error"]["code"].as_str()), (422, Some("reload_refused")), "{told}");
    assert_eq!(fs::read_to_string(gateway.path("policies/default.toml")).unwrap(), POLICY);
    assert_eq!(gateway.chat(&hello("fresh")).await.status, 404);
    fs::write(gateway.path("stellwerk.toml"), config).unwrap();
    assert_eq!(call(&gateway, "apply", Some(files)).await.0, 200);

    fs::write(gateway.path("policies/.stellwerk.lock"), "version 99 is being written\n").unwrap();
    fs::write(gateway.path("policies/default.toml"), with("half")).unwrap();
    let (status, told) = gateway.reload().await;
    assert!(status == 422 && told.to_string().contains("half of a set"), "{told}");
    assert_eq!(gateway.chat(&hello("fresh")).await.status, 200, "what is in force stays");
    let drift = call(&gateway, "versions", None).await.1["drift"].as_str().unwrap().to_owned();
    assert!(drift.contains("version 99 is being written"), "{drift}");
    fs::remove_file(gateway.path("policies/.stellwerk.lock")).unwrap();
    assert_eq!(gateway.reload().await.0, 200);
    assert_eq!(versions(&gateway).await[0], row("disk", "default.toml edited", "in_force"));
}

/// A gateway's admin plane that takes the first reload as the moment for another's apply.
async fn overtaken(gateway: &Gateway, dir: &str) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (config, dir) = (gateway.path("offline.toml"), dir.to_owned());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await.unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stellwerk"));
        command.args(["policy", "apply", &dir, "--author", "eve", "--config"]).arg(config);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await.unwrap();
    });
    address
}

#[tokio::test]
async fn who_is_overtaken_by_another_apply_is_told_so() {
    let mut gateway = Gateway::start(None, None, None).await;
    gateway.app.take().unwrap().shutdown().await;
    let config = fs::read_to_string(gateway.path("stellwerk.toml")).unwrap();
    fs::write(
        gateway.path("offline.toml"),
        config.replace("[admin]\nlisten = \"127.0.0.1:0\"", "[admin]\nlisten = \"127.0.0.1:1\""),
    )
    .unwrap();
    for name in ["mine", "hers"] {
        fs::create_dir(gateway.path(name)).unwrap();
        fs::write(gateway.path(name).join("default.toml"), with(name)).unwrap();
    }
    let (mine, hers) = (gateway.path("mine").display().to_string(), gateway.path("hers").display().to_string());
    let address = overtaken(&gateway, &hers).await;
    let admin = format!("[admin]\nlisten = \"{address}\"");
    fs::write(gateway.path("here.toml"), config.replace("[admin]\nlisten = \"127.0.0.1:0\"", &admin)).unwrap();
    let (ok, told) = policy(&gateway, "here.toml", &["apply", &mine, "--author", "ann"]).await;
    assert!(!ok && told.contains("was replaced before it was in force"), "{told}");
    assert_eq!(fs::read_to_string(gateway.path("policies/default.toml")).unwrap(), with("hers"));
}

#[tokio::test]
async fn problems_of_a_set_are_told_where_its_files_are_and_the_account_is_the_author() {
    let gateway = Gateway::start(None, None, None).await;
    fs::create_dir(gateway.path("next")).unwrap();
    fs::write(gateway.path("next/default.toml"), with("fresh").replace("alpha/", "alpa/")).unwrap();
    let next = gateway.path("next").display().to_string();
    let (ok, told) = policy(&gateway, "stellwerk.toml", &["apply", &next]).await;
    assert!(!ok && told.contains(&format!("{next}/default.toml:")), "{told}");
    fs::write(gateway.path("next/default.toml"), with("fresh")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stellwerk"));
    command.args(["policy", "apply", &next, "--config"]).arg(gateway.path("stellwerk.toml"));
    command.env_remove("USER").env_remove("LOGNAME");
    let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let account = Command::new("id").arg("-un").output().unwrap();
    assert_eq!(versions(&gateway).await[0].0, String::from_utf8_lossy(&account.stdout).trim());
}

/// Runs `stellwerk policy …` with a configuration file of the gateway's directory.
async fn policy(gateway: &Gateway, config: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stellwerk"));
    command.arg("policy").args(arguments).arg("--config").arg(gateway.path(config)).current_dir("/");
    let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
}

#[tokio::test]
async fn the_command_line_writes_and_a_running_gateway_takes_it_over() {
    let alpha = Upstream::start(vec![whole(200, &completion("hi", 1, 1))]).await;
    let gateway = Gateway::start(Some(&alpha), None, None).await;
    fs::create_dir(gateway.path("next")).unwrap();
    fs::write(gateway.path("next/default.toml"), with("fresh")).unwrap();
    let next = gateway.path("next").display().to_string();
    // The configuration names no port: the gateway that runs can't be told, and finds out.
    let (ok, told) =
        policy(&gateway, "stellwerk.toml", &["apply", &next, "--author", "ann", "--message", "by hand"]).await;
    assert!(ok && told.starts_with("version 2 (") && told.contains("no gateway answers"), "{told}");
    for _ in 0..500 {
        if versions(&gateway).await[0].2 == "in_force" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(versions(&gateway).await, [row("ann", "by hand", "in_force"), first()]);
    assert_eq!(gateway.chat(&hello("fresh")).await.status, 200);
    let (ok, told) = policy(&gateway, "stellwerk.toml", &["versions"]).await;
    assert!(ok && told.lines().count() == 2 && told.contains("ann"), "{told}");

    let config = fs::read_to_string(gateway.path("stellwerk.toml")).unwrap();
    let admin = format!("[admin]\nlisten = \"{}\"", gateway.admin.trim_start_matches("http://"));
    let here = config.replace("[admin]\nlisten = \"127.0.0.1:0\"", &admin);
    fs::write(gateway.path("here.toml"), &here).unwrap();
    let (ok, told) = policy(&gateway, "here.toml", &["rollback", "1", "--author", "ann"]).await;
    assert!(ok && told.starts_with("version 3 (") && told.trim_end().ends_with("is in force"), "{told}");
    assert_eq!(gateway.chat(&hello("fresh")).await.status, 404, "in force when the command ends");
    let (ok, told) = policy(&gateway, "here.toml", &["rollback", "9"]).await;
    assert!(!ok && told.contains("there is no version `9`"), "{told}");
    fs::write(gateway.path("stellwerk.toml"), "[server]\nlisten = 5\n").unwrap();
    let (ok, told) = policy(&gateway, "here.toml", &["apply", &next, "--author", "ann"]).await;
    assert!(!ok && told.contains("refused version 4; the files are as they were") && told.contains("listen"), "{told}");
    assert_eq!(fs::read_to_string(gateway.path("policies/default.toml")).unwrap(), POLICY);
    fs::write(gateway.path("stellwerk.toml"), config).unwrap();
    let (ok, told) = policy(&gateway, "here.toml", &["versions", "--json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let list: Vec<_> = told["versions"].as_array().unwrap().iter().map(|v| v["version"].as_i64().unwrap()).collect();
    assert!(ok && list == [5, 4, 3, 2, 1] && told["drift"].is_null(), "{told}");
}
