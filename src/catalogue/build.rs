//! From files as written to the catalogue in force.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::keys::{auth, dialable, keys, limits, present, reachable};
use super::places::Places;
use super::raw;
use super::read::Reader;
use super::{AlsoSpoken, Catalogue, Endpoint, KeyGrant, Provider, SourceFile, Surroundings, TIERS, TokenPlace};
use crate::dialect::{Mend, Quirks, StreamUsage};
use crate::domain::id::{DialectId, TargetId};
use crate::domain::money::Money;
use crate::domain::price::{Basis, Currency, Fx, FxRate, PriceBook, PricePeriod, Service, ServiceTier, Tier, Window};
use crate::domain::problem::Problem;
use crate::domain::target::{Capabilities, Capability, Fact, Guarantee, Prior, Residency, Target, Training};
use crate::domain::usage::Bucket;
use crate::shape::{self, Spanned};

/// What the files say as far as they can be read, and everything that is wrong with them.
pub(super) fn build(files: &[SourceFile], around: &Surroundings<'_>) -> (Catalogue, Vec<Problem>) {
    let mut catalogue = Catalogue::default();
    let mut problems = Vec::new();
    let mut owners: HashMap<String, String> = HashMap::new();
    for file in files {
        let mut reader = Reader { file: &file.name, text: &file.text, problems: Vec::new(), partial: false };
        if file.name.ends_with("currencies.toml") {
            let raw = shape::read_document::<raw::Currencies>(&file.name, &file.text, &mut reader.problems);
            if let Some(raw) = raw {
                let rates = exchange(&mut reader, &raw).rates;
                catalogue.fx.rates.extend(rates);
            }
        } else {
            let raw = shape::read_document::<raw::Provider>(&file.name, &file.text, &mut reader.problems);
            reader.partial = !reader.problems.is_empty();
            if let Some(raw) = raw {
                if let Some(other) = owners.insert(raw.name.get_ref().clone(), file.name.clone()) {
                    reader.problem(&raw.name, format!("`{}` is defined in {other} already", raw.name.get_ref()));
                }
                provider(&mut reader, &raw, around, &mut catalogue);
            }
        }
        // A model says the same at each of its endpoints.
        reader.problems.sort_by_key(|problem| (problem.line, problem.column));
        reader.problems.dedup();
        problems.extend(reader.problems);
    }
    catalogue.fx.rates.sort_by_key(|rate| rate.from);
    index(&mut catalogue);
    (catalogue, problems)
}

/// Full names, names without endpoint, and model ids that one provider alone has.
fn index(catalogue: &mut Catalogue) {
    let mut owners: HashMap<&str, Vec<&str>> = HashMap::new();
    for target in &catalogue.targets {
        let owning = owners.entry(&target.model).or_default();
        if !owning.contains(&&*target.provider) {
            owning.push(&target.provider);
        }
    }
    let mut by_name: HashMap<Arc<str>, Vec<TargetId>> = HashMap::new();
    for target in catalogue.targets.iter().filter(|t| &*t.model != "*") {
        let mut names = vec![Arc::clone(&target.full_name), format!("{}/{}", target.provider, target.model).into()];
        if owners.get(&*target.model).is_some_and(|owning| owning.len() == 1) {
            names.push(Arc::clone(&target.model));
        }
        for name in names {
            by_name.entry(name).or_default().push(target.id);
        }
    }
    catalogue.by_name = by_name;
}

