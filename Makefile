# `make run` and `make test` set up everything that is missing. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BINARY := $(TARGET_DIR)/release/stellwerk
FAST := --locked --no-default-features

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: ## set up, build, and serve with an embedded model; no API key is needed
	@scripts/setup.sh
	@[ -x $(BINARY) ] || echo "Compiling Stellwerk and llama.cpp: ten minutes or more on two cores, once" >&2
	@cargo build --locked --release --quiet
	@model=$$(scripts/fetch-model.sh) && exec $(BINARY) serve --data-dir var --policies policies --model "$$model"

build: ## the release binary with the embedded runtime
	@scripts/setup.sh
	cargo build --locked --release

dist: ## the binary to deploy, as the image has it: guided by a profile of itself at work (an hour of processor time)
	@scripts/setup.sh
	@scripts/dist.sh

check: ## the fast inner loop: format, lints, tests without the embedded runtime
	cargo fmt --check
	cargo clippy $(FAST) --all-targets -- -D warnings
	cargo test $(FAST)

lint: ## format and lints, with and without the embedded runtime
	@scripts/setup.sh --lint
	cargo fmt --check
	cargo clippy $(FAST) --all-targets -- -D warnings
	cargo clippy --locked --release -- -D warnings

test: ## set up and run every test: unit, golden, property, integration, residency on the network, embedded runtime, clients
	@scripts/setup.sh --clients
	@rm -rf var/clients/dump
	STELLWERK_DUMP=$(abspath var/clients/dump) cargo test $(FAST)
	cargo build --locked --release
	STELLWERK_BIN=$(abspath $(BINARY)) tests/residency/run.sh
	STELLWERK_BIN=$(abspath $(BINARY)) tests/clients/run.sh

clients: ## the tests with clients only; PART=new runs one part (see tests/clients/run.sh)
	@scripts/setup.sh --clients
	@cargo build --locked --release --quiet
	STELLWERK_BIN=$(abspath $(BINARY)) tests/clients/run.sh $(PART)

soak: ## what takes long: properties and generated worlds (CASES=100000), upstreams in chaos (REQUESTS=60000), a market with regret, fuzz targets (FUZZ=60 seconds each)
	@scripts/setup.sh
	PROPTEST_CASES=$${CASES:-100000} cargo test $(FAST) --profile soak --lib
	PROPTEST_CASES=$$(( $${CASES:-100000} / 20 )) cargo test $(FAST) --profile soak --test it properties
	STELLWERK_STORM=$${REQUESTS:-60000} cargo test $(FAST) --profile soak --test it storm -- --nocapture
	STELLWERK_WORLDS=$${CASES:-100000} cargo test $(FAST) --profile soak --test it worlds -- --nocapture
	STELLWERK_REGRET=60000 cargo test $(FAST) --profile soak --test regret -- --nocapture
	@scripts/fuzz.sh $${FUZZ:-60}

bench: ## micro-benchmarks; then CPU a request beside nginx and HAProxy, where the shared harness is there
	@scripts/setup.sh
	cargo bench $(FAST)
	@scripts/bench.sh

clean: ## remove what was built; var/ (ledger, keys, models) stays
	cargo clean

.PHONY: help run build dist check lint test clients soak bench clean
