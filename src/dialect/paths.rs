//! Which path means what, in which dialect.

use std::borrow::Cow;

use super::Located;
use crate::domain::error::{Error, ErrorKind};
use crate::domain::id::DialectId;
use crate::domain::plan::Operation;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Work for a model.
    Work {
        /// What.
        operation: Operation,
        /// Below the version: the path at a provider of the same dialect.
        path: &'static str,
        /// What the request line says of it.
        located: Located,
    },
    /// Something that lies at a provider: a batch, a file of one.
    Errand(Errand),
    /// The list of models.
    ListModels,
    /// One of them.
    Model(String),
    /// Whether the process lives.
    Health,
    /// What a browser asks before it sends anything.
    Preflight,
}

/// A question about something that lies at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// What it is.
    pub kind: Lies,
    /// Its id; empty for a list, and where the body names it.
    pub id: String,
    /// What is wanted.
    pub does: Does,
    /// How many of a list, if it is told.
    pub limit: Option<usize>,
    /// Which of a list they come after.
    pub after: Option<String>,
    /// What else the request line says, without credentials, for a provider of the same dialect.
    pub query: Option<String>,
}

/// What lies at a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// A file.
    File,
    /// A batch.
    Batch,
    /// An answer.
    Response,
}

impl Lies {
    /// The word in messages and in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Batch => "batch",
            Self::Response => "response",
        }
    }
}

/// What is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// All there are.
    List,
    /// What it is and how far.
    Show,
    /// What a batch is made of, or has made.
    Results,
    /// That it stops.
    Cancel,
    /// That it goes.
    Remove,
    /// That a batch begins, of a file that the body names.
    Begin,
}

/// A path taken apart: the dialect is known even where the path is not, so that errors are told in it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The client's dialect.
    pub dialect: DialectId,
    /// What it wants.
    pub asked: Result<Asked, Error>,
}

/// Paths of the OpenAI family: operation, dialect, path at a provider.
const WORK: [(&str, Operation, DialectId); 15] = [
    ("chat/completions", Operation::Chat, DialectId::OpenAiChat),
    ("responses", Operation::Chat, DialectId::OpenAiResponses),
    ("completions", Operation::Completions, DialectId::OpenAiCompletions),
    ("embeddings", Operation::Embeddings, DialectId::OpenAiChat),
    ("moderations", Operation::Moderations, DialectId::OpenAiChat),
    ("rerank", Operation::Rerank, DialectId::OpenAiChat),
    ("images/generations", Operation::Images, DialectId::OpenAiChat),
    ("images/edits", Operation::Images, DialectId::OpenAiChat),
    ("images/variations", Operation::Images, DialectId::OpenAiChat),
    ("audio/speech", Operation::Speech, DialectId::OpenAiChat),
    ("audio/transcriptions", Operation::Transcription, DialectId::OpenAiChat),
    ("audio/translations", Operation::Transcription, DialectId::OpenAiChat),
    ("messages", Operation::Chat, DialectId::Anthropic),
    ("messages/count_tokens", Operation::CountTokens, DialectId::Anthropic),
    ("complete", Operation::Completions, DialectId::OpenAiCompletions),
];

/// APIs of one provider alone, most of which keep state there: passing them on would be a hole in metering and residency.
const STATEFUL: [&str; 16] = [
    "files",
    "uploads",
    "batches",
    "fine_tuning",
    "vector_stores",
    "assistants",
    "threads",
    "conversations",
    "containers",
    "realtime",
    "cachedContents",
    "upload",
    "interactions",
    "skills",
    "responses/input_tokens",
    "responses/compact",
];

