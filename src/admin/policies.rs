//! Policies over the admin plane: validate, apply, roll back, list.
//!
//! `POST policies/validate | apply | rollback`, `GET policies/versions[/{number or hash}]`. Policies are the operator's: no
//! list is made for a tenant, and none says anything of one.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AdminPlane, json as answer, whole};
use crate::domain::error::{Error, ErrorKind};
use crate::gateway::{Body, now};
use crate::versions::{self, Apply, PolicySet, Refused, Version, Versions};

/// Largest body: a set of policies with what JSON adds to it.
const MAX_BODY: usize = 4 << 20;
/// Most versions in a list.
const MOST: u32 = 500;
/// The author where the caller names none.
const ADMIN: &str = "admin";

/// What is to be looked at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    /// Name to text.
    files: BTreeMap<String, String>,
}

/// What is to be put in force.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    /// Name to text.
    files: BTreeMap<String, String>,
    author: Option<String>,
    message: Option<String>,
    expect: Option<String>,
    #[serde(default)]
    force: bool,
}

/// A version to go back to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Back {
    version: Id,
    author: Option<String>,
    message: Option<String>,
    expect: Option<String>,
    #[serde(default)]
    force: bool,
}

/// A version's number, or the beginning of its hash.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u32),
    Text(String),
}

impl AdminPlane {
    pub(super) async fn policies(&self, method: &Method, path: &str, body: Incoming) -> Result<Response<Body>, Error> {
        match (method, path) {
            (&Method::POST, "validate") => self.validate(read(body).await?).await,
            (&Method::POST, "apply") => {
                let Put { files, author, message, expect, force } = read(body).await?;
                let set = match PolicySet::new(files) {
                    Ok(set) => set,
                    Err(why) => return Ok(refused(&Refused::Set(why))),
                };
                let author = author.unwrap_or_else(|| ADMIN.to_owned());
                let message = message.unwrap_or_default();
                self.put(Apply { set, from: None, author, message, expect, force }).await
            }
            (&Method::POST, "rollback") => {
                let back: Back = read(body).await?;
                let id = match back.version {
                    Id::Number(number) => number.to_string(),
                    Id::Text(text) => text,
                };
                let (version, set) = self.version(id).await?;
                let author = back.author.unwrap_or_else(|| ADMIN.to_owned());
                let message = back.message.unwrap_or_else(|| format!("rollback to version {}", version.seq));
                self.put(Apply { set, from: None, author, message, expect: back.expect, force: back.force }).await
            }
            (&Method::GET, "versions") => self.versions().await,
            (&Method::GET, path) => match path.strip_prefix("versions/") {
                Some(id) => {
                    let (version, set) = self.version(id.to_owned()).await?;
                    let mut told = told(&version);
                    told["files"] = json!(set.files());
                    Ok(answer(&told))
                }
                None => Err(Error::new(ErrorKind::UnknownPath, "no such path")),
            },
            _ => Err(Error::new(ErrorKind::UnknownPath, "no such path")),
        }
    }

    async fn validate(&self, Files { files }: Files) -> Result<Response<Body>, Error> {
        let config = Arc::clone(&self.gateway.snapshot().config);
        let checked = self.blocking(move |_| {
            let set = PolicySet::new(files).map_err(Refused::Set)?;
            versions::validate(&config, &set, None, now()).map(|()| set.hash())
        });
        Ok(checked.await?.map_or_else(|why| refused(&why), |hash| answer(&json!({ "ok": true, "hash": hash }))))
    }

    async fn versions(&self) -> Result<Response<Body>, Error> {
        let config = Arc::clone(&self.gateway.snapshot().config);
        let found = self.blocking(move |versions| Ok((versions.list(MOST)?, versions::drift(&config, versions)?)));
        let shown = |(list, drift): (Vec<Version>, Option<String>)| {
            answer(&json!({ "versions": list.iter().map(told).collect::<Vec<_>>(), "drift": drift }))
        };
        Ok(found.await?.map_or_else(|why| refused(&why), shown))
    }

