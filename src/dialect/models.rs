//! Lists of models, as the dialects' clients expect them.

use bytes::Bytes;
use serde::Serialize;

use crate::domain::error::{Error, ErrorKind};

/// A model that can be asked for.
#[derive(Clone, Copy, Debug)]
pub struct ModelInfo<'a> {
    /// The name to ask for.
    pub id: &'a str,
    /// Who offers it.
    pub owner: &'a str,
    /// Context window in tokens, where known.
    pub context: Option<u64>,
    /// Most output tokens, where known.
    pub max_output: Option<u64>,
}

/// Which part of a list a client asks for; by default all of it.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Most models: the parameter, and what stands in it.
    pub limit: Option<(&'static str, String)>,
    /// Those after this one.
    pub after: Option<(&'static str, String)>,
    /// Those before this one: the last of them.
    pub before: Option<(&'static str, String)>,
}

impl Part {
    /// The models of this part, and whether there are more of them in its direction.
    ///
    /// # Errors
    /// A limit that is none, or a model that is not on the list.
    pub(super) fn of<'m, 'a>(&self, models: &'m [ModelInfo<'a>]) -> Result<(&'m [ModelInfo<'a>], bool), Error> {
        let invalid = |name: &'static str, message: &str| {
            Error::new(ErrorKind::InvalidRequest, format!("`{name}` {message}")).param(name)
        };
        let place = |asked: &Option<(&'static str, String)>| {
            let Some((name, id)) = asked else { return Ok(None) };
            let found = models.iter().position(|model| model.id == id);
            found.map(Some).ok_or_else(|| invalid(name, "names no model of this list"))
        };
        let (from, to) = (place(&self.after)?.map_or(0, |at| at + 1), place(&self.before)?.unwrap_or(models.len()));
        let all = models.get(from..to).unwrap_or_default();
        let most = match &self.limit {
            None => all.len(),
            Some((name, text)) => {
                let most = text.parse().ok().filter(|most| *most > 0);
                most.ok_or_else(|| invalid(name, "takes a number from 1 on"))?
            }
        };
        let backwards = self.before.is_some() && self.after.is_none();
        let part = if backwards { all.get(all.len().saturating_sub(most)..) } else { all.get(..most) };
        let part = part.unwrap_or(all);
        Ok((part, part.len() < all.len()))
    }
}

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'a str,
}

/// The OpenAI list, and in the same object the catalogue that Codex reads.
#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
    models: Vec<Codex<'a>>,
}

#[derive(Serialize)]
struct Codex<'a> {
    slug: &'a str,
    display_name: &'a str,
}

fn model<'a>(info: &ModelInfo<'a>) -> Model<'a> {
    Model { id: info.id, object: "model", created: 0, owned_by: info.owner }
}

pub(super) fn openai_list(models: &[ModelInfo<'_>]) -> Result<Bytes, Error> {
    let codex = models.iter().map(|m| Codex { slug: m.id, display_name: m.id });
    json(&List { object: "list", data: models.iter().map(model).collect(), models: codex.collect() })
}

pub(super) fn openai_model(info: &ModelInfo<'_>) -> Result<Bytes, Error> {
    json(&model(info))
}

/// A list as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    let body = serde_json::to_vec(value)
        .map_err(|e| Error::new(ErrorKind::Internal, "a list could not be written").detail(e.to_string()))?;
    Ok(Bytes::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(part: &Part) -> Result<(Vec<&'static str>, bool), &'static str> {
        let info = |id| ModelInfo { id, owner: "o", context: None, max_output: None };
        let models = ["a", "b", "c", "d"].map(info);
        let (part, more) = part.of(&models).map_err(|error| {
            ["limit", "after_id", "before_id"].into_iter().find(|name| error.param.as_deref() == Some(*name)).unwrap()
        })?;
        Ok((part.iter().map(|model| model.id).collect(), more))
    }

    #[test]
    fn a_part_of_a_list_is_what_was_asked_for() {
        let part = |limit: &str, after: &str, before: &str| {
            let given = |name, text: &str| (!text.is_empty()).then(|| (name, text.to_owned()));
            told(&Part {
                limit: given("limit", limit),
                after: given("after_id", after),
                before: given("before_id", before),
            })
        };
        assert_eq!(part("", "", ""), Ok((vec!["a", "b", "c", "d"], false)));
        assert_eq!(part("3", "", ""), Ok((vec!["a", "b", "c"], true)));
        assert_eq!(part("3", "c", ""), Ok((vec!["d"], false)));
        assert_eq!(part("2", "a", ""), Ok((vec!["b", "c"], true)));
        assert_eq!(part("2", "", "d"), Ok((vec!["b", "c"], true)));
        assert_eq!(part("9", "", "c"), Ok((vec!["a", "b"], false)));
        assert_eq!(part("", "d", ""), Ok((vec![], false)));
        assert_eq!(part("1", "c", "b"), Ok((vec![], false)));
        assert_eq!([part("0", "", ""), part("x", "", "")], [Err("limit"), Err("limit")]);
        assert_eq!([part("", "z", ""), part("", "", "z")], [Err("after_id"), Err("before_id")]);
    }
}
