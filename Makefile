# Everything that people and CI do with this repo. `make demo` and `make test` need nothing else.
#
# PYTHON     the interpreter that makes .venv (3.11 or newer)
# PIP_FLAGS  extra flags for pip. On Linux machines whose index offers only torch with CUDA:
#            make test PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
# FACES      a CSV of photos, columns file, set, usage, split, identity, source_repo (MODEL_CARD.md)
# PEOPLE     for `make evidence`: a CSV of photos that people rated, columns file, mos
# DAMAGED    for `make evidence`: a CSV of one photo damaged in many ways, columns file, mos, distortion

PYTHON ?= python3
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_FLAGS)
NEEDS_FACES = $(if $(FACES),,$(error give a CSV of photos: make $@ FACES=faces.csv; MODEL_CARD.md says what is in it))

.PHONY: help demo test quick check docs web test-web golden smoke release evidence ablation setup clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(VENV)/core.stamp  ## score real photos with the embedded model
	$(BIN)/mspt score examples/faces

test: $(VENV)/dev.stamp  ## everything that must hold
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

quick: $(VENV)/dev.stamp  ## what can be known in a minute and a half
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -q -m "not slow"

check: $(VENV)/dev.stamp  ## style, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

docs: $(VENV)/dev.stamp  ## write docs/cli.md and docs/python.md anew
	$(BIN)/python docs/write_cli.py
	$(BIN)/python docs/write_python.py

web: $(VENV)/dev.stamp  ## build what scores in the browser (needs Node), and out/site, which any web server serves
	cd web && npm ci --no-audit --no-fund --silent && npm run --silent build
	$(BIN)/mspt serve --site out/site

test-web: web  ## the page in a real browser: Debian's chromium and chromium-driver
	$(BIN)/python -m pytest -q tests/test_page.py

golden: $(VENV)/dev.stamp  ## renew the pinned scores; review the diff, then note it in CHANGELOG
	$(BIN)/python tests/golden/renew.py

smoke: $(VENV)/dev.stamp  ## the whole training path on drawn faces, about a minute
	$(BIN)/python examples/draw_faces.py data/smoke
	$(BIN)/mspt synthesize data/smoke/photos.csv data/smoke/set --frame 256 --min-side 256
	rm -rf out/smoke
	$(BIN)/mspt train runs/smoke.toml
	$(BIN)/mspt export runs/smoke.toml out/smoke/smoke.onnx

include labels/sets.mk

SETS := $(foreach set,portraits-train real-train enlarged-train val,data/$(set)/graded.csv)
release: $(SETS)  ## train base and fast from the start; hours
	$(BIN)/mspt train runs/base.toml --resume
	$(BIN)/mspt export runs/base.toml out/base/base.onnx --licence Apache-2.0 --half --overwrite
	$(BIN)/mspt train runs/fast.toml --resume
	$(BIN)/mspt export runs/fast.toml out/fast/fast.onnx --licence Apache-2.0 --half --overwrite

evidence: data/test/graded.csv data/outside-test/manifest.csv data/base-9.1.onnx  ## all figures of docs/evidence.md
	$(NEEDS_FACES)$(BIN)/python -m benchmarks.evidence.measure $(FACES) data/test data/outside-test \
		--former before=data/base-9.1.onnx $(if $(PEOPLE),--people $(PEOPLE)) $(if $(DAMAGED),--damaged $(DAMAGED))

ablation: data/ablation/train/manifest.csv data/ablation/val/manifest.csv data/outside-val/manifest.csv  ## does progressive training pay? 21 runs
	$(BIN)/python -m benchmarks.studies.ablation

setup: $(VENV)/dev.stamp  ## everything installed

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/core.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[fast,detect,heif,raw,video,parquet,groups,serve,cluster,train,synth,dev]"
	touch $@ $(VENV)/core.stamp

clean:  ## remove what was installed and built
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist
