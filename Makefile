# The README's two commands are `make demo` and `make test`; both install what they need on Debian or Ubuntu with Rust.
# Targets outside the checkout survive it: set CARGO_TARGET_DIR to choose where.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CARGO_TARGET_DIR ?= $(HOME)/.cache/guardian/target
export CARGO_TARGET_DIR
GUARDIAN := $(CARGO_TARGET_DIR)/debug/guardian
PLAYBOOKS := $(CARGO_TARGET_DIR)/playbooks

.PHONY: demo test lint bench nightly playbooks binary

binary:
	cargo build --locked --workspace --bins

playbooks: binary
	./scripts/guest-toolchain
	mkdir -p $(PLAYBOOKS)
	$(GUARDIAN) playbook build playbooks/service_crashed --out $(PLAYBOOKS)
	$(GUARDIAN) playbook build playbooks/config_drifted --out $(PLAYBOOKS)
	$(GUARDIAN) playbook build playbooks/hostile --out $(PLAYBOOKS)

demo: playbooks
	$(GUARDIAN) demo --playbooks $(PLAYBOOKS)

# Some tests mount small file systems and start a systemd of their own. Not as root they fail, and do not pass unseen;
# GUARDIAN_TEST_WITHOUT_ROOT=1 leaves them out and says so.
test: playbooks
	./scripts/test-packages
	./scripts/cargo-tool cargo-nextest
	GUARDIAN_BIN=$(GUARDIAN) GUARDIAN_PLAYBOOKS=$(PLAYBOOKS) cargo nextest run --locked --workspace
	@if [ "$${GUARDIAN_TEST_WITHOUT_ROOT:-}" = 1 ] && [ "$$(id -u)" -ne 0 ]; then \
		echo "SKIPPED, because not root: the tests on small file systems (a_full_...) and on a real systemd (systemd::tests)"; \
	fi
	cargo test --locked --doc -p guardian -p guardian-sdk

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --workspace --exclude guardian-tests
	./scripts/cargo-tool cargo-deny
	cargo deny --locked check bans licenses sources

# The guests that are measured are a few lines of text in the bench itself: no toolchain for guests is needed.
bench:
	./scripts/bench-packages
	cargo bench --locked -p guardian --bench ratios

# What takes longer than a person waits for: the crashes and the random sets of `make test`, ten times over.
nightly: playbooks
	./scripts/test-packages
	./scripts/cargo-tool cargo-nextest
	GUARDIAN_BIN=$(GUARDIAN) GUARDIAN_PLAYBOOKS=$(PLAYBOOKS) cargo nextest run --locked --workspace --stress-count 10 kill sliced torn
