# `make listen` sets up and listens; `make test` sets up and runs every check.
# Both work on a fresh clone with nothing but make and a python3 of 3.10 to 3.13.

PYTHON ?= python3
LISTEN ?= # further flags of `kws listen`, for example LISTEN="--threshold 0.9"
PYTEST ?= # further flags of pytest, for example PYTEST="-k audio -x"
RUNTIME := .venv
DEV := .venv-dev
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

.PHONY: help listen test clean

help:
	@echo "make listen  install kws into $(RUNTIME) and listen to the microphone (or play the demo)"
	@echo "make test    install what the tests need into $(DEV) and run every check"
	@echo "make clean   remove both environments and the caches"

listen: $(RUNTIME)/installed
	@tools=no; $(RUNTIME)/bin/python -c 'import sounddevice' 2>/dev/null || tools=yes; \
	if [ $$tools = yes ] && command -v apt-get >/dev/null; then \
		echo "installing the system library libportaudio2"; $(call apt_install,libportaudio2); \
	fi
	@if $(RUNTIME)/bin/kws devices; then \
		exec $(RUNTIME)/bin/kws listen $(LISTEN); \
	else \
		echo "No microphone here: playing the demonstration recording instead."; \
		exec $(RUNTIME)/bin/kws listen --demo $(LISTEN); \
	fi

test: $(DEV)/installed
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/python -m pytest $(PYTEST)

clean:
	rm -rf $(RUNTIME) $(DEV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(RUNTIME)/installed: pyproject.toml
	$(call new_environment,$(RUNTIME))
	$(RUNTIME)/bin/python $(PIP_INSTALL) --editable .
	@touch $@

# torch goes in by itself first, so that no later requirement can pull in another build of it.
$(DEV)/installed: pyproject.toml
	$(call new_environment,$(DEV))
	$(DEV)/bin/python $(PIP_INSTALL) torch==2.13.0
	$(DEV)/bin/python $(PIP_INSTALL) --editable '.[dev,train]'
	@touch $@

define new_environment
@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || { \
	echo "kws needs Python 3.10 to 3.13, and $(PYTHON) is $$($(PYTHON) -V 2>&1);" \
		"name another one with make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
$(PYTHON) -m venv --clear $(1)
endef

# Root installs by itself; anybody else only where sudo asks for no password.
apt_install = \
	if [ "$$(id -u)" = 0 ]; then sudo=; else sudo="sudo -n"; fi; \
	{ $$sudo apt-get install -qq -y $(1) || \
		{ $$sudo apt-get update -qq && $$sudo apt-get install -qq -y $(1); }; } >/dev/null 2>&1 || \
	echo "could not install it; run: sudo apt-get install $(1)"
