//! The parameters that clients of this dialect have.

use crate::dialect::params::{Parameter, Slot, Weight, row, row_unless};

const SEMANTIC: Slot = Slot::Own(Weight::Semantic);
const ADVISORY: Slot = Slot::Own(Weight::Advisory);

/// Source: Anthropic API reference, "Create a Message", with the members of its betas.
pub(super) static PARAMETERS: &[Parameter] = &[
    row("model", Slot::Core),
    row("messages", Slot::Core),
    row("system", Slot::Core),
    row("stream", Slot::Core),
    row("max_tokens", Slot::MaxOutput),
    row("tools", Slot::Tools),
    row("tool_choice", Slot::ToolChoice),
    row("tool_choice.disable_parallel_tool_use", Slot::ParallelToolCalls),
    row("output_config.format", Slot::ResponseFormat),
    row("output_format", Slot::ResponseFormat),
    row_unless("temperature", Slot::Temperature, &["1"]),
    row_unless("top_p", Slot::TopP, &["1"]),
    row_unless("top_k", Slot::TopK, &["0"]),
    row_unless("stop_sequences", Slot::Stop, &["[]"]),
    row_unless("thinking", Slot::Reasoning, &["{\"type\":\"disabled\"}"]),
    row("thinking.display", Slot::Core),
    row("output_config.effort", Slot::Reasoning),
    row("metadata", Slot::User),
    row("service_tier", Slot::ServiceTier),
    row("cache_control", Slot::CacheMarks),
    row_unless("messages.content.citations.enabled", ADVISORY, &["false"]),
    // The rest of the conversation may lie at the provider.
    row("thread", SEMANTIC),
    row("container", ADVISORY),
    row("context_management", ADVISORY),
    row("mcp_servers", ADVISORY),
    row("inference_geo", ADVISORY),
    row("speed", ADVISORY),
    row("diagnostics", ADVISORY),
    row("user_profile_id", ADVISORY),
    row("betas", ADVISORY),
];
