# Everything that people and CI do with this repo. `make demo` and `make test` need nothing else.
#
# PYTHON     the interpreter that makes .venv (3.11 or newer)
# PIP_FLAGS  extra flags for pip. On Linux machines whose index offers only torch with CUDA:
#            make test PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
# FACES      a CSV of photos, columns file, set, usage, split, identity, source_repo (MODEL_CARD.md)

PYTHON ?= python3
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_FLAGS)
PERMISSIVE := --where set=pristine --where usage=permissive
NEEDS_FACES = $(if $(FACES),,$(error give a CSV of photos: make $@ FACES=faces.csv; MODEL_CARD.md says what is in it))

.PHONY: help demo test quick check docs golden smoke release evidence ablation setup clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

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

docs: $(VENV)/dev.stamp  ## write docs/cli.md anew from the commands' help
	$(BIN)/python docs/write_cli.py

golden: $(VENV)/dev.stamp  ## renew the pinned scores; review the diff, then note it in CHANGELOG
	$(BIN)/python tests/golden/renew.py

smoke: $(VENV)/dev.stamp  ## the whole training path on drawn faces, about a minute
	$(BIN)/python examples/draw_faces.py data/smoke
	$(BIN)/mspt synthesize data/smoke/photos.csv data/smoke/set --frame 256 --min-side 256
	rm -rf out/smoke
	$(BIN)/mspt train runs/smoke.toml
	$(BIN)/mspt export runs/smoke.toml out/smoke/smoke.onnx

# What models learn from and are chosen by: photos of any size, portraits with more mixtures, real photos
# with more of what goes wrong on phones. labels/ puts all of them on one scale.
NONE := --single 2 --second-order 0 --chained 0 --capture 1 --photo-filter 0
data/portraits-train/manifest.csv: MADE := --where set=pristine --where split=train $(NONE) --second-order 1 --chained 1 --photo-filter 1 --small 1 --mild 1 --gray 0.1
data/real-train/manifest.csv: MADE := --where set=wild --where split=train $(NONE) --small 2 --phone 3 --mild 3 --gray 0.05
data/enlarged-train/manifest.csv: MADE := --where set=wild --where split=train --enlarge --seed 1 --single 0 --second-order 0 --chained 0 --capture 0 --photo-filter 0 --mild 5 --gray 0.05
data/val/manifest.csv: MADE := --where split=val $(NONE) --photo-filter 1 --small 1 --phone 1 --mild 2 --gray 0.05
$(foreach set,portraits-train real-train enlarged-train val,data/$(set)/manifest.csv): $(VENV)/dev.stamp
	$(NEEDS_FACES)$(BIN)/mspt synthesize $(FACES) $(@D) --where usage=permissive --min-side 64 $(MADE)

data/%/graded.csv: data/%/manifest.csv $(wildcard labels/grades/*.csv)
	$(BIN)/python -m labels.apply $(@D)

data/release-test/manifest.csv: COUNTS := --single 20 --second-order 3 --chained 3 --capture 3 --photo-filter 3
data/release-%/manifest.csv: src/mspt/synthesis/calibration.json $(VENV)/dev.stamp
	$(NEEDS_FACES)$(BIN)/mspt synthesize $(FACES) $(@D) $(PERMISSIVE) --where split=$* $(COUNTS)

# The embedded weights of that commit: where runs/base-10.toml and runs/fast-9.toml begin.
data/base-9.1.onnx: WEIGHTS := base
data/fast-8.1.onnx: WEIGHTS := fast
data/base-9.1.onnx data/fast-8.1.onnx:
	mkdir -p $(@D)
	git show f61c717:src/mspt/inference/weights/$(WEIGHTS).onnx > $@

data/ablation/train/manifest.csv: COUNTS := --single 4 --second-order 2 --capture 2 --chained 0 --photo-filter 0 --gray 0
data/ablation/val/manifest.csv: COUNTS := --single 12 --second-order 4 --capture 4 --chained 0 --photo-filter 0 --gray 0
data/ablation/%/manifest.csv: $(VENV)/dev.stamp
	$(NEEDS_FACES)$(BIN)/mspt synthesize $(FACES) $(@D) $(PERMISSIVE) --where split=$* $(COUNTS)

data/outside-%/manifest.csv: $(VENV)/dev.stamp
	$(NEEDS_FACES)$(BIN)/python -m benchmarks.evidence.outside_set $(FACES) $(@D) $(PERMISSIVE) --where split=$*

release: data/release-train/manifest.csv data/release-val/manifest.csv  ## train base and fast from the start; hours
	$(BIN)/mspt train runs/base.toml --resume
	$(BIN)/mspt export runs/base.toml out/base/base.onnx --licence Apache-2.0 --half
	$(BIN)/mspt train runs/fast.toml --resume
	$(BIN)/mspt export runs/fast.toml out/fast/fast.onnx --licence Apache-2.0 --half

evidence: data/release-test/manifest.csv data/outside-test/manifest.csv  ## all figures of docs/evidence.md
	$(NEEDS_FACES)$(BIN)/python -m benchmarks.evidence.measure $(FACES) data/release-test data/outside-test

ablation: data/ablation/train/manifest.csv data/ablation/val/manifest.csv data/outside-val/manifest.csv  ## does progressive training pay? 21 runs
	$(BIN)/python -m benchmarks.studies.ablation

setup: $(VENV)/dev.stamp  ## everything installed

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/core.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[fast,detect,heif,video,parquet,serve,train,synth,dev]"
	touch $@ $(VENV)/core.stamp

clean:  ## remove what was installed and built
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist
