# Everything runs from .venv, which `make install` builds from requirements.lock with Python and pip alone.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PIP_FLAGS := --quiet --disable-pip-version-check
TORCH_INDEX := https://download.pytorch.org/whl
BUILD ?= cu130

.DEFAULT_GOAL := help
.PHONY: help install torch annotate server deploy worker night check e2e test soak lint bench lock

help: ## List the targets
	@sed -n 's/^\([a-z0-9]*\):.*## /  make \1	/p' Makefile | expand -t 18

install: $(INSTALLED) ## Create .venv from requirements.lock, and install the project in it

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install $(PIP_FLAGS) --requirement requirements.lock
	$(BIN)/pip install $(PIP_FLAGS) --no-deps --no-build-isolation --editable .
	touch $@

# The lock file pins the version of torch; this target chooses the build. pip replaces the wheel and adds the CUDA libraries.
torch: install ## Install the build of torch for a CUDA version, or for none (make torch BUILD=cu130, BUILD=cpu)
	$(BIN)/pip install $(PIP_FLAGS) --extra-index-url $(TORCH_INDEX)/$(BUILD) --constraint requirements.lock \
	  "$$(grep '^torch==' requirements.lock)+$(BUILD)"

annotate: install ## Annotate the bundled sample into demo/, and show what was found
	$(BIN)/e2emern demo --home demo

server: install ## Start the Prefect server of an installation
	$(BIN)/e2emern server

deploy: install ## Create the queues, and register the deployments of prefect.yaml with the server
	$(BIN)/e2emern deploy

worker: install ## Start the workers of this host
	$(BIN)/e2emern worker

night: install ## Start a night now, outside its schedule
	$(BIN)/e2emern night

check: install ## Check what a night needs
	$(BIN)/e2emern check

e2e: install ## Run the tests of a whole installation, with their own server and workers
	$(BIN)/pytest tests/e2e

# Three processes on two cores, since the tests of a whole installation mostly wait (tests/conftest.py).
test: install ## Run the tests
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

soak: install ## Inject faults, damage files, kill processes and damage inputs, at full size: hours (make soak SEED=7)
	$(BIN)/python -m tests.soak --seed $(or $(SEED),2026)

lint: install ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install ## Run the benchmarks
	$(BIN)/python -m benchmarks

# torch is pinned to the last release that pip installs as a CPU wheel if the index offers one. The dependencies of its
# CUDA wheel are left out of the lock; pip adds them if it installs that wheel.
lock: ## Resolve the newest versions that pyproject.toml allows into requirements.lock
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install $(PIP_FLAGS) setuptools torch==2.13.0 --editable '.[dev]'
	{ echo '# Made by `make lock` from pyproject.toml: the project, its tests and its linters.'; \
	  build/lock/bin/pip freeze --all --exclude pip --exclude-editable \
	  | sed -e '/^nvidia-/d' -e '/^triton==/d' -e 's/+cpu$$//'; } > build/requirements.lock
	mv build/requirements.lock requirements.lock
