PYTHON ?= python

.PHONY: bench bench-docs bench-ahead docs docs-serve test lint

bench:  ## speed, as ratios measured side by side; on a quiet machine. BENCH="--only loss --json FILE" for a part
	$(PYTHON) -m benchmarks $(BENCH)

bench-docs:  ## the same, and put the tables into docs/speed.md
	$(PYTHON) -m benchmarks --write docs/speed.md $(BENCH)

bench-ahead:  ## what generations that overlap gain and cost, into docs/tutorials/cluster.md; some four minutes
	$(PYTHON) -m benchmarks --only ahead --write docs/tutorials/cluster.md

docs:  ## the site into site/, by pip install -e '.[docs]'; a bad link, anchor or page out of the navigation fails
	$(PYTHON) -m mkdocs build --strict

docs-serve:  ## the site while you write
	$(PYTHON) -m mkdocs serve

test:
	$(PYTHON) -m pytest -q

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
