# Everything that people and CI do with this repo. `make demo` and `make test` need nothing else.
#
# PYTHON     the interpreter that makes .venv (3.11 or newer)
# PIP_FLAGS  extra flags for pip. On Linux machines whose index offers only torch with CUDA:
#            make test PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_FLAGS)

.PHONY: demo test check golden smoke first-light release steadier evener longer seen led led-longer fresh-images own-faults own-faults-real more-images peers wild evidence ablation setup clean

demo: $(VENV)/core.stamp  ## score real photos with the embedded model
	$(BIN)/mspt score examples/faces

test: $(VENV)/dev.stamp  ## everything that must hold
	$(BIN)/python -m pytest

check: $(VENV)/dev.stamp  ## style, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

golden: $(VENV)/dev.stamp  ## renew the pinned scores; review the diff, then note it in CHANGELOG
	$(BIN)/python tests/golden/renew.py

smoke: $(VENV)/dev.stamp  ## the whole training path on drawn faces, about a minute
	$(BIN)/python examples/draw_faces.py data/smoke
	$(BIN)/mspt synthesize data/smoke/photos.csv data/smoke/set --frame 256 --min-side 256
	rm -rf out/smoke
	$(BIN)/mspt train runs/smoke.toml
	$(BIN)/mspt export out/smoke/checkpoints/stage3-step000016 out/smoke/smoke.onnx

# FACES: a CSV of photos with the columns file, set, usage, split, identity, source_repo (MODEL_CARD.md, Data).
# LABELLED: a CSV of photos with human scores, columns file, mos; optional, for `make evidence`.
FACES ?= ../shared/data/faces/manifest.csv
TRAIN_SET := $(FACES) data/first-light-train --where set=pristine --where usage=permissive --where split=train --single 6 --second-order 3 --capture 3 --chained 0 --photo-filter 0 --gray 0
VAL_SET := $(FACES) data/first-light-val --where set=pristine --where usage=permissive --where split=val --single 36 --second-order 6 --capture 6 --chained 0 --photo-filter 0 --gray 0

first-light: $(VENV)/dev.stamp  ## make `base` 1 again: 21 minutes of data, 89 of training
	$(BIN)/mspt synthesize $(TRAIN_SET)
	$(BIN)/mspt synthesize $(VAL_SET)
	$(BIN)/mspt train runs/first-light.toml --resume
	$(BIN)/mspt export out/first-light/checkpoints/stage3-step001400 out/first-light/base.onnx \
		--reference data/first-light-val/manifest.csv --reference-name "first-light val" --licence Apache-2.0
	$(BIN)/mspt evaluate data/first-light-val/manifest.csv --model out/first-light/base.onnx

# A process for each of two cores: so release-v2 and two comparisons were trained. On a GPU: make release TRAIN=".venv/bin/mspt train"
TRAIN ?= OMP_NUM_THREADS=1 ACCELERATE_USE_CPU=true $(BIN)/python -m torch.distributed.run --nproc_per_node 2 -m mspt train
PERMISSIVE := --where set=pristine --where usage=permissive
WILD := --where set=wild --where usage=permissive --where split=train
RELEASE_EXPORT := --reference data/release-val/manifest.csv --reference-name "release val" --licence Apache-2.0 --half

# Labels are renewed where their constants changed; images stay.
CONSTANTS := src/mspt/synthesis/calibration.json

data/release-%/manifest.csv: $(CONSTANTS) $(VENV)/dev.stamp
	$(BIN)/mspt synthesize $(FACES) data/release-$* $(PERMISSIVE) --where split=$* $(RELEASE_IMAGES)

data/release-val/manifest.csv: RELEASE_IMAGES := --single 14
data/release-test/manifest.csv: RELEASE_IMAGES := --single 20 --second-order 3 --chained 3 --capture 3 --photo-filter 3

data/release-train-2/manifest.csv: $(CONSTANTS) $(VENV)/dev.stamp
	$(BIN)/mspt synthesize $(FACES) data/release-train-2 $(PERMISSIVE) --where split=train --seed 1 \
		--single 8 --second-order 1 --chained 2 --capture 1 --photo-filter 2

