//! The shipped provider files, compiled in. A test holds the list against the directory.

use super::SourceFile;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$((concat!("providers/", $name), include_str!(concat!("../../providers/", $name)))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "alibaba.toml",
    "anthropic.toml",
    "azure.toml",
    "bedrock.toml",
    "berget.toml",
    "cerebras.toml",
    "cohere.toml",
    "currencies.toml",
    "deepinfra.toml",
    "deepseek.toml",
    "evroc.toml",
    "fireworks.toml",
    "gemini.toml",
    "groq.toml",
    "huggingface.toml",
    "hyperbolic.toml",
    "ionos.toml",
    "lambda.toml",
    "local.toml",
    "mistral.toml",
    "moonshot.toml",
    "nebius.toml",
    "novita.toml",
    "nvidia.toml",
    "ollama.toml",
    "openai-compatible.toml",
    "openai.toml",
    "openrouter.toml",
    "ovhcloud.toml",
    "perplexity.toml",
    "regolo.toml",
    "sambanova.toml",
    "scaleway.toml",
    "stackit.toml",
    "together.toml",
    "vertex.toml",
    "xai.toml",
    "zai.toml",
];

/// All shipped files.
#[must_use]
pub fn embedded() -> Vec<SourceFile> {
    FILES.iter().map(|(name, text)| SourceFile { name: (*name).to_owned(), text: (*text).to_owned() }).collect()
}
