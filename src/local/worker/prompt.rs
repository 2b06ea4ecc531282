//! From turns to tokens. Control tokens come from the template only: what clients wrote is tokenised apart, as text, so
//! that nobody can write a turn that is not theirs.

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, context};

use crate::local::protocol::{Job, Turn, TurnRole};

/// A prompt ready for the engine.
pub(super) struct Prompt {
    pub tokens: Vec<LlamaToken>,
    /// It ends with an open thinking mark.
    pub thinking: bool,
}

/// A stretch of a prompt.
enum Segment {
    /// From the template: control tokens are meant.
    Template(String),
    /// From a client: nothing but text.
    Content(String),
}

/// Renders prompts for one model.
pub(super) enum Renderer {
    /// DeepSeek-R1 and its distillations: our own rendering, since theirs loses tool calls and knows no tools.
    R1,
    /// The template in the file.
    Template(Box<Environment<'static>>),
}

const BOS: &str = "<｜begin▁of▁sentence｜>";
const EOS: &str = "<｜end▁of▁sentence｜>";
const USER: &str = "<｜User｜>";
const ASSISTANT: &str = "<｜Assistant｜>";
/// The template is the file's own text, so what it may do is bounded.
const FUEL: u64 = 5_000_000;

impl Renderer {
    pub(super) fn new(model: &LlamaModel) -> Result<Self, String> {
        // Not `chat_template()`, which reads freed memory.
        let template =
            model.meta_val_str("tokenizer.chat_template").map_err(|_| "the file has no chat template".to_owned())?;
        if template.contains(ASSISTANT) && template.contains(USER) {
            return Ok(Self::R1);
        }
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned("chat", template).map_err(|error| format!("the chat template: {error}"))?;
        Ok(Self::Template(Box::new(environment)))
    }

    pub(super) fn is_r1(&self) -> bool {
        matches!(self, Self::R1)
    }

    /// Tokens that begin another's turn: the model must not go on for the user.
    pub(super) fn stop_tokens(&self, model: &LlamaModel) -> Vec<LlamaToken> {
        let words: &[&str] = if self.is_r1() { &[USER, "<|EOT|>"] } else { &["<|im_start|>"] };
        let token = |word: &&str| match model.vocab().tokenize(word.as_bytes(), false, true).as_slice() {
            [token] => Some(*token),
            _ => None,
        };
        words.iter().filter_map(token).collect()
    }

