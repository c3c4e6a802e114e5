# make sweep: train a study of thirteen small models and read its verdict.   make test: prove that the code works.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: sweep test slurm check bench format clean

sweep: .venv/ready
	$(BIN)/python -m ablate.train +experiment=mix_sweep -m

test: .venv/ready
	$(BIN)/python -m pytest

# The study again, shorter, as job arrays of a Slurm that lives as long as the command (root; Debian's
# slurmctld, slurmd, slurm-client and munge). One job is preempted on the way
slurm: .venv/ready
	rm -rf outputs/slurm
	$(BIN)/python tests/slurm/cluster.py with $(BIN)/python tests/slurm/sweep.py outputs/slurm \
	  +experiment=mix_sweep tokens=50_000

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/python -m pytest -n 0 tests/test_imports.py

bench: .venv/bench
	$(BIN)/python -m bench

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

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
	touch $@

clean:
	rm -rf .venv outputs
