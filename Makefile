# make demo | lint | test | test-slow [TESTS="tests/test_x.py ..."]. Each makes .venv (or VENV=...) and installs into it
# when it is missing; with CONSTRAINTS=FILE the versions that the file has.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?=
PY := $(VENV)/bin/python
EXTRAS := dev$(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1 && echo ,cuda12)

.PHONY: demo test test-slow lint
demo: $(VENV)/installed
	$(PY) scripts/demo.py --output=runs/demo

test: $(VENV)/installed
	$(PY) -m pytest -n 2 --dist=loadfile $(TESTS)

test-slow: $(VENV)/installed
	$(PY) -m pytest -n 2 --dist=loadfile -m "slow or hypothesis" --hypothesis-profile=slow $(TESTS)

lint: $(VENV)/installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS:%=-c %) -e '.[$(EXTRAS)]'
	touch $@