fn provider(reader: &mut Reader<'_>, raw: &raw::Provider, around: &Surroundings<'_>, catalogue: &mut Catalogue) {
    let name: Arc<str> = raw.name.get_ref().as_str().into();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(allowed) {
        reader.problem(&raw.name, "a provider's name is made of a-z, 0-9 and `-`");
    }
    let dialect = DialectId::by_name(raw.dialect.get_ref()).unwrap_or_else(|| {
        reader.unknown_name(&raw.dialect, "dialect", &DialectId::ALL.map(DialectId::name));
        DialectId::OpenAiChat
    });
    let quirks = Arc::new(quirks(reader, &raw.quirks));
    let auth = auth(reader, &raw.auth);
    let limits = Arc::new(limits(reader, &raw.limits));
    let endpoint_names: Vec<&str> = raw.endpoints.iter().map(|e| e.name.get_ref().as_str()).collect();
    for key in &raw.keys {
        check_key(reader, key, &endpoint_names);
    }
    let mut endpoints = Vec::new();
    for endpoint in &raw.endpoints {
        if let Some(url) = &endpoint.base_url {
            reader.address(url, endpoint.allow_http);
        }
        if endpoint_names.iter().filter(|n| **n == endpoint.name.get_ref()).count() > 1 {
            reader.problem(&endpoint.name, format!("two endpoints are named `{}`", endpoint.name.get_ref()));
        }
        let built = Endpoint {
            name: format!("{name}@{}", endpoint.name.get_ref()),
            base_url: endpoint.base_url.as_ref().and_then(|url| filled(url.get_ref(), around)),
            path: endpoint.path.clone(),
            also: also(reader, endpoint, dialect, around),
            region: endpoint.region.as_ref().and_then(|region| filled(region.get_ref(), around)),
            query: endpoint.query.clone().into_iter().collect(),
            headers: endpoint.headers.clone().into_iter().collect(),
            allow_http: endpoint.allow_http,
            auth: auth.clone(),
            keys: keys(reader, raw, endpoint.name.get_ref()),
            token: raw.token.as_ref().map(|token| TokenPlace {
                url: filled(token.url.get_ref(), around),
                scope: token.scope.clone(),
                allow_http: token.allow_http,
            }),
            quirks: Arc::clone(&quirks),
            limits: Arc::clone(&limits),
        };
        let residency = Arc::new(residency(reader, raw, endpoint));
        // Where a key asks nobody for a token, the place of tokens does not matter.
        let asks =
            built.keys.iter().any(|key| key.grant.as_ref().is_some_and(KeyGrant::asks) && present(&built, key, around));
        let token_residency = raw.token.as_ref().filter(|_| asks);
        let token_residency = token_residency.map(|token| Arc::new(token_facts(reader, raw, token)));
        endpoints.push(Built {
            index: catalogue.endpoints.len(),
            residency,
            token_residency,
            dialable: dialable(&built, dialect, around),
            reachable: dialect != DialectId::Native && reachable(&built),
            also: built.also.iter().map(|also| also.dialect).collect(),
        });
        catalogue.endpoints.push(Arc::new(built));
    }
    let mut ids: BTreeMap<&str, ()> = BTreeMap::new();
    for model in &raw.models {
        if ids.insert(model.id.get_ref(), ()).is_some() {
            reader.problem(&model.id, format!("two models have the id `{}`", model.id.get_ref()));
        }
        models(reader, raw, model, (dialect, &quirks), &endpoints, around, catalogue);
    }
    catalogue.providers.push(Provider { name, title: raw.title.clone(), docs: raw.docs.clone() });
}

/// What models need to know of an endpoint.
struct Built {
    index: usize,
    residency: Arc<Residency>,
    token_residency: Option<Arc<Residency>>,
    dialable: bool,
    reachable: bool,
    also: Arc<[DialectId]>,
}

/// Other dialects of an endpoint.
fn also(
    reader: &mut Reader<'_>,
    endpoint: &raw::Endpoint,
    main: DialectId,
    around: &Surroundings<'_>,
) -> Vec<AlsoSpoken> {
    let host = |url: &str| url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or(rest).to_owned());
    let own = endpoint.base_url.as_ref().and_then(|url| host(url.get_ref()));
    let mut spoken = Vec::new();
    for (name, also) in &endpoint.also {
        let known = DialectId::by_name(name.get_ref()).filter(|dialect| !dialect.is_native() && *dialect != main);
        let Some(dialect) = known else {
            reader.unknown_name(name, "other dialect", &DialectId::ALL.map(DialectId::name));
            continue;
        };
        if let Some(base) = &also.base_url
            && host(base.get_ref()) != own
        {
            reader.problem(base, "another host is another endpoint: its residency facts are its own");
        }
        let base_url = also.base_url.as_ref().and_then(|url| filled(url.get_ref(), around));
        spoken.push(AlsoSpoken { dialect, base_url, path: also.path.clone() });
    }
    spoken
}

