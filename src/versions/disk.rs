//! The directory: reading and writing a set of files as a whole.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::PolicySet;
use crate::gateway::files::{self, POLICY_LOCK};

/// What can't be done with a path, in words.
fn failed(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

/// The writers' lock on a directory; readers share it. Held until it is dropped, by the death of the process too.
pub(super) struct Lock {
    dir: PathBuf,
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Waits for it.
    pub(super) fn take(dir: &Path) -> Result<Self, String> {
        let path = dir.join(POLICY_LOCK);
        let open = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = open.map_err(|error| failed("open", &path, &error))?;
        file.lock().map_err(|error| failed("lock", &path, &error))?;
        Ok(Self { dir: dir.to_path_buf(), path, file })
    }

    /// What lies in the directory.
    pub(super) fn read(&self) -> Result<PolicySet, String> {
        let told = |problems: Vec<crate::domain::problem::Problem>| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        files::tables(&self.dir).map(|files| PolicySet::of(&files)).map_err(told)
    }

    /// Whether a writer died in the middle of a set.
    pub(super) fn half_written(&self) -> bool {
        // A handle of its own: it starts at the beginning.
        File::open(&self.path).map_or(true, |file| files::mark(&file).is_some())
    }

    /// The directory holds a whole set again.
    pub(super) fn whole(&mut self) -> Result<(), String> {
        self.mark(None)
    }

    /// From now on the directory holds half of a set, whoever reads it; none = it no longer does.
    fn mark(&mut self, version: Option<i64>) -> Result<(), String> {
        let line = version.map(|version| format!("version {version} is being written\n")).unwrap_or_default();
        let mut put = || {
            self.file.set_len(0)?;
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(line.as_bytes())?;
            self.file.sync_all()
        };
        put().map_err(|error| failed("write", &self.path, &error))
    }

    /// Writes what is new of a set beside the files that it will replace. All that needs space on the disk is done here,
    /// where nothing has changed yet.
    pub(super) fn stage(&self, before: &PolicySet, after: PolicySet) -> Result<Staged, String> {
        let staged = Staged { before: before.clone(), after };
        for (name, text) in staged.differing() {
            let (path, draft) = (self.dir.join(name), self.draft(name));
            let there = fs::symlink_metadata(&path).ok();
            if there.as_ref().is_some_and(fs::Metadata::is_symlink) {
                return Err(format!("{} is a link: what it points to is somebody else's to change", path.display()));
            }
            let put = || {
                let mut file = File::create(&draft)?;
                file.write_all(text.as_bytes())?;
                if let Some(there) = &there {
                    file.set_permissions(there.permissions())?;
                }
                file.sync_all()
            };
            if let Err(error) = put() {
                self.clear(&staged);
                return Err(failed("write", &draft, &error));
            }
        }
        Ok(staged)
    }

    /// Makes the directory hold exactly what is staged. Each file is there whole or not at all; what is between the first
    /// and the last is marked.
    pub(super) fn commit(&mut self, staged: &Staged, version: i64) -> Result<(), String> {
        if self.read()? != staged.before {
            self.clear(staged);
            return Err(format!("the files in {} were edited at this very moment", self.dir.display()));
        }
        self.mark(Some(version))?;
        for (name, _) in staged.differing() {
            let path = self.dir.join(name);
            fs::rename(self.draft(name), &path).map_err(|error| failed("write", &path, &error))?;
        }
        for name in staged.before.files().keys().filter(|name| !staged.after.files().contains_key(*name)) {
            let path = self.dir.join(name);
            fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
        }
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(|error| failed("sync", &self.dir, &error))?;
        self.mark(None)
    }

    /// Removes drafts that will not be used.
    pub(super) fn clear(&self, staged: &Staged) {
        for name in staged.after.files().keys() {
            let _ = fs::remove_file(self.draft(name));
        }
    }

    fn draft(&self, name: &str) -> PathBuf {
        self.dir.join(format!(".{name}.tmp"))
    }
}

/// A set whose new files lie beside those that they will replace.
pub(super) struct Staged {
    before: PolicySet,
    after: PolicySet,
}

impl Staged {
    /// The files that differ.
    fn differing(&self) -> impl Iterator<Item = (&String, &String)> {
        self.after.files().iter().filter(|(name, text)| self.before.files().get(*name) != Some(text))
    }
}

/// Whether the directory holds something between the two sets, as a crash leaves it: each file is of one or the other.
pub(super) fn between(there: &PolicySet, before: &PolicySet, after: &PolicySet) -> bool {
    let names = [there, before, after].into_iter().flat_map(|set| set.files().keys());
    names.into_iter().all(|name| {
        let text = |set: &PolicySet| set.files().get(name).cloned();
        let found = text(there);
        found == text(before) || found == text(after)
    })
}