/// Takes a request line apart. `header`: whether the request has a header of that name.
#[must_use]
pub fn target(method: &str, path: &str, query: Option<&str>, header: &dyn Fn(&str) -> bool) -> Target {
    let of_gemini = ["/v1beta/", "/v1alpha/"].iter().any(|version| path.starts_with(version))
        || query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with("key=")));
    // The usual spelling is found as it is.
    let usual = path.strip_prefix("/v1/").filter(|rest| WORK.iter().any(|(known, ..)| known == rest));
    let whole = path;
    let path = usual.map_or_else(|| Cow::Owned(normal(path)), Cow::Borrowed);
    if method == "OPTIONS" {
        return Target { dialect: DialectId::OpenAiChat, asked: Ok(Asked::Preflight) };
    }
    if let Some((model, name)) = method_of(&path) {
        return Target { dialect: DialectId::Gemini, asked: gemini(method, model, name, query) };
    }
    if let Some((dialect, asked)) = lying(method, &path, query, header).filter(|_| !of_gemini) {
        return Target { dialect, asked };
    }
    let found = WORK.iter().find(|(known, ..)| *known == path);
    if let Some((path, operation, dialect)) = found {
        let unnamed = match operation {
            _ if usual.is_some() && *operation != Operation::Moderations => None,
            Operation::Moderations => Some(deployment(whole).unwrap_or_else(|| MODERATOR.to_owned())),
            _ => deployment(whole),
        };
        let located = Located { unnamed, ..Located::default() };
        let asked = only(method, POST, Asked::Work { operation: *operation, path, located });
        return Target { dialect: *dialect, asked };
    }
    let dialect = match by_headers(header) {
        _ if path.starts_with("messages") => DialectId::Anthropic,
        DialectId::OpenAiChat if of_gemini => DialectId::Gemini,
        dialect => dialect,
    };
    // Methods of models that are not known here.
    if dialect == DialectId::Gemini && method == POST && path.starts_with("models/") && path.contains(':') {
        let message = "this method is not offered by the gateway";
        let error = Error::new(ErrorKind::UnknownPath, message).code("api_not_offered");
        return Target { dialect, asked: Err(error) };
    }
    Target { dialect, asked: other(method, &path) }
}

/// Batches and their files. Files of Anthropic's are for prompts, not for batches.
fn lying(
    method: &str,
    path: &str,
    query: Option<&str>,
    header: &dyn Fn(&str) -> bool,
) -> Option<(DialectId, Result<Asked, Error>)> {
    let roots = [
        ("messages/batches", Lies::Batch, DialectId::Anthropic),
        ("batches", Lies::Batch, DialectId::OpenAiChat),
        ("files", Lies::File, DialectId::OpenAiChat),
        ("responses", Lies::Response, DialectId::OpenAiResponses),
    ];
    let (rest, kind, own) = roots.iter().find_map(|(root, kind, own)| {
        let rest = path.strip_prefix(root)?;
        (rest.is_empty() || rest.starts_with('/')).then_some((rest, *kind, *own))
    })?;
    if own != DialectId::Anthropic && by_headers(header) != DialectId::OpenAiChat {
        return None;
    }
    let dialect = own;
    let mut parts = rest.split('/').filter(|part| !part.is_empty());
    let (id, tail, more) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let told = |name: &str| queried(query, name);
    let errand = |does| {
        let limit = told("limit").and_then(|limit| limit.parse().ok());
        let after = told("after").or_else(|| told("after_id"));
        let kept = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("key="));
        let kept = kept.collect::<Vec<_>>().join("&");
        let query = (!kept.is_empty()).then_some(kept);
        Asked::Errand(Errand { kind, id: id.to_owned(), does, limit, after, query })
    };
    let upload = |path| Asked::Work { operation: Operation::Batch, path, located: Located::default() };
    let get = if method == "HEAD" { GET } else { method };
    if kind == Lies::Response {
        let does = match (get, tail) {
            _ if id.is_empty() || more.is_some() => return None,
            (GET, None) => Does::Show,
            (GET, Some("input_items")) => Does::Results,
            (DELETE, None) => Does::Remove,
            (POST, Some("cancel")) => Does::Cancel,
            _ => return None,
        };
        return Some((dialect, Ok(errand(does))));
    }
    let asked = match (get, id, tail, own, kind) {
        (GET, "", ..) => errand(Does::List),
        (POST, "", _, DialectId::Anthropic, _) => upload("messages/batches"),
        (POST, "", _, _, Lies::File) => upload("files"),
        (POST, "", ..) => errand(Does::Begin),
        (_, "", ..) => return Some((dialect, only(method, "GET and POST", errand(Does::List)))),
        (GET, _, None, ..) => errand(Does::Show),
        (DELETE, _, None, DialectId::Anthropic, _) | (DELETE, _, None, _, Lies::File) => errand(Does::Remove),
        (POST, _, Some("cancel"), _, Lies::Batch) => errand(Does::Cancel),
        (GET, _, Some("results"), DialectId::Anthropic, _) | (GET, _, Some("content"), _, Lies::File) => {
            errand(Does::Results)
        }
        _ => return Some((dialect, Err(Error::new(ErrorKind::UnknownPath, "no such path")))),
    };
    if more.is_some() {
        return Some((dialect, Err(Error::new(ErrorKind::UnknownPath, "no such path"))));
    }
    Some((dialect, Ok(asked)))
}

