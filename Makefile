# The named tasks. Each sets up by itself what it needs: `make demo` and `make test` work from a clean clone on a
# Debian 12 machine that has Rust and Python 3.11 or newer.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:

export PATH := $(PATH):$(HOME)/.cargo/bin

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DENY := .cache/cargo-deny/bin/cargo-deny
DENY_VERSION := 0.20

.PHONY: help demo test guest-test free-threaded-test check bench bench-counts bench-compile docs fmt clean build check-rust check-python check-structure

help:  ## Show the tasks.
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/.ready: pyproject.toml
	@.ci/need '$(PYTHON) -c "import ensurepip, venv"' python3-venv
	.ci/need 'command -v cc' gcc libc6-dev
	command -v cargo >/dev/null || { echo 'Rust 1.88 or newer is needed (Debian 12 has an older one): https://rustup.rs'; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

build: $(VENV)/.ready  ## Build the extension (release) into .venv.
	@echo 'Building the extension (a minute or two when nothing is built yet)'
	$(BIN)/maturin develop --release >$(VENV)/build.log 2>&1 || { cat $(VENV)/build.log; exit 1; }

demo: build  ## Trace this machine for some seconds under a compile; print hot stacks, write a flame graph.
	@.ci/need 'command -v cc && command -v make' gcc libc6-dev make
	$(BIN)/python examples/lock_tracer.py --seconds $${SECONDS_TO_TRACE:-5}

test: build  ## Run every test, Rust's and Python's.
	@.ci/need 'command -v stap && ls /lib/modules/*/build/.config' systemtap linux-headers-cloud-amd64
	echo 'Building and running the Rust tests'
	cargo test --workspace --locked --quiet -- --show-output
	$(BIN)/python -m pytest

# LAB_KERNELS and LAB_ARGS (pytest's options) narrow it: make guest-test LAB_KERNELS=6.1 LAB_ARGS='-k stap'
LAB_KERNELS ?= 6.1 6.12

$(VENV)/.lab: $(VENV)/.ready
	@$(BIN)/python -m pip install --quiet --group lab
	touch $@

guest-test: build $(VENV)/.lab  ## Run the tests marked `guest` on other kernels, in QEMU (lab/README.md).
	@$(BIN)/python -m pytest -m guest $(LAB_KERNELS:%=--lab %) $(LAB_ARGS)

# Not part of CI: neither Debian nor PyPI has such an interpreter, and 3.14 is the first that PyO3 builds for.
FREE_THREADED ?= python3.14t
FREE_VENV := .venv-free-threaded

free-threaded-test:  ## Build for a CPython without the interpreter's lock (FREE_THREADED=python3.14t); run the tests in it.
	@command -v $(FREE_THREADED) >/dev/null || { echo 'Where is one? make free-threaded-test FREE_THREADED=/…/bin/python3.14t'; exit 1; }
	$(FREE_THREADED) -m venv $(FREE_VENV)
	$(FREE_VENV)/bin/python -m pip install --quiet --group free-threaded
	CARGO_TARGET_DIR=$(CURDIR)/target/free-threaded $(FREE_VENV)/bin/python -m pip install --quiet .
	# Those leave out what needs polars, which has no build for it.
	$(FREE_VENV)/bin/python -m pytest -m 'not guest' --ignore tests/test_arrow.py --ignore tests/test_table_conversions.py \
		--deselect tests/test_benches.py::test_aggregating_is_priced_beside_polars

check: check-rust check-python check-structure  ## Formats, lints, types, licences, the structure's rules.

check-rust: $(DENY)
	@cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	cargo check --package spile-bpf --no-default-features --locked --quiet
	$(DENY) --workspace check --hide-inclusion-graph bans licenses sources

check-python: build
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --strict examples .ci/structure.py .ci/schema.py tests/typing lab
	$(BIN)/pyright
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml spile._native

check-structure: build
	@$(BIN)/python .ci/structure.py
	$(BIN)/python .ci/schema.py --check

# Built without optimisation and debug information: two minutes rather than six, and it runs for a second.
$(DENY):
	@echo "Building cargo-deny into .cache (once)"
	CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_TARGET_DIR=.cache/cargo-deny/target \
		cargo install --quiet --debug --locked --root .cache/cargo-deny --version '^$(DENY_VERSION)' cargo-deny
	rm -rf .cache/cargo-deny/target

bench: build  ## Price every step of an event's road beside its peers, bpftrace and perf (BENCH_ARGS=--tiny: quickly, without them).
	@case '$(BENCH_ARGS)' in
	*--tiny*) ;;
	*)	.ci/need 'command -v bpftrace' bpftrace
		.ci/need 'command -v perf' linux-perf ;;
	esac
	$(BIN)/python benches/run.py $(BENCH_ARGS)

bench-counts: build  ## Count the hot loops' instructions, and fail where they are more than in benches/counts.json allows.
	@.ci/need 'command -v valgrind' valgrind
	$(BIN)/python benches/counts.py $(BENCH_ARGS)

# BENCH_ARGS='--targets kernel/ mm/ --rounds 7' and so on: benches/kernel_compile/__init__.py says more.
bench-compile: build  ## Trace a kernel's compile in full, by spile and by each peer, and write a report (an hour and more).
	@$(BIN)/python -m benches.kernel_compile $(BENCH_ARGS)

docs: build  ## Build the Rust documentation, refresh the committed schema.
	@RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet
	$(BIN)/python .ci/schema.py
	echo "Rust: target/doc/spile_core/index.html; everything else: docs/README.md"

fmt: $(VENV)/.ready  ## Format Rust and Python.
	@cargo fmt --all
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

clean:  ## Remove what was built, the virtual environment too.
	@rm -rf $(VENV) target demo-output dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find python -name '*.so' -delete