data/release-train-3/manifest.csv: SEED := 2
data/release-train-4/manifest.csv: SEED := 3
data/release-train-3/manifest.csv data/release-train-4/manifest.csv: $(CONSTANTS) $(VENV)/dev.stamp
	$(BIN)/mspt synthesize $(FACES) $(@D) $(PERMISSIVE) --where split=train --seed $(SEED) \
		--single 6 --second-order 2 --chained 2 --capture 2 --photo-filter 2

data/release-train-5/manifest.csv: $(CONSTANTS) $(VENV)/dev.stamp
	$(BIN)/mspt synthesize $(FACES) data/release-train-5 $(PERMISSIVE) --where split=train --seed 4 \
		--single 4 --second-order 2 --chained 2 --capture 2 --photo-filter 4 --gray 0.25

data/release-train-6/manifest.csv: $(CONSTANTS) $(VENV)/dev.stamp
	$(BIN)/mspt synthesize $(FACES) data/release-train-6 $(PERMISSIVE) --where split=train --seed 5 \
		--single 16 --second-order 6 --chained 6 --capture 6 --photo-filter 8 --gray 0.2

# Where labels or grades have changed, finished runs in out/ are refused: delete it first. Then each version's weights come out
# other than those that were embedded at their time (git has them), since what they learn from has changed.
release: data/release-train/manifest.csv data/release-val/manifest.csv  ## train the embedded models, after `make first-light`
	$(BIN)/mspt train runs/release-v1.toml --resume
	$(BIN)/mspt export out/release-v1/checkpoints/stage3-step000800 out/release-v1/base.onnx --model-version 2 $(RELEASE_EXPORT)
	$(TRAIN) runs/release-v2.toml --resume
	$(BIN)/python runs/average.py out/release-v1/checkpoints/stage3-step000800 out/release-v2/checkpoints/stage3-step000700 \
		--data data/release-train --out out/release-v2/averaged
	$(BIN)/mspt export out/release-v2/averaged out/release-v2/base.onnx --model-version 3 $(RELEASE_EXPORT)
	$(BIN)/mspt export out/release-v2/checkpoints/stage1-step002400 out/release-v2/fast.onnx --model-version 2 $(RELEASE_EXPORT)
	$(MAKE) steadier
	$(MAKE) evener
	$(MAKE) longer
	$(MAKE) seen
	$(MAKE) led
	$(MAKE) further

steadier: data/release-train/manifest.csv data/release-train-2/manifest.csv data/release-val/manifest.csv data/wild/labels.csv  ## the third part of `make release`
	$(BIN)/mspt train runs/release-v3.toml --resume
	$(BIN)/mspt export out/release-v3/checkpoints/stage3-step000700 out/release-v3/base.onnx --model-version 4 $(RELEASE_EXPORT)
	$(BIN)/mspt export out/release-v3/checkpoints/stage1-step001200 out/release-v3/fast.onnx --model-version 3 $(RELEASE_EXPORT)

evener: data/release-train-3/manifest.csv data/release-val/manifest.csv data/wild-2/labels.csv  ## the fourth part of `make release`
	$(BIN)/mspt train runs/release-v4.toml --resume
	$(BIN)/mspt export out/release-v4/checkpoints/stage1-step000800 out/release-v4/base.onnx --model-version 5 $(RELEASE_EXPORT)
	$(BIN)/mspt train runs/release-v4-fast.toml --resume
	$(BIN)/mspt export out/release-v4-fast/checkpoints/stage1-step000450 out/release-v4-fast/fast.onnx --model-version 4 $(RELEASE_EXPORT)

longer: data/release-train-3/manifest.csv data/release-val/manifest.csv data/wild-3/labels.csv  ## the fifth part of `make release`
	$(BIN)/mspt train runs/release-v5.toml --resume
	$(BIN)/mspt export out/release-v5/checkpoints/stage1-step001700 out/release-v5/base.onnx --model-version 6-draft $(RELEASE_EXPORT)
	$(BIN)/mspt train runs/release-v5-fast.toml --resume
	$(BIN)/mspt export out/release-v5-fast/checkpoints/stage1-step000450 out/release-v5-fast/fast.onnx --model-version 5-draft $(RELEASE_EXPORT)
	$(BIN)/mspt train runs/release-v6.toml --resume
	$(BIN)/mspt export out/release-v6/checkpoints/stage1-step000800 out/release-v6/base.onnx --model-version 6 $(RELEASE_EXPORT)
	$(BIN)/mspt train runs/release-v6-fast.toml --resume
	$(BIN)/mspt export out/release-v6-fast/checkpoints/stage1-step000500 out/release-v6-fast/fast.onnx --model-version 5 $(RELEASE_EXPORT)

