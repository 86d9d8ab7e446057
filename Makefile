# `make help` lists the targets.

CARGO ?= cargo
CYCLES ?= 60
FS ?= ext4 xfs
KILLS ?= 200
SECONDS_TOGETHER ?= 20

# program:package
INTEROP := mutt:mutt script:bsdutils unshare:util-linux /usr/lib/dovecot/imap:dovecot-imapd \
	/usr/lib/dovecot/dovecot-lda:dovecot-core /usr/lib/dovecot/pop3:dovecot-pop3d procmail:procmail maildrop:maildrop fetchmail:fetchmail mpop:mpop \
	getmail:getmail6 curl:curl swaks:swaks msmtp:msmtp s-nail:s-nail \
	postfix:postfix haproxy:haproxy

.DEFAULT_GOAL := help
.PHONY: help build test check run bench clean power-cut kill-loop interop

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the server, as it is installed
	$(CARGO) build --release

test: ## all tests
	$(CARGO) test

power-cut: ## power cuts under load, and a proof that a missing sync is seen; as root (CYCLES=60 FS="ext4 xfs")
	RESTANTE_POWER_CUT=24 RESTANTE_POWER_CUT_FS="$(FS)" $(CARGO) test --features mutations --test power_cut
	RESTANTE_POWER_CUT=$(CYCLES) RESTANTE_POWER_CUT_FS="$(FS)" $(CARGO) test --test power_cut

kill-loop: ## kill -9 under load, again and again (KILLS=200)
	RESTANTE_KILL_LOOP=$(KILLS) $(CARGO) test --test kill_loop

interop: ## beside mutt, Dovecot, Postfix, HAProxy, fetchmail and others; installs what is missing, as root (SECONDS_TOGETHER=20)
	.ci/install $(INTEROP) || true # the stories of what is missing say so
	RESTANTE_INTEROP=1 RESTANTE_INTEROP_SECONDS=$(SECONDS_TOGETHER) $(CARGO) test --test interop

check: ## format, lints, documentation and the arrows between modules: warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --no-deps
	$(CARGO) test --quiet --test layering

run: build ## a server for development on high loopback ports, with its mail below spool/
	target/release/restante dev --spool spool

bench: ## the figures that decide about speed (BENCH_SECONDS=5 BENCH_MESSAGES=100000)
	$(CARGO) bench

clean: ## forget what was built; mail in spool/ stays
	$(CARGO) clean
