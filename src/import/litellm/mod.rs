//! `config.yaml` of the LiteLLM proxy. Formats: docs.litellm.ai, `proxy/configs` and `proxy/config_settings`, read on
//! 2026-11-29.

mod credentials;
mod deployment;
mod facts;
mod reasons;
mod routes;
mod settings;
mod wildcard;

use super::names::Names;
use super::node::{At, Fields};
use super::notes::{Kind, Notes};
use super::provider::{Provenance, Shipped};
use super::{Imported, policy, yaml};

/// Reads a configuration. `source` is its file's name, `today` the day of the import, `2026-11-29`.
///
/// # Errors
/// It can't be read at all.
pub fn import(text: &str, source: &str, today: &str) -> Result<Imported, String> {
    let document = yaml::read(text)?;
    let root = At::root(&document);
    let mut root = root.fields().ok_or("the file holds no table")?;
    let (names, shipped, mut notes) = (Names::read()?, Shipped::read()?, Notes::default());
    let today = today.parse().map_err(|_| format!("`{today}` is no day"))?;
    let from = Provenance { source, tool: "LiteLLM", today };
    for (name, at) in root.table("environment_variables", &mut notes).iter_mut().flat_map(Fields::rest) {
        notes.add(
            Kind::ToDo,
            &at,
            format!(
                "set `{name}` in the environment of the gateway if something still needs it; its value is not copied"
            ),
        );
    }
    let list = root.list("model_list", &mut notes);
    let mut builder = deployment::Builder::new(&names, &shipped, &from);
    for at in &list {
        builder.entry(at, &mut notes);
    }
    builder.finish();
    let settings = settings::Settings::read(&mut root, &mut notes);
    for (name, at) in root.rest() {
        reasons::left(&at, name, &mut notes);
    }
    let routes = routes::routes(&builder.groups, &settings, &mut notes);
    let head = format!(
        "# Imported from {source} (LiteLLM). Names of the catalogue (`provider/model`) that no route matches are used directly.\n"
    );
    let mut files = builder.replaced(&mut notes);
    for file in &builder.files {
        let path = format!("providers/{}.toml", file.name);
        file.gaps(&shipped, &from, &path, &mut notes);
        files.push((path, file.text(&shipped, &from)));
    }
    if !routes.is_empty() {
        files.push(("policies/default.toml".to_owned(), policy::document(&head, &routes)));
    }
    Ok(Imported { files, notes: notes.sorted(), routes: routes.len() })
}