# Labels times what blind eyes say of the photos themselves (benchmarks/grades)
data/release-%/graded.csv: data/release-%/manifest.csv benchmarks/grades/release-%.csv
	$(BIN)/python benchmarks/blind_grades.py label $(@D)

# The same photos as those of release-train-4; others of them are gray
data/release-train-5/graded.csv data/release-train-6/graded.csv: %/graded.csv: %/manifest.csv benchmarks/grades/release-train-4.csv
	$(BIN)/python benchmarks/blind_grades.py label $* --grades benchmarks/grades/release-train-4.csv

# The same, and half of it the grade where damaged images were graded; real photos have grades alone
data/release-train-4/blended.csv data/real-train/graded.csv &: data/release-train-4/manifest.csv benchmarks/grades/release-train-4.csv benchmarks/grades/real-train.csv benchmarks/grades/damaged.csv
	$(BIN)/python runs/list_photos.py $(FACES) data/real-train/manifest.csv --where split=train --where usage=permissive \
		--without data/release-train-4 --source real
	$(BIN)/python benchmarks/damage_grades.py label data/release-train-4 --real data/real-train

seen: own-faults data/release-train-4/blended.csv  ## the sixth part of `make release`
	$(BIN)/mspt train runs/comparisons/own-faults-fast-2.toml --resume
	$(BIN)/mspt train runs/release-v7-fast.toml --resume
	$(BIN)/mspt export out/release-v7-fast/checkpoints/stage1-step000700 out/release-v7-fast/fast.onnx --model-version 6-draft $(RELEASE_EXPORT)
	$(BIN)/mspt train runs/release-v7-fast-2.toml --resume
	$(BIN)/mspt export out/release-v7-fast-2/checkpoints/stage1-step000800 out/release-v7-fast-2/fast.onnx --model-version 6 $(RELEASE_EXPORT)
	$(BIN)/mspt train runs/release-v7-a.toml --resume
	$(BIN)/mspt train runs/release-v7-b.toml --resume
	$(BIN)/python runs/average.py out/release-v7-a/checkpoints/stage1-step000950 out/release-v7-b/checkpoints/stage1-step000750 \
		--data data/release-train-4 --out out/release-v7
	$(BIN)/mspt export out/release-v7 out/release-v7/base.onnx --model-version 7 $(RELEASE_EXPORT)

led: data/release-train-4/blended.csv data/release-train-5/graded.csv data/release-val/graded.csv  ## the seventh part of `make release`
	$(BIN)/mspt train runs/release-v8-fast.toml --resume
	$(BIN)/mspt export out/release-v8-fast/checkpoints/stage1-step000500 out/release-v8-fast/fast.onnx --model-version 7 $(RELEASE_EXPORT)
	$(BIN)/mspt train runs/release-v8.toml --resume
	$(BIN)/python runs/average.py out/release-v7 out/release-v8/checkpoints/stage1-step000700 --data data/release-train-4 --out out/release-v8/averaged
	$(BIN)/mspt export out/release-v8/averaged out/release-v8/base.onnx --model-version 8 $(RELEASE_EXPORT)

led-longer: led  ## does a longer run at a higher rate do better? Does the mean of both?
	$(BIN)/mspt train runs/comparisons/led-longer.toml --resume
	$(BIN)/mspt export out/led-longer/checkpoints/stage1-step001000 out/led-longer/base.onnx $(RELEASE_EXPORT)
	$(BIN)/python runs/average.py out/led-longer/checkpoints/stage1-step001000 out/release-v8/checkpoints/stage1-step000700 \
		--data data/release-train-4 --out out/led-mean
	$(BIN)/mspt export out/led-mean out/led-mean.onnx $(RELEASE_EXPORT)

LONG_RUN_DATA := data/release-train-4/blended.csv data/release-train-5/graded.csv data/release-train-6/graded.csv data/release-val/graded.csv

