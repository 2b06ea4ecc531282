//! `stellwerk explain`: how a request would be decided. Asks the running gateway, which knows the health of its targets;
//! where none runs, decides from the files alone, with priors, and says so.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{Common, Failed, past, running, say};
use crate::admission::KeyRing;
use crate::app;
use crate::config::Config;
use crate::domain::target::{Expectation, Signal};
use crate::gateway::{asker, now};
use crate::policy::{Principal, Question, Requirement, explain};

const HELP: &str = "\
Every candidate of the route: the admitted ones in the order in which they would be tried, with expected cost and latency
(`prior` = not measured), and why each other one is out. Asks the running gateway, which knows what is up; without one it
decides from the files and says so. With --request: a past decision from the ledger, and what became of its attempts.

Exit code: 0 explained, also where the answer is a refusal; 1 no such policy, key or request; 2 wrong command line.

Examples:
  stellwerk explain reasoning
  stellwerk explain reasoning --down 'local/*' --require 'processing=EU,local; retention_days=0'
  stellwerk explain gpt-4o --key key_... --input-tokens 20000 --stream --needs tools,image
  stellwerk explain text-embedding-3-small --operation embeddings
  stellwerk explain --request req_0123456789abcdef0123456789abcdef";

/// Show how a request would be decided, and why.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Explain {
    /// The model a client would ask for.
    #[arg(required_unless_present = "request", conflicts_with = "request")]
    model: Option<String>,
    /// A request of the past, by its id: why it went where it went, from the ledger.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Tokens of prompt.
    #[arg(long, default_value_t = 1000)]
    input_tokens: u64,
    /// The client's output limit.
    #[arg(long)]
    max_output: Option<u64>,
    /// A stream is asked for.
    #[arg(long)]
    stream: bool,
    /// What is asked, such as `embeddings`; without it a conversation.
    #[arg(long)]
    operation: Option<String>,
    /// What the target must be able to do, such as `tools,image`.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    needs: Vec<String>,
    /// The client's user, by whom shares and canaries may be kept.
    #[arg(long)]
    user: Option<String>,
    /// The id of the key that asks (see `stellwerk keys list`); without it the `default` policy alone holds.
    #[arg(long)]
    key: Option<String>,
    /// The policy, instead of the key's.
    #[arg(long)]
    policy: Option<String>,
    /// A requirement of the request, as in `x-stellwerk-require`.
    #[arg(long)]
    require: Option<String>,
    /// Take these targets as down; may be given several times.
    #[arg(long, value_name = "PATTERN")]
    down: Vec<String>,
    /// Decide from the files alone, even if a gateway runs.
    #[arg(long)]
    offline: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        if let Some(id) = &self.request {
            say(&past::explain(common, id, self.json)?);
            return Ok(ExitCode::SUCCESS);
        }
        let config = common.load()?;
        if !self.offline
            && let Some(answer) = self.ask_running(&config)?
        {
            say(&answer);
            return Ok(ExitCode::SUCCESS);
        }
        let (json, answer) = (self.json, self.decide(&config)?);
        say(&answer);
        if !json {
            say("  (from the files, with priors: no running gateway was asked)");
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The running gateway's answer; none if there is none.
    fn ask_running(&self, config: &Config) -> Result<Option<String>, Failed> {
        let body = serde_json::json!({
            "model": self.model, "input_tokens": self.input_tokens, "max_output": self.max_output, "stream": self.stream,
            "operation": self.operation, "needs": self.needs, "user": self.user,
            "key": self.key, "policy": self.policy, "require": self.require, "down": self.down, "json": self.json,
        });
        match running::post(config, "explain", body.to_string(), Duration::from_secs(5))? {
            None => Ok(None),
            Some((200, answer)) => Ok(Some(answer)),
            Some((_, answer)) => Err(Failed::Message(told(&answer))),
        }
    }

    fn decide(self, config: &Config) -> Result<String, Failed> {
        let checked = app::compile(config)?;
        let compiled = checked.compiled();
        let catalogue = &*compiled.catalogue;
        let (mut policy, mut require, mut key) = (self.policy.clone(), Requirement::ANY, None);
        if let Some(id) = &self.key {
            let text = |error: crate::store::StoreError| Failed::Message(error.to_string());
            let store = past::ledger(config)?;
            let ring = KeyRing::open(&store, &config.data_dir).map_err(text)?;
            let principal = ring.by_id(id).ok_or_else(|| Failed::Message(format!("there is no active key `{id}`")))?;
            policy = policy.or_else(|| principal.policy.as_deref().map(str::to_owned));
            for text in principal.requirements.iter() {
                let part = Requirement::parse(text, catalogue).map_err(|error| error.to_string())?;
                require = require.narrow(&part);
            }
            key = Some(principal);
        }
        let nobody = Principal { require: &require, ..Principal::ANONYMOUS };
        let principal = key.as_deref().map_or(nobody, |key| asker(key, &require));
        let name = policy.as_deref().unwrap_or("default");
        let policy = compiled.policies.get(name).ok_or_else(|| {
            let names: Vec<&str> = compiled.policies.keys().map(|name| &**name).collect();
            format!("there is no policy `{name}`; there are {}", names.join(", "))
        })?;
        let question = Question {
            model: self.model.unwrap_or_default(),
            input_tokens: self.input_tokens,
            max_output: self.max_output,
            stream: self.stream,
            operation: self.operation,
            needs: self.needs,
            user: self.user,
            key: self.key,
            policy: self.policy,
            require: self.require,
            down: self.down,
            json: self.json,
        };
        let told =
            explain(policy, catalogue, &question, principal, &|_| Signal::COLD, &|_, _| Expectation::UNKNOWN, now());
        told.map_err(|error| Failed::Message(error.message.into_owned()))
    }
}

/// The message of an error answer.
fn told(text: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    value["error"]["message"].as_str().unwrap_or(text).to_owned()
}
