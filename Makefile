# hone: make (builds build/hone), make test, make demo
BUILD ?= build
JOBS ?= $(shell nproc)

all:
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
	@cmake --build $(BUILD) -j $(JOBS)

.PHONY: all
