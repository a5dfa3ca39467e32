# Every target works on a machine that has only python3 (>= 3.10, with venv) and make.

PYTHON ?= python3
BIN := .venv/bin
STORES := langchain-stores llamaindex-stores

# Many tests start Python: without bytecode each start would compile all that it imports, for seconds.
unexport PYTHONDONTWRITEBYTECODE

# Temporary files are in memory, where a system has room there: stores write each record to the disk
# and wait for it. And one thread computes in a process, since there is a process for each core.
TEMPORARY := $(or $(TMPDIR),$(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 1048576 {print "/dev/shm"}'))
TESTING := TMPDIR="$(TEMPORARY)" OMP_NUM_THREADS=1
# Tests wait as well as compute: three processes keep two cores busy.
WORKERS ?= 3

.PHONY: demo examples test fuzz $(STORES:%=test-%) test-mteb test-upstream lint audit bench conformance format clean

demo: .venv/demo
	$(BIN)/python examples/quickstart.py

# The pictures of docs/examples.md, which the emulator makes whether there is a key or not.
PICTURED := semantic_search clustering zero_shot_classification anomaly_detection \
    choose_dimension query_or_document dense_sparse_hybrid

examples: .venv/examples
	for example in $(PICTURED); do \
	    env -u DASHSCOPE_API_KEY $(BIN)/python examples/$$example.py examples/pictures || exit 1; \
	done
	$(BIN)/python pictures/pipeline.py

# Two at a time; what each of them says is kept together where make can (4.0).
test: .venv/test
	$(MAKE) --no-print-directory --jobs 2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) lint $(STORES:%=test-%)
	$(TESTING) $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

TESTS_OF_langchain-stores := tests/stores/test_langchain_milvus.py tests/stores/test_chroma.py \
	tests/stores/test_langchain_chroma.py
TESTS_OF_llamaindex-stores := tests/stores/test_llamaindex_milvus.py tests/examples/test_chat_models.py

# Random programs, with a fresh seed each round for so many seconds. What fails names its seed, and
# SEED=... repeats that round.
SECONDS ?= 600
SEED ?=
fuzz: .venv/test
	$(BIN)/python tests/fuzz $(if $(SEED),--seed $(SEED),--seconds $(SECONDS))

# The two Milvus stores need different releases of pymilvus: each has an environment of its own.
$(STORES:%=test-%): test-%: .venv-%/test
	$(TESTING) .venv-$*/bin/python -m pytest $(TESTS_OF_$*)

# Apart from test: mteb needs PyTorch, which makes its environment 2 GB large, or more (see below).
test-mteb: .venv-mteb/test
	.venv-mteb/bin/python -m pytest tests/examples/test_evaluate_mteb.py

# What other packages do, as the examples and the documentation say: whether they still do.
test-upstream: .venv/test
	$(BIN)/python -m pytest -m upstream

lint: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Asks the package index about every package that is installed. Apart from lint, since its answer
# changes from day to day with no change here, and it needs the index's advisories each time: a mirror
# need not have them, and --strict says so where all would else seem well.
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

# Costs tokens: asks first, unless YES=1. BURST=1 also provokes a 429.
conformance: .venv/conformance
	$(BIN)/python -m conformance

format: .venv/test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-* demo_output

# What each target needs is installed once, and again when pyproject.toml changes.
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

# By pip, which looks for PyTorch wherever it is set to: PIP_EXTRA_INDEX_URL can name PyTorch's own
# index of builds for CPUs. Where PyPI is all there is, Linux on x86-64 gets the build for GPUs, with
# several GB of CUDA.
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
