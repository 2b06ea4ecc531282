//! Keys of providers that tenants bring.
//!
//! Sealed in the database with AES-256-GCM under a master key that lies in a file beside it, or comes from the
//! environment: the database alone tells nothing. Tenant, provider, id and mode are bound to each sealed key, so that a row
//! can't be given to another tenant. A running gateway reads changes by their sequence number, as it does virtual keys.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rusqlite::{Connection, Row, TransactionBehavior, named_params};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::keys::{check_scope, now, private_file};
use crate::domain::target::UnixMillis;
use crate::store::{Store, StoreError};

/// The variable that may hold the master keys instead of the file.
pub const MASTER_KEY_ENV: &str = "STELLWERK_MASTER_KEY";
/// The file beside the database that holds them.
const MASTER_KEY_FILE: &str = "master-key";
/// Largest key of a provider.
const LONGEST: usize = 8 * 1024;

/// What went wrong with a tenant's key.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key.
    #[error("{0}")]
    Master(String),
    /// A sealed key can't be opened.
    #[error("the key {id} of tenant `{tenant}` for `{provider}` can't be opened: {why}")]
    Sealed {
        /// The key's id.
        id: String,
        /// Its tenant.
        tenant: String,
        /// Its provider.
        provider: String,
        /// Why.
        why: String,
    },
    /// What is to be added is no key, or no tenant's.
    #[error("{0}")]
    Invalid(String),
}

impl From<rusqlite::Error> for VaultError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// When a tenant's own key is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnMode {
    /// Before the gateway's own keys, which are taken where the tenant's may not be used just now.
    #[default]
    Prefer,
    /// Alone: the gateway's own keys are never taken for the tenant's requests to this provider.
    Only,
}

impl OwnMode {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefer => "prefer",
            Self::Only => "only",
        }
    }

    /// By its name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Prefer, Self::Only].into_iter().find(|mode| mode.name() == name)
    }
}

/// A key to be kept.
#[derive(Debug)]
pub struct NewTenantKey {
    /// Whose it is.
    pub tenant: String,
    /// Where it is good.
    pub provider: String,
    /// When it is used.
    pub mode: OwnMode,
    /// The key.
    pub secret: SecretString,
}

/// A key as listed: never the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantKeyInfo {
    /// Its id, also its name in logs.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// Where it is good.
    pub provider: String,
    /// When it is used.
    pub mode: OwnMode,
    /// The id of the master key that seals it.
    pub master: String,
    /// When it was added.
    pub created: UnixMillis,
}

/// A key that has been opened; without it where that failed.
#[derive(Debug)]
pub struct TenantKey {
    /// What is known of it.
    pub info: TenantKeyInfo,
    /// The key.
    pub secret: Option<SecretString>,
}

/// All keys that are kept, and what is wrong with some.
#[derive(Debug, Default)]
pub struct Opened {
    /// The keys.
    pub keys: Vec<TenantKey>,
    /// Why some could not be opened.
    pub broken: Vec<VaultError>,
}

/// Where tenants' keys are kept.
pub struct Vault {
    store: Store,
    dir: PathBuf,
    /// Master keys from the environment.
    given: Option<SecretString>,
    seen: AtomicI64,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A master key.
struct Master {
    /// Told beside what it seals; it tells nothing of the key.
    id: String,
    key: LessSafeKey,
}

impl Vault {
    /// The vault of a database and its directory. `given`: master keys from the environment.
    #[must_use]
    pub fn new(store: Store, dir: PathBuf, given: Option<SecretString>) -> Self {
        Self { store, dir, given, seen: AtomicI64::new(-1) }
    }

