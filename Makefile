# AegisRAG. `make` lists the targets. On Windows without make, the README names the same commands.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
STUDIO_PORT ?= 2024
WORKERS ?= 2
export PYTHONPATH := $(CURDIR)

# Two files of tests side by side; then, one at a time, the tests that measure the machine. 5 means: none was chosen.
define pytest
$(BIN)/python -m pytest -m "($(1)) and not alone" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS) || [ $$? = 5 ]
$(BIN)/python -m pytest -m "($(1)) and alone" $(ARGS) || [ $$? = 5 ]
endef

.PHONY: help venv dev run test test-servers lint types studio eval bench load load-short clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: ## create .venv with what running needs (re-used while the lock is the same)
	@sh deploy/venv.sh run

run: venv ## start the assistant and print its address
	@$(BIN)/aegis serve

dev:
	@sh deploy/venv.sh all

test: dev ## run the tests that need no server
	$(call pytest,not servers)

test-servers: dev ## run the tests against real PostgreSQL, Neo4j, Redis and Ollama servers
	$(call pytest,servers)

lint: dev ## check style, formatting and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: dev ## check types
	$(BIN)/pyright

studio: dev ## run the graph under `langgraph dev`, offline
	AEGIS_PORT=$(STUDIO_PORT) $(BIN)/aegis studio

eval: dev ## replay the sample questions and print a table
	$(BIN)/aegis eval run $(ARGS)

bench: dev ## run every benchmark
	$(BIN)/aegis bench all $(ARGS)

load: dev ## run the load scenarios (about 35 minutes) and write docs/performance.md
	$(BIN)/python -m tests.performance.load $(ARGS)
	$(BIN)/python -m tests.performance.sweeps
	$(BIN)/python -m tests.performance.report

load-short: dev ## a minute of each load scenario, into results/load
	$(BIN)/python -m tests.performance.load --short $(ARGS)

clean: ## remove .venv and caches (the data folder stays)
	rm -rf $(VENV) .pytest_cache .ruff_cache .langgraph_api
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
