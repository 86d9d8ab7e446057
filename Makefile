# `make help` lists the targets.

CARGO ?= cargo
CYCLES ?= 60
FS ?= ext4 xfs
KILLS ?= 200
SECONDS ?= 60
SECONDS_TOGETHER ?= 20
SPOOLS ?= local mounts nfs

# The ports of `make run`, and further options of `restante dev`, or of `make bench`.
SMTP ?= 127.0.0.1:2525
POP3 ?= 127.0.0.1:1110
IMAP ?= 127.0.0.1:1143
HTTP ?= 127.0.0.1:8025
ARGS ?=

# Installation directories of `make install`; a package adds DESTDIR in front.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=
# The cargo profile of the program that `make install` installs [default: release].
PROFILE ?= release
TARGET := $(or $(CARGO_TARGET_DIR),target)
BUILT ?= $(TARGET)/$(patsubst dev,debug,$(PROFILE))
# A directory of its own, so that `make install` never takes this program for the whole one.
DAEMON := $(TARGET)/daemon

# The program without libraries, and the files of its container. Random numbers come from the system call: a static program
# finds no function by its name, and would open /dev/random.
STATIC_FLAGS := -C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"
STATIC := $(TARGET)/static
CONTAINER := $(TARGET)/container
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
BUILDER ?= $(firstword $(foreach program,podman docker buildah,$(shell command -v $(program))))

# Otherwise a sandbox that another process begins meanwhile would keep the file systems of the power cuts busy.
OWN_MOUNTS := unshare --mount --propagation private

# program:package
INTEROP := mutt:mutt script:bsdutils unshare:util-linux /usr/lib/dovecot/imap:dovecot-imapd \
	/usr/lib/dovecot/dovecot-lda:dovecot-core /usr/lib/dovecot/pop3:dovecot-pop3d procmail:procmail maildrop:maildrop fetchmail:fetchmail mpop:mpop \
	getmail:getmail6 mbsync:isync offlineimap:offlineimap3 neomutt:neomutt alpine:alpine imapfilter:imapfilter thunderbird:thunderbird python3:python3 curl:curl swaks:swaks,libnet-ssleay-perl \
	msmtp:msmtp s-nail:s-nail postfix:postfix haproxy:haproxy
SEVERAL := ip:iproute2 unshare:util-linux haproxy:haproxy bindfs:bindfs faketime:faketime \
	$(if $(findstring nfs,$(SPOOLS)),linux.uml:user-mode-linux modprobe:kmod ganesha.nfsd:nfs-ganesha,nfs-ganesha-vfs)

.DEFAULT_GOAL := help
.PHONY: help build daemon static container container-test test test-daemon quick check deny run fuzz bench clean power-cut kill-loop interop several-machines install uninstall pages deb package-test

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the server, as it is installed
	$(CARGO) build --release

daemon: ## the server alone, with few crates: target/daemon/release/restante, without the mail client and the tools
	$(CARGO) build --profile $(PROFILE) --no-default-features --target-dir $(DAEMON)

static: ## the program without libraries, for a container: target/container/restante
	RUSTFLAGS='$(RUSTFLAGS) $(STATIC_FLAGS)' \
		$(CARGO) build --locked --profile $(PROFILE) --target $(HOST) --target-dir $(STATIC)
	install -d $(CONTAINER)/data
	install -m 755 $(STATIC)/$(HOST)/$(patsubst dev,debug,$(PROFILE))/restante $(CONTAINER)/restante

container: static ## the image `restante`, for tests, by podman, docker or buildah (BUILDER=docker)
	@[ -n "$(BUILDER)" ] || { echo "no podman, docker or buildah: install one, or name it with BUILDER=" >&2; exit 1; }
	$(BUILDER) build $(if $(filter podman buildah,$(notdir $(BUILDER))),--format docker) -t restante \
		-f examples/container/Containerfile $(CONTAINER)

container-test: static ## the static program in the file tree of its container, with nothing else in it; as root
	RESTANTE_STATIC=$(abspath $(CONTAINER))/restante $(CARGO) test --test server container::

test: ## all tests
	$(CARGO) test

test-daemon: ## the unit tests without the mail client and the tools
	$(CARGO) test --no-default-features --lib --target-dir $(DAEMON)

quick: ## the library and the protocols: some seconds after the build, while you work
	$(CARGO) test --lib
	$(CARGO) test --test protocol -- dialogues:: smtp_any_input:: pop3_any_input::

power-cut: ## power cuts under load, and a proof that a missing sync is seen; as root (CYCLES=60 FS="ext4 xfs")
	RESTANTE_POWER_CUT=24 RESTANTE_POWER_CUT_FS="$(FS)" $(OWN_MOUNTS) $(CARGO) test --features mutations --test power_cut
	RESTANTE_POWER_CUT=$(CYCLES) RESTANTE_POWER_CUT_FS="$(FS)" $(OWN_MOUNTS) $(CARGO) test --test power_cut

kill-loop: ## kill -9 under load, again and again (KILLS=200)
	RESTANTE_KILL_LOOP=$(KILLS) $(CARGO) test --test kill_loop

interop: ## beside mutt, Dovecot, Postfix, HAProxy, fetchmail and others; installs what is missing, as root (SECONDS_TOGETHER=20)
	.ci/install $(INTEROP) || true # the stories of what is missing say so
	RESTANTE_INTEROP=1 RESTANTE_INTEROP_SECONDS=$(SECONDS_TOGETHER) $(CARGO) test --test interop