fn other(method: &str, path: &str) -> Result<Asked, Error> {
    match path {
        "models" => only(method, GET, Asked::ListModels),
        "health" | "healthz" => only(method, GET, Asked::Health),
        _ => match path.strip_prefix("models/") {
            Some(model) => only(method, GET, Asked::Model(model.to_owned())),
            None => Err(unknown(path)),
        },
    }
}

fn unknown(path: &str) -> Error {
    let begins = |name: &str| path == name || path.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
    if STATEFUL.iter().any(|name| begins(name)) {
        let message =
            "this API is one provider's own, which mostly keeps state there, and is not offered by the gateway";
        return Error::new(ErrorKind::UnknownPath, message).code("api_not_offered");
    }
    if begins("responses") {
        let message = "the gateway keeps no responses; send the conversation with each request";
        return Error::new(ErrorKind::UnknownPath, message).code("response_not_kept");
    }
    Error::new(ErrorKind::UnknownPath, "no such path")
}

const GET: &str = "GET";
const POST: &str = "POST";
const DELETE: &str = "DELETE";

fn only(method: &str, allowed: &str, asked: Asked) -> Result<Asked, Error> {
    if method == allowed || (allowed == GET && method == "HEAD") {
        Ok(asked)
    } else {
        Err(Error::new(ErrorKind::MethodNotAllowed, format!("this path takes {allowed} only")))
    }
}

/// The model of moderations that name none. Source: OpenAI API reference, "Create moderation".
const MODERATOR: &str = "omni-moderation-latest";

/// The deployment that Azure's clients name in the path.
fn deployment(path: &str) -> Option<String> {
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let named = parts.get(parts.iter().position(|part| part == "deployments")? + 1..)?;
    named.get(..deployed(named)).map(|name| name.join("/"))
}

/// Clients configure the base URL with and without the version, and join it with one slash or two.
fn normal(path: &str) -> String {
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let mut parts = parts.as_slice();
    if let [first, rest @ ..] = parts
        && (first == "openai" || first == "anthropic")
        && !rest.is_empty()
    {
        parts = rest;
    }
    // Twice where a base URL with the version meets a client that adds it.
    while let [first, rest @ ..] = parts
        && matches!(first.as_str(), "v1" | "v1beta" | "v1alpha" | "v2")
    {
        parts = rest;
    }
    // Azure's client names the deployment in the path, and mostly in the body as well. It may have slashes.
    if let [first, named @ ..] = parts
        && first == "deployments"
    {
        parts = named.get(deployed(named)..).unwrap_or_default();
    }
    parts.join("/")
}

/// How many parts after `deployments` are the deployment's name: what is left is a path that is known.
fn deployed(named: &[String]) -> usize {
    let work = |path: String| WORK.iter().any(|(known, ..)| *known == path);
    (1..named.len()).find(|end| work(named[*end..].join("/"))).unwrap_or(1)
}

/// `models/{model}:{method}`: the model may have slashes and colons of its own. Vercel's client leaves `models/` out
/// before one that has slashes.
fn method_of(path: &str) -> Option<(&str, &str)> {
    let (model, method) = path.strip_prefix("models/").unwrap_or(path).rsplit_once(':')?;
    let known = ["generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"];
    known.contains(&method).then_some((model, method))
}

fn gemini(method: &str, model: &str, name: &str, query: Option<&str>) -> Result<Asked, Error> {
    let sse = query.is_some_and(|q| q.split('&').any(|pair| pair == "alt=sse" || pair == "%24alt=sse"));
    let stream = name == "streamGenerateContent";
    let (operation, path) = match name {
        "countTokens" => (Operation::CountTokens, "countTokens"),
        "embedContent" => (Operation::Embeddings, "embedContent"),
        "batchEmbedContents" => (Operation::Embeddings, "batchEmbedContents"),
        _ => (Operation::Chat, "generateContent"),
    };
    let located = Located { model: Some(model.to_owned()), stream, array: stream && !sse, unnamed: None };
    only(method, POST, Asked::Work { operation, path, located })
}

