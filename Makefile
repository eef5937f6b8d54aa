# `make demo` and `make test` work from a fresh clone: each sets up .venv first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A file stays in one process: its tests share fixtures that take seconds.
SPREAD := -n 2 --dist loadfile --no-loadscope-reorder
REPORT := -q --durations=10

.PHONY: setup sandbox demo test test-all lint release benchmark stability gpu clean

setup: $(VENV)/ready sandbox

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12 setup")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# Student code runs inside bubblewrap. As root on Debian or Ubuntu it is installed here; elsewhere this says how.
sandbox:
	@command -v bwrap >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -y -qq bubblewrap; } \
		|| { echo "bubblewrap is missing: sudo apt-get install bubblewrap (or dnf, pacman, zypper)" >&2; exit 1; }

demo: setup
	$(BIN)/python -m grader.tools.demo build/demo

# Every change is held to these: units, every judge on every mistake, a few whole gradings in the sandbox.
test: setup
	$(BIN)/python -m pytest $(SPREAD) $(REPORT)

# And the rest: sandboxes, browser, PostgreSQL, Dask, kills, every whole grading.
test-all: setup
	$(BIN)/python -m pytest $(SPREAD) $(REPORT) -m "not alone and not gpu and not network"
	$(BIN)/python -m pytest $(REPORT) -m "alone and not gpu and not network"

lint: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# The student halves at the top level are generated; this writes them anew after a change of solutions/.
release: setup
	$(BIN)/python -m grader release --halves .

benchmark: setup
	$(BIN)/python -m grader.tools.benchmark

# The same submissions under 100 seeds must get the same points.
stability: setup
	$(BIN)/python -m grader.tools.stability --seeds 100

# What only a graphics card shows, into gpu.json and gpu.md, by the system's own Python: `make gpu PARTS="speed fid"
# DATA=folder/of/images`. grader/tools/gpu says more.
gpu:
	@$(PYTHON) -m grader.tools.gpu $(PARTS) $(if $(DATA),--data "$(DATA)")

clean:
	rm -rf build $(VENV)