    /// Keeps a key. Makes the master key, where this is the first.
    ///
    /// # Errors
    /// It is no key, the master key can't be used, or the database can't be written.
    pub fn add(&self, new: &NewTenantKey) -> Result<TenantKeyInfo, VaultError> {
        check_scope(&new.tenant, None).map_err(VaultError::Invalid)?;
        let secret = new.secret.expose_secret();
        if secret.is_empty() || secret.len() > LONGEST || secret.chars().any(|c| c.is_control() || c.is_whitespace()) {
            let what = format!("a key is one line of at most {LONGEST} bytes without spaces");
            return Err(VaultError::Invalid(what));
        }
        let masters = self.masters(true)?;
        let Some(master) = masters.first() else { return Err(self.no_master()) };
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(StoreError::Random)?;
        let info = TenantKeyInfo {
            id: format!("cred_{}", hex(&random)),
            tenant: new.tenant.clone(),
            provider: new.provider.clone(),
            mode: new.mode,
            master: master.id.clone(),
            created: now(),
        };
        let (nonce, sealed) = seal(master, &info, secret)?;
        let mut connection = self.store.connect()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT INTO tenant_credential VALUES (:id, :tenant, :provider, :mode, :master, :nonce, :sealed, :created,
             NULL, (SELECT coalesce(max(seq), 0) + 1 FROM tenant_credential))",
            named_params! {
                ":id": info.id,
                ":tenant": info.tenant,
                ":provider": info.provider,
                ":mode": info.mode.name(),
                ":master": info.master,
                ":nonce": nonce.as_slice(),
                ":sealed": sealed,
                ":created": info.created.0,
            },
        )?;
        transaction.commit()?;
        Ok(info)
    }

