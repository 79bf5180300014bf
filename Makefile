# make demo | make test | make test-browser | make lab | make clean: each sets up what it needs.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Bytecode is kept in one place also where PYTHONDONTWRITEBYTECODE is set: without it every process compiles torch's
# and Lightning's sources again (15 s instead of 6 s to import Lightning).
export PYTHONPYCACHEPREFIX := $(CURDIR)/.pycache
unexport PYTHONDONTWRITEBYTECODE
# Torch's threads do not spin while they wait (see olmoearth_nb/compat.py).
export OMP_WAIT_POLICY := PASSIVE
# uv looks for local wheels (a CPU build of torch, say) where pip does.
export UV_FIND_LINKS := $(PIP_FIND_LINKS)

.PHONY: setup demo lab lint test test-fast test-slow test-browser notebooks render bench clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[notebook,olmoearth,dev]'
	touch $@

demo: setup
	$(BIN)/olmoearth-nb demo olmoearth_run_data/sample --scratch-path demo

lab: setup
	$(BIN)/jupyter lab --notebook-dir notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

PYTEST := $(BIN)/pytest -n auto --dist loadscope --no-loadscope-reorder -m "not slow and not browser"
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=300

# Nbval runs the notebooks; after a change of what they show, make render stores them anew. All in one go, the longest
# first, so that no core is idle at the end. One thread each: there is a process for every core.
test test-fast notebooks: export OMP_NUM_THREADS := 1

test: lint
	$(PYTEST) $(NBVAL) tests notebooks

test-fast: setup
	$(PYTEST) -p no:nbval

notebooks: setup
	$(PYTEST) $(NBVAL) notebooks

render: setup
	$(BIN)/python tools/render_notebooks.py

test-slow: setup
	$(BIN)/pytest -m slow

# What is on the screen: JupyterLab in Debian's Chromium (apt-get install chromium), screenshots into screenshots/.
test-browser: setup
	$(BIN)/pytest -m browser tests/browser

# Each measures its limit too. make bench NAMES="partition combining" runs some; AGAINST=PYTHON compares with olmoearth-runner 0.1.14,
# where PYTHON is the interpreter of an environment that has it.
bench: setup
	$(BIN)/python -m benchmarks $(NAMES) $(if $(AGAINST),--against $(AGAINST)) --json bench.json

clean:
	rm -rf $(VENV) .pycache .mypy_cache .ruff_cache .hypothesis .import_linter_cache demo build dist screenshots bench.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
