//! A whole gateway in a directory of its own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use stellwerk::admission::NewKey;
use stellwerk::app::{App, Sources};
use tempfile::TempDir;

use crate::upstream::Upstream;

/// A gateway with providers `alpha` (EU, cheap), `beta` (US, dear) of the OpenAI dialect and `gamma` (EU, Anthropic).
pub(crate) struct Gateway {
    pub(crate) app: Option<App>,
    pub(crate) dir: TempDir,
    pub(crate) base: String,
    pub(crate) admin: String,
    pub(crate) key: String,
    pub(crate) client: reqwest::Client,
}

/// A provider file with one endpoint and one model.
pub(crate) fn provider(name: &str, dialect: &str, url: &str, country: &str, input: &str, output: &str) -> String {
    format!(
        r#"
name = "{name}"
title = "{name}"
dialect = "{dialect}"
auth = {{ scheme = "bearer" }}
keys = [{{ env = "PATH" }}]
operator = "{country}"
parent = "{country}"
docs = "https://example.invalid"

[[endpoint]]
name = "main"
base_url = "{url}"
allow_http = true
processing = ["{country}"]
guarantee = "contract"
retention_days = 0
training = "no"
cancel_stops_billing = true
source = "https://example.invalid"
checked = 2026-01-01
expires = 2099-01-01

[[model]]
id = "m-1"
family = "m"
tier = "standard"
context = 100000
max_output = 4096
supports = ["stream", "tools", "json", "json_schema", "image", "reasoning", "logprobs", "n"]

  [[model.price]]
  from = 2020-01-01
  input = "{input}"
  output = "{output}"
  source = "https://example.invalid"
  checked = 2026-01-01
"#
    )
}

/// Routes for the three providers, cheapest first.
pub(crate) const POLICY: &str = r#"
[[route]]
name = "main"
match = { model = ["auto"] }
targets = ["alpha/*", "beta/*", "gamma/*"]
baseline = { target = "openai/o1@global", price_as_of = 2025-01-31 }
[route.attempts]
max = 3
timeout = { connect = "2s", first_token = "2s", idle = "2s", total = "20s" }

[[route]]
name = "eu"
match = { model = ["eu"] }
targets = ["alpha/*", "beta/*", "gamma/*"]
[route.require]
processing = ["EU"]

[[route]]
name = "cached"
match = { model = ["cached"] }
targets = ["alpha/*"]
baseline = { target = "openai/o1@global", price_as_of = 2025-01-31 }
cache = "10m"

[[route]]
name = "pooled"
match = { model = ["pooled"] }
targets = ["pool/*"]

[[route]]
name = "claude"
match = { model = ["claude"] }
targets = ["gamma/*"]
"#;

impl Gateway {
    /// Starts with the upstreams that are given; a provider without one is not there.
    pub(crate) async fn start(alpha: Option<&Upstream>, beta: Option<&Upstream>, gamma: Option<&Upstream>) -> Self {
        Self::start_in(Self::files(alpha, beta, gamma)).await
    }

