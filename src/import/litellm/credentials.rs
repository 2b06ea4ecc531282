//! How a deployment is let in. A key that stands in the file is named, never copied.

use toml::Table;

use super::super::names::{Credentials, Kind as Known};
use super::super::node::{At, Fields};
use super::super::notes::{Kind, Notes};
use super::super::provider::{Key, Own, Shipped, text};

/// How LiteLLM names an environment variable.
pub(super) const ENVIRON: &str = "os.environ/";
/// What AWS signatures are made for.
const SERVICE: &str = "bedrock";
/// Words for no key, which servers without keys are given.
const NO_KEY: [&str; 9] = ["none", "null", "empty", "dummy", "fake", "fake-key", "not-needed", "no-key", "na"];

/// Whether a key says that there is none.
pub(super) fn is_none(at: &At<'_>) -> bool {
    at.word().is_none_or(|word| NO_KEY.contains(&word.to_ascii_lowercase().as_str()))
}

/// Keys that stand in the file, each with the variable that will hold it.
#[derive(Default)]
pub(super) struct Secrets(Vec<(String, String)>);

impl Secrets {
    pub(super) fn fill(
        &mut self,
        own: &mut Own,
        kind: &Known,
        shipped: &Shipped,
        params: &mut Fields<'_>,
        notes: &mut Notes,
    ) {
        match kind.credentials {
            Some(Credentials::Aws) => self.signed(own, params, notes),
            Some(Credentials::Google) => self.service_account(own, params, notes),
            None => {}
        }
        let Some(at) = params.take("api_key") else {
            let shipped = shipped.envs(&own.base);
            // The variable that LiteLLM reads goes on being the one, where ours has another name.
            if own.keys.is_empty()
                && !kind.env.is_empty()
                && (!shipped.contains(&kind.env.as_str()) || own.url.is_some())
            {
                own.keys = vec![Key::of(&kind.env)];
            }
            return;
        };
        match at.word() {
            Some(_) if is_none(&at) => {
                own.auth = Some([("scheme".to_owned(), "none".into())].into_iter().collect());
            }
            Some(_) => {
                let env = self.variable(&at, &kind.provider, notes);
                let alone = shipped.envs(&own.base).first() == Some(&env.as_str());
                own.keys = if alone && own.url.is_none() { Vec::new() } else { vec![Key::of(&env)] };
                own.auth.take_if(|auth| text(auth, "scheme") == Some("aws-sigv4"));
            }
            None => notes.add(Kind::LeftOut, &at, "is no text"),
        }
    }

    /// The variable that a member names, or that is to hold what stands there.
    pub(super) fn variable(&mut self, at: &At<'_>, provider: &str, notes: &mut Notes) -> String {
        let word = at.word().unwrap_or_default();
        if let Some(name) = word.strip_prefix(ENVIRON) {
            return name.to_owned();
        }
        let known = self.0.iter().find(|(value, _)| value == word).map(|(_, name)| name.clone());
        let name = known.unwrap_or_else(|| {
            let provider = provider.to_ascii_uppercase().replace('-', "_");
            let name = format!("{provider}_IMPORTED_KEY_{}", self.0.len() + 1);
            self.0.push((word.to_owned(), name.clone()));
            name
        });
        notes.add(
            Kind::ToDo,
            at,
            format!("what stands here may be a secret and is not copied: put it into the variable {name}"),
        );
        name
    }

    /// AWS: the region, and access keys where there is no Bedrock API key.
    fn signed(&mut self, own: &mut Own, params: &mut Fields<'_>, notes: &mut Notes) {
        let region = params.take("aws_region_name");
        let region = match region.as_ref().and_then(At::word) {
            Some(word) => word.strip_prefix(ENVIRON).map_or_else(|| word.to_owned(), |name| format!("${{{name}}}")),
            None => "${AWS_REGION_NAME}".to_owned(),
        };
        own.url = Some(format!("https://bedrock-runtime.{region}.amazonaws.com"));
        own.region = Some(region);
        let (id, secret) = (params.take("aws_access_key_id"), params.take("aws_secret_access_key"));
        let session = params.take("aws_session_token");
        let mut name = |at: Option<At<'_>>, notes: &mut Notes| at.map(|at| self.variable(&at, "aws", notes));
        let given = (name(id, notes), name(secret, notes), name(session, notes));
        let key = match given {
            (Some(env), Some(secret), session_env) => Key { secret_env: Some(secret), session_env, ..Key::of(&env) },
            _ => Key {
                secret_env: Some("AWS_SECRET_ACCESS_KEY".to_owned()),
                session_env: Some("AWS_SESSION_TOKEN".to_owned()),
                ..Key::of("AWS_ACCESS_KEY_ID")
            },
        };
        own.keys = vec![key];
        let service = [("scheme".to_owned(), "aws-sigv4".into()), ("service".to_owned(), SERVICE.into())];
        own.auth = Some(service.into_iter().collect::<Table>());
    }

    /// Google: the project, the place, and a service account.
    fn service_account(&mut self, own: &mut Own, params: &mut Fields<'_>, notes: &mut Notes) {
        let (project, location) = (params.take("vertex_project"), params.take("vertex_location"));
        let word = |at: &Option<At<'_>>, default: &str| {
            let word = at.as_ref().and_then(At::word).unwrap_or(default);
            word.strip_prefix(ENVIRON).map_or_else(|| word.to_owned(), |name| format!("${{{name}}}"))
        };
        let (project, location) = (word(&project, "${VERTEXAI_PROJECT}"), word(&location, "us-central1"));
        let host = if location == "global" { String::new() } else { format!("{location}-") };
        own.url = Some(format!(
            "https://{host}aiplatform.googleapis.com/v1/projects/{project}/locations/{location}/publishers/google"
        ));
        let Some(at) = params.take("vertex_credentials").or_else(|| params.take("vertex_ai_credentials")) else {
            own.keys = vec![Key { grant: Some("service-account"), ..Key::of("GOOGLE_APPLICATION_CREDENTIALS") }];
            return;
        };
        let env = self.variable(&at, "google", notes);
        own.keys = vec![Key { grant: Some("service-account"), ..Key::of(&env) }];
    }
}
