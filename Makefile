# Two commands: `make book` and `make test`. Both make the environment first when it isn't there.
# They need Python 3.11 or newer, pip and make, and nothing else.

PYTHON ?= python3
PROFILE ?= book
JOBS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-from-requirements
JOBS_FLAG := $(if $(JOBS),--jobs $(JOBS))
CHAPTER ?=

.DEFAULT_GOAL := help
.PHONY: help environment optional book archive chapter test lint unit notebooks site browser bench record lock clean

help: ## Show what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

environment: $(STAMP) ## Make the virtual environment with the exact pins

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing requirements.txt into $(VENV): about two minutes"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -e .
	@touch $@

optional: $(STAMP) ## Add what carries further data, and the peers of some benches
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements-optional.txt

book: $(STAMP) ## Run what is not fresh and render the site (PROFILE=smoke for the impatient)
	@$(BIN)/loglik book --profile $(PROFILE) $(JOBS_FLAG)

archive: $(STAMP) ## Pack the rendered site, notebooks, data and records into one file that opens from disk
	@$(BIN)/loglik archive

chapter: $(STAMP) ## Run one chapter and record it: make chapter CHAPTER=risk/presto
	@$(BIN)/loglik run $(CHAPTER) --profile $(PROFILE) $(JOBS_FLAG)
	@$(BIN)/loglik record $(CHAPTER) --profile $(PROFILE)
	@$(BIN)/loglik readme

test: $(STAMP) lint unit notebooks site browser ## Run everything that CI runs

lint: $(STAMP) ## Lint, format, types, import rules, pairs
	@echo "== lint, types, import rules"
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/loglik pair --check && $(BIN)/loglik lock --check

unit: $(STAMP) ## Unit, property and statistical tests, the contract, the press
	@echo "== tests of the package, the press and the contract"
	@$(BIN)/pytest -n auto --dist loadgroup --ignore tests/site --ignore tests/test_notebooks.py

notebooks: $(STAMP) ## Every notebook at the smoke profile through papermill
	@echo "== notebooks at the smoke profile"
	@$(BIN)/loglik run --profile smoke $(JOBS_FLAG)
	@$(BIN)/pytest tests/test_notebooks.py

site: $(STAMP) ## The site with warnings as errors
	@echo "== the site, warnings as errors"
	@$(BIN)/loglik render --profile smoke

browser: $(STAMP) ## The rendered site, also in a real browser
	@echo "== the site in a browser"
	@$(BIN)/pytest -n auto --dist loadgroup tests/site

bench: $(STAMP) ## Each hot path beside its peer
	@for script in $$(git ls-files 'bench/*/*.py'); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

lock: ## Resolve requirements.txt anew from pyproject.toml, in an environment of its own
	@rm -rf _build/lock && $(PYTHON) -m venv _build/lock
	@_build/lock/bin/python -m pip install -qq torch==2.13.0
	@_build/lock/bin/python -m pip install -qq '.[all]'
	@{ echo "# Exact pins of everything that the book and its tests need: made by 'make lock', for Python 3.11."; \
	   echo "# For a CPU-only torch elsewhere: pip install -r requirements.txt --extra-index-url https://download.pytorch.org/whl/cpu"; \
	   _build/lock/bin/python -m pip freeze --all --exclude loglik --exclude pip | sed -E 's/^(torch==[0-9.]+)\+cpu$$/\1/'; } > requirements.txt
	@rm -rf _build/lock

clean: ## Remove everything that was made, but not the environment
	@rm -rf _build dist
