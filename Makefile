# Every target works on a machine that has only python3 (>= 3.10, with venv) and make.

PYTHON ?= python3
BIN := .venv/bin
PACKAGES := qwen_embed langchain_qwen_embed llamaindex_qwen_embed

.PHONY: demo test lint bench format clean

demo: .venv/demo
	$(BIN)/python examples/quickstart.py

test: .venv/test lint
	$(BIN)/python -m pytest

lint: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/bench
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/throughput.py

format: .venv/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv demo_output

# What each target needs is installed once, and again when pyproject.toml changes.
.venv/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	touch $@

.venv/demo: .venv/uv pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[langchain,llamaindex]' --group examples
	touch $@

.venv/test: .venv/uv pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[all]' --group test --group lint
	touch $@

.venv/bench: .venv/uv pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[all]' --group bench
	touch $@
