"""Which rows of a scores file to keep, and what a threshold would keep.    filter, threshold

In:   ScoreRows, or the scores of all rows that have one.
Out:  the chosen rows; operating points.
Not here: reading and writing rows (read.py), copying photos (copying.py).

A criterion becomes a Cut first, which needs the scores alone; then the rows pass by it one at a
time, so that a large file is never held in memory.
"""

import math
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, get_args

import numpy as np

from mspt.errors import ConfigError, DataError, check_choice
from mspt.evaluation.metrics import Vector
from mspt.results import COLUMNS, FACTOR_COLUMNS, band_of
from mspt.scores.read import ScoreRow
from mspt.scores.write import one_line

_DECIMALS = 6  # of a score, as scoring rounds it
_OF_A_PHOTO = ("path", "n_faces", "score", "band", "status", "error", "width", "height", "model")
_OF_ONE_FACE = frozenset((*COLUMNS, *FACTOR_COLUMNS)) - frozenset(_OF_A_PHOTO)
KEEP_RATES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5, 0.25, 0.1)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a scores file holds, in numbers."""

    scores: Vector  # of the rows whose status is ok, in order
    failed: Counter[str]  # status -> rows; without ok

    @property
    def rows(self) -> int:
        """Return the number of all rows."""
        return len(self.scores) + self.failed.total()


def survey(rows: Iterable[ScoreRow]) -> Survey:
    """Read through all rows once."""
    scores = array("d")
    failed: Counter[str] = Counter()
    for row in rows:
        if row.score is None:
            failed[row.status] += 1
        else:
            scores.append(row.score)
    return Survey(np.array(scores), failed)


PerPhoto = Literal["worst", "largest", "mean"]


def per_photo(rows: Iterable[ScoreRow], how: PerPhoto) -> Iterator[ScoreRow]:
    """Yield one row for each photo: that of its worst or largest face, or with its faces' mean.

    One of which no face has a score keeps its first row.

    Raises:
        ConfigError: if `how` is none of the three.
        DataError: if a photo's rows do not stand together, as `mspt score` writes them.
    """
    check_choice("how", how, get_args(PerPhoto))
    seen: set[int] = set()  # hashes of the photos that may have more rows
    for path, group in groupby(rows, key=lambda row: row.path):
        faces = sorted(group, key=_face_number)
        if hash(path) in seen:
            raise DataError(
                f"{one_line(path)}: its rows do not stand together, as `mspt score` writes "
                "them; sort the file by path"
            )
        if number_in(faces[0], "n_faces") not in (0, 1):
            seen.add(hash(path))
        scored = [row for row in faces if row.score is not None]
        if how == "largest" or not scored:
            yield faces[0]
        elif how == "worst":
            yield min(scored, key=lambda row: row.score or 0.0)
        else:
            yield scored[0] if len(faces) == 1 else _mean_of(scored)


def _mean_of(faces: Sequence[ScoreRow]) -> ScoreRow:
    """Return a row for all faces of a photo: what is one face's alone is left empty."""
    mean = round(sum(row.score or 0.0 for row in faces) / len(faces), _DECIMALS)
    kept = {name: "" if name in _OF_ONE_FACE else cell for name, cell in faces[0].cells.items()}
    band = {"band": band_of(mean)} if "band" in kept else {}
    return faces[0]._replace(score=mean, cells={**kept, **band, "score": mean})


def _face_number(row: ScoreRow) -> float:
    """Return a face's place in its photo, 0 for the largest, and for photos without faces."""
    return number_in(row, "face") or 0.0


def number_in(row: ScoreRow, column: str) -> float | None:
    """Return a cell's number, also where a table made `1.0` of 1; None if it holds none."""
    try:
        number = float(str(row.cells.get(column)))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


@dataclass(frozen=True, slots=True)
class Cut:
    """Choose the rows above `score`, and the first `ties` of those that have it exactly."""

    score: float
    ties: int = sys.maxsize
    is_ceiling: bool = False  # choose the rows below `score` instead
    barred: frozenset[str] = frozenset()  # photos of which no row is chosen


def cut_at(min_score: float, barred: frozenset[str] = frozenset()) -> Cut:
    """Return the cut that chooses all rows with at least this score.

    Raises:
        ConfigError: if no score can be of that size.
    """
    if not 0 <= min_score <= 1:
        raise ConfigError(f"--min-score must lie in 0..1, the scale of scores, got {min_score:g}")
    return Cut(min_score, barred=barred)


def cut_best(scores: Vector, count: int) -> Cut:
    """Return the cut that chooses the best `count` rows, or all if there are fewer.

    Of equal scores the earlier row is chosen.

    Raises:
        ConfigError: if `count` is below 0.
    """
    count = _at_most(count, len(scores))
    if count == 0:
        return Cut(math.inf)
    lowest = float(np.partition(scores, -count)[-count])
    return Cut(lowest, ties=count - int((scores > lowest).sum()))


def cut_worst(scores: Vector, count: int) -> Cut:
    """Return the cut that chooses the worst `count` rows, or all if there are fewer.

    Raises:
        ConfigError: if `count` is below 0.
    """
    count = _at_most(count, len(scores))
    if count == 0:
        return Cut(-math.inf, is_ceiling=True)
    highest = float(np.partition(scores, count - 1)[count - 1])
    return Cut(highest, ties=count - int((scores < highest).sum()), is_ceiling=True)


