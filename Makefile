# Two commands matter: `make demo` and `make test`. Every target sets up what it needs.
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e
WORKERS ?= 2
DEVICES ?= 2

export OMP_WAIT_POLICY ?= passive

# Where the default model is trained, and what its songs are made with.
RUN ?= runs/default
SONGS ?= 1400
SOURCE ?= $(if $(and $(shell command -v fluidsynth),$(shell command -v espeak-ng)),both,synthesis)
SAMPLED := $(if $(filter synthesis,$(SOURCE)),,$(VENV)/.songs)

.PHONY: demo test test-slow lint format bench docs clean train-default train-default-gpu

demo: $(VENV)/.demo
	$(BIN)/sonograd demo $(if $(SONG),"$(SONG)") --save demo --overwrite

test: $(VENV)/.test
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow --timeout 3600

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell src tests docs benchmarks README.md CHANGELOG.md

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html
	@echo "docs/_build/html/index.html"

# Both may be interrupted: the next call goes on where the last one stopped.
train-default: $(VENV)/.test $(SAMPLED)
	$(call recipe,default,$(RUN))
	$(BIN)/sonograd songs $(RUN)/songs --count $(SONGS) --seconds 12 --seed 21 --source $(SOURCE) --workers $(WORKERS)
	$(BIN)/sonograd train $(RUN) $(RUN)/songs --devices $(DEVICES) --resume

train-default-gpu: $(VENV)/.test $(SAMPLED)
	$(call recipe,default-gpu,$(RUN)-gpu)
	$(BIN)/sonograd songs $(RUN)-gpu/songs --count 5000 --seconds 12 --seed 1 --source $(SOURCE) --workers $(WORKERS)
	$(BIN)/sonograd train $(RUN)-gpu $(RUN)-gpu/songs --device cuda --num-workers $(WORKERS) --resume

# Copies the settings of a recipe; what is there already, perhaps changed, is kept.
recipe = mkdir -p $(2) && for file in recipes/$(1)/*.json; do \
	test -e $(2)/$$(basename $$file) || cp $$file $(2)/; done

clean:
	rm -rf $(VENV) demo docs/_build

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sonograd needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(INSTALL) '.[plot]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(INSTALL) '.[test]'
	@touch $@ $(VENV)/.demo

$(VENV)/.dev: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(INSTALL) '.[dev]'
	@touch $@ $(VENV)/.demo $(VENV)/.test

$(VENV)/.songs: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(INSTALL) '.[songs]'
	@touch $@

$(VENV)/.bench: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(INSTALL) '.[bench]'
	@touch $@ $(VENV)/.demo $(VENV)/.test

$(VENV)/.docs: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(INSTALL) '.[docs]'
	@touch $@
