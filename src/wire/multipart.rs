//! Just enough of `multipart/form-data` (RFC 7578) to find one text field and replace it.

use std::ops::Range;

use memchr::memmem;

/// The boundary that a media type names.
#[must_use]
pub fn boundary(content_type: &str) -> Option<&str> {
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value.trim().trim_matches('"'))
    })?;
    (!value.is_empty() && value.len() <= 70).then_some(value)
}

/// Where the value of a field stands; none = it is not there, or the form is broken.
#[must_use]
pub fn field(body: &[u8], boundary: &str, name: &str) -> Option<Range<usize>> {
    let delimiter = format!("--{boundary}");
    let end = format!("\r\n{delimiter}");
    let mut at = memmem::find(body, delimiter.as_bytes())? + delimiter.len();
    loop {
        // Two dashes after the delimiter end the form.
        if body.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        let head = at + 2;
        let head_end = head + memmem::find(body.get(head..)?, b"\r\n\r\n")?;
        let value = head_end + 4;
        let value_end = value + memmem::find(body.get(value..)?, end.as_bytes())?;
        if names(&body[head..head_end], name) {
            return Some(value..value_end);
        }
        at = value_end + end.len();
    }
}

fn names(head: &[u8], name: &str) -> bool {
    let Ok(head) = std::str::from_utf8(head) else { return false };
    let wanted = format!("name=\"{name}\"");
    head.split("\r\n").any(|line| {
        let is_disposition = line.get(..20).is_some_and(|l| l.eq_ignore_ascii_case("content-disposition:"));
        is_disposition && line[20..].split(';').any(|part| part.trim() == wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n--xy\r\n--xyz\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--xyz--\r\n";

    #[test]
    fn a_field_is_found_between_files() {
        let range = field(FORM.as_bytes(), "xyz", "model").unwrap();
        assert_eq!(&FORM[range], "whisper-1");
        assert_eq!(&FORM[field(FORM.as_bytes(), "xyz", "file").unwrap()], "RIFF\r\n--xy");
        assert_eq!(field(FORM.as_bytes(), "xyz", "prompt"), None);
        assert_eq!(field(&FORM.as_bytes()[..120], "xyz", "model"), None, "a cut form has no field");
    }

    #[test]
    fn boundaries() {
        assert_eq!(boundary("multipart/form-data; boundary=xyz"), Some("xyz"));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; boundary=\"a b\""), Some("a b"));
        assert_eq!(boundary("application/json"), None);
        assert_eq!(boundary("multipart/form-data; boundary="), None);
    }
}
