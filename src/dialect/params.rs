//! What becomes of each request parameter on its way from one dialect to another.
//!
//! Two tables meet: an ingress says which parameters its clients have and what each of them means ([`Slot`]); an
//! egress says which meanings it can carry ([`Carriage`]). From these come the refusal before planning, the loss report
//! after encoding, and the table in the documentation; nothing is said twice.

use super::{Envelope, places};
use crate::domain::chat::{ChatRequest, Json, Loss, Part, ReasoningSettings, ResponseFormat, ToolKind};
use crate::domain::id::DialectId;
use crate::domain::target::Capability;

/// What a parameter means, whatever a dialect calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// The model, the conversation, the wish for a stream: what every dialect has.
    Core,
    /// Tools.
    Tools,
    /// Which tool must be called.
    ToolChoice,
    /// Whether several calls in a turn are allowed.
    ParallelToolCalls,
    /// Structured output.
    ResponseFormat,
    /// Structured output without a schema.
    JsonMode,
    /// Temperature.
    Temperature,
    /// Nucleus mass.
    TopP,
    /// Most likely tokens kept.
    TopK,
    /// Relative probability floor.
    MinP,
    /// Penalty by number of occurrences.
    FrequencyPenalty,
    /// Penalty by presence.
    PresencePenalty,
    /// Seed of the dice.
    Seed,
    /// Stop sequences.
    Stop,
    /// Bias by token id.
    LogitBias,
    /// Log probabilities.
    Logprobs,
    /// Alternatives per token.
    TopLogprobs,
    /// How many answers.
    Choices,
    /// Output limit.
    MaxOutput,
    /// How much to think.
    Reasoning,
    /// How wordy to be.
    Verbosity,
    /// Whether usage is wanted in the stream: the gateway always has it.
    StreamOptions,
    /// The end user.
    User,
    /// The processing tier.
    ServiceTier,
    /// The client's labels.
    Metadata,
    /// The name of a prompt cache.
    PromptCacheKey,
    /// Marks in the prompt at which to cache.
    CacheMarks,
    /// Only this dialect has it.
    Own(Weight),
}

/// What a loss means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weight {
    /// The answer would be another: the target is inadmissible unless the route says `lossy = "allow"`.
    Semantic,
    /// A hint: dropped and listed.
    Advisory,
}

impl Slot {
    /// What its loss means.
    #[must_use]
    pub fn weight(self) -> Weight {
        match self {
            Self::Own(weight) => weight,
            // Codex says it of every answer, and how wordy a model is nobody promises.
            Self::Verbosity
            | Self::StreamOptions
            | Self::User
            | Self::ServiceTier
            | Self::Metadata
            | Self::PromptCacheKey
            | Self::CacheMarks => Weight::Advisory,
            _ => Weight::Semantic,
        }
    }
}

/// One parameter of a client dialect.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name; a nested one with dots.
    pub name: &'static str,
    /// What it means.
    pub slot: Slot,
    /// JSON texts, without white space, at which it says nothing. `null` always says nothing.
    pub neutral: &'static [&'static str],
}

impl Parameter {
    /// Whether it asks for a tier of service: some call one of them a speed.
    #[must_use]
    pub fn asks_for_service(&self) -> bool {
        self.slot == Slot::ServiceTier || self.name == "speed"
    }
}

/// A row of a table.
pub(super) const fn row(name: &'static str, slot: Slot) -> Parameter {
    Parameter { name, slot, neutral: &[] }
}

