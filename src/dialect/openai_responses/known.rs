//! What the decoder understands of the members inside of others. Everything else is told by name.

use crate::dialect::unread::{Read, Shape, all, no, within};

/// A request. What stands in `text` and `reasoning` is told by its decoder.
pub(super) static REQUEST: Shape = Shape {
    known: &[
        within("input", &ITEM),
        within("tools", &TOOL),
        within("text", &TEXT),
        within("reasoning", &REASONING),
        within("stream_options", &STREAM_OPTIONS),
    ],
    read: Read::Elsewhere,
};

const SAID: &[&str] = &["message"];
const CALLED: &[&str] = &["function_call", "custom_tool_call"];
const RETURNED: &[&str] = &["function_call_output", "custom_tool_call_output"];
const THOUGHT: &[&str] = &["reasoning"];

static ITEM: Shape = Shape {
    known: &[
        all("type"),
        all("id"),
        all("status"),
        all("role").of(SAID),
        within("content", &PART).of(&["message", "reasoning"]),
        all("call_id"),
        all("name").of(CALLED),
        all("namespace").of(CALLED),
        all("arguments").of(CALLED),
        all("parsed_arguments").of(CALLED),
        all("input").of(CALLED),
        within("output", &PART).of(RETURNED),
        within("summary", &THOUGHTS).of(THOUGHT),
        all("encrypted_content").of(THOUGHT),
    ],
    read: Read::Kinds(&[
        "message",
        "function_call",
        "custom_tool_call",
        "function_call_output",
        "custom_tool_call_output",
        "reasoning",
    ]),
};

const FILES: &[&str] = &["input_image", "input_file"];

static PART: Shape = Shape {
    known: &[
        all("type"),
        all("text").of(&["input_text", "output_text", "text", "reasoning_text", "summary_text"]),
        // What the provider says beside the words of its answers.
        all("logprobs").of(&["output_text"]),
        all("parsed").of(&["output_text"]),
        all("refusal").of(&["refusal"]),
        all("image_url").of(&["input_image"]),
        all("detail").of(FILES),
        all("file_id").of(FILES),
        all("file_data").of(&["input_file"]),
        all("file_url").of(&["input_file"]),
        all("filename").of(&["input_file"]),
        within("input_audio", &AUDIO).of(&["input_audio"]),
        within("prompt_cache_breakpoint", &BREAKPOINT),
    ],
    read: Read::Kinds(&[
        "input_text",
        "output_text",
        "text",
        "refusal",
        "input_image",
        "input_file",
        "input_audio",
        "reasoning_text",
        "summary_text",
    ]),
};

static AUDIO: Shape = Shape { known: &[all("data"), all("format")], read: Read::All };
static BREAKPOINT: Shape = Shape { known: &[all("mode")], read: Read::All };
static THOUGHTS: Shape = Shape { known: &[all("type"), all("text")], read: Read::All };

/// Tools of other kinds are the provider's own, and told as a whole.
static TOOL: Shape = Shape {
    known: &[
        all("type"),
        all("name"),
        // That of a group has no place elsewhere.
        all("description").of(&["function", "custom"]),
        all("parameters").of(&["function"]),
        all("strict").of(&["function"]),
        all("format").of(&["custom"]),
        within("tools", &TOOL).of(&["namespace"]),
    ],
    read: Read::Kinds(&["function", "custom", "namespace"]),
};

static TEXT: Shape = Shape { known: &[within("format", &FORMAT)], read: Read::Elsewhere };
static FORMAT: Shape =
    Shape { known: &[all("type"), all("name"), all("description"), all("schema"), all("strict")], read: Read::All };
static REASONING: Shape = Shape { known: &[], read: Read::Elsewhere };

/// Usage is part of every stream, and translated ones are not padded.
static STREAM_OPTIONS: Shape = Shape { known: &[all("include_usage"), no("include_obfuscation")], read: Read::All };
