# make install | demo | lint | test | test-slow | clients [TESTS="tests/test_x.py ..."]. Each makes .venv (or VENV=...) and installs into it
# when it is missing; with CONSTRAINTS=FILE the versions that the file has.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?=
PY := $(VENV)/bin/python
EXTRAS := dev,export$(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1 && echo ,cuda12)

.PHONY: install demo test test-slow lint clients
install: $(VENV)/installed

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

# Our files in the programs of others: npm's gltf-validator, Blender as a module of Python 3.13, and Debian's
# chromium and chromium-driver, which must be there.
CLIENTS := .venv-clients
PYTHON313 ?= python3.13
clients: $(CLIENTS)/installed
	$(CLIENTS)/bin/python -m pytest -rs -m slow $(or $(TESTS),tests/clients)

$(CLIENTS)/installed: pyproject.toml
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev,app,clients]'
	npm install --prefix=$(CLIENTS) --silent --no-audit --no-fund gltf-validator@2.0.0-dev.3.10
	$(PYTHON313) -m venv $(CLIENTS)/bpy
	$(CLIENTS)/bpy/bin/python -m pip install --quiet --disable-pip-version-check 'bpy==5.2.*'
	touch $@

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS:%=-c %) -e '.[$(EXTRAS)]'
	touch $@
