# Convenience only: the README gives the same steps as plain commands for every system.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATASET := $(if $(EARMARK_ESC10),$(EARMARK_ESC10),synthetic)
SOUNDS := $(if $(EARMARK_ESC10),$(EARMARK_ESC10),synthetic-sounds)

.PHONY: demo test coverage clean

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

# Prepares the data, trains with the documented command, evaluates, predicts one clip of the test
# fold. set -x shows each command as it runs.
demo: $(VENV)/installed
	@PATH="$(CURDIR)/$(BIN):$$PATH"; set -ex; \
	earmark prepare "$(DATASET)"; \
	python lstm_classifier_train.py --split_index 0; \
	{ set +x; } 2>/dev/null; \
	run=$$(ls -td models/lstm-128-2-* | head -n 1); \
	clip=$$(find "$(SOUNDS)" -ipath '*dog*' -name '1-*' | sort | head -n 1); set -x; \
	python lstm_inference.py --model_dir "$$run" --split_index 0 --output_file results.json; \
	python lstm_inference.py --model_dir "$$run" --audio_file "$$clip"

# The Node example is tested where there is npm. Two workers, each with one thread: torch and numpy
# would else start as many threads as there are processors, in every worker.
WORKERS ?= 2
test: export OMP_NUM_THREADS = 1
test: $(VENV)/installed
	@if command -v npm >/dev/null; then \
	npm ci --prefix examples --ignore-scripts --no-audit --no-fund --silent || echo "npm failed: the Node example is not tested"; fi
	@for program in chromium mosquitto nginx; do \
	PATH="$$PATH:/usr/sbin" command -v $$program >/dev/null || \
	echo "$$program is not installed: its tests are skipped (Debian: apt install $$program)"; done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

# What of src/ the tests run, processes that they start included.
coverage: export OMP_NUM_THREADS = 1
coverage: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal --cov --cov-report term

clean:
	rm -rf $(VENV) examples/node_modules .mypy_cache .ruff_cache .pytest_cache .coverage*
