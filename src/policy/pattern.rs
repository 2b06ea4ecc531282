//! Target patterns: `provider/model[@endpoint]` with globs, or `family:name[@endpoint]`.
//!
//! Without `@endpoint` every endpoint is meant. A `*` also matches `/`, since model ids hold slashes.

use globset::{Glob, GlobMatcher};

use crate::domain::target::Target;

/// Which targets are meant.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Box<str>,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Named {
        provider: Word,
        /// The whole text after the provider as a model id: ids may hold an `@` of their own.
        model: Word,
        /// The same split at its last `@`.
        at_endpoint: Option<(Word, Word)>,
    },
    Family {
        family: Word,
        endpoint: Option<Word>,
    },
}

/// A literal where possible, so that most comparisons are of plain text.
#[derive(Clone, Debug)]
enum Word {
    Literal(Box<str>),
    Glob(GlobMatcher),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let what = if let Some(family) = text.strip_prefix("family:") {
            match family.rsplit_once('@') {
                Some((family, endpoint)) => {
                    What::Family { family: Word::parse(family)?, endpoint: Some(Word::parse(endpoint)?) }
                }
                None => What::Family { family: Word::parse(family)?, endpoint: None },
            }
        } else {
            let (provider, model) = text.split_once('/').ok_or_else(|| {
                format!(
                    "`{text}` is not a target: write provider/model, provider/*, provider/model@endpoint or family:name"
                )
            })?;
            let at_endpoint = match model.rsplit_once('@') {
                Some((model, endpoint)) if !model.is_empty() => Some((Word::parse(model)?, Word::parse(endpoint)?)),
                _ => None,
            };
            What::Named { provider: Word::parse(provider)?, model: Word::parse(model)?, at_endpoint }
        };
        Ok(Self { text: text.into(), what })
    }

    /// Whether the target is meant.
    #[must_use]
    pub fn matches(&self, target: &Target) -> bool {
        match &self.what {
            What::Named { provider, model, at_endpoint } => {
                provider.matches(&target.provider)
                    && (model.matches(&target.model)
                        || at_endpoint
                            .as_ref()
                            .is_some_and(|(m, e)| m.matches(&target.model) && e.matches(&target.endpoint)))
            }
            What::Family { family, endpoint } => {
                target.family.as_deref().is_some_and(|f| family.matches(f))
                    && endpoint.as_ref().is_none_or(|e| e.matches(&target.endpoint))
            }
        }
    }

    /// The provider, where the pattern names exactly one and any of its models.
    #[must_use]
    pub fn any_of_provider(&self) -> Option<&str> {
        match &self.what {
            What::Named { provider: Word::Literal(provider), model: Word::Glob(_), .. } => Some(provider),
            What::Named { .. } | What::Family { .. } => None,
        }
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Word {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a part of the pattern is empty".to_owned());
        }
        if text.contains(['*', '?', '[', '{', '\\']) {
            let glob = Glob::new(text).map_err(|e| format!("`{text}` is not a pattern: {}", e.kind()))?;
            return Ok(Self::Glob(glob.compile_matcher()));
        }
        Ok(Self::Literal(text.into()))
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => **literal == *text,
            Self::Glob(glob) => glob.is_match(text),
        }
    }
}
