//! The recordings, and the independent reader of answers that comes with them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use stellwerk::domain::id::DialectId;

/// One recorded exchange.
#[derive(Debug, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) id: String,
    pub(crate) provider: String,
    pub(crate) provider_detail: Option<String>,
    pub(crate) api: String,
    pub(crate) api_detail: Option<String>,
    pub(crate) stream: bool,
    pub(crate) status: u16,
    pub(crate) wire_format: String,
    pub(crate) features: Vec<String>,
    pub(crate) request: Asked,
    pub(crate) response: Answered,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    pub(crate) url: Option<String>,
    pub(crate) body: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Answered {
    pub(crate) headers: BTreeMap<String, Value>,
    pub(crate) body_encoding: String,
    pub(crate) body_text: String,
}

impl Exchange {
    /// The bytes of the answer.
    pub(crate) fn answer(&self) -> Vec<u8> {
        if self.response.body_encoding == "base64" {
            STANDARD.decode(&self.response.body_text).unwrap()
        } else {
            self.response.body_text.clone().into_bytes()
        }
    }

    /// Who answered, in the table.
    pub(crate) fn who(&self) -> String {
        let detail = self.provider_detail.as_ref().map(|detail| format!("/{detail}")).unwrap_or_default();
        format!("{}{detail}", self.provider)
    }

    /// Which API, in the table.
    pub(crate) fn api(&self) -> &str {
        if self.api == "other" { self.api_detail.as_deref().unwrap_or("other") } else { &self.api }
    }

    /// The dialect of a conversation; none = it is not one of those that the gateway speaks.
    pub(crate) fn dialect(&self) -> Option<DialectId> {
        Some(match self.api() {
            "chat.completions" => DialectId::OpenAiChat,
            "responses" => DialectId::OpenAiResponses,
            "completions" if self.last_segment() == Some("completions") => DialectId::OpenAiCompletions,
            "messages" => DialectId::Anthropic,
            "generateContent" | "streamGenerateContent" => DialectId::Gemini,
            "converse" | "converse-stream" => DialectId::Bedrock,
            "cohere.v2.chat" => DialectId::Cohere,
            "ollama.chat" => DialectId::Ollama,
            _ => return None,
        })
    }

    fn last_segment(&self) -> Option<&str> {
        let url = self.request.url.as_deref()?.split('?').next()?;
        (!url.contains("/prompts/")).then(|| url.rsplit('/').next()).flatten()
    }

    /// Whether the answer came in pieces.
    pub(crate) fn streamed(&self) -> bool {
        matches!(self.wire_format.as_str(), "sse" | "aws-eventstream" | "ndjson") || self.api == "streamGenerateContent"
    }

    /// The members of the request in order, each as its bytes; none = there is no such body.
    pub(crate) fn members(&self) -> Option<Members> {
        let raw = self.request.body.as_ref()?;
        serde_json::from_str(raw.get()).ok()
    }
}

/// A JSON object whose values keep their bytes.
#[derive(Clone, Debug)]
pub(crate) struct Members(pub(crate) Vec<(String, Box<RawValue>)>);

impl Members {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.get())
    }

    /// Sets a member where it stands, or at the end.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let value = RawValue::from_string(value.to_owned()).unwrap();
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    pub(crate) fn text(&self) -> String {
        let member = |(name, value): &(String, Box<RawValue>)| format!("{}: {}", Value::from(&**name), value.get());
        format!("{{{}}}", self.0.iter().map(member).collect::<Vec<_>>().join(", "))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// What the independent reader makes of an answer.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Digest {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) reasoning: String,
    pub(crate) refusal: String,
    pub(crate) tool_calls: Vec<DigestCall>,
    pub(crate) finish: Option<String>,
    pub(crate) usage: Option<DigestUsage>,
    pub(crate) error: Option<DigestError>,
    pub(crate) terminated: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DigestCall {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) args: Value,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DigestUsage {
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
    pub(crate) cache_read: u64,
    pub(crate) cache_write: u64,
    pub(crate) reasoning: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DigestError {
    pub(crate) message: Option<String>,
}

/// Other recordings in the same form, to be run instead of those that the table in the documentation is of.
pub(crate) fn others() -> Option<PathBuf> {
    std::env::var_os("STELLWERK_CORPUS").map(PathBuf::from)
}

/// Where the reader and its recordings are.
pub(crate) fn dir() -> PathBuf {
    std::env::var_os("STELLWERK_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from)
        .join("corpus")
}

fn files() -> Option<Vec<PathBuf>> {
    let dir = others().unwrap_or_else(dir);
    let Ok(listing) = std::fs::read_dir(&dir) else {
        println!("skipped: no recorded exchanges at {}", dir.display());
        return None;
    };
    let mut files: Vec<PathBuf> = listing.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "jsonl"));
    files.sort();
    Some(files)
}

/// All exchanges; none = there are no recordings here, which is told.
pub(crate) fn load() -> Option<Vec<Exchange>> {
    let text: String = files()?.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// The reader's view of recordings, by id: of those at hand, or of those written to `file`.
pub(crate) fn digests(file: Option<PathBuf>) -> BTreeMap<String, Digest> {
    let files = file.map_or_else(|| files().unwrap(), |file| vec![file]);
    let mut reader = Command::new("python3");
    reader.arg(dir().join("replay.py")).arg("digest").arg("--corpus").args(&files).arg("--all");
    let read = reader.output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let text = String::from_utf8(read.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str::<Digest>(line).unwrap()).map(|d| (d.id.clone(), d)).collect()
}
