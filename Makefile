# make demo         a cluster, the quickstart experiment, its report; leaves nothing running
# make test         the test suite (about 24 minutes on 2 cores)
# make lint         ruff, mypy --strict, import contracts
# make bench        the numbers, as a table with ratios
# make compare      docs/comparison.md: platforms and ways to ship, side by side (hours; goes on where it was broken off)
# make meter        whether comparisons tell the truth: the same against itself, a planted slowdown (an hour; goes on too)
# make test-long    what is too slow for `make test`
# make monitor-check  dashboards and alerts, asked of a real Prometheus while an experiment runs (in `make test` too)
# make conformance  Kubernetes' own cases on both engines (about an hour), and docs/conformance.md
# make wheel        the package, in dist
# make lock         the requirements locks, from pyproject.toml (UPGRADE=--upgrade for newer versions)
# make dashboards   Grafana dashboards, from their Python source
# make clean        removes what make made in this folder
#
# Every target brings what it needs: a virtual environment in .venv with the locked requirements, an engine, images.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
OUT    := build

.PHONY: demo test monitor-check lint bench compare meter conformance test-long wheel lock dashboards clean tools help
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile | head -13

demo: $(READY)
	$(BIN)/testbed setup
	$(BIN)/testbed run quickstart --runs 1 --out $(OUT)/demo
	@echo "nothing of ours runs any more; the container engine and the images stay (docs/install.md says how to remove them)"

PYTEST = PATH="$(CURDIR)/$(BIN):$(CURDIR)/.tools/bin:$$PATH" $(BIN)/python -m pytest

# What fails is tried once more, alone: failing again is red. What passes then is named a second time by pytest and is
# still a bug, of the test or of the product: a starved machine is no excuse, but no reason to stop everybody either.
test: $(READY) tools
	$(BIN)/testbed setup
	@$(PYTEST) -n 2 -p tests.setup.engine_last -m "not long" && exit 0; code=$$?; [ $$code = 1 ] || exit $$code; \
	    echo "--- flaky or broken? what has just failed is tried once more, alone ---"; \
	    $(PYTEST) -v -m "not long" --last-failed --last-failed-no-failures none

test-long: $(READY) tools
	$(BIN)/testbed setup
	$(PYTEST) -n 2 -m long

monitor-check: $(READY) tools
	$(BIN)/testbed setup
	$(PYTEST) tests/e2e/test_monitor_check.py

# All cases on both engines, afresh; the table in docs/conformance.md is written from what they did.
conformance: $(READY)
	$(BIN)/testbed setup
	rm -rf $(OUT)/conformance
	-$(PYTEST) -n 2 tests/conformance/test_conformance_cases.py tests/conformance/test_conformance_cases_docker.py
	PYTHONPATH=tests:tests/conformance $(BIN)/python tests/conformance/document.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/testbed setup
	$(BIN)/python -m benchmarks

compare: $(READY)
	$(BIN)/testbed setup
	$(BIN)/python -m benchmarks.comparison

meter: $(READY)
	$(BIN)/testbed setup
	$(BIN)/python -m benchmarks.meter

wheel: $(READY)
	$(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python --wheel --out-dir dist

# --- the environment

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..." >&2; exit 4; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        echo "installing python3-venv with apt-get"; \
	        said=$$({ apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -qy -o DPkg::Lock::Timeout=300 --no-install-recommends install python3-venv; } 2>&1) \
	            || { echo "$$said" >&2; exit 4; }; \
	    else echo "python3-venv is missing: sudo apt-get install python3-venv" >&2; exit 4; fi; }
	@echo "making $(VENV): Python packages, about a minute"
	@$(PYTHON) -m venv $(VENV)

# An environment whose making was interrupted has no pip: it is made anew.
$(BIN)/uv: requirements-bootstrap.txt | $(BIN)/python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.txt
	@touch $@

$(READY): requirements-dev.txt pyproject.toml $(BIN)/uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements-dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q testbed faults probes  # a cluster is a dozen Python processes: each start counts
	@touch $@

# Prometheus, Alertmanager, Chromium, a recent kubectl: tests that need one are skipped where it cannot be had.
tools: $(READY)
	@$(BIN)/python tests/setup/get_tools.py .tools

LOCK = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links $(UPGRADE) \
       --python-version 3.11 --custom-compile-command "make lock"

lock: $(BIN)/uv
	$(LOCK) pyproject.toml -o requirements.txt
	$(LOCK) --group dev --group dashboards pyproject.toml -o requirements-dev.txt
	$(LOCK) requirements-bootstrap.in -o requirements-bootstrap.txt

dashboards: $(READY)
	$(BIN)/python dashboards/generate.py

clean:
	rm -rf $(VENV) .tools $(OUT) dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
