//! Blocks of this dialect's clients that others have no form for, as text: results of a search, documents of several
//! blocks, references to tools.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::CODE_TOOL;
use super::request;
use crate::dialect::gemini::fenced;
use crate::dialect::words::Words;
use crate::domain::chat::Part;

#[derive(Deserialize)]
struct Block<'a> {
    r#type: String,
    title: Option<String>,
    context: Option<String>,
    tool_name: Option<String>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    citations: Option<Citations>,
    name: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Citations {
    #[serde(default)]
    enabled: bool,
}

#[derive(Deserialize)]
struct Inner<'a> {
    r#type: String,
    text: Option<String>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
}

pub(in crate::dialect) fn in_words(raw: &str) -> Option<Words> {
    let block: Block<'_> = serde_json::from_str(raw).ok()?;
    match block.r#type.as_str() {
        "search_result" => {
            let address = block.source.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
            let head = [block.title, address].into_iter().flatten();
            let cited = block.citations.is_some_and(|citations| citations.enabled);
            let lost: &[_] = if cited { &["citations"] } else { &[] };
            Some(Words { parts: told(head, block.content?)?, lost })
        }
        "document" => {
            #[derive(Deserialize)]
            struct Source<'a> {
                #[serde(borrow)]
                content: Option<&'a RawValue>,
            }
            let source: Source<'_> = serde_json::from_str(block.source?.get()).ok()?;
            let head = [block.title, block.context].into_iter().flatten();
            Some(Words { parts: told(head, source.content?)?, lost: &[] })
        }
        // All tools are known to a provider that has no search for them: the reference says which was found.
        "server_tool_use" if block.name.as_deref() == Some(CODE_TOOL) => {
            #[derive(Deserialize)]
            struct Input {
                code: String,
            }
            let input: Input = serde_json::from_str(block.input?.get()).ok()?;
            Some(Words::text(fenced("python", &input.code)))
        }
        "code_execution_tool_result" => {
            #[derive(Deserialize)]
            struct Outcome {
                stdout: String,
                stderr: String,
            }
            let outcome: Outcome = serde_json::from_str(block.content?.get()).ok()?;
            let lines = [outcome.stderr, outcome.stdout];
            let lines: Vec<&str> = lines.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
            Some(Words::text(fenced("", &lines.join("\n"))))
        }
        "tool_reference" => block.tool_name.map(Words::text),
        _ => None,
    }
}

/// A text, or blocks of text and images; what stands over them first. None where something else is among them.
fn told(head: impl Iterator<Item = String>, content: &RawValue) -> Option<Vec<Part>> {
    let mut text = head.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    if let Ok(plain) = serde_json::from_str::<String>(content.get()) {
        join(&mut text, &plain);
        return Some(vec![Part::Text(text)]);
    }
    let mut parts = Vec::new();
    for inner in serde_json::from_str::<Vec<Inner<'_>>>(content.get()).ok()? {
        match inner.r#type.as_str() {
            "text" => join(&mut text, &inner.text?),
            "image" => {
                parts.extend((!text.is_empty()).then(|| Part::Text(std::mem::take(&mut text))));
                parts.push(Part::Image(request::source(inner.source?, "source").ok()?));
            }
            _ => return None,
        }
    }
    if parts.is_empty() || !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Some(parts)
}

fn join(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str(more);
}