/// A row with values that say nothing.
pub(super) const fn row_unless(name: &'static str, slot: Slot, neutral: &'static [&'static str]) -> Parameter {
    Parameter { name, slot, neutral }
}

/// How one call at most is kept to where a dialect has no word for it. What the model would do next it does in its next
/// turn.
pub(super) const FIRST_CALL: &str = "kept by the gateway: the client gets the first call only";

/// Whether a dialect of providers can say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// Every value.
    Full,
    /// Some values; the note says which. The encoder reports the others.
    Partly(&'static str),
    /// Nothing of it.
    No,
}

/// The row of a parameter.
fn find(table: &'static [Parameter], name: &str) -> Option<&'static Parameter> {
    table.iter().find(|p| p.name == name)
}

/// The first name that a dialect has for a meaning: for messages to its clients.
#[must_use]
pub fn name_of(source: DialectId, slot: Slot) -> &'static str {
    let slot = if slot == Slot::JsonMode { Slot::ResponseFormat } else { slot };
    let table = super::ingress(source).map_or(&[][..], |ingress| ingress.parameters());
    table.iter().find(|p| p.slot == slot).map_or("?", |p| p.name)
}

/// Semantic parameters among the members of a request that a dialect cannot carry whatever their value is. What may
/// have been given a neutral value is left to the encoder, which sees all.
#[must_use]
pub(super) fn inexpressible(envelope: &Envelope, source: DialectId, carries: &dyn Fn(Slot) -> Carriage) -> Vec<String> {
    let Some(ingress) = super::ingress(source) else { return Vec::new() };
    let lost = |name: &str| match find(ingress.parameters(), name) {
        Some(p) => match p.slot {
            // The envelope knows these values.
            Slot::Choices => envelope.choices > 1 && carries(p.slot) == Carriage::No,
            Slot::Logprobs => envelope.needs.has(Capability::Logprobs) && carries(p.slot) == Carriage::No,
            Slot::ResponseFormat => envelope.needs.has(Capability::Json) && carries(Slot::JsonMode) == Carriage::No,
            slot => p.neutral.is_empty() && slot.weight() == Weight::Semantic && carries(slot) == Carriage::No,
        },
        None => ingress.unknown() == Weight::Semantic,
    };
    envelope.members.iter().filter(|m| lost(m)).map(ToString::to_string).collect()
}

/// Reports everything that is set in a request and that a dialect does not carry at all, extras included. `taken`
/// says which extras the encoder has taken over itself. Values that are carried partly are the encoder's to report,
/// with [`lose`].
pub(super) fn report(
    request: &ChatRequest,
    carries: &dyn Fn(Slot) -> Carriage,
    taken: &dyn Fn(&str) -> bool,
    loss: &mut Loss,
) {
    for slot in set_slots(request) {
        if carries(slot) == Carriage::No {
            lose(request, slot, loss);
        }
    }
    let ingress = super::ingress(request.source);
    for (name, value) in request.extra.iter().filter(|(name, _)| !taken(name)) {
        let row = ingress.and_then(|i| find(i.parameters(), name));
        if neutral(row, value) {
            continue;
        }
        let weight = row.map(|p| p.slot.weight()).or(ingress.map(|i| i.unknown())).unwrap_or(Weight::Semantic);
        lose_named(name.clone(), weight, loss);
    }
    // What a table says of unknown names is said of parameters. A member of one that nobody knows is a hint.
    for name in &request.unread {
        let row = ingress.and_then(|i| find(i.parameters(), name));
        lose_named(name.clone(), row.map_or(Weight::Advisory, |p| p.slot.weight()), loss);
    }
}

/// Reports the loss of a meaning in the client's words.
pub(super) fn lose(request: &ChatRequest, slot: Slot, loss: &mut Loss) {
    lose_named(name_of(request.source, slot).to_owned(), slot.weight(), loss);
}

fn lose_named(name: String, weight: Weight, loss: &mut Loss) {
    let list = match weight {
        Weight::Semantic => &mut loss.semantic,
        Weight::Advisory => &mut loss.advisory,
    };
    if !list.contains(&name) {
        list.push(name);
    }
}

/// Server tools of a foreign dialect: dropped and listed, so that coding agents work with any provider.
pub(super) fn lose_server_tools(request: &ChatRequest, own: Option<DialectId>, loss: &mut Loss) {
    for (at, tool) in request.tools.iter().enumerate() {
        if let ToolKind::Server { origin, .. } = &tool.kind
            && Some(*origin) != own
        {
            lose_named(places::tool(at), Weight::Advisory, loss);
        }
    }
}

/// Whether a request lets the provider do something of its own (a search) while it answers: nobody knows beforehand what that
/// costs.
#[must_use]
pub fn has_server_tools(request: &ChatRequest) -> bool {
    request.tools.iter().any(|tool| matches!(tool.kind, ToolKind::Server { .. }))
        || request.extra.iter().any(|(name, _)| name == "web_search_options")
}

fn neutral(row: Option<&Parameter>, value: &Json) -> bool {
    let text = squeezed(value.as_str());
    let number = |text: &str| text.parse::<f64>().ok();
    let says_nothing = |neutral: &&str| *neutral == text || number(neutral).is_some_and(|n| number(&text) == Some(n));
    text == "null" || row.is_some_and(|p| p.neutral.iter().any(says_nothing))
}

/// Whether it is asked for thinking by a word alone, and not for a number of tokens.
pub(super) fn thinks_by_word(request: &ChatRequest) -> bool {
    let exact = request.extra.iter().any(|(name, _)| name == "thinking");
    !exact && request.reasoning.as_ref().is_some_and(|r| r.budget_tokens.is_none() && r.effort.is_some())
}

/// JSON without the white space between its tokens.
#[must_use]
pub(super) fn squeezed(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut inside, mut escaped) = (false, false);
    for c in json.chars() {
        if !inside && c.is_ascii_whitespace() {
            continue;
        }
        out.push(c);
        inside = match c {
            '"' if !escaped => !inside,
            _ => inside,
        };
        escaped = inside && c == '\\' && !escaped;
    }
    out
}

