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

test-models: all
	@tools/bootstrap.sh python
	@test -x $(PYTHON) || python3 -m venv $(VENV)
	@tests/models/run.sh $(PYTHON) $(BUILD)

demo: all
	@tools/demo.sh $(BUILD)

# Sanitizer builds in folders of their own.
test-asan:
	@$(MAKE) --no-print-directory test BUILD=build-asan TYPE=RelWithDebInfo CMAKE_ARGS=-DHONE_SANITIZE=address,undefined
test-tsan:
	@$(MAKE) --no-print-directory test BUILD=build-tsan TYPE=RelWithDebInfo CMAKE_ARGS=-DHONE_SANITIZE=thread

clean:
	@rm -rf build build-asan build-tsan

.PHONY: all bootstrap test test-models test-asan test-tsan demo clean
