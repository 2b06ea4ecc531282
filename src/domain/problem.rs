//! A problem in a file that people edit: where, what, and what to write instead.

use std::fmt;

/// One problem. Readers collect all of them; none stops the search for the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the operator knows it.
    pub file: String,
    /// Line, from 1; 0 = the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that can be guessed.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem of a file as a whole.
    pub fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: 0, message: message.into(), hint: None }
    }

    /// A problem at a byte offset of the file's text.
    pub fn at(file: &str, text: &str, offset: usize, message: impl Into<String>) -> Self {
        let line = text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1;
        Self { file: file.to_owned(), line, message: message.into(), hint: None }
    }

    /// What the TOML reader says: syntax, wrong types, unknown members.
    #[must_use]
    pub fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().trim().replace('\n', ", ");
        error.span().map_or_else(|| Self::new(file, &message), |span| Self::at(file, text, span.start, &message))
    }

    /// A problem with the value of a dotted path (`server.listen`): found by its key's line in the path's table.
    pub fn at_value(file: &str, text: &str, path: &str, value: &str, message: impl Into<String>) -> Self {
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        let mut within = table.is_empty();
        let mut offset = 0;
        for line in text.split_inclusive('\n') {
            let trimmed = line.trim();
            if trimmed.starts_with('[') {
                within = trimmed.trim_matches(['[', ']']) == table;
            } else if within && trimmed.split('=').next().is_some_and(|k| k.trim() == key) && trimmed.contains(value) {
                return Self::at(file, text, offset, message);
            }
            offset += line.len();
        }
        Self::new(file, message)
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}
