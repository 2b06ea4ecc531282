//! Code that the provider ran, and what came of it, as text.

use std::borrow::Cow;

use serde::Deserialize;

use crate::dialect::words::Words;

#[derive(Debug, Deserialize)]
pub(super) struct ExecutableCode {
    #[serde(default)]
    language: Option<String>,
    #[serde(default)]
    code: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CodeResult {
    #[serde(default)]
    outcome: Option<String>,
    #[serde(default)]
    output: Option<String>,
}

impl ExecutableCode {
    pub(super) fn text(&self) -> String {
        let language = self.language.as_deref().filter(|word| *word != "LANGUAGE_UNSPECIFIED");
        fenced(&language.unwrap_or_default().to_ascii_lowercase(), self.code.as_deref().unwrap_or_default())
    }
}

impl CodeResult {
    /// Why it failed, if it did, stands before what it wrote.
    pub(super) fn text(&self) -> String {
        let failed = self.outcome.as_deref().filter(|word| !matches!(*word, "OUTCOME_OK" | "OUTCOME_UNSPECIFIED"));
        let output = self.output.as_deref().unwrap_or_default();
        let output = failed.map_or(Cow::Borrowed(output), |word| Cow::Owned(format!("{word}\n{output}")));
        fenced("", &output)
    }
}

/// A block on lines of its own, within a fence longer than any in it.
fn fenced(language: &str, text: &str) -> String {
    let mut fence = "```".to_owned();
    while text.contains(&fence) {
        fence.push('`');
    }
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("\n{fence}{language}\n{text}{end}{fence}\n")
}

/// A part of a client that is one of the two.
pub(in crate::dialect) fn in_words(raw: &str) -> Option<Words> {
    #[derive(Deserialize)]
    struct Part {
        #[serde(rename = "executableCode", alias = "executable_code")]
        code: Option<ExecutableCode>,
        #[serde(rename = "codeExecutionResult", alias = "code_execution_result")]
        result: Option<CodeResult>,
    }
    let part: Part = serde_json::from_str(raw).ok()?;
    let text = part.code.map(|code| code.text()).or(part.result.map(|result| result.text()))?;
    Some(Words::text(text))
}