    /// All keys that are kept, or those of a tenant; never the keys themselves.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn list(&self, tenant: Option<&str>) -> Result<Vec<TenantKeyInfo>, VaultError> {
        let connection = self.store.connect()?;
        let mut rows = connection.prepare(
            "SELECT * FROM tenant_credential WHERE removed_ms IS NULL AND (?1 IS NULL OR tenant = ?1)
             ORDER BY tenant, provider, created_ms, id",
        )?;
        let rows = rows.query_map([tenant], info)?;
        rows.collect::<Result<_, _>>().map_err(VaultError::from)
    }

    /// Forgets a key: what was sealed is gone from its row. Whether there was such a key.
    ///
    /// # Errors
    /// The database can't be written.
    pub fn remove(&self, id: &str) -> Result<bool, VaultError> {
        let mut connection = self.store.connect()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let changed = transaction.execute(
            "UPDATE tenant_credential SET removed_ms = ?1, nonce = x'', sealed = x'',
                    seq = (SELECT max(seq) + 1 FROM tenant_credential)
             WHERE id = ?2 AND removed_ms IS NULL",
            (now().0, id),
        )?;
        transaction.commit()?;
        Ok(changed == 1)
    }

    /// All keys, opened, if anything has changed since the last look that went well; none = nothing has.
    ///
    /// # Errors
    /// The database or the master key can't be read. What can't be opened stands in the answer.
    pub fn changes(&self) -> Result<Option<Opened>, VaultError> {
        self.store.look(|connection| self.changed(connection))
    }

    fn changed(&self, connection: &Connection) -> Result<Option<Opened>, VaultError> {
        let newest: i64 = connection
            .prepare_cached("SELECT coalesce(max(seq), 0) FROM tenant_credential")?
            .query_row([], |row| row.get(0))?;
        if newest == self.seen.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut rows = connection.prepare("SELECT * FROM tenant_credential WHERE removed_ms IS NULL ORDER BY seq")?;
        let rows = rows
            .query_map([], |row| Ok((info(row)?, row.get::<_, Vec<u8>>("nonce")?, row.get::<_, Vec<u8>>("sealed")?)))?;
        let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
        let masters = if rows.is_empty() { Vec::new() } else { self.masters(false)? };
        let mut opened = Opened::default();
        for (info, nonce, sealed) in rows {
            let secret = match self.open(&masters, &info, &nonce, sealed) {
                Ok(secret) => Some(secret),
                Err(error) => {
                    opened.broken.push(error);
                    None
                }
            };
            opened.keys.push(TenantKey { info, secret });
        }
        self.seen.store(newest, Ordering::Release);
        Ok(Some(opened))
    }

    /// Seals every key anew under a fresh master key, which takes the place of all older ones. For master keys that lie in
    /// the file; those of the environment are its owner's to change (the first of several seals, the others still open).
    ///
    /// # Errors
    /// A key can't be opened, or something can't be written: nothing has changed then.
    pub fn rotate(&self) -> Result<usize, VaultError> {
        let old = self.masters(false)?;
        let fresh = if self.given.is_none() { Some(fresh()?) } else { None };
        let text = fresh.as_ref().map(|fresh| hex(fresh));
        let master = match &fresh {
            Some(key) => master(key)?,
            None => self.masters(false)?.into_iter().next().ok_or_else(|| self.no_master())?,
        };
        if let Some(text) = &text {
            // Until all are sealed anew both must be there.
            let kept = std::fs::read_to_string(self.file()).map_err(|error| self.unreadable(&error))?;
            private_file(&self.file(), format!("{text}\n{kept}").as_bytes())?;
        }
        let mut connection = self.store.connect()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut sealed_anew = Vec::new();
        {
            let mut rows = transaction.prepare("SELECT * FROM tenant_credential WHERE removed_ms IS NULL")?;
            let mut rows = rows.query([])?;
            while let Some(row) = rows.next()? {
                let known = info(row)?;
                let secret = self.open(&old, &known, &row.get::<_, Vec<u8>>("nonce")?, row.get("sealed")?)?;
                let (nonce, sealed) = seal(&master, &known, secret.expose_secret())?;
                sealed_anew.push((known.id, nonce, sealed));
            }
        }
        for (id, nonce, sealed) in &sealed_anew {
            transaction.execute(
                "UPDATE tenant_credential SET master = ?1, nonce = ?2, sealed = ?3,
                        seq = (SELECT max(seq) + 1 FROM tenant_credential) WHERE id = ?4",
                (&master.id, nonce.as_slice(), sealed, id),
            )?;
        }
        transaction.commit()?;
        if let Some(text) = text {
            private_file(&self.file(), format!("{text}\n").as_bytes())?;
        }
        Ok(sealed_anew.len())
    }

    fn open(
        &self,
        masters: &[Master],
        info: &TenantKeyInfo,
        nonce: &[u8],
        mut sealed: Vec<u8>,
    ) -> Result<SecretString, VaultError> {
        let failed = |why: String| VaultError::Sealed {
            id: info.id.clone(),
            tenant: info.tenant.clone(),
            provider: info.provider.clone(),
            why,
        };
        let Some(master) = masters.iter().find(|master| master.id == info.master) else {
            let known: Vec<&str> = masters.iter().map(|master| master.id.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(failed(format!(
                "it is sealed with the master key {}, and {} holds {known}; put that master key back, or remove the key",
                info.master,
                self.place()
            )));
        };
        let changed = || failed("its row or its master key has been changed".to_owned());
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| changed())?;
        let plain = master.key.open_in_place(nonce, Aad::from(bound(info)), &mut sealed).map_err(|_| changed())?;
        let text = std::str::from_utf8(plain).map_err(|_| changed())?;
        let secret = SecretString::from(text);
        sealed.fill(0);
        Ok(secret)
    }

    /// The master keys, the one that seals first.
    fn masters(&self, make: bool) -> Result<Vec<Master>, VaultError> {
        let text = match &self.given {
            Some(given) => given.expose_secret().to_owned(),
            None => match std::fs::metadata(self.file()) {
                Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
                    let file = self.file();
                    let told = format!("{} can be read by others: run `chmod 600` on it", file.display());
                    return Err(VaultError::Master(told));
                }
                Ok(_) => std::fs::read_to_string(self.file()).map_err(|error| self.unreadable(&error))?,
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(self.unreadable(&error)),
                // A new one would open nothing of what is there.
                Err(_) if !make || !self.list(None)?.is_empty() => return Ok(Vec::new()),
                Err(_) => {
                    let text = hex(&fresh()?);
                    private_file(&self.file(), text.as_bytes())?;
                    text
                }
            },
        };
        let words = text.split([',', ' ', '\n', '\r', '\t']).filter(|word| !word.is_empty());
        let keys = words.map(|word| {
            let told = || VaultError::Master(format!("{} is no master key of 64 hex digits", self.place()));
            master(&unhex(word).ok_or_else(told)?)
        });
        keys.collect()
    }

    fn file(&self) -> PathBuf {
        self.dir.join(MASTER_KEY_FILE)
    }

    /// Where the master keys come from, for people.
    fn place(&self) -> String {
        if self.given.is_some() { MASTER_KEY_ENV.to_owned() } else { self.file().display().to_string() }
    }

    fn no_master(&self) -> VaultError {
        let place = self.place();
        VaultError::Master(format!("tenants' keys are kept, but {place} holds no master key: put it back"))
    }

    fn unreadable(&self, error: &std::io::Error) -> VaultError {
        VaultError::Master(format!("{} can't be read: {error}", self.place()))
    }
}

