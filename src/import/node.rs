//! A document as a tree that knows where each part stands, and who has looked at it.

use super::notes::{Kind, Notes};

/// A part of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Its line, from 1; 0 = not known.
    pub line: u32,
    pub value: Value,
}

/// What it is. Numbers keep their digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the source.
    Table(Vec<(String, Node)>),
}

/// A part with its path.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    pub path: String,
    pub node: &'a Node,
}

impl<'a> At<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self { path: String::new(), node }
    }

    /// Text, or a number as it is written.
    pub(super) fn word(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        if let Value::Text(text) = &self.node.value { Some(text) } else { None }
    }

    pub(super) fn bool(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => Some(*value),
            Value::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// A whole number, also if it is written as text or as `60.0`.
    pub(super) fn whole(&self) -> Option<u64> {
        let text = self.word()?.replace('_', "");
        let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
        whole.parse().ok().filter(|_| part.bytes().all(|b| b == b'0'))
    }

    pub(super) fn list(&self) -> Option<Vec<Self>> {
        let Value::List(list) = &self.node.value else { return None };
        let part = |(number, node): (usize, &'a Node)| Self { path: format!("{}[{number}]", self.path), node };
        Some(list.iter().enumerate().map(part).collect())
    }

    pub(super) fn fields(&self) -> Option<Fields<'a>> {
        let Value::Table(entries) = &self.node.value else { return None };
        let entries = entries.iter().map(|(name, node)| (name.as_str(), node, false)).collect();
        Some(Fields { path: self.path.clone(), entries })
    }

    /// The texts of a list, or one text. What is no text is noted.
    pub(super) fn texts(&self, notes: &mut Notes) -> Vec<(&'a str, Self)> {
        let parts = match &self.node.value {
            Value::List(_) => self.list().unwrap_or_default(),
            _ => vec![self.clone()],
        };
        let mut texts = Vec::new();
        for part in parts {
            match part.word() {
                Some(text) => texts.push((text, part)),
                None => notes.add(Kind::LeftOut, &part, "is no text"),
            }
        }
        texts
    }
}

/// The members of a table, and which of them have been taken.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    path: String,
    entries: Vec<(&'a str, &'a Node, bool)>,
}

impl<'a> Fields<'a> {
    /// A member, which counts as taken from now on. One that is null is not there.
    pub(super) fn take(&mut self, name: &str) -> Option<At<'a>> {
        let entry = self.entries.iter_mut().find(|(known, ..)| *known == name)?;
        entry.2 = true;
        let node = entry.1;
        (node.value != Value::Null).then(|| At { path: self.place(name), node })
    }

    /// All that nobody has taken.
    pub(super) fn rest(&mut self) -> Vec<(&'a str, At<'a>)> {
        let left: Vec<(&'a str, &'a Node)> =
            self.entries.iter().filter(|(_, _, taken)| !taken).map(|(name, node, _)| (*name, *node)).collect();
        self.entries.iter_mut().for_each(|entry| entry.2 = true);
        let left = left.into_iter().filter(|(_, node)| node.value != Value::Null);
        left.map(|(name, node)| (name, At { path: self.place(name), node })).collect()
    }

    /// A member that must be a table; anything else is noted.
    pub(super) fn table(&mut self, name: &str, notes: &mut Notes) -> Option<Fields<'a>> {
        let at = self.take(name)?;
        let fields = at.fields();
        if fields.is_none() {
            notes.add(Kind::LeftOut, &at, "is no table");
        }
        fields
    }

    /// A member that must be a list; anything else is noted.
    pub(super) fn list(&mut self, name: &str, notes: &mut Notes) -> Vec<At<'a>> {
        let Some(at) = self.take(name) else { return Vec::new() };
        at.list().unwrap_or_else(|| {
            notes.add(Kind::LeftOut, &at, "is no list");
            Vec::new()
        })
    }

    fn place(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}
