# triton-vllm-operator. `make help` lists every target.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

UV_VERSION := 0.13.9
# uv is taken from PATH where it is there, else installed into .cache/uv.
UV := $(shell command -v uv 2>/dev/null || echo .cache/uv/bin/uv)
PY := .venv/bin/python
export PYTHONPATH := operator:hack/localcluster:runtime:hack
# The backend that `make test-matrix` is run against besides the one in the image.
OLDER_VLLM ?= 0.26.0
# Sizes for `make bench-operator`.
MODELS ?= 500

##@ Try it
.PHONY: demo demo-down
demo: venv ## Local Kubernetes, images, operator, a tiny model, two real prompts; leaves it running
	$(PY) -m demo
demo-down: venv ## Remove the demo's cluster (keeps the caches)
	$(PY) -m localcluster down

##@ Test
.PHONY: test test-unit test-chart test-integration test-backend test-e2e test-matrix
test: test-unit test-chart test-integration test-backend test-e2e ## Every tier, quickest first
test-unit: venv ## Pure tests, no cluster, seconds
	$(PY) -m pytest tests/unit
test-chart: programs ## Helm chart: lint, schema, rendered objects
	$(PY) -m pytest tests/chart
# Two at a time, each with a control plane of its own: most of these tests wait.
test-integration: programs ## Operator against a real control plane, no node; the quick faults
	$(PY) -m pytest tests/integration --numprocesses 2 --dist loadfile
	$(FAULTS) --quick
test-backend: images ## Backend on real tritonserver and vLLM (CPU), in the triton-cpu image
	$(PY) -m pytest tests/backend
test-e2e: programs images ## Everything on a full local cluster (root)
	$(PY) -m pytest tests/e2e
test-matrix: images ## Backend tests on an older vLLM (OLDER_VLLM=0.26.0)
	OLDER_VLLM=$(OLDER_VLLM) UV=$(UV) $(PY) -m pytest tests/matrix

##@ Test what fails (not a part of `make test`)
.PHONY: test-faults test-faults-walk test-upgrade
FAULTS := PYTHONPATH=$(PYTHONPATH):tests $(PY) -m faults
test-faults: programs ## Every fault, what is true, said and when (docs/faults.md); FAULT=words for some of them
	$(FAULTS) --write $(FAULT)
test-faults-walk: programs ## A random walk of faults and edits (SEED=1 MINUTES=30)
	$(FAULTS).walk $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))
test-upgrade: programs ## From the version before to this one and back, under 200 serving models
	$(FAULTS).upgrade

##@ Measure
.PHONY: bench-operator bench-backend
bench-operator: programs ## VLLMModels by the thousand on the control-plane profile (MODELS="500 2000 5000")
	$(PY) bench/operator_scale.py --models $(MODELS)
bench-backend: venv ## Tokens per second beside vLLM's bare engine (CPU)
	$(PY) bench/backend_speed.py

##@ Develop
.PHONY: venv verify lint format types imports generate verify-generated verify-chart engine-schemas run
venv: .venv/.installed ## Python environment from uv.lock
.venv/.installed: pyproject.toml uv.lock
	@[ -x "$$(command -v $(UV))" ] || { echo "installing uv $(UV_VERSION) into .cache/uv"; python3 -m venv .cache/uv; .cache/uv/bin/pip install -q uv==$(UV_VERSION); }
	$(UV) sync --frozen --quiet
	@touch $@
verify: venv lint types imports verify-generated verify-chart ## Lint, types, import rules, generated files, chart; fast, part of CI
	@[ ! -e operator/__init__.py ] || { echo "operator/__init__.py would shadow the standard library's operator module: remove it"; exit 1; }
	@echo "verify ok"
lint: venv ## ruff: lint and format check
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
format: venv ## ruff: apply fixes and format
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
types: venv ## mypy --strict
	.venv/bin/mypy
imports: venv ## import-linter: the layers of ARCHITECTURE.md
	.venv/bin/lint-imports
generate: venv ## CRD, API reference and effect tables from the code
	$(PY) -m generate
verify-generated: venv ## Fail if a generated file is not current
	$(PY) -m generate --check
verify-chart: programs ## helm lint --strict and a render
	$(PY) -m pytest -q tests/chart -k lint
engine-schemas: venv ## Engine-argument schemas from vLLM's sources on PyPI
	$(PY) -m engineschemas
run: venv ## Operator on this host against the current kubectl context
	$(PY) -m vllm_operator.cli run

##@ Cluster and caches
.PHONY: programs images cluster cluster-down clean
# Before a tier's first test, so that a build shows its progress and eats no test's deadline.
programs: venv ## Build Kubernetes, kubectl and helm from their Go modules
	@$(PY) -m localcluster tool kubectl > /dev/null
	@$(PY) -m localcluster tool helm > /dev/null
cluster: venv ## A local Kubernetes 1.37 with one node (root)
	$(PY) -m localcluster up
cluster-down: venv ## Remove it
	$(PY) -m localcluster down
images: venv ## Build operator, triton-cpu and tiny-model images
	$(PY) -m localcluster build --target operator --target triton-cpu --target tiny-model
clean: ## Remove the cluster, every cache, the Python environment
	if [ -x $(PY) ]; then $(PY) -m localcluster clean; fi
	rm -rf .venv .cache dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z][a-zA-Z0-9_-]*:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
