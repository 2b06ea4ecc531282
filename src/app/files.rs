//! Files of the operator and of the gateway: what is read at a start and a reload, and the secrets that a start makes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use secrecy::SecretString;

use crate::config::Config;
use crate::domain::problem::Problem;
use crate::domain::target::UnixMillis;
use crate::gateway::{Compiled, LocalModels};

/// Catalogue and policies that passed.
pub struct Checked {
    compiled: Compiled,
    policies: String,
}

/// Reads and compiles catalogue and policies, and starts nothing.
///
/// # Errors
/// All problems of all files.
pub fn compile(config: &Config) -> Result<Checked, Vec<Problem>> {
    Ok(Checked { compiled: Compiled::read(config)?, policies: policy_shown(config) })
}

/// Everything that a start would find wrong, without starting anything, and as much as could be read.
#[must_use]
pub fn check(config: &Config) -> (Checked, Vec<Problem>) {
    let (compiled, mut problems) = Compiled::examine(config);
    problems.extend(compiled.check_wires().err().into_iter().flatten());
    problems.extend(LocalModels::check(config).err().into_iter().flatten());
    (Checked { compiled, policies: policy_shown(config) }, problems)
}

impl Checked {
    /// What is no mistake and yet most likely not meant.
    #[must_use]
    pub fn warnings(&self, now: UnixMillis) -> Vec<Problem> {
        let Compiled { catalogue, policies, .. } = &self.compiled;
        let policies = policies.values().flat_map(|policy| policy.warnings(&**catalogue, now));
        catalogue.warnings(now).into_iter().chain(policies).collect()
    }

    /// The compiled files.
    #[must_use]
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// The compiled files, to be changed.
    #[must_use]
    pub fn into_compiled(self) -> Compiled {
        self.compiled
    }

    /// A few lines for a person.
    #[must_use]
    pub fn summary(&self) -> String {
        let catalogue = &self.compiled.catalogue;
        let configured = catalogue.targets().iter().filter(|t| t.configured).count();
        format!(
            "ok: {} providers, {} targets ({configured} with credentials), {} policies from {}",
            catalogue.providers().len(),
            catalogue.targets().len(),
            self.compiled.policies.len(),
            self.policies,
        )
    }
}

/// The policy file as shown to a person.
pub(super) fn policy_shown(config: &Config) -> String {
    match &config.policies_dir {
        Some(dir) if dir.join("default.toml").exists() => dir.join("default.toml").display().to_string(),
        Some(dir) => format!("{}, where no default.toml is (the built in one holds)", dir.display()),
        None => "built in (set policies.dir to edit)".to_owned(),
    }
}

/// Makes the data directory, readable by its owner only.
///
/// # Errors
/// It can't be made.
pub fn private_dir(dir: &Path) -> Result<(), String> {
    if dir.is_dir() {
        return Ok(());
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| format!("cannot make the data directory {}: {error}", dir.display()))
}

/// Reads a secret file, or makes it with 256 random bits, readable by its owner only.
pub(super) fn secret(path: &Path) -> Result<SecretString, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("cannot {what} {}: {error}", path.display());
    match fs::metadata(path) {
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
            Err(format!("{} can be read by others: run `chmod 600` on it", path.display()))
        }
        Ok(_) => {
            let text = fs::read_to_string(path).map_err(|error| failed("read", &error))?;
            let text = text.trim();
            if text.len() < 32 {
                return Err(format!(
                    "{} holds no secret of ours (too short); delete it to have a new one made",
                    path.display()
                ));
            }
            Ok(text.into())
        }
        Err(_) => {
            let mut random = [0_u8; 32];
            getrandom::fill(&mut random).map_err(|error| failed("make", &error))?;
            let text: String = random.iter().map(|b| format!("{b:02x}")).collect();
            let mut options = fs::OpenOptions::new();
            let mut file =
                options.write(true).create_new(true).mode(0o600).open(path).map_err(|e| failed("make", &e))?;
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| failed("write", &e))?;
            Ok(text.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_secret_is_made_once_private_and_random() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let first = secret(&a).unwrap();
        assert_eq!(first.expose_secret(), secret(&a).unwrap().expose_secret());
        assert_ne!(first.expose_secret(), secret(&b).unwrap().expose_secret());
        assert_eq!(fs::metadata(&a).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn weak_or_public_secrets_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs::write(&path, "sk-1234").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(secret(&path).unwrap_err().contains("too short"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(secret(&path).unwrap_err().contains("chmod 600"));
    }
}
