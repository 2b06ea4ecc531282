//! The body of a request: whole, bounded in size and time.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::domain::error::{Error, ErrorKind};

/// Reads it. A gzip body is unpacked within the same limit.
///
/// # Errors
/// Too large, too slow, broken off, or of a media type or coding that is not taken.
pub(super) async fn read(request: Request<Incoming>, limit: usize, within: Duration) -> Result<Bytes, Error> {
    let packed = check_media(request.headers())?;
    let too_large = || Error::new(ErrorKind::BodyTooLarge, format!("the body is larger than {limit} bytes"));
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(within, Limited::new(request.into_body(), limit).collect()).await;
    let body = match collected {
        Err(_) => return Err(Error::new(ErrorKind::BodyTimeout, "the body did not arrive in time")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
        Ok(Err(_)) => {
            return Err(Error::new(ErrorKind::InvalidRequest, "the body broke off").code("body_incomplete"));
        }
        Ok(Ok(body)) => body.to_bytes(),
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
