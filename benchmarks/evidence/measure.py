"""Are the embedded models any good, and where are they not? Writes the figures of docs/evidence.md.

    make evidence FACES=faces.csv        # makes the two test sets, then runs this script

    python -m benchmarks.evidence.measure FACES.csv data/test data/outside-test \
        [--people LABELS.csv --people-set clive_faces] [--damaged LABELS.csv]
        [--former NAME=FILE.onnx]

In:   the CSV of photos (columns file, set, split, usage, identity), the sets data/test by
      `mspt synthesize` and labels.apply, and data/outside-test by outside_set.py, both of `test`
      people alone; photos rated by people; one photo damaged in many ways (column distortion),
      rated by people; earlier weights to compare with.
Out:  the tables between the markers of docs/evidence.md, README.md and MODEL_CARD.md.
Nothing is chosen here; but what it says of `test` becomes the aim of later models.
"""

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from benchmarks.evidence import groups, labelled, mild, pairs, people, photos, steady
from benchmarks.evidence.pages import fill_page
from benchmarks.evidence.peers import SHARPNESS, installed_peers, sharpness_of
from benchmarks.evidence.tables import brief, number, table
from labels.apply import count_faults, grades_of_photos, photo_of
from PIL import Image

import mspt
from mspt.evaluation.evaluate import Evaluation
from mspt.evaluation.manifest import Entry, read_manifest
from mspt.evaluation.metrics import Vector
from mspt.synthesis.synthesize import photo_name

ROOT = Path(__file__).parents[2]
EMBEDDED = ("base", "fast")
STEADY_IMAGES = 200
TAKEN, PORTRAITS = "photos as people took them", "undamaged portraits"


def measure_labelled(
    entries: Sequence[Entry], values: Mapping[str, photos.Values]
) -> tuple[dict[str, Evaluation], dict[str, Vector]]:
    """Return how each model agrees with the labels of a set, and its scores."""
    scores = {name: of([entry.path for entry in entries]) for name, of in values.items()}
    return labelled.agreement_of(entries, scores), scores


def portraits_of(photos_csv: Path) -> set[str]:
    """Return the names in sets of all studio portraits: where groups' skin is sought."""
    with photos_csv.open(encoding="utf-8", newline="") as file:
        return {photo_name(row["file"]) for row in csv.DictReader(file) if row["set"] == "pristine"}


def measure_steady(entries: Sequence[Entry]) -> dict[str, dict[str, steady.Moves]]:
    """Return how far scores of images, evenly over a set, move; by model."""
    places = np.linspace(0, len(entries) - 1, min(len(entries), STEADY_IMAGES)).astype(int)
    images = [Image.open(entries[i].path).convert("RGB") for i in places]
    people_of = [entries[i].group for i in places]
    return {n: steady.measure_moves(n, images, people_of, steady.changes()) for n in EMBEDDED}


def short_table(
    found: photos.Found,
    changes: Mapping[str, mild.Changes],
    test: Mapping[str, Evaluation],
) -> Iterator[str]:
    """Yield what README.md and MODEL_CARD.md tell of the embedded models."""
    head = ["model", "input", "GFLOPs", f"SRCC with graders, {TAKEN}", PORTRAITS]
    head += ["SRCC with labels", "photos that noise of sd 4 raises by more than .01 (best: 0 %)"]
    rows = []
    for name in EMBEDDED:
        info = mspt.load(name, backend="onnxruntime").info
        cells = [f"`{name}`", f"{info.spec.crop_side} px", number(info.gflops)]
        cells += [brief(found.srcc[name][kind]) for kind in (TAKEN, PORTRAITS)]
        cells.append(brief(test[name].overall.srcc))
        raised = np.mean(changes[name]["noise sd 4"] > mild.RAISED)
        rows.append([*cells, f"{raised:.0%}".replace("%", " %")])
    yield from table(head, rows)


def main() -> None:
    """Measure everything and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("outside", type=Path)
    parser.add_argument("--people", type=Path, help="CSV of photos with the mos of people")
    parser.add_argument("--people-set", default="clive_faces", help="its name in the grades")
    parser.add_argument("--damaged", type=Path, help="CSV of a photo damaged in many ways, rated")
    parser.add_argument("--former", metavar="NAME=FILE.onnx", help="earlier weights")
    options = parser.parse_args()
    models = {name: name for name in EMBEDDED}
    if options.former:
        name, _, file = options.former.partition("=")
        models[name] = file
    values = {name: photos.scores_by(model) for name, model in models.items()}
    values[SHARPNESS] = sharpness_of
    peers = values | installed_peers()
    parts: dict[str, list[str]] = {}
    graders = photos.measure(options.photos, "test", peers)
    parts["photos"] = list(photos.photos_table(graders))
    if options.people:
        parts["people"] = list(people.people_table(options.people, options.people_set))
    if options.damaged:
        parts["damaged"] = list(people.damaged_table(options.damaged, peers))
    squares = mild.read_photos(options.photos, "test")
    changes = mild.measure(list(squares.values()), models)
    parts["mild"] = list(mild.mild_table(changes))
    told = pairs.verdicts(pairs.ANSWERS, "test")
    if all(squares.keys() <= of_file.keys() for of_file in told.values()):  # others' photos: no
        ours_of = {name: changes[name] for name in EMBEDDED}
        parts["pairs"] = list(pairs.pairs_table(told, list(squares), ours_of))
    print("photos, people, mild damage: done", flush=True)
    entries = read_manifest(options.test / "graded.csv")
    test, scores = measure_labelled(entries, values)
    outside_entries = count_faults(
        read_manifest(options.outside / "manifest.csv"), grades_of_photos()
    )
    outside, _ = measure_labelled(outside_entries, values)
    print("labels: done", flush=True)
    ours = {name: found for name, found in test.items() if name != SHARPNESS}
    parts["test"] = list(labelled.sources_table(ours))
    parts["outside"] = list(labelled.sources_table(outside, unscaled={SHARPNESS}))
    parts["kinds"] = list(labelled.kinds_table({name: ours[name] for name in EMBEDDED}))
    parts["robustness"] = list(steady.steady_table(measure_steady(entries)))
    portraits = portraits_of(options.photos)
    of_portrait = np.array([photo_of(e.path.name) in portraits for e in entries])
    chosen = [e for e, is_portrait in zip(entries, of_portrait, strict=True) if is_portrait]
    tone_of = {e.identity: groups.skin_tone(e.path) for e in chosen if e.is_undamaged}
    found = groups.measure_groups(chosen, scores["base"][of_portrait], tone_of)
    parts["tones"] = list(groups.groups_table("base", found))
    fill_page(ROOT / "docs/evidence.md", parts)
    figures = {"figures": list(short_table(graders, changes, test))}
    for page in ("README.md", "MODEL_CARD.md"):
        fill_page(ROOT / page, figures)


if __name__ == "__main__":
    main()
