# make quickstart   environment, data, a small training; then which loss helps its rare classes?
# make test         environment and all tests
# make soak         a training killed 20 times, compared with one left alone (10 minutes, CamVid)
# make gpu-report   kernels, losses and training steps on this machine's GPU (9 minutes)
# make results      tables, numbers and figures of README and docs from docs/results/*.json
# make lint         ruff, and that imports run one way
# make docs         the site, in site/index.html
# make clean        remove the environment and what quickstart and the tests wrote (not data/)
#
# Each step leaves a stamp and is done again only when what it depends on has changed.
# Another Python: make PYTHON=python3.12 quickstart. A CPU or CUDA build of PyTorch: docs/install.md.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# How many tests run side by side; each uses one thread.
JOBS ?= 2

.PHONY: help install quickstart test soak gpu-report results lint docs clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

install: $(VENV)/.installed

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "error: Python 3.10 or later is needed and '$(PYTHON)' is not one:" \
	       "name yours, as in  make PYTHON=python3.12 quickstart" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip
	@touch $@

$(VENV)/.installed: pyproject.toml requirements/tested.txt $(VENV)/.created
	$(PIP) install -c requirements/tested.txt -e '.[lite]'
	PIP='$(PIP)' PYTHON=$(BIN)/python tools/check_opencv.sh
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install -c requirements/tested.txt -e '.[lite,test]'
	@touch $@

quickstart: $(VENV)/.installed
	$(BIN)/python -m tools.quickstart

test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

soak: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.soak

gpu-report: $(VENV)/.installed-test
	PYTHON=$(abspath $(BIN))/python bash tools/gpu_report.sh --markdown docs/benchmarks.md

results: $(VENV)/.installed
	$(BIN)/python -m tools.make_results

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) install -c requirements/tested.txt -e '.[lite,docs]'
	@touch $@

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 OMP_NUM_THREADS=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site work_dirs/notebook work_dirs/quickstart .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
