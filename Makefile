# make demo | test | test-slow [SLOW="tests/test_x.py ..."] | lint. Each makes .venv and installs into it when it is missing.
PYTHON ?= python3
PY := .venv/bin/python
EXTRAS := dev$(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1 && echo ,cuda12)

.PHONY: demo test test-slow lint
demo: .venv/installed
	$(PY) scripts/demo.py --output=runs/demo

test: .venv/installed
	$(PY) -m pytest -n 2 --dist=loadfile

test-slow: .venv/installed
	$(PY) -m pytest -n 2 --dist=loadfile -m slow $(SLOW)

lint: .venv/installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	touch $@
