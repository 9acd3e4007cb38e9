"""Is the embedded model any good, and where is it not? Writes the figures of docs/evidence.md.

    make evidence        # makes the two test sets, then runs this script

    python benchmarks/evidence.py FACES.csv data/release-test data/outside-test \
        [--labelled LABELS.csv] [--model NAME=FILE.onnx ...]

In:   the CSV of photos (columns set, split, usage, source_repo), a set by `mspt synthesize` and one
      by benchmarks/outside_set.py, both of `test` identities alone.
Out:  docs/evidence.md between its markers, docs/evidence.png;
      out/evidence/wild.jpg, best and worst wild faces, for eyes only: other people's photos.
Nothing is chosen here: the models are fixed before this script sees a `test` face.
"""

import argparse
import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from factors import laplacian_variance
from PIL import Image, ImageOps

import mspt
from mspt.evaluation.evaluate import Estimate, Evaluation, estimate, evaluate_scores
from mspt.evaluation.manifest import Entry, read_manifest
from mspt.evaluation.metrics import Vector, plcc, srcc
from mspt.evaluation.paired import compare_scores
from mspt.evaluation.scored import ScoredSet
from mspt.image.crop import RGB, crop_centre_square
from mspt.image.decode import read_rgb
from mspt.image.preprocess import resize_rgb
from mspt.parallel import map_in_order, usable_cores
from mspt.synthesis.contact_sheet import write_contact_sheet

ROOT = Path(__file__).parents[1]
MIN_SIDE_PX = 600  # of a photo that counts as pristine, as in the synthesis
ROBUSTNESS_IMAGES = 200
ITA_BINS = ((41, "light"), (28, "intermediate"), (10, "tan"), (-math.inf, "brown or dark"))
LAPLACIAN = "variance of Laplacian"

Score = Callable[[Path], float]
Lines = Iterator[str]


@dataclass(frozen=True)
class Photo:
    """One row of the CSV of photos."""

    path: Path
    set: str
    usage: str
    identity: str
    source: str  # the last part of its repository's name


@dataclass(frozen=True)
class Sets:
    """All images that figures are taken on."""

    test: Sequence[Entry]
    outside: Sequence[Entry]
    photos: Sequence[Photo]  # test identities only
    labelled: Path | None


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


def scorer_of(model: str) -> Score:
    """Return what scores a file by a model."""
    scorer = mspt.load(model)

    def score(path: Path) -> float:
        return float(scorer.score(path).score)  # type: ignore[arg-type]

    return score


def scores_of(score: Score, entries: Sequence[Entry]) -> Vector:
    """Return the scores, (N,)."""
    paths = [entry.path for entry in entries]
    return np.array(list(map_in_order(score, paths, workers=usable_cores())))


def say(found: Estimate, form: str = ".3f") -> str:
    """Return an estimate with its interval, which too few people do not have."""
    if math.isnan(found.low):
        return f"{found.value:{form}} (too few)"
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"


def agreement_table(found: dict[str, Evaluation]) -> Lines:
    """Yield agreement of each model, over all and per source."""
    yield "| model | images | SRCC | PLCC raw | PLCC fitted | KRCC | RMSE raw |"
    yield "|---|---|---|---|---|---|---|"
    for name, evaluation in found.items():
        parts = {"all": evaluation.overall} | evaluation.by_source
        for part, a in parts.items():
            raw = ("-", "-") if name == LAPLACIAN else (say(a.plcc), say(a.rmse))  # no 0..1 scale
            cells = [f"{name}, {part}", str(a.images), say(a.srcc), raw[0]]
            cells += [say(a.plcc_fitted), say(a.krcc), raw[1]]
            yield f"| {' | '.join(cells)} |"


def order_table(found: dict[str, dict[str, Evaluation]]) -> Lines:
    """Yield the shares of pairs in the right order, per set and model."""
    yield "| set | model | pristine above its degraded versions | severities in order |"
    yield "|---|---|---|---|"
    for which, evaluations in found.items():
        for name, evaluation in evaluations.items():
            above, order = evaluation.pristine_above_degraded, evaluation.severity_order
            cells = [which, name]
            cells += [say(o.right, ".1%") if o else "-" for o in (above, order)]
            yield f"| {' | '.join(cells)} |"


def kinds_table(found: dict[str, Evaluation]) -> Lines:
    """Yield SRCC within each kind of damage."""
    yield f"| kind | images | {' | '.join(found)} |"
    yield f"|---|---|{'---|' * len(found)}"
    first = next(iter(found.values()))
    for kind, agreement in first.by_degradation.items():
        cells = [say(f.by_degradation[kind].srcc) for f in found.values()]
        yield f"| {kind} | {agreement.images} | {' | '.join(cells)} |"


