//! The shipped policies, compiled in.

use crate::catalogue::SourceFile;

/// All shipped policy files.
#[must_use]
pub fn embedded() -> Vec<SourceFile> {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    vec![
        file("policies/default.toml", include_str!("../../policies/default.toml")),
        file("policies/eu-only.toml", include_str!("../../policies/eu-only.toml")),
    ]
}
