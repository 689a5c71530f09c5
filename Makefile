# SPDX-License-Identifier: Apache-2.0
# Each target installs what it needs: Debian packages (as root) and a virtual environment in .venv.
# PYTHON=/path/to/python3.12 chooses the interpreter.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
ROOT := $(filter 0,$(shell id -u))
export PATH := $(CURDIR)/$(BIN):$(PATH):/usr/local/sbin:/usr/sbin:/sbin
export PYTHON

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo demo-clean test test-host unit bench doc lint clean need-root system system-tests system-host

help: ## This list
	@printf 'fip64agent: floating IPv6 addresses for VMs that have only IPv4\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: need-root system $(VENV)/.test ## Watch an IPv6 client reach two IPv4-only VMs (root); KEEP=1 keeps it
	@$(BIN)/python -m lab.demo $(if $(filter-out 0 no,$(KEEP)),--keep) $(if $(OVS),--ovs $(OVS))

demo-clean: need-root $(VENV)/.test ## Remove a demo that was kept, and labs of tests that were killed (root)
	@$(BIN)/python -m lab.demo --clean
	@$(BIN)/python -m lab.sweep

# As root nothing may be skipped for want of a component: all was just installed.
test: $(if $(ROOT),system-tests) $(VENV)/.test ## Unit, functional and end-to-end tests (root); ARGS="-k name" for pytest
	@$(if $(ROOT),FIP64_NO_SKIP=1) $(BIN)/python -m pytest tests/unit tests/functional tests/e2e $(ARGS)

# What cannot be had (no Debian, no archive, no root) is a skip with the reason.
test-host: system-host $(VENV)/.test ## Tests on a whole machine: Debian in qemu, systemd, kernel datapath (root)
	@$(BIN)/python -m pytest tests/host -s -q $(ARGS)

unit: $(VENV)/.test ## Unit tests only: no root, seconds
	@$(BIN)/python -m pytest tests/unit $(ARGS)

bench: need-root system $(VENV)/.test ## Benchmarks: a table, and JSON in bench/results (root)
	@$(BIN)/python -m bench $(ARGS)

doc: $(VENV)/.doc ## The documentation, in doc/build/html; warnings are errors
	@$(BIN)/python -m sphinx -q -W --keep-going -b html doc/source doc/build/html
	@echo 'doc/build/html/index.html'

# What only tests call is dead code in fip64agent, but not in lab and bench.
lint: $(VENV)/.dev ## ruff, and vulture: code that nobody calls
	@$(BIN)/ruff check .
	@$(BIN)/vulture fip64agent
	@$(BIN)/vulture fip64agent lab bench tests

clean: ## Remove .venv and everything that was built
	@rm -rf $(VENV) build dist doc/build bench/results .pytest_cache .ruff_cache .hypothesis .tox *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

need-root:
	@$(if $(ROOT),:,echo 'This needs root: it makes network namespaces and Open vSwitch bridges. Try: sudo make $(MAKECMDGOALS)' >&2; exit 1)

system:
	@lab/prepare.sh system

system-tests:
	@lab/prepare.sh tests

system-host:
	@lab/prepare.sh host || echo '  prepare  tests/host will be skipped'

# One stamp for each set of extras; made again when the dependencies change.
$(VENV)/.%: pyproject.toml lab/prepare.sh
	@lab/prepare.sh venv $*
	@touch $@
