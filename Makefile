# `make` prints each target with the text after its ##, in the groups that begin with ##@.
VENV := .venv
BIN := $(VENV)/bin
# The Dask scheduler whose workers share the work, if there is one: docs/how-to/cluster.md.
export DASK_SCHEDULER_ADDRESS := $(or $(SCHEDULER),$(DASK_SCHEDULER_ADDRESS))
# The packages of the pipeline, and those that only a cluster or the model in params.yaml needs.
PIPELINE := $(VENV)/.pipeline $(if $(DASK_SCHEDULER_ADDRESS),$(VENV)/.dask) $(patsubst %,$(VENV)/.%,$(filter xgboost catboost skl2onnx,$(shell sed -n -e 's/^model: *[A-Za-z_.0-9]*:.*/skl2onnx/p' -e 's/^model: *\([a-z_]*\).*/\1/p' params.yaml)))
# The first Python on PATH that the lock files support.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup repro promote rollback predict serve test check verify bench new sweep experiments compare search suite mlflow push pull lock docs up down roll logs test-long test-compose build/sbom

help:
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

##@ Train

repro: $(PIPELINE) ## run the pipeline, then promote the model
	@dvc repro
	@$(promote) || [ $$? = 3 ]
	@python -m stages.commands.summary

sweep: $(PIPELINE) ## run experiments one after another: SET='n_estimators=50,100 max_depth=8,12'
	@python -m stages.commands.sweep $(SET)

experiments: $(VENV)/.pipeline ## list the experiments in few columns, the best first
	@python -m stages.commands.experiments

compare: $(VENV)/.pipeline ## compare two commits or experiments on the same rows: A=HEAD~1 B=HEAD
	@[ -n '$(A)' ] || { echo "name a commit or an experiment: make compare A=HEAD~1 B=HEAD" >&2; exit 2; }
	@python -m stages.commands.compare '$(A)' $(if $(B),'$(B)')

search: $(PIPELINE) ## search hyperparameters; the best five become experiments: TRIALS=30 SECONDS=600 JOBS=1
	@python -m stages.commands.search $(if $(TRIALS),--trials '$(TRIALS)') $(if $(SECONDS),--seconds '$(SECONDS)') $(if $(JOBS),--jobs '$(JOBS)')

mlflow: $(VENV)/.pipeline ## show runs and models in MLflow on http://127.0.0.1:5000: MLFLOW_PORT=5001
	@python -m stages.commands.browse $(if $(MLFLOW_PORT),--port '$(MLFLOW_PORT)')

suite: $(VENV)/.pipeline ## draft a suite of expectations from the current table
	@python -m stages.commands.draft

##@ Release and serve

promote: $(VENV)/.pipeline ## release the workspace's model: VERSION=3 or REV=commit; REASON=why OVERRIDE=champion
	@$(promote) $(if $(VERSION),--version '$(VERSION)') $(if $(REV),--rev '$(REV)') $(OVERRIDE:%=--override-%)

rollback: $(VENV)/.pipeline ## go back to the previous release: TO=number REASON=why
	@python -m stages.commands.rollback $(if $(TO),--to '$(TO)') $(why)

# Status 3: a check refused the model and said why in one line; the current release stays in service.
promote = python -m stages.commands.promote $(why)
why = $(if $(REASON),--reason "$$REASON")
export REASON

predict: $(PIPELINE) ## score INPUT=table OUTPUT=file or folder, no server needed: WORKERS=1 EXPLAIN= ERRORS=
	@[ -e $(RELEASED) ] || $(MAKE) --no-print-directory models/model.onnx
	@python -m stages.predict "$(INPUT)" "$(OUTPUT)" $(if $(WORKERS),--workers '$(WORKERS)') \
	  $(if $(EXPLAIN),--explain) $(if $(COVERAGE),--coverage '$(COVERAGE)') \
	  $(if $(KEEP),--keep '$(KEEP)') $(if $(ERRORS),--errors '$(ERRORS)')

TRACED := $(OTEL_EXPORTER_OTLP_ENDPOINT)$(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)$(shell sed -n 's/^OTEL_EXPORTER_OTLP_\(TRACES_\)*ENDPOINT=//p' .env 2>/dev/null)
RELEASES ?= $(shell sed -n 's/^RELEASES=//p' .env 2>/dev/null)
RELEASED = $(or $(RELEASES),models/releases)/current/release.json
serve: $(VENV)/.service $(if $(TRACED),$(VENV)/.tracing) ## serve the current release on http://127.0.0.1:8000: HOST PORT WORKERS
	@[ -e $(RELEASED) ] || { $(MAKE) --no-print-directory $(PIPELINE) && $(MAKE) --no-print-directory models/model.onnx; }
	@[ ! -e $(VENV)/.pipeline ] || $(promote) --unless-served || [ -e $(RELEASED) ]
	@exec python -m service.serve

# Only if it is missing: from the cache or the remote if they have it, otherwise from the pipeline.
models/model.onnx:
	@dvc checkout --quiet $@ 2>/dev/null || { echo "asking the remote for $@"; python -m stages.commands.remote pull $@ 2>/dev/null; } || dvc repro

##@ Run it in containers

up: ## start everything in containers and wait for the first model
	@docker compose up --build --detach
	@docker compose logs --follow --no-log-prefix trainer
	@[ "$$(docker wait $$(docker compose ps --all --quiet trainer))" = 0 ] || { \
	  echo "the training failed, see above; the API still serves what it served before" >&2; exit 1; }
	@docker compose up --detach --no-deps --wait api proxy
	@for each in "API https proxy 8443 $$(docker compose exec -T proxy printenv PATH_PREFIX)/" "MLflow http mlflow 5000 $$($(newest_runs))" 'Grafana http grafana 3000 /' \
	  'Prometheus http prometheus 9090 /' 'Alertmanager http alertmanager 9093 /'; do \
	  set -- $$each; printf '%-13s %s://%s%s\n' "$$1" "$$2" "$$(docker compose port $$3 $$4)" "$$5"; done
	@echo "API: user admin, password: docker compose exec api cat /run/secrets/admin_password"

