//! A problem in a file that people edit: where, what, and what to write instead.

use std::fmt;
use std::sync::Arc;

/// One problem. Readers collect all of them; none stops the search for the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as the person named it.
    pub file: Arc<str>,
    /// Line, from 1; 0 where the problem has no place.
    pub line: u32,
    /// Column in characters, from 1; 0 where the problem has no place.
    pub column: u32,
    /// The key path, such as `route[0].targets`; may be empty.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that can be guessed.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem of a file as a whole.
    pub fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        let (path, message) = (String::new(), message.into());
        Self { file: file.into().into(), line: 0, column: 0, path, message, hint: None }
    }

    /// A problem at a byte offset of the file's text.
    pub fn at(file: &str, text: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let line = number(before.matches('\n').count() + 1);
        let column = number(before.rsplit('\n').next().unwrap_or_default().chars().count() + 1);
        let (path, message) = (String::new(), message.into());
        Self { file: file.into(), line, column, path, message, hint: None }
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
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}