fn master(key: &[u8; 32]) -> Result<Master, VaultError> {
    let id = Sha256::new().chain_update("stellwerk master key ").chain_update(key).finalize();
    let unbound = UnboundKey::new(&AES_256_GCM, key);
    let unbound = unbound.map_err(|_| VaultError::Master("the master key can't be used".to_owned()))?;
    Ok(Master { id: hex(&id[..4]), key: LessSafeKey::new(unbound) })
}

fn fresh() -> Result<[u8; 32], VaultError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(StoreError::Random)?;
    Ok(key)
}

/// Seals with a random nonce: NIST SP 800-38D allows 2^32 of them for one key, and a key of a tenant takes one.
fn seal(master: &Master, info: &TenantKeyInfo, secret: &str) -> Result<([u8; NONCE_LEN], Vec<u8>), VaultError> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(StoreError::Random)?;
    let mut sealed = secret.as_bytes().to_vec();
    let bound = Aad::from(bound(info));
    let done = master.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut sealed);
    done.map_err(|_| VaultError::Master("the key can't be sealed".to_owned()))?;
    Ok((nonce, sealed))
}

/// What belongs to a sealed key and can't be changed without it: each part with its length.
fn bound(info: &TenantKeyInfo) -> Vec<u8> {
    let mut all = Vec::new();
    for part in ["stellwerk tenant credential 1", &info.id, &info.tenant, &info.provider, info.mode.name()] {
        all.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        all.extend_from_slice(part.as_bytes());
    }
    all
}

