//! Versions of the policies: what was in force when, by whose hand, and how to get it back.
//!
//! The directory stays the truth: whoever edits a file there is recorded as `disk` when the gateway takes it over. An
//! apply writes a whole set of files under a lock that readers share, so that nobody reads half of one. It notes in the
//! database what it is about to write, and in the lock that it is writing; after a crash the next start, reload or apply
//! sees from the two what was meant, and finishes it. Until then nobody reads the directory.

mod apply;
mod disk;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::catalogue::SourceFile;

pub use apply::{Applied, Apply, Refused, apply, drift, recover, undo, validate};
pub use table::{State, Version, Versions};

/// Most files of a set.
const MOST_FILES: usize = 200;
/// Most bytes of a set.
const MOST_BYTES: usize = 1 << 20;
/// Most files that a message names.
const MOST_NAMED: usize = 5;

/// The policy files of a directory, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySet(BTreeMap<String, String>);

impl PolicySet {
    /// A set that may be written: names are plain, and there is not too much of it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(files: BTreeMap<String, String>) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let good = |name: &&String| !name.starts_with('.') && name.ends_with(".toml") && name.chars().all(plain);
        if let Some(bad) = files.keys().find(|name| !good(name)) {
            return Err(format!(
                "`{bad}` is no name of a policy file: letters, digits, `-`, `_`, `.`, and .toml at the end"
            ));
        }
        let bytes: usize = files.values().map(String::len).sum();
        if files.is_empty() || files.len() > MOST_FILES || bytes > MOST_BYTES {
            return Err(format!("a set is 1 to {MOST_FILES} files of at most {MOST_BYTES} bytes together"));
        }
        Ok(Self(files))
    }

    /// The set of these files, whatever they are called.
    #[must_use]
    pub fn of(files: &[SourceFile]) -> Self {
        let name = |file: &SourceFile| file.name.rsplit('/').next().unwrap_or(&file.name).to_owned();
        Self(files.iter().map(|file| (name(file), file.text.clone())).collect())
    }

    /// Its files.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// The digest of names and texts, 32 hex digits.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut digest = Sha256::new();
        for part in self.0.iter().flat_map(|(name, text)| [name, text]) {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect()
    }

    /// What somebody did to the files that were there before.
    fn since(&self, before: &Self) -> String {
        let name = |name: &String, what: &str| format!("{name} {what}");
        let mut done: Vec<String> = Vec::new();
        for (file, text) in &self.0 {
            match before.0.get(file) {
                None => done.push(name(file, "added")),
                Some(old) if old != text => done.push(name(file, "edited")),
                Some(_) => {}
            }
        }
        done.extend(before.0.keys().filter(|file| !self.0.contains_key(*file)).map(|file| name(file, "removed")));
        match done.len() {
            0 => "policies as before; configuration or catalogue changed".to_owned(),
            n if n > MOST_NAMED => format!("{} and {} more", done[..MOST_NAMED].join(", "), n - MOST_NAMED),
            _ => done.join(", "),
        }
    }

    /// The files as they would be read from that directory.
    fn sources(&self, dir: &Path) -> Vec<SourceFile> {
        let source = |(name, text): (&String, &String)| SourceFile {
            name: dir.join(name).display().to_string(),
            text: text.clone(),
        };
        self.0.iter().map(source).collect()
    }
}

#[cfg(test)]
mod tests;
