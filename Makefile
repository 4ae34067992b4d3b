# `make listen` sets up and listens; `make test` sets up and runs every check, `make quick` some.
# All work on a fresh clone with nothing but make and a python3 of 3.10 to 3.14.

PYTHON ?= python3
LISTEN ?=# further flags of `kws listen`, as in: make listen LISTEN="--threshold 0.9"
ARM ?=# further flags of benchmarks.arm, as in: make arm ARM="--no-instructions"
MATRIX ?=# further flags of benchmarks.product.matrix, as in: make matrix MATRIX="--python python3.12"
PYTEST ?=# further flags of pytest, as in: make test PYTEST="-k audio -x"
MINUTES ?= 60# of each fuzz target, as in: make fuzz MINUTES=5
JOBS ?= 1# of them at a time

RUNTIME := .venv
DEV := .venv-dev
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# tests/scheduling.py shares the tests out.
IN_PROCESSES := -n logical --maxprocesses 4 --dist loadfile

# Debian's names. The first is what a microphone needs; the tests use all where they are there, and
# skip what cannot run without.
AUDIO_PACKAGES := libportaudio2
ARM_PACKAGES := qemu-user gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross
FIRMWARE_PACKAGES := gcc libc6-dev gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm
TEST_PACKAGES := $(AUDIO_PACKAGES) $(ARM_PACKAGES) $(FIRMWARE_PACKAGES) tmux pulseaudio pulseaudio-utils \
    libasound2-plugins pipewire pipewire-pulse wireplumber dbus-daemon strace mosquitto
BROWSER_PACKAGES := chromium chromium-driver

# What `make quick` runs: the path from audio to detections, the command line, and the documents.
QUICK := audio benchmark_report cli_keywords decision detector documents events frontend \
    imports intervals manifest metrics packaging pool scenes spotting \
    streaming_frontend vad

.PHONY: help listen setup programs test quick fuzz soak lock arm matrix release-check clean

help:
	@echo "make listen  install kws into $(RUNTIME) and listen to the microphone (or play the demo)"
	@echo "make test    install what the tests need into $(DEV) and run every check"
	@echo "make quick   style, types and the tests of the core, within a minute"
	@echo "make fuzz    run the fuzz targets for MINUTES=60 each"
	@echo "make soak    listen to a virtual microphone for 30 minutes that is not treated well"
	@echo "make arm     run the model's files on ARM processors, under emulation"
	@echo "make matrix  try the wheel on every version of Python that is found"
	@echo "make release-check  walk the checklist of a release; what is to be published lies in dist/"
	@echo "make clean   remove both environments and the caches"

listen: $(RUNTIME)/installed
	@$(RUNTIME)/bin/python -c 'import sounddevice' 2>/dev/null || { $(call apt_install,$(AUDIO_PACKAGES)); }
	@if $(RUNTIME)/bin/kws devices; then \
		exec $(RUNTIME)/bin/kws listen $(LISTEN); \
	else \
		echo "Playing the demonstration recording instead."; \
		exec $(RUNTIME)/bin/kws listen --demo $(LISTEN); \
	fi

# All that the tests need.
setup: $(DEV)/installed programs

# As root only, which is a container or CI: on a person's machine sound servers are theirs to choose.
programs:
	@[ "$$(id -u)" != 0 ] || dpkg -s $(TEST_PACKAGES) >/dev/null 2>&1 || { $(call apt_install,--no-install-recommends $(TEST_PACKAGES)); }
	@[ "$$(id -u)" != 0 ] || dpkg -s $(BROWSER_PACKAGES) >/dev/null 2>&1 || { $(call apt_install,--no-install-recommends $(BROWSER_PACKAGES)); }

test: setup
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/python -m pytest $(IN_PROCESSES) $(PYTEST)

quick: $(DEV)/installed
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/python -m pytest -q $(IN_PROCESSES) $(QUICK:%=tests/test_%.py) $(PYTEST)

