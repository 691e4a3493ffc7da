# `make` lists the targets. `make run` and `make test` set up what they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
FUZZ_SECONDS ?= 60
SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help install run test test-all test-live test-agents faults check fmt lint imports types schemas cov bench fuzz audit examples clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint .ci/constraints.txt --editable '.[dev]'
	@touch $@

install: $(STAMP) ## virtual environment in .venv, with everything for development
	@$(BIN)/python -m compileall -q dispatch_runner

run: install ## the main job on an example, offline: examples/mixed_workflow.json
	@$(BIN)/dispatch-runner run examples/mixed_workflow.json --stdout summary --allow-path /tmp

test: install ## unit, property, command line and docs tests
	$(BIN)/python -m pytest -q -m 'not slow'

test-all: install ## all tests: also faults, slow ones, more examples per property
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -q

test-live: install ## real agents with your own account, only those that TEST_LIVE_AGENTS names
	$(BIN)/python -m pytest -q tests/live

test-agents: install ## real agent programs against a scripted model server, cut off from the network
	$(BIN)/python tests/agents/install.py
	$(BIN)/python tests/agents/jail.py $(BIN)/python tests/agents/run.py

faults: install ## every fault of docs/faults.md: injected, survived, lost; SEED=1
	$(BIN)/python tests/faults/run.py --seed $(SEED)

lint: install ## ruff and codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

fmt: install ## format and fix what can be fixed
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

imports: install ## layers: imports only point down
	$(BIN)/lint-imports

types: install ## mypy, strict
	$(BIN)/mypy

check: lint imports types ## everything but the tests

schemas: install ## regenerate schemas/, the compiled validators and the help page
	$(BIN)/python -m dispatch_runner.models.validators
	$(BIN)/python -m dispatch_runner schema --write schemas
	$(BIN)/python -m dispatch_runner.cli.help_page

cov: install ## coverage of the whole suite
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

bench: install ## the figures of the README, measured on this machine
	$(BIN)/python -m benchmarks

fuzz: install ## a coverage-guided fuzzer on requests, texts and journals, FUZZ_SECONDS=60
	$(BIN)/python -m pip install --quiet --constraint .ci/constraints.txt 'atheris>=3.0'
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(FUZZ_SECONDS)

audit: install ## known vulnerabilities of the pinned dependencies, where the database can be reached
	$(BIN)/python .ci/audit.py

examples: install ## run every example end to end
	$(BIN)/python -m pytest -q tests/docs -k example

clean: ## remove the environment, caches and traces
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find traces -mindepth 1 ! -name README.md -exec rm -rf {} +