/// Whose list of models is asked for, and in whose words errors are told where the path does not say.
fn by_headers(header: &dyn Fn(&str) -> bool) -> DialectId {
    if header("anthropic-version") {
        DialectId::Anthropic
    } else if header("x-goog-api-key") || header("x-goog-api-client") {
        DialectId::Gemini
    } else {
        DialectId::OpenAiChat
    }
}

/// A parameter of the query.
pub(super) fn queried(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| decode(value))
}

/// Percent-decoding; malformed escapes stay as they are and name nothing.
#[must_use]
pub fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        let rest = bytes.as_slice();
        let hex = (byte == b'%').then(|| rest.get(..2)).flatten().and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                bytes.nth(1);
            }
            None => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, path: &str) -> (DialectId, Result<Asked, ErrorKind>) {
        let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
        let target = target(method, path, query, &|_| false);
        (target.dialect, target.asked.map_err(|e| e.kind))
    }

    fn post(path: &str) -> (DialectId, Operation, Located) {
        match asked(POST, path) {
            (dialect, Ok(Asked::Work { operation, located, .. })) => (dialect, operation, located),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn paths_with_and_without_the_version_and_with_extra_slashes() {
        for path in ["/v1/models", "/models", "/v1/models/", "//v1//models", "/openai/v1/models", "/v1beta/models"] {
            assert_eq!(asked(GET, path).1, Ok(Asked::ListModels), "{path}");
        }
        let model = |path| match asked(GET, path).1 {
            Ok(Asked::Model(model)) => model,
            other => panic!("{other:?}"),
        };
        assert_eq!(model("/v1/models/local%2Ftiny-r1"), "local/tiny-r1");
        assert_eq!(model("/v1/models/openai/o1@eu"), "openai/o1@eu");
        assert_eq!(model("/v1/models/%zz%41"), "%zzA");
        assert_eq!(asked(GET, "/v1/chat/completions").1, Err(ErrorKind::MethodNotAllowed));
        assert_eq!(asked(GET, "/v1/nothing").1, Err(ErrorKind::UnknownPath));
        assert_eq!(post("/openai/deployments/gpt/chat/completions?api-version=1").1, Operation::Chat);
        let unnamed = |path: &str| match target(POST, path, None, &|_| false).asked.unwrap() {
            Asked::Work { located, .. } => located.unnamed,
            _ => panic!("{path}"),
        };
        assert_eq!(unnamed("/openai/deployments/my%2Dgpt/chat/completions").as_deref(), Some("my-gpt"));
        let slashed = "/openai/deployments/alpha/m-1/audio/speech";
        assert_eq!((post(slashed).1, unnamed(slashed).as_deref()), (Operation::Speech, Some("alpha/m-1")));
        assert_eq!(asked(POST, "/openai/deployments").1, Err(ErrorKind::UnknownPath));
        assert_eq!(unnamed("/v1/moderations").as_deref(), Some(MODERATOR));
        assert_eq!((unnamed("/v1/chat/completions"), unnamed("/v1/images/generations")), (None, None));
        assert_eq!(post("/v1/v1/messages").1, Operation::Chat);
        assert_eq!(post("/chat/completions").1, Operation::Chat);
        assert_eq!(post("/v1/messages?beta=true").0, DialectId::Anthropic);
        assert_eq!(post("/v1/messages/count_tokens").1, Operation::CountTokens);
        assert_eq!(asked(GET, "/v1/messages").0, DialectId::Anthropic, "errors in its words");
    }

    #[test]
    fn gemini_methods_under_both_versions() {
        let (dialect, operation, located) = post("/v1beta/models/gemini-x:streamGenerateContent?alt=sse");
        assert_eq!((dialect, operation), (DialectId::Gemini, Operation::Chat));
        assert_eq!(located, Located { model: Some("gemini-x".into()), stream: true, array: false, unnamed: None });
        let array = post("/v1/models/a%2Fb%3AstreamGenerateContent").2;
        assert_eq!(array, Located { model: Some("a/b".into()), stream: true, array: true, unnamed: None });
        assert_eq!(post("/v1beta/a/b:generateContent").2.model.as_deref(), Some("a/b"), "without `models/`");
        assert_eq!(post("/v1/models/m:countTokens").1, Operation::CountTokens);
        assert_eq!(post("/v1beta/models/m:batchEmbedContents").1, Operation::Embeddings);
    }

    #[test]
    fn what_geminis_paths_ask_is_told_in_its_words() {
        for path in ["/v1beta/models", "/v1beta/nothing", "/v1/models?key=k", "/v1alpha/models/m"] {
            assert_eq!(asked(GET, path).0, DialectId::Gemini, "{path}");
        }
        assert_eq!(asked(GET, "/v1/models").0, DialectId::OpenAiChat);
        let target = target(POST, "/v1beta/models/m:predict", None, &|_| false);
        assert_eq!((target.dialect, target.asked.unwrap_err().code_str()), (DialectId::Gemini, "api_not_offered"));
    }

    #[test]
    fn what_is_not_offered_is_told_with_a_code() {
        let code = |path: &str| target(POST, path, None, &|_| false).asked.unwrap_err().code_str();
        assert_eq!(code("/v1/uploads"), "api_not_offered");
        assert_eq!(code("/v1/vector_stores/vs_1/files"), "api_not_offered");
        for path in ["/v1beta/files", "/upload/v1beta/files", "/v1beta/interactions", "/v1/responses/input_tokens"] {
            assert_eq!(code(path), "api_not_offered", "{path}");
        }
        let of_anthropic = target(POST, "/v1/files", None, &|name| name == "anthropic-version");
        assert_eq!(
            (of_anthropic.dialect, of_anthropic.asked.unwrap_err().code_str()),
            (DialectId::Anthropic, "api_not_offered")
        );
        assert_eq!(code("/v1/responses/resp_1"), "response_not_kept");
        assert_eq!(code("/v1/filesystem"), "unknown_path");
    }

    #[test]
    fn batches_and_their_files() {
        let errand = |method: &str, path: &str| match asked(method, path) {
            (dialect, Ok(Asked::Errand(errand))) => (dialect, errand.kind, errand.does, errand.id),
            other => panic!("{method} {path}: {other:?}"),
        };
        let (openai, anthropic) = (DialectId::OpenAiChat, DialectId::Anthropic);
        let id = |id: &str| id.to_owned();
        for (method, path, expected) in [
            (GET, "/v1/files", (openai, Lies::File, Does::List, id(""))),
            (GET, "/v1/files/file-1", (openai, Lies::File, Does::Show, id("file-1"))),
            ("HEAD", "/files/file-1/content", (openai, Lies::File, Does::Results, id("file-1"))),
            (DELETE, "/openai/v1/files/file-1", (openai, Lies::File, Does::Remove, id("file-1"))),
            (POST, "/v1/batches", (openai, Lies::Batch, Does::Begin, id(""))),
            (POST, "/v1/batches/b_1/cancel", (openai, Lies::Batch, Does::Cancel, id("b_1"))),
            (GET, "/v1/messages/batches", (anthropic, Lies::Batch, Does::List, id(""))),
            (GET, "/v1/messages/batches/m/results", (anthropic, Lies::Batch, Does::Results, id("m"))),
            (DELETE, "/v1/messages/batches/m?beta=true", (anthropic, Lies::Batch, Does::Remove, id("m"))),
        ] {
            assert_eq!(errand(method, path), expected, "{method} {path}");
        }
        assert_eq!(post("/v1/messages/batches?beta=true").1, Operation::Batch);
        assert_eq!(post("/v1/files").1, Operation::Batch);
        for (method, path) in [
            (DELETE, "/v1/batches/b_1"),
            (GET, "/v1/batches/b_1/results"),
            (GET, "/v1/files/f/content/more"),
            ("PUT", "/v1/messages/batches/m"),
        ] {
            assert_eq!(asked(method, path).1, Err(ErrorKind::UnknownPath), "{method} {path}");
        }
        assert_eq!(asked(DELETE, "/v1/files").1, Err(ErrorKind::MethodNotAllowed));
        let Ok(Asked::Errand(list)) = asked(GET, "/v1/batches?limit=3&after=b%5F1").1 else { panic!() };
        assert_eq!((list.limit, list.after.as_deref()), (Some(3), Some("b_1")));
    }
}
