//! Why an answer ended: words of this dialect and of its imitators, some of which hand on those of the provider behind them.

use crate::domain::chat::FinishReason;
use crate::domain::error::{Failure, FailureKind};

/// Longest word that is told on.
const LONGEST: usize = 80;

/// With calls, a natural end is one for their sake; words nobody knows read as a natural end.
pub(super) fn reason(word: Option<&str>, has_calls: bool) -> FinishReason {
    match word.map(str::to_ascii_lowercase).as_deref() {
        Some("length" | "max_tokens" | "model_length" | "max_output_tokens" | "model_context_window_exceeded") => {
            FinishReason::Length
        }
        Some(word) if is_filter(word) => FinishReason::ContentFilter,
        _ if has_calls => FinishReason::ToolCalls,
        _ => FinishReason::Stop,
    }
}

fn is_filter(word: &str) -> bool {
    // Google's compatible path adds why, or has the words of its own API; `sensitive` is Z.ai's.
    word.starts_with("content_filter")
        || matches!(
            word,
            "refusal"
                | "sensitive"
                | "guardrail_intervened"
                | "safety"
                | "recitation"
                | "blocklist"
                | "prohibited_content"
                | "spii"
                | "model_armor"
                | "image_safety"
                | "image_prohibited_content"
                | "image_recitation"
        )
}

/// Whether a provider kept the answer back. Azure then sends a choice without a message.
pub(super) fn filtered(word: Option<&str>) -> bool {
    reason(word, false) == FinishReason::ContentFilter
}

/// The failure that a word stands for: the provider broke the answer off, or nothing useful came of it. `silent`: nothing has
/// been said.
pub(super) fn broken(word: &str, silent: bool) -> Option<Failure> {
    let lower = word.to_ascii_lowercase();
    // `error` is Mistral's and OpenRouter's, the next two are DeepSeek's and Z.ai's, `abort` is vLLM's and SGLang's.
    let broke = matches!(&*lower, "error" | "insufficient_system_resource" | "network_error" | "abort");
    let misfired = lower.contains("malformed_function_call");
    let message = match (broke, misfired && silent) {
        (true, _) => "the provider broke its answer off",
        (_, true) => "the model called a function badly",
        _ => return None,
    };
    let code = word.chars().take(LONGEST).collect();
    Some(Failure { code: Some(code), ..Failure::new(FailureKind::Upstream, message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_imitators_say_why_an_answer_ended() {
        for word in ["length", "MAX_TOKENS", "model_length", "model_context_window_exceeded"] {
            assert_eq!(reason(Some(word), true), FinishReason::Length, "{word}");
        }
        for word in ["content_filter", "content_filter: RECITATION", "sensitive", "SAFETY", "PROHIBITED_CONTENT"] {
            assert_eq!(reason(Some(word), true), FinishReason::ContentFilter, "{word}");
            assert!(filtered(Some(word)) && broken(word, true).is_none(), "{word}");
        }
        assert_eq!(reason(Some("eos"), false), FinishReason::Stop);
        assert_eq!(reason(None, true), FinishReason::ToolCalls);
    }

    #[test]
    fn an_answer_that_was_broken_off_is_none() {
        for word in ["error", "insufficient_system_resource", "network_error", "abort"] {
            let failure = broken(word, false).unwrap();
            assert_eq!((failure.kind, failure.code.as_deref()), (FailureKind::Upstream, Some(word)));
        }
        assert!(broken("function_call_filter: MALFORMED_FUNCTION_CALL", true).is_some());
        assert!(broken("function_call_filter: MALFORMED_FUNCTION_CALL", false).is_none());
        assert!(broken("stop", true).is_none());
    }
}
