# `make help` lists the targets. Everything runs in .venv, which is made when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo gallery test test-slow test-pages test-export docs bench bench-growth soak reproduce torture mutations lint format tensorboard clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

install: $(STAMP) ## make .venv and install the project with its development tools

demo: $(STAMP) ## train a VAE and a DAE on 5,000 real digits, evaluate, sample, denoise
	$(BIN)/aectl train model=vae latent=2 epochs=40
	$(BIN)/aectl eval
	$(BIN)/aectl sample mode=prior
	$(BIN)/aectl sample mode=grid n=400
	$(BIN)/aectl train model=dae latent=32 epochs=60
	$(BIN)/aectl denoise
	@echo
	@echo "Curves:   make tensorboard   (then open http://localhost:6006)"
	@$(BIN)/python benchmarks/demo.py

gallery: $(STAMP) ## make the pictures and figures of docs/lecture and the README, with Chromium: 30 minutes of one core
	$(BIN)/python benchmarks/gallery.py $(PAGES)

test: $(STAMP) lint ## lint, then the whole test suite
	$(BIN)/python -m pytest

test-slow: $(STAMP) ## the tests that start many processes: kills, sweeps side by side, torchrun, other systems: 3 to 9 minutes
	$(BIN)/python -m pytest -m slow

test-pages: $(STAMP) ## the pages that commands write, in a real Chromium: 3 minutes
	@command -v "$${CHROMIUM:-chromium}" >/dev/null || { \
	  echo "make test-pages: there is no Chromium; apt-get install chromium, or CHROMIUM=<its file>" >&2; exit 2; }
	$(BIN)/python -m pytest -m pages tests/pages

test-export: $(STAMP) ## train each preset for an epoch, export it, and compare the files with torch: 2 minutes
	$(BIN)/python -m pytest -n 0 -m presets -s tests/commands/test_export.py

docs: $(STAMP) ## the site of docs/, into site/ (open site/index.html); a dead link or a missing description fails
	@# Not --quiet: that drops the warnings which fail the build.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reproduce: $(STAMP) ## train and measure published set-ups, into docs/results.md: ROWS="2 7" SEEDS="0 1" FRESH=1
	$(BIN)/python benchmarks/reproduce.py $(ROWS) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FRESH),--fresh) $(if $(PHOTOGRAPHS),--photographs $(PHOTOGRAPHS))

bench: $(STAMP) ## time everything beside other programs, into docs/performance.md: 25 minutes, on an idle machine
	$(BIN)/python benchmarks/speed.py $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(WITHOUT_OTHERS),--without-others)

bench-growth: $(STAMP) ## how time and memory grow with images, pixels, latents and jobs, into docs/performance.md: 8 minutes
	$(BIN)/python benchmarks/growth.py $(if $(ROUNDS),--rounds $(ROUNDS))

SUITES = kills exits refusals sweeps reports folders streams strangers memory values pictures fuzz
torture: $(STAMP) ## kills, refusals, closed streams, strangers' files, little memory, fuzzing, seeded defects, two at a time: one to two hours
	@OMP_NUM_THREADS=1 $(MAKE) --no-print-directory --jobs 2 --keep-going $(SUITES:%=torture-%) mutations

torture-kills: COUNT = --count 200
torture-sweeps: COUNT = --count 30
torture-reports: COUNT = --count 15
torture-folders: COUNT = --count 60
torture-values: COUNT = --stride 100
torture-pictures: $(STAMP)
	@AECTL_PICTURES=1000 $(BIN)/python -m pytest -q -n 0 tests/test_own_pictures.py
torture-fuzz: $(STAMP)
	@AECTL_FUZZ=1000 $(BIN)/python -m pytest -q -n 0 tests/test_bad_inputs.py tests/test_values.py -k "get_through or gets_through or any_override"
torture-%: $(STAMP)
	@$(BIN)/python tests/torture.py $* $(COUNT)

soak: $(STAMP) ## 2,000 epochs, watched from outside: neither memory, nor open files, nor time may grow: 4 minutes
	$(BIN)/python tests/soak.py

mutations: $(STAMP) ## seeded defects, each of which some test must notice, in one table: half an hour
	$(BIN)/python tests/mutations.py

lint: $(STAMP) ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## mend style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

tensorboard: $(STAMP) ## curves and pictures of all runs, at http://localhost:6006
	$(BIN)/tensorboard --logdir outputs

clean: ## remove .venv, caches and build products; never outputs/
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find aectl tests -name __pycache__ -type d -prune -exec rm -rf {} +
