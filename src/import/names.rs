//! How other gateways call the providers of the catalogue: `names.toml`.

use globset::Glob;
use serde::Deserialize;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Names {
    pub litellm: Vec<Kind>,
}

/// A provider as LiteLLM knows it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kind {
    /// What stands before the `/` of a model.
    pub prefix: Vec<String>,
    /// The catalogue's file.
    pub provider: String,
    /// The variable of the key where none is named.
    pub env: String,
    /// The variables of the address where none is named.
    #[serde(default)]
    pub base_env: Vec<String>,
    /// The catalogue's file for servers at other hosts; none = the same.
    pub elsewhere: Option<String>,
    /// What our address has behind theirs.
    #[serde(default)]
    pub suffix: String,
    /// What lets one in beside a key of one's own: `aws` or `google`.
    pub credentials: Option<Credentials>,
    /// The only models that are spoken to there, where there are others.
    #[serde(default)]
    pub only: Vec<String>,
    /// Models that need no prefix.
    #[serde(default)]
    pub models: Vec<String>,
}

/// A way of being let in that has members of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Credentials {
    /// Access keys that sign, and a region.
    Aws,
    /// A service account, a project and a location.
    Google,
}

impl Kind {
    /// Whether that model is spoken to there.
    pub(super) fn serves(&self, model: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|glob| matches(glob, model))
    }
}

fn matches(glob: &str, model: &str) -> bool {
    Glob::new(glob).is_ok_and(|glob| glob.compile_matcher().is_match(model))
}

impl Names {
    pub(super) fn read() -> Result<Self, String> {
        toml::from_str(include_str!("names.toml")).map_err(|error| error.to_string())
    }

    /// The kind of a model without a prefix.
    pub(super) fn of_model(&self, model: &str) -> Option<&Kind> {
        self.litellm.iter().find(|kind| kind.models.iter().any(|glob| matches(glob, model)))
    }

    pub(super) fn of_prefix(&self, prefix: &str) -> Option<&Kind> {
        self.litellm.iter().find(|kind| kind.prefix.iter().any(|known| known == prefix))
    }
}
