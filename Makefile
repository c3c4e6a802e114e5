PYTHON ?= python3
BIN := .venv/bin

.PHONY: help sweep quick test slurm check bench format clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

sweep: .venv/ready  ## train a study of thirteen small models and read its verdict (about 3 minutes)
	$(BIN)/python -m ablate.train +experiment=mix_sweep -m

quick: .venv/ready  ## the tests that are not slow (under 2 minutes)
	$(BIN)/python -m pytest -m 'not slow'

test: .venv/ready  ## all tests
	$(BIN)/python -m pytest

check: .venv/ready  ## style, format, types, imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/python -m pytest -n 0 tests/test_imports.py

# As root, with Debian's slurmctld, slurmd, slurm-client and munge. One job is preempted on the way
slurm: .venv/ready  ## the study again, shorter, on a Slurm that lives as long as the command
	rm -rf outputs/slurm
	$(BIN)/python tests/slurm/cluster.py with $(BIN)/python tests/slurm/sweep.py outputs/slurm \
	  +experiment=mix_sweep tokens=50_000

bench: .venv/bench  ## measure speed and error rates
	$(BIN)/python -m bench

format: .venv/ready  ## put the code into form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and all outputs
	rm -rf .venv outputs

# Exact versions that were tried together; torch==2.13.0 takes a CPU build where the index offers one
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv/bench: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(PYTHON) -m venv .venv/litgpt  # litgpt pins versions of its own
	.venv/litgpt/bin/python -m pip install --quiet torch==2.13.0 litgpt==0.5.13
	$(PYTHON) -m venv .venv/trl  # and so is trl kept apart, which is no dependency
	.venv/trl/bin/python -m pip install --quiet torch==2.13.0 trl==1.16.0
	touch $@
