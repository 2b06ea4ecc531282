//! Provider files of an overlay: what the catalogue knows of a provider, with other addresses, keys and models.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::emit;
use super::notes::{Kind, Notes};
use crate::catalogue;

/// The shipped provider files as tables.
pub(super) struct Shipped(BTreeMap<String, Table>);

impl Shipped {
    pub(super) fn read() -> Result<Self, String> {
        let mut tables = BTreeMap::new();
        for file in catalogue::embedded() {
            let table: Table = file.text.parse().map_err(|error| format!("{}: {error}", file.name))?;
            if let Some(name) = table.get("name").and_then(Value::as_str) {
                tables.insert(name.to_owned(), table.clone());
            }
        }
        Ok(Self(tables))
    }

    pub(super) fn get(&self, provider: &str) -> Option<&Table> {
        self.0.get(provider)
    }

    /// All with their names.
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &Table)> {
        self.0.iter()
    }

    /// The variables of a provider's keys.
    pub(super) fn envs(&self, provider: &str) -> Vec<&str> {
        let keys = self.get(provider).and_then(|table| table.get("keys")?.as_array());
        keys.into_iter().flatten().filter_map(|key| key.get("env")?.as_str()).collect()
    }

    pub(super) fn endpoints(&self, provider: &str) -> Vec<&Table> {
        tables(self.get(provider), "endpoint")
    }

    /// A model of a provider, by its id.
    pub(super) fn model(&self, provider: &str, id: &str) -> Option<&Table> {
        tables(self.get(provider), "model").into_iter().find(|model| text(model, "id") == Some(id) && id != "*")
    }
}

pub(super) fn tables<'a>(table: Option<&'a Table>, member: &str) -> Vec<&'a Table> {
    let list = table.and_then(|table| table.get(member)?.as_array());
    list.into_iter().flatten().filter_map(Value::as_table).collect()
}

pub(super) fn text<'a>(table: &'a Table, member: &str) -> Option<&'a str> {
    table.get(member).and_then(Value::as_str)
}

/// Whether something of a file holds at an endpoint: it names it, or none.
pub(super) fn at_endpoint(table: &Table, endpoint: &str) -> bool {
    let only = table.get("endpoints").and_then(Value::as_array);
    only.is_none_or(|only| only.iter().any(|name| name.as_str() == Some(endpoint)))
}

/// A credential, by its variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub env: String,
    pub secret_env: Option<String>,
    pub session_env: Option<String>,
    pub grant: Option<&'static str>,
    pub weight: u32,
    /// Requests and tokens that it may take in a minute.
    pub rpm: Option<u64>,
    pub tpm: Option<u64>,
}

impl Key {
    pub(super) fn of(env: &str) -> Self {
        Self { env: env.to_owned(), secret_env: None, session_env: None, grant: None, weight: 1, rpm: None, tpm: None }
    }

    pub(super) fn table(&self) -> Value {
        let mut table = Table::new();
        table.insert("env".into(), self.env.as_str().into());
        let more = [("secret_env", &self.secret_env), ("session_env", &self.session_env)];
        for (name, value) in more {
            if let Some(value) = value {
                table.insert(name.into(), value.as_str().into());
            }
        }
        if let Some(grant) = self.grant {
            table.insert("grant".into(), grant.into());
        }
        if self.weight != 1 {
            table.insert("weight".into(), i64::from(self.weight).into());
        }
        for (name, limit) in [("rpm", self.rpm), ("tpm", self.tpm)] {
            if let Some(limit) = limit.and_then(|limit| i64::try_from(limit).ok()) {
                table.insert(name.into(), limit.into());
            }
        }
        Value::Table(table)
    }
}

/// What sets a provider of the overlay apart from the shipped one that it is made after.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Own {
    /// The shipped provider.
    pub base: String,
    /// Its address; none = that of the shipped provider's first endpoint.
    pub url: Option<String>,
    pub region: Option<String>,
    /// Its keys; none = those of the shipped provider.
    pub keys: Vec<Key>,
    /// The scheme that stands for the shipped one.
    pub auth: Option<Table>,
    pub headers: BTreeMap<String, String>,
}

/// A provider file of the overlay.
#[derive(Clone, Debug)]
pub(super) struct OwnFile {
    pub name: String,
    pub own: Own,
    /// The source's places that it is made of.
    pub places: Vec<String>,
    pub models: Vec<Table>,
}

/// The moment and the source of an import, for what a file says of where its facts come from.
pub(super) struct Provenance<'a> {
    pub source: &'a str,
    pub tool: &'a str,
    pub today: toml::value::Datetime,
}

