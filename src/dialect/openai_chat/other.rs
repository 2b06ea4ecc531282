//! What metering reads of answers that are no conversations: embeddings, images, sound, reranking.

use serde::Deserialize;

use crate::dialect::Observed;
use crate::domain::usage::{Bucket, Usage};

#[derive(Deserialize)]
struct Answer {
    model: Option<String>,
    usage: Option<WireUsage>,
    /// Rerankers report here.
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct WireUsage {
    prompt_tokens: Option<u64>,
    total_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    #[serde(alias = "input_token_details")]
    input_tokens_details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    image_tokens: u64,
    audio_tokens: u64,
}

#[derive(Deserialize)]
struct Meta {
    billed_units: Option<Billed>,
}

#[derive(Deserialize)]
struct Billed {
    search_units: Option<u64>,
    input_tokens: Option<u64>,
}

/// Reads usage and model; an answer that is no JSON (sound) tells neither.
pub(super) fn observe(body: &[u8], made: Bucket) -> Observed {
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        return Observed { began: true, ..Observed::default() };
    };
    let billed = answer.meta.and_then(|meta| meta.billed_units);
    let usage = answer.usage.and_then(|usage| usage.buckets(made)).or(billed.and_then(|b| b.buckets()));
    Observed { usage, model: answer.model, began: true, ..Observed::default() }
}

impl WireUsage {
    /// `made`: what the output tokens are of.
    fn buckets(&self, made: Bucket) -> Option<Usage> {
        let input = self.input_tokens.or(self.prompt_tokens).or(self.total_tokens)?;
        let details = self.input_tokens_details.as_ref();
        let image = details.map_or(0, |d| d.image_tokens).min(input);
        let audio = details.map_or(0, |d| d.audio_tokens).min(input - image);
        Usage::ZERO
            .with(Bucket::Input, input - image - audio)
            .with(Bucket::InputImage, image)
            .with(Bucket::InputAudio, audio)
            .with(made, self.output_tokens.unwrap_or(0))
            .plausible()
    }
}

impl Billed {
    fn buckets(&self) -> Option<Usage> {
        match (self.search_units, self.input_tokens) {
            (None, None) => None,
            (units, tokens) => {
                let usage = Usage::ZERO.with(Bucket::Search, units.unwrap_or(0));
                usage.with(Bucket::Input, tokens.unwrap_or(0)).plausible()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_report_is_read() {
        let usage = |body: &str, made| observe(body.as_bytes(), made).usage;
        let embeddings = r#"{"object":"list","data":[],"model":"e","usage":{"prompt_tokens":7,"total_tokens":7}}"#;
        assert_eq!(usage(embeddings, Bucket::Output), Some(Usage::ZERO.with(Bucket::Input, 7)));
        let image = r#"{"data":[],"usage":{"input_tokens":50,"output_tokens":1000,"total_tokens":1050,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}"#;
        let want = Usage::ZERO.with(Bucket::Input, 10).with(Bucket::InputImage, 40).with(Bucket::OutputImage, 1000);
        assert_eq!(usage(image, Bucket::OutputImage), Some(want));
        let sound = r#"{"text":"hi","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":3,"total_tokens":17}}"#;
        let want = Usage::ZERO.with(Bucket::InputAudio, 14).with(Bucket::Output, 3);
        assert_eq!(usage(sound, Bucket::Output), Some(want));
        assert_eq!(usage(r#"{"text":"hi","usage":{"type":"duration","seconds":5}}"#, Bucket::Output), None);
        let ranked = r#"{"results":[],"meta":{"billed_units":{"search_units":2}}}"#;
        assert_eq!(usage(ranked, Bucket::Output), Some(Usage::ZERO.with(Bucket::Search, 2)));
        assert!(usage("RIFF....", Bucket::OutputAudio).is_none());
    }
}