    /// The files of a gateway with these upstreams.
    pub(crate) fn files(alpha: Option<&Upstream>, beta: Option<&Upstream>, gamma: Option<&Upstream>) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let providers = dir.path().join("providers");
        let policies = dir.path().join("policies");
        fs::create_dir_all(&providers).unwrap();
        fs::create_dir_all(&policies).unwrap();
        let nowhere = "http://127.0.0.1:1".to_owned();
        let url = |u: Option<&Upstream>| u.map_or_else(|| nowhere.clone(), Upstream::url);
        let files = [
            ("alpha", "openai-chat", url(alpha), "DE", "1", "2"),
            ("beta", "openai-chat", url(beta), "US", "10", "20"),
            ("gamma", "anthropic", url(gamma), "FR", "100", "200"),
        ];
        for (name, dialect, url, country, input, output) in files {
            let text = provider(name, dialect, &url, country, input, output);
            fs::write(providers.join(format!("{name}.toml")), text).unwrap();
        }
        // Two more ways to `alpha`: with two keys, and with any model.
        let pool = provider("pool", "openai-chat", &url(alpha), "DE", "1", "2");
        let pool = pool
            .replace("keys = [{ env = \"PATH\" }]", "keys = [{ env = \"PATH\" }, { env = \"CARGO_MANIFEST_DIR\" }]");
        fs::write(providers.join("pool.toml"), pool).unwrap();
        let any = provider("any", "openai-chat", &url(alpha), "DE", "1", "2").replace("id = \"m-1\"", "id = \"*\"");
        fs::write(providers.join("any.toml"), any).unwrap();
        fs::write(policies.join("default.toml"), POLICY).unwrap();
        dir
    }

    /// Starts with the files of a directory.
    pub(crate) async fn start_in(dir: TempDir) -> Self {
        Self::start_draining(dir, "30s").await
    }

    /// Starts with the files of a directory; open answers have so long at a stop.
    pub(crate) async fn start_draining(dir: TempDir, drain: &str) -> Self {
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\ndrain = \"{drain}\"\nmax_body = \"1 MiB\"\nbody_timeout = \"2s\"\n\
             [admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"stellwerk.test\"]\n[data]\ndir = \"data\"\n\
             [catalogue]\ndir = \"providers\"\n[policies]\ndir = \"policies\"\n"
        );
        fs::write(dir.path().join("stellwerk.toml"), config).unwrap();
        let path = dir.path().join("stellwerk.toml");
        let sources = Sources::new(move || {
            let text = fs::read_to_string(&path).map_err(|e| vec![e.to_string()])?;
            let base = path.parent().unwrap();
            let config = stellwerk::config::parse("stellwerk.toml", &text, base);
            let config = config.map_err(|p| p.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            Ok((config, Some(path.clone())))
        });
        let app = App::start(sources).await.unwrap();
        let facts = app.facts();
        let key = fs::read_to_string(&facts.first_key).unwrap().trim().to_owned();
        Self {
            base: format!("http://{}/v1", facts.data),
            admin: format!("http://{}", facts.admin),
            key,
            app: Some(app),
            dir,
            client: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap(),
        }
    }

    /// Another process with the same directory, after this one has been shut down.
    pub(crate) async fn again(self) -> Self {
        Self::start_in(self.dir).await
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.dir.path()).join(name)
    }

    /// Posts a chat request.
    pub(crate) async fn chat(&self, body: &str) -> Answer {
        self.chat_with(body, &[]).await
    }

    /// Posts a chat request with headers.
    pub(crate) async fn chat_with(&self, body: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.post(format!("{}/chat/completions", self.base)).bearer_auth(&self.key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.header("content-type", "application/json").body(body.to_owned()).send().await.unwrap();
        Answer::read(response).await
    }

    /// One request as the ledger has it, by the id the client got.
    pub(crate) async fn ledger(&self, request: &str) -> Value {
        let token = fs::read_to_string(self.path("data/admin-token")).unwrap();
        let url = format!("{}/admin/v1/requests/{request}", self.admin);
        for _ in 0..250 {
            let response = self.client.get(&url).bearer_auth(token.trim()).send().await.unwrap();
            if response.status() == 200 {
                return serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("request {request} never came to the ledger");
    }

    /// Makes a key as another process would: through the store, not through the gateway.
    pub(crate) fn new_key(&self, tenant: &str, requirement: Option<&str>) -> String {
        let requirement = requirement.map(Into::into);
        self.key_of(NewKey { tenant: tenant.into(), requirement, ..Default::default() })
    }

    /// The same with all that a key may have; empty names become `default`.
    pub(crate) fn key_of(&self, new: NewKey) -> String {
        use secrecy::ExposeSecret;
        let or_default = |name: String| if name.is_empty() { "default".to_owned() } else { name };
        let dir = self.path("data");
        let store =
            stellwerk::store::Store::open(&dir.join("stellwerk.db"), stellwerk::store::Durability::Process).unwrap();
        let ring = stellwerk::admission::KeyRing::open(&store, &dir).unwrap();
        let new = NewKey { name: "test".into(), tenant: or_default(new.tenant), team: or_default(new.team), ..new };
        ring.create(&store, &new).unwrap().0.expose_secret().to_owned()
    }

    /// Waits until the running gateway has learned of the key.
    pub(crate) async fn wait_for_key(&self) {
        for _ in 0..250 {
            let models = self.client.get(format!("{}/models", self.base)).bearer_auth(&self.key).send().await.unwrap();
            if models.status() == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the key was never learned");
    }

    pub(crate) async fn metrics(&self) -> String {
        self.client.get(format!("{}/metrics", self.admin)).send().await.unwrap().text().await.unwrap()
    }

    /// Puts a policy in force.
    pub(crate) async fn policy(&self, text: &str) {
        fs::write(self.path("policies/default.toml"), text).unwrap();
        let (status, told) = self.reload().await;
        assert_eq!(status, 200, "{told}");
    }

    /// Gives a provider's model an operation beside its conversations, and the provider a dialect.
    pub(crate) async fn offer(&self, provider: &str, dialect: &str, operation: &str) {
        let file = self.path(&format!("providers/{provider}.toml"));
        let text = fs::read_to_string(&file).unwrap();
        let more = format!("\"logprobs\", \"n\", \"chat\", \"{operation}\"]");
        let text = text.replace("\"logprobs\", \"n\"]", &more);
        let text = text.replace("dialect = \"openai-chat\"", &format!("dialect = \"{dialect}\""));
        fs::write(&file, text).unwrap();
        let (status, told) = self.reload().await;
        assert_eq!(status, 200, "{told}");
    }

    /// Says more of a provider's peculiarities.
    pub(crate) async fn quirk(&self, provider: &str, line: &str) {
        let file = self.path(&format!("providers/{provider}.toml"));
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen("[[endpoint]]", &format!("[quirks]\n{line}\n\n[[endpoint]]"), 1)).unwrap();
        let (status, told) = self.reload().await;
        assert_eq!(status, 200, "{told}");
    }

    pub(crate) async fn reload(&self) -> (u16, Value) {
        let token = fs::read_to_string(self.path("data/admin-token")).unwrap();
        let url = format!("{}/admin/v1/reload", self.admin);
        let response = self.client.post(url).bearer_auth(token.trim()).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }
}

/// An answer as the client got it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    pub(crate) fn id(&self) -> &str {
        self.header("x-request-id")
    }
}

/// A plain request body.
pub(crate) fn hello(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello"}}]}}"#)
}

/// A streamed request body.
pub(crate) fn hello_stream(model: &str) -> String {
    format!(r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"hello"}}]}}"#)
}
