//! Top-level members of a JSON object as byte spans, found in one pass, so that a request can be re-addressed without
//! being parsed and written again.
//!
//! The pass checks what a gateway must check before it forwards bytes: well-formed JSON (RFC 8259), UTF-8, no lone
//! surrogates, a bounded depth, no duplicate top-level member. It is iterative and allocates for members only.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::special::Specials;

/// Deepest nesting that is accepted.
pub const MAX_DEPTH: usize = 64;

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Nothing but white space.
    Empty,
    /// Not JSON, at this byte.
    Syntax(usize),
    /// JSON, but no object.
    NotAnObject,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// Two top-level members of one name.
    Duplicate,
    /// More than [`MAX_MEMBERS`] top-level members.
    TooMany,
}

/// One top-level member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, unescaped.
    pub name: Box<str>,
    /// From the first byte of the name to the last of the value.
    pub span: Range<usize>,
    /// The value.
    pub value: Range<usize>,
}

/// Most top-level members of a body: several times what any dialect has.
pub const MAX_MEMBERS: usize = 256;

/// All top-level members, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    members: Vec<Member>,
    /// The byte of the closing brace.
    end: usize,
    /// An object below the top level has a member `type`, so written.
    typed: bool,
    /// An object below the top level has a member for thinking.
    thinks: bool,
}

/// A change to a body.
#[derive(Clone, Debug)]
enum Edit {
    Replace(Range<usize>, Bytes),
}

/// Changes to a body, applied without copying what stays.
#[derive(Debug)]
pub struct Splice<'a> {
    members: &'a Members,
    edits: Vec<Edit>,
    removed: Vec<usize>,
    added: BytesMut,
}

impl Members {
    /// Scans a body.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn scan(body: &[u8]) -> Result<Self, Malformed> {
        if simdutf8::basic::from_utf8(body).is_err() {
            // The fast check does not say where.
            let at = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), |_| 0);
            return Err(Malformed::Syntax(at));
        }
        let mut scanner = Scanner { body, at: 0, specials: Specials::new(body), typed: false, thinks: false };
        scanner.space();
        match scanner.peek() {
            None => return Err(Malformed::Empty),
            Some(b'{') => {}
            Some(_) => {
                scanner.value(0)?;
                scanner.finished()?;
                return Err(Malformed::NotAnObject);
            }
        }
        let members = scanner.object()?;
        scanner.finished()?;
        Ok(members)
    }

    /// A member by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| &*member.name == name)
    }

    /// The bytes of a member's value.
    #[must_use]
    pub fn value<'b>(&self, body: &'b [u8], name: &str) -> Option<&'b [u8]> {
        body.get(self.get(name)?.value.clone())
    }

    /// Whether an object below the top level has a member `type`: in every dialect, what is not plain text has one.
    #[must_use]
    pub fn typed(&self) -> bool {
        self.typed
    }

    /// Whether an object below the top level has a member in which some dialect keeps thinking or its signature, or asks for
    /// so much of it.
    #[must_use]
    pub fn thinks(&self) -> bool {
        self.thinks
    }

    /// All members, in order.
    #[must_use]
    pub fn all(&self) -> &[Member] {
        &self.members
    }

    /// Begins to change the body.
    #[must_use]
    pub fn splice(&self) -> Splice<'_> {
        Splice { members: self, edits: Vec::new(), removed: Vec::new(), added: BytesMut::new() }
    }
}

