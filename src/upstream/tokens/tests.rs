//! A token endpoint on loopback, a clock in the hand.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A token endpoint that answers in turn, the last one for ever, and what it was asked.
async fn endpoint(answers: Vec<(u16, &'static str)>) -> (TokenEndpoint, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let asked = Arc::clone(&seen);
    tokio::spawn(async move {
        let number = AtomicUsize::new(0);
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            let mut buffer = [0; 4096];
            loop {
                let read = stream.read(&mut buffer).await.unwrap();
                text.push_str(&String::from_utf8_lossy(&buffer[..read]));
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.to_ascii_lowercase();
                let length = length.lines().find_map(|l| l.strip_prefix("content-length: ").map(str::to_owned));
                if body.len() >= length.unwrap().parse().unwrap() {
                    asked.lock().unwrap().push(body.to_owned());
                    break;
                }
            }
            let at = number.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
            let (status, body) = answers[at];
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    });
    (TokenEndpoint { url, scope: "scope-1".into(), allow_http: true }, seen)
}

fn secret(endpoint: TokenEndpoint) -> TokenSource {
    let grant = Grant::ClientCredentials { id: "client&1".into(), secret: "sëcret".to_owned().into() };
    TokenSource::new(endpoint, grant).unwrap()
}

const FIRST: &str = r#"{"access_token":"first","expires_in":3600,"token_type":"Bearer"}"#;
const SECOND: &str = r#"{"access_token":"second","expires_in":3600,"token_type":"Bearer"}"#;

async fn at(source: &TokenSource, now: i64) -> Result<String, FailureKind> {
    let token = source.token_at(&move || now).await;
    token.map(|token| token.expose_secret().to_owned()).map_err(|failure| failure.kind)
}

#[tokio::test]
async fn one_of_many_fetches_and_a_good_token_is_kept() {
    let (endpoint, seen) = endpoint(vec![(200, FIRST)]).await;
    let source = secret(endpoint);
    let all = futures_util::future::join_all((0..20).map(|_| at(&source, 1000))).await;
    assert!(all.iter().all(|token| token.as_deref() == Ok("first")), "{all:?}");
    assert_eq!(at(&source, 1000 + 3299).await.unwrap(), "first");
    let seen = seen.lock().unwrap();
    assert_eq!(
        *seen,
        ["grant_type=client_credentials&client_id=client%261&client_secret=s%C3%ABcret&scope=scope-1"],
        "asked once"
    );
}

#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end_and_outlives_a_failure_of_that() {
    let (endpoint, seen) = endpoint(vec![(200, FIRST), (503, "down"), (200, SECOND), (400, "no")]).await;
    let source = secret(endpoint);
    let count = || seen.lock().unwrap().len();
    assert_eq!(at(&source, 1000).await.unwrap(), "first");
    assert_eq!((at(&source, 4300).await.unwrap(), count()), ("first".into(), 2), "could not be renewed");
    assert_eq!((at(&source, 4305).await.unwrap(), count()), ("first".into(), 2), "not tried again at once");
    assert_eq!((at(&source, 4310).await.unwrap(), count()), ("second".into(), 3));
    assert_eq!(at(&source, 4310 + 3600).await, Err(FailureKind::Credentials), "none is good any more");
}

#[tokio::test]
async fn refusals_tell_nothing_of_what_was_sent() {
    for (status, body, kind) in [
        (401, "{\"error\":\"invalid_client\",\"client_secret\":\"sëcret\"}", FailureKind::Credentials),
        (200, "{\"token\":\"x\"}", FailureKind::Credentials),
        (302, "", FailureKind::Credentials),
        (500, "sëcret", FailureKind::Upstream),
    ] {
        let (endpoint, _) = endpoint(vec![(status, body)]).await;
        let failure = secret(endpoint).token().await.unwrap_err();
        assert_eq!(failure.kind, kind, "{status}");
        assert!(!format!("{failure:?}").contains("cret\""), "{failure:?}");
    }
    let plain = TokenEndpoint { url: "http://127.0.0.1:1/".into(), scope: String::new(), allow_http: false };
    let grant = Grant::ClientCredentials { id: "i".into(), secret: "s".to_owned().into() };
    assert!(TokenSource::new(plain, grant).unwrap_err().contains("must be https"));
}

#[tokio::test]
async fn a_service_account_signs_who_it_is() {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let lines: Vec<String> =
        STANDARD.encode(der.as_ref()).as_bytes().chunks(64).map(|l| String::from_utf8_lossy(l).into()).collect();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    let file = serde_json::json!({"type": "service_account", "client_email": "a@b.iam", "private_key": pem,
        "private_key_id": "k1", "token_uri": "https://elsewhere.invalid/token"});
    let (endpoint, seen) = endpoint(vec![(200, FIRST)]).await;
    let account = ServiceAccount::read(&file.to_string()).unwrap();
    let url = endpoint.url.clone();
    let source = TokenSource::new(endpoint, Grant::ServiceAccount(account)).unwrap();
    assert_eq!(at(&source, 1_000_000).await.unwrap(), "first", "asked at the catalogue's address, not at the file's");
    let body = seen.lock().unwrap()[0].clone();
    let assertion =
        body.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=").unwrap();
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    let json =
        |part: &str| -> serde_json::Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    let (header, claims) = signed.split_once('.').unwrap();
    assert_eq!(json(header), serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    let want =
        serde_json::json!({"iss": "a@b.iam", "scope": "scope-1", "aud": url, "iat": 1_000_000, "exp": 1_003_600});
    assert_eq!(json(claims), want);
}

#[test]
fn what_is_no_service_account_is_told_without_its_content() {
    for (json, lacks) in [
        ("{}", "no service account"),
        (r#"{"client_email":"a","private_key":"-----BEGIN RSA PRIVATE KEY-----"}"#, "PEM"),
        (r#"{"client_email":"a","private_key":"-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----"}"#, "RSA"),
    ] {
        let told = ServiceAccount::read(json).unwrap_err();
        assert!(told.contains(lacks) && !told.contains("QUJD"), "{told}");
    }
}
