"""What the rows of a scores file say together: the numbers behind the report's page.

In:   a ScoreFile, read twice: once to count, once to pick the rows that are shown.
Out:  a Summary.
Not here: how it looks (page.py).
"""

from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mspt.errors import ConfigError, DataError
from mspt.evaluation.metrics import MIN_IMAGES, Vector, srcc
from mspt.results import FACTOR_COLUMNS, REASON_SEPARATOR, type_of_column
from mspt.scores.read import ScoreFile, ScoreRow
from mspt.scores.select import cut_at, operating_points, share_count

MEASURES = tuple(c for c in FACTOR_COLUMNS if type_of_column(c) != "str")
PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)

_EXAMPLES = 3  # rows shown of each way to fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One further number that the rows carry."""

    name: str
    rows: int  # scored rows that have it
    quantiles: tuple[float, float, float]  # 10 %, 50 %, 90 %
    srcc: float  # with the score; NaN where undefined


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A scores file in short."""

    file: str  # its name, without folders
    rows: int
    photos: int
    scores: Vector  # of the rows whose status is ok, in order; may be empty
    models: list[str]  # most frequent first
    failed: Counter[str]  # status -> rows
    examples: dict[str, list[ScoreRow]]  # status -> the first few
    measures: list[Measure]
    reasons: Counter[str]
    best: list[ScoreRow]  # best first
    worst: list[ScoreRow]  # worst first; shares no row with `best`
    left_out: int = 0  # photos of the file that another of their group beats
    cut: "CutView | None" = None  # where a threshold was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class CutView:
    """What a threshold would keep and drop."""

    min_score: float  # rows with at least this score are kept
    kept: int
    dropped: int
    above: list[ScoreRow]  # kept, the nearest to the threshold first
    below: list[ScoreRow]  # dropped, the nearest to the threshold first
    sample: list[ScoreRow]  # of all that is dropped, evenly from the best to the worst


@dataclass(slots=True)
class _Tally:
    """What is gathered while the rows pass."""

    rows: int = 0
    # Hashes, not names: a million names would fill the memory, and one clash moves no count seen.
    photos: set[int] = field(default_factory=set)
    scores: "array[float]" = field(default_factory=lambda: array("d"))
    models: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[ScoreRow]] = field(default_factory=lambda: defaultdict(list))
    measures: "dict[str, array[float]]" = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, row: ScoreRow, file: Path) -> None:
        cells = row.cells
        self.rows += 1
        self.photos.add(hash(row.path))
        if "model" in cells and (model := cells["model"]):
            self.models[str(model)] += 1
        if "reasons" in cells and (reasons := cells["reasons"]):
            for reason in filter(None, str(reasons).split(REASON_SEPARATOR)):
                self.reasons[reason.partition(":")[0]] += 1  # without its own number of px
        if row.score is None:
            self.failed[row.status] += 1
            if len(self.examples[row.status]) < _EXAMPLES:
                self.examples[row.status].append(row)
            return
        self.scores.append(row.score)
        for name, values in self.measures.items():
            values.append(_read_measure(cells.get(name), name, file, row.line))


def summarise(
    file: ScoreFile, shown: int, *, min_score: float | None = None, keep: float | None = None
) -> Summary:
    """Read a scores file.

    Args:
        file: looked into.
        shown: how many rows to pick of the best, of the worst, and of each side of a cut; fewer if
            there are not as many.
        min_score: show what a threshold at this score would keep and drop.
        keep: show what the threshold does that keeps this share.

    Raises:
        ConfigError: if both a score and a share are given, or one is out of range.
        DataError: at the first cell that makes no sense.
    """
    if min_score is not None and keep is not None:
        raise ConfigError("min_score and keep both name a threshold; give one")
    if keep is not None:
        share_count(1, keep)
    if min_score is not None:
        cut_at(min_score)
    names = [name for name in MEASURES if name in file.columns]
    tally = _Tally(measures={name: array("d") for name in names})
    for row in file.rows():
        tally.add(row, file.path)
    scores = np.array(tally.scores)
    if keep is not None and len(scores):
        (point,) = operating_points(scores, [keep])
        min_score = point.threshold
    chosen = _extremes(scores, shown)
    if min_score is not None:
        chosen |= _around(scores, cut_at(min_score).score, shown)
    found = file.pick({place for places in chosen.values() for place in places})
    picked = {name: [found[place] for place in places] for name, places in chosen.items()}
    return Summary(
        file=file.path.name,
        rows=tally.rows,
        photos=len(tally.photos),
        scores=scores,
        models=[model for model, _ in tally.models.most_common()],
        failed=tally.failed,
        examples=dict(tally.examples),
        measures=[
            _measure(name, np.array(values), scores) for name, values in tally.measures.items()
        ],
        reasons=tally.reasons,
        best=picked["best"],
        worst=picked["worst"],
        left_out=len(file.left_out),
        cut=None
        if min_score is None
        else CutView(
            min_score=min_score,
            kept=int((scores >= min_score).sum()),
            dropped=int((scores < min_score).sum()),
            above=picked["above"],
            below=picked["below"],
            sample=picked["sample"],
        ),
    )


def _read_measure(cell: object, name: str, file: Path, line: int) -> float:
    if cell is None or cell == "":
        return float("nan")
    try:
        return float(str(cell))
    except ValueError as error:
        raise DataError(
            f"{file}, line {line}: {name} {cell!r} is not a number; correct it or empty it"
        ) from error


def _measure(name: str, values: Vector, scores: Vector) -> Measure:
    known = np.isfinite(values)
    values, scores = values[known], scores[known]
    low, median, high = np.quantile(values, [0.1, 0.5, 0.9]) if len(values) else [np.nan] * 3
    agreement = srcc(values, scores) if len(values) >= MIN_IMAGES else float("nan")
    return Measure(
        name=name,
        rows=len(values),
        quantiles=(float(low), float(median), float(high)),
        srcc=agreement,
    )


Places = dict[str, list[int]]  # of scored rows, in the order in which they are shown


def _extremes(scores: Vector, shown: int) -> Places:
    """Return the best and the worst rows; where there are few, the best have the middle one."""
    order = np.argsort(-scores, kind="stable")
    best = order[: min(shown, -(-len(order) // 2))].tolist()
    worst = order[::-1][: min(shown, len(order) // 2)].tolist()
    return {"best": best, "worst": worst}


def _around(scores: Vector, min_score: float, shown: int) -> Places:
    """Return rows on both sides of a threshold, and a sample of those below it."""
    order = np.argsort(-scores, kind="stable")
    kept = int((scores >= min_score).sum())
    dropped = order[kept:]
    evenly = np.linspace(0, len(dropped) - 1, min(2 * shown, len(dropped))).round().astype(int)
    return {
        "above": order[:kept][::-1][:shown].tolist(),
        "below": dropped[:shown].tolist(),
        "sample": dropped[evenly].tolist(),
    }
