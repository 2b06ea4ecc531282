//! Virtual keys: kept as HMAC-SHA-256 under a pepper that lies in a file of its own, so that the database alone tells
//! nothing. A running gateway holds them in a concurrent map and reads changes by their sequence number.

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, named_params};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::format;
use crate::domain::target::UnixMillis;
use crate::store::{Store, StoreError};

type Digest = [u8; 32];

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The key's id.
    pub key_id: Arc<str>,
    /// The tenant: caches and reports never cross it.
    pub tenant: Arc<str>,
    /// The team.
    pub team: Arc<str>,
    /// Tags for policies and reports.
    pub tags: Arc<[Arc<str>]>,
    /// The policy of the key, else of its team, else of its tenant; none = `default`.
    pub policy: Option<Arc<str>>,
    /// What tenant, team and key require; all of them hold.
    pub requirements: Arc<[Arc<str>]>,
    expires: Option<UnixMillis>,
}

/// A key to be made.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// Its tenant.
    pub tenant: String,
    /// Its team.
    pub team: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its policy.
    pub policy: Option<String>,
    /// What all its requests require.
    pub requirement: Option<String>,
    /// How long it is good.
    pub ttl: Option<Duration>,
}

impl NewKey {
    /// Whether its names can be shown, and told apart where tenant and team stand together.
    ///
    /// # Errors
    /// Which name can't, and why.
    pub fn check(&self) -> Result<(), String> {
        check_name("name", &self.name)?;
        check_scope(&self.tenant, Some(&self.team))?;
        self.tags.iter().try_for_each(|tag| check_name("tag", tag))
    }
}

/// Whether a tenant's and a team's name can be used.
///
/// # Errors
/// Which can't, and why.
pub fn check_scope(tenant: &str, team: Option<&str>) -> Result<(), String> {
    for (what, name) in [("tenant", Some(tenant)), ("team", team)] {
        let Some(name) = name else { continue };
        check_name(what, name)?;
        // Scopes are found by `tenant/team`.
        if name.contains('/') {
            return Err(format!("a {what} has no `/` in its name"));
        }
    }
    Ok(())
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    const LONGEST: usize = 100;
    let good = !name.trim().is_empty() && name.chars().count() <= LONGEST && !name.chars().any(char::is_control);
    if good { Ok(()) } else { Err(format!("a {what} is one line of 1 to {LONGEST} characters")) }
}

/// A key as listed: never its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub id: Arc<str>,
    /// What it is for.
    pub name: String,
    /// Its tenant.
    pub tenant: String,
    /// Its team.
    pub team: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its policy.
    pub policy: Option<String>,
    /// What all its requests require.
    pub requirement: Option<String>,
    /// When it was made.
    pub created: UnixMillis,
    /// When it ends.
    pub expires: Option<UnixMillis>,
    /// When it was revoked.
    pub revoked: Option<UnixMillis>,
}

/// The keys that are good.
pub struct KeyRing {
    pepper: Hmac<Sha256>,
    keys: papaya::HashMap<Digest, Arc<Principal>>,
    seen: AtomicI64,
    /// Tenants that ever had a key.
    tenants: AtomicI64,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

const PEPPER: &str = "pepper";

impl KeyRing {
    /// Opens the keys of a data directory; makes the pepper on the first start.
    ///
    /// # Errors
    /// The pepper or the database can't be read.
    pub fn open(store: &Store, dir: &Path) -> Result<Self, StoreError> {
        let pepper = pepper(&dir.join(PEPPER))?;
        let mac = Hmac::<Sha256>::new_from_slice(&pepper).map_err(|error| StoreError::Row(error.to_string()))?;
        let ring =
            Self { pepper: mac, keys: papaya::HashMap::new(), seen: AtomicI64::new(-1), tenants: AtomicI64::new(0) };
        ring.refresh(store)?;
        Ok(ring)
    }

    /// The principal of a key. Malformed, unknown, revoked and expired keys are all alike: none.
    #[must_use]
    pub fn authenticate(&self, key: &str) -> Option<Arc<Principal>> {
        if !format::well_formed(key) {
            return None;
        }
        let keys = self.keys.pin();
        let principal = keys.get(&self.digest(key))?;
        principal.expires.is_none_or(|expires| now() < expires).then(|| Arc::clone(principal))
    }