several-machines: ## two instances behind HAProxy on one spool, killed under load; as root (SPOOLS="local mounts nfs")
	.ci/install $(SEVERAL) || true # the stories of what is missing say so
	RESTANTE_SEVERAL="$(SPOOLS)" $(CARGO) test --test several_machines

check: ## format, lints, documentation, the arrows between modules and the crates of the daemon: warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- --deny warnings
	$(CARGO) clippy --no-default-features --lib --bins -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --no-deps
	$(CARGO) test --quiet --test docs layering::
	$(MAKE) daemon PROFILE=dev

deny: ## licences, origins and advisories of the crates in Cargo.lock; says what could not be checked
	CARGO="$(CARGO)" .ci/deny

pages: ## manual pages and completions of shells, below target/release/pages
	$(BUILT)/restante pages $(BUILT)/pages

$(BUILT)/restante:
	$(CARGO) build --release

# The service units that `make install` installs, and the directory of manual pages and completions.
UNITS := $(wildcard examples/*.service examples/*.socket)
SHARE = $(PREFIX)/share
install: $(BUILT)/restante pages ## the service on this machine, after `make build`; as root (PREFIX=/usr/local DESTDIR=)
	install -d $(DESTDIR)$(SYSCONFDIR)/restante
	install -d -m 700 $(DESTDIR)$(SYSCONFDIR)/restante/tls
	install -D -m 755 $(BUILT)/restante $(DESTDIR)$(PREFIX)/bin/restante
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system $(UNITS)
	sed -i 's|/usr/bin/restante|$(PREFIX)/bin/restante|g' $(DESTDIR)$(PREFIX)/lib/systemd/system/restante.service
	install -D -m 644 examples/restante.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/restante.conf
	install -D -m 644 examples/restante.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/restante.conf
	install -D -m 644 -t $(DESTDIR)$(SHARE)/man/man1 $(BUILT)/pages/man1/*
	install -D -m 644 -t $(DESTDIR)$(SHARE)/man/man5 $(BUILT)/pages/man5/*
	install -D -m 644 -t $(DESTDIR)$(SHARE)/bash-completion/completions $(BUILT)/pages/bash/*
	install -D -m 644 -t $(DESTDIR)$(SHARE)/zsh/site-functions $(BUILT)/pages/zsh/*
	install -D -m 644 -t $(DESTDIR)$(SHARE)/fish/vendor_completions.d $(BUILT)/pages/fish/*
	install -D -m 644 -t $(DESTDIR)$(SHARE)/doc/restante README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE
	cp -R --no-preserve=mode,ownership docs examples $(DESTDIR)$(SHARE)/doc/restante
	[ -e $(DESTDIR)$(SYSCONFDIR)/restante/restante.toml ] || \
		install -m 644 examples/service.toml $(DESTDIR)$(SYSCONFDIR)/restante/restante.toml
	@[ -n "$(DESTDIR)" ] || echo "now: systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload"

uninstall: ## takes away what `make install` brought; configuration, certificates and mail stay
	rm -f $(DESTDIR)$(PREFIX)/bin/restante
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/lib/systemd/system/,$(notdir $(UNITS)))
	rm -f $(DESTDIR)$(PREFIX)/lib/sysusers.d/restante.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/restante.conf
	rm -f $(DESTDIR)$(SHARE)/man/man1/restante.1 $(DESTDIR)$(SHARE)/man/man1/restante-*.1
	rm -f $(DESTDIR)$(SHARE)/man/man5/restante.toml.5 $(DESTDIR)$(SHARE)/bash-completion/completions/restante
	rm -f $(DESTDIR)$(SHARE)/zsh/site-functions/_restante $(DESTDIR)$(SHARE)/fish/vendor_completions.d/restante.fish
	rm -rf $(DESTDIR)$(SHARE)/doc/restante

deb: ## a Debian package, below target/debian; installs cargo-deb if it is missing
	$(CARGO) deb --version >/dev/null 2>&1 || $(CARGO) install cargo-deb --version 3.8.0 --locked
	$(CARGO) build --profile $(PROFILE)
	$(MAKE) pages
	$(CARGO) deb --no-build --profile $(PROFILE)

package-test: deb ## the package in a Debian of its own: installed, set up as README has it, started, removed; as root
	tests/package.sh $$(ls -t $(TARGET)/debian/restante_*.deb | head -n 1)

run: build ## a server for development, with its mail below spool/ (SMTP=127.0.0.1:2525 POP3=127.0.0.1:1110 IMAP=127.0.0.1:1143 HTTP=127.0.0.1:8025 ARGS=--tls)
	$(TARGET)/release/restante dev --transcripts --smtp $(SMTP) --pop3 $(POP3) --imap $(IMAP) --http $(HTTP) $(ARGS)

fuzz: ## inputs made up for every reader of foreign octets, so many seconds for each (SECONDS=60)
	.ci/install g++:g++
	CARGO="$(CARGO)" fuzz/run $(SECONDS)

bench: ## the figures that decide about speed, beside the limit of the machine, Dovecot and Postfix (ARGS=--quick)
	$(CARGO) bench --bench compare -- $(ARGS)

clean: ## forget what was built; mail in spool/ stays
	$(CARGO) clean
	rm -rf fuzz/target
