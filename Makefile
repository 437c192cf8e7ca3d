# `make` alone prints the help that stands behind the ##.
VENV := .venv
BIN := $(VENV)/bin
# The first Python that the lock files are made for.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup repro test check verify sweep mlflow lock

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

verify: $(VENV)/.pipeline ## reproduce HEAD in a second clone and compare dvc.lock byte for byte
	@tests/verify.sh

mlflow: $(VENV)/.pipeline ## open MLflow on http://127.0.0.1:5000
	@mlflow ui --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlflow.db}" --host 127.0.0.1 --port 5000

lock: $(VENV)/.dev ## compile the lock files anew with the newest versions that fit (UPGRADE= keeps what fits)
	@$(compile) --group dev -o requirements/dev.txt
	@for group in pipeline service; do \
	  $(compile) --group $$group -c requirements/dev.txt -o requirements/$$group.txt || exit 1; done

UPGRADE ?= --upgrade
compile = uv pip compile -q --universal --generate-hashes --no-emit-index-url $(UPGRADE) \
  --custom-compile-command 'make lock' --python-version 3.11

# One environment; dev.txt holds what pipeline.txt holds, and that what service.txt holds, at the same versions.
$(VENV)/.dev: installs := dev pipeline service
$(VENV)/.pipeline: installs := pipeline service
$(VENV)/.service: installs := service
$(VENV)/.service $(VENV)/.pipeline $(VENV)/.dev: $(VENV)/.%: requirements/%.txt
	@$(make_venv)
	@$(install)
	@touch $(installs:%=$(VENV)/.%)

# While pip works a file names its process. Left by a dead one it tells of a half-made environment, made anew.
BUSY := $(VENV)/.installing
define make_venv
[ -n "$(PYTHON)" ] || { echo "no Python 3.11, 3.12 or 3.13 on PATH; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }; \
busy=$$(cat $(BUSY) 2>/dev/null); \
if [ -n "$$busy" ] && kill -0 $$busy 2>/dev/null; then \
  echo "process $$busy is installing into $(VENV); wait until it is done" >&2; exit 1; fi; \
if [ -e $(BUSY) ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
  $(PYTHON) -m venv --clear $(VENV) >/dev/null || { \
    echo "$(PYTHON) cannot make an environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; fi
endef

define install
echo $$$$ > $(BUSY); \
total=$$(grep -c '==' $<); \
echo "Installing up to $$total packages of $< into $(VENV); the first time takes some minutes."; \
{ $(BIN)/python -m pip install --no-deps --require-hashes --disable-pip-version-check --no-input --progress-bar off \
    -r $< 2>$(VENV)/install.log || echo FAILED; } \
| awk '/^Collecting/ && ++n % 25 == 0 {print "  " n " packages ..."} /^Installing coll/ {print "  unpacking ..."} \
       /^FAILED/ {failed = 1} {fflush()} END {exit failed}' \
|| { cat $(VENV)/install.log >&2; exit 1; }; \
rm $(BUSY)
endef
