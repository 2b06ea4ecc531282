//! The protocol between gateway and worker: frames of a little-endian u32 length and that many bytes of JSON.
//!
//! Both ends are the same binary, so there is one version; the worker's first frame tells it, and a mismatch (a binary
//! replaced while running) is a failure to start.

use std::io;
#[cfg(any(feature = "local", test))]
use std::io::Read;
#[cfg(feature = "local")]
use std::io::Write;

#[cfg(any(feature = "local", test))]
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Changed with every change of a frame.
pub(super) const VERSION: u32 = 2;
/// Largest frame: a prompt of a full context is far below.
pub(super) const MAX_FRAME: u32 = 64 << 20;

/// To the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    Job(Box<Job>),
    Cancel { id: u64 },
}

/// From the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Tell {
    /// The model is loaded.
    Ready { version: u32, context: u32 },
    /// The model can't be loaded, ever: no use to try again soon.
    Broken { reason: String },
    /// Something about a job.
    Job { id: u64, event: JobEvent, input: u64, output: u64, reasoning: u64 },
}

/// A request, in the worker's terms.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Job {
    pub id: u64,
    pub turns: Vec<Turn>,
    /// Definitions as JSON text.
    pub tools: Vec<String>,
    pub max_output: u64,
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<u32>,
    pub min_p: Option<f32>,
    pub frequency_penalty: Option<f32>,
    pub presence_penalty: Option<f32>,
    pub seed: Option<u32>,
    pub stop: Vec<String>,
    /// Whether the model shall think; none = as it likes.
    pub think: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Turn {
    pub role: TurnRole,
    pub text: String,
    pub calls: Vec<Call>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TurnRole {
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call {
    pub name: String,
    pub arguments: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum JobEvent {
    /// The prompt is being read.
    Started,
    Reasoning(String),
    Text(String),
    ToolCall {
        index: u32,
        id: String,
        name: String,
        arguments: String,
    },
    Finished(Finish),
    /// The job can't be done as asked.
    Refused {
        reason: String,
        param: Option<String>,
    },
    /// The prompt does not fit the context.
    TooLong {
        prompt: u64,
        context: u32,
    },
    /// As many jobs wait as may.
    Busy,
    /// The engine failed at this job.
    Failed {
        reason: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Finish {
    Stop,
    Length,
    ToolCalls,
}

/// Renders a frame.
pub(super) fn frame<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut out = vec![0; 4];
    serde_json::to_writer(&mut out, value)?;
    let length = u32::try_from(out.len() - 4).ok().filter(|length| *length <= MAX_FRAME);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a frame over the limit"))?;
    out[..4].copy_from_slice(&length.to_le_bytes());
    Ok(out)
}

/// Reads a frame's length.
pub(super) fn length(head: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(head);
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame over the limit"));
    }
    Ok(length as usize)
}

/// Writes a frame.
#[cfg(feature = "local")]
pub(super) fn write<T: Serialize>(to: &mut impl Write, value: &T) -> io::Result<()> {
    to.write_all(&frame(value)?)
}

/// Reads a frame; none at a clean end.
#[cfg(any(feature = "local", test))]
pub(super) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut head = [0; 4];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut body = vec![0; length(head)?];
    from.read_exact(&mut body)?;
    serde_json::from_slice(&body).map(Some).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_a_hostile_length_is_refused() {
        let tell = Tell::Job { id: 7, event: JobEvent::Text("é🦀".into()), input: 1, output: 2, reasoning: 3 };
        let bytes = frame(&tell).unwrap();
        let mut reader = bytes.as_slice();
        let Some(Tell::Job { id: 7, event: JobEvent::Text(text), .. }) = read(&mut reader).unwrap() else { panic!() };
        assert_eq!(text, "é🦀");
        assert!(read::<Tell>(&mut reader).unwrap().is_none(), "a clean end");
        assert!(read::<Tell>(&mut [255_u8; 8].as_slice()).is_err());
        assert!(read::<Tell>(&mut &bytes[..6]).is_err(), "a cut frame");
    }
}
