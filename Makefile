# `make help` lists the targets.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help build test check run bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the server, as it is installed
	$(CARGO) build --release

test: ## all tests
	$(CARGO) test

check: ## format, lints, documentation and the arrows between modules: warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --no-deps
	$(CARGO) test --quiet --test layering

run: build ## a server for development on high loopback ports, with its mail below spool/
	target/release/restante dev --spool spool

bench: ## the figures that decide about speed
	$(CARGO) bench

clean: ## forget what was built; mail in spool/ stays
	$(CARGO) clean
