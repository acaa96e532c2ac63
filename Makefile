# Two commands on a fresh machine: make train, make test. Everything goes into .venv; nothing else is touched.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
FIRST_RUN ?= runs/first
SAMPLE := docs/images/digit.png

.DEFAULT_GOAL := help
.PHONY: help setup train test check resolve crash fuzz clients cost benchmark lint format results strategies experiments demo tensorboard clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.train-ready  ## install what training needs into .venv

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11, 3.12 or 3.13 is needed, found $$($(PYTHON) --version); try make PYTHON=python3.13 ..."; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 14))' || \
		{ echo "error: found $$($(PYTHON) --version), for which TensorFlow has no wheel; expected Python 3.11, 3.12 or 3.13: make PYTHON=python3.13 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train-ready: requirements.txt requirements-core.txt requirements-export.txt requirements-lab.txt pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet -r requirements.txt
	$(VENV)/bin/pip install --quiet --no-deps -e .
	@touch $@

$(VENV)/.test-ready: requirements-test.txt requirements-pytorch.txt requirements-openvino.txt requirements-demo.txt $(VENV)/.train-ready
	$(VENV)/bin/pip install --quiet -r requirements-test.txt -r requirements-demo.txt
	@touch $@

train: $(VENV)/.train-ready  ## train, evaluate, export and predict one digit with the embedded dataset
	@rm -rf $(FIRST_RUN)
	$(RUN) scripts/train.py mnist_cnn --dataset digits --validation 0.1 --epochs 20 --run-dir $(FIRST_RUN)
	$(RUN) scripts/export.py $(FIRST_RUN) --format saved_model
	$(RUN) scripts/predict.py $(FIRST_RUN)/exports/saved_model $(SAMPLE)
	@$(RUN) scripts/export.py $(FIRST_RUN) --format html || echo "without it: the page to draw digits on is left out"
	@echo
	@echo "run directory  $(FIRST_RUN)                      recipe, history, metrics, checkpoints"
	@echo "report         $(FIRST_RUN)/report.html          open it in a browser"
	@echo "saved model    $(FIRST_RUN)/exports/saved_model  takes raw images, needs TensorFlow only"
	@test ! -e $(FIRST_RUN)/exports/model.html || \
		echo "page           $(FIRST_RUN)/exports/model.html   open it in a browser and draw a digit"
	@echo "next           $(RUN) scripts/predict.py $(FIRST_RUN)/exports/saved_model YOUR_DIGIT.png"
	@echo "               $(RUN) scripts/train.py mnist_cnn_fast        (downloads MNIST, 11 MB)"

TEST_PROCESSES ?= 2

test: $(VENV)/.test-ready  ## run the whole test suite
	$(RUN) -m pytest -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

check: $(VENV)/.test-ready  ## run the fast half of the tests, at most three minutes on two cores
	$(RUN) -m pytest -n $(TEST_PROCESSES) --dist loadfile -m "not slow" $(PYTEST_ARGS)

resolve: $(VENV)/.test-ready  ## check that the requirements resolve for every Python that is supported
	@set -e; for python in 3.11 3.12 3.13; do \
		$(VENV)/bin/uv pip compile --quiet --python-version $$python --output-file /dev/null \
			requirements.txt requirements-pytorch.txt requirements-demo.txt requirements-test.txt > /dev/null; \
		echo "Python $$python: all requirements resolve"; \
	done

crash: $(VENV)/.test-ready  ## kill a training a hundred times at random, resume it, compare the bits
	$(RUN) tests/crash/harness.py --kills $(or $(KILLS),100)

fuzz: $(VENV)/.test-ready  ## 10,000 cases for each parser, where make test has 200
	FUZZ_EXAMPLES=10000 $(RUN) -m pytest tests/fuzz -o timeout=7200

clients: $(VENV)/.test-ready  ## let other programs read exports: docs/export.md, who reads what; CIFAR10=NAME or FOLDER
	$(RUN) tests/clients/clients.py --dataset $(CIFAR10) $(CLIENTS_ARGS)

cost: $(VENV)/.test-ready  ## what checkpoints and --deterministic cost on MNIST
	$(RUN) tests/crash/cost.py

benchmark: $(VENV)/.test-ready  ## kerasref against PyTorch on this machine: docs/performance.md anew, one to two hours
	$(RUN) scripts/benchmark.py $(BENCHMARK_ARGS)

lint: $(VENV)/.test-ready  ## ruff (lint and format), the import contracts, the types of the public API
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports
	$(RUN) -m pytest tests/docs/test_words.py
	$(VENV)/bin/mypy

