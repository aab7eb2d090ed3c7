# `make` or `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOWEST := .venv-lowest
LOWEST_READY := $(LOWEST)/.ready

# Byte-compiling every package takes a minute; Python does it for those that are imported, and keeps the outcome.
unexport PYTHONDONTWRITEBYTECODE
# uv installs in seconds what takes pip a minute; pip reads settings that uv does not, such as another package index.
define install
$(1)/bin/python -m pip install --quiet --upgrade 'pip>=25.1' uv
$(1)/bin/uv pip install --quiet --python $(1)/bin/python $(2) || \
	$(1)/bin/python -m pip install --quiet --no-compile $(2)
endef

.DEFAULT_GOAL := help
.PHONY: help install ready demo check test test-all test-lowest test-compat test-recipes lint format docs bench bench-peers clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(call install,$(VENV),--editable . --group dev --group docs)
	@touch $@

install: $(READY) ## make the local virtual environment with mlmeta and all tools

ready: $(READY) $(LOWEST_READY) ## both virtual environments, of the newest and the lowest versions (`make -j2 ready`)

demo: $(READY) ## the whole loop on an embedded store: create, back up, lose, restore, prove
	$(BIN)/mlmeta demo

check: lint ## lint and unit tests, in under half a minute
	$(BIN)/python -m pytest -q -n auto tests/unit

test: lint ## all checks and all tests
	$(BIN)/python -m pytest -n auto --dist loadgroup

test-all: lint ## the same with all cases of sweeps, and five times as many examples from Hypothesis
	$(BIN)/python -m pytest -n auto --dist loadgroup --hypothesis-profile full

$(LOWEST_READY): pyproject.toml tests/lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(call install,$(LOWEST),--editable . --group dev --constraint tests/lowest.txt)
	@touch $@

test-lowest: $(LOWEST_READY) ## unit tests and the main commands, with the lowest versions declared
	$(LOWEST)/bin/python -m pytest -n auto -p no:cacheprovider tests/unit tests/cli/test_output.py tests/cli/test_lists.py

test-compat: $(READY) ## servers of other MLflow versions; the first time it makes their environments (four minutes)
	$(BIN)/python -m tests.compat.environments
	$(BIN)/python -m pytest -n auto --dist loadgroup tests/compat

test-recipes: $(READY) ## recipes for Airflow, Prefect, …; the first time it makes their environments (five minutes)
	$(BIN)/python -m tests.recipes.environments
	$(BIN)/python -m pytest -n auto --dist loadgroup tests/recipes

lint: $(READY) ## ruff, mypy strict, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY) ## let ruff format and mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## write the generated pages of docs/reference/, and build the site: build/site/index.html
	$(BIN)/python -m tests.support.cli_reference
	$(BIN)/python -m tests.support.coverage_page
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file .mkdocs.yml

bench: $(READY) ## mlmeta beside the floor of each route, sizes S and M (a quarter of an hour)
	$(BIN)/python -m tests.benchmarks.run

bench-peers: $(READY) ## mlmeta beside mlflow-export-import and mlflow migrate-filestore, size S
	$(BIN)/python -m tests.benchmarks.run --size S --route export-import migrate-filestore

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) $(LOWEST) .cache .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
