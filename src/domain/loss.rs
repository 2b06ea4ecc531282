//! What is lost in a translation.

/// What a translation could not carry over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Parameters that change the answer; each makes the target inadmissible unless the route says `lossy = "allow"`.
    pub semantic: Vec<String>,
    /// Hints; dropped and listed.
    pub advisory: Vec<String>,
}

impl Loss {
    /// Whether nothing was lost.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.semantic.is_empty() && self.advisory.is_empty()
    }

    /// All names for the caller and the ledger, each once, bounded in number and length. A client's own names may hold
    /// anything: what could not stand in a header is shown as `?`.
    #[must_use]
    pub fn names(self) -> Vec<String> {
        /// Names that are told; the rest is counted.
        const MOST: usize = 64;
        /// Longest name, in characters.
        const LONGEST: usize = 96;
        let visible = |c: char| if c.is_ascii_graphic() && c != ',' { c } else { '?' };
        let (mut names, mut more): (Vec<String>, usize) = (Vec::new(), 0);
        for name in self.semantic.into_iter().chain(self.advisory) {
            let name: String = name.chars().take(LONGEST).map(visible).collect();
            if names.contains(&name) {
                continue;
            }
            if names.len() < MOST {
                names.push(name);
            } else {
                more += 1;
            }
        }
        if more > 0 {
            names.push(format!("{more}_more"));
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_what_is_lost_can_stand_in_a_header_and_are_bounded() {
        let odd = Loss {
            semantic: vec!["seed".into()],
            advisory: vec!["messages.a b,\u{e4}\n".into(), "seed".into(), "x".repeat(1000)],
        };
        assert_eq!(odd.names(), ["seed", "messages.a?b???", &"x".repeat(96)]);
        let many = Loss { semantic: Vec::new(), advisory: (0..100).map(|n| format!("messages[{n}].name")).collect() };
        let names = many.names();
        assert_eq!((names.len(), names[64].as_str()), (65, "36_more"));
    }
}
