PYTHON ?= python3
BIN := .venv/bin

.PHONY: help sweep book quick test slurm check bench format clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

sweep: .venv/ready  ## train a study of thirteen small models and read its verdict (3 to 7 minutes)
	$(BIN)/python -m ablate.train +experiment=mix_sweep -m

# What the lab book is made of, but for studies of text that nobody else has
STUDIES := schedule_sweep technique_sweep curriculum_sweep format_sweep balance_sweep arch_sweep arch_flops_sweep \
  qa_source stage_sweep depth_code science_share start_early start_late volume_sweep mix_sweep mix_tasks spike_sweep \
  phase_sweep after_sweep repair_sweep quantised_sweep compress_sweep level_sweep level_qa protocol_sweep mask_sweep \
  distill_sweep preference_sweep adaptive_sweep insert_sweep davinci_sweep

book: .venv/ready outputs/level_text  ## train every study of the lab book and write its page (ten hours and more on two cores; the same command goes on)
	for study in $(STUDIES); do \
	  $(BIN)/python -m ablate.train +experiment=$$study -m && \
	  $(BIN)/python -m ablate.report $$study --keep experiments/$$study || exit 1; done
	$(BIN)/python -m ablate.train +experiment=mix_ladder -m
	for size in tiny pico nano; do \
	  $(BIN)/python -m ablate.report mix_ladder_$$size --keep experiments/mix_ladder_$$size || exit 1; done
	$(BIN)/python -m ablate.report --book experiments

outputs/level_text: .venv/ready
	$(BIN)/python experiments/level_sweep/text.py $@

quick: .venv/ready  ## the tests that are not slow (under 2 minutes)
	$(BIN)/python -m pytest -m 'not slow'

test: .venv/ready  ## all tests
	$(BIN)/python -m pytest --durations 20

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
