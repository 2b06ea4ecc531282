//! The body of a request: whole, bounded in size and time.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::domain::error::{Error, ErrorKind};

/// Reads it. A gzip body is unpacked within the same limit.
///
/// # Errors
/// Too large, too slow, broken off, or of a media type or coding that is not taken.
pub(super) async fn read(
    headers: &HeaderMap,
    body: &mut Incoming,
    limit: usize,
    within: Duration,
) -> Result<Bytes, Error> {
    let packed = check_media(headers)?;
    let too_large = || Error::new(ErrorKind::BodyTooLarge, format!("the body is larger than {limit} bytes"));
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(within, collect(body, limit)).await;
    let body = match collected {
        Err(_) => return Err(Error::new(ErrorKind::BodyTimeout, "the body did not arrive in time")),
        Ok(Err(Broken::TooLarge)) => return Err(too_large()),
        Ok(Err(Broken::Off)) => {
            return Err(Error::new(ErrorKind::InvalidRequest, "the body broke off").code("body_incomplete"));
        }
        Ok(Ok(body)) => body,
    };
    if !packed {
        return Ok(body);
    }
    let unpacked = tokio::task::spawn_blocking(move || unpack(&body, limit)).await;
    match unpacked {
        Ok(Ok(body)) if body.len() > limit => Err(too_large()),
        Ok(Ok(body)) => Ok(Bytes::from(body)),
        Ok(Err(_)) | Err(_) => {
            Err(Error::new(ErrorKind::InvalidRequest, "the body is not valid gzip").code("invalid_gzip"))
        }
    }
}

/// Lets go what is left of a body that nobody wants, so that its sender hears the answer and the connection lives on: a
/// socket that is closed over unread bytes takes the answer with it. Returns whether nothing is left. Who waits to be
/// told to send is not told to.
pub(super) async fn discard(headers: &HeaderMap, body: &mut Incoming, limit: usize) -> bool {
    const WITHIN: Duration = Duration::from_secs(5);
    if headers.contains_key(header::EXPECT) {
        return false;
    }
    let all = async {
        let mut left = limit;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(less) = left.checked_sub(length) else { return false };
            left = less;
        }
        true
    };
    tokio::time::timeout(WITHIN, all).await.unwrap_or(false)
}

/// Why a body is not whole.
enum Broken {
    TooLarge,
    Off,
}

/// Puts a body together. One that came in one piece is not copied. Of the others each piece is let go before the next is
/// read, so that hyper reads into the same buffer again; the place for all of them is made at once where the length is
/// told, but not more than a little at somebody's word.
async fn collect(body: &mut Incoming, limit: usize) -> Result<Bytes, Broken> {
    const TRUSTED: u64 = 2 << 20;
    let told = body.size_hint().lower();
    let mut first: Option<Bytes> = None;
    let mut whole: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        // Trailers are of no interest.
        let Ok(data) = frame.map_err(|_| Broken::Off)?.into_data() else { continue };
        let so_far = first.as_ref().map_or(whole.len(), Bytes::len);
        if so_far.saturating_add(data.len()) > limit {
            return Err(Broken::TooLarge);
        }
        if so_far == 0 {
            if data.len() as u64 >= told {
                first = Some(data);
                continue;
            }
            whole.reserve_exact(usize::try_from(told.min(TRUSTED)).unwrap_or_default());
        }
        if let Some(first) = first.take() {
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&data);
    }
    Ok(first.unwrap_or_else(|| Bytes::from(whole)))
}

/// At most one byte more than the limit: enough to know that it is too large.
fn unpack(body: &[u8], limit: usize) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    GzDecoder::new(body).take(limit as u64 + 1).read_to_end(&mut out)?;
    Ok(out)
}

/// JSON, a form with files, or what curl says by default when it is JSON. Returns whether the body is packed.
fn check_media(headers: &HeaderMap) -> Result<bool, Error> {
    let unsupported = |message| Err(Error::new(ErrorKind::UnsupportedMedia, message));
    let packed = match headers.get(header::CONTENT_ENCODING).map(|v| v.to_str().unwrap_or("?")) {
        None | Some("identity") => false,
        Some(coding) if coding.eq_ignore_ascii_case("gzip") => true,
        Some(_) => return unsupported("the body may be packed with gzip only"),
    };
    let Some(media) = headers.get(header::CONTENT_TYPE).map(|v| v.to_str().unwrap_or("?")) else { return Ok(packed) };
    let media = media.split(';').next().unwrap_or_default().trim();
    let known = ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];
    if known.iter().any(|k| media.eq_ignore_ascii_case(k)) { Ok(packed) } else { unsupported("the body must be JSON") }
}
