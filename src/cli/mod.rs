//! The command line: data on stdout, logs on stderr, `--json` where there is data.

mod advise;
mod backtest;
mod banner;
mod check;
mod credentials;
mod explain;
mod import;
mod keys;
mod past;
mod policy;
mod report;
mod running;
mod schema;
mod serve;
mod since;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, LocalModel};
use crate::domain::problem::Problem;

/// A multi-provider LLM routing gateway: normalise, decide, account.
#[derive(Debug, Parser)]
#[command(name = "stellwerk", version, about)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Where things are")]
struct Common {
    /// Configuration file; without it `stellwerk.toml` beside the working directory, if there is one.
    #[arg(long, global = true, env = "STELLWERK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the ledger, the keys and the secrets are.
    #[arg(long, global = true, env = "STELLWERK_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Policy files, instead of `policies.dir` of the configuration.
    #[arg(long, global = true, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Overlay of provider files, instead of `catalogue.dir` of the configuration.
    #[arg(long, global = true, value_name = "DIR")]
    providers: Option<PathBuf>,
    /// A local model to serve, `NAME=FILE.gguf`; may be given several times.
    #[arg(long = "model", global = true, value_name = "NAME=FILE", value_parser = local_model)]
    models: Vec<LocalModel>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the gateway.
    Serve(serve::Serve),
    /// Check config, catalogue and policies; report all problems at once.
    Check(check::Check),
    /// Print the JSON Schema of a file that people edit.
    Schema(schema::Schema),
    /// Show how a request would be or was decided, and why.
    Explain(Box<explain::Explain>),
    /// Work with policies.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Turn another gateway's configuration into provider files and a policy, and say what could not be carried over.
    #[command(subcommand)]
    Import(import::Import),
    /// Say which requests could have gone to a cheaper admitted target, and what is not known.
    Advise(advise::Advise),
    /// Read the ledger.
    #[command(subcommand)]
    Report(report::Report),
    /// Create, list and revoke virtual keys.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Keep, list and forget keys of providers that tenants bring.
    #[command(subcommand)]
    Credentials(credentials::Credentials),
    /// The worker process of the embedded runtime; started by the gateway itself.
    #[command(hide = true)]
    LocalWorker(crate::local::WorkerArgs),
}

/// Why a command failed, as told on stderr.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Message(String),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
}

impl Failed {
    fn into_lines(self) -> Vec<String> {
        match self {
            Self::Message(message) => vec![message],
            Self::Problems(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<String> for Failed {
    fn from(message: String) -> Self {
        Self::Message(message)
    }
}

impl From<Vec<Problem>> for Failed {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Problems(problems)
    }
}

/// Runs the command line; the exit code is 0, 1 for a failure, 2 for a wrong command line.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Serve(command) => command.run(&cli.common),
        Command::Check(command) => command.run(&cli.common),
        Command::Schema(command) => Ok(command.run()),
        Command::Explain(command) => command.run(&cli.common),
        Command::Policy(command) => command.run(&cli.common),
        Command::Import(command) => command.run(),
        Command::Advise(command) => command.run(&cli.common),
        Command::Report(command) => command.run(&cli.common),
        Command::Keys(command) => command.run(&cli.common),
        Command::Credentials(command) => command.run(&cli.common),
        Command::LocalWorker(args) => return crate::local::worker_main(args),
    };
    match result {
        Ok(code) => code,
        Err(failed) => {
            say_error(&failed.to_string());
            ExitCode::FAILURE
        }
    }
}

impl Common {
    /// The configuration in force: the file, then the command line over it.
    fn load(&self) -> Result<Config, Failed> {
        let (config, problems) = self.examine()?;
        if problems.is_empty() { Ok(config) } else { Err(problems.into()) }
    }

    /// The same, and with problems as much of it as can be read.
    fn examine(&self) -> Result<(Config, Vec<Problem>), Failed> {
        let (file, text, base) = match self.file() {
            Some(path) => {
                let text =
                    std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
                let base = path
                    .parent()
                    .filter(|p| !p.as_os_str().is_empty())
                    .map_or_else(|| PathBuf::from("."), PathBuf::from);
                (path.display().to_string(), text, base)
            }
            None => ("built-in defaults".to_owned(), String::new(), PathBuf::from(".")),
        };
        let (mut config, problems) = config::examine(&file, &text, &base);
        if let Some(dir) = &self.data_dir {
            config.data_dir.clone_from(dir);
        }
        config.policies_dir = self.policies.clone().or(config.policies_dir);
        config.providers_dir = self.providers.clone().or(config.providers_dir);
        config.local.retain(|model| self.models.iter().all(|given| given.name != model.name));
        config.local.extend(self.models.iter().cloned());
        Ok((config, problems))
    }

    /// The configuration file, if there is one.
    fn file(&self) -> Option<PathBuf> {
        let beside = PathBuf::from("stellwerk.toml");
        self.config.clone().or_else(|| beside.exists().then_some(beside))
    }
}

fn local_model(text: &str) -> Result<LocalModel, String> {
    let (name, path) = text.split_once('=').ok_or("must be NAME=FILE.gguf")?;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 80 || !name.chars().all(allowed) {
        return Err("the name must be 1 to 80 of a-z, 0-9, `.`, `_`, `-`".to_owned());
    }
    Ok(LocalModel { name: name.to_owned(), path: path.into(), threads: None, context: None, queue: None })
}

/// Data for people and pipes. A closed pipe is no failure.
fn say(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

fn say_error(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "error: {text}");
}
