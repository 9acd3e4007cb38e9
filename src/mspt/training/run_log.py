"""What a run tells while it trains: lines with ETA, metrics.jsonl and TensorBoard.

Out:  OUT/metrics.jsonl (one JSON object a row: stage, step and what was measured there) and
      OUT/tensorboard (the same numbers over the steps of the whole run).
"""

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from mspt.budget import Cost
from mspt.evaluation.metrics import MIN_IMAGES, plcc, srcc
from mspt.evaluation.tables import without_nan
from mspt.files import whole_file
from mspt.training.config import StageConfig
from mspt.training.engine import StepResult

Log = Callable[[str], None]
Row = dict[str, Any]

_RECENT_STEPS = 32  # over which the live loss, SRCC and PLCC are taken


class RunLog:
    """The log of one run; a silent one under `accelerate launch` in all processes but the first."""

    def __init__(
        self, out_dir: Path, stages: Sequence[StageConfig], *, active: bool = True
    ) -> None:
        """Name the files; nothing is written yet."""
        self._path = out_dir / "metrics.jsonl"
        self._board_dir = out_dir / "tensorboard"
        self._stages = stages
        self._active = active
        self._board: SummaryWriter | None = None

    def resume_after(self, stage: int, step: int) -> None:
        """Forget what was logged of the steps that a resumed run is about to repeat."""
        if not self._active:
            return
        if self._path.exists():
            rows = [row for row in read_metrics(self._path) if _place(row) <= (stage, step)]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            with whole_file(self._path) as draft:
                draft.write_text(text, encoding="utf-8")
        self._open_board(purge_step=self._global_step(stage, step) + 1)

    def add(self, stage: int, step: int, values: Row) -> None:
        """Log numbers, nested by name, of a place in the run."""
        if not self._active:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            row = {"stage": stage, "step": step} | values
            file.write(json.dumps(without_nan(row)) + "\n")
        board = self._board or self._open_board(purge_step=None)
        for name, value in _flatten(values):
            board.add_scalar(name, value, self._global_step(stage, step))

    def close(self) -> None:
        """Flush TensorBoard's file."""
        if self._board:
            self._board.close()
            self._board = None

    def _open_board(self, *, purge_step: int | None) -> SummaryWriter:
        self._board = SummaryWriter(self._board_dir, purge_step=purge_step)
        return self._board

    def _global_step(self, stage: int, step: int) -> int:
        return sum(earlier.steps for earlier in self._stages[: max(0, stage - 1)]) + step


def read_metrics(path: Path) -> list[Row]:
    """Return the whole rows of a metrics.jsonl; a torn last line is left out."""
    *lines, _ = path.read_text(encoding="utf-8").split("\n")  # a whole line ends in a newline
    return [json.loads(line) for line in lines]


def _place(row: Row) -> tuple[int, int]:
    return row["stage"], row["step"]


def _flatten(values: Row, prefix: str = "") -> list[tuple[str, float]]:
    flat: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            flat += _flatten(value, f"{prefix}{name}/")
        else:
            flat.append((f"{prefix}{name}", float(value)))
    return flat


class LiveView:
    """How the last steps went, and when the stage and the run will be done."""

    def __init__(self, stages: Sequence[StageConfig], costs: Sequence[Cost], stage: int) -> None:
        """Start the clock at a stage."""
        self._work = [
            s.batch * s.views * cost.gflops for s, cost in zip(stages, costs, strict=True)
        ]
        self._stages, self._stage = stages, stage
        self._recent: deque[StepResult] = deque(maxlen=_RECENT_STEPS)
        self._started, self._steps = time.monotonic(), 0

    def add(self, result: StepResult) -> None:
        """Take note of a step."""
        self._recent.append(result)
        self._steps += 1

    def values(self) -> Row:
        """Return the loss, SRCC and PLCC of the last steps, and the speed."""
        score = np.concatenate([result.score for result in self._recent])
        mos = np.concatenate([result.mos for result in self._recent])
        values = {"loss": float(np.mean([result.loss for result in self._recent]))}
        if len(score) >= MIN_IMAGES:
            values |= {"train_srcc": srcc(score, mos), "train_plcc": plcc(score, mos)}
        return values | {"images_per_s": round(self._steps_per_s() * self._batch(), 2)}

    def line(self, step: int, values: Row) -> str:
        """Return `values()` as one line for people."""
        stage = self._stages[self._stage - 1]
        return (
            f"stage {self._stage}  step {step}/{stage.steps}  loss {values['loss']:.4f}  "
            f"SRCC {values.get('train_srcc', float('nan')):.3f}  "
            f"PLCC {values.get('train_plcc', float('nan')):.3f}  "
            f"{values['images_per_s']:.1f} images/s  "
            f"{self._left_s(step, whole_run=False) / 60:.1f} min left of the stage, "
            f"{self._left_s(step, whole_run=True) / 60:.1f} of the run"
        )

    def _batch(self) -> int:
        return self._stages[self._stage - 1].batch

    def _steps_per_s(self) -> float:
        return self._steps / max(time.monotonic() - self._started, 1e-9)

    def _left_s(self, step: int, *, whole_run: bool) -> float:
        """Return the seconds left, by this stage's speed in GFLOPs."""
        here = self._work[self._stage - 1]
        left = (self._stages[self._stage - 1].steps - step) * here
        if whole_run:
            later = zip(self._stages[self._stage :], self._work[self._stage :], strict=True)
            left += sum(stage.steps * work for stage, work in later)
        return left / (self._steps_per_s() * here)
