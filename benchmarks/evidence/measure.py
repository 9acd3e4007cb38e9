"""Are the embedded models any good, and where are they not? Writes the figures of docs/evidence.md.

    make evidence FACES=faces.csv        # makes the two test sets, then runs this script

    python -m benchmarks.evidence.measure FACES.csv data/release-test data/outside-test \
        [--labelled LABELS.csv] [--mspt FILE.onnx --edgenext FILE.onnx]

In:   the CSV of photos (columns set, split, usage, source_repo), a set by `mspt synthesize` and one
      by outside_set.py, both of `test` identities alone; labels/grades: labels count the photos'
      own faults, scores and labels are compared with grades. Two peers trained on the same data.
Out:  the tables between the markers of docs/evidence.md, README.md and MODEL_CARD.md (tables.py),
      docs/evidence.png; out/evidence/wild.jpg, best and worst wild faces, for eyes only.
Nothing is chosen here: the models are fixed before this script sees a `test` face.
"""

import argparse
import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.evidence.graders import compare_degraded, compare_undamaged
from benchmarks.evidence.pages import fill_page
from benchmarks.evidence.tables import (
    LAPLACIAN,
    MIRRORED,
    OUTSIDE,
    REAL,
    SHIFTED,
    TEST,
    Findings,
    Group,
    Groups,
    Model,
    Moves,
    Separation,
    card_table,
    page_tables,
    readme_table,
)
from benchmarks.studies.factors import laplacian_variance
from labels.apply import count_faults, grades_of_photos
from labels.grade import DAMAGED, UNDAMAGED, Grade, level, read_grades
from PIL import Image, ImageOps

import mspt
from mspt.arrays import RGB
from mspt.evaluation.evaluate import Agreement, Evaluation, estimate, evaluate_scores
from mspt.evaluation.manifest import Entry, read_manifest
from mspt.evaluation.metrics import Vector
from mspt.evaluation.paired import Comparison, compare_scores
from mspt.evaluation.predictions import Predictions
from mspt.image.crop import crop_centre_square
from mspt.image.decode import read_rgb
from mspt.image.preprocess import resize_rgb
from mspt.parallel import map_in_order, usable_cores
from mspt.synthesis.contact_sheet import write_contact_sheet

ROOT = Path(__file__).parents[2]
EMBEDDED = ("base", "fast")
MSPT_PEER, EDGENEXT_PEER = "MSPT at 224 px", "EdgeNeXt-XXS at 224 px"
MIN_SIDE_PX = 600  # of a photo that counts as pristine, as in the synthesis
ROBUSTNESS_IMAGES = 200
RESAMPLES = 1000
ITA_BINS = ((41, "light"), (28, "intermediate"), (10, "tan"), (-math.inf, "brown or dark"))

Score = Callable[[Path], float]
Change = Callable[[Image.Image], Image.Image | bytes]


@dataclass(frozen=True)
class Photo:
    """One row of the CSV of photos."""

    path: Path
    set: str
    usage: str
    identity: str
    source: str  # the last part of its repository's name

    @property
    def entry(self) -> Entry:
        """Return it as an image without mos."""
        return Entry(path=self.path, mos=math.nan, source=self.set, identity=self.identity)


@dataclass(frozen=True)
class Sets:
    """All images that figures are taken on."""

    entries: Mapping[str, Sequence[Entry]]  # of TEST and OUTSIDE; and of REAL, without labels
    grades: Mapping[str, Sequence[Grade]]  # of those three whose undamaged photos were graded
    levelled: Mapping[str, Mapping[str, Sequence[float]]]  # of TEST's and OUTSIDE's degraded images
    photos: Sequence[Photo]  # test identities only
    labelled: Path | None
    own_grades: Mapping[str, float]  # of the photos that sets were made of

    @classmethod
    def read(cls, photos: Path, folders: Mapping[str, Path], labelled: Path | None) -> "Sets":
        """Read all lists, and the grades of the sets that have some."""
        real = read_test_photos(photos)
        entries = {which: read_manifest(f / "manifest.csv") for which, f in folders.items()}
        entries |= {REAL: [photo.entry for photo in real]}
        names = {which: f.resolve().name for which, f in folders.items()}
        undamaged, degraded = read_grades(UNDAMAGED), read_grades(DAMAGED)
        grades = {
            which: [grade for grade in undamaged if grade.set_name == name]
            for which, name in (names | {REAL: "real-test"}).items()
        }
        levelled = {which: level(degraded, name) for which, name in names.items()}
        grades = {w: g for w, g in grades.items() if g}
        return cls(entries, grades, levelled, real, labelled, grades_of_photos())

    def labelled_entries(self, which: str) -> Sequence[Entry]:
        """Return all images of a set, the photos' own faults counted."""
        return count_faults(self.entries[which], self.own_grades)