    pub(super) fn render(&self, model: &LlamaModel, job: &Job) -> Result<Prompt, String> {
        let (segments, thinking) = match self {
            Self::R1 => r1(job),
            Self::Template(environment) => (templated(environment, model, job)?, false),
        };
        let vocab = model.vocab();
        let mut tokens = Vec::new();
        for segment in segments {
            let (text, special) = match segment {
                Segment::Template(text) => (text, true),
                Segment::Content(text) => (neutral(&text), false),
            };
            if !text.is_empty() {
                tokens.extend(vocab.tokenize(text.as_bytes(), false, special));
            }
        }
        Ok(Prompt { tokens, thinking })
    }
}

/// These are single tokens of the vocabulary even in plain text: a space makes them text.
fn neutral(text: &str) -> String {
    ["<think>", "</think>", "<tool_call>", "</tool_call>"].iter().fold(text.to_owned(), |text, mark| {
        if text.contains(mark) { text.replace(mark, &mark.replacen('<', "< ", 1)) } else { text }
    })
}

fn r1(job: &Job) -> (Vec<Segment>, bool) {
    let mut out = vec![Segment::Template(BOS.to_owned())];
    let mut mark = |text: &str, out: &mut Vec<Segment>| match out.last_mut() {
        Some(Segment::Template(last)) => last.push_str(text),
        _ => out.push(Segment::Template(text.to_owned())),
    };
    let system = job.turns.iter().filter(|turn| turn.role == TurnRole::System);
    let system: Vec<&str> = system.map(|turn| turn.text.as_str()).filter(|text| !text.is_empty()).collect();
    if !system.is_empty() {
        out.push(Segment::Content(system.join("\n\n")));
    }
    if !job.tools.is_empty() {
        mark("\n\nYou may call these functions:\n", &mut out);
        out.push(Segment::Content(job.tools.join("\n")));
        mark(
            "\nTo call one, answer with <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\nARGUMENTS\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>\n",
            &mut out,
        );
    }
    let mut turns = job.turns.iter().filter(|turn| turn.role != TurnRole::System).peekable();
    let mut after_tool = false;
    while let Some(turn) = turns.next() {
        after_tool = turn.role == TurnRole::Tool;
        match turn.role {
            TurnRole::System => {}
            TurnRole::User => {
                mark(USER, &mut out);
                out.push(Segment::Content(turn.text.clone()));
            }
            TurnRole::Assistant => {
                mark(ASSISTANT, &mut out);
                assistant(turn, &mut out, &mut mark);
            }
            TurnRole::Tool => {
                mark("<｜tool▁outputs▁begin｜>", &mut out);
                let mut result = turn;
                loop {
                    mark("<｜tool▁output▁begin｜>", &mut out);
                    out.push(Segment::Content(result.text.clone()));
                    mark("<｜tool▁output▁end｜>", &mut out);
                    match turns.next_if(|next| next.role == TurnRole::Tool) {
                        Some(next) => result = next,
                        None => break,
                    }
                }
                mark("<｜tool▁outputs▁end｜>", &mut out);
            }
        }
    }
    // After a tool's result the model goes on in its own turn, without a mark and without thinking again.
    let thinking = !after_tool && job.think != Some(false);
    if !after_tool {
        mark(ASSISTANT, &mut out);
        mark(if thinking { "<think>\n" } else { "<think>\n\n</think>\n\n" }, &mut out);
    }
    (out, thinking)
}

fn assistant(turn: &Turn, out: &mut Vec<Segment>, mark: &mut impl FnMut(&str, &mut Vec<Segment>)) {
    if !turn.text.is_empty() {
        out.push(Segment::Content(turn.text.clone()));
    }
    if !turn.calls.is_empty() {
        mark("<｜tool▁calls▁begin｜>", out);
        for call in &turn.calls {
            mark("<｜tool▁call▁begin｜>function<｜tool▁sep｜>", out);
            out.push(Segment::Content(call.name.clone()));
            mark("\n```json\n", out);
            out.push(Segment::Content(call.arguments.clone()));
            mark("\n```<｜tool▁call▁end｜>", out);
        }
        mark("<｜tool▁calls▁end｜>", out);
    }
    mark(EOS, out);
}

/// The file's template with a stand-in for each content that nobody can guess; the result is cut at the stand-ins.
fn templated(environment: &Environment<'_>, model: &LlamaModel, job: &Job) -> Result<Vec<Segment>, String> {
    let secret = uuid::Uuid::new_v8(random()?).simple().to_string();
    let stand_in = |index: usize| format!("[{secret}-{index}]");
    let role = |role| match role {
        TurnRole::System => "system",
        TurnRole::User => "user",
        TurnRole::Assistant => "assistant",
        TurnRole::Tool => "tool",
    };
    let messages: Vec<_> = job
        .turns
        .iter()
        .enumerate()
        .map(|(index, turn)| context! { role => role(turn.role), content => stand_in(index) })
        .collect();
    let vocab = model.vocab();
    let special = |token| String::from_utf8_lossy(&vocab.token_to_piece(token, true, None)).into_owned();
    let bos = if vocab.bos().0 >= 0 { special(vocab.bos()) } else { String::new() };
    let eos = if vocab.eos().0 >= 0 { special(vocab.eos()) } else { String::new() };
    let template = environment.get_template("chat").map_err(|error| error.to_string())?;
    let given = context! { messages, add_generation_prompt => true, bos_token => bos, eos_token => eos };
    let mut rest =
        template.render(given).map_err(|error| format!("the chat template refuses the messages: {error}"))?;
    let mut segments = Vec::new();
    for (index, turn) in job.turns.iter().enumerate() {
        // A template may leave a turn out or trim it; one that reorders turns is not supported.
        let Some((before, after)) = rest.split_once(&stand_in(index)) else { continue };
        segments.push(Segment::Template(before.to_owned()));
        segments.push(Segment::Content(turn.text.trim().to_owned()));
        rest = after.to_owned();
    }
    segments.push(Segment::Template(rest));
    Ok(segments)
}

fn random() -> Result<[u8; 16], String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}
