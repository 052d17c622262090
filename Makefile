# Targets: make help. Needs Python 3.11 or newer, make and pip; everything else goes into .venv.

PYTHON ?= python3
export PHOTO ?=
SUITES ?= photos inpaint-photos cbsd68-shake set14-levin denoise-cbsd68 jpeg-cbsd68
DEVICES ?= 2

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UI := $(VENV)/ui
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-ui results leaderboard docs lint clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

install: $(INSTALLED) ## set up .venv with the core and every bundled plugin

# spandrel is an extra of its plugin, whose tests need it. One pip command, so that torch and torchvision are resolved together: their builds belong to each other.
$(INSTALLED): pyproject.toml $(wildcard plugins/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("restorekit needs Python 3.11 or newer, $(PYTHON) is %d.%d. Name another: make $(MAKECMDGOALS) PYTHON=python3.12" % sys.version_info[:2])'
	@echo 'Setting up $(VENV), once; the packages are large (PyTorch) and take a few minutes.'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) 2>/dev/null || \
	  { $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install pip; }
	$(BIN)/python -m pip install --disable-pip-version-check torch torchvision -e '.[dev]' $(addprefix -e ,$(PLUGINS:plugins/spandrel=plugins/spandrel[spandrel]))
	@touch $@

demo: $(INSTALLED) ## restore a blurred photograph, or your own: make demo PHOTO=my.jpg
	@$(BIN)/python -m restorekit.demo $(if $(PHOTO),--photo "$$PHOTO")

test: $(INSTALLED) ## run the tests
	$(BIN)/python -m pytest

test-slow: $(INSTALLED) ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow

test-ui: $(UI)/.installed ## run the tests of the page of restorekit ui, in an environment of its own: Gradio wants an older Pillow
	$(UI)/bin/python -m pytest tests/unit/ui

$(UI)/.installed: $(INSTALLED)
	$(BIN)/python -m venv --without-pip $(UI)
	echo 'import site; site.addsitedir("$(abspath $(VENV))/'$$(cd $(VENV) && echo lib/python*/site-packages)'")' > $$(echo $(UI)/lib/python*/site-packages)/shared.pth
	$(BIN)/python -m pip --python $(UI)/bin/python install --disable-pip-version-check -e '.[ui]'
	@touch $@

results: $(INSTALLED) ## measure all methods on the suites that run here, and take the results in: make results SUITES=photos
	@for suite in $(SUITES); do \
	  OMP_NUM_THREADS=1 $(BIN)/restorekit bench run core/$$suite --method benchmarks/methods/*.yaml --devices $(DEVICES) --device cpu \
	    --out runs/bench/$$suite || exit; \
	done
	$(BIN)/python benchmarks/leaderboard.py $(addprefix runs/bench/,$(SUITES))

leaderboard: $(INSTALLED) ## make the pages and the README's table from the committed results
	$(BIN)/python benchmarks/leaderboard.py

docs: $(VENV)/.docs ## build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --config-file docs/mkdocs.yml

$(VENV)/.docs: $(INSTALLED)
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[docs]'
	@touch $@

lint: $(INSTALLED) ## check style, types and import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## remove caches, builds and the demo's results; .venv and runs stay
	rm -rf build dist demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
