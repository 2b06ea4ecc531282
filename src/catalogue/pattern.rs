//! What policies name targets by: globs over `provider/model@endpoint`, or a family.

use globset::{Glob, GlobMatcher};

use crate::domain::target::Target;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct TargetPattern {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Family(String),
    /// Over the full name, endpoint included.
    Full(GlobMatcher),
    /// A pattern without `@` matches every endpoint.
    AnyEndpoint(GlobMatcher),
}

impl TargetPattern {
    /// Reads `family:deepseek-r1`, `local/*`, `openai/o1@eu`.
    ///
    /// # Errors
    /// A message for the one who wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let glob = |text: &str| {
            Glob::new(text).map(|g| g.compile_matcher()).map_err(|e| format!("`{text}` is no pattern: {}", e.kind()))
        };
        let kind = match text.strip_prefix("family:") {
            Some("") => return Err("`family:` needs a name".to_owned()),
            Some(family) => Kind::Family(family.to_owned()),
            None if !text.contains('/') => {
                return Err(format!("`{text}` is no target: write provider/model, provider/* or family:name"));
            }
            None if text.contains('@') => Kind::Full(glob(text)?),
            None => Kind::AnyEndpoint(glob(text)?),
        };
        Ok(Self { text: text.to_owned(), kind })
    }

    /// Whether a target is meant.
    #[must_use]
    pub fn matches(&self, target: &Target) -> bool {
        match &self.kind {
            Kind::Family(family) => target.family.as_deref() == Some(family),
            Kind::Full(glob) => glob.is_match(&*target.full_name),
            Kind::AnyEndpoint(glob) => glob.is_match(target.full_name.split('@').next().unwrap_or_default()),
        }
    }

    /// The pattern as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}
