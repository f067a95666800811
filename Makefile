PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
# One command with all constraints: torch must never be resolved without its pin.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# What an installation is made of, sknn's own Python files aside, which are used where they are.
SOURCES := pyproject.toml constraints.txt hatch_build.py $(wildcard sknn/_c/*.[ch])
# Documents are checked by `make readme`, `make doctest` and `make docs-check`; a bare `pytest` runs everything.
DOCUMENTS := tests/test_readme.py tests/test_docstrings.py tests/test_docs_site.py

.DEFAULT_GOAL := help
.PHONY: help demo test test-not-compiled readme doctest docs docs-check lint types format bench clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-18s %s\n", $$1, $$2}'

demo: .venv/.core ## train, search, save, load and predict: the main job
	$(BIN)/python examples/demo.py

# Each worker gets one thread: two workers with a pool each would fight for the same cores, and small fits
# become many times slower.
test: .venv/.test ## run the tests
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 SCIPY_ARRAY_API=1 \
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(addprefix --ignore=,$(DOCUMENTS))

# The contract, the step and the searches of perceptrons.
PERCEPTRONS := $(addprefix tests/test_,common.py parity.py mlp_contracts.py train.py model_selection.py together.py ensemble.py)

test-not-compiled: .venv/.test ## run the tests of perceptrons as where there is no C compiler
	NOT_COMPILED=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 SCIPY_ARRAY_API=1 \
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PERCEPTRONS)

readme: .venv/.test ## execute the code blocks of README and docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/test_readme.py

doctest: .venv/.test ## run the docstrings' examples and check what they document
	$(BIN)/python -m pytest tests/test_docstrings.py

# Examples and figures are small fits, side by side: see `test`.
docs: .venv/.docs ## build the documentation site in docs/_build/html
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 \
	$(BIN)/python -m sphinx -j $(WORKERS) --fresh-env --fail-on-warning --keep-going --quiet docs docs/_build/html

docs-check: .venv/.docs ## check the built site's links, and open its pages in Chromium
	$(BIN)/python -m pytest tests/test_docs_site.py

lint: .venv/.dev ## check style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/.dev ## check the types
	$(BIN)/mypy sknn

format: .venv/.dev ## repair style and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/.bench ## measure, side by side, what docs/performance.md tells (an hour or more)
	for script in checks mlp model_selection bound crossing ensembles predict memory growth jobs live_plot lenet convolutions; do $(BIN)/python benchmarks/$$script.py || exit; done

clean: ## remove .venv, caches and builds
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build dist
	rm -rf docs/_build docs/auto_examples docs/generated docs/sg_execution_times.rst
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv .venv

# Levels, each holding the one before, so each marks the lower ones as done too.
.venv/.core: $(SOURCES) | $(BIN)/python
	$(INSTALL) -e .
	touch $@

.venv/.test: $(SOURCES) | $(BIN)/python
	$(INSTALL) -e '.[test]'
	touch .venv/.core $@

.venv/.dev: $(SOURCES) | $(BIN)/python
	$(INSTALL) -e '.[dev]'
	touch .venv/.core .venv/.test $@

.venv/.docs: .venv/.test
	$(INSTALL) -e '.[docs]'
	touch $@

.venv/.bench: .venv/.dev
	$(INSTALL) -e '.[bench]'
	touch $@
