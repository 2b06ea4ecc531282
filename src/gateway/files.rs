//! The files that a snapshot is made of, as they lie in their directories: never half of a set that is being written.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::catalogue::SourceFile;
use crate::domain::problem::Problem;

/// The lock in the directory of policies: shared by those who read it, held alone by who writes a set of files. While
/// files are being exchanged it holds a line that says so, which outlives a writer that dies.
pub const POLICY_LOCK: &str = ".stellwerk.lock";
/// Longest such line that is read.
const MARK: u64 = 200;

/// The policy files of a directory. Waits while a set of them is being written.
///
/// # Errors
/// What can't be read; or the directory holds half of a set, whose writer died.
pub fn policies(dir: &Path) -> Result<Vec<SourceFile>, Vec<Problem>> {
    let path = dir.join(POLICY_LOCK);
    // Where nobody has ever applied anything, or nothing can be locked, nobody can be writing either.
    let lock = File::open(&path).ok().filter(|file| file.lock_shared().is_ok());
    if let Some(mark) = lock.as_ref().and_then(mark) {
        let message = format!(
            "the files here are half of a set: {mark}. A start, a reload or `stellwerk policy apply` puts it right; to take \
             them as they are, remove this file"
        );
        return Err(vec![Problem::new(path.display().to_string(), message)]);
    }
    tables(dir)
}

/// What the lock says of a set that is being written; none = it has been written to its end.
#[must_use]
pub fn mark(lock: &File) -> Option<String> {
    let mut text = String::new();
    let read = lock.take(MARK).read_to_string(&mut text);
    let text = text.trim();
    // What can't be read is no proof that all is well.
    if read.is_err() {
        Some("its writer's note can't be read".to_owned())
    } else {
        Some(text.to_owned()).filter(|t| !t.is_empty())
    }
}

/// All `*.toml` files of a directory, by name, as they are.
///
/// # Errors
/// What can't be read.
pub fn tables(dir: &Path) -> Result<Vec<SourceFile>, Vec<Problem>> {
    let failed = |path: &Path, error: std::io::Error| {
        vec![Problem::new(path.display().to_string(), format!("cannot be read: {error}"))]
    };
    let mut paths: Vec<_> = fs::read_dir(dir)
        .map_err(|error| failed(dir, error))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
        files.push(SourceFile { name: path.display().to_string(), text });
    }
    Ok(files)
}