format: $(VENV)/.test-ready  ## let ruff mend what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# A recipe, or RECIPE:DATASET
RESULT_RUNS ?= softmax_regression mlp notes_network notes_network:mnist mnist_cnn mnist_cnn:fashion_mnist \
	mnist_cnn_fast lenet5 fashion_cnn mnist_best resnet20_fashion resnet20_fast:$(CIFAR10)
RESULT_SEEDS ?= 0 1 2

results: $(VENV)/.train-ready  ## train README's table again, six hours, in parts if need be; CIFAR10=NAME or FOLDER
	@set -e; for entry in $(RESULT_RUNS); do for seed in $(RESULT_SEEDS); do \
		recipe=$${entry%%:*}; dataset=$${entry#$$recipe}; dataset=$${dataset#:}; \
		run=runs/$$recipe$${dataset:+-$$(basename $$dataset)}-$$seed; \
		test -f $$run/metrics.json || { \
			$(RUN) scripts/train.py $$recipe $${dataset:+--dataset $$dataset} --seed $$seed --run-dir $$run --resume && \
			$(RUN) scripts/results.py add $$run; \
		}; \
	done; done
	$(RUN) scripts/results.py table

CIFAR10 ?= cifar10
ANTS_BEES ?= $(CURDIR)/hymenoptera_data
SOURCE ?= runs/resnet20_fast-0
TRAIN := $(RUN) scripts/train.py
DIGITS := mnist_cnn_fast --crop-padding 2 --warmup-epochs 0
FEW := $(DIGITS) --classes 5 6 7 8 9 --train-examples 50 --batch-size 10 --learning-rate 1e-3
ANTS := resnet20 --dataset $(ANTS_BEES) --image-size 32 --validation 0 --batch-size 16 --learning-rate 0.01 \
	--schedule cosine --epochs 15

strategies: $(VENV)/.train-ready  ## run what docs/strategies.md quotes again; ANTS_BEES and CIFAR10 name a set or a folder
	$(TRAIN) $(DIGITS) --classes 0 1 2 3 4 --epochs 2 --learning-rate 2e-3 --run-dir runs/digits-0-4
	$(TRAIN) resnet20_fast --dataset $(CIFAR10) --run-dir $(SOURCE) --resume
	@set -ex; for seed in 0 1 2; do \
		for epochs in 5 20; do \
			few="$(FEW) --seed $$seed --epochs $$epochs"; \
			$(TRAIN) $$few --run-dir runs/digits-new-$$epochs-$$seed; \
			$(TRAIN) $$few --init-from runs/digits-0-4 --run-dir runs/digits-all-$$epochs-$$seed; \
			$(TRAIN) $$few --init-from runs/digits-0-4 --init-until conv1 --run-dir runs/digits-conv1-$$epochs-$$seed; \
		done; \
		ants="$(ANTS) --seed $$seed"; \
		$(TRAIN) $$ants --run-dir runs/ants-new-$$seed; \
		$(TRAIN) $$ants --init-from $(SOURCE) --run-dir runs/ants-all-$$seed; \
		$(TRAIN) $$ants --init-from $(SOURCE) --freeze avgpool --frozen-epochs 5 --run-dir runs/ants-thaw-$$seed; \
	done
	$(RUN) scripts/results.py add runs/digits-* runs/ants-*
	$(RUN) scripts/multi_task.py --seeds 0 1 2
	$(TRAIN) lenet5 --epochs 3 --run-dir runs/labels
	$(RUN) scripts/find_label_errors.py runs/labels
	$(RUN) scripts/find_label_errors.py runs/labels --plant random
	$(RUN) scripts/find_label_errors.py runs/labels --plant systematic

experiments: $(VENV)/.train-ready  ## run the experiments of docs/experiments.md again; CIFAR10=FOLDER, an image folder
	@set -ex; for name in $(basename $(notdir $(wildcard experiments/*.toml))); do \
		case $$name in degradation|parallel_input) more="--dataset $(CIFAR10)";; *) more=;; esac; \
		$(RUN) scripts/experiment.py $$name $$more; \
	done

LOGDIR ?= runs

$(VENV)/.demo-ready: requirements-demo.txt $(VENV)/.train-ready
	$(VENV)/bin/pip install --quiet -r requirements-demo.txt
	@touch $@

demo: $(VENV)/.demo-ready  ## a local page to try the networks in runs/ on
	$(RUN) scripts/demo.py

tensorboard: $(VENV)/.train-ready  ## what is in runs/, in the browser; a sweep: make tensorboard LOGDIR=sweeps/NAME
	$(VENV)/bin/tensorboard --logdir $(LOGDIR)

clean:  ## remove .venv and caches; runs/ stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
