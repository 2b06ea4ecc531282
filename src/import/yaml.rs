//! YAML as other gateways write it: one document, aliases and merge keys filled in within bounds, words for true and false
//! as in YAML 1.1, which their reader takes.

use std::collections::HashMap;

use saphyr_parser::{Event, Input, Parser, ScalarStyle, Span};

use super::MAX_SOURCE;
use super::node::{Node, Value};

/// Most parts of a document, with what its aliases stand for.
const MOST_NODES: usize = 100_000;
/// Deepest nesting.
const DEEPEST: usize = 64;

/// Reads JSON, which is YAML of a strict kind: this way its parts have lines, and its numbers their digits.
pub(super) fn read_json(text: &str) -> Result<Node, String> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| error.to_string())?;
    read(&without_pairs(text))
}

/// JSON in which no character is escaped as two halves (`\ud83d\ude00`), which YAML does not know; lines stay as they are.
fn without_pairs(text: &str) -> String {
    let half = |text: &str| u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let first = half(escape).filter(|unit| (0xD800..0xE000).contains(unit));
        let length = match first {
            Some(first) => {
                let second = escape.get(6..).and_then(half).filter(|unit| (0xDC00..0xE000).contains(unit));
                let decoded = char::decode_utf16([Some(first), second].into_iter().flatten()).next();
                let whole = decoded.and_then(Result::ok);
                out.push(whole.unwrap_or(char::REPLACEMENT_CHARACTER));
                if whole.is_some() { 12 } else { 6 }
            }
            // An escaped backslash or quote is passed as one, so that what follows it is not taken for an escape.
            None => {
                let length = escape.chars().take(2).map(char::len_utf8).sum();
                out.push_str(escape.get(..length).unwrap_or(escape));
                length
            }
        };
        rest = escape.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Reads a document.
pub(super) fn read(text: &str) -> Result<Node, String> {
    if text.len() > MAX_SOURCE {
        return Err(format!("the file has more than {MAX_SOURCE} bytes"));
    }
    let mut reader = Reader { events: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut document = None;
    loop {
        match reader.event()? {
            (Event::StreamEnd, _) => break,
            (Event::DocumentStart(_) | Event::DocumentEnd | Event::StreamStart | Event::Nothing, _) => {}
            (_, span) if document.is_some() => {
                return Err(format!("line {}: a second document begins: only one is read", span.start.line()));
            }
            (event, span) => document = Some(reader.node(event, span, 0)?),
        }
    }
    Ok(document.unwrap_or(Node { line: 1, value: Value::Null }))
}

struct Reader<'a, T: Input> {
    events: Parser<'a, T>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a, T: Input> Reader<'a, T> {
    fn event(&mut self) -> Result<(Event<'a>, Span), String> {
        match self.events.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(format!("line {}: {}", error.marker().line(), error.info())),
            None => Err("the file ends too early".to_owned()),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, String> {
        let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
        if depth > DEEPEST {
            return Err(format!("line {line}: nested more than {DEEPEST} deep"));
        }
        self.count(line, 1)?;
        let (anchor, value) = match event {
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| format!("line {line}: an alias stands inside of what it names"))?;
                self.count(line, size(&node))?;
                return Ok(Node { line, ..node });
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none_or(|tag| tag.suffix != "str");
                (anchor, if plain { scalar(&text) } else { Value::Text(text.into_owned()) })
            }
            Event::SequenceStart(anchor, _) => {
                let mut list = Vec::new();
                loop {
                    match self.event()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => list.push(self.node(event, span, depth + 1)?),
                    }
                }
                (anchor, Value::List(list))
            }
            Event::MappingStart(anchor, _) => (anchor, Value::Table(self.table(depth)?)),
            _ => return Err(format!("line {line}: something is missing here")),
        };
        let node = Node { line, value };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn table(&mut self, depth: usize) -> Result<Vec<(String, Node)>, String> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        let mut merged: Vec<(String, Node)> = Vec::new();
        loop {
            let (event, span) = self.event()?;
            let line = span.start.line();
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(format!("line {line}: a key must be a word")),
            };
            let (event, span) = self.event()?;
            let node = self.node(event, span, depth + 1)?;
            if key == "<<" {
                merged.extend(merge(node).ok_or_else(|| format!("line {line}: `<<` must name tables"))?);
            } else if entries.iter().any(|(known, _)| *known == key) {
                return Err(format!("line {line}: `{key}` stands here twice"));
            } else {
                // A member is where its key is.
                entries.push((key, Node { line: u32::try_from(line).unwrap_or(u32::MAX), ..node }));
            }
        }
        for (key, node) in merged {
            if entries.iter().all(|(known, _)| *known != key) {
                entries.push((key, node));
            }
        }
        Ok(entries)
    }

    fn count(&mut self, line: u32, more: usize) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > MOST_NODES {
            return Err(format!(
                "line {line}: the document has more than {MOST_NODES} parts, with what its aliases stand for"
            ));
        }
        Ok(())
    }
}

/// What a merge key brings.
fn merge(node: Node) -> Option<Vec<(String, Node)>> {
    match node.value {
        Value::Table(entries) => Some(entries),
        Value::List(list) => {
            let tables = list.into_iter().map(|node| match node.value {
                Value::Table(entries) => Some(entries),
                _ => None,
            });
            Some(tables.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
        }
        _ => None,
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::List(list) => 1 + list.iter().map(size).sum::<usize>(),
        Value::Table(entries) => 1 + entries.iter().map(|(_, node)| size(node)).sum::<usize>(),
        Value::Text(text) | Value::Number(text) => 1 + text.len() / 32,
        Value::Null | Value::Bool(_) => 1,
    }
}

fn scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        text if super::decimal::is_number(text) => Value::Number(text.to_owned()),
        text => Value::Text(text.to_owned()),
    }
}
