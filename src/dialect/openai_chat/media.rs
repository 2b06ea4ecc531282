//! Images and sound that are passed on as they come: what metering needs is picked up on the way.
//!
//! Format: OpenAI API reference, "Images", "Audio" and their streaming events.

use bytes::Bytes;
use serde::Deserialize;

use super::{Family, other};
use crate::dialect::{Observed, Tap};
use crate::domain::error::{Error, Failure, FailureKind};
use crate::domain::plan::Operation;
use crate::domain::usage::{Bucket, Usage};
use crate::wire::passing::Passing;
use crate::wire::sse::{SseDecoder, SseEvent};

/// Longest event of a stream, in bytes: a whole image comes in one.
const MAX_EVENT: usize = 32 << 20;

/// How an answer is written.
enum Form {
    /// One JSON object.
    Object(Passing),
    /// Events.
    Events(SseDecoder),
    /// The image, the sound or the text itself.
    Raw,
}

/// Watches such an answer.
pub(super) struct MediaTap {
    form: Form,
    made: Bucket,
    seen: Seen,
}

struct Seen {
    observed: Observed,
    failed: Option<Failure>,
}

/// Whether an answer to that operation is an image, sound, or made of sound.
pub(super) fn is_media(operation: Operation) -> bool {
    matches!(operation, Operation::Images | Operation::Speech | Operation::Transcription)
}

/// What an answer to that operation is made of.
pub(super) fn made(operation: Operation) -> Bucket {
    match operation {
        Operation::Images => Bucket::OutputImage,
        Operation::Speech => Bucket::OutputAudio,
        _ => Bucket::Output,
    }
}

impl MediaTap {
    /// For an answer of that media type; none = it is no image and no sound, and is read whole.
    pub(super) fn new(operation: Operation, media_type: &str) -> Option<Self> {
        if !is_media(operation) {
            return None;
        }
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let form = if media_type.eq_ignore_ascii_case("text/event-stream") {
            Form::Events(SseDecoder::new(MAX_EVENT))
        } else if media_type.eq_ignore_ascii_case("application/json") {
            Form::Object(Passing::new(&["usage", "model"], "data"))
        } else {
            Form::Raw
        };
        // Neither pictures nor sound can be priced by the length of their bytes.
        let observed = Observed { unreported: true, ..Observed::default() };
        Some(Self { form, made: made(operation), seen: Seen { observed, failed: None } })
    }

    fn closed(&mut self) -> Result<(), Failure> {
        let cut = || Err(Failure::new(FailureKind::Truncated, "the answer ended before its end"));
        match &mut self.form {
            Form::Raw => self.seen.observed.finished = true,
            Form::Events(decoder) => {
                let (seen, made) = (&mut self.seen, self.made);
                let read = decoder.finish(&mut |event| seen.event(event, made));
                read.map_err(too_long)?;
                if let Some(failure) = self.seen.failed.take() {
                    return Err(failure);
                }
                if !self.seen.observed.finished {
                    return cut();
                }
            }
            Form::Object(passing) => {
                if !passing.is_whole() {
                    return cut();
                }
                let member = |name| passing.get(name).map_or("null", |v| std::str::from_utf8(v).unwrap_or("null"));
                let report = format!("{{\"usage\":{},\"model\":{}}}", member("usage"), member("model"));
                let told = other::observe(report.as_bytes(), self.made);
                self.seen.reported(told.usage);
                self.seen.observed.model = told.model;
                self.seen.observed.finished = true;
            }
        }
        Ok(())
    }
}

fn too_long(_: crate::wire::sse::LineTooLong) -> Failure {
    Failure::new(FailureKind::Malformed, "an event of the stream is longer than the limit")
}

impl Seen {
    fn reported(&mut self, usage: Option<Usage>) {
        if usage.is_some() {
            self.observed.usage = usage;
            self.observed.unreported = false;
        }
    }

    fn event(&mut self, event: SseEvent<'_>, made: Bucket) {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(rename = "type", borrow, default)]
            kind: Option<std::borrow::Cow<'a, str>>,
            #[serde(borrow, default)]
            error: Option<&'a serde_json::value::RawValue>,
        }
        if event.data == "[DONE]" {
            self.observed.finished = true;
            return;
        }
        let Ok(Kind { kind, error }) = serde_json::from_str::<Kind<'_>>(event.data) else { return };
        let kind = kind.as_deref().or(event.name).unwrap_or_default();
        if kind == "error" || error.is_some() {
            self.failed = Some(Family::inside(event.data));
            return;
        }
        // `speech.audio.done`, `transcript.text.done`, `image_generation.completed`, `image_edit.completed`.
        if kind.ends_with(".done") || kind.ends_with(".completed") {
            self.observed.finished = true;
            self.reported(other::observe(event.data.as_bytes(), made).usage);
        }
    }
}

