//! `stellwerk keys`: virtual keys. A running gateway learns of changes within a second.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;

use super::{Common, Failed, say};
use crate::admission::{KeyRing, NewKey, Scope, check_scope, set_scope};
use crate::app::DATABASE;
use crate::domain::quantity::parse_duration;
use crate::store::{Durability, Store};

/// Create, list and revoke virtual keys.
#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Create a key; it is shown once.
    Create(Create),
    /// List keys, never their secrets.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Set what holds for all keys of a tenant, or of one of its teams. What is not given is unset.
    Scope(ScopeOf),
    /// Revoke a key at once and for good.
    Revoke {
        /// The key's id, as `keys list` shows it.
        id: String,
    },
}

/// What the new key may do.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// What the key is for.
    name: String,
    /// The tenant it belongs to; caches and reports never cross tenants.
    #[arg(long, default_value = "default")]
    tenant: String,
    /// The team it belongs to.
    #[arg(long, default_value = "default")]
    team: String,
    /// A tag for reports, such as `project=atlas`; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// The policy file it uses instead of `default`.
    #[arg(long)]
    policy: Option<String>,
    /// What all its requests require, such as `processing=EU,local; retention_days=0`.
    #[arg(long, value_name = "REQUIREMENT")]
    require: Option<String>,
    /// How long it is good, such as `30d`.
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What holds for a tenant or a team.
#[derive(Debug, Args)]
pub(super) struct ScopeOf {
    /// The tenant.
    #[arg(long)]
    tenant: String,
    /// One of its teams; without it, the whole tenant.
    #[arg(long)]
    team: Option<String>,
    /// The policy file their keys use, unless a key names its own.
    #[arg(long)]
    policy: Option<String>,
    /// What all their requests require, added to what team, key and request require.
    #[arg(long, value_name = "REQUIREMENT")]
    require: Option<String>,
}

impl ScopeOf {
    fn run(self, config: &crate::config::Config, store: &Store) -> Result<ExitCode, Failed> {
        check_scope(&self.tenant, self.team.as_deref())?;
        checked(config, self.policy.as_deref(), self.require.as_deref())?;
        let (kind, name) = match &self.team {
            Some(team) => (Scope::Team, format!("{}/{team}", self.tenant)),
            None => (Scope::Tenant, self.tenant.clone()),
        };
        let mut connection = store.connect().map_err(text)?;
        let (policy, require) = (self.policy.as_deref(), self.require.as_deref());
        set_scope(&mut connection, kind, &name, policy, require).map_err(text)?;
        let shown = |value: Option<&str>| value.unwrap_or("none").to_owned();
        say(&format!("{name}: policy {}, requires {}", shown(policy), shown(require)));
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether a policy is there and a requirement can be read: a scope with either wrong would lock its keys out.
fn checked(config: &crate::config::Config, policy: Option<&str>, require: Option<&str>) -> Result<(), Failed> {
    if policy.is_none() && require.is_none() {
        return Ok(());
    }
    let checked = crate::app::compile(config)?;
    if let Some(require) = require {
        let read = crate::policy::Requirement::parse(require, &*checked.compiled().catalogue);
        read.map_err(|error| error.to_string())?;
    }
    let policies = &checked.compiled().policies;
    if let Some(policy) = policy.filter(|policy| !policies.contains_key(*policy)) {
        let known: Vec<&str> = policies.keys().map(|name| &**name).collect();
        return Err(Failed::Message(format!("there is no policy `{policy}` ({})", known.join(", "))));
    }
    Ok(())
}

impl Keys {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        let config = common.load()?;
        let dir = config.data_dir.clone();
        crate::app::private_dir(&dir)?;
        let store = Store::open(&dir.join(DATABASE), Durability::Power).map_err(text)?;
        let ring = KeyRing::open(&store, &dir).map_err(text)?;
        match self {
            Self::Create(create) => create.run(&config, &ring, &store),
            Self::Scope(scope) => scope.run(&config, &store),
            Self::List { json } => list(&ring, &store, json),
            Self::Revoke { id } => {
                if ring.revoke(&store, &id).map_err(text)? {
                    say(&format!("revoked {id}"));
                    Ok(ExitCode::SUCCESS)
                } else {
                    Err(Failed::Message(format!("no active key `{id}`; see `stellwerk keys list`")))
                }
            }
        }
    }
}

impl Create {
    fn run(self, config: &crate::config::Config, ring: &KeyRing, store: &Store) -> Result<ExitCode, Failed> {
        checked(config, self.policy.as_deref(), self.require.as_deref())?;
        let ttl = self.expires_in.as_deref().map(parse_duration).transpose()?;
        let new = NewKey {
            name: self.name,
            tenant: self.tenant,
            team: self.team,
            tags: self.tags,
            policy: self.policy,
            requirement: self.require,
            ttl,
        };
        new.check()?;
        let (secret, info) = ring.create(store, &new).map_err(text)?;
        let secret = secret.expose_secret();
        if self.json {
            say(&serde_json::json!({ "id": &*info.id, "key": secret }).to_string());
        } else {
            say(&format!("{secret}\n\nid {}; this is the only time the key is shown.", info.id));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(ring: &KeyRing, store: &Store, json: bool) -> Result<ExitCode, Failed> {
    let keys = ring.list(store).map_err(text)?;
    say(&if json { crate::report::keys_json(&keys) } else { crate::report::keys_table(&keys) });
    Ok(ExitCode::SUCCESS)
}

fn text(error: impl std::fmt::Display) -> Failed {
    Failed::Message(error.to_string())
}
