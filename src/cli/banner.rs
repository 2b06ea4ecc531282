//! What a person sees after a start.

use crate::app::Facts;

/// The first screen: where it is, what to paste, where to look.
pub(super) fn render(facts: &Facts) -> String {
    let mut lines = vec![
        String::new(),
        format!("  Stellwerk {} is serving.", env!("CARGO_PKG_VERSION")),
        String::new(),
        row("OpenAI base URL", &format!("http://{}/v1", facts.data)),
        row("Models", &models(&facts.models)),
        row("Policy", &facts.policy),
        row("Metrics", &format!("http://{}/metrics", facts.admin)),
        row("First key", &facts.first_key.display().to_string()),
        String::new(),
    ];
    if let Some(model) = facts.models.first() {
        lines.push("  Try it:".to_owned());
        lines.push(String::new());
        lines.push(curl(facts, model));
        lines.push(String::new());
    }
    if let Some(note) = &facts.note {
        lines.push(format!("  {note}"));
        lines.push(String::new());
    }
    lines.join("\n")
}

fn row(name: &str, value: &str) -> String {
    format!("    {name:<16} {value}")
}

/// Enough to know what works; the rest is one request away.
fn models(models: &[String]) -> String {
    const SHOWN: usize = 3;
    match models.len() {
        0 => "none yet: set a provider's API key or serve a local model with --model NAME=FILE.gguf".to_owned(),
        n if n <= SHOWN => models.join(", "),
        n => format!("{} and {} more (GET /v1/models)", models[..SHOWN].join(", "), n - SHOWN),
    }
}

/// One command that can be pasted; the key never stands in it.
fn curl(facts: &Facts, model: &str) -> String {
    // A question that the smallest model answers well, and a limit, since it may also lose its thread.
    format!(
        "  curl -s http://{}/v1/chat/completions \\\n    -H \"Authorization: Bearer $(cat {})\" \\\n    -H 'Content-Type: application/json' \\\n    -d '{{\"model\": \"{model}\", \"max_tokens\": 1000, \"messages\": [{{\"role\": \"user\", \"content\": \"What is a prime number?\"}}]}}'",
        facts.data,
        facts.first_key.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_reads_the_key_from_its_file_and_lines_fit_a_terminal() {
        let facts = Facts {
            data: "127.0.0.1:8080".parse().unwrap(),
            admin: "127.0.0.1:8081".parse().unwrap(),
            models: vec!["local/smollm2-135m-instruct".into()],
            policy: "policies/default.toml".into(),
            first_key: "var/first-key".into(),
            note: None,
        };
        let text = render(&facts);
        assert!(text.contains("$(cat var/first-key)") && text.contains("http://127.0.0.1:8081/metrics"));
        assert!(text.contains(r#""model": "local/smollm2-135m-instruct", "max_tokens""#));
        let long = text.lines().filter(|l| !l.trim_start().starts_with("-d")).map(str::len).max();
        assert!(long <= Some(100), "{text}");
    }
}