impl Own {
    /// The endpoint: the shipped one's facts hold at its own host and nowhere else.
    pub(super) fn endpoint(&self, shipped: &Shipped, from: &Provenance<'_>) -> Table {
        let known = shipped.endpoints(&self.base);
        let base = |endpoint: &Table| text(endpoint, "base_url").unwrap_or_default().trim_end_matches('/').to_owned();
        let Some(url) = &self.url else {
            return known.first().map(|endpoint| (*endpoint).clone()).unwrap_or_default();
        };
        // In a region, what a model's name says decides where it runs: no facts of an address hold.
        let known = if self.region.is_some() { Vec::new() } else { known };
        let same = known.iter().find(|endpoint| base(endpoint) == *url);
        let near = || known.iter().find(|endpoint| !host(url).contains('$') && host(&base(endpoint)) == host(url));
        if let Some(endpoint) = same.or_else(near) {
            let mut endpoint = (*endpoint).clone();
            if same.is_none() {
                endpoint.insert("base_url".into(), url.as_str().into());
                endpoint.remove("also");
            }
            return endpoint;
        }
        let mut endpoint = Table::new();
        endpoint.insert("name".into(), "own".into());
        endpoint.insert("base_url".into(), url.as_str().into());
        if let Some(region) = &self.region {
            endpoint.insert("region".into(), region.as_str().into());
        }
        let http = url.starts_with("http://") || (url.starts_with("${") && self.lenient(shipped));
        if http {
            endpoint.insert("allow_http".into(), true.into());
        }
        for (name, value) in [("guarantee", "unknown"), ("retention_days", "unknown"), ("training", "unknown")] {
            endpoint.insert(name.into(), value.into());
        }
        let source = format!("not known: imported from {}; say here what is true of it", from.tool);
        endpoint.insert("source".into(), source.into());
        endpoint.insert("checked".into(), Value::Datetime(from.today));
        endpoint
    }

    /// Whether the shipped file allows plain HTTP.
    fn lenient(&self, shipped: &Shipped) -> bool {
        shipped.endpoints(&self.base).iter().any(|e| e.get("allow_http").and_then(Value::as_bool) == Some(true))
    }

    /// Whether the operating company is that of the shipped provider: the address is of its domain.
    fn operated_alike(&self, shipped: &Shipped) -> bool {
        let Some(url) = &self.url else { return true };
        let domain = |url: &str| {
            let host = host(url);
            let labels: Vec<&str> = host.rsplit('.').take(2).collect();
            (labels.len() == 2 && !host.ends_with('}')).then(|| labels.join("."))
        };
        let own = domain(url);
        let known = shipped.endpoints(&self.base);
        own.is_some() && known.iter().any(|e| text(e, "base_url").is_some_and(|base| domain(base) == own))
    }
}

/// The host of an address, without its port.
pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    host.rsplit_once(':').map_or(host, |(host, _)| host)
}

impl OwnFile {
    /// What somebody should write into the file.
    pub(super) fn gaps(&self, shipped: &Shipped, from: &Provenance<'_>, path: &str, notes: &mut Notes) {
        if self.own.endpoint(shipped, from).get("processing").is_none() {
            let why = "where this endpoint processes requests is not known, so requirements on the place refuse it: say what is true of it";
            notes.at(Kind::ToDo, 0, path, why);
        }
        if self.models.iter().any(|model| model.get("price").is_none()) {
            notes.at(Kind::ToDo, 0, path, "some models have no price: their requests will be recorded as unpriced");
        }
    }

    pub(super) fn text(&self, shipped: &Shipped, from: &Provenance<'_>) -> String {
        let mut table = Table::new();
        let base = shipped.get(&self.own.base).cloned().unwrap_or_default();
        for member in ["dialect", "auth", "docs", "quirks", "token"] {
            if let Some(value) = base.get(member) {
                table.insert(member.into(), value.clone());
            }
        }
        if self.own.operated_alike(shipped) {
            for member in ["operator", "parent"] {
                if let Some(value) = base.get(member) {
                    table.insert(member.into(), value.clone());
                }
            }
        }
        table.insert("name".into(), self.name.as_str().into());
        let title = text(&base, "title").unwrap_or(&self.own.base);
        table.insert("title".into(), format!("{title}, as imported ({})", self.name).into());
        if let Some(auth) = &self.own.auth {
            table.insert("auth".into(), Value::Table(auth.clone()));
        }
        let keys = if self.own.keys.is_empty() {
            base.get("keys").cloned()
        } else {
            Some(Value::Array(self.own.keys.iter().map(Key::table).collect()))
        };
        let open = table.get("auth").and_then(|auth| auth.get("scheme")?.as_str()) == Some("none");
        if let Some(keys) = keys.filter(|_| !open) {
            table.insert("keys".into(), keys);
        }
        if !self.own.keys.iter().any(|key| key.grant.is_some()) && !self.own.keys.is_empty() {
            table.remove("token");
        }
        let mut endpoint = self.own.endpoint(shipped, from);
        if !self.own.headers.is_empty() {
            let mut headers = endpoint.get("headers").and_then(Value::as_table).cloned().unwrap_or_default();
            headers.extend(self.own.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())));
            endpoint.insert("headers".into(), Value::Table(headers));
        }
        table.insert("endpoint".into(), Value::Array(vec![Value::Table(endpoint)]));
        let models = self.models.iter().cloned().map(Value::Table).collect();
        table.insert("model".into(), Value::Array(models));
        let places = self.places.join(", ");
        let head = emit::schema("provider");
        format!("{head}# Imported from {} ({}): {places}\n{}", from.source, from.tool, emit::document(&table))
    }
}
