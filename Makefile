# Two commands: `make demo` and `make check`. Each makes its own virtual environment first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= out/demo

.PHONY: help setup demo check lint types contract test bench clean
help:                     ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.done javascript/node_modules/.done   ## the virtual environment, with pinned packages
$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -U 'pip>=25.1'   # --group needs it
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[decoders,dp,imagenet,ocr,pdf,postgres,prompt,slides,video,web]' --group dev
	@touch $@

# third-party scripts come by the lock file into an ignored folder; without npm what needs them is skipped and says so
javascript/node_modules/.done: javascript/package.json javascript/package-lock.json javascript/vendor.mjs
	@mkdir -p javascript/node_modules
	@if command -v npm > /dev/null; then cd javascript && npm ci --silent --omit=optional && node vendor.mjs; \
	  else echo "npm is not installed: no axe-core, no view in three dimensions"; fi
	@touch $@

demo: setup               ## the main job on the embedded phantom cohort; prints where the dossier is
	$(BIN)/chambit demo --out $(OUT)

check: lint types contract test   ## everything that must hold before a commit

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
types: setup
	$(BIN)/mypy
contract: setup
	$(BIN)/lint-imports
test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal

bench: setup              ## the demo's stage times and peak memory
	$(BIN)/python benchmarks/demo.py

clean:                    ## remove what was made (not the environment)
	rm -rf out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
