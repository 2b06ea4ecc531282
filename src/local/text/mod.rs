//! From the model's bytes to what a client sees: whole characters, thinking apart from the answer, stop sequences, tool
//! calls. Pure, and any cut of the same bytes gives the same result.
#![cfg_attr(not(feature = "local"), allow(dead_code, reason = "the worker's side; its tests run without it"))]

use memchr::memmem;

#[cfg(test)]
mod tests;

/// Marks that DeepSeek-R1 writes around tool calls: ordinary text of its vocabulary, no special tokens.
const CALLS: &str = "<｜tool▁calls▁begin｜>";
const CALL: &str = "<｜tool▁call▁begin｜>";
const CALL_END: &str = "<｜tool▁call▁end｜>";
const SEPARATOR: &str = "<｜tool▁sep｜>";
const THINK: &str = "<think>";
const THINK_END: &str = "</think>";

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Reasoning(String),
    Text(String),
    ToolCall {
        name: String,
        arguments: String,
    },
    /// A stop sequence was met: nothing follows.
    Stopped,
}

/// Where the answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing but white space yet: `<think>` may come.
    Opening,
    /// Between the marks.
    Thinking,
    /// The answer.
    Answer,
    /// Within tool calls: held until each is whole.
    Calls,
}

/// Splits one answer.
#[derive(Debug)]
pub(super) struct Splitter {
    stage: Stage,
    /// Bytes that are no whole character yet.
    partial: Vec<u8>,
    /// Text that may be the beginning of a mark.
    held: String,
    stops: Vec<String>,
    /// Whether anything of the answer has been seen: blank lines after the thinking are none.
    begun: bool,
    calls: bool,
    stopped: bool,
}

impl Splitter {
    /// `thinking`: the prompt ends with an open `<think>`. `marks`: the model writes R1's marks at all.
    pub(super) fn new(stage: Stage, calls: bool, stops: Vec<String>) -> Self {
        let stops = stops.into_iter().filter(|stop| !stop.is_empty()).collect();
        Self { stage, partial: Vec::new(), held: String::new(), stops, begun: false, calls, stopped: false }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Takes the bytes of one token.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<Piece>) {
        self.partial.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.partial) {
            Ok(_) => self.partial.len(),
            // Broken for good: shown as the replacement character rather than held for ever.
            Err(error) if error.error_len().is_some() => self.partial.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = String::from_utf8_lossy(&self.partial[..whole]).into_owned();
        self.partial.drain(..whole);
        self.held.push_str(&text);
        self.split(false, out);
    }

    /// The answer is over: gives out what was held back. Whether there were tool calls is in what came out.
    pub(super) fn finish(&mut self, out: &mut Vec<Piece>) {
        if !self.partial.is_empty() {
            self.partial.clear();
            self.held.push('\u{FFFD}');
        }
        self.split(true, out);
    }

    fn split(&mut self, last: bool, out: &mut Vec<Piece>) {
        while !self.stopped && !self.held.is_empty() {
            let moved = match self.stage {
                Stage::Opening => self.opening(last),
                Stage::Thinking => self.thinking(last, out),
                Stage::Answer => self.answer(last, out),
                Stage::Calls => self.tool_calls(last, out),
            };
            if !moved {
                return;
            }
        }
    }

    /// Each stage returns whether there may be more to do.
    fn opening(&mut self, last: bool) -> bool {
        let text = self.held.trim_start();
        if let Some(rest) = text.strip_prefix(THINK) {
            self.held = rest.to_owned();
            self.stage = Stage::Thinking;
            return true;
        }
        if !last && THINK.starts_with(text) {
            return false;
        }
        self.stage = Stage::Answer;
        true
    }

