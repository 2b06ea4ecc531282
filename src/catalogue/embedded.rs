//! The shipped provider files, compiled in. A test holds the list against the directory.

use super::SourceFile;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$((concat!("providers/", $name), include_str!(concat!("../../providers/", $name)))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "anthropic.toml",
    "azure.toml",
    "bedrock.toml",
    "cohere.toml",
    "currencies.toml",
    "deepinfra.toml",
    "deepseek.toml",
    "fireworks.toml",
    "gemini.toml",
    "groq.toml",
    "local.toml",
    "mistral.toml",
    "nebius.toml",
    "openai-compatible.toml",
    "ollama.toml",
    "openai.toml",
    "openrouter.toml",
    "ovhcloud.toml",
    "scaleway.toml",
    "together.toml",
];

/// All shipped files.
#[must_use]
pub fn embedded() -> Vec<SourceFile> {
    FILES.iter().map(|(name, text)| SourceFile { name: (*name).to_owned(), text: (*text).to_owned() }).collect()
}
