# OrderSpine: every target but help, lock and clean first makes .venv from requirements.lock.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 >/dev/null 2>&1 && echo python3.11 || echo python3)
UV ?= uv
SEED ?= 1
DATA ?= .orderspine
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
CODE := domain adapters projections runners benchmarks tests

.PHONY: help setup run test check cover bench sim fix docs lock clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

setup: $(STAMP) ## Make .venv from requirements.lock (does nothing when it is current)

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON) found: install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"error: OrderSpine needs Python 3.11 or newer, and $(PYTHON) is {v[0]}.{v[1]}; name another: make PYTHON=python3.12")'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: $(PYTHON) has no venv module: install it (on Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

run: $(STAMP) ## Start OrderSpine with simulated sales channels (Ctrl-C stops it)
	@$(BIN)/orderspine up --data $(DATA) --simulate || { code=$$?; [ $$code -eq 130 ] || exit $$code; }

test: $(STAMP) ## Run the tests
	@$(BIN)/python -m pytest -n 3 --dist loadfile -q

check: $(STAMP) ## Check format, lint, types, layers and the contract, then run the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m runners.docs_contract
	@$(MAKE) --no-print-directory test

cover: $(STAMP) ## Run the tests of the core: each line and branch of domain/ must be reached
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n 3 --dist loadfile -q --hypothesis-seed=0 tests/unit tests/properties tests/simulation
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

bench: $(STAMP) ## Run the benchmarks
	@$(BIN)/python -m benchmarks drain
	@$(BIN)/python -m benchmarks replay

sim: $(STAMP) ## Run one simulation: make sim SEED=7
	@$(BIN)/python -m tests.simulation.run --seed $(SEED)

fix: $(STAMP) ## Format the code and apply the linter's safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP) ## Write the event catalogue and the contract, list the documents and the command's own help
	@$(BIN)/python -m runners.docs_events --write
	@$(BIN)/python -m runners.docs_contract --write
	@ls README.md docs/*.md 2>/dev/null || true
	@$(BIN)/orderspine --help

lock: ## Refresh requirements.lock to the newest versions (needs uv)
	@command -v $(UV) >/dev/null || { echo "error: make lock needs uv: install it, or name it: make lock UV=/path/to/uv" >&2; exit 1; }
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --group dev --output-file requirements.lock pyproject.toml

clean: ## Remove .venv, caches and build output (never the data)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage*
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
