# Convenience only: the README gives the same steps as plain commands for every system.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATASET := $(if $(EARMARK_ESC10),$(EARMARK_ESC10),synthetic)

.PHONY: demo test clean

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

demo: $(VENV)/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python demo.py "$(DATASET)"

test: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

clean:
	rm -rf $(VENV) splits models synthetic-sounds
