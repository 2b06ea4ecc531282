//! The words for why an answer ended.

use super::types::Word;
use crate::domain::chat::FinishReason;

/// Why it ended, and by what code nothing useful came of it. Words and their numbers (google.ai.generativelanguage
/// `Candidate.FinishReason`).
pub(super) fn finish(reason: &Word) -> (FinishReason, Option<&'static str>) {
    let word = match reason {
        Word::Text(text) => text.as_str(),
        Word::Number(2) => "MAX_TOKENS",
        Word::Number(3) => "SAFETY",
        Word::Number(4) => "RECITATION",
        Word::Number(6) => "LANGUAGE",
        Word::Number(7) => "BLOCKLIST",
        Word::Number(8) => "PROHIBITED_CONTENT",
        Word::Number(9) => "SPII",
        Word::Number(10) => "MALFORMED_FUNCTION_CALL",
        Word::Number(11) => "IMAGE_SAFETY",
        Word::Number(12) => "UNEXPECTED_TOOL_CALL",
        Word::Number(13) => "TOO_MANY_TOOL_CALLS",
        Word::Number(_) => "STOP",
    };
    match word {
        "MAX_TOKENS" => (FinishReason::Length, None),
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "LANGUAGE"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => (FinishReason::ContentFilter, None),
        "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "TOO_MANY_TOOL_CALLS" => {
            (FinishReason::Stop, Some("malformed_function_call"))
        }
        "MALFORMED_RESPONSE" => (FinishReason::Stop, Some("malformed_response")),
        "MISSING_THOUGHT_SIGNATURE" => (FinishReason::Stop, Some("missing_thought_signature")),
        _ => (FinishReason::Stop, None),
    }
}
