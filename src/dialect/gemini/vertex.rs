//! Vectors at Vertex, which differ from model to model: the newest take one content (`embedContent`), those before are asked
//! for predictions, some of them for one text at a time.
//!
//! Format: Vertex AI reference, "Text embeddings API" and "embedContent". Which model takes what is in `quirks.takes`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::dialect::embed::{no_vector, numbers};
use crate::dialect::{Quirks, common};
use crate::domain::embed::EmbedAnswer;
use crate::domain::error::Failure;
use crate::domain::usage::{Bucket, Usage};

/// How a model is asked for vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `batchEmbedContents`: AI Studio.
    Batch,
    /// `embedContent`, one text.
    Content,
    /// `predict`, several texts.
    Predict,
    /// `predict`, one text.
    PredictOne,
}

impl Form {
    pub(super) fn of(model: &str, quirks: &Quirks) -> Self {
        let takes = |member: &str| common::named(&quirks.takes, model, member);
        if takes("predict.one") {
            Self::PredictOne
        } else if takes("predict") {
            Self::Predict
        } else if takes("embedContent") {
            Self::Content
        } else {
            Self::Batch
        }
    }

    pub(super) fn takes_one(self) -> bool {
        matches!(self, Self::Content | Self::PredictOne)
    }
}

#[derive(Serialize)]
pub(super) struct Predict<'a> {
    instances: Vec<Instance<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Parameters>,
}

impl<'a> Predict<'a> {
    pub(super) fn new(instances: Vec<Instance<'a>>, dimensions: Option<u64>) -> Self {
        let parameters = dimensions.map(|output_dimensionality| Parameters { output_dimensionality });
        Self { instances, parameters }
    }
}

#[derive(Serialize)]
pub(super) struct Instance<'a> {
    pub(super) content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    output_dimensionality: u64,
}

#[derive(Deserialize)]
pub(super) struct Prediction<'a> {
    #[serde(borrow)]
    embeddings: Predicted<'a>,
}

#[derive(Deserialize)]
struct Predicted<'a> {
    #[serde(borrow)]
    values: &'a RawValue,
    statistics: Option<Statistics>,
}

#[derive(Deserialize)]
struct Statistics {
    /// A count, by some models with a fraction of zero.
    token_count: Option<f64>,
}

/// The vectors, with the tokens of all texts where all are told.
pub(super) fn answer(predictions: &[Prediction<'_>]) -> Result<EmbedAnswer, Failure> {
    let vectors = predictions.iter().map(|one| numbers(one.embeddings.values.get()).ok_or_else(no_vector));
    let vectors = vectors.collect::<Result<_, _>>()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and within range")]
    let whole = |count: f64| ((0.0..1e12).contains(&count) && count.fract() == 0.0).then_some(count as u64);
    let counted = |one: &Prediction<'_>| one.embeddings.statistics.as_ref()?.token_count.and_then(whole);
    let tokens = predictions.iter().map(counted).collect::<Option<Vec<u64>>>();
    let sum = |counts: Vec<u64>| counts.into_iter().fold(0, u64::saturating_add);
    let usage = tokens.and_then(|counts| Usage::ZERO.with(Bucket::Input, sum(counts)).plausible());
    Ok(EmbedAnswer { vectors, model: None, usage })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::dialect::embed::EmbedProvider;
    use crate::dialect::gemini::Gemini;
    use crate::domain::embed::{EmbedInput, EmbedRequest, EmbedTask};

    fn shipped() -> Quirks {
        let takes = ["embedContent", "gemini-embedding-001/predict.one", "text-embedding-/predict"];
        Quirks { takes: takes.map(str::to_owned).to_vec(), ..Quirks::default() }
    }

    fn asked(model: &str, texts: &[&str]) -> Result<(String, Value), Option<String>> {
        let inputs = texts.iter().map(|text| EmbedInput::Text((*text).to_owned())).collect();
        let task = Some(EmbedTask::Query);
        let request = EmbedRequest { inputs, task, dimensions: Some(8), ..EmbedRequest::default() };
        let (path, body) = EmbedProvider::encode(&Gemini, &request, model, &shipped()).map_err(|error| error.param)?;
        Ok((path.into_owned(), serde_json::from_slice(&body).unwrap()))
    }

    #[test]
    fn every_model_is_asked_in_its_own_form() {
        let (path, body) = asked("gemini-embedding-2", &["a"]).unwrap();
        assert_eq!(path, "/models/gemini-embedding-2:embedContent");
        let want =
            json!({"content": {"parts": [{"text": "a"}]}, "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 8});
        assert_eq!(body, want);
        assert_eq!(asked("gemini-embedding-2", &["a", "b"]), Err(Some("input".to_owned())));
        assert_eq!(asked("gemini-embedding-001", &["a", "b"]), Err(Some("input".to_owned())));
        assert_eq!(asked("gemini-embedding-001", &["a"]).unwrap().0, "/models/gemini-embedding-001:predict");
        let (path, body) = asked("text-embedding-005", &["a", "b"]).unwrap();
        assert_eq!(path, "/models/text-embedding-005:predict");
        let instance = |text: &str| json!({"content": text, "task_type": "RETRIEVAL_QUERY"});
        let want = json!({"instances": [instance("a"), instance("b")], "parameters": {"outputDimensionality": 8}});
        assert_eq!(body, want);
        assert!(Gemini.differs("gemini-embedding-2", &shipped()) && !Gemini.differs("m", &Quirks::default()));
    }

    #[test]
    fn every_form_of_answer_is_read() {
        let read = |body: Value| EmbedProvider::decode(&Gemini, body.to_string().as_bytes());
        let one = read(json!({"embedding": {"values": [0.5, 1]}, "usageMetadata": {"promptTokenCount": 3}})).unwrap();
        assert_eq!((one.vectors.len(), one.usage.unwrap().input_tokens()), (1, 3));
        let prediction = |tokens: Value| json!({"embeddings": {"values": [0.5], "statistics": {"truncated": false, "token_count": tokens}}});
        let both = read(json!({"predictions": [prediction(json!(3)), prediction(json!(4.0))]})).unwrap();
        assert_eq!((both.vectors.len(), both.usage.unwrap().input_tokens()), (2, 7));
        let unsure = read(json!({"predictions": [prediction(json!(3)), prediction(json!(null))]})).unwrap();
        assert_eq!(unsure.usage, None, "half a count is none");
        assert!(read(json!({"predictions": [{"embeddings": {"values": "x"}}]})).is_err());
    }
}
