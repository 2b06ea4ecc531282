//! Items of this dialect's clients that others have no form for, as text: code that ran.

use serde::Deserialize;

use crate::dialect::gemini::fenced;
use crate::dialect::words::Words;

#[derive(Deserialize)]
struct Item {
    r#type: String,
    code: Option<String>,
    outputs: Option<Vec<Output>>,
}

#[derive(Deserialize)]
struct Output {
    logs: Option<String>,
}

pub(in crate::dialect) fn in_words(raw: &str) -> Option<Words> {
    let item: Item = serde_json::from_str(raw).ok().filter(|item: &Item| item.r#type == "code_interpreter_call")?;
    let code = item.code.map(|code| fenced("python", &code));
    let logs = item.outputs.into_iter().flatten().filter_map(|output| output.logs).map(|logs| fenced("", &logs));
    Some(Words::text(code.into_iter().chain(logs).collect()))
}
