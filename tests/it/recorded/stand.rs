//! A gateway whose providers all are the recordings: one for each dialect, and one each for exchanges that would make
//! the gateway avoid a provider.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use stellwerk::domain::id::DialectId;

use super::exchange::Exchange;
use super::replay::{MARK, Replay};
use crate::harness::{Gateway, provider};

/// The dialects that clients speak.
pub(crate) const CLIENTS: [DialectId; 5] = [
    DialectId::OpenAiChat,
    DialectId::OpenAiResponses,
    DialectId::Anthropic,
    DialectId::Gemini,
    DialectId::OpenAiCompletions,
];

const ABILITIES: &str = r#"["stream", "tools", "json", "json_schema", "image", "audio", "file", "reasoning", "logprobs", "n", "chat", "embeddings", "rerank", "moderations", "images", "speech", "transcription"]"#;

const POLICY: &str = r#"
[[route]]
name = "nothing"
match = { model = ["nothing"] }
targets = ["all-openai-chat/*"]
"#;

pub(crate) struct Stand {
    pub(crate) gateway: Gateway,
    pub(crate) replay: Replay,
    alone: BTreeSet<String>,
}

/// What a client got.
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) body: Bytes,
}

impl Stand {
    /// `alone`: the ids of exchanges that have a provider for each client dialect to themselves.
    pub(crate) async fn start(exchanges: &[Arc<Exchange>], alone: BTreeSet<String>) -> Self {
        let replay = Replay::start(exchanges).await;
        let dir = tempfile::tempdir().unwrap();
        let (providers, policies) = (dir.path().join("providers"), dir.path().join("policies"));
        fs::create_dir_all(&providers).unwrap();
        fs::create_dir_all(&policies).unwrap();
        fs::write(policies.join("default.toml"), POLICY).unwrap();
        let write = |name: &str, dialect: DialectId| {
            // The version is part of the base URL where the dialect's paths have none.
            let text = provider(name, dialect.name(), &replay.url, "DE", "1", "2")
                .replace("\"m-1\"", "\"*\"")
                .replace("max_output = 4096", "max_output = 1000000");
            let (before, rest) = text.split_once("supports = [").unwrap();
            let (_, after) = rest.split_once(']').unwrap();
            let text = format!("{before}supports = {ABILITIES}{after}");
            fs::write(providers.join(format!("{name}.toml")), text).unwrap();
        };
        for dialect in DialectId::ALL.into_iter().filter(|d| stellwerk::dialect::egress(*d).is_some()) {
            write(&format!("all-{}", dialect.name()), dialect);
        }
        for exchange in exchanges.iter().filter(|x| alone.contains(&x.id)) {
            let Some(dialect) = exchange.dialect() else { continue };
            for client in CLIENTS {
                write(&own(exchange, client), dialect);
            }
        }
        Self { gateway: Gateway::start_in(dir).await, replay, alone }
    }

    /// The model's name for a client of that dialect that shall get that answer: with the provider and without.
    /// `what` tells requests apart.
    pub(crate) fn model(&self, exchange: &Exchange, client: DialectId, what: &str) -> (String, String) {
        let bare = format!("{MARK}{}--{what}-{}", exchange.id, client.name());
        let provider = match exchange.dialect() {
            Some(_) if self.alone.contains(&exchange.id) => own(exchange, client),
            Some(dialect) => format!("all-{}", dialect.name()),
            None => format!("all-{}", client.name()),
        };
        (format!("{provider}/{bare}"), bare)
    }

    pub(crate) async fn post(&self, client: DialectId, path: &str, body: String) -> Got {
        let root = self.gateway.base.trim_end_matches("/v1");
        let request = self.gateway.client.post(format!("{root}{path}")).bearer_auth(&self.gateway.key);
        let request =
            if client == DialectId::Anthropic { request.header("anthropic-version", "2023-06-01") } else { request };
        let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let kind = answer.headers().get("content-type").map_or("", |v| v.to_str().unwrap()).to_owned();
        // An answer that breaks off breaks the connection; what came before it is looked at.
        let mut all = bytes::BytesMut::new();
        let mut answer = answer;
        while let Ok(Some(piece)) = answer.chunk().await {
            all.extend_from_slice(&piece);
        }
        Got { status, kind, body: all.freeze() }
    }
}

fn own(exchange: &Exchange, client: DialectId) -> String {
    format!("alone-{}-{}", exchange.id.to_ascii_lowercase().replace(['.', '_'], "-"), client.name())
}