impl Tap for MediaTap {
    fn chunk(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<(), Failure> {
        match &mut self.form {
            Form::Raw => {}
            Form::Object(passing) => passing.push(&chunk),
            Form::Events(decoder) => {
                let (seen, made) = (&mut self.seen, self.made);
                decoder.push(&chunk, &mut |event| seen.event(event, made)).map_err(too_long)?;
                if let Some(failure) = self.seen.failed.take() {
                    return Err(failure);
                }
            }
        }
        self.seen.observed.began |= !chunk.is_empty();
        out.push(chunk);
        Ok(())
    }

    fn end(&mut self, _: &mut Vec<Bytes>) -> Result<(), Failure> {
        self.closed()
    }

    /// An event where there are events. Half an image is no place for words: the connection is cut.
    fn broken(&mut self, error: &Error) -> Bytes {
        match self.form {
            Form::Events(_) => Bytes::from(Family::event(error)),
            Form::Object(_) | Form::Raw => Bytes::new(),
        }
    }

    fn observed(&self) -> &Observed {
        &self.seen.observed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEECH: &str = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"UklGRg==\"}\n\ndata: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":101,\"total_tokens\":115}}\n\n";

    /// What came through, what was learned, and whether the end was good, in cuts of that size.
    fn pass(operation: Operation, media: &str, body: &str, cuts: usize) -> (String, Observed, bool) {
        let mut tap = MediaTap::new(operation, media).unwrap();
        let mut out = Vec::new();
        let read = body.as_bytes().chunks(cuts).try_for_each(|c| tap.chunk(Bytes::copy_from_slice(c), &mut out));
        let good = read.and_then(|()| tap.end(&mut out)).is_ok();
        (String::from_utf8(out.concat()).unwrap(), tap.observed().clone(), good)
    }

    #[test]
    fn streams_pass_byte_by_byte_and_tell_their_usage() {
        for cuts in 1..SPEECH.len() {
            let (out, seen, good) = pass(Operation::Speech, "text/event-stream; charset=utf-8", SPEECH, cuts);
            assert_eq!((out.as_str(), good), (SPEECH, true), "{cuts}");
            let want = Usage::ZERO.with(Bucket::Input, 14).with(Bucket::OutputAudio, 101);
            assert_eq!((seen.usage, seen.unreported), (Some(want), false));
        }
        let image = "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"QQ==\",\"usage\":{\"input_tokens\":5,\"output_tokens\":9}}\n\n";
        let (_, seen, good) = pass(Operation::Images, "text/event-stream", image, 7);
        assert!(good);
        assert_eq!(seen.usage, Some(Usage::ZERO.with(Bucket::Input, 5).with(Bucket::OutputImage, 9)));
    }

    #[test]
    fn a_stream_that_is_cut_or_says_that_it_failed_is_not_good() {
        let cut = &SPEECH[..60];
        let (_, seen, good) = pass(Operation::Speech, "text/event-stream", cut, 9);
        assert!(!good && seen.usage.is_none());
        let told = "data: {\"type\":\"error\",\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}\n\n";
        let (out, _, good) = pass(Operation::Speech, "text/event-stream", told, 500);
        assert!(!good && out.is_empty(), "the provider's own words do not pass: {out}");
    }

    #[test]
    fn objects_tell_their_usage_wherever_it_stands_and_raw_bytes_tell_none() {
        let object = r#"{"created":1,"usage":{"input_tokens":50,"output_tokens":1000},"data":[{"b64_json":"AAAA"}]}"#;
        let (out, seen, good) = pass(Operation::Images, "application/json", object, 3);
        assert_eq!((out.as_str(), good), (object, true));
        assert_eq!(seen.usage, Some(Usage::ZERO.with(Bucket::Input, 50).with(Bucket::OutputImage, 1000)));
        let (_, seen, good) = pass(Operation::Images, "application/json", "{\"data\":[{\"url\":\"u\"}]}", 3);
        assert!(good && seen.unreported, "no price without a report");
        assert!(!pass(Operation::Images, "application/json", &object[..70], 3).2, "cut");
        let (out, seen, good) = pass(Operation::Speech, "audio/mpeg", "ID3 sound", 2);
        assert_eq!((out.as_str(), good, seen.unreported, seen.usage), ("ID3 sound", true, true, None));
        assert!(MediaTap::new(Operation::Embeddings, "application/json").is_none());
    }
}