    /// Whether there has never been more than one tenant: what lies at providers is then nobody else's.
    #[must_use]
    pub fn one_tenant(&self) -> bool {
        self.tenants.load(Ordering::Acquire) <= 1
    }

    /// Learns of changes since the last look.
    ///
    /// # Errors
    /// The database can't be read; known keys go on working.
    pub fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        store.look(|connection| self.take_changes(connection))
    }

    fn take_changes(&self, connection: &Connection) -> Result<(), StoreError> {
        let seen = self.seen.load(Ordering::Acquire);
        let mut statement = connection.prepare_cached(
            "SELECT k.*, coalesce(k.policy, m.policy, n.policy) AS in_force, m.requirement AS team_requires,
                    n.requirement AS tenant_requires
             FROM virtual_key k
             LEFT JOIN scope m ON m.kind = 'team' AND m.name = k.tenant || '/' || k.team
             LEFT JOIN scope n ON n.kind = 'tenant' AND n.name = k.tenant
             WHERE k.seq > ?1 ORDER BY k.seq",
        )?;
        let mut rows = statement.query([seen])?;
        let keys = self.keys.pin();
        let mut newest = seen;
        while let Some(row) = rows.next()? {
            let digest: Digest = row.get("digest")?;
            if row.get::<_, Option<i64>>("revoked_ms")?.is_some() {
                keys.remove(&digest);
            } else {
                keys.insert(digest, Arc::new(principal(row)?));
            }
            newest = newest.max(row.get("seq")?);
        }
        if newest > seen {
            let tenants =
                connection.query_row("SELECT count(DISTINCT tenant) FROM virtual_key", [], |row| row.get(0))?;
            self.tenants.store(tenants, Ordering::Release);
        }
        self.seen.fetch_max(newest, Ordering::AcqRel);
        Ok(())
    }

