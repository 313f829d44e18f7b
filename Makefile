# Holdfast: the verbs. `make` lists them.

SHELL := /bin/bash
export PATH := $(HOME)/.cargo/bin:$(PATH)

.PHONY: help demo test bench storm upgrade soak lint fmt build fuzz clean ceremony reproducible

help: ## list the verbs
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: ## from a bare machine to a certificate bound to a TPM, told step by step
	@scripts/setup.sh demo
	@scripts/demo.sh

test: ## install what the tests need, then run every test
	@scripts/setup.sh test
	@scripts/test.sh

bench: ## measure, with baselines in the same run
	@scripts/setup.sh test
	@scripts/bench.sh

SEED ?= 1
TRIALS ?= 200
KIND ?= all
MINUTES ?= 30
storm: ## faults under load, then a reader's verdict: SEED, TRIALS, KIND=all (every fault), three (the same over three servers), kill (only kills, many), point (each one)
	@scripts/setup.sh test
	@scripts/storm.sh "$(KIND)" "$(SEED)" "$(TRIALS)"

upgrade: ## servers of another version and of this one side by side, under load: FROM=REVISION (of this repository)
	@scripts/setup.sh test
	@scripts/upgrade.sh "$(FROM)"

soak: ## MINUTES of random faults under load; memory, sessions, connections and descriptors are back afterwards
	@scripts/setup.sh test
	@scripts/storm.sh soak "$(SEED)" "$$(($(MINUTES) * 60))"

lint: ## fmt and clippy, warnings denied
	@scripts/setup.sh build
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy -p ca-cli --no-default-features --locked -- -D warnings

build: ## build every binary (debug)
	@scripts/setup.sh build
	cargo build --workspace --locked

fmt: ## format
	cargo fmt --all

ceremony: ## build the program of ceremonies, the same bytes wherever it is built
	@scripts/setup.sh build
	@scripts/ceremony-build.sh release

reproducible: ## build it twice in folders that have nothing in common, and compare
	@scripts/setup.sh build
	@scripts/reproducible.sh dev

fuzz: ## run each fuzz target for a minute (needs cargo-fuzz)
	@for target in $$(cd fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz list); do \
		(cd fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none $$target -- -max_total_time=60 -max_len=8192) || exit 1; \
	done

clean: ## remove what was built and what the demo left
	cargo clean
	rm -rf .run
