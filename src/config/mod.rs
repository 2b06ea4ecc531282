//! Configuration: the file as written (`raw`), then as resolved. Resolution is pure; problems are all reported at once.

mod raw;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::problem::Problem;
use crate::domain::quantity::{parse_bytes, parse_duration};
use crate::shape;

/// The configuration in force. Field meanings and defaults: `deploy/stellwerk.example.toml`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where relative paths start: the directory of the file.
    pub base: PathBuf,
    /// Address of the data plane.
    pub listen: SocketAddr,
    /// Address of the admin plane.
    pub admin_listen: SocketAddr,
    /// Host names of the admin plane, beside `localhost` and addresses.
    pub admin_hosts: Vec<String>,
    /// Largest request body in bytes.
    pub max_body: usize,
    /// Longest wait for a request body.
    pub body_timeout: Duration,
    /// Most connections at once.
    pub max_connections: usize,
    /// Most requests at once.
    pub max_in_flight: usize,
    /// How long open answers may finish after a signal to stop.
    pub drain: Duration,
    /// Output limit where a dialect demands one and nobody set one.
    pub default_max_output: u64,
    /// Where the ledger, the keys and the secrets are.
    pub data_dir: PathBuf,
    /// Whether every batch of rows is synced to the disk as it is written.
    pub durable_power: bool,
    /// Days that decisions are kept in the ledger; 0 = none are written.
    pub decision_days: u32,
    /// Overlay of provider files.
    pub providers_dir: Option<PathBuf>,
    /// Policy files; none = the compiled-in ones.
    pub policies_dir: Option<PathBuf>,
    /// Local models to load.
    pub local: Vec<LocalModel>,
    /// Largest whole answer in bytes.
    pub max_answer: usize,
}

impl Config {
    /// Names of settings that differ and are taken at the start only.
    #[must_use]
    pub fn fixed_at_start(&self, other: &Self) -> Vec<&'static str> {
        let differs = [
            ("server.listen", self.listen != other.listen),
            ("server.max_connections", self.max_connections != other.max_connections),
            ("server.max_in_flight", self.max_in_flight != other.max_in_flight),
            ("server.drain", self.drain != other.drain),
            ("admin.listen", self.admin_listen != other.admin_listen),
            ("data.dir", self.data_dir != other.data_dir),
            ("data.durability", self.durable_power != other.durable_power),
            ("ledger.decisions_days", self.decision_days != other.decision_days),
        ];
        differs.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}

/// A local model to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalModel {
    /// The model's id in the `local` provider.
    pub name: String,
    /// The GGUF file.
    pub path: PathBuf,
    /// Threads; none = one less than the cores.
    pub threads: Option<u32>,
    /// Context in tokens.
    pub context: Option<u32>,
    /// Requests that may wait.
    pub queue: Option<usize>,
}

