//! AWS Signature Version 4, by the vendor's own crate: over the whole body, with the credential of one attempt.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::{HeaderName, HeaderValue, Request};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::error::{Failure, FailureKind};

/// What a signature is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The service (`bedrock`).
    pub service: String,
    /// The region (`eu-central-1`).
    pub region: String,
}

/// The three parts of an AWS credential.
#[derive(Debug)]
pub struct AwsKey {
    /// The id of the access key; no secret, but not shown either.
    pub id: SecretString,
    /// The secret access key.
    pub secret: SecretString,
    /// The session's token, where the key is a temporary one.
    pub session: Option<SecretString>,
}

/// Signs a request whose body is in one piece. The path is signed as it stands, percent-encoded once more, which is the
/// rule of every service but S3.
///
/// # Errors
/// `Credentials` when a part of it cannot be signed.
pub(super) fn apply(
    request: &mut Request<()>,
    body: &[u8],
    key: &AwsKey,
    scope: &Scope,
    at: SystemTime,
) -> Result<(), Failure> {
    let failed =
        |what: &str| Failure::new(FailureKind::Credentials, format!("the request could not be signed: {what}"));
    let session = key.session.as_ref().map(|session| session.expose_secret().to_owned());
    let (id, secret) = (key.id.expose_secret(), key.secret.expose_secret());
    let identity = Credentials::new(id, secret, session, None, "stellwerk").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&scope.region)
        .name(&scope.service)
        .time(at)
        .settings(SigningSettings::default())
        .build()
        .map_err(|_| failed("parameters"))?
        .into();
    let headers: Vec<(&str, &str)> = request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        // Connections and proxies may change these.
        .filter(|(name, _)| !matches!(*name, "user-agent" | "accept"))
        .collect();
    let (method, url) = (request.method().as_str(), request.uri().to_string());
    let signable = SignableRequest::new(method, &*url, headers.into_iter(), SignableBody::Bytes(body));
    let signable = signable.map_err(|_| failed("the address"))?;
    let (instructions, _) = sign(signable, &params).map_err(|_| failed("the whole"))?.into_parts();
    let signed: Vec<(HeaderName, HeaderValue)> = instructions
        .headers()
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| failed("a header"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| failed("a header"))?;
            value.set_sensitive(true);
            Ok((name, value))
        })
        .collect::<Result<_, Failure>>()?;
    request.headers_mut().extend(signed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key() -> AwsKey {
        AwsKey {
            id: "AKIDEXAMPLE".to_owned().into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned().into(),
            session: None,
        }
    }

    /// 2015-08-30T12:36:00Z.
    fn moment() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160)
    }

    fn authorization(request: &Request<()>) -> String {
        request.headers()["authorization"].to_str().unwrap().to_owned()
    }

    /// The example of AWS General Reference, "Signing AWS requests with Signature Version 4".
    #[test]
    fn the_published_example() {
        let request = Request::builder()
            .method(http::Method::GET)
            .uri("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08");
        let mut request = request.body(()).unwrap();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
        request.headers_mut().insert(http::header::CONTENT_TYPE, form);
        let scope = Scope { service: "iam".into(), region: "us-east-1".into() };
        apply(&mut request, b"", &key(), &scope, moment()).unwrap();
        let signature = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        assert!(authorization(&request).ends_with(signature), "{}", authorization(&request));
        assert_eq!(request.headers()["x-amz-date"], "20150830T123600Z");
    }

    /// Computed by a program of its own (HMAC-SHA-256 over a canonical request written by hand).
    #[test]
    fn a_colon_in_the_path_is_encoded_twice() {
        let request = Request::builder()
            .method(http::Method::POST)
            .uri("https://bedrock-runtime.eu-central-1.amazonaws.com/model/a%3A0/converse");
        let mut request = request.body(()).unwrap();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(http::header::CONTENT_TYPE, json);
        let scope = Scope { service: "bedrock".into(), region: "eu-central-1".into() };
        let key = AwsKey { session: Some("token".to_owned().into()), ..key() };
        apply(&mut request, b"{}", &key, &scope, moment()).unwrap();
        assert!(
            authorization(&request).ends_with("2a0a3daa401da177198ab7eede2341d3efa72bada1d76211b55f2bc3ccd4b940"),
            "{}",
            authorization(&request)
        );
        assert!(request.headers()["x-amz-security-token"].is_sensitive());
        assert!(!format!("{key:?}").contains("EXAMPLEKEY"));
    }
}
