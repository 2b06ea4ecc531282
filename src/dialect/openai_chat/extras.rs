//! What stands beside the text of an answer: sources, probabilities, images, and signatures of the thinking.
//!
//! Signatures travel in `reasoning_details`, a member that `OpenRouter` introduced and SDKs hand back unchanged; that of
//! a call in `extra_content`, as Google's own compatible API does it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::details::Returned;
use crate::dialect::gemini::Ran;
use crate::domain::chat::{Citation, MediaSource, Part, Signature, TokenLogprob, ToolCall};
use crate::domain::id::DialectId;

/// Marks the details that are ours.
const FORMAT: &str = "stellwerk";

#[derive(Serialize)]
pub(super) struct Annotation<'a> {
    r#type: &'static str,
    url_citation: UrlCitation<'a>,
}

#[derive(Serialize)]
struct UrlCitation<'a> {
    start_index: u32,
    end_index: u32,
    url: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

/// Sources. The dialect knows those with an address only: of others (a document, the result of a tool) the title says what
/// they are, and the address is empty.
pub(super) fn annotations(citations: &[Citation]) -> Vec<Annotation<'_>> {
    citations.iter().map(annotation).collect()
}

fn annotation(citation: &Citation) -> Annotation<'_> {
    let Citation { url, title, quoted, span } = citation;
    let (start_index, end_index) = span.unwrap_or((0, 0));
    let (url, title) = (url.as_deref().unwrap_or_default(), title.as_deref().unwrap_or_default());
    let url_citation = UrlCitation { start_index, end_index, url, title, content: quoted.as_deref() };
    Annotation { r#type: "url_citation", url_citation }
}

#[derive(Serialize)]
pub(super) struct Logprobs<'a> {
    content: Vec<Logprob<'a>>,
    refusal: Option<()>,
}

#[derive(Serialize)]
struct Logprob<'a> {
    token: &'a str,
    logprob: f64,
    bytes: Cow<'a, [u8]>,
    top_logprobs: Vec<Top<'a>>,
}

#[derive(Serialize)]
struct Top<'a> {
    token: &'a str,
    logprob: f64,
    bytes: &'a [u8],
}

/// Log probabilities, where there are any.
pub(super) fn logprobs(tokens: &[TokenLogprob]) -> Option<Logprobs<'_>> {
    let content = tokens.iter().map(|t| Logprob {
        token: &t.token,
        logprob: t.logprob,
        bytes: t.bytes.as_deref().map_or_else(|| Cow::Borrowed(t.token.as_bytes()), Cow::Borrowed),
        top_logprobs: t
            .top
            .iter()
            .map(|(token, logprob)| Top { token, logprob: *logprob, bytes: token.as_bytes() })
            .collect(),
    });
    (!tokens.is_empty()).then(|| Logprobs { content: content.collect(), refusal: None })
}

#[derive(Serialize)]
pub(super) struct Image {
    r#type: &'static str,
    image_url: ImageUrl,
}

#[derive(Serialize)]
struct ImageUrl {
    url: String,
}

/// Code that a provider ran, or what came of it: a member of ours, since the dialect has no form for it and it is no part of
/// the answer's text.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::dialect) enum Executed {
    Code {
        language: String,
        code: String,
    },
    Output {
        output: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        failed: Option<String>,
    },
}

impl Executed {
    pub(in crate::dialect) fn of(part: &Part) -> Option<Self> {
        Some(match Ran::of(part)? {
            Ran::Code { language, code } => Self::Code { language, code },
            Ran::Outcome { output, failed } => Self::Output { output, failed },
        })
    }
}

/// An image that the model made.
pub(super) fn image(part: &Part) -> Option<Image> {
    let Part::Image(media) = part else { return None };
    let url = match &media.source {
        MediaSource::Url(url) => url.clone(),
        MediaSource::Base64 { media_type, data } => format!("data:{media_type};base64,{data}"),
        MediaSource::Stored { .. } => return None,
    };
    Some(Image { r#type: "image_url", image_url: ImageUrl { url } })
}

/// The details of one stretch of thinking: ours, or the provider's own, verbatim.
pub(super) fn details(signature: &Signature) -> Vec<Box<RawValue>> {
    if let Some(raw) = signature.of(DialectId::OpenAiChat) {
        let mut returned = Returned::default();
        returned.take(raw);
        return returned.details.into_iter().map(ToOwned::to_owned).collect();
    }
    #[derive(Serialize)]
    struct Detail<'a> {
        r#type: &'static str,
        data: &'a str,
        format: &'static str,
    }
    let data = signature.shown_in(DialectId::OpenAiChat);
    let detail = Detail { r#type: "reasoning.encrypted", data: &data, format: FORMAT };
    serde_json::value::to_raw_value(&detail).into_iter().collect()
}

/// The way back: the signature that a client's details hold.
pub(super) fn signature(details: &[&RawValue]) -> Option<Signature> {
    #[derive(Deserialize)]
    struct Detail {
        format: Option<String>,
        data: Option<String>,
    }
    let ours = details.iter().find_map(|raw| {
        let detail: Detail = serde_json::from_str(raw.get()).ok()?;
        detail.data.filter(|_| detail.format.as_deref() == Some(FORMAT))
    });
    if let Some(data) = ours {
        return Some(Signature::read(&data, DialectId::OpenAiChat));
    }
    let raw: Vec<&str> = details.iter().map(|raw| raw.get()).collect();
    (!raw.is_empty()).then(|| Signature::new(DialectId::OpenAiChat, raw.join(",")))
}

/// `extra_content` of a call.
#[derive(Deserialize, Serialize)]
pub(super) struct ExtraContent {
    google: Google,
}

#[derive(Deserialize, Serialize)]
struct Google {
    thought_signature: String,
}

/// What the provider wants back with a call.
pub(super) fn extra_content(signature: Option<&Signature>) -> Option<ExtraContent> {
    let signature = signature?;
    // Google's clients know Google's signatures as they are.
    let thought_signature = match signature.of(DialectId::Gemini) {
        Some(own) => own.to_owned(),
        None => signature.shown_in(DialectId::OpenAiChat).into_owned(),
    };
    Some(ExtraContent { google: Google { thought_signature } })
}

impl ExtraContent {
    /// The way back.
    pub(super) fn signature(self) -> Signature {
        Signature::read(&self.google.thought_signature, DialectId::Gemini)
    }
}

/// A call of the answer.
#[derive(Serialize)]
pub(super) struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) function: Option<Function<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) custom: Option<Custom<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) extra_content: Option<ExtraContent>,
}

#[derive(Serialize)]
pub(super) struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    pub(super) arguments: &'a str,
}

#[derive(Serialize)]
pub(super) struct Custom<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    pub(super) input: &'a str,
}

impl<'a> Call<'a> {
    /// A whole call.
    pub(super) fn whole(call: &'a ToolCall) -> Self {
        let (name, text) = (Some(call.name.as_str()), call.arguments.as_str());
        Self {
            index: None,
            id: Some(&call.id),
            extra_content: extra_content(call.signature.as_ref()),
            ..Self::of(call.custom, name, text)
        }
    }

    /// A function's or a custom tool's.
    pub(super) fn of(custom: bool, name: Option<&'a str>, text: &'a str) -> Self {
        Self {
            index: None,
            id: None,
            r#type: name.map(|_| if custom { "custom" } else { "function" }),
            function: (!custom).then_some(Function { name, arguments: text }),
            custom: custom.then_some(Custom { name, input: text }),
            extra_content: None,
        }
    }
}
