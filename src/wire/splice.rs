//! Top-level members of a JSON object as byte spans.

/// Where the top-level members are.
#[derive(Clone, Debug, Default)]
pub struct Members;
