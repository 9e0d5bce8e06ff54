# The commands, the same for people and for .ci/run. Every target sets up what it needs by itself.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
MODEL ?= runs/demo/model.onnx
BENCH_RUN := runs/bench
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command 'make lock' pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help setup demo serve check test test-fast test-soak prove test-scale loadtest bench bench-train lock clean

help:  ## list the commands
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(INSTALLED)  ## make .venv from the hashed locks; nothing to do the second time

$(INSTALLED): requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: install one, or name it with PYTHON=/path/to/python3."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(MAKE) --no-print-directory debian-venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: debian-venv
debian-venv:
	@test "$$(id -u)" = 0 && command -v apt-get >/dev/null || \
		{ echo "Python's venv module is missing: run  sudo apt-get install python3-venv  and start again."; exit 1; }
	apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv

# The annotation page is tested in a real browser.
.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
		{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends chromium; } || \
		{ echo "The tests need a browser: run  sudo apt-get install chromium  and start again."; exit 1; }

demo: setup  ## photos to a live score: render, fine-tune, export, serve, score, compare
	$(BIN)/python -m tools.demo

serve: setup  ## serve MODEL (runs/demo/model.onnx unless named) on 127.0.0.1:8000
	$(BIN)/salver serve $(MODEL)

check: setup  ## lint, format, types, which room may import which, and whether every import is declared
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry .

# One trains small nets, two mostly wait for what they start, and one takes what these leave of the cores.
test: setup chromium  ## all tests, in four processes; about 8 minutes on 2 cores
	@$(MAKE) --no-print-directory --jobs=4 --keep-going test-training test-service test-deployment test-rest

.PHONY: test-training test-service test-deployment test-rest
DEPLOYMENT = tests/salver/client tests/salver/deployment
test-training:
	$(BIN)/python -m pytest -q tests/training --ignore=tests/training/dataset

test-service:
	$(BIN)/python -m pytest -q tests/service tests/training/dataset

test-deployment:
	nice $(BIN)/python -m pytest -q $(DEPLOYMENT)

test-rest:
	$(BIN)/python -m pytest -q tests/salver $(DEPLOYMENT:%=--ignore=%) tests/contract tests/deploy tests/docs tests/loadtest tests/prove

test-fast: setup  ## the tests outside training that start no service; about half a minute
	$(BIN)/python -m pytest tests/salver tests/service -m 'not server and not slow and not heic and not soak and not docker'

.PHONY: coverage
coverage: setup chromium  ## which lines and branches the quicker tests reach, in their processes too; fails below the floor (6 minutes)
	rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run -m pytest -q --ignore=tests/prove -m 'not slow and not timed and not heic and not soak and not prove and not docker and not docs and not index'
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --sort=cover --skip-covered

test-soak: setup chromium  ## the tests that take longer: 20 kills, every net and size, 10,000 images (about 30 minutes)
	$(BIN)/python -m pytest -m soak -s

prove: setup  ## fuzz, faults and an hour's worth of mixed load against real processes; says what was lost (under 20 minutes)
	$(BIN)/python -m pytest -m prove

test-scale: setup  ## check 10,000 generated images: time, memory, near duplicates (about 3 minutes)
	$(BIN)/python -m pytest -m soak -s tests/training/dataset/test_scale.py

loadtest: setup $(BENCH_RUN)/model.onnx  ## load a service on this machine for 30 s; passes or fails by gates
	$(BIN)/salver loadtest local $(BENCH_RUN)/model.onnx --seconds 30 --p99-ms 1000 --out runs/loadtest

bench: setup $(BENCH_RUN)/model.int8.onnx  ## measure the service against this machine's limit (about 10 minutes)
	$(BIN)/python -m tools.bench.service $(BENCH_RUN)/model.onnx $(BENCH_RUN)/model.int8.onnx

bench-train: setup  ## measure training against the net's own arithmetic (about 10 minutes)
	$(BIN)/python -m tools.bench.training

$(BENCH_RUN)/model.onnx: | setup
	$(BIN)/salver sample $(BENCH_RUN)-sample
	$(BIN)/salver train $(BENCH_RUN)-sample --base resnet18 --weights none --epochs 1 --out $(BENCH_RUN) --overwrite

