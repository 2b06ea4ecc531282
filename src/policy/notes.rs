//! What is found wrong while a policy file is read, with its place in the text.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::require::Complaint;
use super::{Market, Pattern, Requirement, text};
use crate::domain::money::Money;
use crate::domain::plan::Operation;
use crate::domain::problem::Problem;
use crate::domain::target::UnixMillis;
use crate::shape::{self, Datetime, Node, Spanned};

/// What was found so far.
pub(super) struct Notes<'a> {
    file: Arc<str>,
    source: &'a str,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(file: &str, source: &'a str) -> Self {
        Self { file: file.into(), source, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Notes a problem at a place in the text.
    pub(super) fn problem(&mut self, span: Range<usize>, path: &str, complaint: Complaint) {
        let problem = self.at(span, path, complaint);
        self.problems.push(problem);
    }

    pub(super) fn warning(&mut self, span: Range<usize>, path: &str, complaint: Complaint) {
        let problem = self.at(span, path, complaint);
        self.warnings.push(problem);
    }

    fn at(&self, span: Range<usize>, path: &str, (message, hint): Complaint) -> Problem {
        let (line, column) = self.place(span);
        Problem { file: Arc::clone(&self.file), line, column, path: path.to_owned(), message, hint }
    }

    /// Line and column.
    pub(super) fn place(&self, span: Range<usize>) -> (u32, u32) {
        let before = self.source.get(..span.start).unwrap_or(self.source);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (number(line), number(column))
    }

    /// A piece of the file as it is written.
    pub(super) fn written(&self, span: Range<usize>) -> &'a str {
        self.source.get(span).unwrap_or_default()
    }

    /// The value, or nothing and a problem.
    pub(super) fn keep<T>(&mut self, span: Range<usize>, path: &str, read: Result<T, Complaint>) -> Option<T> {
        read.map_err(|complaint| self.problem(span, path, complaint)).ok()
    }

    /// A part of the file, as far as it can be read; every mistake in it is noted.
    pub(super) fn read<T>(&mut self, value: Node<'_>, path: &str) -> Option<T>
    where
        T: DeserializeOwned + JsonSchema + 'static,
    {
        let mut faults = Vec::new();
        let read = shape::read(value, path, &mut faults);
        for fault in faults {
            self.problem(fault.span, &fault.path, (fault.message, fault.hint));
        }
        read
    }

    /// A moment: a date means its first instant in UTC.
    pub(super) fn moment(&mut self, given: Option<&Spanned<Datetime>>, path: &str) -> Option<UnixMillis> {
        let given = given?;
        let text = given.get_ref().to_string();
        let full = if given.get_ref().time.is_none() { format!("{text}T00:00:00Z") } else { text.clone() };
        let parsed = full.parse::<jiff::Timestamp>().map(|t| UnixMillis(t.as_millisecond()));
        self.keep(
            given.span(),
            path,
            parsed.map_err(|_| (format!("`{text}` is neither a date nor a time with an offset"), None)),
        )
    }

    pub(super) fn pattern(&mut self, given: &Spanned<String>, path: &str) -> Option<Pattern> {
        self.keep(given.span(), path, Pattern::parse(given.get_ref()).map_err(|message| (message, None)))
    }

    /// An operation by its name; `chat` where none is given.
    pub(super) fn operation(&mut self, given: Option<&Spanned<String>>, path: &str) -> Operation {
        let Some(given) = given else { return Operation::Chat };
        let read = Operation::by_name(given.get_ref()).ok_or_else(|| {
            let hint = text::did_you_mean(given.get_ref(), Operation::ALL.map(Operation::name));
            (format!("operation `{}` is not supported", given.get_ref()), hint)
        });
        self.keep(given.span(), path, read).unwrap_or_default()
    }

    pub(super) fn requirement(
        &mut self,
        given: Option<&Spanned<String>>,
        path: &str,
        market: &dyn Market,
    ) -> Requirement {
        let Some(given) = given else { return Requirement::ANY };
        let read =
            Requirement::parse(given.get_ref(), market).map_err(|e| (format!("{}: {}", e.part, e.message), e.hint));
        self.keep(given.span(), path, read).unwrap_or_default()
    }

    pub(super) fn money(&mut self, given: Option<&Spanned<String>>, path: &str) -> Option<Money> {
        let given = given?;
        self.keep(given.span(), path, text::money(given.get_ref()).map_err(|message| (message, None)))
    }

    pub(super) fn duration(&mut self, given: Option<&Spanned<String>>, path: &str) -> Option<Duration> {
        let given = given?;
        let read = text::duration(given.get_ref()).and_then(|d| {
            if d.is_zero() { Err("must be longer than nothing; leave it out for none".to_owned()) } else { Ok(d) }
        });
        self.keep(given.span(), path, read.map_err(|message| (message, None)))
    }
}