# The page of the newest experiment's runs; MLflow's home is about language models.
newest_runs = docker compose exec -T mlflow python -c "from mlflow import MlflowClient; \
  print('/\#/experiments/%s/runs?workflowType=machine_learning&viewStateShareKey=pipeline' % MlflowClient( \
  'http://127.0.0.1:5000').search_experiments(order_by=['creation_time DESC'], max_results=1)[0].experiment_id)"

down: ## stop the containers; the volumes keep all data
	@docker compose --profile '*' down

roll: ## build the API again and replace its containers one by one; no request fails
	@sh deploy/roll.sh

logs: ## follow the logs of the containers
	@docker compose logs --follow --tail 50

##@ Share

push: $(VENV)/.pipeline ## upload what dvc.lock names to the DVC remote, and check that it arrived
	@python -m stages.commands.remote push

pull: $(VENV)/.pipeline ## download what dvc.lock names from the DVC remote
	@python -m stages.commands.remote pull

new: $(VENV)/.pipeline ## make a project of your own: NAME=prices DIR=../prices TABLE=homes.csv TARGET=price
	@python -m stages.commands.new '$(NAME)' '$(DIR)' $(if $(TABLE),--table '$(TABLE)') $(if $(TARGET),--target '$(TARGET)')

##@ Develop

setup: $(VENV)/.dev ## install everything into .venv

test: $(VENV)/.dev ## run the tests
	@pytest -n auto --dist loadgroup

check: $(VENV)/.dev ## run the linters, the type checker, the import contracts and the tests
	@ruff format --check --quiet
	@ruff check --quiet
	@mypy
	@lint-imports --no-cache
	@$(MAKE) --no-print-directory test

verify: $(PIPELINE) ## reproduce the commit in a second clone and compare dvc.lock byte for byte
	@python tests/e2e/verify.py

bench: $(VENV)/.dev ## measure the speed of pipeline and service, into build/
	@python tests/bench/pipeline.py
	@python tests/bench/growth.py
	@python tests/bench/bench_service.py
	@python tests/bench/bench_predict.py

docs: $(VENV)/.dev models/model.onnx ## build the documentation's site without the internet, into build/site
	@[ -e $(RELEASED) ] || $(promote)
	@python -m docs.reference_pages
	@zensical build --strict

test-long: $(VENV)/.dev ## run the tests that take minutes, such as searches, sweeps and clusters
	@pytest -m long

test-compose: $(VENV)/.dev ## test the containers in a second system (needs Docker)
	@pytest -m compose tests/containers

# Bills of materials (CycloneDX) of the packages in the images.
build/sbom: $(VENV)/.dev
	@mkdir -p $@
	@$(call bill,service,service postgres tracing)
	@$(call bill,pipeline,pipeline postgres tracing store dask)

# A package that is in several lock files is listed once.
bill = awk '/^[a-z]/ {known = seen[$$1]++} !known' $(2:%=requirements/%.txt) | cyclonedx-py requirements - --output-reproducible -o build/sbom/$(1).cdx.json

lock: $(VENV)/.dev ## update the lock files to the newest versions; UPGRADE= only what pyproject.toml needs
	@$(compile) --group dev -o requirements/dev.txt
	@for group in pipeline service postgres tracing store xgboost catboost skl2onnx dask docs uv; do \
	  $(compile) --group $$group -c requirements/dev.txt -o requirements/$$group.txt || exit 1; done

UPGRADE ?= --upgrade
compile = uv pip compile -q --universal --generate-hashes --no-emit-index-url $(UPGRADE) \
  --custom-compile-command 'make lock' --python-version 3.11

# One environment: dev.txt includes pipeline.txt, which includes service.txt, at the same versions.
$(VENV)/.dev: installs := dev pipeline service xgboost catboost skl2onnx dask
$(VENV)/.pipeline: installs := pipeline service
$(VENV)/.service: installs := service
$(VENV)/.service $(VENV)/.pipeline $(VENV)/.dev: $(VENV)/.%: requirements/%.txt
	@$(make_venv)
	@$(install)
	@touch $(installs:%=$(VENV)/.%)

# Packages that are installed only if needed: most services send no traces, most models are of other packages.
$(VENV)/.xgboost $(VENV)/.catboost $(VENV)/.skl2onnx $(VENV)/.dask: | $(VENV)/.pipeline
$(VENV)/.tracing: | $(VENV)/.service
$(VENV)/.tracing $(VENV)/.xgboost $(VENV)/.catboost $(VENV)/.skl2onnx $(VENV)/.dask: $(VENV)/.%: requirements/%.txt
	@$(install_lock)
	@touch $@

# uv installs in a tenth of pip's time. A machine without it gets it by pip, into .venv; if uv cannot install, because for
# example only pip knows your package index, pip does.
locked := --no-deps --require-hashes -r
UV := $(shell command -v uv)
pip = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input $(locked)
install_lock = { $(if $(UV),$(UV),$(pip) requirements/uv.txt && $(BIN)/uv) pip install --quiet --python $(BIN)/python $(locked) $< 2>$(VENV)/.uv-errors \
  || { cat $(VENV)/.uv-errors >&2; $(pip) $<; }; }

# The file BUSY has the id of the process that installs. If that process is dead, make the environment again.
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
echo "Installing up to $$(grep -c '==' $<) packages of $< into $(VENV)"; \
$(install_lock) && rm $(BUSY)
endef
