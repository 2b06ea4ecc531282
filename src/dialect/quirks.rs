//! What one provider of a dialect does otherwise than the others, as data.

use super::common::part_and_member;

/// Peculiarities of one provider of a dialect, as data from its catalogue file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Ask for usage in streams with `stream_options.include_usage`. Most do, a few refuse the member.
    pub stream_usage: StreamUsage,
    /// The member that carries the output limit (`max_tokens` or `max_completion_tokens`) where only one is taken.
    pub max_output_member: Option<String>,
    /// Top-level members the provider refuses and whose loss changes nothing for the caller.
    pub drop: Vec<String>,
    /// Whether completion tokens exclude reasoning tokens.
    pub reasoning_outside_output: bool,
    /// Members that not every provider of the dialect takes and this one does: for translated requests.
    pub takes: Vec<String>,
    /// What some of its models refuse whatever it holds, so that a request with it cannot go there: members, or `prefill`, a
    /// conversation that ends in a turn of the assistant. As part of the id and member (`claude-opus-5/sampling`).
    pub refuses: Vec<String>,
    /// The member in which it wants its earlier thinking back (`reasoning_content`, `reasoning`); none = nowhere.
    pub reasoning_member: Option<String>,
    /// Whether it has no schema for answers but promises JSON: a translated request then tells the schema in words.
    pub json_schema_in_words: bool,
    /// Whether thinking stands between `<think>` tags at the beginning of the answer's text.
    pub think_tags: bool,
    /// So many letters and digits are an id of a call, where no others are taken.
    pub call_id_length: Option<std::num::NonZeroU8>,
    /// What its streams say otherwise than clients of the dialect count on, to be mended where they pass.
    pub mends: Vec<Mend>,
}

/// Something in a stream that is mended where it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// Chunks have no id or several: all get the first one.
    Id,
    /// Every chunk has a role: the first one keeps it.
    Role,
    /// An answer has several ends, or an empty one: the first true one stays.
    FinishReason,
    /// Pieces of calls have no number, or say id and name again.
    ToolCalls,
    /// Usage stands beside an answer: it gets a chunk of its own.
    Usage,
    /// There is no last word.
    Done,
}

impl Mend {
    /// All of them, by what provider files call them.
    pub const ALL: [(&'static str, Self); 6] = [
        ("id", Self::Id),
        ("role", Self::Role),
        ("finish_reason", Self::FinishReason),
        ("tool_calls", Self::ToolCalls),
        ("usage", Self::Usage),
        ("done", Self::Done),
    ];
}

impl Quirks {
    /// The first of some members or the like that a model refuses.
    pub fn refused<'a>(&self, model: &str, given: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
        self.refuses.iter().map(|entry| part_and_member(entry)).find_map(|(part, name)| {
            let found = given.clone().find(|given| *given == name);
            found.filter(|_| model.contains(part))
        })
    }
}

/// How usage gets into a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamUsage {
    /// By `stream_options.include_usage`; injected when the client did not ask.
    #[default]
    Option,
    /// Always there; the option is refused or useless.
    Always,
    /// Never there.
    Never,
}
