//! Answers with one thing wrong in them: what a broken provider, a broken proxy or a new version might send.

use serde_json::{Value, json};

/// What is wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wrong {
    /// A member or element is not there.
    Gone(String),
    /// It is null.
    Null(String),
    /// It is of another type.
    Typed(String),
    /// A number is beyond all measure.
    Huge(String),
    /// A word is one that nobody knows.
    Word(String),
    /// The body ends in the middle.
    Cut(usize),
    /// A frame of a stream comes twice.
    Twice(usize),
    /// A frame of a stream does not come.
    Lost(usize),
}

/// Small dice with a seed: the same cases at every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

/// All places in a value, as JSON pointers, but for the whole.
pub(crate) fn places(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, out: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, inner) in members {
                    let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                    out.push(at.clone());
                    walk(inner, &at, out);
                }
            }
            Value::Array(list) => {
                for (number, inner) in list.iter().enumerate() {
                    let at = format!("{at}/{number}");
                    out.push(at.clone());
                    walk(inner, &at, out);
                }
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    walk(value, "", &mut out);
    out
}

/// Everything that can be wrong at a place.
pub(crate) fn at(value: &Value, place: &str) -> Vec<Wrong> {
    let own = || place.to_owned();
    let mut all = vec![Wrong::Gone(own()), Wrong::Null(own()), Wrong::Typed(own())];
    match value.pointer(place) {
        Some(Value::Number(_)) => all.push(Wrong::Huge(own())),
        Some(Value::String(_)) => all.push(Wrong::Word(own())),
        _ => {}
    }
    all
}

/// The value with that wrong in it.
pub(crate) fn changed(value: &Value, wrong: &Wrong) -> Value {
    let mut value = value.clone();
    match wrong {
        Wrong::Gone(place) => {
            let (parent, last) = place.rsplit_once('/').unwrap();
            match value.pointer_mut(parent).unwrap() {
                Value::Object(members) => drop(members.remove(&last.replace("~1", "/").replace("~0", "~"))),
                Value::Array(list) => drop(list.remove(last.parse().unwrap())),
                _ => {}
            }
        }
        Wrong::Null(place) => *value.pointer_mut(place).unwrap() = Value::Null,
        Wrong::Typed(place) => {
            let old = value.pointer_mut(place).unwrap();
            *old = match old {
                Value::String(_) => json!(7),
                Value::Number(_) => json!({"odd": true}),
                // No array for an object: as one, positions stand for members to our readers.
                Value::Array(_) => json!(7),
                Value::Object(_) => json!("odd"),
                Value::Bool(_) | Value::Null => json!([1]),
            };
        }
        Wrong::Huge(place) => *value.pointer_mut(place).unwrap() = json!(18_446_744_073_709_551_615_u64),
        Wrong::Word(place) => *value.pointer_mut(place).unwrap() = json!("a_word_of_2031"),
        Wrong::Cut(_) | Wrong::Twice(_) | Wrong::Lost(_) => {}
    }
    value
}

/// A stream in frames, each with its JSON where it has some.
pub(crate) struct Frames(pub(crate) Vec<Frame>);

pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) json: Option<Value>,
    form: Form,
}

enum Form {
    /// The name of the event.
    Event(Option<String>),
    Line,
    /// The headers of a binary frame.
    Binary(Vec<u8>),
}

impl Frames {
    pub(crate) fn of(format: &str, body: &[u8]) -> Self {
        match format {
            "aws-eventstream" => Self(binary(body)),
            "ndjson" => Self(body.split_inclusive(|byte| *byte == b'\n').map(line).collect()),
            _ => Self(events(&String::from_utf8_lossy(body))),
        }
    }

    /// The stream with that frame replaced.
    pub(crate) fn with(&self, at: usize, json: &Value) -> Vec<u8> {
        let frames = self.0.iter().enumerate();
        frames.flat_map(|(number, frame)| if number == at { frame.saying(json) } else { frame.bytes.clone() }).collect()
    }

    pub(crate) fn twice(&self, at: usize) -> Vec<u8> {
        let times = |number: usize| if number == at { 2 } else { 1 };
        self.0.iter().enumerate().flat_map(|(number, frame)| frame.bytes.repeat(times(number))).collect()
    }

    pub(crate) fn without(&self, at: usize) -> Vec<u8> {
        let rest = self.0.iter().enumerate().filter(|(number, _)| *number != at);
        rest.flat_map(|(_, frame)| frame.bytes.clone()).collect()
    }
}

impl Frame {
    fn saying(&self, json: &Value) -> Vec<u8> {
        match &self.form {
            Form::Event(Some(name)) => format!("event: {name}\ndata: {json}\n\n").into_bytes(),
            Form::Event(None) => format!("data: {json}\n\n").into_bytes(),
            Form::Line => format!("{json}\n").into_bytes(),
            Form::Binary(headers) => framed(headers, json.to_string().as_bytes()),
        }
    }
}

fn events(text: &str) -> Vec<Frame> {
    let text = text.replace("\r\n", "\n");
    let blocks = text.split_inclusive("\n\n");
    let frame = |block: &str| {
        let data: Vec<&str> =
            block.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start).collect();
        let name = block.lines().find_map(|line| line.strip_prefix("event:")).map(|name| name.trim().to_owned());
        Frame {
            bytes: block.as_bytes().to_vec(),
            json: serde_json::from_str(&data.join("\n")).ok(),
            form: Form::Event(name),
        }
    };
    blocks.map(frame).collect()
}

fn line(bytes: &[u8]) -> Frame {
    Frame { bytes: bytes.to_vec(), json: serde_json::from_slice(bytes).ok(), form: Form::Line }
}

fn binary(mut body: &[u8]) -> Vec<Frame> {
    let number = |bytes: &[u8]| usize::try_from(u32::from_be_bytes(bytes[..4].try_into().unwrap())).unwrap();
    let mut frames = Vec::new();
    while body.len() >= 16 {
        let (whole, head) = (number(body).min(body.len()), number(&body[4..]));
        let headers = body[12..12 + head].to_vec();
        let payload = &body[12 + head..whole - 4];
        let json = serde_json::from_slice(payload).ok();
        frames.push(Frame { bytes: body[..whole].to_vec(), json, form: Form::Binary(headers) });
        body = &body[whole..];
    }
    frames
}

fn framed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let four = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
    let mut out = Vec::new();
    out.extend(four(16 + headers.len() + payload.len()));
    out.extend(four(headers.len()));
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out.extend(headers);
    out.extend(payload);
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out
}