    /// Makes a key. Its secret is nowhere but in the answer.
    ///
    /// # Errors
    /// The database can't be written, or there is no randomness.
    pub fn create(&self, store: &Store, new: &NewKey) -> Result<(SecretString, KeyInfo), StoreError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(StoreError::Random)?;
        let secret = format::render(random);
        let digest = self.digest(&secret);
        let created = now();
        let expires =
            new.ttl.map(|ttl| UnixMillis(created.0.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))));
        // Ids are shown and logged: they come from the digest, so they tell nothing of the secret.
        let id: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let id: Arc<str> = format!("key_{id}").into();
        let mut connection = store.connect()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT INTO virtual_key VALUES (:id, :digest, :name, :tenant, :team, :tags, :policy, :requirement, :created,
             :expires, NULL, (SELECT coalesce(max(seq), 0) + 1 FROM virtual_key))",
            named_params! {
                ":id": &*id,
                ":digest": digest.as_slice(),
                ":name": new.name,
                ":tenant": new.tenant,
                ":team": new.team,
                ":tags": serde_json::to_string(&new.tags).unwrap_or_default(),
                ":policy": new.policy,
                ":requirement": new.requirement,
                ":created": created.0,
                ":expires": expires.map(|at| at.0),
            },
        )?;
        transaction.commit()?;
        self.refresh(store)?;
        let NewKey { name, tenant, team, tags, policy, requirement, .. } = new.clone();
        let info = KeyInfo { id, name, tenant, team, tags, policy, requirement, created, expires, revoked: None };
        Ok((secret.into(), info))
    }

    /// All keys, the newest first.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn list(&self, store: &Store) -> Result<Vec<KeyInfo>, StoreError> {
        let connection = store.connect()?;
        let mut statement = connection.prepare("SELECT * FROM virtual_key ORDER BY created_ms DESC, id")?;
        let rows = statement.query_map([], info)?;
        rows.collect::<Result<_, _>>().map_err(StoreError::from)
    }

    /// One key by its id.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn by_id(&self, id: &str) -> Option<Arc<Principal>> {
        let keys = self.keys.pin();
        keys.values().find(|principal| &*principal.key_id == id).map(Arc::clone)
    }

    /// Revokes a key for good; whether there was such an active key.
    ///
    /// # Errors
    /// The database can't be written.
    pub fn revoke(&self, store: &Store, id: &str) -> Result<bool, StoreError> {
        let mut connection = store.connect()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let changed = transaction.execute(
            "UPDATE virtual_key SET revoked_ms = ?1, seq = (SELECT max(seq) + 1 FROM virtual_key)
             WHERE id = ?2 AND revoked_ms IS NULL",
            (now().0, id),
        )?;
        transaction.commit()?;
        self.refresh(store)?;
        Ok(changed == 1)
    }

    /// On the first start: makes a key and writes it to a file that only its owner can read.
    ///
    /// # Errors
    /// The file or the database can't be written.
    pub fn ensure_first_key(&self, store: &Store, path: &Path) -> Result<(), StoreError> {
        let connection = store.connect()?;
        let any: Option<i64> =
            connection.query_row("SELECT 1 FROM virtual_key LIMIT 1", [], |row| row.get(0)).optional()?;
        if any.is_some() {
            return Ok(());
        }
        let new =
            NewKey { name: "first key".into(), tenant: "default".into(), team: "default".into(), ..NewKey::default() };
        let (secret, _) = self.create(store, &new)?;
        private_file(path, secret.expose_secret().as_bytes())
    }

    fn digest(&self, key: &str) -> Digest {
        let mut mac = self.pepper.clone();
        mac.update(key.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

fn principal(row: &Row<'_>) -> Result<Principal, rusqlite::Error> {
    let text = |name: &str| row.get::<_, Option<String>>(name);
    let shared = |name: &str| row.get::<_, String>(name).map(Arc::<str>::from);
    let requirements = [text("tenant_requires")?, text("team_requires")?, text("requirement")?];
    Ok(Principal {
        key_id: shared("id")?,
        tenant: shared("tenant")?,
        team: shared("team")?,
        tags: tags(row)?.into_iter().map(Arc::from).collect(),
        policy: text("in_force")?.map(Arc::from),
        requirements: requirements.into_iter().flatten().map(Arc::from).collect(),
        expires: row.get::<_, Option<i64>>("expires_ms")?.map(UnixMillis),
    })
}

fn info(row: &Row<'_>) -> Result<KeyInfo, rusqlite::Error> {
    Ok(KeyInfo {
        id: row.get::<_, String>("id")?.into(),
        name: row.get("name")?,
        tenant: row.get("tenant")?,
        team: row.get("team")?,
        tags: tags(row)?,
        policy: row.get("policy")?,
        requirement: row.get("requirement")?,
        created: UnixMillis(row.get("created_ms")?),
        expires: row.get::<_, Option<i64>>("expires_ms")?.map(UnixMillis),
        revoked: row.get::<_, Option<i64>>("revoked_ms")?.map(UnixMillis),
    })
}

fn tags(row: &Row<'_>) -> Result<Vec<String>, rusqlite::Error> {
    let text: String = row.get("tags")?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

fn pepper(path: &Path) -> Result<Vec<u8>, StoreError> {
    match std::fs::read(path) {
        Ok(pepper) if pepper.len() == 32 => Ok(pepper),
        Ok(_) => Err(StoreError::Row(format!("{} is not a pepper of 32 bytes", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut random = [0; 32];
            getrandom::fill(&mut random).map_err(StoreError::Random)?;
            private_file(path, &random)?;
            Ok(random.to_vec())
        }
        Err(error) => Err(StoreError::File(path.to_owned(), error)),
    }
}

pub(super) fn private_file(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    use std::io::Write;
    let failed = |error| StoreError::File(path.to_owned(), error);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
    // The mode holds for a new file only.
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)
}

pub(super) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Sets what a team (`tenant/team`) or a tenant brings to all its keys, and has running gateways read these keys anew.
///
/// # Errors
/// The database can't be written.
pub fn set_scope(
    connection: &mut Connection,
    kind: Scope,
    name: &str,
    policy: Option<&str>,
    requirement: Option<&str>,
) -> Result<(), StoreError> {
    let (kind, keys) = match kind {
        Scope::Team => ("team", "tenant || '/' || team = ?1"),
        Scope::Tenant => ("tenant", "tenant = ?1"),
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("INSERT OR REPLACE INTO scope VALUES (?1, ?2, ?3, ?4)", (kind, name, policy, requirement))?;
    transaction.execute(
        &format!("UPDATE virtual_key SET seq = seq + (SELECT max(seq) FROM virtual_key) WHERE {keys}"),
        [name],
    )?;
    transaction.commit()?;
    Ok(())
}

/// What a policy or requirement is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A team of a tenant.
    Team,
    /// A tenant.
    Tenant,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Durability;

    fn opened() -> (tempfile::TempDir, Store, KeyRing) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("x.db"), Durability::Process).unwrap();
        let ring = KeyRing::open(&store, dir.path()).unwrap();
        (dir, store, ring)
    }

    fn new(team: &str) -> NewKey {
        NewKey { name: "n".into(), tenant: "t".into(), team: team.into(), ..NewKey::default() }
    }

    #[test]
    fn a_key_works_until_it_is_revoked_also_for_another_process() {
        let (dir, store, ring) = opened();
        let running = KeyRing::open(&store, dir.path()).unwrap();
        let (secret, info) = ring.create(&store, &new("a")).unwrap();
        let secret = secret.expose_secret();
        assert!(running.authenticate(secret).is_none());
        running.refresh(&store).unwrap();
        assert_eq!(&*running.authenticate(secret).unwrap().team, "a");
        assert!(ring.revoke(&store, &info.id).unwrap());
        assert!(!ring.revoke(&store, &info.id).unwrap(), "once");
        running.refresh(&store).unwrap();
        assert!(running.authenticate(secret).is_none());
    }

    #[test]
    fn names_can_be_shown_and_told_apart() {
        let named = |name: &str, tenant: &str, team: &str| {
            NewKey { name: name.into(), tenant: tenant.into(), ..new(team) }.check()
        };
        assert_eq!(named("web shop", "Büro", "a-1"), Ok(()));
        for (name, tenant, team) in
            [("", "t", "a"), (" ", "t", "a"), ("x\ny", "t", "a"), ("x", "", "a"), ("x", "t", "")]
        {
            assert!(named(name, tenant, team).is_err(), "{name:?} {tenant:?} {team:?}");
        }
        assert!(named(&"x".repeat(101), "t", "a").is_err());
        // `a/b` + `c` and `a` + `b/c` would be one scope.
        assert!(named("x", "a/b", "c").is_err() && named("x", "a", "b/c").is_err());
        assert!(NewKey { tags: vec!["a\tb".into()], ..new("a") }.check().is_err());
    }

    #[test]
    fn an_expired_key_is_no_key() {
        let (_dir, store, ring) = opened();
        let (secret, _) = ring.create(&store, &NewKey { ttl: Some(Duration::ZERO), ..new("a") }).unwrap();
        assert!(ring.authenticate(secret.expose_secret()).is_none());
    }

    #[test]
    fn neither_the_secret_nor_a_usable_hash_is_in_the_database() {
        let (dir, store, ring) = opened();
        let (secret, _) = ring.create(&store, &new("a")).unwrap();
        let secret = secret.expose_secret();
        for file in ["x.db", "x.db-wal"] {
            let bytes = std::fs::read(dir.path().join(file)).unwrap_or_default();
            assert!(memchr::memmem::find(&bytes, &secret.as_bytes()[7..]).is_none(), "{file}");
        }
        let hash: String = ring.digest(secret).iter().map(|b| format!("{b:02x}")).collect();
        assert!(ring.authenticate(&hash).is_none());
    }

    #[test]
    fn the_first_key_is_private_and_made_once() {
        let (dir, store, ring) = opened();
        let path = dir.path().join("first-key");
        std::fs::write(&path, "left over, for all to read").unwrap();
        ring.ensure_first_key(&store, &path).unwrap();
        let key = std::fs::read_to_string(&path).unwrap();
        assert!(ring.authenticate(&key).is_some());
        for file in [&path, &dir.path().join(PEPPER)] {
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        ring.ensure_first_key(&store, &path).unwrap();
        assert_eq!(ring.list(&store).unwrap().len(), 1);
    }

    #[test]
    fn team_and_tenant_bring_policy_and_requirements_and_all_add_up() {
        let (_dir, store, ring) = opened();
        let (secret, _) = ring.create(&store, &NewKey { requirement: Some("training=no".into()), ..new("a") }).unwrap();
        let mut connection = store.connect().unwrap();
        set_scope(&mut connection, Scope::Team, "t/a", None, Some("processing=EU")).unwrap();
        set_scope(&mut connection, Scope::Tenant, "t", Some("eu-only"), Some("retention_days=0")).unwrap();
        ring.refresh(&store).unwrap();
        let principal = ring.authenticate(secret.expose_secret()).unwrap();
        assert_eq!(principal.policy.as_deref(), Some("eu-only"));
        let requirements: Vec<&str> = principal.requirements.iter().map(|r| &**r).collect();
        assert_eq!(requirements, ["retention_days=0", "processing=EU", "training=no"]);
    }
}
