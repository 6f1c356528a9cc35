# Two commands on a fresh machine: `make demo` makes a talking video, `make test` runs the tests.
# Each makes .venv and installs what it needs first.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test format clean

demo: .venv/installed
	$(BIN)/python -m moditalker_jax.demo --out demo

test: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -m "not real_media" --numprocesses auto --dist loadfile \
		--no-loadscope-reorder

format: .venv/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip

.venv/installed: .venv/bin/python setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/installed-test: .venv/bin/python setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --editable ".[test]"
	touch $@ .venv/installed

clean:
	rm -rf .venv demo build *.egg-info
