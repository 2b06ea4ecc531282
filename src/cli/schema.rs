//! `stellwerk schema`: the JSON Schemas of the files that people edit, as shipped in `schemas/`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::say;
use crate::catalogue::Catalogue;
use crate::config;
use crate::policy::Policy;

/// Print a JSON Schema (draft 7), for editors: `#:schema FILE` in the first line of a TOML file names it.
#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Which file.
    file: File,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum File {
    /// policies/NAME.toml
    Policy,
    /// providers/NAME.toml
    Provider,
    /// providers/currencies.toml
    Currencies,
    /// stellwerk.toml
    Config,
}

impl Schema {
    pub(super) fn run(self) -> ExitCode {
        let schema = match self.file {
            File::Policy => Policy::schema(),
            File::Provider => Catalogue::schema(),
            File::Currencies => Catalogue::currencies_schema(),
            File::Config => config::schema(),
        };
        say(&format!("{schema:#}"));
        ExitCode::SUCCESS
    }
}