def read_test_photos(path: Path) -> list[Photo]:
    """Return the photos of test identities."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    return [
        Photo(
            path=path.parent / row["file"],
            set=row["set"],
            usage=row["usage"],
            identity=row["identity"],
            source=row["source_repo"].rsplit("/", 1)[-1],
        )
        for row in rows
    ]


def sharpness_of(path: Path) -> float:
    """Return the variance of the Laplacian on the luma of the 640 px frame."""
    luma = Image.fromarray(frame_of(path)).convert("L")
    return laplacian_variance(np.asarray(luma, dtype=np.float32))


def frame_of(path: Path) -> RGB:
    """Return the centred square in a 640 px frame."""
    return resize_rgb(crop_centre_square(read_rgb(path)), 640, 640)


def model_of(name: str, model: str) -> Model:
    """Return what the tables say of a model, by its own account."""
    info = mspt.load(model, backend="onnxruntime").info
    return Model(
        title=f"`{name}`",
        side_px=info.spec.crop_side,
        gflops=info.gflops,
        is_ours=name in EMBEDDED,
    )


def scorer_of(model: str) -> Score:
    """Return what scores a file by a model."""
    scorer = mspt.load(model, backend="onnxruntime")

    def score(path: Path) -> float:
        return float(scorer.score(path).score)  # type: ignore[arg-type]

    return score


def scores_of(score: Score, entries: Sequence[Entry]) -> Vector:
    """Return the scores, (N,)."""
    paths = [entry.path for entry in entries]
    return np.array(list(map_in_order(score, paths, workers=usable_cores())))


def agreement_of(entries: Sequence[Entry], values: Mapping[str, Vector]) -> dict[str, Evaluation]:
    """Return how the scores of each model agree with the labels."""
    return {name: evaluate_scores(entries, v, model=name) for name, v in values.items()}


def leads_of(
    entries: Sequence[Entry], values: Mapping[str, Vector], first: str
) -> dict[str, Comparison]:
    """Return the lead of the first model over each other one, paired on the same images."""
    mine = Predictions(entries, values[first])
    return {
        name: compare_scores(Predictions(entries, theirs), mine)
        for name, theirs in values.items()
        if name != first
    }


def compare_peers(entries: Sequence[Entry], values: Mapping[str, Vector]) -> Comparison | None:
    """Return the lead of MSPT over EdgeNeXt where both are there."""
    if MSPT_PEER not in values or EDGENEXT_PEER not in values:
        return None
    both = (Predictions(entries, values[name]) for name in (EDGENEXT_PEER, MSPT_PEER))
    return compare_scores(*both)


def auc(better: Vector, worse: Vector) -> float:
    """Return the share of pairs with the better one above, ties counting half."""
    difference = better[:, None] - worse[None, :]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def choose_photos(photos: Sequence[Photo]) -> list[Photo]:
    """Leave out pristine photos that are too small."""
    return [p for p in photos if p.set == "wild" or min(read_rgb(p.path).shape[:2]) >= MIN_SIDE_PX]


def tell_wild(score: Score, photos: Sequence[Photo]) -> Separation:
    """Measure how well pristine and wild photos are told apart."""
    wild = np.array([p.set == "wild" for p in photos])
    values = np.array([score(p.path) for p in photos])

    def area(i: Any) -> float:  # noqa: ANN401
        part, is_wild = values[i], wild[i]
        if is_wild.all() or not is_wild.any():
            return math.nan
        return auc(part[~is_wild], part[is_wild])

    return Separation(
        auc=estimate(area, [p.identity for p in photos], RESAMPLES),
        mean_pristine=float(values[~wild].mean()),
        mean_wild=float(values[wild].mean()),
    )


def changes() -> dict[str, Change]:
    """Return what should hardly move a score."""

    def shifted(image: Image.Image) -> Image.Image:
        padded = np.pad(np.asarray(image), ((0, 0), (1, 0), (0, 0)), mode="symmetric")
        return Image.fromarray(padded[:, : image.width])

    def smaller(image: Image.Image) -> Image.Image:
        size = (round(0.9 * image.width), round(0.9 * image.height))
        return image.resize(size, Image.Resampling.LANCZOS)

    def resaved(image: Image.Image) -> bytes:
        file = BytesIO()
        image.save(file, "PNG")
        return file.getvalue()

    return {
        MIRRORED: ImageOps.mirror,
        SHIFTED: shifted,
        "resized by 0.9 (Lanczos)": smaller,
        "saved as PNG": resaved,
    }


def measure_moves(
    model: str,
    images: Sequence[Image.Image],
    people: Sequence[str],
    changes: Mapping[str, Change],
) -> dict[str, Moves]:
    """Measure, by change, how far the scores of images move under what people hardly see."""
    scorer = mspt.load(model, backend="onnxruntime")

    def scores(change: Change) -> Vector:
        return np.array([scorer.score(change(image)).score for image in images])

    before = scores(lambda image: image)
    found = {}
    for name, change in changes.items():
        moved = np.abs(scores(change) - before)
        mean = estimate(lambda i, m=moved: float(m[i].mean()), people, RESAMPLES)
        found[name] = Moves(images=len(moved), mean=mean, p95=float(np.percentile(moved, 95)))
    return found


@cache
def skin_tone(path: Path) -> str:
    """Return the bin of the individual typology angle of a face; "" for a gray photo.

    ITA = atan((L* - 50) / b*) in degrees (Chardon et al. 1991), of the medians over the middle of
    the square, where these portraits have the face: pixels of 20 % < L* < 95 % with the reddish
    hue of skin.
    """
    from skimage.color import rgb2lab

    rgb = frame_of(path)
    side = rgb.shape[0]
    lab = rgb2lab(rgb[int(0.3 * side) : int(0.6 * side), int(0.35 * side) : int(0.65 * side)])
    lab = lab.reshape(-1, 3)
    skin = lab[(lab[:, 0] > 20) & (lab[:, 0] < 95) & (lab[:, 1] > 3) & (lab[:, 2] > 3)]
    if len(skin) < 0.1 * len(lab):
        return ""
    lightness, _, yellow = np.median(skin, axis=0)
    ita = math.degrees(math.atan2(lightness - 50, yellow))
    return next(name for limit, name in ITA_BINS if ita > limit)


def measure_groups(test: Sequence[Entry], score: Vector, group_of: Mapping[str, str]) -> Groups:
    """Measure the mean score of each group at equal kind and severity.

    Equal severity: within each kind a straight line in severity is fitted over all groups; what
    remains of a score is averaged per group. The same for the label, which knows no groups.
    """
    chosen = [i for i, e in enumerate(test) if e.degradation and group_of.get(e.identity)]
    entries = [test[i] for i in chosen]
    group = np.array([group_of[e.identity] for e in entries])
    people = np.array([e.identity for e in entries])
    of_score = _beyond_severity(entries, score[chosen])
    of_label = _beyond_severity(entries, np.array([e.mos for e in entries]))
    names = [g for g in sorted(set(group)) if len(set(people[group == g])) >= 3]

    def measure_group(part: Any) -> Group:  # noqa: ANN401
        inside = list(people[part])
        left = [
            estimate(lambda i, v=values[part]: float(v[i].mean()), inside, RESAMPLES)
            for values in (of_score, of_label)
        ]
        return Group(len(set(inside)), len(inside), *left)

    def gap(i: Any, values: Vector) -> float:  # noqa: ANN401
        means = [values[i][group[i] == g].mean() for g in names if (group[i] == g).any()]
        return float(max(means) - min(means)) if len(means) > 1 else math.nan

    gaps = [
        estimate(lambda i, v=values: gap(i, v), list(people), RESAMPLES)
        for values in (of_score, of_label)
    ]
    return Groups({name: measure_group(np.flatnonzero(group == name)) for name in names}, *gaps)


def _beyond_severity(entries: Sequence[Entry], values: Vector) -> Vector:
    rest = values.copy()
    kinds = np.array([e.degradation for e in entries])
    severity = np.array([e.severity or 0.0 for e in entries])
    for kind in set(kinds):
        part = kinds == kind
        slope = np.polyfit(severity[part], values[part], 1)
        rest[part] -= np.polyval(slope, severity[part])
    return rest


def agree_with_people(score: Score, labels: Path) -> Agreement:
    """Measure the agreement with human scores of whole photos."""
    with labels.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    entries = [Entry(path=labels.parent / row["file"], mos=float(row["mos"])) for row in rows]
    values = np.array([score(e.path) for e in entries])
    return evaluate_scores(entries, values, model="", resamples=RESAMPLES).overall


def draw_scatter(path: Path, name: str, sets: dict[str, tuple[Sequence[Entry], Vector]]) -> None:
    """Draw score over label, a panel per set."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(sets), figsize=(5 * len(sets), 4.6), sharey=True)
    for axis, (title, (entries, score)) in zip(axes, sets.items(), strict=True):
        for source in sorted({e.source for e in entries}):
            part = [i for i, e in enumerate(entries) if e.source == source]
            axis.scatter([entries[i].mos for i in part], score[part], s=6, alpha=0.5, label=source)
        axis.plot([0, 1], [0, 1], color="0.4", linewidth=0.8)
        axis.set(title=title, xlabel="label", xlim=(0, 1.02), ylim=(0, 1))
        axis.legend(fontsize=8)
    axes[0].set_ylabel(f"score of {name}")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def write_wild_sheet(path: Path, score: Score, photos: Sequence[Photo]) -> None:
    """Draw the thirty worst and thirty best wild faces."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [
        Entry(path=p.path, mos=score(p.path), source="wild") for p in photos if p.set == "wild"
    ]
    entries.sort(key=lambda e: e.mos)
    write_contact_sheet([*entries[:30], *entries[-30:]], path)


def measure(sets: Sets, models: dict[str, str], out: Path) -> Findings:
    """Measure everything and draw the pictures; the first model is what the page is about."""
    scores: dict[str, Score] = {name: scorer_of(model) for name, model in models.items()}
    scores[LAPLACIAN] = sharpness_of
    first = next(iter(models))
    both = {which: sets.labelled_entries(which) for which in (TEST, OUTSIDE)}
    test = both[TEST]
    values: dict[str, dict[str, Vector]] = {}
    for which, entries in sets.entries.items():
        values[which] = {name: scores_of(score, entries) for name, score in scores.items()}
        print(f"{which}: {len(entries)} images scored by {', '.join(scores)}", flush=True)
    draw_scatter(
        ROOT / "docs/evidence.png", first, {w: (e, values[w][first]) for w, e in both.items()}
    )
    write_wild_sheet(out / "wild.jpg", scores[first], sets.photos)
    photos = choose_photos(sets.photos)
    wild = sum(p.set == "wild" for p in photos)
    known = {name: model_of(name, model) for name, model in models.items()}
    ours = [name for name, model in known.items() if model.is_ours]
    shown = {w: {n: of[n] for n in (*ours, LAPLACIAN)} for w, of in values.items()}
    spread = np.linspace(0, len(test) - 1, min(len(test), ROBUSTNESS_IMAGES)).astype(int)
    images = [Image.open(test[i].path).convert("RGB") for i in spread]
    people = [test[i].group for i in spread]
    moves = {name: measure_moves(models[name], images, people, changes()) for name in ours}
    group_of = {
        "tones": {e.identity: skin_tone(e.path) for e in test if not e.degradation},
        "sources": {p.identity: p.source for p in sets.photos if p.set == "pristine"},
    }
    return Findings(
        models=known,
        agreement={w: agreement_of(entries, values[w]) for w, entries in both.items()},
        leads={w: leads_of(entries, values[w], first) for w, entries in both.items()},
        damage_alone={
            w: agreement_of(sets.entries[w], {n: values[w][n] for n in ours})
            for w in both
            if w in sets.grades
        },
        blind={
            w: list(compare_undamaged(sets.entries[w], grades, shown[w]))
            for w, grades in sets.grades.items()
        },
        damaged={
            w: list(compare_degraded(sets.entries[w], graded, shown[w], both[w]))
            for w, graded in sets.levelled.items()
            if graded
        },
        peers=compare_peers(test, values[TEST]),
        counts=(len(photos) - wild, wild),
        told={name: tell_wild(score, photos) for name, score in scores.items()},
        moves={change: {name: moves[name][change] for name in ours} for change in moves[first]},
        groups={
            what: {
                name: measure_groups(sets.entries[TEST], values[TEST][name], of) for name in ours
            }
            for what, of in group_of.items()
        },
        labelled={name: agree_with_people(scores[name], sets.labelled) for name in EMBEDDED}
        if sets.labelled
        else {},
    )


def main() -> None:
    """Measure everything and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("outside", type=Path)
    parser.add_argument("--labelled", type=Path, help="CSV of photos with human mos")
    parser.add_argument("--out", type=Path, default=ROOT / "out/evidence")
    parser.add_argument("--mspt", type=Path, help="MSPT trained beside EdgeNeXt, for comparison")
    parser.add_argument("--edgenext", type=Path, help="EdgeNeXt-XXS trained beside MSPT")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    folders = {TEST: options.test, OUTSIDE: options.outside}
    sets = Sets.read(options.photos, folders, options.labelled)
    peers = {MSPT_PEER: options.mspt, EDGENEXT_PEER: options.edgenext}
    models = dict(zip(EMBEDDED, EMBEDDED, strict=True)) | {
        name: str(file) for name, file in peers.items() if file
    }
    found = measure(sets, models, options.out)
    fill_page(ROOT / "docs/evidence.md", page_tables(found))
    fill_page(ROOT / "MODEL_CARD.md", {"figures": list(card_table(found))})
    fill_page(ROOT / "README.md", {"figures": list(readme_table(found))})


if __name__ == "__main__":
    main()
