# The two commands: `make demo` and `make test`. Each sets up .venv on a fresh machine and runs.
# `make test` leaves out the slow tests, `make test-all` runs them too.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Tests share two cores well; `make test WORKERS=0` runs them in one process.
WORKERS ?= 2

.PHONY: demo demo-robin test test-all lint bench reference clean

demo: .venv/.installed-demo
	$(BIN)/python examples/demo/run.py

demo-robin: .venv/.installed-robin
	$(BIN)/sgforge run examples/robin/demo.toml

test: .venv/.installed-dev
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow" $(ARGS)

test-all: .venv/.installed-dev
	$(BIN)/python -m pytest -q -n $(WORKERS) $(ARGS)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/make_reference.py --check

# At small scale, a few minutes; without --small each runs at the scale of its bar.
BENCHMARKS := startup known_states engine masks coco formats segment relations one_graph size publish stats memory nothing_to_do metrics gateway robin rewards gas hostile flip
bench: .venv/.installed-bench
	@for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py --small || exit 1; done
	@$(BIN)/python benchmarks/kill.py --kills 10

reference: .venv/.installed-dev
	$(BIN)/python docs/make_reference.py

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "sgforge needs Python 3.11 or newer; say which with make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.installed-demo: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable ".[superpixels]"
	@touch $@

.venv/.installed-robin: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable ".[robin]"
	@touch $@

.venv/.installed-dev: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable ".[dev]"
	@touch $@ .venv/.installed-demo

.venv/.installed-bench: .venv/.installed-dev
	$(PIP) --editable ".[dev,bench]"
	@touch $@

clean:
	rm -rf .venv demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