/// Meanings that a request gives a value that says something.
fn set_slots(request: &ChatRequest) -> Vec<Slot> {
    let s = &request.sampling;
    let reasoning = |r: &ReasoningSettings| {
        r.budget_tokens.is_some_and(|b| b > 0) || r.effort.as_deref().is_some_and(|e| e != "none")
    };
    let mark = |part: &Part| matches!(part, Part::CacheMark(_));
    let marked = request.messages.iter().any(|m| m.content.iter().any(mark));
    let schema = matches!(request.response_format, Some(ResponseFormat::JsonSchema { .. }));
    let all = [
        (Slot::Tools, request.tools.iter().any(|t| !matches!(t.kind, ToolKind::Server { .. }))),
        (Slot::ToolChoice, request.tool_choice.is_some() && !request.tools.is_empty()),
        (Slot::ParallelToolCalls, request.parallel_tool_calls == Some(false) && !request.tools.is_empty()),
        (Slot::ResponseFormat, schema),
        (Slot::JsonMode, request.response_format == Some(ResponseFormat::JsonObject)),
        (Slot::Temperature, s.temperature.is_some()),
        (Slot::TopP, s.top_p.is_some_and(|p| p != 1.0)),
        (Slot::TopK, s.top_k.is_some_and(|k| k != 0)),
        (Slot::MinP, s.min_p.is_some_and(|p| p != 0.0)),
        (Slot::FrequencyPenalty, s.frequency_penalty.is_some_and(|p| p != 0.0)),
        (Slot::PresencePenalty, s.presence_penalty.is_some_and(|p| p != 0.0)),
        (Slot::Seed, s.seed.is_some()),
        (Slot::Stop, !s.stop.is_empty()),
        (Slot::LogitBias, s.logit_bias.as_ref().is_some_and(|b| squeezed(b.as_str()) != "{}")),
        (Slot::Logprobs, s.logprobs == Some(true)),
        (Slot::TopLogprobs, s.top_logprobs.is_some_and(|n| n != 0)),
        (Slot::Choices, s.n.is_some_and(|n| n != 1)),
        (Slot::MaxOutput, request.max_output_tokens.is_some()),
        (Slot::Reasoning, request.reasoning.as_ref().is_some_and(reasoning)),
        (Slot::Verbosity, request.verbosity.as_deref().is_some_and(|v| v != "medium")),
        (Slot::User, request.user.as_deref().is_some_and(|u| !u.is_empty())),
        (Slot::ServiceTier, request.service_tier.as_deref().is_some_and(|t| t != "auto")),
        (Slot::Metadata, request.metadata.as_ref().is_some_and(|m| squeezed(m.as_str()) != "{}")),
        (Slot::PromptCacheKey, request.prompt_cache_key.is_some()),
        (Slot::CacheMarks, marked || request.tools.iter().any(|t| t.cache.is_some())),
    ];
    all.into_iter().filter(|(_, set)| *set).map(|(slot, _)| slot).collect()
}