further: $(LONG_RUN_DATA)  ## the last part of `make release`; wants a GPU
	$(BIN)/mspt train runs/release-v9.toml --resume
	$(BIN)/mspt export out/release-v9/checkpoints/stage1-step002700 out/release-v9/base.onnx --model-version 9 $(RELEASE_EXPORT)
	$(BIN)/mspt train runs/release-v9-fast.toml --resume
	$(BIN)/mspt export out/release-v9-fast/checkpoints/stage1-step004450 out/release-v9-fast/fast.onnx --model-version 8 $(RELEASE_EXPORT)

lower-rate: further  ## does half the rate do better? Does the mean of both?
	$(BIN)/mspt train runs/comparisons/lower-rate.toml --resume
	$(BIN)/mspt export out/lower-rate/checkpoints/stage1-step002800 out/lower-rate/base.onnx $(RELEASE_EXPORT)
	$(BIN)/python runs/average.py out/release-v9/checkpoints/stage1-step002700 out/lower-rate/checkpoints/stage1-step002800 \
		--data data/release-train-4 --out out/further-mean
	$(BIN)/mspt export out/further-mean out/further-mean.onnx $(RELEASE_EXPORT)

own-faults: data/release-train-4/graded.csv data/release-val/graded.csv data/real-train/graded.csv data/wild-4/labels.csv  ## labels that count the photos' own faults, after `make longer`
	$(BIN)/mspt train runs/comparisons/own-faults-a.toml --resume
	$(BIN)/mspt train runs/comparisons/own-faults-b.toml --resume
	$(BIN)/python runs/average.py out/own-faults-a/checkpoints/stage1-step002200 out/own-faults-b/checkpoints/stage1-step001100 \
		--data data/release-train-4 --out out/own-faults-mean
	$(BIN)/mspt train runs/comparisons/own-faults-fast.toml --resume
	for made in a/checkpoints/stage1-step002200 b/checkpoints/stage1-step001100 mean fast/checkpoints/stage2-step000180; do \
		$(BIN)/mspt export out/own-faults-$$made out/own-faults-$${made%%/*}.onnx $(RELEASE_EXPORT) || exit 1; done

own-faults-real: own-faults  ## does a short last stage with graded real photos help?
	$(BIN)/mspt train runs/comparisons/own-faults-real.toml --resume
	$(BIN)/mspt export out/own-faults-real/checkpoints/stage2-step000180 out/own-faults-real.onnx $(RELEASE_EXPORT)

# Labels of wild faces, by the models of release-v6
data/wild-4/labels.csv: $(VENV)/dev.stamp
	$(BIN)/python runs/list_photos.py $(FACES) data/wild-4/photos.csv $(WILD)
	$(BIN)/mspt label data/wild-4/photos.csv --model out/release-v6/base.onnx --model out/release-v6-fast/fast.onnx -o $@

# Labels of wild faces, by the models of release-v4
data/wild-3/labels.csv: $(VENV)/dev.stamp
	$(BIN)/python runs/list_photos.py $(FACES) data/wild-3/photos.csv $(WILD)
	$(BIN)/mspt label data/wild-3/photos.csv --model out/release-v4/base.onnx --model out/release-v4-fast/fast.onnx -o $@

# Labels of wild faces, by the models of release-v3
data/wild-2/labels.csv: $(VENV)/dev.stamp
	$(BIN)/python runs/list_photos.py $(FACES) data/wild-2/photos.csv $(WILD)
	$(BIN)/mspt label data/wild-2/photos.csv --model out/release-v3/base.onnx --model out/release-v3/fast.onnx -o $@

# Labels of wild faces, by the models of release-v1 and release-v2
data/wild/labels.csv: $(VENV)/dev.stamp
	$(BIN)/python runs/list_photos.py $(FACES) data/wild/photos.csv $(WILD)
	$(BIN)/mspt label data/wild/photos.csv --model out/release-v2/base.onnx --model out/release-v2/fast.onnx \
		--model out/release-v1/base.onnx -o $@

more-images: data/release-train/manifest.csv data/release-train-2/manifest.csv data/release-val/manifest.csv  ## does twice the images help? After `make release`
	$(TRAIN) runs/comparisons/more-images.toml --resume
	$(BIN)/mspt export out/more-images/checkpoints/stage1-step001700 out/more-images/fast.onnx --model-version 3 $(RELEASE_EXPORT)

fresh-images: data/release-train-4/manifest.csv data/release-val/manifest.csv data/wild-4/labels.csv  ## does going on help, on images drawn anew? After `make release`
	$(BIN)/mspt train runs/comparisons/fresh-images-base.toml --resume
	$(BIN)/mspt export out/fresh-images-base/checkpoints/stage1-step001700 out/fresh-images-base/base.onnx $(RELEASE_EXPORT)
	$(BIN)/python runs/average.py out/fresh-images-base/checkpoints/stage0-step000000 out/fresh-images-base/checkpoints/stage1-step001700 \
		--data data/release-train-4 --out out/fresh-images-base/averaged
	$(BIN)/mspt export out/fresh-images-base/averaged out/fresh-images-base/mean.onnx $(RELEASE_EXPORT)
	$(BIN)/mspt train runs/comparisons/fresh-images-fast.toml --resume
	$(BIN)/mspt export out/fresh-images-fast/checkpoints/stage1-step000600 out/fresh-images-fast/fast.onnx $(RELEASE_EXPORT)

peers: $(LONG_RUN_DATA)  ## MSPT and EdgeNeXt-XXS on the same data, from random weights
	$(BIN)/mspt train runs/comparisons/peers-mspt.toml --resume
	$(BIN)/mspt train runs/comparisons/peers-edgenext.toml --resume
	$(BIN)/mspt export out/peers-mspt/checkpoints/stage1-step005300 out/peers-mspt/peer.onnx
	$(BIN)/mspt export out/peers-edgenext/checkpoints/stage1-step005300 out/peers-edgenext/peer.onnx

wild: data/release-train/manifest.csv data/release-val/manifest.csv data/wild/labels.csv  ## do pseudo-labels of wild faces help? After `make release`
	$(TRAIN) runs/comparisons/wild-without.toml --resume
	$(TRAIN) runs/comparisons/wild-with.toml --resume
	$(BIN)/mspt compare out/wild-without out/wild-with

data/outside-%/manifest.csv: benchmarks/outside_set.py $(CONSTANTS) $(VENV)/dev.stamp
	$(BIN)/python benchmarks/outside_set.py $(FACES) $(@D) $(PERMISSIVE) --where split=$*

LABELLED ?= $(wildcard ../shared/data/labelled/flive_voc2012/labels.csv)
evidence: data/release-test/manifest.csv data/outside-test/manifest.csv  ## all figures of docs/evidence.md, on people never seen in training
	$(BIN)/python benchmarks/evidence.py $(FACES) data/release-test data/outside-test \
		$(if $(LABELLED),--labelled $(LABELLED)) \
		$(if $(wildcard out/release-v8/base.onnx),--model base-8=out/release-v8/base.onnx) \
		$(if $(wildcard out/release-v8-fast/fast.onnx),--model fast-7=out/release-v8-fast/fast.onnx) \
		$(if $(wildcard out/peers-mspt/peer.onnx),--model mspt-224=out/peers-mspt/peer.onnx) \
		$(if $(wildcard out/peers-edgenext/peer.onnx),--model edgenext-224=out/peers-edgenext/peer.onnx)

ablation: $(VENV)/dev.stamp  ## does progressive training pay? 21 runs of equal cost, docs/ablation.md
	$(BIN)/mspt synthesize $(FACES) data/ablation/train $(PERMISSIVE) --where split=train --single 4 --second-order 2 --capture 2 --chained 0 --photo-filter 0 --gray 0
	$(BIN)/mspt synthesize $(FACES) data/ablation/val $(PERMISSIVE) --where split=val --single 12 --second-order 4 --capture 4 --chained 0 --photo-filter 0 --gray 0
	test -f data/ablation/outside/manifest.csv || \
		$(BIN)/python benchmarks/outside_set.py $(FACES) data/ablation/outside $(PERMISSIVE) --where split=val
	$(BIN)/python benchmarks/ablation.py

setup: $(VENV)/dev.stamp

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/core.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[fast,detect,video,parquet,train,synth,dev]"
	touch $@ $(VENV)/core.stamp

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist
