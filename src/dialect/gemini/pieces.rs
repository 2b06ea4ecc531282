//! Arguments of a call that come piece by piece, each with its place as a JSON path.

use super::types::PartialArg;
use crate::wire::splice::quote;

/// A call whose arguments come piece by piece.
pub(super) struct Growing {
    pub(super) index: u32,
    /// Pieces in order: path and JSON text; texts of one path are joined.
    pieces: Vec<(String, Piece)>,
}

enum Piece {
    Text(String),
    Json(String),
}

impl Growing {
    /// A call with that number, of which nothing has come.
    pub(super) fn new(index: u32) -> Self {
        Self { index, pieces: Vec::new() }
    }

    /// One more piece.
    pub(super) fn take(&mut self, piece: PartialArg) {
        let path = piece.json_path.trim_start_matches('$').trim_start_matches('.').to_owned();
        let value = match (piece.string_value, piece.number_value, piece.bool_value) {
            (Some(text), ..) => Piece::Text(text),
            (None, Some(number), _) => Piece::Json(number.to_string()),
            (None, None, Some(flag)) => Piece::Json(flag.to_string()),
            (None, None, None) if piece.null_value.is_some() => Piece::Json("null".to_owned()),
            (None, None, None) => Piece::Text(String::new()),
        };
        match (self.pieces.iter_mut().find(|(known, _)| *known == path), value) {
            (Some((_, Piece::Text(so_far))), Piece::Text(more)) => so_far.push_str(&more),
            (Some((_, known)), value) => *known = value,
            (None, value) => self.pieces.push((path, value)),
        }
    }

    /// The object that the pieces describe.
    pub(super) fn json(self) -> String {
        let mut root = Node::Object(Vec::new());
        for (path, piece) in self.pieces {
            let leaf = match piece {
                Piece::Text(text) => quote(&text),
                Piece::Json(json) => json,
            };
            root.set(&steps(&path), leaf);
        }
        let mut out = String::new();
        root.write(&mut out);
        out
    }
}

/// A step of a path: a member or a place in a list.
enum Step {
    Member(String),
    Place(usize),
}

/// `a.b[0]['c d']`.
fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (place, after) = inner.split_once(']').unwrap_or((inner, ""));
            steps.push(match place.parse() {
                Ok(number) => Step::Place(number),
                Err(_) => Step::Member(place.trim_matches(['\'', '"']).to_owned()),
            });
            rest = after;
        } else {
            let rest_of = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest_of.find(['.', '[']).unwrap_or(rest_of.len());
            if end > 0 {
                steps.push(Step::Member(rest_of[..end].to_owned()));
            }
            rest = &rest_of[end..];
            if end == 0 && rest.starts_with('.') {
                rest = &rest[1..];
            }
        }
    }
    steps
}

/// JSON that is being put together.
enum Node {
    Leaf(String),
    Object(Vec<(String, Node)>),
    List(Vec<Node>),
}

/// Longest list that pieces may build: a place beyond it is an error of the provider.
const MAX_PLACES: usize = 10_000;

impl Node {
    fn set(&mut self, steps: &[Step], leaf: String) {
        match steps {
            [] => *self = Self::Leaf(leaf),
            [Step::Member(name), rest @ ..] => {
                if !matches!(self, Self::Object(_)) {
                    *self = Self::Object(Vec::new());
                }
                let Self::Object(members) = self else { return };
                let at = members.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                    members.push((name.clone(), Self::Leaf("null".to_owned())));
                    members.len() - 1
                });
                members[at].1.set(rest, leaf);
            }
            [Step::Place(place), rest @ ..] => {
                if !matches!(self, Self::List(_)) {
                    *self = Self::List(Vec::new());
                }
                let Self::List(items) = self else { return };
                if *place >= MAX_PLACES {
                    return;
                }
                while items.len() <= *place {
                    items.push(Self::Leaf("null".to_owned()));
                }
                items[*place].set(rest, leaf);
            }
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Leaf(json) => out.push_str(json),
            Self::Object(members) => {
                out.push('{');
                for (number, (name, node)) in members.iter().enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    out.push_str(&quote(name));
                    out.push(':');
                    node.write(out);
                }
                out.push('}');
            }
            Self::List(items) => {
                out.push('[');
                for (number, node) in items.iter().enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    node.write(out);
                }
                out.push(']');
            }
        }
    }
}
