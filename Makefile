# `make` lists the targets. Each installs what it needs into .venv first.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --require-hashes --only-binary :all: --no-deps --requirement

.PHONY: docs help serve test coverage check fix oracle fuzz clients soak bench bench-gpu golden graphs image lock sbom audit wheel clean

help: ## List the targets
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "%-10s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: .venv/serve ## Serve on 127.0.0.1:8000
	$(BIN)/python -m service serve

test: .venv/test ## Run every test that needs no PyTorch, four at a time: most of their time is waiting
	$(BIN)/python -m pytest -m "not oracle" --numprocesses 4

# Without the tests that watch which files a process opens. Whether tests pass is for `make test` to say: here they take
# twice the time.
coverage: .venv/test ## The same, measuring which lines and branches are run
	$(BIN)/coverage erase
	-$(BIN)/coverage run -m pytest -m "not oracle" --numprocesses 4 --quiet --ignore tests/service/test_confined.py
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: .venv/test ## Lint, formatting, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fix: .venv/test ## Mend what the linter can mend, and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

oracle: .venv/torch ## Compare 30,000 random requests with live PyTorch
	$(BIN)/python -m pytest -m oracle -s

fuzz: .venv/test ## Send 20,000 mutated bodies and 20,000 broken requests; watch answers, time and memory
	$(BIN)/python -m tests.fuzz 20000
	$(BIN)/python -m tests.fuzz.wire 20000

clients: .venv/serve ## Drive the service with clients that were not written for it
	clients/run

soak: .venv/soak ## The long rows, whole, for hours: what they print is kept in bench/soak.md
	$(BIN)/python -m tests.soak $(ROWS)

bench: .venv/torch ## Measure speed and memory beside a bare app and PyTorch (QUICK=1, AGAINST=DIR)
	$(BIN)/python -m bench

bench-gpu: .venv/torch ## Measure cross-entropy on a card (needs onnxruntime-gpu and a torch of CUDA in .venv)
	$(BIN)/python -m bench.gpu

golden: .venv/torch ## Write PyTorch's answers to random requests, and states of reports, for tests to compare with
	$(BIN)/python -m tests.oracle.make_golden
	$(BIN)/python -m tests.core.reports.make_golden

docs: .venv/test ## Write docs/metrics.md from the declarations of the metrics
	$(BIN)/python scripts/metrics_page.py

graphs: .venv/test ## Export every measure to core/graphs
	$(BIN)/python -m core.export

image: ## Build the CPU image (docker build --target cuda for the other)
	docker build --target cpu --tag lossmeter:cpu .

lock: ## Pin the requirements anew (needs uv)
	scripts/lock

sbom: ## Write what the images hold, as CycloneDX, beside each lock
	$(PYTHON) scripts/sbom.py

audit: .venv-audit/done ## Look the locked packages up among known vulnerabilities
	@.venv/bin/python scripts/audit.py .venv-audit/bin/pip-audit

wheel: .venv/test ## Build the wheel into dist: the same bytes for the same commit
	scripts/wheel $(BIN)/python

clean: ## Remove .venv and caches
	rm -rf .venv-audit .venv-soak dist clients/.venv-* clients/typescript/node_modules clients/typescript/build clients/typescript/schema.d.ts .venv build *.egg-info .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v < (3, 14) and "Python 3.11 to 3.13 is needed, but %s is %d.%d: make PYTHON=..." % (sys.executable, v[0], v[1]))'
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/serve: requirements/serve.txt .venv/bin/python
	$(INSTALL) $<
	@touch $@

.venv/test: requirements/test.txt pyproject.toml .venv/bin/python
	$(INSTALL) $<
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv-audit/done: .venv/bin/python
	rm -rf .venv-audit && $(BIN)/python -m venv .venv-audit
	.venv-audit/bin/python -m pip --disable-pip-version-check --quiet install pip-audit==2.10.1 && touch $@ || echo "pip-audit cannot be had here"

.venv/torch: .venv/test
	$(PIP) install torch==2.13.0 torchmetrics==1.9.0
	@touch $@

# schemathesis beside the tests' own packages, of which it has other versions.
.venv/soak: .venv/torch
	$(PIP) install atheris==3.0.0
	rm -rf .venv-soak && $(PYTHON) -m venv .venv-soak
	.venv-soak/bin/python -m pip --disable-pip-version-check --quiet install schemathesis==4.32.5
	@touch $@
