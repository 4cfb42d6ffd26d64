# Every target does its own set-up: it needs Python 3.11 or later, git and make, and nothing else.
#
#   PYTHON  the interpreter that the environment is made with (default: python3)
#   VENV    the folder of the environment (default: .venv); one folder for each interpreter
#   TESTS   which tests to run (default: all)

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test check bench bench-long generate clean

help: ## Print this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1	\2/p' Makefile | expand -t 16

demo: $(READY) ## Run the services and their clients, and show calls on the wire
	@$(RUN) -m pygrpc.services.demo

test: $(READY) ## Run all tests
	$(RUN) -m pytest -q $(TESTS)

check: $(READY) ## Check format, lint, types, and that generated code is up to date
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m pygrpc.codegen --check

bench: $(READY) ## Measure against grpcio, grpc.aio and grpclib, in about two minutes
	@$(RUN) -m benchmarks

bench-long: $(READY) ## Measure everything, and write it to docs/benchmarks.md, with plots
	@$(RUN) -m benchmarks --long --publish docs

generate: $(READY) ## Regenerate the modules that come from protos/
	$(RUN) -m pygrpc.codegen

clean: ## Remove the environments, build results and caches
	rm -rf .venv .venv-* $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an installation that was cut short is done again. No pip upgrade, and warnings of pip do
# not count: only its exit status does.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "pygrpc needs Python 3.11 or later, and $(PYTHON) is not that: run make PYTHON=python3.11, or a later one." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	    echo "$(PYTHON) could not make the environment $(VENV); on Debian and Ubuntu, install the package python3-venv." >&2; exit 1; }
	@echo "Installing pygrpc and its tools into $(VENV) (once) ..."
	@$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
