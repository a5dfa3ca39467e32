# Every target works on a machine that has only python3 (>= 3.10, with venv) and make.

PYTHON ?= python3
BIN := .venv/bin
STORES := langchain-stores llamaindex-stores

# Many tests start Python processes. Without bytecode each would compile its imports, for seconds.
unexport PYTHONDONTWRITEBYTECODE

# Temporary files are in memory if there is room, because stores sync each record to disk. Each process
# computes in one thread, because there is a process for each core.
TEMPORARY := $(or $(TMPDIR),$(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 1048576 {print "/dev/shm"}'))
TESTING := TMPDIR="$(TEMPORARY)" OMP_NUM_THREADS=1
# Tests wait as well as compute, so three processes keep two cores busy.
WORKERS ?= 3

.PHONY: demo examples test fuzz $(STORES:%=test-%) test-mteb test-upstream lint audit bench conformance format clean

demo: .venv/demo
	$(BIN)/python examples/quickstart.py

# The pictures of docs/examples.md, always made with the emulator, even if a key is set.
PICTURED := semantic_search clustering zero_shot_classification anomaly_detection \
    choose_dimension query_or_document dense_sparse_hybrid

examples: .venv/examples
	for example in $(PICTURED); do \
	    env -u DASHSCOPE_API_KEY $(BIN)/python examples/$$example.py examples/pictures || exit 1; \
	done
	$(BIN)/python pictures/pipeline.py

# Two jobs at a time, with the output of each kept together if make supports it (4.0).
test: .venv/test
	$(MAKE) --no-print-directory --jobs 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) lint $(STORES:%=test-%)
	$(TESTING) $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

TESTS_OF_langchain-stores := tests/stores/test_langchain_milvus.py tests/stores/test_chroma.py \
	tests/stores/test_langchain_chroma.py
TESTS_OF_llamaindex-stores := tests/stores/test_llamaindex_milvus.py tests/examples/test_chat_models.py

# Random programs for SECONDS, with a new seed each round. A failure prints its seed, and SEED=...
# runs that round again.
SECONDS ?= 600
SEED ?=
fuzz: .venv/test
	$(BIN)/python tests/fuzz $(if $(SEED),--seed $(SEED),--seconds $(SECONDS))

# The two Milvus stores need different releases of pymilvus, so each has its own environment.
$(STORES:%=test-%): test-%: .venv-%/test
	$(TESTING) .venv-$*/bin/python -m pytest $(TESTS_OF_$*)

# Not part of test: mteb needs PyTorch, so its environment takes 2 GB or more (see below).
test-mteb: .venv-mteb/test
	.venv-mteb/bin/python -m pytest tests/examples/test_evaluate_mteb.py

# Checks that other packages still behave as the examples and the documentation say.
test-upstream: .venv/test
	$(BIN)/python -m pytest -m upstream

lint: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Checks every installed package against the advisories of the package index. Not part of lint, because
# its result changes from day to day without a change here, and because a mirror may lack the
# advisories; --strict then fails instead of reporting no findings.
audit: .venv/test
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group audit
	$(BIN)/uv pip freeze --quiet --python $(BIN)/python --exclude-editable > .venv/installed.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement .venv/installed.txt --vulnerability-service pypi

bench: .venv/bench
	$(BIN)/python benchmarks/import_time.py --runs 11
	$(BIN)/python benchmarks/pairing_memory.py
	$(BIN)/python benchmarks/stream_memory.py
	$(BIN)/python benchmarks/cache.py
	$(BIN)/python benchmarks/unseen_quotas.py
	$(BIN)/python benchmarks/run.py --write benchmarks

# Costs tokens. Asks for confirmation unless YES=1. BURST=1 also provokes a 429.
conformance: .venv/conformance
	$(BIN)/python -m conformance

format: .venv/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-* demo_output

# The dependencies of a target are installed once, and again when pyproject.toml changes.
.venv/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	touch $@

.venv/demo: .venv/uv pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[langchain,llamaindex]' --group demo
	touch $@

.venv/examples: .venv/uv pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[all]' --group examples
	touch $@

.venv/test: .venv/uv pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[all]' --group test --group lint
	touch $@

$(STORES:%=.venv-%/test): .venv-%/test: .venv/uv pyproject.toml
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --editable '.[langchain,llamaindex]' --group $*
	touch $@

# Uses pip, which reads its own configuration: PIP_EXTRA_INDEX_URL can name PyTorch's index of builds
# for CPUs. With PyPI alone, Linux on x86-64 gets the build for GPUs, with several GB of CUDA.
.venv-mteb/test: pyproject.toml
	$(PYTHON) -m venv .venv-mteb
	.venv-mteb/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	.venv-mteb/bin/python -m pip install --quiet --editable '.[langchain,llamaindex,local]' --group mteb
	touch $@

.venv/conformance: .venv/uv pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable .
	touch $@

.venv/bench: .venv/uv pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[all]' --group bench
	touch $@