fn models(
    reader: &mut Reader<'_>,
    raw: &raw::Provider,
    model: &raw::Model,
    (dialect, quirks): (DialectId, &Quirks),
    endpoints: &[Built],
    around: &Surroundings<'_>,
    catalogue: &mut Catalogue,
) {
    let names: Vec<&str> = raw.endpoints.iter().map(|e| e.name.get_ref().as_str()).collect();
    check_names(reader, model.endpoints.as_ref(), &names);
    for at in model.ids.keys().filter(|_| !reader.partial).collect::<Vec<_>>() {
        if !names.contains(&at.get_ref().as_str()) {
            reader.unknown_name(at, "endpoint here", &names);
        }
    }
    let tier = model.tier.as_ref().inspect(|tier| {
        if !TIERS.contains(&tier.get_ref().as_str()) {
            reader.unknown_name(tier, "tier", &TIERS);
        }
    });
    let tier: Option<Arc<str>> = tier.map(|t| t.get_ref().as_str().into());
    let supports = supported(reader, raw, model);
    let (from, to) = reader.span(model.available.from.as_ref(), model.available.to.as_ref());
    let id: Arc<str> = model.id.get_ref().as_str().into();
    let provider: Arc<str> = raw.name.get_ref().as_str().into();
    for (endpoint, Built { index, residency, token_residency, dialable, reachable, also }) in
        raw.endpoints.iter().zip(endpoints)
    {
        let at: Arc<str> = endpoint.name.get_ref().as_str().into();
        if model.endpoints.as_ref().is_some_and(|only| !only.get_ref().iter().any(|name| **name == *at)) {
            continue;
        }
        let full_name: Arc<str> = format!("{provider}/{id}@{at}").into();
        let name = if names.len() == 1 { format!("{provider}/{id}").into() } else { Arc::clone(&full_name) };
        let upstream = model
            .ids
            .iter()
            .find(|(name, _)| **name.get_ref() == *at)
            .map(|(_, id)| id)
            .or(model.upstream.as_ref())
            .map_or_else(|| Arc::clone(&id), |id| id.as_str().into());
        let served = dialect != DialectId::Native || around.served.contains(&&*id);
        let prices = prices(reader, model, &full_name, &names, &at);
        let target = Target {
            id: TargetId(u32::try_from(catalogue.targets.len()).unwrap_or(u32::MAX)),
            name,
            full_name,
            provider: Arc::clone(&provider),
            model: Arc::clone(&id),
            endpoint: at,
            upstream_model: upstream,
            dialect,
            also: Arc::clone(also),
            family: model.family.as_deref().map(Into::into),
            tier: tier.clone(),
            available_from: from,
            available_to: to,
            context: model.context,
            max_output: model.max_output,
            supports: able(supports, &prices),
            prices: Arc::new(prices),
            residency: Arc::clone(residency),
            token_residency: token_residency.clone(),
            prior: prior(&model.prior),
            cancel_stops_billing: endpoint.cancel_stops_billing,
            configured: *dialable && served,
            reachable: *reachable,
            translated: crate::dialect::egress(dialect).map_or(&[], |egress| egress.tiers(quirks)),
            tiered: sells(raw, &[ServiceTier::Flex, ServiceTier::Priority]),
            fast: sells(raw, &[ServiceTier::Fast]),
        };
        catalogue.targets.push(target);
        let token = raw.token.as_ref();
        catalogue.places.push(Places::new(reader.file, reader.text, (model, endpoint, token)));
        catalogue.target_endpoint.push(*index);
    }
}

fn check_names(reader: &mut Reader<'_>, given: Option<&Spanned<Vec<String>>>, known: &[&str]) {
    let Some(given) = given.filter(|_| !reader.partial) else { return };
    for name in given.get_ref().iter().filter(|name| !known.contains(&name.as_str())) {
        reader.problem(given, format!("there is no endpoint `{name}` here ({})", known.join(", ")));
    }
}

/// A key comes from one place, and for endpoints that there are.
fn check_key(reader: &mut Reader<'_>, key: &Spanned<raw::Key>, endpoints: &[&str]) {
    let raw = key.get_ref();
    check_names(reader, raw.endpoints.as_ref(), endpoints);
    if raw.weight == 0 {
        reader.problem(key, "the weight of a key must be at least 1; leave a key out that is not to be used");
    }
    match (&raw.env, &raw.file) {
        (Some(_), None) | (None, Some(_)) => {}
        (None, None) => reader.problem(key, "a key needs `env` or `file`"),
        (Some(_), Some(_)) => reader.problem(key, "a key comes from `env` or from `file`, not from both"),
    }
}

/// Fills `${NAME}` from the environment; a name that is not set leaves the endpoint unconfigured.
fn filled(url: &str, around: &Surroundings<'_>) -> Option<String> {
    let mut out = String::with_capacity(url.len());
    let mut rest = url;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}')?;
        out.push_str(before);
        out.push_str((around.env)(name).filter(|value| !value.trim().is_empty())?.trim_end_matches('/'));
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

