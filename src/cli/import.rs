//! `stellwerk import`: another gateway's configuration as catalogue overlay and policy.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Failed, say};
use crate::catalogue::Catalogue;
use crate::gateway::now;
use crate::import::{self, Imported, MAX_SOURCE};
use crate::policy::Policy;

const HELP: &str = "\
Writes DIR/providers/*.toml, DIR/policies/default.toml, the DIR/schemas that editors complete them by, and DIR/report.txt,
and prints the report: a line for each member that is `left out`, that `differs` in meaning, that is `to do`, or that is
`always so` here. Secrets are never copied: the report names the variable to set. Nothing is called, and nothing in force
changes.

Exit code: 0 written, 1 the file can't be read, or files are in the way (see --force), 2 wrong command line.

Examples:
  stellwerk import litellm config.yaml
  stellwerk import openrouter request.json --out elsewhere
  stellwerk check --policies moved/policies --providers moved/providers";

/// Turn another gateway's configuration into provider files and a policy.
#[derive(Debug, Subcommand)]
pub(super) enum Import {
    /// The `config.yaml` of a LiteLLM proxy.
    Litellm(Source),
    /// What requests to OpenRouter say of models and providers: the JSON of one, a list of them, or presets.
    Openrouter(Source),
}

/// What is read, and where it goes.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Source {
    /// The file to read.
    file: PathBuf,
    /// Where `providers/`, `policies/`, `schemas/` and `report.txt` are written; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "moved")]
    out: PathBuf,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
    /// The day that the files name as the day of the import, as 2026-11-29; without it today.
    #[arg(long, value_name = "DAY")]
    day: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(super) fn run(self) -> Result<ExitCode, Failed> {
        match self {
            Self::Litellm(source) => source.run(import::litellm::import),
            Self::Openrouter(source) => source.run(import::openrouter::import),
        }
    }
}

impl Source {
    fn run(self, read: fn(&str, &str, &str) -> Result<Imported, String>) -> Result<ExitCode, Failed> {
        let shown = self.file.display().to_string();
        let failed = |what: &str| Failed::Message(format!("{shown}: {what}"));
        let text = source(&self.file).map_err(|error| failed(&error))?;
        let name = self.file.file_name().map_or_else(|| shown.clone(), |name| name.to_string_lossy().into_owned());
        let day = self.day.clone().unwrap_or_else(today);
        let imported = read(&text, &name, &day).map_err(|error| failed(&error))?;
        let report = imported.report(&name);
        self.write(&imported, &report)?;
        if self.json {
            let note = |note: &import::Note| {
                serde_json::json!({
                    "kind": note.kind.name(), "line": note.line, "place": note.place, "why": note.why,
                })
            };
            let files: Vec<&String> = imported.files.iter().map(|(name, _)| name).collect();
            let notes: Vec<_> = imported.notes.iter().map(note).collect();
            say(&serde_json::json!({ "files": files, "routes": imported.routes, "notes": notes }).to_string());
            return Ok(ExitCode::SUCCESS);
        }
        let out = self.out.display();
        let files = imported.files.iter().filter(|(name, _)| name.starts_with("providers/")).count();
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        say(&format!(
            "{report}{} and {} in {out}; the report is in {out}/report.txt\n\
             stellwerk check --policies {out}/policies --providers {out}/providers",
            count(imported.routes, "route"),
            count(files, "provider file"),
        ));
        Ok(ExitCode::SUCCESS)
    }

    /// Writes all files, or none where one is in the way.
    fn write(&self, imported: &Imported, report: &str) -> Result<(), Failed> {
        let report = ("report.txt".to_owned(), report.to_owned());
        let schemas = schemas();
        // A schema is the program's own: one that is there as it would be written is in nobody's way.
        let same = |(name, text): &&(String, String)| {
            fs::read_to_string(self.out.join(name)).is_ok_and(|there| there == *text)
        };
        let schemas = schemas.iter().filter(|schema| !same(schema));
        let files: Vec<&(String, String)> = imported.files.iter().chain([&report]).chain(schemas).collect();
        let there: Vec<String> = files
            .iter()
            .map(|(name, _)| self.out.join(name))
            .filter(|path| path.symlink_metadata().is_ok())
            .map(|path| path.display().to_string())
            .collect();
        if !there.is_empty() && !self.force {
            let message = format!("{}: there already; nothing is written without --force", there.join(", "));
            return Err(Failed::Message(message));
        }
        let failed = |path: &Path, error: std::io::Error| format!("cannot write {}: {error}", path.display());
        for dir in ["providers", "policies", "schemas"] {
            let dir = self.out.join(dir);
            fs::create_dir_all(&dir).map_err(|error| failed(&dir, error))?;
        }
        for (name, text) in files {
            let path = self.out.join(name);
            fs::write(&path, text).map_err(|error| failed(&path, error))?;
        }
        Ok(())
    }
}

/// What the first lines of the written files name.
fn schemas() -> [(String, String); 2] {
    [("policy", Policy::schema()), ("provider", Catalogue::schema())]
        .map(|(name, schema)| (format!("schemas/{name}.schema.json"), format!("{schema:#}\n")))
}

/// The text of a source, within the limit.
fn source(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = String::new();
    let most = u64::try_from(MAX_SOURCE).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_string(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    Ok(text)
}

fn today() -> String {
    let at = jiff::Timestamp::from_millisecond(now().0).unwrap_or_default();
    at.strftime("%Y-%m-%d").to_string()
}