impl Splice<'_> {
    /// Sets a member to JSON text; adds it at the end if it is not there.
    pub fn set(&mut self, name: &str, json: impl Into<Bytes>) {
        let json = json.into();
        match self.members.get(name) {
            Some(member) => self.edits.push(Edit::Replace(member.value.clone(), json)),
            None => {
                if !self.members.members.is_empty() || !self.added.is_empty() {
                    self.added.put_u8(b',');
                }
                self.added.put_slice(quote(name).as_bytes());
                self.added.put_u8(b':');
                self.added.put_slice(&json);
            }
        }
    }

    /// Gives a member another name; does nothing if it is not there.
    pub fn rename(&mut self, from: &str, to: &str) {
        if let Some(member) = self.members.get(from) {
            let name = member.span.start..member.value.start;
            self.edits.push(Edit::Replace(name, Bytes::from(quote(to) + ":")));
        }
    }

    /// Removes a member; does nothing if it is not there.
    pub fn remove(&mut self, name: &str) {
        if let Some(index) = self.members.members.iter().position(|member| &*member.name == name) {
            self.removed.push(index);
        }
    }

    /// The changed body in pieces; untouched stretches are slices of `body`. Nothing changed = the body itself.
    #[must_use]
    pub fn apply(mut self, body: &Bytes) -> Vec<Bytes> {
        self.edits.sort_by_key(|Edit::Replace(range, _)| range.start);
        let mut pieces = Vec::with_capacity(self.edits.len() * 2 + 4);
        if self.removed.is_empty() {
            self.stretch(body, 0..self.members.end, &mut pieces);
            push(&mut pieces, self.added.split().freeze());
            push(&mut pieces, body.slice(self.members.end..));
            return match pieces.as_slice() {
                [_, _] if self.edits.is_empty() && pieces[0].len() + pieces[1].len() == body.len() => {
                    vec![body.clone()]
                }
                _ => pieces,
            };
        }
        pieces.push(Bytes::from_static(b"{"));
        let kept = self.members.members.iter().enumerate().filter(|(index, _)| !self.removed.contains(index));
        for (count, (_, member)) in kept.enumerate() {
            if count > 0 {
                pieces.push(Bytes::from_static(b","));
            }
            self.stretch(body, member.span.clone(), &mut pieces);
        }
        let mut added = std::mem::take(&mut self.added).freeze();
        if pieces.len() == 1 && added.first() == Some(&b',') {
            added = added.slice(1..);
        }
        push(&mut pieces, added);
        pieces.push(Bytes::from_static(b"}"));
        pieces
    }

    /// A stretch of the body with the edits that lie in it.
    fn stretch(&self, body: &Bytes, range: Range<usize>, pieces: &mut Vec<Bytes>) {
        let mut at = range.start;
        for Edit::Replace(edited, with) in &self.edits {
            if range.start <= edited.start && edited.end <= range.end {
                push(pieces, body.slice(at..edited.start));
                push(pieces, with.clone());
                at = edited.end;
            }
        }
        push(pieces, body.slice(at..range.end));
    }
}

fn push(pieces: &mut Vec<Bytes>, piece: Bytes) {
    if !piece.is_empty() {
        pieces.push(piece);
    }
}

