"""Scored sets: what a run said of each validation image, kept so that runs can be compared.

A CSV with the header `path,mos,source,identity,score`, paths relative to the file.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mspt.errors import DataError
from mspt.evaluation.manifest import Entry, RelativeNames
from mspt.evaluation.metrics import Vector
from mspt.files import whole_file

COLUMNS = ("path", "mos", "source", "identity", "score")
_STAGE_FILE = re.compile(r"stage(\d+)\.csv")


def predictions_path(run_dir: Path, stage: int) -> Path:
    """Return where a run keeps its val scores after a stage."""
    return run_dir / "scores" / f"stage{stage}.csv"


def last_predictions_path(run_dir: Path) -> Path | None:
    """Return the val scores after the last stage that a run has finished, if any."""
    found = {
        int(match[1]): path
        for path in (run_dir / "scores").glob("stage*.csv")
        if (match := _STAGE_FILE.fullmatch(path.name))
    }
    return found[max(found)] if found else None


@dataclass(frozen=True, slots=True)
class Predictions:
    """Images with truth and prediction."""

    entries: Sequence[Entry]
    score: Vector  # (N,)

    @property
    def mos(self) -> Vector:
        """Return the truth, (N,)."""
        return np.array([entry.mos for entry in self.entries])

    def select(self, sources: frozenset[str]) -> "Predictions":
        """Return the images of some sources."""
        chosen = [i for i, entry in enumerate(self.entries) if entry.source in sources]
        return Predictions([self.entries[i] for i in chosen], self.score[chosen])


def write_predictions(path: Path, scored: Predictions) -> None:
    """Write a scored set, replacing the file at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        whole_file(path) as draft,
        draft.open("w", encoding="utf-8", newline="", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        names = RelativeNames(path.parent)
        for entry, score in zip(scored.entries, scored.score, strict=True):
            row = (
                names.of(entry.path),
                entry.mos,
                entry.source,
                entry.identity,
                f"{score:.9g}",
            )  # float32, whole
            writer.writerow(row)


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    try:
        with path.open(encoding="utf-8", newline="", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file))
        entries = [
            Entry(
                path=path.parent / row["path"],
                mos=float(row["mos"]),
                source=row["source"],
                identity=row["identity"],
            )
            for row in rows
        ]
        score = np.array([float(row["score"]) for row in rows])
        if not np.isfinite([*score, *(entry.mos for entry in entries)]).all():
            raise ValueError("a score or mos is no number")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        why = f"no column {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{path}: is no set of scores with the header {','.join(COLUMNS)} ({why}); "
            "`mspt evaluate -o` writes one"
        ) from error
    return Predictions(entries, score)
