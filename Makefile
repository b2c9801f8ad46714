# Everything works on a bare machine: each target makes the environment first, once per content of the lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-from-$(shell cat requirements.lock pyproject.toml | sha256sum | cut -c1-16)
PYTEST := $(BIN)/pytest -q

.DEFAULT_GOAL := help
.PHONY: help env demo run stop doctor test lint types bench chaos widget docs lock clean

help: ## Explain every target
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

env: $(STAMP) ## Make the environment in .venv from the lock

$(STAMP): requirements.lock pyproject.toml
	@PYTHON=$(PYTHON) sh .ci/environment $(VENV)
	@rm -f $(VENV)/.made-from-* && touch $@

demo: $(STAMP) ## Start the server beside a simulated outside world and say where to click
	@exec $(BIN)/mostik demo

run: $(STAMP) ## Start the server
	@exec $(BIN)/mostik run

stop: ## Stop whatever demo or run started
	@if [ -x $(BIN)/mostik ]; then $(BIN)/mostik stop; else echo "nothing was running"; fi

doctor: $(STAMP) ## Check everything a self-hoster can get wrong
	@$(BIN)/mostik doctor

test: $(STAMP) ## Run all tests on real PostgreSQL and Valkey
	@$(PYTEST)

lint: $(STAMP) ## Check style, form, types and generated pages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory types
	@$(BIN)/mostik docs --check

types: $(STAMP) ## Check the types
	@$(BIN)/mypy

bench: $(STAMP) ## Measure the budgets and write var/bench.json
	@$(BIN)/python -m tests.bench

chaos: $(STAMP) ## Run the chaos proofs alone
	@CHAOS_SECONDS=60 $(PYTEST) -s tests/chaos

widget: $(STAMP) ## Make and check var/widget.zip for amoCRM: SERVER= (this server's own), BRAND=, BRAND_RU=, SUPPORT= (e-mail), TERMS=
	@$(BIN)/mostik widget $(if $(SERVER),--server "$(SERVER)") $(if $(BRAND),--brand "$(BRAND)") \
		$(if $(BRAND_RU),--brand-ru "$(BRAND_RU)") --support "$(SUPPORT)" $(if $(TERMS),--terms "$(TERMS)")

docs: $(STAMP) ## Write the generated pages
	@$(BIN)/mostik docs

lock: $(STAMP) ## Make requirements.lock anew from pyproject.toml
	@$(BIN)/pip install -q uv
	@$(BIN)/uv pip compile pyproject.toml --extra embedded --extra dev --generate-hashes --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --upgrade -q -o requirements.lock

clean: stop ## Forget the environment and the caches; var/ stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