    fn thinking(&mut self, last: bool, out: &mut Vec<Piece>) -> bool {
        if !self.begun {
            // The line break after the mark belongs to the mark.
            let trimmed = self.held.trim_start_matches('\n').len();
            self.held.drain(..self.held.len() - trimmed);
            self.begun = trimmed > 0;
            if trimmed == 0 {
                return false;
            }
        }
        if let Some(at) = self.held.find(THINK_END) {
            let before = self.held[..at].trim_end_matches('\n').to_owned();
            self.held.drain(..at + THINK_END.len());
            push(out, Piece::Reasoning(before));
            self.stage = Stage::Answer;
            self.begun = false;
            return true;
        }
        // Line breaks at the end may be those before the mark.
        let mut keep = if last { 0 } else { overlap(&self.held, &[THINK_END]) };
        if !last {
            let body = &self.held[..self.held.len() - keep];
            keep += body.len() - body.trim_end_matches('\n').len();
        }
        self.release(keep, out, Piece::Reasoning);
        false
    }

    fn answer(&mut self, last: bool, out: &mut Vec<Piece>) -> bool {
        if !self.begun {
            let trimmed = self.held.trim_start_matches('\n').len();
            self.held.drain(..self.held.len() - trimmed);
            if trimmed == 0 {
                return false;
            }
            self.begun = true;
        }
        let marks: &[&str] = if self.calls { &[CALLS, CALL] } else { &[] };
        let stops: Vec<&str> = self.stops.iter().map(String::as_str).collect();
        let found = |words: &[&str]| {
            words
                .iter()
                .filter_map(|word| memmem::find(self.held.as_bytes(), word.as_bytes()).map(|at| (at, word.len())))
                .min()
        };
        let (stop, mark) = (found(&stops), found(marks));
        if let Some((at, _)) = stop.filter(|(at, _)| mark.is_none_or(|(mark, _)| *at < mark)) {
            let before = self.held[..at].to_owned();
            push(out, Piece::Text(before));
            out.push(Piece::Stopped);
            self.stopped = true;
            return false;
        }
        if let Some((at, _)) = mark {
            let before = self.held[..at].trim_end().to_owned();
            self.held.drain(..at);
            push(out, Piece::Text(before));
            self.stage = Stage::Calls;
            return true;
        }
        let words: Vec<&str> = stops.iter().chain(marks).copied().collect();
        let keep = if last { 0 } else { overlap(&self.held, &words) };
        self.release(keep, out, Piece::Text);
        false
    }

    fn tool_calls(&mut self, last: bool, out: &mut Vec<Piece>) -> bool {
        let Some(end) = self.held.find(CALL_END) else {
            if last {
                // A call that was cut: as much of it as can be read, so that nothing of the answer is lost.
                let rest = std::mem::take(&mut self.held);
                out.extend(parse_call(&rest));
            }
            return false;
        };
        let call = self.held[..end].to_owned();
        self.held.drain(..end + CALL_END.len());
        out.extend(parse_call(&call));
        true
    }

    /// Gives out all but the last `keep` bytes.
    fn release(&mut self, keep: usize, out: &mut Vec<Piece>, piece: fn(String) -> Piece) {
        let text: String = self.held.drain(..self.held.len() - keep).collect();
        push(out, piece(text));
    }
}

fn push(out: &mut Vec<Piece>, piece: Piece) {
    let empty = matches!(&piece, Piece::Reasoning(text) | Piece::Text(text) if text.is_empty());
    if !empty {
        out.push(piece);
    }
}

/// The longest end of `text` that is the beginning of one of the words.
fn overlap(text: &str, words: &[&str]) -> usize {
    let longest = |word: &&str| {
        (1..word.len().min(text.len() + 1)).rev().find(|n| word.is_char_boundary(*n) && text.ends_with(&word[..*n]))
    };
    words.iter().filter_map(longest).max().unwrap_or(0)
}

/// `function<sep>NAME\n```json\nARGUMENTS\n```​`.
fn parse_call(text: &str) -> Option<Piece> {
    let body = text.rsplit(CALL).next()?;
    let (_, body) = body.split_once(SEPARATOR)?;
    let (name, arguments) = body.split_once('\n').unwrap_or((body, ""));
    let arguments =
        arguments.trim().trim_start_matches("```json").trim_start_matches("```").trim_end_matches('`').trim();
    Some(Piece::ToolCall { name: name.trim().to_owned(), arguments: arguments.to_owned() })
}
