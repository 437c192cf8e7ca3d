# `make` alone prints this file's help.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := true
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help setup repro test check sweep mlflow lock

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.dev ## make the environment with everything in it (.venv)

repro: $(VENV)/.pipeline ## run the pipeline: ingest, validate, prepare, train, export, evaluate, register
	@dvc repro

test: $(VENV)/.dev ## run the tests
	@pytest -n auto --dist loadgroup

check: $(VENV)/.dev ## run what CI runs: format, lint, types, import contracts, tests
	@ruff format --check --quiet
	@ruff check --quiet
	@mypy
	@lint-imports --no-cache
	@pytest -n auto --dist loadgroup

mlflow: $(VENV)/.pipeline ## open MLflow on http://127.0.0.1:5000
	@mlflow ui --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}" --host 127.0.0.1 --port 5000

lock: $(VENV)/.dev ## compile the lock files anew, with the newest versions that fit
	@uv pip compile -q --universal --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' \
	  --python-version 3.11 --upgrade --group dev -o requirements/dev.txt
	@for group in pipeline service; do \
	  uv pip compile -q --universal --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' \
	    --python-version 3.11 --upgrade --group $$group -c requirements/dev.txt -o requirements/$$group.txt || exit 1; done

$(VENV)/.pipeline $(VENV)/.dev: $(VENV)/.%: requirements/%.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing requirements/$*.txt into $(VENV) (a few minutes the first time) ..."
	@$(BIN)/python -m pip install -qq --no-deps --require-hashes -r $<
	@touch $@
