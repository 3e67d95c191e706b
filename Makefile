# `make demo` and `make test` need nothing but Python 3.11-3.13: each makes .venv by itself, and a second run reuses it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: demo test lint types check clean

demo: $(INSTALLED) ## the whole idea on generated videos: runs/demo/report.html
	$(BIN)/sparsedense demo --out runs/demo --overwrite

test: $(INSTALLED) ## all tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

check: lint types test ## what CI runs

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else "sparsedense needs Python 3.11, 3.12 or 3.13, this is %d.%d; call make PYTHON=/path/to/python3.12" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(INSTALLED)
