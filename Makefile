# Two commands on a fresh machine: make train, make test. Everything goes into .venv; nothing else is touched.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
FIRST_RUN ?= runs/first
SAMPLE := docs/images/digit.png

.DEFAULT_GOAL := help
.PHONY: help setup train test lint format results tensorboard clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.train-ready  ## install what training needs into .venv

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed, found $$($(PYTHON) --version); try make PYTHON=python3.11 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train-ready: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet -r requirements.txt
	$(VENV)/bin/pip install --quiet --no-deps -e .
	@touch $@

$(VENV)/.test-ready: requirements-test.txt $(VENV)/.train-ready
	$(VENV)/bin/pip install --quiet -r requirements-test.txt
	$(VENV)/bin/pip install --quiet --no-deps torchvision==0.28.0  # its models, beside the CPU build of torch
	@touch $@

train: $(VENV)/.train-ready  ## train, evaluate, export and predict one digit with the embedded data set
	@rm -rf $(FIRST_RUN)
	$(RUN) scripts/train.py mnist_cnn --dataset digits --validation 0.1 --epochs 20 --run-dir $(FIRST_RUN)
	$(RUN) scripts/export.py $(FIRST_RUN) --format saved_model
	$(RUN) scripts/predict.py $(FIRST_RUN)/exports/saved_model $(SAMPLE)
	@echo
	@echo "run directory  $(FIRST_RUN)                      recipe, history, metrics, checkpoints"
	@echo "report         $(FIRST_RUN)/report.html          open it in a browser"
	@echo "saved model    $(FIRST_RUN)/exports/saved_model  takes raw pictures, needs TensorFlow only"
	@echo "next           $(RUN) scripts/predict.py $(FIRST_RUN)/exports/saved_model YOUR_DIGIT.png"
	@echo "               $(RUN) scripts/train.py mnist_cnn_fast        (downloads MNIST, 11 MB)"

test: $(VENV)/.test-ready  ## run the whole test suite
	$(RUN) -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.test-ready  ## ruff (lint and format) and the import contracts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

format: $(VENV)/.test-ready  ## let ruff mend what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

RESULT_RECIPES ?= mnist_cnn mnist_cnn_fast lenet5 fashion_cnn notes_network
RESULT_SEEDS ?= 0 1 2

results: $(VENV)/.train-ready  ## run the recipes behind README's table again and make it anew
	@set -e; for recipe in $(RESULT_RECIPES); do for seed in $(RESULT_SEEDS); do \
		$(RUN) scripts/train.py $$recipe --seed $$seed --run-dir runs/$$recipe-$$seed; \
		$(RUN) scripts/results.py add runs/$$recipe-$$seed; \
	done; done
	$(RUN) scripts/results.py table

tensorboard: $(VENV)/.train-ready  ## curves of all that is in runs/
	$(VENV)/bin/tensorboard --logdir runs

clean:  ## remove .venv and caches; runs/ stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
