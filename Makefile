# Every target sets up .venv by itself: the first one fetches torch and the rest, some gigabytes.
PYTHON ?= $(or $(shell command -v python3.11),python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
INSTALL ?= $(BIN)/python -m pip install --quiet
PROCESSES ?= logical
BENCHMARK ?= all
MINUTES ?= 30
PEERS ?= .venv-peers
PEERS_PYTHON ?= $(PEERS)/bin/python
QUICK ?=
# Tests in which the versions of other libraries matter most, for `make newest` and `make warnings`.
FOREIGN ?= ppgen/diagnostics ppgen/datasets tests/diagnostics/figures/test_figures.py tests/diagnostics/figures/test_completions.py tests/diagnostics/converters/test_arviz.py \
    tests/diagnostics/converters/test_diagnostics.py tests/diagnostics/converters/test_diagnostics_mcmc.py tests/diagnostics/comparison/test_compare.py tests/contract tests/commands/test_cli.py

.PHONY: help install demo test newest warnings fuzz programs names part lint docs bench results lock clean

help:  ## what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' Makefile

install: $(STAMP)  ## the locked versions and ppgen itself, in .venv

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ppgen needs Python 3.11 or newer: make PYTHON=/path/to/python")'
	$(PYTHON) -m venv $(VENV)

# The stamp says what was installed; a changed lock or pyproject.toml installs again.
$(STAMP): requirements.lock pyproject.toml | $(BIN)/python
	$(INSTALL) --requirement requirements.lock
	$(INSTALL) --no-deps --editable .
	@touch $@

demo: $(STAMP)  ## three models of the embedded digits under eight inferences, compared and drawn
	$(BIN)/python -P -m ppgen demo

test: $(STAMP)  ## the tests and the examples in docstrings
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --maxprocesses 4 --dist worksteal

# Without the second device, which is torch's alone, and torch is of one version everywhere.
newest: $(STAMP)  ## what feels other versions of other libraries: figures, ArviZ, contracts, the command
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --maxprocesses 4 --dist worksteal -k "not sim- and not test_pyro" $(FOREIGN)

warnings: $(STAMP)  ## what other libraries say will go: deprecations that the same tests meet, which fail none
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --maxprocesses 4 --dist worksteal --quiet -r N \
	    -W always::DeprecationWarning -W always::PendingDeprecationWarning $(FOREIGN)

fuzz: $(STAMP)  ## the long corpora of random calls, programs, command lines, folders and kills, counted in a table
	PYTHONPATH=tests $(BIN)/python -m fuzz

programs: $(STAMP)  ## all programs of Pyro's users under all of its losses, and expectations of those that draw
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --maxprocesses 4 --dist worksteal -m pyro_programs tests/contract

names: $(STAMP)  ## what follows from the names of the library: public imports, bibliography, API pages
	$(BIN)/python -m scripts.names

# The tests of a registered name, and the rules that a new one can break.
part: names lint  ## a new part: its names and pages, style and types, its contract and its rules; NAME=EUBO
	@test -n "$(NAME)" || { echo "make part needs the registered name: make part NAME=EUBO"; exit 2; }
	$(BIN)/python -m pytest --quiet tests/contract tests/house/test_docs.py tests/house/test_fuzz_calls.py tests/house/test_layout.py \
	    tests/house/test_rooms.py tests/house/test_names.py \
	    -k "$(NAME) or (test_registered_names or test_docs or test_layout or test_rooms or test_names or every_public) and not readme"

lint: $(STAMP)  ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)  ## the documentation with its executed tutorials, in docs/_build
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html

# Each peer by itself, so that one that cannot be installed does not keep the others out: its rows say so.
$(PEERS)/.installed:
	$(PYTHON) -m venv $(PEERS)
	for name in numpyro scikit-learn rbms learnergy; do \
	    $(PEERS)/bin/python -m pip install --quiet $$name || echo "$$name cannot be installed"; \
	done
	@touch $@

# With PEERS_PYTHON=... an environment that is there already.
ifeq ($(PEERS_PYTHON),$(PEERS)/bin/python)
bench: $(PEERS)/.installed
endif
bench: $(STAMP)  ## speed beside the peers; make bench QUICK=1 to see that it runs
	$(BIN)/python -m benchmarks.speed --peers-python $(PEERS_PYTHON) $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.speed --scaling $(if $(QUICK),--quick)

results: $(STAMP)  ## quality, resumable: make results BENCHMARK=name MINUTES=30
	$(BIN)/python -m benchmarks.likelihoods.run $(BENCHMARK) --minutes $(MINUTES)

lock: $(STAMP)  ## pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --extra dev \
	    --no-annotate --custom-compile-command "make lock" pyproject.toml --output-file requirements.lock

clean:  ## remove the installation and everything that was built
	rm -rf $(VENV) $(PEERS) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache ./*.egg-info
	find ppgen models inference tests -name __pycache__ -prune -exec rm -rf {} +
