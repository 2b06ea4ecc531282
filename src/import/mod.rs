//! Reading what other gateways are configured by: a catalogue overlay and a policy come out, and a note for everything that
//! could not be carried over. Pure: text in, text out.
//!
//! Nothing of a source is dropped silently: every member is either taken, or noted with its place and a reason. No value
//! of a member that may be a secret stands in an output or in a note.

mod decimal;
mod emit;
pub mod litellm;
mod names;
mod node;
mod notes;
mod policy;
mod provider;
mod yaml;

pub use notes::{Kind, Note};

/// Largest source.
pub const MAX_SOURCE: usize = 1 << 20;

/// What an import makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Files to write, by path below the directory: `providers/*.toml` and `policies/*.toml`.
    pub files: Vec<(String, String)>,
    /// What was not carried over as it was, in the order of the source.
    pub notes: Vec<Note>,
    /// How many routes there are.
    pub routes: usize,
}

impl Imported {
    /// The report: a line for each note.
    #[must_use]
    pub fn report(&self, source: &str) -> String {
        let width = self.notes.iter().map(|note| note.kind.name().len()).max().unwrap_or_default();
        let line = |note: &Note| {
            let line = if note.line > 0 { format!(":{}", note.line) } else { String::new() };
            format!("{:width$}  {source}{line}  {}: {}\n", note.kind.name(), note.place, note.why)
        };
        self.notes.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests;
