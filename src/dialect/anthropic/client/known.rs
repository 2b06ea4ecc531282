//! What the decoder understands of the members inside of others. Everything else is told by name.

use crate::dialect::unread::{Read, Shape, all, no, within};

/// A request.
pub(super) static REQUEST: Shape = Shape {
    known: &[
        within("system", &BLOCK),
        within("messages", &MESSAGE),
        within("tools", &TOOL),
        within("tool_choice", &CHOICE),
        within("thinking", &THINKING),
        within("output_config", &CONFIG),
        within("output_format", &FORMAT),
        within("metadata", &METADATA),
        within("cache_control", &MARK),
    ],
    read: Read::Elsewhere,
};

static MESSAGE: Shape = Shape {
    known: &[
        all("role"),
        within("content", &BLOCK),
        // What answers hold beside their content, and SDKs send back with it.
        all("id"),
        all("type"),
        all("model"),
        all("stop_reason"),
        all("stop_sequence"),
        all("usage"),
    ],
    read: Read::All,
};

static BLOCK: Shape = Shape {
    known: &[
        all("type"),
        all("text").of(&["text"]),
        all("thinking").of(&["thinking"]),
        all("signature").of(&["thinking"]),
        all("data").of(&["redacted_thinking"]),
        all("id").of(&["tool_use"]),
        all("name").of(&["tool_use"]),
        all("input").of(&["tool_use"]),
        within("caller", &CALLER).of(&["tool_use"]),
        all("tool_use_id").of(&["tool_result"]),
        within("content", &BLOCK).of(&["tool_result"]),
        all("is_error").of(&["tool_result"]),
        within("source", &SOURCE).of(&["image", "document"]),
        all("title").of(&["document"]),
        all("context").of(&["document"]),
        within("citations", &CITATIONS).of(&["document"]),
        within("cache_control", &MARK),
        // What the SDKs made of a text.
        all("parsed_output").of(&["text"]),
    ],
    read: Read::Kinds(&["text", "thinking", "redacted_thinking", "tool_use", "tool_result", "image", "document"]),
};

/// Who called: in answers of newer models always the model itself.
static CALLER: Shape = Shape { known: &[all("type").of(&["direct"])], read: Read::All };
static SOURCE: Shape = Shape {
    known: &[all("type"), all("media_type"), all("data"), all("url"), all("file_id")],
    read: Read::Kinds(&SOURCES),
};
static SOURCES: [&str; 4] = ["base64", "url", "file", "text"];
/// Whether answers are to say what they are taken from.
static CITATIONS: Shape = Shape { known: &[no("enabled")], read: Read::All };
static MARK: Shape = Shape { known: &[all("type"), all("ttl")], read: Read::All };

/// Tools of other kinds are the provider's own, and told as a whole.
static TOOL: Shape = Shape {
    known: &[
        all("type"),
        all("name"),
        all("description"),
        all("input_schema"),
        all("strict"),
        no("defer_loading"),
        no("eager_input_streaming"),
        within("cache_control", &MARK),
    ],
    read: Read::Kinds(&["custom"]),
};

static CHOICE: Shape = Shape { known: &[all("type"), all("name"), all("disable_parallel_tool_use")], read: Read::All };
static THINKING: Shape = Shape { known: &[all("type"), all("budget_tokens"), all("display")], read: Read::All };
static CONFIG: Shape = Shape { known: &[within("format", &FORMAT), all("effort")], read: Read::All };
static FORMAT: Shape = Shape { known: &[all("type"), all("schema"), all("name")], read: Read::All };
static METADATA: Shape = Shape { known: &[all("user_id")], read: Read::All };