# Every fuzz target for so long, JOBS at a time; the counts are added to those of the same code in
# benchmarks/results/fuzz.json.
fuzz: $(DEV)/installed
	$(DEV)/bin/python tests/fuzz/run.py --minutes $(MINUTES) --jobs $(JOBS)

soak: $(DEV)/installed
	$(DEV)/bin/python -m benchmarks.product.soak

# kws on ARM processors under emulation; Debian's packages and wheels are kept in build/arm.
arm: $(DEV)/installed
	@{ command -v qemu-aarch64 && command -v aarch64-linux-gnu-gcc; } >/dev/null || { $(call apt_install,$(ARM_PACKAGES)); }
	$(DEV)/bin/python -m benchmarks.arm $(ARM)

# The wheel on every version of Python that is found, with the oldest and the newest dependencies.
matrix: $(DEV)/installed
	$(DEV)/bin/python -m benchmarks.product.matrix $(MATRIX)

# The checklist of CONTRIBUTING.md.
release-check: $(DEV)/installed
	$(DEV)/bin/python -m benchmarks.release

clean:
	rm -rf $(RUNTIME) $(DEV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(RUNTIME)/installed: pyproject.toml
	$(call new_environment,$(RUNTIME))
	@$(RUNTIME)/bin/python $(PIP_INSTALL) --editable .
	@touch $@

# Everything at the versions of requirements-dev.txt and with the hashes that it names, but for torch,
# of which machines need different builds. What pip would compile on one core is compiled on all; a
# few files of packages are no Python 3.
$(DEV)/installed: pyproject.toml requirements-dev.txt
	$(call new_environment,$(DEV))
	@$(DEV)/bin/python $(PIP_INSTALL) --no-compile --require-hashes --requirement requirements-dev.txt
	@$(DEV)/bin/python $(PIP_INSTALL) --no-compile torch==2.13.0
	@$(DEV)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@$(DEV)/bin/python -m compileall -qq -j 0 $(DEV)/lib || :
	@touch $@

# After a change of the requirements in pyproject.toml, or to take newer versions in. What torch brings
# for GPUs is left out with it. From 1.3 on backports-strenum refuses Python 3.11, which uv overlooks.
NOT_LOCKED := torch triton cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti \
    nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand \
    nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink \
    nvidia-nvshmem-cu13 nvidia-nvtx
lock: $(DEV)/installed
	@$(DEV)/bin/python $(PIP_INSTALL) uv
	echo "backports-strenum<1.3" | \
		$(DEV)/bin/uv pip compile --constraint - --quiet --upgrade --universal --python-version 3.10 --generate-hashes \
		--custom-compile-command "make lock" --extra dev --extra train \
		$(NOT_LOCKED:%=--no-emit-package %) --output-file requirements-dev.txt pyproject.toml

define new_environment
@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' || { \
	echo "kws needs Python 3.10 to 3.14, and $(PYTHON) is $$($(PYTHON) -V 2>&1);" \
		"name another, as in: make $(firstword $(MAKECMDGOALS)) PYTHON=python3.12"; exit 1; }
@echo "setting up $(1), which takes a minute or more"
@$(PYTHON) -m venv --clear $(1) || { \
	echo "python3 cannot make environments here; on Debian: sudo apt-get install python3-venv"; exit 1; }
endef

# Root installs by itself; anybody else only where sudo asks for no password.
apt_install = \
	if [ "$$(id -u)" = 0 ]; then sudo=; else sudo="sudo -n"; fi; \
	echo "installing $(strip $(1))"; \
	export DEBIAN_FRONTEND=noninteractive; \
	{ $$sudo apt-get install -qq -y $(1) || \
		{ $$sudo apt-get update -qq && $$sudo apt-get install -qq -y $(1); }; } >/dev/null 2>&1 || \
	echo "could not; go on without, or run: sudo apt-get install $(strip $(1))"
