# SPDX-License-Identifier: Apache-2.0
# make demo and make test do all their set-up: a virtual environment in .venv, with the ROS 2 wheels from PyPI unless a
# ROS installation is sourced.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROS_SOURCED := $(shell [ -n "$$ROS_DISTRO" ] && $(PYTHON) -c 'import rclpy' 2>/dev/null && echo yes)
ifeq ($(ROS_SOURCED),yes)
EXTRAS := train,dev
CONSTRAINTS := constraints_ros.txt
READY := $(VENV)/.ready-with-ros
OTHER_READY := $(VENV)/.ready
else
EXTRAS := ros,train,dev
CONSTRAINTS := constraints.txt
READY := $(VENV)/.ready
OTHER_READY := $(VENV)/.ready-with-ros
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test check audit format clean

help: ## Show the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY) ## Make .venv with everything in it

$(READY): setup.py constraints_common.txt $(CONSTRAINTS) Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "error: $$($(PYTHON) --version) is too old: install Python 3.10 or newer, or run make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "error: this Python cannot make virtual environments: sudo apt install python3-venv"; exit 1; }
	@[ -n "$(ROS_SOURCED)" ] || [ "$$(uname -sm)" = "Linux x86_64" ] || \
		{ echo "error: PyPI has no ROS 2 for $$(uname -sm): install ROS 2 (apt) and source its setup.bash first"; exit 1; }
	@[ ! -e $(OTHER_READY) ] || { echo "$(VENV) was made $(if $(ROS_SOURCED),without,with) a ROS installation: made anew"; rm -rf $(VENV); }
	$(PYTHON) -m venv $(if $(ROS_SOURCED),--system-site-packages) $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --editable '.[$(EXTRAS)]' --constraint $(CONSTRAINTS)
	@touch $@

demo: $(READY) ## Drawn scenes through the real node: overlays, video, bag and report in demo_output/
	$(BIN)/vltseg demo $(ARGS)

check: $(READY) ## Format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check ## Checks, tests and what they cover; ARGS='-k ...' for some tests alone
	$(BIN)/python -m pytest $(or $(ARGS),--numprocesses=2 --dist=loadfile --cov --cov-report=)
	$(if $(ARGS),,$(BIN)/coverage report --include='vltseg_ros/*' --fail-under=90)
	$(if $(ARGS),,$(BIN)/coverage report --include='vltseg_core/runtime/*' --fail-under=90)

audit: ## Known vulnerabilities of the pinned dependencies
	$(PYTHON) .ci/audit.py

format: $(READY) ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove .venv and what was built
	rm -rf $(VENV) build install log *.egg-info .mypy_cache .ruff_cache .pytest_cache demo_output
