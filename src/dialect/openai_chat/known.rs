//! What the decoder understands of the members inside of others. Everything else is told by name.

use crate::dialect::unread::{Read, Shape, all, no, within};

/// A request.
pub(super) static REQUEST: Shape = Shape {
    known: &[
        within("messages", &MESSAGE),
        within("tools", &TOOL),
        within("functions", &FUNCTION),
        within("response_format", &FORMAT),
        within("reasoning", &REASONING),
        within("thinking", &THINKING),
        within("stream_options", &STREAM_OPTIONS),
    ],
    read: Read::Elsewhere,
};

static MESSAGE: Shape = Shape {
    known: &[
        all("role"),
        all("name"),
        within("content", &PART),
        all("reasoning_content"),
        all("reasoning"),
        all("reasoning_details"),
        all("refusal"),
        within("tool_calls", &CALL),
        all("tool_call_id"),
        within("function_call", &CALLED),
        within("audio", &SPOKEN),
        // What answers hold beside their content, and SDKs send back with it.
        all("id"),
        all("index"),
        all("type"),
        all("status"),
        all("finish_reason"),
        all("parsed"),
        no("prefix"),
    ],
    read: Read::All,
};

/// The sound of what the assistant said is told as lost, its words are not.
static SPOKEN: Shape = Shape { known: &[all("id"), all("expires_at"), all("transcript")], read: Read::All };

static PART: Shape = Shape {
    known: &[
        all("type"),
        all("text").of(&["text"]),
        all("refusal").of(&["refusal"]),
        within("image_url", &IMAGE).of(&["image_url"]),
        within("input_audio", &AUDIO).of(&["input_audio"]),
        within("file", &FILE).of(&["file"]),
        all("thinking").of(&["thinking"]),
        all("closed").of(&["thinking"]),
        within("cache_control", &MARK),
        all("id"),
        all("index"),
    ],
    read: Read::Kinds(&["text", "refusal", "image_url", "input_audio", "file", "thinking"]),
};

static MARK: Shape = Shape { known: &[all("type"), all("ttl")], read: Read::All };
static IMAGE: Shape = Shape { known: &[all("url"), all("detail")], read: Read::All };
static AUDIO: Shape = Shape { known: &[all("data"), all("format")], read: Read::All };
static FILE: Shape = Shape { known: &[all("file_data"), all("file_id"), all("filename")], read: Read::All };

static CALL: Shape = Shape {
    known: &[
        all("type"),
        all("id"),
        all("index"),
        all("status"),
        within("function", &CALLED),
        within("custom", &CUSTOM_CALLED),
        within("extra_content", &EXTRA),
    ],
    read: Read::All,
};

static CALLED: Shape = Shape { known: &[all("name"), all("arguments"), all("parsed_arguments")], read: Read::All };
static CUSTOM_CALLED: Shape = Shape { known: &[all("name"), all("input")], read: Read::All };
static EXTRA: Shape = Shape { known: &[within("google", &GOOGLE)], read: Read::All };
static GOOGLE: Shape = Shape { known: &[all("thought_signature")], read: Read::All };

/// Tools of other kinds are some provider's own, and told as a whole.
static TOOL: Shape = Shape {
    known: &[all("type"), within("function", &FUNCTION), within("custom", &CUSTOM), within("cache_control", &MARK)],
    read: Read::Kinds(&["function", "custom"]),
};

static FUNCTION: Shape =
    Shape { known: &[all("name"), all("description"), all("parameters"), all("strict")], read: Read::All };
static CUSTOM: Shape = Shape { known: &[all("name"), all("description"), all("format")], read: Read::All };

static FORMAT: Shape = Shape {
    known: &[all("type"), within("json_schema", &SCHEMA), all("schema").of(&["json_object"])],
    read: Read::All,
};
static SCHEMA: Shape =
    Shape { known: &[all("name"), all("description"), all("schema"), all("strict")], read: Read::All };

static REASONING: Shape =
    Shape { known: &[all("effort"), all("max_tokens"), all("enabled"), all("exclude")], read: Read::All };
static THINKING: Shape = Shape { known: &[all("type"), all("budget_tokens"), all("display")], read: Read::All };

/// Translated streams are not padded.
static STREAM_OPTIONS: Shape = Shape { known: &[all("include_usage"), no("include_obfuscation")], read: Read::All };
