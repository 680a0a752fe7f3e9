# Everything a contributor does, by name. `make help` lists it. Nothing here needs more than Debian 12, Python 3.11, Go and make.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLUSTER := $(PYTHON) e2e/cluster/cluster.py

.PHONY: help setup demo check lint types layers docs-check generated test unit integration conformance test-backends e2e-made e2e e2e-full \
        fuzz cluster-up cluster-down cluster-status generate lock sbom docs docs-full docs-recording bench bench-check bench-quick bench-startup bench-overload bench-conformance profile clean

# Servers that tests start read compiled modules, as in the images: without them each start compiles its own.
unexport PYTHONDONTWRITEBYTECODE

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## (.*)/  \1|\2/' | column -t -s '|'

setup: $(VENV)/.ready ## Make .venv with everything from the hashed lock

# pip brings uv (hashed), uv brings the rest (hashed): six seconds where pip alone takes a minute and a half.
$(VENV)/.ready: requirements/dev.lock requirements/uv.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: setup ## Train, serve and call a model on this machine: no cluster, no root, under three minutes
	@$(BIN)/python scripts/demo.py

check: lint types layers generated ## Lint, types, layers, generated files up to date

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python scripts/exceptions.py
	@test ! -e operator/__init__.py || { echo "operator/__init__.py would shadow the standard library's operator module: remove it"; exit 1; }

types: setup
	@$(BIN)/mypy

layers: setup
	@$(BIN)/lint-imports

generated: setup
	@$(BIN)/python scripts/generate.py --check

docs-check: setup
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir $(or $(TMPDIR),/tmp)/pillion-docs-check

# Three processes also on two processors: most tests wait for servers. In the order of the files, which ends with the
# many short ones of tests/unit: by its own, pytest-xdist begins those with few tests last, which are the long ones.
test: check docs-check ## Lint, types, layers, docs, then unit, integration (real etcd + kube-apiserver) and conformance tests
	@$(CLUSTER) build control-plane etcd helm helm4 kustomize kubeconform kstatus flux-health argo-health rclone grpcurl ghz loadgen registry crane
	@$(BIN)/pytest tests -m "not frameworks" -n 3 --dist loadfile --no-loadscope-reorder

unit: setup ## Only the tests without servers
	@$(BIN)/pytest tests/unit

integration: setup ## Only the tests against real servers and a real API server
	@$(BIN)/pytest tests/integration -m "not frameworks"

test-backends: setup ## The tests of PyTorch and Hugging Face, in an environment of their own (5 GB in your cache folder)
	@PYTHONPATH="$(CURDIR)/runtime/src:$(CURDIR)/operator/src" "$$($(BIN)/python -m tests.backends.environment)" -m pytest tests/backends

docs-full: setup ## Both halves of the guides from other frameworks, each framework in an environment of its own
	@$(BIN)/pytest tests/integration/docs -m frameworks

FUZZ_SECONDS ?= 60
fuzz: setup ## Fuzz each codec with atheris for FUZZ_SECONDS (60): Linux, in an environment of its own
	@$(BIN)/python -m tests.fuzz.run $(FUZZ_SECONDS)

conformance: setup ## Only the tests with public clients over the wire
	@$(BIN)/pytest tests/conformance

# What scenarios stand on is made before them: from nothing it takes longer than a scenario may.
NODE_TOOLS := control-plane kube-scheduler kubelet kube-proxy etcd coredns metrics-server pause hostpath-provisioner helm ghz loadgen
NODE_IMAGES := pause coredns metrics-server hostpath-provisioner operator runtime s3 prometheus client
e2e-made: setup
	@test -n "$${E2E_KUBECONFIG:-}" || { $(CLUSTER) build $(NODE_TOOLS) && $(CLUSTER) images $(NODE_IMAGES); }

e2e: e2e-made ## Smoke scenarios on a real node (brings one up; needs root where there is no Docker engine)
	@$(BIN)/pytest e2e -m smoke

e2e-full: e2e-made ## Every scenario, figures recorded in e2e/results
	@test -n "$${E2E_KUBECONFIG:-}" || $(CLUSTER) images gateway
	@E2E_RECORD=1 $(BIN)/pytest e2e

cluster-up: ## Bring a real Kubernetes up for hand work and e2e
	@$(CLUSTER) up

cluster-down: ## End it and leave nothing behind
	@$(CLUSTER) down

cluster-status: ## Say what runs
	@$(CLUSTER) status

generate: setup ## Write crds/, the values schema, config/install.yaml, protobuf code and reference pages again
	@$(BIN)/python scripts/generate.py

lock: setup ## Make requirements/*.lock again (UPGRADE=1 takes newer versions)
	@scripts/lock.sh $(if $(UPGRADE),--upgrade)

sbom: setup ## The bill of materials of each image, CycloneDX, into dist/: what the locks bring; the files in the images add their base's packages
	@mkdir -p dist
	@for lock in operator $(notdir $(basename $(wildcard requirements/runtime*.lock))); do \
	  $(BIN)/python scripts/sbom.py pillion-$${lock%%-*} requirements/$$lock.lock > dist/pillion-$$lock.cdx.json; \
	  echo "dist/pillion-$$lock.cdx.json: $$(grep -c '"type": "library"' dist/pillion-$$lock.cdx.json) packages"; \
	done

docs: docs-check ## Build the documentation site into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-recording: setup ## Run the README's quickstart, and draw docs/assets/quickstart.svg of it
	@$(BIN)/python -m scripts.recording

bench: setup ## The whole table of measurements, written to bench/results
	@$(BIN)/python -m bench run

bench-check: setup ## Start every server of the measurements once and look at its answer; makes their environments
	@$(BIN)/python -m bench check

bench-quick: setup ## Two minutes of it, for a change under work
	@$(BIN)/python -m bench run --quick

bench-startup: setup ## Start to ready and memory, against the imports alone
	@$(BIN)/python -m bench.startup

bench-overload: setup ## Twice the capacity offered: goodput, latency of what is accepted, refusals, memory
	@$(BIN)/python -m bench.overload

bench-conformance: setup ## What Pillion, MLServer, KServe and Triton keep of the Open Inference Protocol
	@$(BIN)/python -m bench.conformance

profile: setup ## Where a request's time goes: a table, and a flame graph in bench/results
	@$(BIN)/python -m bench.profile

clean: ## Remove what the targets above made in this folder
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache site .demo