fn quirks(reader: &mut Reader<'_>, raw: &raw::Quirks) -> Quirks {
    let stream_usage = match raw.stream_usage.as_ref().map(|s| (s, s.get_ref().as_str())) {
        None | Some((_, "option")) => StreamUsage::Option,
        Some((_, "always")) => StreamUsage::Always,
        Some((_, "never")) => StreamUsage::Never,
        Some((at, _)) => {
            reader.unknown_name(at, "way of usage in streams", &["option", "always", "never"]);
            StreamUsage::Option
        }
    };
    let mut mends = Vec::with_capacity(raw.mends.len());
    for name in &raw.mends {
        match Mend::ALL.iter().find(|(known, _)| known == name.get_ref()) {
            Some((_, mend)) => mends.push(*mend),
            None => reader.unknown_name(name, "thing to mend", &Mend::ALL.map(|(name, _)| name)),
        }
    }
    Quirks {
        mends,
        call_id_length: raw.call_id_length,
        stream_usage,
        max_output_member: raw.max_output_member.clone(),
        drop: raw.drop.clone(),
        reasoning_outside_output: raw.reasoning_outside_output,
        takes: raw.takes.clone(),
        refuses: raw.refuses.clone(),
        reasoning_member: raw.reasoning_member.clone(),
        json_schema_in_words: raw.json_schema_in_words,
        think_tags: raw.think_tags,
    }
}

fn residency(reader: &mut Reader<'_>, provider: &raw::Provider, raw: &raw::Endpoint) -> Residency {
    let place = place(
        reader,
        raw.processing.as_ref(),
        raw.guarantee.as_ref(),
        raw.operator.as_ref().or(provider.operator.as_ref()),
        raw.parent.as_ref().or(provider.parent.as_ref()),
    );
    let training = raw.training.as_ref().and_then(|at| match at.get_ref().as_str() {
        "no" => Some(Training::No),
        "opt-out" => Some(Training::OptOut),
        "yes" => Some(Training::Yes),
        "unknown" => None,
        _ => {
            reader.unknown_name(at, "use of data", &["no", "opt-out", "yes", "unknown"]);
            None
        }
    });
    let retention_days = match raw.retention_days.as_ref().map(|at| (at, at.get_ref())) {
        Some((_, raw::Days::Known(days))) => Fact::Known(*days),
        Some((at, raw::Days::Text(text))) if text != "unknown" => {
            reader.problem(at, format!("retention_days is a number or \"unknown\", not `{text}`"));
            Fact::Unknown
        }
        Some((_, raw::Days::Text(_))) | None => Fact::Unknown,
    };
    let training = training.map_or(Fact::Unknown, Fact::Known);
    Residency { retention_days, training, expires: raw.expires.as_ref().and_then(|at| reader.moment(at)), ..place }
}

/// Where access tokens are granted. What concerns prompts is not asked of it.
fn token_facts(reader: &mut Reader<'_>, provider: &raw::Provider, raw: &raw::Token) -> Residency {
    let place = place(
        reader,
        raw.processing.as_ref(),
        raw.guarantee.as_ref(),
        raw.operator.as_ref().or(provider.operator.as_ref()),
        raw.parent.as_ref().or(provider.parent.as_ref()),
    );
    Residency { expires: raw.expires.as_ref().and_then(|at| reader.moment(at)), ..place }
}

/// The facts of a place; what is not about the place is unknown.
fn place(
    reader: &mut Reader<'_>,
    processing: Option<&Spanned<Vec<String>>>,
    guarantee: Option<&Spanned<String>>,
    operator: Option<&Spanned<String>>,
    parent: Option<&Spanned<String>>,
) -> Residency {
    let mut country =
        |at: Option<&Spanned<String>>| at.and_then(|at| reader.country(at)).map_or(Fact::Unknown, Fact::Known);
    let (operator, parent) = (country(operator), country(parent));
    let processing = processing.and_then(|at| reader.countries(at).filter(|list| !list.is_empty()).map(Arc::from));
    let guarantee = guarantee.and_then(|at| match at.get_ref().as_str() {
        "contract" => Some(Guarantee::Contract),
        "documented" => Some(Guarantee::Documented),
        "none" => Some(Guarantee::None),
        "unknown" => None,
        _ => {
            reader.unknown_name(at, "guarantee", &["contract", "documented", "none", "unknown"]);
            None
        }
    });
    Residency {
        processing: processing.map_or(Fact::Unknown, Fact::Known),
        operator,
        parent,
        guarantee: guarantee.map_or(Fact::Unknown, Fact::Known),
        retention_days: Fact::Unknown,
        training: Fact::Unknown,
        expires: None,
    }
}

