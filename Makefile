# The two commands: `make demo` and `make test`. Each sets up what it needs in .venv first (tools/setup_env.py).
#
#   make demo PYTHON=python3.12          another Python
#   make test VENV=/tmp/env              another place for the environment
#   make demo DEMO_ARGS="--seconds 20"   arguments for the demo (see `make demo DEMO_ARGS=--help`)
#   make test PYTEST_ARGS="-k packaging" arguments for pytest

PYTHON ?= python3
VENV ?= .venv
DEMO_ARGS ?=
PYTEST_ARGS ?=
export VENV

BIN = $(VENV)/bin

# Frames larger than Fast DDS' default shared-memory segment (0.5 MB) get lost without this profile, and what runs here
# is of no concern to robots in the same network.
ROS_ENV = FASTDDS_DEFAULT_PROFILES_FILE="$(CURDIR)/config/dds/fastdds_shm.xml" \
          RMW_IMPLEMENTATION=rmw_fastrtps_cpp \
          ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST

PYTEST = $(ROS_ENV) $(BIN)/python -m pytest
WORKERS ?= 3

.PHONY: help demo test test-slow lint format setup setup-test clean
.DEFAULT_GOAL := help

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: setup  ## Track objects in a camera stream: two ROS 2 nodes, live figures, an annotated video
	@$(ROS_ENV) $(BIN)/python -m sam_ros.demo $(DEMO_ARGS)

# Three workers on two cores: the ROS tests mostly wait. A file's tests share their processes, so they stay
# together; the longest files come first.
test: setup-test  ## Everything that CI runs: ruff, mypy, pytest
	@status=0; $(MAKE) --no-print-directory lint || status=$$?; \
	$(PYTEST) -m "not slow" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS) || status=$$?; exit $$status

test-slow: setup-test  ## The tests that take minutes each
	@$(PYTEST) -m slow $(PYTEST_ARGS)

lint: setup-test  ## Check style (ruff) and types (mypy)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy

format: setup-test  ## Bring the code into the style that `make lint` checks
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

setup:
	@$(PYTHON) tools/setup_env.py demo

setup-test:
	@$(PYTHON) tools/setup_env.py test

clean:  ## Remove the environment, builds and caches
	rm -rf .venv .venv.lock build install log dist *.egg-info demo_output .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
