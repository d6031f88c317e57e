# Two commands do everything: `make run` and `make test`.
# The others are parts of those two, or measurements.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
PYTHON ?= python3
VENV := target/venv

.PHONY: help run build test test-rust test-python lint deny bench fuzz dist test-dist test-vm test-docker preflight test-tools

help: ## Say what there is to type
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

preflight: ## Check for a compiler and Python, and say what to install
	@tests/preflight

run: preflight ## Build and serve the example controllers on loopback
	$(CARGO) build --release --package magic
	exec target/release/magic dev controllers

build: preflight ## Build the optimized program
	$(CARGO) build --release --package magic

test: preflight test-tools lint test-rust test-python ## Run every test

test-rust:
	$(CARGO) nextest run --workspace
	$(CARGO) test --quiet --workspace --doc

test-python:
	cd python-sdk && ../$(VENV)/bin/python -m pytest --quiet

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	cd python-sdk && ../$(VENV)/bin/ruff check . ../controllers ../tests ../bench
	cd python-sdk && ../$(VENV)/bin/ruff format --check . ../controllers ../tests ../bench
	cd python-sdk && ../$(VENV)/bin/mypy

test-tools: ## Install what the tests need below target/
	@tests/install-tools $(VENV)

deny: ## Check licences, sources and banned crates
	$(CARGO) deny check bans licenses sources

bench: ## Measure against peers on this machine
	bench/run

fuzz: ## Fuzz every target for a minute (needs the nightly toolchain and cargo-fuzz)
	fuzz/run

dist: preflight ## Build the wheel, the tarball and the Debian package into dist/, signed by MAGIC_SIGNING_KEY
	deploy/packaging/dist

test-dist: dist ## Install what dist/ holds and use it
	tests/packaging/run

test-vm: dist ## Run the service under systemd and cgroup version 2, in a virtual machine
	tests/vm/run

test-docker: build ## Build the image and run deploy/docker/compose.yaml, with a dockerd of its own (root)
	tests/docker/run
