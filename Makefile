PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check benchmark clean

demo: .venv/.installed
	$(BIN)/sightline explain

test: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: .venv/.dev
	$(BIN)/python benchmarks/speed.py --write docs/benchmarks.md

clean:
	rm -rf .venv

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/.dev: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@ .venv/.installed