    async fn version(&self, id: String) -> Result<(Version, PolicySet), Error> {
        let found = self.blocking(move |versions| Ok(versions.find(&id)?)).await?;
        let found = found
            .map_err(|why| Error::new(ErrorKind::Internal, "the versions can't be read").detail(why.to_string()))?;
        let missing = || Error::new(ErrorKind::UnknownPath, "there is no such version").code("version_not_found");
        found.ok_or_else(missing)
    }

    /// Writes a set and reloads; what the gateway refuses is taken back.
    async fn put(&self, change: Apply) -> Result<Response<Body>, Error> {
        let _one = self.changing.lock().await;
        let config = Arc::clone(&self.gateway.snapshot().config);
        let applied = {
            let config = Arc::clone(&config);
            self.blocking(move |versions| versions::apply(&config, versions, &change, now())).await?
        };
        let applied = match applied {
            Ok(applied) => applied,
            Err(why) => return Ok(refused(&why)),
        };
        let problems = self.reloaded().await;
        if let (false, Some(seq)) = (problems.is_empty(), applied.seq) {
            let undone = self.blocking(move |versions| versions::undo(&config, versions, seq, now())).await?;
            let message = match undone {
                Ok(()) => "the gateway refused the new configuration; the files are as they were",
                Err(why) => {
                    tracing::error!(%why, version = seq, "a version that was refused could not be taken back");
                    "the gateway refused the new configuration, and it could not be taken back: see the log"
                }
            };
            let error = json!({ "message": message, "code": "reload_refused", "problems": problems });
            let mut response = answer(&json!({ "error": error }));
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            return Ok(response);
        }
        let generation = self.gateway.snapshot().generation;
        Ok(answer(&json!({
            "ok": true, "version": applied.seq, "hash": applied.hash, "changed": applied.seq.is_some(),
            "generation": generation,
        })))
    }

    /// Work on files and the database, on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Versions) -> Result<T, Refused> + Send + 'static,
    ) -> Result<Result<T, Refused>, Error> {
        let versions = Versions::new(self.store.clone());
        let done = tokio::task::spawn_blocking(move || work(&versions)).await;
        done.map_err(|error| Error::new(ErrorKind::Internal, "the work was not done").detail(error.to_string()))
    }
}

async fn read<T: serde::de::DeserializeOwned>(body: Incoming) -> Result<T, Error> {
    let body = whole(body, MAX_BODY).await?;
    let invalid = |error| Error::new(ErrorKind::InvalidRequest, format!("the body can't be read: {error}"));
    serde_json::from_slice(&body).map_err(invalid)
}

fn told(version: &Version) -> Value {
    json!({
        "version": version.seq, "at": version.time(), "hash": version.hash, "config_hash": version.config_hash,
        "author": version.author, "message": version.message, "state": version.state.name(),
    })
}

fn refused(why: &Refused) -> Response<Body> {
    let (status, code, list) = match why {
        Refused::NoDirectory => (StatusCode::CONFLICT, "no_policies_dir", Vec::new()),
        Refused::Set(_) => (StatusCode::BAD_REQUEST, "bad_set", Vec::new()),
        Refused::Problems(problems) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "problems", problems.iter().map(ToString::to_string).collect())
        }
        Refused::Tests(tests) => (StatusCode::UNPROCESSABLE_ENTITY, "tests_fail", tests.clone()),
        Refused::Named(names) => (StatusCode::CONFLICT, "policies_in_use", names.clone()),
        Refused::Edited { .. } => (StatusCode::CONFLICT, "edited_on_disk", Vec::new()),
        Refused::Half { .. } => (StatusCode::CONFLICT, "half_written", Vec::new()),
        Refused::Unexpected { .. } => (StatusCode::CONFLICT, "not_as_expected", Vec::new()),
        Refused::Disk(_) | Refused::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", Vec::new()),
    };
    let mut response = answer(&json!({ "error": { "message": why.to_string(), "code": code, "problems": list } }));
    *response.status_mut() = status;
    response
}
