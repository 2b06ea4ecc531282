//! `stellwerk credentials`: keys of providers that tenants bring. A running gateway learns of changes within a second.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use secrecy::SecretString;

use super::{Common, Failed, say, say_error};
use crate::admission::{MASTER_KEY_ENV, NewTenantKey, OwnMode, Vault};
use crate::app::DATABASE;
use crate::store::{Durability, Store};

/// Keep, list and forget keys of providers that tenants bring.
#[derive(Debug, Subcommand)]
pub(super) enum Credentials {
    /// Keep a tenant's key for a provider, sealed. The key is read from the input, or from a variable: never from the
    /// command line, which others can see.
    Add(Add),
    /// List them, never the keys themselves.
    List {
        /// Of this tenant only.
        #[arg(long)]
        tenant: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Forget a tenant's keys for a provider, or one of them.
    Remove {
        /// The tenant.
        #[arg(long)]
        tenant: String,
        /// The provider.
        #[arg(long)]
        provider: String,
        /// This one only, by its id as `credentials list` shows it.
        #[arg(long)]
        id: Option<String>,
    },
    /// Seal all of them anew under a fresh master key.
    Rotate,
}

/// Whose key, and where it is good.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// The tenant; no other tenant's request ever gets the key.
    #[arg(long)]
    tenant: String,
    /// The provider, by its name in the catalogue.
    #[arg(long)]
    provider: String,
    /// `prefer`: the gateway's own keys are taken where the tenant's may not be used just now. `only`: never.
    #[arg(long, default_value = "prefer", value_parser = mode)]
    mode: OwnMode,
    /// The variable that holds the key, instead of the input.
    #[arg(long, value_name = "NAME")]
    key_env: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

fn mode(text: &str) -> Result<OwnMode, String> {
    OwnMode::by_name(text).ok_or_else(|| format!("`{text}` is neither `prefer` nor `only`"))
}

impl Credentials {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, Failed> {
        let config = common.load()?;
        let dir = config.data_dir.clone();
        crate::app::private_dir(&dir)?;
        let store = Store::open(&dir.join(DATABASE), Durability::Power).map_err(text)?;
        let vault = Vault::new(store, dir, std::env::var(MASTER_KEY_ENV).ok().map(Into::into));
        match self {
            Self::Add(add) => add.run(&config, &vault),
            Self::List { tenant, json } => {
                let kept = vault.list(tenant.as_deref()).map_err(text)?;
                say(&if json {
                    crate::report::tenant_keys_json(&kept)
                } else {
                    crate::report::tenant_keys_table(&kept)
                });
                Ok(ExitCode::SUCCESS)
            }
            Self::Remove { tenant, provider, id } => {
                let kept = vault.list(Some(&tenant)).map_err(text)?;
                let meant = kept.iter().filter(|key| key.provider == provider);
                let meant: Vec<_> = meant.filter(|key| id.as_ref().is_none_or(|id| *id == key.id)).collect();
                if meant.is_empty() {
                    let told =
                        format!("tenant `{tenant}` has no such key for `{provider}`; see `stellwerk credentials list`");
                    return Err(Failed::Message(told));
                }
                for key in meant {
                    vault.remove(&key.id).map_err(text)?;
                    say(&format!("removed {}", key.id));
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Rotate => {
                let count = vault.rotate().map_err(text)?;
                say(&format!("{count} keys are sealed anew"));
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Add {
    fn run(self, config: &crate::config::Config, vault: &Vault) -> Result<ExitCode, Failed> {
        let (catalogue, problems) = crate::gateway::Compiled::catalogue(config);
        if !problems.is_empty() {
            return Err(problems.into());
        }
        catalogue.takes_keys(&self.provider)?;
        let secret = self.secret()?;
        let new = NewTenantKey { tenant: self.tenant, provider: self.provider, mode: self.mode, secret };
        let info = vault.add(&new).map_err(text)?;
        say(&if self.json {
            crate::report::tenant_keys_json(std::slice::from_ref(&info))
        } else {
            format!("kept as {}; the key is not shown again", info.id)
        });
        Ok(ExitCode::SUCCESS)
    }

    fn secret(&self) -> Result<SecretString, Failed> {
        let mut text = String::new();
        match &self.key_env {
            Some(name) => {
                text = std::env::var(name).map_err(|_| format!("the variable {name} is not set"))?;
            }
            None => {
                let input = std::io::stdin();
                if input.is_terminal() {
                    say_error("paste the key and end the input with Ctrl-D");
                }
                // More than the longest key that is kept is refused there.
                input.lock().take(64 * 1024).read_to_string(&mut text).map_err(|error| error.to_string())?;
            }
        }
        Ok(text.trim().into())
    }
}

fn text(error: impl std::fmt::Display) -> Failed {
    Failed::Message(error.to_string())
}