def auc(better: Vector, worse: Vector) -> float:
    """Return the share of pairs with the better one above, ties counting half."""
    difference = better[:, None] - worse[None, :]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def wild_table(scores: dict[str, Score], photos: Sequence[Photo]) -> Lines:
    """Yield how well pristine and wild photos are told apart."""
    chosen = [
        p for p in photos if p.set == "wild" or min(read_rgb(p.path).shape[:2]) >= MIN_SIDE_PX
    ]
    wild = np.array([p.set == "wild" for p in chosen])
    counts = f"{int((~wild).sum())} pristine photos of {MIN_SIDE_PX} px or more"
    yield f"{counts}, {int(wild.sum())} wild."
    yield ""
    yield "| model | AUC | mean score, pristine | wild |"
    yield "|---|---|---|---|"
    for name, score in scores.items():
        values = np.array([score(p.path) for p in chosen])

        def area(i: Any, values: Vector = values) -> float:  # noqa: ANN401
            part, is_wild = values[i], wild[i]
            if is_wild.all() or not is_wild.any():
                return math.nan
            return auc(part[~is_wild], part[is_wild])

        found = estimate(area, [p.identity for p in chosen], 1000)
        yield f"| {name} | {say(found)} | {values[~wild].mean():.3f} | {values[wild].mean():.3f} |"


def changes() -> dict[str, Callable[[Image.Image], Image.Image]]:
    """Return what should hardly move a score."""

    def shifted(image: Image.Image) -> Image.Image:
        padded = np.pad(np.asarray(image), ((0, 0), (1, 0), (0, 0)), mode="symmetric")
        return Image.fromarray(padded[:, : image.width])

    def smaller(image: Image.Image) -> Image.Image:
        size = (round(0.9 * image.width), round(0.9 * image.height))
        return image.resize(size, Image.Resampling.LANCZOS)

    return {
        "mirrored": ImageOps.mirror,
        "shifted by 1 px": shifted,
        "resized by 0.9 (Lanczos)": smaller,
    }


def robustness_table(models: Sequence[str], test: Sequence[Entry], out: Path) -> Lines:
    """Yield how far scores move under changes that people hardly see."""
    spread = np.linspace(0, len(test) - 1, min(len(test), ROBUSTNESS_IMAGES)).astype(int)
    images = [Image.open(test[i].path).convert("RGB") for i in spread]
    yield f"| change ({len(images)} images) | {' | '.join(f'{m}: mean, 95 %' for m in models)} |"
    yield f"|---|{'---|' * len(models)}"
    rows: dict[str, list[str]] = {}
    for model in models:
        scorer = mspt.load(model)
        before = np.array([scorer.score(image).score for image in images])
        for name, change in changes().items():
            after = np.array([scorer.score(change(image)).score for image in images])
            rows.setdefault(name, []).append(_moved(before, after))
        saved = out / "resaved.png"
        after = []
        for image in images:
            image.save(saved)
            after.append(scorer.score(saved).score)
        rows.setdefault("saved as PNG", []).append(_moved(before, np.array(after)))
    for name, cells in rows.items():
        yield f"| {name} | {' | '.join(cells)} |"


def _moved(before: Vector, after: Vector) -> str:
    moved = np.abs(after - before)
    return f"{moved.mean():.4f}, {np.percentile(moved, 95):.4f}"


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


def groups_table(
    name: str, test: Sequence[Entry], score: Vector, group_of: dict[str, str]
) -> Lines:
    """Yield the mean score of each group at equal kind and severity, and the largest gap.

    Equal severity: within each kind a straight line in severity is fitted over all groups; what
    remains of a score is averaged per group. The same for the label, which knows no groups.
    """
    chosen = [i for i, e in enumerate(test) if e.degradation and group_of.get(e.identity)]
    groups = np.array([group_of[test[i].identity] for i in chosen])
    identities = np.array([test[i].identity for i in chosen])
    left = {
        "score": _beyond_severity([test[i] for i in chosen], score[chosen]),
        "label": _beyond_severity(
            [test[i] for i in chosen], np.array([test[i].mos for i in chosen])
        ),
    }
    names = [g for g in sorted(set(groups)) if len(set(identities[groups == g])) >= 3]
    yield f"| group | people | images | {name} beyond severity | label beyond severity |"
    yield "|---|---|---|---|---|"
    for group in names:
        part = np.flatnonzero(groups == group)
        cells = []
        for values in left.values():
            inside = values[part]
            found = estimate(lambda i, v=inside: float(v[i].mean()), list(identities[part]), 1000)
            cells.append(say(found, "+.3f"))
        people = len(set(identities[part]))
        yield f"| {group} | {people} | {len(part)} | {' | '.join(cells)} |"

    def gap(i: Any, values: Vector) -> float:  # noqa: ANN401
        means = [values[i][groups[i] == g].mean() for g in names if (groups[i] == g).any()]
        return float(max(means) - min(means))

    for what, values in left.items():
        found = estimate(lambda i, v=values: gap(i, v), list(identities), 1000)
        yield f"| **largest gap, {what}** | | | {say(found)} | |"


def _beyond_severity(entries: Sequence[Entry], values: Vector) -> Vector:
    rest = values.copy()
    kinds = np.array([e.degradation for e in entries])
    severity = np.array([e.severity or 0.0 for e in entries])
    for kind in set(kinds):
        part = kinds == kind
        slope = np.polyfit(severity[part], values[part], 1)
        rest[part] -= np.polyval(slope, severity[part])
    return rest


