//! What a provider says of an error, without what is not for the client: keys, the names of the gateway's accounts,
//! addresses of people and of cloud resources.
//!
//! Providers repeat masked keys, organisations and project numbers in their messages. What looks like one is replaced;
//! a word too much is the smaller harm.

use std::borrow::Cow;

/// What stands in the place of a secret.
const HIDDEN: &str = "[hidden]";

/// How keys begin, by their makers' documentation.
const KEYS: [&str; 14] =
    ["sk-", "sk_", "pk-", "rk-", "gsk_", "xai-", "AIza", "AKIA", "ASIA", "hf_", "nvapi-", "pplx-", "r8_", "ya29."];

/// How names of accounts begin.
const ACCOUNTS: [&str; 12] = [
    "org-",
    "org_",
    "proj-",
    "proj_",
    "user-",
    "user_",
    "acct-",
    "acct_",
    "team-",
    "team_",
    "project_number",
    "projects",
];

/// Words before a UUID that is somebody's name and not the number of a request.
const OWNERS: [&str; 8] = ["team", "user", "account", "organization", "organisation", "project", "workspace", "tenant"];

/// The text without secrets, at most so many characters of it.
#[must_use]
pub fn redacted(text: &str, most: usize) -> Cow<'_, str> {
    let text = text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end]);
    let mut out = String::new();
    let (mut copied, mut rest, mut before) = (0, 0, "");
    while let Some(start) = text[rest..].find(in_name).map(|at| rest + at) {
        let end = text[start..].find(|c| !in_name(c)).map_or(text.len(), |at| start + at);
        // The end of a sentence is not part of its last word.
        let word = text[start..end].trim_end_matches(['.', ':', '/', '-']);
        if is_secret(word) || is_uuid(word) && OWNERS.iter().any(|owner| owner.eq_ignore_ascii_case(before)) {
            out.push_str(&text[copied..start]);
            out.push_str(HIDDEN);
            copied = start + word.len();
        }
        (rest, before) = (end, word);
    }
    if copied == 0 { Cow::Borrowed(text) } else { Cow::Owned(out + &text[copied..]) }
}

fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*' | '.' | '@' | ':' | '/' | '+')
}

fn is_uuid(word: &str) -> bool {
    let lengths = word.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && word.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

fn is_secret(word: &str) -> bool {
    let bare = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric());
    let digit = |text: &str| text.bytes().any(|b| b.is_ascii_digit());
    let letter = |text: &str| text.bytes().any(|b| b.is_ascii_alphabetic());
    let key = |part: &str| {
        KEYS.iter().any(|prefix| {
            part.strip_prefix(prefix).is_some_and(|rest| rest.len() >= 8 && digit(rest) || rest.contains("**"))
        })
    };
    let account = |part: &str| {
        ACCOUNTS.iter().any(|prefix| {
            let rest = part.strip_prefix(prefix).map(|rest| rest.trim_start_matches([':', '/']));
            let numbered = |rest: &str| rest.len() >= 6 && rest.bytes().all(|b| b.is_ascii_digit());
            rest.is_some_and(|rest| rest.len() >= 16 && bare(rest) && digit(rest) || numbered(rest))
        })
    };
    // Long names without a break between their letters and digits are keys or parts of them.
    let opaque = |part: &str| part.len() >= 32 && bare(part) && digit(part) && letter(part);
    let person = |word: &str| {
        word.split_once('@').is_some_and(|(name, host)| {
            !name.is_empty() && host.contains('.') && host.starts_with(|c: char| c.is_ascii_alphanumeric())
        })
    };
    word.contains("****")
        || word.starts_with("arn:")
        || person(word)
        || account(word)
        || word.split([':', '/', '@']).any(|part| key(part) || account(part) || opaque(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_accounts_and_people_are_hidden() {
        for (said, shown) in [
            ("Incorrect API key provided: sk-proj-abc123DEF456.", "Incorrect API key provided: [hidden]."),
            ("key xa*****************Ab is wrong", "key [hidden] is wrong"),
            ("in organization org-AbCdEf0123456789AbCdEf01 on tokens", "in organization [hidden] on tokens"),
            ("of consumer 'project_number:123456789012'", "of consumer '[hidden]'"),
            ("User: arn:aws:sts::123456789012:assumed-role/x/y is not", "User: [hidden] is not"),
            ("team 4b0ad1c2-0f0e-4d7c-9a1b-3c2d1e0f9a8b is out", "team [hidden] is out"),
            ("mail ops@example.org, soon", "mail [hidden], soon"),
            ("0123456789abcdef0123456789abcdef", "[hidden]"),
            ("https://x.example/a?k=AIzaSyA0123456789", "https://x.example/a?k=[hidden]"),
        ] {
            assert_eq!(redacted(said, 512), shown);
        }
    }

    #[test]
    fn words_stay_words() {
        for said in [
            "claude-3-5-sonnet-20241022 is user-provided and org-wide, sk-ip it; task-123456789",
            "messages.0.content: at least one of `text` or `tool_result` is required @ 12:30",
            "maximum context length is 128000 tokens, requested 130,001 (129,001 + 1,000)",
            "prompt too long (ref: 96164522-08b2-4cbf-886e-e5a38961a688)",
            "größer als erlaubt … ü@",
            "",
        ] {
            assert_eq!(redacted(said, 512), said);
        }
        assert_eq!(redacted("größer", 3), "grö");
    }
}