# Random weights answer at chance, so any loss of accuracy will do: only the speed counts here.
$(BENCH_RUN)/model.int8.onnx: $(BENCH_RUN)/model.onnx
	$(BIN)/salver export $(BENCH_RUN) --precision int8 --max-accuracy-loss 1

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
BASE_IMAGE ?= python:3.11-slim-bookworm
DOCKER_BUILD = DOCKER_BUILDKIT=1 docker build $(DOCKER_OPTIONS) --build-arg BASE=$(BASE_IMAGE) \
	--build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION)
# $(call image,NAME,MEGABYTES,OPTIONS): build it, say its size, and fail when it adds more to its base than that.
define image
	@docker image inspect $(BASE_IMAGE) >/dev/null 2>&1 || docker pull $(BASE_IMAGE)
	$(DOCKER_BUILD) $(3) -t $(1) .
	@base=$$(docker image inspect -f '{{.Size}}' $(BASE_IMAGE)); all=$$(docker image inspect -f '{{.Size}}' $(1)); \
	added=$$(( (all - base) / 1000000 )); echo "$(1): $$((all / 1000000)) MB, $$added MB more than its base; budget $(2)"; \
	test $$added -le $(2) || { echo "The image is over its budget: look at  docker history $(1)"; exit 1; }
endef

.PHONY: images images-all k8s audit
images:  ## build the service's image for CPUs, and those for load tests and fetching; sizes against budgets
	$(call image,salver-serve:cpu,250,-f Dockerfile.serve)
	$(call image,salver-loadtest,250,-f loadtest/Dockerfile)
	$(call image,salver-fetch,125,-f k8s/fetch/Dockerfile)

images-all: images  ## those for training and for GPUs as well; several GB each
	$(call image,salver-train,6600,-f Dockerfile.train)
	$(call image,salver-serve:gpu,2800,-f Dockerfile.serve --build-arg RUNTIME=gpu)

k8s: setup  ## check every overlay, component and job
	$(BIN)/python -m pytest tests/deploy

LOCKS := serve serve-gpu train loadtest fetch

# strict: a package that the database does not answer for is a failure, not a pass.
audit: setup  ## an SBOM (build/sbom-*.json) of what each image installs; known vulnerabilities and licences of it
	mkdir -p build
	for lock in $(LOCKS); do $(BIN)/cyclonedx-py requirements requirements/$$lock.txt -o build/sbom-$$lock.json || exit 1; done
	for lock in $(LOCKS); do $(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements/$$lock.txt || exit 1; done
	$(BIN)/python -m pytest -m index

.PHONY: docs
docs: setup  ## the settings page and the picture of the rooms anew, and the documentation as a site in build/site; a broken link ends it
	$(BIN)/python -m tools.settings_page
	$(BIN)/python -m tools.house_picture
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -f docs/mkdocs.yml  # with --quiet it would not count what is broken

.PHONY: test-docs notebook
test-docs: setup chromium  ## type what README and docs say, page by page in a fresh folder, and execute the notebook (7 minutes)
	$(BIN)/python -m pytest -m docs

notebook: setup  ## execute docs/walkthrough.ipynb and store it with what it showed (about 2 minutes)
	$(BIN)/python -m tools.notebook

.PHONY: screenshots
screenshots: setup chromium  ## take the pictures in docs/images of the pages themselves; after make demo
	$(BIN)/python -m tools.screenshots

lock: setup  ## write requirements/*.txt anew from pyproject.toml
	$(LOCK) --extra train --extra serve --extra client --extra loadtest --extra annotate --extra tracing --extra dev -o requirements/dev.txt
	$(LOCK) --extra train -o requirements/train.txt
	$(LOCK) --extra serve --extra tracing -o requirements/serve.txt
	$(LOCK) --extra serve-gpu --extra tracing -o requirements/serve-gpu.txt
	$(LOCK) --extra loadtest -c requirements/dev.txt -o requirements/loadtest.txt
	$(LOCK:pyproject.toml=--group pyproject.toml:fetch) -o requirements/fetch.txt
	sed -n 's/^ *"\(hatchling==.*\)",/\1/p' pyproject.toml | $(subst pyproject.toml,-,$(LOCK)) -o requirements/build.txt

clean:  ## remove what the commands made, .venv and runs/ included
	rm -rf .venv runs build dist *.egg-info .*_cache .hypothesis
