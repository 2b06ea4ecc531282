//! A JSON object on its way: the top-level members that are wanted, found without holding the rest.
//!
//! For answers that are passed on as they come and whose report on usage stands somewhere among megabytes of data. Any
//! cut of the same bytes finds the same.

/// Longest value that is kept, in bytes.
const MOST: usize = 64 * 1024;

/// Longest name of a member that is looked at.
const NAME: usize = 64;

/// Where the scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the object.
    Before,
    /// Inside it.
    Inside,
    /// Behind its closing brace.
    After,
    /// This is no JSON object.
    Lost,
}

/// Finds members.
#[derive(Debug)]
pub struct Passing {
    wanted: &'static [&'static str],
    /// A member whose value is a list, the elements of which are counted.
    counted: &'static str,
    place: Place,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The next string of the top level is a name.
    at_name: bool,
    name: Vec<u8>,
    /// What is being kept, of which member.
    keeping: Option<(&'static str, Vec<u8>)>,
    found: Vec<(&'static str, Vec<u8>)>,
    counting: bool,
    elements: u64,
    /// Something has been seen in the current element.
    in_element: bool,
}

impl Passing {
    /// Looks for members, and for the elements of one.
    #[must_use]
    pub fn new(wanted: &'static [&'static str], counted: &'static str) -> Self {
        Self {
            wanted,
            counted,
            place: Place::Before,
            depth: 0,
            in_string: false,
            escaped: false,
            at_name: true,
            name: Vec::new(),
            keeping: None,
            found: Vec::new(),
            counting: false,
            elements: 0,
            in_element: false,
        }
    }

    /// Takes a chunk of any size.
    pub fn push(&mut self, chunk: &[u8]) {
        let mut at = 0;
        while at < chunk.len() {
            // Long strings of data are the bulk: they are skipped to their end.
            if self.in_string && !self.escaped && self.keeping.is_none() && !(self.depth == 1 && self.at_name) {
                match memchr::memchr2(b'"', b'\\', &chunk[at..]) {
                    Some(skip) => at += skip,
                    None => return,
                }
            }
            self.byte(chunk[at]);
            at += 1;
        }
    }

    /// Whether the object has come to its end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.place == Place::After
    }

    /// The JSON text of a member that was looked for.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.found.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_slice())
    }

    /// How many elements the counted member has.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.elements
    }

    fn byte(&mut self, byte: u8) {
        match self.place {
            Place::Before => match byte {
                b'{' => {
                    self.place = Place::Inside;
                    self.depth = 1;
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => self.place = Place::Lost,
            },
            Place::Inside => self.inside(byte),
            Place::After | Place::Lost => {}
        }
    }

    fn inside(&mut self, byte: u8) {
        if self.in_string {
            return self.string(byte);
        }
        let top = self.depth == 1;
        match byte {
            b'"' => {
                self.in_string = true;
                if top && self.at_name {
                    self.name.clear();
                    return;
                }
            }
            b'{' | b'[' => {
                self.element(byte);
                self.depth += 1;
                self.keep(byte);
                return;
            }
            b'}' | b']' => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.value_ended();
                    self.place = Place::After;
                    return;
                }
                self.counting &= self.depth > 1;
            }
            b':' if top => {
                self.at_name = false;
                let name = std::mem::take(&mut self.name);
                self.keeping = self.wanted.iter().find(|w| w.as_bytes() == name).map(|w| (*w, Vec::new()));
                self.counting = name == self.counted.as_bytes();
                return;
            }
            b',' if top => {
                self.value_ended();
                self.at_name = true;
                return;
            }
            b',' if self.counting && self.depth == 2 => self.in_element = false,
            _ => {}
        }
        self.element(byte);
        self.keep(byte);
    }

    /// Counts an element of the counted list when its first byte comes.
    fn element(&mut self, byte: u8) {
        let begins = self.counting && self.depth == 2 && !self.in_element;
        if begins && !matches!(byte, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n') {
            self.in_element = true;
            self.elements += 1;
        }
    }

    fn string(&mut self, byte: u8) {
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.in_string = false;
        }
        if self.depth == 1 && self.at_name {
            if self.in_string && self.name.len() < NAME {
                self.name.push(byte);
            }
        } else {
            self.keep(byte);
        }
    }

    fn keep(&mut self, byte: u8) {
        if let Some((_, value)) = &mut self.keeping {
            if value.len() < MOST {
                value.push(byte);
            } else {
                // Half a value is none.
                self.keeping = None;
            }
        }
    }

    fn value_ended(&mut self) {
        self.found.extend(self.keeping.take());
        self.counting = false;
        self.in_element = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#" {"created":1,"da\"ta":[9],"data":[{"b64_json":"iVBORw0KGgo\\\"{[usage"},{"a":[1,{"usage":2}]} , "x"],"usage":{"input_tokens":50,"details":{"a":"}\""}},"model" : "m-1","n":7}
"#;

    fn scan(cuts: usize) -> Passing {
        let mut passing = Passing::new(&["usage", "model", "n"], "data");
        ANSWER.as_bytes().chunks(cuts).for_each(|chunk| passing.push(chunk));
        passing
    }

    #[test]
    fn any_cut_finds_the_same_members_and_elements() {
        for cuts in 1..ANSWER.len() + 1 {
            let passing = scan(cuts);
            assert!(passing.is_whole(), "{cuts}");
            assert_eq!(passing.elements(), 3, "{cuts}");
            let text = |name| passing.get(name).map(|value| String::from_utf8_lossy(value).trim().to_owned());
            assert_eq!(text("usage").as_deref(), Some(r#"{"input_tokens":50,"details":{"a":"}\""}}"#), "{cuts}");
            assert_eq!((text("model").as_deref(), text("n").as_deref()), (Some("\"m-1\""), Some("7")), "{cuts}");
        }
    }

    #[test]
    fn what_is_cut_or_no_object_is_not_whole() {
        for text in ["", "{\"data\":[1", "[1]", "RIFF", "{\"a\":\"}"] {
            let mut passing = Passing::new(&["a"], "data");
            passing.push(text.as_bytes());
            assert!(!passing.is_whole(), "{text}");
        }
        let mut empty = Passing::new(&["usage"], "data");
        empty.push(b"{\"data\":[ ]}");
        assert_eq!((empty.is_whole(), empty.elements()), (true, 0));
    }

    #[test]
    fn a_value_that_is_too_long_is_none() {
        let mut passing = Passing::new(&["usage"], "data");
        passing.push(format!("{{\"usage\":\"{}\"}}", "x".repeat(MOST)).as_bytes());
        assert!(passing.is_whole());
        assert_eq!(passing.get("usage"), None);
    }
}
