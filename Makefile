# Everything a person runs. `make demo PORT=8000 GATEWAYS=3 ENGINE=scripted`
export PORT GATEWAYS ENGINE ENGINE_API_KEY
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo check test test-compose chaos fmt openapi

setup:          ## install what the demo and the tests need
	@$(PYTHON) -m dev.setup test

demo:           ## the whole stack as local processes, http://localhost:7777
	@$(PYTHON) -m dev.setup demo && exec $(BIN)/python -m dev

check:          ## the one definition of green: format, lint, types, layers, tests
	$(BIN)/ruff format --check . && $(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -r auth-service/src
	$(BIN)/codespell && $(BIN)/hadolint */Dockerfile
	cd frontend && npm run --silent format:check && npm run --silent check && npm run --silent test
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n 4 --dist loadfile --durations 15 --cov --cov-report= -m "not compose"
	@$(BIN)/coverage report --skip-covered --sort=cover | head -n 12
	$(BIN)/python -m tests.architecture.shape

test: setup check  ## install what is missing, then everything that needs no Docker

test-compose:   ## the stack in containers; needs a Docker engine
	@$(PYTHON) -m dev.setup compose
	$(BIN)/pytest -m compose tests/compose

chaos:          ## break everything at random tokens, print what was lost; CHAOS="--engine vllm --rounds 10", or --help
	@$(PYTHON) -m dev.setup test && $(BIN)/python -m tests.chaos $(CHAOS)

fmt:            ## write everything in the one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cd frontend && npm run --silent format

openapi:        ## write the OpenAPI documents in docs/ anew
	$(BIN)/python -m tests.docs.openapi