/// The table of the documentation: for every client dialect, what becomes of each parameter on its way to each dialect
/// of providers.
#[must_use]
pub fn table() -> String {
    use std::fmt::Write as _;
    let to: Vec<DialectId> = DialectId::ALL
        .into_iter()
        .filter(|to| {
            to.is_native()
                || super::egress(*to).is_some_and(|egress| egress.transcode().carries(Slot::Core) != Carriage::No)
        })
        .collect();
    let mut out = String::from(HEAD);
    for from in DialectId::ALL {
        let Some(ingress) = super::ingress(from) else { continue };
        let mut notes: Vec<&str> = Vec::new();
        // Writing to a string cannot fail.
        let _ = write!(out, "\n## Clients of `{}`\n\n| parameter |", from.name());
        to.iter().for_each(|to| out.push_str(&format!(" {} |", to.name())));
        let _ = write!(out, "\n|---|{}\n", "---|".repeat(to.len()));
        for parameter in ingress.parameters() {
            let _ = write!(out, "| `{}` |", parameter.name);
            for to in &to {
                let cell = if *to == from {
                    "same".to_owned()
                } else {
                    cell(parameter, super::carries(*to, parameter.slot), &mut notes)
                };
                let _ = write!(out, " {cell} |");
            }
            out.push('\n');
        }
        let unknown = match ingress.unknown() {
            Weight::Semantic => "refused",
            Weight::Advisory => "dropped and listed",
        };
        let _ = writeln!(out, "\nOther parameters, to another dialect: {unknown}.");
        if !notes.is_empty() {
            out.push('\n');
            notes.iter().enumerate().for_each(|(at, note)| out.push_str(&format!("{}. {note}\n", at + 1)));
        }
    }
    out
}

const HEAD: &str = "# What becomes of request parameters

Made from the code (`src/dialect/*/params.rs`); a test keeps it fresh.

- **same**: same dialect on both sides, the bytes pass.
- **mapped**: said in the other dialect's words. A number refers to the note below the table: some values have no equal
  there and are treated as the column would be without them.
- **refused**: the answer would be another. The target is not used; if no admitted target can take it, the request gets
  a 400 that names the parameter. With `lossy = \"allow\"` the route drops it and lists it instead.
- **listed**: a hint. It is dropped and listed in `x-stellwerk-dropped-params` and in the ledger.

A parameter with a value that says nothing (`n = 1`, a penalty of 0) is no parameter.

Members inside of others that no row names and no decoder reads (`messages.content.foo`) are hints: listed.
";

fn cell(parameter: &Parameter, carriage: Carriage, notes: &mut Vec<&'static str>) -> String {
    match carriage {
        Carriage::Full => "mapped".to_owned(),
        Carriage::Partly(note) => {
            let at = notes.iter().position(|known| *known == note).unwrap_or_else(|| {
                notes.push(note);
                notes.len() - 1
            });
            format!("mapped ({})", at + 1)
        }
        Carriage::No => match parameter.slot.weight() {
            Weight::Semantic => "refused".to_owned(),
            Weight::Advisory => "listed".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_fresh() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/parameters.md");
        let table = table();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &table).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap_or_default() == table, "run the tests with UPDATE_GOLDEN=1");
    }

    #[test]
    fn no_parameter_stands_twice_in_a_table() {
        for ingress in DialectId::ALL.into_iter().filter_map(crate::dialect::ingress) {
            let mut names: Vec<&str> = ingress.parameters().iter().map(|p| p.name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|w| w[0] != w[1]), "{names:?}");
        }
    }

    #[test]
    fn white_space_between_tokens_goes_and_inside_strings_stays() {
        assert_eq!(squeezed("{ \"a b\" : [ 1 , \"\\\" c\" ] }"), "{\"a b\":[1,\"\\\" c\"]}");
    }

    #[test]
    fn what_is_neutral_is_not_set() {
        let mut request = ChatRequest::default();
        request.sampling.top_p = Some(1.0);
        request.sampling.n = Some(1);
        request.reasoning = Some(ReasoningSettings { effort: Some("none".into()), budget_tokens: None });
        assert_eq!(set_slots(&request), []);
        request.sampling.seed = Some(0);
        assert_eq!(set_slots(&request), [Slot::Seed], "a seed of 0 is a seed");
    }
}