def _at_most(count: int, rows: int) -> int:
    if count < 0:
        raise ConfigError(f"{count} rows cannot be chosen; 0 is the least")
    return min(count, rows)


def share_count(total: int, keep: float) -> int:
    """Return how many of `total` rows a share is: rounded, halves up, at least one.

    Raises:
        ConfigError: if it is no share.
    """
    if not 0 < keep <= 1:
        raise ConfigError(
            f"--keep must be above 0 and at most 1, got {keep:g} (0.8 keeps the best 80 %)"
        )
    return min(total, max(1, math.floor(total * keep + 0.5)))


def photos_below(rows: Iterable[ScoreRow], min_score: float) -> frozenset[str]:
    """Return the photos of which some face has a lower score, or none."""
    return frozenset(row.path for row in rows if row.score is None or row.score < min_score)


def choose(rows: Iterable[ScoreRow], cut: Cut, *, invert: bool = False) -> Iterator[ScoreRow]:
    """Yield the rows that a cut chooses, or those with a score that it does not, in their order."""
    ties = cut.ties
    for row in rows:
        if row.score is None:
            continue
        is_beyond = row.score < cut.score if cut.is_ceiling else row.score > cut.score
        is_tie = row.score == cut.score and ties > 0
        is_chosen = (is_beyond or is_tie) and row.path not in cut.barred
        ties -= is_tie and is_chosen
        if is_chosen != invert:
            yield row


Order = Literal["file", "best", "worst"]  # as the file has them, or the best or worst first


def photos_of(chosen: Iterable[tuple[str, float]], order: Order) -> list[str]:
    """Return each photo of the chosen rows once.

    Args:
        chosen: path and score of each row, in the file's order, which equal scores keep.
        order: of the photos.
    """
    sign = {"file": 0, "best": -1, "worst": 1}[order]
    pairs = sorted(chosen, key=lambda pair: sign * pair[1])
    return list(dict.fromkeys(path for path, _ in pairs))


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """A threshold and what it does to the scored rows."""

    keep: float  # the share that was asked for
    threshold: float  # `mspt filter --min-score` with it keeps exactly `kept` rows
    kept: int  # of equal scores all are kept or none, so that the share may differ from `keep`
    share: float
    mean_kept: float  # the quality to expect of what is kept
    mean_dropped: float | None  # None when nothing is dropped


def operating_points(scores: Vector, rates: Iterable[float]) -> list[OperatingPoint]:
    """Return the threshold for each share, as near to it as equal scores allow.

    Raises:
        ConfigError: if a rate is no share, or there is no score.
    """
    if not len(scores):
        raise ConfigError("there are no scores to choose a threshold from")
    ordered = np.sort(scores)
    return [_operating_point(ordered, keep) for keep in rates]


def _operating_point(ordered: Vector, keep: float) -> OperatingPoint:
    """Find one point; `ordered` ascends and is not empty."""
    total = len(ordered)
    wanted = share_count(total, keep)
    edge = ordered[total - wanted]
    with_ties = total - int(np.searchsorted(ordered, edge, "left"))
    without = total - int(np.searchsorted(ordered, edge, "right"))
    nearer_without = without > 0 and wanted - without < with_ties - wanted
    kept = without if nearer_without else with_ties
    dropped = ordered[: total - kept]
    return OperatingPoint(
        keep=keep,
        threshold=float(ordered[total - kept]),
        kept=kept,
        share=kept / total,
        mean_kept=float(ordered[total - kept :].mean()),
        mean_dropped=float(dropped.mean()) if len(dropped) else None,
    )


def describe_left_out(found: Survey, cut: Cut, chosen: int, *, criterion: str) -> str:
    """Return one line: how many rows were chosen and left out, and why.

    Args:
        found: the survey of all rows.
        cut: what chose.
        chosen: how many rows it chose.
        criterion: why a scored row was left out, such as `below 0.5`.
    """
    below = int((found.scores < cut.score).sum()) if cut.barred else len(found.scores) - chosen
    barred = len(found.scores) - chosen - below
    reasons = []
    if below:
        reasons.append(f"{below} {criterion}")
    if barred:
        reasons.append(f"{barred} beside a face that does not pass")
    if found.failed:
        statuses = ", ".join(f"{status} {count}" for status, count in found.failed.most_common())
        reasons.append(f"{found.failed.total()} not scored ({statuses})")
    left_out = f"; left out: {', '.join(reasons)}" if reasons else ""
    return f"{chosen} of {found.rows} rows chosen{left_out}"


def points_to_text(points: Iterable[OperatingPoint]) -> str:
    """Return operating points as a table. Thresholds are written whole: rounded, they would lie."""
    header = ("keep", "threshold", "kept", "share", "mean kept", "mean dropped")
    table = [
        header,
        *(
            (
                f"{100 * point.keep:g} %",
                repr(point.threshold),
                str(point.kept),
                f"{point.share:.1%}",
                f"{point.mean_kept:.4f}",
                "-" if point.mean_dropped is None else f"{point.mean_dropped:.4f}",
            )
            for point in points
        ),
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in table
    )
