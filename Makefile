# `make` lists the targets. Each does its own set-up: Python 3.11 or later and a package index are enough.
VENV ?= .venv
BIN := $(VENV)/bin
# The first of these that is recent enough; name another one with `make PYTHON=... demo`.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# uv installs the packages about five times as fast as pip: the one on the PATH, or else one from the index.
UV := $(or $(shell command -v uv),$(BIN)/uv)
# On Linux, torch from PyPI brings 4 GB of CUDA libraries. TORCH_BACKEND=cpu (or cu130, auto, ...) takes torch
# from PyTorch's own index instead; see `uv help pip install`.
TORCH_BACKEND ?=
INSTALL = $(UV_SETTINGS) $(UV) pip install --python $(BIN)/python --constraint constraints.txt \
	$(if $(TORCH_BACKEND),--torch-backend $(TORCH_BACKEND))

# uv does not read pip's settings. Unless the user has a uv of their own, it gets those that pip has.
ifeq ($(UV),$(BIN)/uv)
pip_setting = $$($(BIN)/python -m pip config list | sed -n "s/^[a-z:]*\.$(1)='\(.*\)'$$/\1/p" | head -n 1 \
	| sed 's/\\n/ /g')
UV_SETTINGS = UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX-$(call pip_setting,index-url)}" \
	UV_INDEX="$${UV_INDEX-$(call pip_setting,extra-index-url)}" UV_SYSTEM_CERTS="$${UV_SYSTEM_CERTS-true}"
endif

# Python keeps what it compiles, also where this variable is set, as in some containers: a demo has a dozen
# processes, and torch, Ray and MLflow take seconds to compile.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-all lint clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s%s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/installed ## the whole workflow on generated data, to runs/demo
	$(BIN)/tsme demo --out runs/demo

# Much of a test's time is waiting for Ray to start, so several processes run them, a file at a time.
PYTEST = $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test: $(VENV)/installed-dev ## the quick tests
	$(PYTEST)

test-all: $(VENV)/installed-dev ## the quick and the slow tests
	$(PYTEST) -m "not cluster and not image"

lint: $(VENV)/installed-dev ## style, spelling and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/mypy

clean: ## remove the environment and caches; runs stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage build dist

FAILED = { echo "make: $(1)" >&2; exit 1; }
NO_PYTHON = Python 3.11 or later is needed; install it, or name one: make PYTHON=/path/to/python3.12
NO_SPACE = installing takes $$needed GB of disk, of which $$free GB are free here; TORCH_BACKEND=cpu takes 3 GB
NO_FOLDER = $(VENV) cannot be written; copy the project to a folder of your own, or name one: make VENV=/path
NO_VENV = $(PYTHON) has no venv module; install it (Debian, Ubuntu: apt install python3-venv) or uv
NO_INDEX = no installation, for the reason above; a proxy is named by HTTPS_PROXY, a package index by \
	UV_DEFAULT_INDEX or pip's index-url
NO_IMPORT = the installed packages do not work, for the reason above; try again after make clean

$(BIN)/python:
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| $(call FAILED,$(NO_PYTHON))
	@needed=3; case "$$(uname)-$(TORCH_BACKEND)" in Linux-cpu) ;; Linux-*) needed=7 ;; esac; \
		free=$$(df -Pk . | awk 'NR == 2 {print int($$4 / 1048576)}'); \
		test "$$free" -ge "$$needed" || $(call FAILED,$(NO_SPACE))
	@mkdir -p $(VENV) 2>/dev/null && test -w $(VENV) || $(call FAILED,$(NO_FOLDER))
ifeq ($(UV),$(BIN)/uv)
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(call FAILED,$(NO_VENV))
	@echo "making the virtual environment $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)
else
	@$(UV) venv --seed --allow-existing --python $(PYTHON) $(VENV) || $(call FAILED,$(NO_INDEX))
endif

$(BIN)/uv: | $(BIN)/python
	@$(BIN)/python -m pip install --constraint constraints.txt uv || $(call FAILED,$(NO_INDEX))

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python $(UV)
	@echo "installing the packages into $(VENV): about a minute and, with CUDA, 6 GB"
	@$(INSTALL) --editable . || $(call FAILED,$(NO_INDEX))
	@echo "compiling what the demo imports: about ten seconds"
	@$(BIN)/python -c 'import workflows.pipeline' || $(call FAILED,$(NO_IMPORT))
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/python $(UV)
	@echo "installing the packages and the tools for development into $(VENV)"
	@$(INSTALL) --editable '.[dev]' || $(call FAILED,$(NO_INDEX))
	@touch $@ $(VENV)/installed
