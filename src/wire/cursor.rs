//! A walk over JSON text for those who look for little in it: nothing is decoded and nothing is kept. It finds its way
//! through well-formed text; what it makes of other text is nothing or a guess, so it is for looks and not for checks.

use super::special::Specials;

/// Deepest nesting that is walked through.
const DEEP: usize = 128;

/// A place in a text. Every step that meets what it does not expect is `None`, and the walk is over.
#[derive(Debug)]
pub struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    specials: Specials<'a>,
}

impl<'a> Cursor<'a> {
    /// At the beginning of a text.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), at: 0, specials: Specials::new(text.as_bytes()) }
    }

    /// Walks an object's members; `on` takes the value of each, and gets its name as it is written.
    pub fn members(&mut self, on: &mut impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.takes(b'}') {
            return Some(());
        }
        loop {
            let name = self.string()?;
            self.expect(b':')?;
            on(self, name)?;
            if !self.takes(b',') {
                return self.expect(b'}');
            }
        }
    }

    /// Walks an array; `on` takes each element.
    pub fn elements(&mut self, on: &mut impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        if self.takes(b']') {
            return Some(());
        }
        loop {
            on(self)?;
            if !self.takes(b',') {
                return self.expect(b']');
            }
        }
    }

    /// Takes a string, as it is written between its quotes.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            let stop = self.specials.next(self.at)?;
            match self.text.get(stop)? {
                b'"' => {
                    self.at = stop + 1;
                    return self.text.get(start..stop);
                }
                // Whatever is escaped does not end the string.
                b'\\' => self.at = stop + 2,
                _ => return None,
            }
        }
    }

    /// Takes `null`, if it is there.
    pub fn null(&mut self) -> Option<()> {
        (self.peek() == Some(b'n')).then(|| self.word()).flatten()
    }

    /// Takes the number 0, as everybody writes it.
    pub fn zero(&mut self) -> Option<()> {
        let start = (self.peek() == Some(b'0')).then_some(self.at)?;
        self.word()?;
        (self.at == start + 1).then_some(())
    }

    /// Takes any value.
    pub fn skip(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    open += 1;
                    self.at += 1;
                    if open > DEEP {
                        return None;
                    }
                }
                b'}' | b']' => {
                    open = open.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if open > 0 => self.at += 1,
                _ => self.word()?,
            }
            if open == 0 {
                return Some(());
            }
        }
    }

    /// Whether nothing follows.
    pub fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// A number or a literal.
    fn word(&mut self) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        let length =
            rest.iter().take_while(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'+' | b'.' | b'E')).count();
        self.at += length;
        (length > 0).then_some(())
    }

    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(*byte),
            }
        }
    }

    fn takes(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.takes(byte).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_looked_for_is_found_between_all_else() {
        let text = r#" { "a" : {"x":[1,{"y":"}\"]"}],"z":-1.5e+3} , "b":"t\\", "c":null,"d":[true,"e", 2] } "#;
        let (mut names, mut found, mut count) = (Vec::new(), None, 0);
        let mut cursor = Cursor::new(text);
        let walked = cursor.members(&mut |cursor, name| {
            names.push(name);
            match name {
                b"b" => {
                    found = cursor.string();
                    found.map(drop)
                }
                b"c" => cursor.null(),
                b"d" => cursor.elements(&mut |cursor| {
                    count += 1;
                    cursor.skip()
                }),
                _ => cursor.skip(),
            }
        });
        assert!(walked.is_some() && cursor.is_at_end());
        assert_eq!((names, found, count), (vec![&b"a"[..], b"b", b"c", b"d"], Some(&b"t\\\\"[..]), 3));
    }

    #[test]
    fn what_is_not_expected_ends_the_walk() {
        let skip = |text: &str| {
            let mut cursor = Cursor::new(text);
            cursor.skip().is_some() && cursor.is_at_end()
        };
        for text in ["", "}", "[", "[1", "\"", "\"\\", "{\"a\":1", ",", "1 2", "\u{e9}", &"[".repeat(10_000)] {
            assert!(!skip(text), "{text}");
        }
        assert!(Cursor::new("1").null().is_none() && Cursor::new("null").null().is_some());
    }

    proptest! {
        #[test]
        fn any_value_is_skipped_whole(name in ".*", text in ".*", number in any::<f64>(), depth in 0_usize..20) {
            let mut value = serde_json::json!({ name: text, "n": number, "l": [null, true, {}, []] });
            for _ in 0..depth {
                value = serde_json::json!([value, "\\\""]);
            }
            let text = value.to_string();
            let mut cursor = Cursor::new(&text);
            prop_assert!(cursor.skip().is_some() && cursor.is_at_end(), "{}", text);
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".*") {
            let _ = Cursor::new(&text).skip();
            let _ = Cursor::new(&text).members(&mut |cursor, _| cursor.skip());
        }
    }
}
