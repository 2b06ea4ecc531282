//! Keys of providers that tenants bring, over the admin plane: `POST credentials`, `GET credentials[?tenant=…]`,
//! `DELETE credentials/{id}`. A key goes in and never comes out.

use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::{AdminPlane, MAX_BODY, json as answer, whole};
use crate::admission::{NewTenantKey, OwnMode, TenantKeyInfo, VaultError};
use crate::domain::error::{Error, ErrorKind};
use crate::gateway::Body;

/// A key to be kept.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    tenant: String,
    provider: String,
    key: String,
    mode: Option<String>,
}

impl AdminPlane {
    pub(super) async fn credentials(
        &self,
        method: &Method,
        id: Option<&str>,
        query: Option<&str>,
        body: Incoming,
    ) -> Result<Response<Body>, Error> {
        match (method, id) {
            (&Method::POST, None) => self.add(&whole(body, MAX_BODY).await?).await,
            (&Method::GET, None) => {
                let tenant = query
                    .and_then(|query| url_pairs(query).find(|(name, _)| name == "tenant").map(|(_, tenant)| tenant));
                let kept = self.vault(move |vault| vault.list(tenant.as_deref())).await?;
                Ok(answer(&json!({ "credentials": kept.iter().map(shown).collect::<Vec<_>>() })))
            }
            (&Method::DELETE, Some(id)) => {
                let id = id.to_owned();
                if self.vault(move |vault| vault.remove(&id)).await? {
                    self.learn().await?;
                    Ok(answer(&json!({ "removed": true })))
                } else {
                    Err(Error::new(ErrorKind::UnknownPath, "there is no such key").code("credential_not_found"))
                }
            }
            _ => Err(Error::new(ErrorKind::MethodNotAllowed, "POST or GET credentials, DELETE credentials/{id}")),
        }
    }

    async fn add(&self, body: &[u8]) -> Result<Response<Body>, Error> {
        // What serde says of a body may repeat a part of it: not told, since a key stands in it.
        let wrong = |_| {
            let told = "not a key to be kept: `tenant`, `provider` and `key` are texts, `mode` is `prefer` or `only`";
            Error::new(ErrorKind::InvalidRequest, told)
        };
        let add: Add = serde_json::from_slice(body).map_err(wrong)?;
        let invalid = |param: &str, told: String| Error::new(ErrorKind::InvalidRequest, told).param(param);
        let mode = add.mode.as_deref().unwrap_or(OwnMode::default().name());
        let mode = OwnMode::by_name(mode).ok_or_else(|| invalid("mode", "`prefer` or `only`".to_owned()))?;
        self.gateway.snapshot().catalogue.takes_keys(&add.provider).map_err(|told| invalid("provider", told))?;
        let secret = SecretString::from(add.key.trim());
        let new = NewTenantKey { tenant: add.tenant, provider: add.provider, mode, secret };
        let info = self.vault(move |vault| vault.add(&new)).await?;
        self.learn().await?;
        let mut response = answer(&shown(&info));
        *response.status_mut() = StatusCode::CREATED;
        Ok(response)
    }

    /// Takes a change at once.
    async fn learn(&self) -> Result<(), Error> {
        if let Some(opened) = self.vault(|vault| vault.changes()).await? {
            opened.broken.iter().for_each(|error| tracing::error!(%error, "a tenant's key can't be used"));
            self.gateway.shared().tenants.take(opened.keys);
        }
        Ok(())
    }

    /// Works on the vault on a thread that may block.
    async fn vault<T: Send + 'static>(
        &self,
        work: impl FnOnce(&crate::admission::Vault) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, Error> {
        let vault = std::sync::Arc::clone(&self.vault);
        let failed =
            |detail: String| Error::new(ErrorKind::Internal, "tenants' keys can't be read or kept").detail(detail);
        let done =
            tokio::task::spawn_blocking(move || work(&vault)).await.map_err(|error| failed(error.to_string()))?;
        done.map_err(|error| match error {
            VaultError::Invalid(told) => Error::new(ErrorKind::InvalidRequest, told),
            error => {
                tracing::error!(%error, "tenants' keys can't be read or kept");
                failed(error.to_string())
            }
        })
    }
}

fn shown(info: &TenantKeyInfo) -> serde_json::Value {
    json!({
        "id": info.id, "tenant": info.tenant, "provider": info.provider, "mode": info.mode.name(),
        "master_key": info.master, "created_ms": info.created.0,
    })
}

fn url_pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    reqwest::Url::parse(&format!("http://x/?{query}")).into_iter().flat_map(|url| {
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect::<Vec<_>>()
    })
}
