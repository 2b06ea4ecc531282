//! Thinking that stands between `<think>` tags at the beginning of an answer's text, taken apart. Pure, and any cut of
//! the same text gives the same result.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Thinking.
    Thought(&'a str),
    /// The answer.
    Text(&'a str),
}

/// Splits one answer.
#[derive(Debug, Default)]
pub struct ThinkSplitter {
    stage: Stage,
    /// Text that may be the beginning of a tag.
    held: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing but white space yet: the tag may come.
    #[default]
    Opening,
    /// Between the tags.
    Thinking,
    /// After the closing tag; white space at once after it belongs to neither.
    Closed,
    /// The answer.
    Answer,
}

impl ThinkSplitter {
    /// Takes more text.
    pub fn push(&mut self, text: &str, out: &mut dyn FnMut(Piece<'_>)) {
        self.held.push_str(text);
        self.split(false, out);
    }

    /// The answer is over: gives out what was held back.
    pub fn finish(&mut self, out: &mut dyn FnMut(Piece<'_>)) {
        self.split(true, out);
    }

    fn split(&mut self, last: bool, out: &mut dyn FnMut(Piece<'_>)) {
        let held = std::mem::take(&mut self.held);
        let mut rest = held.as_str();
        loop {
            match self.stage {
                Stage::Opening => {
                    let text = rest.trim_start();
                    if let Some(after) = text.strip_prefix(OPEN) {
                        (rest, self.stage) = (after, Stage::Thinking);
                    } else if !last && OPEN.starts_with(text) {
                        break;
                    } else {
                        self.stage = Stage::Answer;
                    }
                }
                Stage::Thinking => match rest.find(CLOSE) {
                    Some(at) => {
                        thought(&rest[..at], out);
                        (rest, self.stage) = (&rest[at + CLOSE.len()..], Stage::Closed);
                    }
                    None => {
                        let keep = if last { 0 } else { tail(rest) };
                        let (sure, unsure) = rest.split_at(rest.len() - keep);
                        thought(sure, out);
                        rest = unsure;
                        break;
                    }
                },
                Stage::Closed => {
                    rest = rest.trim_start();
                    if rest.is_empty() {
                        break;
                    }
                    self.stage = Stage::Answer;
                }
                Stage::Answer => {
                    if !rest.is_empty() {
                        out(Piece::Text(rest));
                    }
                    rest = "";
                    break;
                }
            }
        }
        self.held = rest.to_owned();
    }
}

fn thought(text: &str, out: &mut dyn FnMut(Piece<'_>)) {
    if !text.is_empty() {
        out(Piece::Thought(text));
    }
}

/// How many bytes at the end may be the beginning of the closing tag.
fn tail(text: &str) -> usize {
    (1..CLOSE.len()).rev().find(|n| text.ends_with(&CLOSE[..*n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(pieces: &[&str]) -> (String, String) {
        let (mut thoughts, mut texts) = (String::new(), String::new());
        let mut splitter = ThinkSplitter::default();
        let mut take = |piece: Piece<'_>| match piece {
            Piece::Thought(text) => thoughts.push_str(text),
            Piece::Text(text) => texts.push_str(text),
        };
        pieces.iter().for_each(|piece| splitter.push(piece, &mut take));
        splitter.finish(&mut take);
        (thoughts, texts)
    }

    #[test]
    fn only_a_tag_at_the_beginning_opens_thinking() {
        assert_eq!(
            split(&["\n<think>a < b</think>\n\nc <think>d</think>"]),
            ("a < b".into(), "c <think>d</think>".into())
        );
        assert_eq!(split(&["<thin"]), (String::new(), "<thin".into()));
        assert_eq!(split(&["<think>cut </thi"]), ("cut </thi".into(), String::new()));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(text in "( |\n)?(<think>)?[a<>/éthink]{0,12}(</think>)?[a\n<é]{0,6}", at in 0_usize..40) {
            let cut = (0..=text.len()).filter(|i| text.is_char_boundary(*i)).nth(at).unwrap_or(text.len());
            prop_assert_eq!(split(&[&text[..cut], &text[cut..]]), split(&[&text]));
            let chars: Vec<String> = text.chars().map(String::from).collect();
            prop_assert_eq!(split(&chars.iter().map(String::as_str).collect::<Vec<_>>()), split(&[&text]));
        }
    }
}
