//! Code that the provider ran, and what came of it: read for those dialects of clients that have a form for it, and told as
//! text in conversations.

use serde::Deserialize;

use super::DIALECT;
use crate::dialect::words::Words;
use crate::domain::chat::Part;

/// What the provider ran, or what came of it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::dialect) enum Ran {
    Code {
        language: String,
        code: String,
    },
    /// What it wrote, and why it failed, if it did.
    Outcome {
        output: String,
        failed: Option<String>,
    },
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "executableCode", alias = "executable_code")]
    code: Option<Code>,
    #[serde(rename = "codeExecutionResult", alias = "code_execution_result")]
    result: Option<Outcome>,
}

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    language: String,
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    output: String,
}

impl Ran {
    fn read(raw: &str) -> Option<Self> {
        let wire: Wire = serde_json::from_str(raw).ok()?;
        let code = wire.code.map(|Code { language, code }| {
            let language =
                if language == "LANGUAGE_UNSPECIFIED" { String::new() } else { language.to_ascii_lowercase() };
            Self::Code { language, code }
        });
        code.or(wire.result.map(|Outcome { outcome, output }| {
            let failed = !matches!(outcome.as_str(), "" | "OUTCOME_OK" | "OUTCOME_UNSPECIFIED");
            Self::Outcome { output, failed: failed.then_some(outcome) }
        }))
    }

    /// Of a part of an answer.
    pub(in crate::dialect) fn of(part: &Part) -> Option<Self> {
        match part {
            Part::Opaque { dialect, raw } if *dialect == DIALECT => Self::read(raw.as_str()),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Code { language, code } => fenced(language, code),
            Self::Outcome { output, failed: None } => fenced("", output),
            Self::Outcome { output, failed: Some(why) } => fenced("", &format!("{why}\n{output}")),
        }
    }
}

/// A block on lines of its own, within a fence longer than any in it.
pub(in crate::dialect) fn fenced(language: &str, text: &str) -> String {
    let mut fence = "```".to_owned();
    while text.contains(&fence) {
        fence.push('`');
    }
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("\n{fence}{language}\n{text}{end}{fence}\n")
}

/// A part of a client that is one of the two.
pub(in crate::dialect) fn in_words(raw: &str) -> Option<Words> {
    Ran::read(raw).map(|ran| Words::text(ran.text()))
}
