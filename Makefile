# `make demo` and `make test` do all their set-up themselves: Python 3.10+ and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

MS_VENV := .venv-mindspore

.PHONY: help demo test test-fast test-mindspore lint format clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.demo  ## train a small Jasper on synthetic speech, score it, write demo/report.html
	$(BIN)/jasper demo

test: $(VENV)/.test lint  ## everything that CI checks
	$(BIN)/python -m pytest

test-fast: $(VENV)/.test  ## the tests that take seconds
	$(BIN)/python -m pytest -m "not slow"

test-mindspore: $(MS_VENV)/.test  ## the tests of MindSpore, which needs NumPy 1 and so an environment of its own
	$(MS_VENV)/bin/python -m pytest tests/mindspore

lint: $(VENV)/.test  ## style and types
	$(BIN)/ruff check jasper tests benchmarks
	$(BIN)/ruff format --check jasper tests benchmarks
	$(BIN)/mypy

format: $(VENV)/.test  ## let ruff format the code
	$(BIN)/ruff check --fix jasper tests benchmarks
	$(BIN)/ruff format jasper tests benchmarks

clean:  ## remove the environment and what the demo made
	rm -rf $(VENV) $(MS_VENV) demo

$(VENV)/.venv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "jasper needs Python 3.10 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade 'pip>=25.1' setuptools
	$(INSTALL) torch
	touch $@

$(VENV)/.demo: $(VENV)/.venv pyproject.toml constraints.txt
	$(INSTALL) -e '.[demo]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(INSTALL) --group test
	touch $@

# PyTorch stands beside MindSpore there: what the one computes is compared with the other.
$(MS_VENV)/.test: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(MS_VENV)
	grep -v '^numpy' constraints.txt > $(MS_VENV)/constraints.txt
	$(MS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c $(MS_VENV)/constraints.txt \
		-e '.[mindspore,train]' hypothesis pytest pytest-timeout
	touch $@
