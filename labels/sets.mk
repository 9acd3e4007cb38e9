# The sets that models learn from, are chosen by and are measured on: photos -> damage -> labels.
# Included by the Makefile; each `make data/NAME/...` needs FACES=faces.csv.

PERMISSIVE := --where set=pristine --where usage=permissive

# What models learn from and are chosen by: photos of any size, portraits with more mixtures, real photos
# with more of what goes wrong on phones. labels/ puts all of them on one scale.
NONE := --single 2 --second-order 0 --chained 0 --capture 1 --photo-filter 0
data/portraits-train/manifest.csv: MADE := --where set=pristine --where split=train $(NONE) --second-order 1 --chained 1 --photo-filter 1 --small 1 --mild 1 --gray 0.1
data/real-train/manifest.csv: MADE := --where set=wild --where split=train $(NONE) --small 2 --phone 3 --mild 3 --gray 0.05
data/enlarged-train/manifest.csv: MADE := --where set=wild --where split=train --enlarge --seed 1 --single 0 --second-order 0 --chained 0 --capture 0 --photo-filter 0 --mild 5 --gray 0.05
data/few-train/manifest.csv: MADE := --where split=train $(NONE) --single 1 --small 1 --phone 1 --gray 0.05
data/portraits-mixed/manifest.csv: MADE := --where set=pristine --where split=train $(NONE) --single 0 --second-order 1 --chained 1 --photo-filter 1 --gray 0.1
data/val/manifest.csv data/test/manifest.csv: MADE = --where split=$(notdir $(@D)) $(NONE) --photo-filter 1 --small 1 --phone 1 --mild 2 --gray 0.05
$(foreach set,portraits-train portraits-mixed few-train real-train enlarged-train val test,data/$(set)/manifest.csv): $(VENV)/dev.stamp
	$(NEEDS_FACES)$(BIN)/mspt synthesize $(FACES) $(@D) --where usage=permissive --min-side 64 $(MADE)

data/%/graded.csv: data/%/manifest.csv $(wildcard labels/grades/*.csv)
	$(BIN)/python -m labels.apply $(@D)

# The embedded weights of those commits: where runs/further/*.toml begin, and what evidence compares with.
data/base-9.1.onnx data/fast-8.1.onnx: COMMIT := f61c717
data/base-10.onnx data/fast-9.onnx: COMMIT := 61642a6
data/base-11.onnx: COMMIT := 71af0c2
data/base-12.onnx: COMMIT := cb93f07
data/base-9.1.onnx data/fast-8.1.onnx data/base-10.onnx data/fast-9.onnx data/base-11.onnx data/base-12.onnx:
	mkdir -p $(@D)
	git show $(COMMIT):src/mspt/inference/weights/$(firstword $(subst -, ,$(@F))).onnx > $@

data/ablation/train/manifest.csv: COUNTS := --single 4 --second-order 2 --capture 2 --chained 0 --photo-filter 0 --gray 0
data/ablation/val/manifest.csv: COUNTS := --single 12 --second-order 4 --capture 4 --chained 0 --photo-filter 0 --gray 0
data/ablation/%/manifest.csv: $(VENV)/dev.stamp
	$(NEEDS_FACES)$(BIN)/mspt synthesize $(FACES) $(@D) $(PERMISSIVE) --where split=$* $(COUNTS)

data/processes/%/manifest.csv: $(VENV)/dev.stamp
	$(NEEDS_FACES)$(BIN)/mspt synthesize $(FACES) $(@D) --frame 256 --min-side 256 --where set=wild --where usage=permissive \
		--where split=$* --single 5 --capture 2 --photo-filter 1 --phone 1 --mild 1 --gray 0.05

data/outside-%/manifest.csv: $(VENV)/dev.stamp
	$(NEEDS_FACES)$(BIN)/python -m benchmarks.evidence.outside_set $(FACES) $(@D) $(PERMISSIVE) --where split=$*
