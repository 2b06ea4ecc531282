//! Where something stood in the client's request, in the client's own words.

/// The paths of a turn or a tool, of its parts and of its calls, as its client would write them: canonical turns are
/// counted and grouped otherwise. No part of what is said: any two are equal, so that requests compare by their meaning.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The whole; none = nobody knows.
    pub path: Option<Box<str>>,
    /// Each part of the content, in order.
    pub parts: Vec<Box<str>>,
    /// Each call, in order.
    pub calls: Vec<Box<str>>,
}

impl Origin {
    /// What stood there.
    #[must_use]
    pub fn at(path: &str) -> Self {
        Self { path: Some(path.into()), ..Self::default() }
    }
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}
