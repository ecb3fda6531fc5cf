# Two commands on a fresh machine with Python 3.11+: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

.PHONY: setup test matrix quick demo bench check clean field-spark field-hadoop field-down

setup: $(STAMP)-test ## an environment in .venv with outgrow and all that the tests use

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(STAMP)-run: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[demo]'
	touch $@

$(STAMP)-test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[demo,test,lint]'
	touch $@ $(STAMP)-run

$(STAMP)-bench: $(STAMP)-test
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	touch $@

test: setup ## everything, warnings as errors, random order: first what needs clusters, which take all cores themselves, then the rest on all cores
	$(BIN)/python -m pytest -m field
	$(BIN)/python -m pytest -n auto -m "not field"

matrix: setup ## every learner on every engine, whole and killed, on clusters of its own; the table is kept in bench/results (long)
	$(BIN)/python bench/matrix.py

quick: setup ## the units, under two minutes, on all cores
	$(BIN)/python -m pytest -q -n auto -m "not slow and not field" tests/unit

demo: $(STAMP)-run ## real flights: plan, learn on one process and on three, kill one, compare
	$(BIN)/python demo/flights.py

check: setup ## style and types
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)-bench ## the tables of bench/results, made again on this machine (long)
	for table in overhead online_vs_vw online_vs_peers online_scaling dense_vs_sklearn plan_truth memory out_of_core; do $(BIN)/python bench/$$table.py || exit 1; done

field-spark: setup ## Spark on this machine (a master, two workers), left up to play with
	$(BIN)/python -m field spark

field-hadoop: setup ## HDFS and YARN on this machine, in a network of their own, left up to play with
	$(BIN)/python -m field hadoop

field-down: setup ## stops what the two above left up
	$(BIN)/python -m field down

clean: ## all that make made
	rm -rf $(VENV) build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-out
