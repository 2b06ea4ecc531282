//! The shipped provider files, compiled in. A test holds the list against the directory.

use super::SourceFile;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$((concat!("providers/", $name), include_str!(concat!("../../providers/", $name)))),*]
    };
}

const FILES: &[(&str, &str)] = files![];

/// All shipped files.
#[must_use]
pub fn embedded() -> Vec<SourceFile> {
    FILES.iter().map(|(name, text)| SourceFile { name: (*name).to_owned(), text: (*text).to_owned() }).collect()
}
