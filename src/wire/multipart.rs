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

/// Where the values of all fields of a name stand, as far as the form is whole.
#[must_use]
pub fn fields(body: &[u8], boundary: &str, name: &str) -> Vec<Range<usize>> {
    let delimiter = format!("--{boundary}");
    let mut found = Vec::new();
    let Some(first) = memmem::find(body, delimiter.as_bytes()) else { return found };
    let mut at = first + delimiter.len();
    while let Some((head, value)) = part(body, at, &delimiter) {
        at = value.end + 2 + delimiter.len();
        if names(&body[head], name) {
            found.push(value);
        }
    }
    found
}

/// Head and value of the part that begins behind a delimiter; none = the form ends there, or breaks off.
fn part(body: &[u8], at: usize, delimiter: &str) -> Option<(Range<usize>, Range<usize>)> {
    // Two dashes after the delimiter end the form.
    let head = at + 2;
    if body.get(at..head)? != b"\r\n" {
        return None;
    }
    let head_end = head + memmem::find(body.get(head..)?, b"\r\n\r\n")?;
    let value = head_end + 4;
    let value_end = value + memmem::find(body.get(value..)?, format!("\r\n{delimiter}").as_bytes())?;
    Some((head..head_end, value..value_end))
}

/// Whether a reader could take the part for a field of that name: with and without quotes, in either case, and in the
/// extended form (`name*=utf-8''model`), which nobody should send.
fn names(head: &[u8], name: &str) -> bool {
    let head = String::from_utf8_lossy(head);
    head.split("\r\n").any(|line| {
        let Some((header, value)) = line.split_once(':') else { return false };
        let called = |part: &str| {
            let Some((attribute, value)) = part.split_once('=') else { return false };
            let value = value.trim().trim_matches('"');
            match attribute.trim().to_ascii_lowercase().as_str() {
                "name" => value == name,
                "name*" => value.rsplit('\'').next() == Some(name),
                _ => false,
            }
        };
        header.trim().eq_ignore_ascii_case("content-disposition") && value.split(';').any(called)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n--xy\r\n--xyz\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--xyz--\r\n";

    #[test]
    fn a_field_is_found_between_files() {
        let told = |form: &'static str, name: &str| -> Vec<&'static str> {
            fields(form.as_bytes(), "xyz", name).into_iter().map(|range| &form[range]).collect()
        };
        assert_eq!(told(FORM, "model"), ["whisper-1"]);
        assert_eq!(told(FORM, "file"), ["RIFF\r\n--xy"]);
        assert!(told(FORM, "prompt").is_empty());
        assert!(told(&FORM[..120], "model").is_empty(), "a cut form has no field");
    }

    #[test]
    fn every_spelling_of_a_name_is_seen() {
        for second in ["name=model", "Name=\"model\"", "name*=utf-8''model", " name = \"model\" "] {
            let more = format!("\r\nContent-Disposition : form-data; {second}\r\n\r\nother\r\n--xyz--\r\n");
            let form = FORM.replace("--xyz--\r\n", &format!("--xyz{more}"));
            assert_eq!(fields(form.as_bytes(), "xyz", "model").len(), 2, "{second}");
        }
    }

    #[test]
    fn boundaries() {
        assert_eq!(boundary("multipart/form-data; boundary=xyz"), Some("xyz"));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; boundary=\"a b\""), Some("a b"));
        assert_eq!(boundary("application/json"), None);
        assert_eq!(boundary("multipart/form-data; boundary="), None);
    }
}
