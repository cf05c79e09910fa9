# hone: `make` builds build/hone, `make test` runs the tests, `make demo` shows the main job.
# On a bare Debian 12 these install what is missing first (see tools/bootstrap.sh).
BUILD ?= build
JOBS ?= $(shell nproc)
TYPE ?= Release
VENV ?= .venv
PYTHON = $(VENV)/bin/python
CASES = $(BUILD)/cases

all: | bootstrap
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=$(TYPE) $(CMAKE_ARGS) >$(BUILD).log 2>&1 \
		|| { cat $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log
	@cmake --build $(BUILD) -j $(JOBS)

bootstrap:
	@tools/bootstrap.sh build

# What needs the onnx package (a small download), and nothing that is gigabytes.
$(VENV)/.test: requirements-test.txt
	@tools/bootstrap.sh python
	@test -x $(PYTHON) || python3 -m venv $(VENV)
	@$(PYTHON) -m pip install -q -r requirements-test.txt
	@touch $@

$(CASES)/.made: $(VENV)/.test tests/suite/make_cases.py
	@$(PYTHON) -W ignore tests/suite/make_cases.py $(CASES)
	@touch $@

test: all $(CASES)/.made
	@cd $(BUILD) && HONE_CASES=$(CURDIR)/$(CASES) ctest --output-on-failure -j $(JOBS)
	@HONE_LIBRARY=$(CURDIR)/$(BUILD)/libhone.so PYTHONPATH=python $(PYTHON) -m pytest -q -p no:cacheprovider tests/python
	@echo "left out: 'make test-models' compares exported PyTorch models with ONNX Runtime (installs PyTorch, gigabytes)"
	@echo "left out: 'make test-tf' exports and converts Keras models (installs TensorFlow, gigabytes)"

test-models: all
	@tools/bootstrap.sh python
	@test -x $(PYTHON) || python3 -m venv $(VENV)
	@tests/models/run.sh $(PYTHON) $(BUILD)

# TensorFlow wants versions of its own: an environment beside the other one.
TFPYTHON = $(BUILD)/tfvenv/bin/python
test-tf: all
	@tools/bootstrap.sh python
	@test -x $(TFPYTHON) || python3 -m venv $(BUILD)/tfvenv
	@$(TFPYTHON) -m pip install -q -r requirements-test.txt -r requirements-tf.txt
	@HONE_LIBRARY=$(CURDIR)/$(BUILD)/libhone.so PYTHONPATH=python \
		$(TFPYTHON) -W ignore -m pytest -q -p no:cacheprovider tests/export/test_tf.py

# Compares hone with its peers on the standard list and writes docs/benchmarks.{md,json,html}.
# Installs PyTorch and the peers: gigabytes. What was stopped goes on where it was.
# BENCH_MODELS: names of the list (all); BENCH_WITH: peers; BENCH_ARGS: options of hone compare.
BENCH_WITH ?= ort,openvino,litert
BENCH_ARGS ?= --threads 1,2 --precision fp32,bf16 --accuracy
BENCH_OUT ?= docs/benchmarks
BENCH_DIR = $(BUILD)/bench
bench: all
	@tools/bootstrap.sh python
	@test -x $(PYTHON) || python3 -m venv $(VENV)
	@$(PYTHON) -m pip install -q -r requirements-test.txt -r requirements-models.txt \
		-r requirements-bench.txt
	@$(PYTHON) bench/export_standard.py $(BUILD)/standard $(BENCH_MODELS) --convert $(BUILD)/hone
	@mkdir -p $(BENCH_DIR)
	@HONE_LIBRARY=$(CURDIR)/$(BUILD)/libhone.so PYTHONPATH=python $(PYTHON) -m hone compare \
		$$($(PYTHON) bench/export_standard.py $(BUILD)/standard $(BENCH_MODELS) --list) \
		--with $(BENCH_WITH) $(BENCH_ARGS) --work $(BENCH_DIR) \
		--resume --json $(BENCH_DIR)/results.json --markdown $(BENCH_OUT).md --html $(BENCH_OUT).html; \
		status=$$?; [ ! $(BENCH_OUT).md -nt $(BENCH_DIR)/results.json ] || \
		mv $(BENCH_DIR)/results.json $(BENCH_OUT).json; exit $$status

# A look in a few minutes, no result: build/benchmarks.{md,json,html}.
bench-quick:
	@$(MAKE) --no-print-directory bench BENCH_OUT=$(BUILD)/benchmarks \
		BENCH_DIR=$(BUILD)/bench-quick BENCH_ARGS="--quick --precision fp32,bf16"

demo: all
	@tools/demo.sh $(BUILD)

# Sanitizer builds in folders of their own.
test-asan:
	@$(MAKE) --no-print-directory test BUILD=build-asan TYPE=RelWithDebInfo CMAKE_ARGS=-DHONE_SANITIZE=address,undefined
test-tsan:
	@$(MAKE) --no-print-directory test BUILD=build-tsan TYPE=RelWithDebInfo CMAKE_ARGS=-DHONE_SANITIZE=thread

clean:
	@rm -rf build build-asan build-tsan

.PHONY: all bootstrap test test-models test-tf test-asan test-tsan bench bench-quick demo clean