/// Reads and resolves configuration text. Relative paths are taken from `base`.
///
/// # Errors
/// All problems, with file and line.
pub fn parse(file: &str, text: &str, base: &Path) -> Result<Config, Vec<Problem>> {
    let (config, problems) = examine(file, text, base);
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// The same, and with problems as much of the configuration as can be read: what it names can then be checked as well.
#[must_use]
pub fn examine(file: &str, text: &str, base: &Path) -> (Config, Vec<Problem>) {
    let mut problems = Vec::new();
    let raw = shape::read_document(file, text, &mut problems).unwrap_or_default();
    resolve(raw, Check { file, text, problems }, base)
}

/// The JSON Schema of the configuration file.
#[must_use]
pub fn schema() -> serde_json::Value {
    shape::schema::<raw::Config>("The configuration of Stellwerk: stellwerk.toml")
}

fn resolve(raw: raw::Config, mut check: Check<'_>, base: &Path) -> (Config, Vec<Problem>) {
    let config = Config {
        base: base.to_path_buf(),
        listen: check.address("server.listen", &raw.server.listen),
        admin_listen: check.address("admin.listen", &raw.admin.listen),
        admin_hosts: raw.admin.hosts,
        max_body: check.bytes("server.max_body", &raw.server.max_body),
        body_timeout: check.duration("server.body_timeout", &raw.server.body_timeout),
        max_connections: check.positive("server.max_connections", raw.server.max_connections),
        max_in_flight: check.positive("server.max_in_flight", raw.server.max_in_flight),
        drain: check.duration("server.drain", &raw.server.drain),
        default_max_output: raw.server.default_max_output.max(1),
        data_dir: base.join(&raw.data.dir),
        durable_power: check.durability(&raw.data.durability),
        decision_days: check.days("ledger.decisions_days", raw.ledger.decisions_days),
        providers_dir: raw.catalogue.dir.map(|dir| base.join(dir)),
        policies_dir: raw.policies.dir.map(|dir| base.join(dir)),
        local: raw.local.model.into_iter().map(|model| check.local(model, base)).collect(),
        max_answer: check.bytes("server.max_answer", &raw.server.max_answer),
    };
    check.problems.sort_by_key(|problem| (problem.line, problem.column));
    (config, check.problems)
}

/// Collects problems; a bad value leaves a harmless stand-in that is never used.
struct Check<'a> {
    file: &'a str,
    text: &'a str,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, path: &str, value: &str, message: String) {
        self.problems.push(Problem::at_value(self.file, self.text, path, value, message));
    }

    fn address(&mut self, path: &str, value: &str) -> SocketAddr {
        value.parse().unwrap_or_else(|_| {
            self.problem(path, value, format!("`{value}` is not an address such as 127.0.0.1:8080"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn bytes(&mut self, path: &str, value: &str) -> usize {
        parse_bytes(value).unwrap_or_else(|message| {
            self.problem(path, value, message);
            0
        })
    }

    fn duration(&mut self, path: &str, value: &str) -> Duration {
        parse_duration(value).unwrap_or_else(|message| {
            self.problem(path, value, message);
            Duration::ZERO
        })
    }

    fn positive(&mut self, path: &str, value: usize) -> usize {
        if value == 0 {
            self.problem(path, "0", format!("`{path}` must be at least 1"));
        }
        value
    }

    fn days(&mut self, path: &str, value: u32) -> u32 {
        if value > 3_660 {
            self.problem(path, &value.to_string(), format!("`{path}` must be at most 3660, which is ten years"));
        }
        value
    }

    fn durability(&mut self, value: &str) -> bool {
        if !matches!(value, "process" | "power") {
            self.problem("data.durability", value, format!("`{value}` is neither `process` nor `power`"));
        }
        value == "power"
    }

    fn local(&mut self, raw: raw::LocalModel, base: &Path) -> LocalModel {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        if raw.name.is_empty() || raw.name.len() > 80 || !raw.name.chars().all(allowed) {
            let message = format!("`{}` is no model name: 1 to 80 of a-z, 0-9, `.`, `_`, `-`", raw.name);
            self.problem("local.model.name", &raw.name, message);
        }
        LocalModel {
            name: raw.name,
            path: base.join(raw.path),
            threads: raw.threads,
            context: raw.context,
            queue: raw.queue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_a_valid_configuration_on_loopback() {
        let config = parse("stellwerk.toml", "", Path::new("/etc/stellwerk")).unwrap();
        assert!(config.listen.ip().is_loopback() && config.admin_listen.ip().is_loopback());
        assert_eq!(config.max_body, 32 << 20);
        assert_eq!(config.data_dir, Path::new("/etc/stellwerk/var"));
    }

    #[test]
    fn all_problems_are_reported_with_their_lines() {
        let text = "[server]\nlisten = \"here\"\nmax_body = \"many\"\n\n[data]\ndurability = \"maybe\"\n";
        let problems = parse("x.toml", text, Path::new(".")).unwrap_err();
        let lines: Vec<_> = problems.iter().map(|p| p.line).collect();
        assert_eq!(lines, [2, 3, 6], "{problems:?}");
    }

    #[test]
    fn a_table_that_cant_be_read_hides_no_other() {
        let text =
            "[server]\nlisen = \"127.0.0.1:1\"\n\n[admin]\nlisten = 5\n\n[data]\ndurability = \"maybe\"\n\n[sever]\n";
        let problems = parse("x.toml", text, Path::new(".")).unwrap_err();
        let lines: Vec<_> = problems.iter().map(|p| p.line).collect();
        assert_eq!(lines, [2, 5, 8, 10], "{problems:?}");
        assert_eq!(problems[3].hint.as_deref(), Some("did you mean `server`?"));
    }

    #[test]
    fn an_unknown_member_is_a_problem() {
        let problems = parse("x.toml", "[server]\nlisen = \"127.0.0.1:1\"\n", Path::new(".")).unwrap_err();
        assert_eq!(problems[0].line, 2, "{problems:?}");
    }
}