def labelled_lines(models: Sequence[str], labels: Path) -> Lines:
    """Yield the agreement with human scores of whole photos."""
    with labels.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    mos = np.array([float(row["mos"]) for row in rows])
    for model in models:
        score = scorer_of(model)
        values = np.array([score(labels.parent / row["file"]) for row in rows])
        groups = list(range(len(rows)))
        rho = estimate(lambda i, v=values: srcc(v[i], mos[i]), groups, 1000)
        r = estimate(lambda i, v=values: plcc(v[i], mos[i]), groups, 1000)
        yield f"- {model}: SRCC {say(rho)}, PLCC {say(r)} on {len(rows)} photos"


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
        axis.set(title=title, xlabel="label (fused metrics)", xlim=(0, 1.02), ylim=(0, 1))
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


def measure(sets: Sets, models: dict[str, str], out: Path) -> dict[str, list[str]]:
    """Return the lines of each part of the page; the first model is the one that it is about."""
    scores: dict[str, Score] = {name: scorer_of(model) for name, model in models.items()}
    scores[LAPLACIAN] = sharpness_of
    found: dict[str, dict[str, Evaluation]] = {}
    values: dict[str, dict[str, Vector]] = {}
    both = {"test": sets.test, "outside": sets.outside}
    for which, entries in both.items():
        values[which] = {name: scores_of(score, entries) for name, score in scores.items()}
        found[which] = {
            name: evaluate_scores(entries, v, model=name) for name, v in values[which].items()
        }
        print(
            f"{which}: "
            + ", ".join(f"{n} {f.overall.srcc.value:.4f}" for n, f in found[which].items()),
            flush=True,
        )
    first, own = next(iter(models)), list(models.values())[:2]
    draw_scatter(
        ROOT / "docs/evidence.png", first, {w: (e, values[w][first]) for w, e in both.items()}
    )
    write_wild_sheet(out / "wild.jpg", scores[first], sets.photos)
    references = [e for e in sets.test if not e.degradation]
    tones = {e.identity: skin_tone(e.path) for e in references}
    origins = {p.identity: p.source for p in sets.photos if p.set == "pristine"}
    parts = {
        "test": list(agreement_table(found["test"])),
        "outside": list(agreement_table(found["outside"])),
        "peers": list(peers_table(both, values, first)),
        "order": list(order_table(found)),
        "kinds": list(kinds_table({n: found["test"][n] for n in models})),
        "outside-kinds": list(
            kinds_table({n: _without_pairs(found["outside"][n]) for n in models})
        ),
        "wild": list(wild_table(scores, sets.photos)),
        "robustness": list(robustness_table(own, sets.test, out)),
        "tones": list(groups_table(first, sets.test, values["test"][first], tones)),
        "sources": list(groups_table(first, sets.test, values["test"][first], origins)),
    }
    if sets.labelled:
        parts["labelled"] = list(labelled_lines(own, sets.labelled))
    return parts


def _without_pairs(evaluation: Evaluation) -> Evaluation:
    """Drop the rare pairs of kinds, which have a handful of images each."""
    single = {k: a for k, a in evaluation.by_degradation.items() if "+" not in k}
    return replace(evaluation, by_degradation=single)


def peers_table(
    sets: dict[str, Sequence[Entry]], values: dict[str, dict[str, Vector]], first: str
) -> Lines:
    """Yield each model's distance from the first, paired on the same images."""
    yield f"| set | {first} minus | SRCC | PLCC |"
    yield "|---|---|---|---|"
    for which, entries in sets.items():
        mine = ScoredSet(entries, values[which][first])
        for name, theirs in values[which].items():
            if name != first:
                lead = compare_scores(ScoredSet(entries, theirs), mine)
                cells = [say(d.gain, "+.3f") for d in (lead.srcc, lead.plcc)]
                yield f"| {which} | {name} | {' | '.join(cells)} |"


def write_page(parts: dict[str, list[str]]) -> None:
    """Put the parts between the markers of docs/evidence.md; its words are written by people."""
    page = ROOT / "docs/evidence.md"
    text = page.read_text(encoding="utf-8")
    for name, lines in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        head, found, rest = text.partition(begin)
        if not found:
            raise SystemExit(f"{page} has no place for {name}: add {begin} and {end}")
        text = "\n".join([head + begin, *lines, end]) + rest.partition(end)[2]
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Measure everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("outside", type=Path)
    parser.add_argument("--labelled", type=Path, help="CSV of photos with human mos")
    parser.add_argument("--out", type=Path, default=ROOT / "out/evidence")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FILE.onnx")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    more = dict(model.split("=", 1) for model in options.model)
    sets = Sets(
        test=read_manifest(options.test / "manifest.csv"),
        outside=read_manifest(options.outside / "manifest.csv"),
        photos=read_test_photos(options.photos),
        labelled=options.labelled,
    )
    write_page(measure(sets, {"base": "base", "fast": "fast"} | more, options.out))


if __name__ == "__main__":
    main()
