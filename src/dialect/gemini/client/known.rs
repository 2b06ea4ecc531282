//! What the decoder understands of the members inside of others. Everything else is told by name.

use std::borrow::Cow;

use super::envelope::camel;
use crate::dialect::unread::{Read, Shape, all, no, within};

/// Names may be written in camel case or with low lines.
pub(super) fn own(given: &str) -> Cow<'_, str> {
    if given.contains('_') { Cow::Owned(camel(given)) } else { Cow::Borrowed(given) }
}

/// A request. What stands in `generationConfig` is told by its decoder.
pub(super) static REQUEST: Shape = Shape {
    known: &[
        within("contents", &CONTENT),
        within("systemInstruction", &CONTENT),
        within("tools", &TOOL),
        within("toolConfig", &TOOL_CONFIG),
        within("generationConfig", &CONFIG),
    ],
    read: Read::Elsewhere,
};

static CONTENT: Shape = Shape { known: &[all("role"), within("parts", &PART)], read: Read::All };

/// Parts with none of these are of the provider's own, and told as a whole.
static PART: Shape = Shape {
    known: &[
        all("text"),
        all("thought"),
        all("thoughtSignature"),
        within("inlineData", &BLOB),
        within("fileData", &FILE),
        within("functionCall", &CALL),
        within("functionResponse", &RESPONSE),
    ],
    read: Read::With(&["text", "inlineData", "fileData", "functionCall", "functionResponse"]),
};

static BLOB: Shape = Shape { known: &[all("mimeType"), all("data")], read: Read::All };
static FILE: Shape = Shape { known: &[all("mimeType"), all("fileUri")], read: Read::All };
static CALL: Shape = Shape { known: &[all("id"), all("name"), all("args"), no("willContinue")], read: Read::All };
static RESPONSE: Shape = Shape {
    known: &[all("id"), all("name"), all("response"), within("parts", &SHOWN), no("willContinue")],
    read: Read::All,
};
static SHOWN: Shape = Shape { known: &[within("inlineData", &BLOB), within("fileData", &FILE)], read: Read::All };

/// What is beside the functions is of the provider's own, and told as a whole.
static TOOL: Shape = Shape { known: &[within("functionDeclarations", &FUNCTION)], read: Read::Elsewhere };
static FUNCTION: Shape = Shape {
    known: &[all("name"), all("description"), all("parameters"), all("parametersJsonSchema")],
    read: Read::All,
};

static TOOL_CONFIG: Shape = Shape { known: &[within("functionCallingConfig", &CALLING)], read: Read::All };
static CALLING: Shape = Shape { known: &[all("mode"), all("allowedFunctionNames")], read: Read::All };

static CONFIG: Shape = Shape { known: &[within("thinkingConfig", &THINKING)], read: Read::Elsewhere };
static THINKING: Shape =
    Shape { known: &[all("thinkingBudget"), all("thinkingLevel"), all("includeThoughts")], read: Read::All };
