//! What requests to `OpenRouter` say of models and providers: a request's JSON, a list of them, or presets. Formats:
//! openrouter.ai/docs, `guides/routing/provider-selection` and `guides/features/presets`, read on 2026-11-29.

mod preferences;

use super::names::Names;
use super::node::{At, Fields};
use super::notes::{Kind, Notes};
use super::policy::{Prefer, Route, slug};
use super::provider::{Own, OwnFile, Provenance, Shipped};
use super::{Imported, policy, yaml};
use preferences::{Preferences, Sort};

/// Members that are the request's own, and stay there.
const REQUEST: [&str; 35] = [
    "messages",
    "prompt",
    "input",
    "instructions",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_k",
    "top_a",
    "min_p",
    "seed",
    "stop",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "structured_outputs",
    "reasoning",
    "include_reasoning",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "user",
    "metadata",
    "verbosity",
    "usage",
    "prediction",
    "session_id",
];
/// What a `:variant` of a model means.
const VARIANTS: [(&str, &str); 6] = [
    ("free", "free endpoints are not in the catalogue: the model itself is taken"),
    ("online", "no web search is added to requests"),
    ("thinking", "let the client ask for thinking"),
    ("extended", "a longer context is a model of its own here"),
    ("exacto", "tool quality is not measured"),
    ("beta", "the model itself is taken"),
];

/// Reads preferences. `source` is the file's name, `today` the day of the import, `2026-11-29`.
///
/// # Errors
/// It can't be read at all.
pub fn import(text: &str, source: &str, today: &str) -> Result<Imported, String> {
    let document = yaml::read_json(text)?;
    let (names, shipped) = (Names::read()?, Shipped::read()?);
    let today = today.parse().map_err(|_| format!("`{today}` is no day"))?;
    let from = Provenance { source, tool: "OpenRouter", today };
    let mut import = Import {
        names: &names,
        shipped: &shipped,
        from: &from,
        notes: Notes::default(),
        routes: Vec::new(),
        asked: Vec::new(),
    };
    let root = At::root(&document);
    match (root.list(), root.fields()) {
        (Some(list), _) => list.iter().for_each(|at| import.entry(at)),
        (None, Some(mut fields)) => match fields.take("presets").or_else(|| fields.take("data")) {
            Some(presets) => {
                let one = vec![presets.clone()];
                presets.list().unwrap_or(one).iter().for_each(|at| import.entry(at));
                import.rest(&mut fields);
            }
            None => import.entry(&root),
        },
        (None, None) => return Err("the file holds neither a request nor a list of them".to_owned()),
    }
    Ok(import.done())
}

struct Import<'a> {
    names: &'a Names,
    shipped: &'a Shipped,
    from: &'a Provenance<'a>,
    notes: Notes,
    routes: Vec<Route>,
    /// Models that `OpenRouter` itself is asked for.
    asked: Vec<String>,
}

