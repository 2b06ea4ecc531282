//! What is told of an import.

use super::node::At;

/// What became of a member of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is not carried over.
    LeftOut,
    /// It is, with another meaning.
    Differs,
    /// Somebody has to do something.
    ToDo,
    /// It needs no setting here: it is always so.
    AlwaysSo,
}

impl Kind {
    /// Its words in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LeftOut => "left out",
            Self::Differs => "differs",
            Self::ToDo => "to do",
            Self::AlwaysSo => "always so",
        }
    }
}

/// A line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What became of it.
    pub kind: Kind,
    /// Its line in the source, from 1; 0 = not known.
    pub line: u32,
    /// Its path in the source.
    pub place: String,
    /// Why; never a value that may be a secret.
    pub why: String,
}

/// Notes so far.
#[derive(Debug, Default)]
pub(super) struct Notes(pub Vec<Note>);

impl Notes {
    pub(super) fn add(&mut self, kind: Kind, at: &At<'_>, why: impl Into<String>) {
        self.at(kind, at.node.line, &at.path, why);
    }

    pub(super) fn at(&mut self, kind: Kind, line: u32, place: &str, why: impl Into<String>) {
        let note = Note { kind, line, place: place.to_owned(), why: why.into() };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// In the order of the source.
    pub(super) fn sorted(mut self) -> Vec<Note> {
        self.0.sort_by_key(|note| note.line);
        self.0
    }
}