/// What a model can do, with what follows from it.
fn supported(reader: &mut Reader<'_>, raw: &raw::Provider, model: &raw::Model) -> Capabilities {
    let supports = capabilities(reader, model.supports.as_ref());
    let in_words = raw.quirks.json_schema_in_words && supports.has(Capability::Json);
    // Who keeps to a schema can be asked for any object.
    match (in_words, supports.has(Capability::JsonSchema)) {
        (true, _) => supports.with(Capability::JsonSchema),
        (false, true) => supports.with(Capability::Json),
        (false, false) => supports,
    }
}

fn capabilities(reader: &mut Reader<'_>, raw: Option<&Spanned<Vec<String>>>) -> Capabilities {
    let Some(raw) = raw else { return Capabilities::ALL };
    let mut set = Capabilities::NONE;
    for name in raw.get_ref() {
        match Capability::ALL.into_iter().find(|c| c.name() == name) {
            Some(capability) => set = set.with(capability),
            None => {
                let known = Capability::ALL.map(Capability::name);
                let near =
                    shape::nearest(name, known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                reader.problem(raw, format!("`{name}` is no capability ({}){near}", known.join(", ")));
            }
        }
    }
    // A model does conversations unless it says that it does something else.
    let other = Capability::OPERATIONS.into_iter().any(|operation| set.has(operation));
    if other { set } else { set.with(Capability::Chat) }
}

/// A hosted model of unknown speed: half a second to start, 50 tokens a second, 500 tokens an answer.
fn prior(raw: &raw::Prior) -> Prior {
    Prior {
        ttft_ms: raw.ttft_ms.unwrap_or(500),
        tpot_us: 1_000_000 / raw.tokens_per_second.unwrap_or(50).max(1),
        output_tokens: raw.output_tokens.unwrap_or(500),
    }
}

/// The periods of a model at an endpoint. An entry that names the endpoint stands before one that names none.
fn prices(reader: &mut Reader<'_>, model: &raw::Model, full_name: &str, names: &[&str], at: &str) -> PriceBook {
    let mut periods: Vec<(PricePeriod, &Spanned<shape::Datetime>)> = Vec::new();
    let own = |price: &raw::Price| price.endpoints.as_ref().is_some_and(|only| only.get_ref().iter().any(|e| e == at));
    let any_own = model.prices.iter().any(own);
    for price in &model.prices {
        check_names(reader, price.endpoints.as_ref(), names);
        let applies = if any_own { own(price) } else { price.endpoints.is_none() };
        if applies && let Some(period) = period(reader, price, full_name) {
            periods.push((period, &price.from));
        }
    }
    periods.sort_by_key(|(period, _)| period.from);
    for i in 1..periods.len() {
        let (from, id) = (periods[i].0.from, Arc::clone(&periods[i].0.id));
        let previous = &mut periods[i - 1].0;
        if previous.from == from {
            reader.problem(periods[i].1, format!("two prices begin at the same moment ({id})"));
        } else if previous.to.is_some_and(|to| to > from) {
            let id = Arc::clone(&previous.id);
            reader.problem(periods[i].1, format!("this price begins before {id} has ended"));
        } else if previous.to.is_none() {
            previous.to = Some(from);
        }
    }
    PriceBook { periods: periods.into_iter().map(|(period, _)| period).collect() }
}

fn period(reader: &mut Reader<'_>, raw: &raw::Price, full_name: &str) -> Option<PricePeriod> {
    let (from, to) = reader.span(Some(&raw.from), raw.to.as_ref());
    let from = from?;
    let currency = Currency::parse(&raw.currency).unwrap_or_else(|| {
        reader.problem(&raw.from, format!("`{}` is no currency (three capital letters)", raw.currency));
        Currency::USD
    });
    let basis = match raw.timestamp_basis.as_ref().map(|at| (at, at.get_ref().as_str())) {
        None | Some((_, "request_start")) => Basis::RequestStart,
        Some((_, "request_end")) => Basis::RequestEnd,
        Some((at, _)) => {
            reader.unknown_name(at, "timestamp basis", &["request_start", "request_end"]);
            Basis::RequestStart
        }
    };
    let per_request = raw
        .per_request
        .as_ref()
        .and_then(|at| Money::parse(at.get_ref()).map_err(|error| reader.problem(at, error.to_string())).ok());
    let rates = reader.rates(&[
        (Bucket::Input, &raw.input),
        (Bucket::CacheRead, &raw.cache_read),
        (Bucket::CacheWrite, &raw.cache_write),
        (Bucket::CacheWrite1h, &raw.cache_write_1h),
        (Bucket::Output, &raw.output),
        (Bucket::Reasoning, &raw.reasoning),
        (Bucket::InputAudio, &raw.input_audio),
        (Bucket::OutputAudio, &raw.output_audio),
        (Bucket::InputImage, &raw.input_image),
        (Bucket::OutputImage, &raw.output_image),
        (Bucket::Search, &raw.search),
    ]);
    let windows = raw.windows.iter().map(|window| Window {
        name: window.name.as_str().into(),
        ranges: reader.ranges(&window.utc),
        days: reader.days(window.days.as_ref()),
        rates: reader.rates(&[
            (Bucket::Input, &window.input),
            (Bucket::CacheRead, &window.cache_read),
            (Bucket::Output, &window.output),
        ]),
    });
    let windows = windows.collect();
    let tiers = context_tiers(reader, &raw.tiers);
    let id = format!("{full_name}#{}", raw.from.get_ref());
    let services = services(reader, &raw.services, &id);
    Some(PricePeriod { id: id.into(), from, to, currency, basis, rates, per_request, windows, tiers, services })
}

fn context_tiers(reader: &mut Reader<'_>, raw: &[raw::Tier]) -> Vec<Tier> {
    let tiers = raw.iter().map(|tier| Tier {
        above_input: tier.above_input,
        rates: reader.rates(&[
            (Bucket::Input, &tier.input),
            (Bucket::CacheRead, &tier.cache_read),
            (Bucket::CacheWrite, &tier.cache_write),
            (Bucket::Output, &tier.output),
        ]),
    });
    let mut tiers: Vec<_> = tiers.collect();
    tiers.sort_by_key(|tier| tier.above_input);
    tiers
}

/// Who has a price for batches takes them.
fn able(supports: Capabilities, prices: &PriceBook) -> Capabilities {
    let batches = prices.periods.iter().flat_map(|p| &p.services).any(|s| s.tier == ServiceTier::Batch);
    if batches { supports.with(Capability::Batch) } else { supports }
}

/// Whether the provider has a price for one of these tiers of service, of whatever model.
fn sells(raw: &raw::Provider, tiers: &[ServiceTier]) -> bool {
    let mut services = raw.models.iter().flat_map(|model| &model.prices).flat_map(|price| &price.services);
    services.any(|service| tiers.iter().any(|tier| tier.name() == service.name.get_ref()))
}

/// Rates of other tiers of service.
fn services(reader: &mut Reader<'_>, raw: &[raw::Service], period: &str) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    for service in raw {
        let name = service.name.get_ref().as_str();
        let Some(tier) = ServiceTier::PRICED.into_iter().find(|tier| tier.name() == name) else {
            reader.unknown_name(&service.name, "tier of service", &ServiceTier::PRICED.map(ServiceTier::name));
            continue;
        };
        if services.iter().any(|known| known.tier == tier) {
            reader.problem(&service.name, format!("two prices for `{name}`"));
        }
        services.push(Service {
            tier,
            id: format!("{period}+{name}").into(),
            from: service.from.as_ref().and_then(|at| reader.moment(at)),
            rates: reader.rates(&[
                (Bucket::Input, &service.input),
                (Bucket::CacheRead, &service.cache_read),
                (Bucket::CacheWrite, &service.cache_write),
                (Bucket::Output, &service.output),
            ]),
            tiers: context_tiers(reader, &service.tiers),
        });
    }
    services
}

fn exchange(reader: &mut Reader<'_>, raw: &raw::Currencies) -> Fx {
    let mut rates = Vec::new();
    for rate in &raw.rates {
        let Some(currency) = Currency::parse(rate.currency.get_ref()) else {
            reader.problem(&rate.currency, "a currency is three capital letters");
            continue;
        };
        let nanos = crate::domain::money::Rate::parse(rate.usd.get_ref()).map(|rate| rate.nanos_per_million());
        match (nanos, reader.moment(&rate.from)) {
            (Ok(nanos), Some(from)) if nanos > 0 => rates.push(FxRate { currency, from, nanos }),
            (Ok(_), Some(_)) => reader.problem(&rate.usd, "an exchange rate is more than zero"),
            (Err(error), _) => reader.problem(&rate.usd, error.to_string()),
            (_, None) => {}
        }
    }
    Fx { rates }
}
