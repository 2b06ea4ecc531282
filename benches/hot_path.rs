//! What every request costs before and after the network: the scan, the splice, the plan, the tap, the price, its rows.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stellwerk::catalogue::{Catalogue, Surroundings};
use stellwerk::dialect::{self, Destination, Located, Quirks, Watching};
use stellwerk::domain::id::{DialectId, RequestId};
use stellwerk::domain::money::Money;
use stellwerk::domain::receipt::{AttemptRecord, CacheRecord, Caller, ChargeRecord, Outcome, Receipt};
use stellwerk::domain::target::{Signal, UnixMillis};
use stellwerk::domain::usage::{Basis, Bucket, Usage};
use stellwerk::ledger::LedgerWriter;
use stellwerk::policy::{Ask, Dice, Policy, Requirement, embedded, plan};
use stellwerk::pricing::{When, price};
use stellwerk::store::{Durability, Store};
use stellwerk::wire::splice::Members;

fn body(prompt: usize) -> Bytes {
    let text = "The quick brown fox jumps over the lazy dog; \\\"quoted\\\" and é. ".repeat(prompt / 60);
    Bytes::from(format!(
        r#"{{"model":"o1","temperature":0.2,"stream":false,"messages":[{{"role":"user","content":"{text}"}}]}}"#
    ))
}

fn request(c: &mut Criterion) {
    let openai = dialect::ingress(DialectId::OpenAiChat).unwrap();
    let egress = dialect::egress(DialectId::OpenAiChat).unwrap().passthrough().unwrap();
    let quirks = Quirks::default();
    for (name, size) in [("1 KB", 1_000), ("100 KB", 100_000), ("1 MB", 1_000_000)] {
        let body = body(size);
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("scan", |b| b.iter(|| Members::scan(black_box(&body)).unwrap()));
        group.bench_function("envelope and retarget", |b| {
            b.iter(|| {
                let envelope = openai.envelope(black_box(&body), &Located::default()).unwrap();
                let to = Destination { model: "m-1", default_max_output: 4096, max_output: None, quirks: &quirks };
                egress.retarget(&body, &envelope, &to)
            });
        });
    }
}

fn decide(c: &mut Criterion) {
    let env = |name: &str| name.ends_with("_KEY").then(|| "key".to_owned());
    let catalogue = Catalogue::compile(&[], &Surroundings { env: &env, served: &["smollm2-135m-instruct"] }).unwrap();
    let file = embedded().into_iter().next().unwrap();
    let policy = Policy::compile("default", &file.name, &file.text, &catalogue).unwrap();
    let require = Requirement::parse("processing=EU,US,local; operator=EU,US,local", &catalogue).unwrap();
    c.bench_function("plan: shipped policy, route `reasoning`", |b| {
        b.iter(|| {
            let at = UnixMillis(1_795_500_000_000);
            let ask = Ask { max_output: Some(500), stream: true, require: &require, ..Ask::of(black_box("o1"), at) };
            plan(&policy, &catalogue, &ask, &|_| Signal::COLD, Dice(7))
        });
    });
    let target = catalogue.exactly("openai/gpt-6-sol@global").unwrap();
    let usage = Usage::ZERO.with(Bucket::Input, 900).with(Bucket::CacheRead, 300).with(Bucket::Reasoning, 700);
    let when = When::at(UnixMillis(1_795_500_000_000));
    c.bench_function("price", |b| b.iter(|| price(black_box(&usage), &target.prices, when, catalogue.fx())));
}

fn stream(c: &mut Criterion) {
    let egress = dialect::egress(DialectId::OpenAiChat).unwrap().passthrough().unwrap();
    let frame = Bytes::from_static(b"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"finish_reason\":null}]}\n\n");
    let quirks = Quirks::default();
    for (name, hide) in [("tap, 64 frames", false), ("tap that may hide, 64 frames", true)] {
        c.bench_function(name, |b| {
            b.iter(|| {
                let mut tap = egress.tap(&quirks, Watching { hide_usage: hide, ..Watching::default() });
                let mut out = Vec::with_capacity(64);
                (0..64).for_each(|_| tap.chunk(frame.clone(), &mut out).unwrap());
                out
            });
        });
    }
}

fn receipt(catalogue: &Catalogue, id: u128) -> Receipt {
    let target = catalogue.exactly("openai/gpt-6-sol@global").unwrap();
    let attempt = AttemptRecord {
        own_key: false,
        no: 1,
        target: Arc::clone(&target.name),
        provider: Arc::clone(&target.provider),
        model: Arc::clone(&target.model),
        endpoint: Arc::clone(&target.endpoint),
        residency: Arc::clone(&target.residency),
        started: UnixMillis(1_795_500_000_000),
        first_token_ms: Some(200),
        duration_ms: 900,
        outcome: Outcome::Completed,
        usage: Usage::ZERO.with(Bucket::Input, 900).with(Bucket::Output, 300),
        basis: Basis::Provider,
        charge: ChargeRecord::Priced { usd: Money::parse("0.01").unwrap(), original: None, price_id: "p".into() },
        upstream_status: Some(200),
        dropped_params: Vec::new(),
    };
    Receipt {
        request: RequestId(id),
        started: UnixMillis(1_795_500_000_000),
        duration_ms: 901,
        overhead_us: 50,
        caller: Caller { tenant: "t".into(), team: "a".into(), key_id: "k".into(), tags: Arc::from([]) },
        policy: "default".into(),
        generation: 1,
        route: Some("reasoning".into()),
        dialect: DialectId::OpenAiChat,
        model_asked: "o1".into(),
        stream: false,
        input_estimate: 900,
        attempts: vec![attempt],
        baseline: None,
        cache: CacheRecord::None,
        status: 200,
        error: None,
        stored: Vec::new(),
        stored_at: None,
    }
}

/// From the queue to the file, the time for gathering included; so many that it does not count.
fn ledger(c: &mut Criterion) {
    const ROWS: u64 = 4000;
    let catalogue = Catalogue::compile(&[], &Surroundings { env: &|_| None, served: &[] }).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("bench.db"), Durability::Process).unwrap();
    let (ledger, _writer) = LedgerWriter::start(&store, 4096, 0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut id = 0;
    let mut group = c.benchmark_group("ledger");
    group.throughput(Throughput::Elements(ROWS)).sample_size(10);
    group.bench_function("4000 receipts", |b| {
        b.iter(|| {
            for _ in 0..ROWS {
                id += 1;
                ledger.try_reserve().unwrap().send(Box::new(receipt(&catalogue, id)), None);
            }
            runtime.block_on(ledger.flush());
        });
    });
}

criterion_group!(benches, request, decide, stream, ledger);
criterion_main!(benches);