/// A string as JSON.
#[must_use]
pub fn quote(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

struct Scanner<'a> {
    body: &'a [u8],
    at: usize,
    specials: Specials<'a>,
    /// A nested object has a member `type`.
    typed: bool,
    /// A nested object has a member for thinking.
    thinks: bool,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn syntax<T>(&self) -> Result<T, Malformed> {
        Err(Malformed::Syntax(self.at))
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            self.syntax()
        }
    }

    fn finished(&mut self) -> Result<(), Malformed> {
        self.space();
        if self.at == self.body.len() { Ok(()) } else { self.syntax() }
    }

    /// The top-level object.
    fn object(&mut self) -> Result<Members, Malformed> {
        self.expect(b'{')?;
        let mut members: Vec<Member> = Vec::with_capacity(12);
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Members { members, end: self.at - 1, typed: self.typed, thinks: self.thinks });
        }
        loop {
            self.space();
            let start = self.at;
            self.string()?;
            let name = self.name(start..self.at)?;
            if members.iter().any(|member| member.name == name) {
                return Err(Malformed::Duplicate);
            }
            // Looking for duplicates is quadratic: cheap for what clients send, and bounded for what attackers send.
            if members.len() == MAX_MEMBERS {
                return Err(Malformed::TooMany);
            }
            self.space();
            self.expect(b':')?;
            self.space();
            let value = self.at;
            self.value(1)?;
            members.push(Member { name, span: start..self.at, value: value..self.at });
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Members { members, end: self.at - 1, typed: self.typed, thinks: self.thinks });
                }
                _ => return self.syntax(),
            }
        }
    }

    fn name(&self, quoted: Range<usize>) -> Result<Box<str>, Malformed> {
        let raw = &self.body[quoted.clone()];
        if !raw.contains(&b'\\') {
            let inner = std::str::from_utf8(&raw[1..raw.len() - 1]);
            return inner.map(Into::into).map_err(|_| Malformed::Syntax(quoted.start));
        }
        serde_json::from_slice::<String>(raw).map(Into::into).map_err(|_| Malformed::Syntax(quoted.start))
    }

    /// Any value, at this depth of nesting. Containers are kept on a stack of bits: 1 = object.
    fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        let (mut open, mut kinds) = (0_usize, 0_u64);
        loop {
            // A value begins here.
            self.space();
            match self.peek() {
                Some(b'"') => self.string()?,
                Some(b'{' | b'[') => {
                    let object = self.peek() == Some(b'{');
                    if depth + open >= MAX_DEPTH {
                        return Err(Malformed::TooDeep);
                    }
                    self.at += 1;
                    self.space();
                    let close = if object { b'}' } else { b']' };
                    if self.peek() == Some(close) {
                        self.at += 1;
                    } else {
                        kinds = kinds << 1 | u64::from(object);
                        open += 1;
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                _ => return self.syntax(),
            }
            // A value has ended: close what ends with it.
            loop {
                if open == 0 {
                    return Ok(());
                }
                self.space();
                let object = kinds & 1 == 1;
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        if object {
                            self.space();
                            self.key()?;
                        }
                        break;
                    }
                    Some(byte) if byte == if object { b'}' } else { b']' } => {
                        self.at += 1;
                        kinds >>= 1;
                        open -= 1;
                    }
                    _ => return self.syntax(),
                }
            }
        }
    }

    fn key(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        self.string()?;
        match self.body.get(start..self.at).unwrap_or_default() {
            b"\"type\"" => self.typed = true,
            b"\"signature\"" | b"\"thoughtSignature\"" | b"\"thought_signature\"" | b"\"encrypted_content\"" => {
                self.thinks = true;
            }
            // Each item of thinking has the one, signed or not; the other asks for it.
            b"\"summary\"" | b"\"budget_tokens\"" => self.thinks = true,
            b"\"reasoning_content\"" | b"\"reasoning_details\"" | b"\"reasoning\"" | b"\"extra_content\"" => {
                self.thinks = true;
            }
            _ => {}
        }
        self.space();
        self.expect(b':')
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Malformed> {
        if self.body[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            self.syntax()
        }
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { self.syntax() }
    }

    fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Malformed> {
        self.expect(b'"')?;
        loop {
            let Some(stop) = self.specials.next(self.at) else {
                self.at = self.body.len();
                return self.syntax();
            };
            self.at = stop;
            match self.body[stop] {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape()?,
                _ => return self.syntax(),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                let first = self.unit()?;
                match first {
                    0xD800..=0xDBFF if self.body[self.at..].starts_with(b"\\u") => {
                        self.at += 1;
                        if matches!(self.unit()?, 0xDC00..=0xDFFF) { Ok(()) } else { self.syntax() }
                    }
                    0xD800..=0xDFFF => self.syntax(),
                    _ => Ok(()),
                }
            }
            _ => self.syntax(),
        }
    }

    /// `uXXXX`; the cursor is on the `u`.
    fn unit(&mut self) -> Result<u16, Malformed> {
        let hex = self.body.get(self.at + 1..self.at + 5).filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let unit = hex.and_then(|hex| u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match unit {
            Some(unit) => {
                self.at += 5;
                Ok(unit)
            }
            None => self.syntax(),
        }
    }
}

#[cfg(test)]
mod tests;