impl Import<'_> {
    /// A request, or a preset.
    fn entry(&mut self, at: &At<'_>) {
        let Some(mut fields) = at.fields() else {
            return self.notes.add(Kind::LeftOut, at, "is neither a request nor a preset");
        };
        let name = fields.take("slug").or_else(|| fields.take("name"));
        let name = name.as_ref().and_then(At::word).map(|name| format!("@preset/{name}"));
        match fields.take("config").as_ref().and_then(At::fields) {
            Some(mut config) => {
                self.request(at, &mut config, name);
                self.rest(&mut fields);
            }
            None => self.request(at, &mut fields, name),
        }
    }

    fn request(&mut self, at: &At<'_>, fields: &mut Fields<'_>, name: Option<String>) {
        let mut models: Vec<(&str, At<'_>)> = Vec::new();
        for member in ["model", "models"] {
            for (model, at) in fields.take(member).iter().flat_map(|at| at.texts(&mut self.notes)) {
                if models.iter().all(|(known, _)| *known != model) {
                    models.push((model, at));
                }
            }
        }
        let given = fields.take("provider");
        let mut preferences = Preferences::default();
        if let Some(at) = &given {
            self.notes.add(Kind::ToDo, at, "the policy decides now: let clients stop sending this");
            match at.fields() {
                Some(mut fields) => preferences = Preferences::take(&mut fields, self.names, &mut self.notes),
                None => self.notes.add(Kind::LeftOut, at, "is no table"),
            }
        }
        self.rest(fields);
        self.route(at, &models, preferences, name);
    }

    /// What is no matter of routing.
    fn rest(&mut self, fields: &mut Fields<'_>) {
        for (name, at) in fields.rest() {
            let (kind, why) = match name {
                "route" if at.text() == Some("fallback") => (Kind::AlwaysSo, "the next model is tried where one fails"),
                "transforms" if at.list().is_some_and(|list| list.is_empty()) => {
                    (Kind::AlwaysSo, "prompts are not shortened")
                }
                "transforms" => (Kind::LeftOut, "prompts are not shortened: one that fits nowhere is refused"),
                "plugins" => (Kind::LeftOut, "nothing is added to requests"),
                "preset" => (Kind::LeftOut, "import the preset itself"),
                "system_prompt" => (Kind::LeftOut, "nothing is added to requests: let the client send it"),
                _ if REQUEST.contains(&name) => (Kind::AlwaysSo, "is part of the request, and goes on being so"),
                _ => (Kind::LeftOut, "is not known to this importer"),
            };
            self.notes.add(kind, &at, why);
        }
    }

    fn route(&mut self, at: &At<'_>, models: &[(&str, At<'_>)], mut preferences: Preferences, name: Option<String>) {
        let Some((first, first_at)) = models.first() else {
            return self.notes.add(Kind::LeftOut, at, "the whole entry: it names no model");
        };
        let asked = name.unwrap_or_else(|| (*first).to_owned());
        if self.routes.iter().any(|route| route.models.contains(&asked)) {
            return self.notes.add(Kind::LeftOut, first_at, "the whole entry: an entry above is for the same name");
        }
        let targets = self.patterns(models, &mut preferences);
        if preferences.bound {
            let why = "OpenRouter itself is not among the targets: what it chooses can't be held to these preferences";
            self.notes.add(Kind::Differs, first_at, why);
        }
        if targets.is_empty() {
            let why = "the whole entry: no target is left, and a route needs one";
            return self.notes.add(Kind::LeftOut, first_at, why);
        }
        let listed = targets.len() > 1 && !preferences.mixed;
        if listed && preferences.sort == Sort::Speed {
            let why = "in the order of `targets`, and within one line the cheapest: order and speed exclude each other";
            self.notes.add(Kind::Differs, first_at, why);
        }
        let prefer = match preferences.sort {
            _ if listed => Prefer::Listed,
            Sort::Price => Prefer::Cheapest,
            Sort::Speed => Prefer::Fastest,
        };
        let attempts = if preferences.alone { 1 } else { u64::try_from(targets.len()).unwrap_or(10).clamp(3, 10) };
        let within = if at.path.is_empty() { String::new() } else { format!("{}, ", at.path) };
        let name = slug(&asked, &|name| self.routes.iter().any(|route| route.name == name));
        self.routes.push(Route {
            name,
            models: vec![asked],
            targets,
            prefer,
            lossy: !preferences.all_parameters,
            cache: None,
            max_output: None,
            require: preferences.require,
            attempts,
            timeouts: Vec::new(),
            operation: None,
            place: format!("{within}line {}", first_at.node.line),
        });
    }

    /// The targets of all models: each follows the one before it, and `OpenRouter` itself comes last.
    fn patterns(&mut self, models: &[(&str, At<'_>)], preferences: &mut Preferences) -> Vec<String> {
        let (mut patterns, mut last) = (Vec::new(), Vec::new());
        for (model, at) in models {
            let base = self.variant(model, at, preferences);
            let found = preferences.targets(self.shipped, &self.names.itself, base, self.from);
            // What OpenRouter would choose can't be held to anything.
            let asks = !preferences.bound && base.contains('/') && !base.starts_with('@');
            if found.is_empty() {
                let itself = if asks { "; OpenRouter itself is asked" } else { "" };
                let why = format!("no target of the catalogue has this model within the preferences{itself}");
                self.notes.add(Kind::Differs, at, why);
            }
            for lacking in preferences.lacking(&found).filter(|_| !found.is_empty()) {
                let why = format!("`order` names {lacking}, where the catalogue knows no such model");
                self.notes.add(Kind::LeftOut, at, why);
            }
            patterns.extend(found);
            if asks {
                last.push(self.itself(base));
            }
        }
        let mut targets: Vec<String> = Vec::new();
        for pattern in patterns.into_iter().chain(last) {
            if !targets.contains(&pattern) {
                targets.push(pattern);
            }
        }
        targets
    }

    /// The model without its variant.
    fn variant<'m>(&mut self, model: &'m str, at: &At<'_>, preferences: &mut Preferences) -> &'m str {
        let Some((base, variant)) = model.split_once(':') else { return model };
        match (variant, VARIANTS.iter().find(|(name, _)| *name == variant)) {
            ("nitro", _) => preferences.sort = Sort::Speed,
            ("floor", _) => preferences.sort = Sort::Price,
            (_, Some((_, why))) => self.notes.add(Kind::LeftOut, at, format!("`:{variant}`: {why}")),
            (_, None) => self.notes.add(Kind::LeftOut, at, format!("`:{variant}` is not known to this importer")),
        }
        base
    }

    /// `OpenRouter` as a target for a model.
    fn itself(&mut self, model: &str) -> String {
        let itself = &self.names.itself;
        if self.shipped.model(itself, model).is_some() {
            return globset::escape(&format!("{itself}/{model}"));
        }
        if !self.asked.iter().any(|known| known == model) {
            self.asked.push(model.to_owned());
        }
        globset::escape(&format!("{itself}-more/{model}"))
    }

    fn done(self) -> Imported {
        let Self { names, shipped, from, mut notes, routes, asked } = self;
        let mut files = Vec::new();
        if !asked.is_empty() {
            let own = Own {
                base: names.itself.clone(),
                url: None,
                region: None,
                keys: Vec::new(),
                auth: None,
                headers: std::collections::BTreeMap::new(),
            };
            let table = |id: &String| -> toml::Table {
                [("id".to_owned(), toml::Value::from(id.as_str()))].into_iter().collect()
            };
            let models = asked.iter().map(table).collect();
            let file = OwnFile { name: format!("{}-more", names.itself), own, places: asked.clone(), models };
            let path = format!("providers/{}.toml", file.name);
            file.gaps(shipped, from, &path, &mut notes);
            files.push((path, file.text(shipped, from)));
        }
        let head = format!(
            "# Imported from {} (OpenRouter). Names of the catalogue (`provider/model`) that no route matches are used directly.\n",
            from.source
        );
        if !routes.is_empty() {
            files.push(("policies/default.toml".to_owned(), policy::document(&head, &routes)));
        }
        Imported { files, notes: notes.sorted(), routes: routes.len() }
    }
}
