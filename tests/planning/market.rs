//! A market of any size and a policy of ten routes with conditions, the last of which holds.

use stellwerk::catalogue::{Catalogue, SourceFile, Surroundings};
use stellwerk::policy::Policy;

/// A catalogue with so many targets in the EU and so many in the United States, beside the shipped ones.
pub(crate) fn catalogue(eu: usize, us: usize) -> Catalogue {
    let overlay: Vec<SourceFile> = (0..eu + us).map(|at| provider(at, if at < eu { "DE" } else { "US" })).collect();
    let around = Surroundings { env: &|name| (name == "MARKET_KEY").then(|| "key".to_owned()), served: &[] };
    Catalogue::compile(&overlay, &around).unwrap()
}

fn provider(at: usize, country: &str) -> SourceFile {
    let text = format!(
        r#"
name = "market{at}"
title = "market{at}"
dialect = "openai-chat"
auth = {{ scheme = "bearer" }}
keys = [{{ env = "MARKET_KEY" }}]
operator = "{country}"
parent = "{country}"
docs = "https://example.invalid"

[[endpoint]]
name = "main"
base_url = "https://example.invalid"
processing = ["{country}"]
guarantee = "contract"
retention_days = 0
training = "no"
cancel_stops_billing = true
source = "https://example.invalid"
checked = 2026-01-01
expires = 2099-01-01

[[model]]
id = "m-1"
family = "m"
tier = "standard"
context = 100000
max_output = 4096
supports = ["stream", "tools", "json", "json_schema"]

  [[model.price]]
  from = 2020-01-01
  input = "{}"
  output = "2"
  source = "https://example.invalid"
  checked = 2026-01-01
"#,
        at + 1
    );
    SourceFile { name: format!("market{at}.toml"), text }
}

/// Ten routes for the same name; nine conditions are tried in vain.
pub(crate) fn policy(catalogue: &Catalogue) -> Policy {
    let route = |at: usize| {
        let limit = if at == 9 { 1_000_000 } else { at + 1 };
        format!(
            "[[route]]\nname = \"r{at}\"\nmatch = {{ model = [\"auto\", \"m*\"] }}\n\
             when = 'request.input_tokens < {limit} && !(\"legal\" in key.tags) && request.dialect.startsWith(\"openai\")'\n\
             targets = [\"market*/*\"]\nrequire = {{ processing = [\"EU\"] }}\n\
             prefer = {{ second_is_worth = \"0.002 USD\" }}\n"
        )
    };
    let text: String = (0..10).map(route).collect();
    Policy::compile("market", "market.toml", &text, catalogue).unwrap()
}