fn info(row: &Row<'_>) -> Result<TenantKeyInfo, rusqlite::Error> {
    // What is not known is the stricter one.
    let mode = OwnMode::by_name(&row.get::<_, String>("mode")?).unwrap_or(OwnMode::Only);
    Ok(TenantKeyInfo {
        id: row.get("id")?,
        tenant: row.get("tenant")?,
        provider: row.get("provider")?,
        mode,
        master: row.get("master")?,
        created: UnixMillis(row.get("created_ms")?),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Durability;

    const KEY: &str = "sk-tenant-0123456789-abcdefghij";

    fn vault() -> (tempfile::TempDir, Vault) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("x.db"), Durability::Process).unwrap();
        let vault = Vault::new(store, dir.path().to_owned(), None);
        (dir, vault)
    }

    fn new(tenant: &str, mode: OwnMode) -> NewTenantKey {
        NewTenantKey { tenant: tenant.into(), provider: "alpha".into(), mode, secret: KEY.into() }
    }

    fn opened(vault: &Vault) -> Vec<(String, OwnMode, String)> {
        let opened = vault.changes().unwrap().unwrap();
        assert!(opened.broken.is_empty(), "{:?}", opened.broken);
        let one = |key: TenantKey| (key.info.tenant, key.info.mode, key.secret.unwrap().expose_secret().to_owned());
        opened.keys.into_iter().map(one).collect()
    }

    /// Everything that lies in the directory.
    fn bytes(dir: &std::path::Path) -> Vec<u8> {
        let files = std::fs::read_dir(dir).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
        files.flatten().collect()
    }

    #[test]
    fn a_key_is_kept_listed_and_forgotten_and_no_file_holds_it() {
        let (dir, vault) = vault();
        assert!(vault.changes().unwrap().unwrap().keys.is_empty());
        assert!(!dir.path().join(MASTER_KEY_FILE).exists(), "no master key before there is something to seal");
        let info = vault.add(&new("t", OwnMode::Only)).unwrap();
        assert_eq!(opened(&vault), [("t".to_owned(), OwnMode::Only, KEY.to_owned())]);
        assert!(vault.changes().unwrap().is_none(), "nothing new");
        assert_eq!(vault.list(Some("t")).unwrap(), std::slice::from_ref(&info));
        assert!(vault.list(Some("u")).unwrap().is_empty());
        assert!(!bytes(dir.path()).windows(KEY.len()).any(|window| window == KEY.as_bytes()));
        let mode = std::fs::metadata(dir.path().join(MASTER_KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(vault.remove(&info.id).unwrap());
        assert!(!vault.remove(&info.id).unwrap());
        assert!(opened(&vault).is_empty());
        let connection = vault.store.connect().unwrap();
        let left: i64 =
            connection.query_row("SELECT sum(length(sealed)) FROM tenant_credential", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "what was sealed is gone");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let (_dir, vault) = vault();
        for secret in ["", "two words", "line\nbreak", &"x".repeat(LONGEST + 1)] {
            let bad = NewTenantKey { secret: secret.into(), ..new("t", OwnMode::Prefer) };
            assert!(matches!(vault.add(&bad), Err(VaultError::Invalid(_))), "{secret}");
        }
        assert!(vault.add(&new("a/b", OwnMode::Prefer)).is_err());
    }

    #[test]
    fn a_row_can_t_be_given_to_another_tenant_provider_or_mode() {
        for change in
            ["tenant = 'u'", "provider = 'beta'", "mode = 'prefer'", "id = 'cred_0'", "sealed = substr(sealed, 2)"]
        {
            let (_dir, vault) = vault();
            vault.add(&new("t", OwnMode::Only)).unwrap();
            let connection = vault.store.connect().unwrap();
            connection.execute(&format!("UPDATE tenant_credential SET {change}"), []).unwrap();
            let opened = vault.changes().unwrap().unwrap();
            assert!(opened.keys[0].secret.is_none(), "{change}");
            assert!(opened.broken[0].to_string().contains("has been changed"), "{}", opened.broken[0]);
        }
    }

    #[test]
    fn a_wrong_master_key_is_told_clearly_and_a_lost_one_is_not_made_anew() {
        let (dir, vault) = vault();
        let info = vault.add(&new("t", OwnMode::Only)).unwrap();
        let file = dir.path().join(MASTER_KEY_FILE);
        private_file(&file, "ab".repeat(32).as_bytes()).unwrap();
        let told = vault.changes().unwrap().unwrap().broken[0].to_string();
        for part in [info.id.as_str(), "tenant `t`", "`alpha`", &info.master, "put that master key back"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        private_file(&file, b"short").unwrap();
        vault.seen.store(-1, Ordering::Release);
        assert!(vault.changes().unwrap_err().to_string().contains("64 hex digits"));
        std::fs::remove_file(&file).unwrap();
        let told = vault.add(&new("u", OwnMode::Only)).unwrap_err().to_string();
        assert!(told.contains("holds no master key"), "{told}");
        assert!(!file.exists());
        std::fs::write(&file, "ab".repeat(32)).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(vault.add(&new("u", OwnMode::Only)).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn master_keys_are_exchanged_in_the_file_and_in_the_environment() {
        let (dir, vault) = vault();
        let before = vault.add(&new("t", OwnMode::Only)).unwrap();
        let old = std::fs::read_to_string(dir.path().join(MASTER_KEY_FILE)).unwrap();
        assert_eq!(vault.rotate().unwrap(), 1);
        let after = vault.list(None).unwrap().remove(0);
        assert_ne!(before.master, after.master);
        assert_eq!(opened(&vault), [("t".to_owned(), OwnMode::Only, KEY.to_owned())]);
        let text = std::fs::read_to_string(dir.path().join(MASTER_KEY_FILE)).unwrap();
        assert!(!text.contains(&old) && text.trim().len() == 64, "the old one is gone");
        let both = format!("{},{}", "cd".repeat(32), text.trim());
        let given = Vault::new(vault.store.clone(), "/nowhere".into(), Some(both.into()));
        assert_eq!(opened(&given).len(), 1, "the second still opens");
        assert_eq!(given.rotate().unwrap(), 1);
        let alone = Vault::new(vault.store.clone(), "/nowhere".into(), Some("cd".repeat(32).into()));
        assert_eq!(opened(&alone).len(), 1, "the first seals");
    }
}
