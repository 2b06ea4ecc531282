//! The parameters that clients of this dialect have.

use crate::dialect::params::{Parameter, Slot, Weight, row, row_unless};

const SEMANTIC: Slot = Slot::Own(Weight::Semantic);
const ADVISORY: Slot = Slot::Own(Weight::Advisory);

/// Source: Gemini API reference, "generateContent" and "GenerationConfig".
pub(super) static PARAMETERS: &[Parameter] = &[
    row("model", Slot::Core),
    row("contents", Slot::Core),
    row("systemInstruction", Slot::Core),
    row("tools", Slot::Tools),
    row("toolConfig", Slot::ToolChoice),
    row("generationConfig.responseJsonSchema", Slot::ResponseFormat),
    row("generationConfig.responseSchema", Slot::ResponseFormat),
    row_unless("generationConfig.responseMimeType", Slot::JsonMode, &["\"text/plain\""]),
    row_unless("generationConfig.temperature", Slot::Temperature, &["1"]),
    row_unless("generationConfig.topP", Slot::TopP, &["1"]),
    row_unless("generationConfig.topK", Slot::TopK, &["0"]),
    row_unless("generationConfig.frequencyPenalty", Slot::FrequencyPenalty, &["0"]),
    row_unless("generationConfig.presencePenalty", Slot::PresencePenalty, &["0"]),
    row("generationConfig.seed", Slot::Seed),
    row_unless("generationConfig.stopSequences", Slot::Stop, &["[]"]),
    row_unless("generationConfig.responseLogprobs", Slot::Logprobs, &["false"]),
    row_unless("generationConfig.logprobs", Slot::TopLogprobs, &["0"]),
    row_unless("generationConfig.candidateCount", Slot::Choices, &["1"]),
    row("generationConfig.maxOutputTokens", Slot::MaxOutput),
    row("generationConfig.thinkingConfig", Slot::Reasoning),
    row("generationConfig.thinkingConfig.includeThoughts", Slot::Core),
    row_unless("generationConfig.responseModalities", SEMANTIC, &["[\"TEXT\"]", "[]"]),
    row("generationConfig.speechConfig", SEMANTIC),
    row("generationConfig.imageConfig", SEMANTIC),
    row("generationConfig.mediaResolution", ADVISORY),
    row("generationConfig.enableEnhancedCivicAnswers", ADVISORY),
    row("generationConfig.audioTimestamp", ADVISORY),
    row("generationConfig.routingConfig", ADVISORY),
    row("safetySettings", ADVISORY),
    row("labels", Slot::Metadata),
    row("serviceTier", Slot::ServiceTier),
    row("store", ADVISORY),
    row("cachedContent", SEMANTIC),
];
