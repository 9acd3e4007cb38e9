"""What each stage gained and lost: OUT/summary.md and OUT/summary.png.

In:   OUT/metrics.jsonl and OUT/scores/stageK.csv of a run.
Out:  the forgetting matrix: agreement on every stage's validation set (columns) after every stage
      (rows), with bootstrap intervals; its last row minus its diagonal, paired on the same images,
      is what was forgotten.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mspt.evaluation.evaluate import Estimate, estimate
from mspt.evaluation.metrics import plcc, srcc
from mspt.evaluation.paired import Comparison, compare_scores
from mspt.evaluation.predictions import Predictions, predictions_path, read_predictions
from mspt.training.config import RunConfig
from mspt.training.run_log import Row, read_metrics

_METRICS = {"SRCC": srcc, "PLCC": plcc}


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Agreement after every stage on every stage's validation set."""

    matrix: dict[str, list[list[Estimate]]]  # metric -> [after stage][set of stage]
    lost: list[Comparison]  # per set: right after its own stage against the end


def measure_forgetting(out_dir: Path, run: RunConfig) -> Forgetting:
    """Compute the matrix from a finished run's scores.

    Raises:
        DataError: if a stage's scores are missing or damaged.
    """
    after = [
        read_predictions(predictions_path(out_dir, number))
        for number in range(1, len(run.stages) + 1)
    ]
    parts = [[scored.select(stage.sources) for stage in run.stages] for scored in after]
    matrix = {name: [[_agree(name, part) for part in row] for row in parts] for name in _METRICS}
    last = parts[-1]
    lost = [compare_scores(parts[k][k], last[k]) for k in range(len(run.stages))]
    return Forgetting(matrix, lost)


def _agree(metric: str, part: Predictions) -> Estimate:
    function, mos = _METRICS[metric], part.mos
    groups = [entry.group for entry in part.entries]
    return estimate(lambda i: function(part.score[i], mos[i]), groups, resamples=1000)


def write_summary(out_dir: Path, run: RunConfig) -> Path:
    """Write summary.md and summary.png; return the former."""
    forgetting = measure_forgetting(out_dir, run)
    rows = read_metrics(out_dir / "metrics.jsonl")
    path = out_dir / "summary.md"
    path.write_text("\n".join(_lines(run, forgetting)) + "\n", encoding="utf-8")
    _plot(out_dir / "summary.png", run, rows, forgetting)
    return path


def _lines(run: RunConfig, forgetting: Forgetting) -> Sequence[str]:
    lines = [f"# {run.name}", "", f"Network {run.network}, seed {run.seed}.", ""]
    lines += ["| stage | px | sources | steps x batch | peak LR |", "|---|---|---|---|---|"]
    for number, stage in enumerate(run.stages, 1):
        lines.append(
            f"| {number} | {stage.short_side} | {', '.join(sorted(stage.sources))} | "
            f"{stage.steps} x {stage.batch} | {stage.peak_lr:g} |"
        )
    lines += ["", "![loss, SRCC per stage, forgetting](summary.png)", ""]
    lines += ["95 % intervals by bootstrap over identities."]
    for metric, matrix in forgetting.matrix.items():
        sets = [f"val set of stage {k}" for k in range(1, len(run.stages) + 1)]
        lines += [
            "",
            f"| {metric} after stage | {' | '.join(sets)} |",
            "|---" * (len(sets) + 1) + "|",
        ]
        for number, row in enumerate(matrix, 1):
            lines.append(f"| {number} | {' | '.join(_cell(found) for found in row)} |")
        gains = [getattr(found, metric.lower()).gain for found in forgetting.lost[:-1]]
        cells = [_cell(gain, signed=True) for gain in gains]
        lines.append(f"| end minus right after | {' | '.join([*cells, '-'])} |")
    lines += [
        "",
        "A negative number in the last rows is what later stages made the network forget.",
    ]
    return lines


def _cell(found: Estimate, *, signed: bool = False) -> str:
    form = "+.4f" if signed else ".4f"
    if math.isnan(found.low):
        return f"{found.value:{form}} [too few identities]"
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"


def _plot(path: Path, run: RunConfig, rows: Sequence[Row], forgetting: Forgetting) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    loss, agreement, matrix = figure.subplots(1, 3)
    starts = [sum(stage.steps for stage in run.stages[:k]) for k in range(len(run.stages))]
    steps = [row for row in rows if "loss" in row]
    loss.plot([starts[r["stage"] - 1] + r["step"] for r in steps], [r["loss"] for r in steps])
    for start in starts[1:]:
        loss.axvline(start, color="grey", linestyle=":")
    loss.set(
        title="training loss (32 steps' mean)", xlabel="step (dotted: next stage)", yscale="log"
    )
    found = forgetting.matrix["SRCC"]
    numbers = list(range(1, len(found) + 1))
    for k in range(len(found)):
        values = [row[k] for row in found]
        below = [max(0.0, v.value - v.low) for v in values]
        above = [max(0.0, v.high - v.value) for v in values]
        label = f"val set of stage {k + 1}"
        agreement.errorbar(
            numbers, [v.value for v in values], [below, above], marker="o", capsize=3, label=label
        )
    agreement.set(title="SRCC after each stage", xlabel="after stage", xticks=numbers)
    agreement.legend()
    matrix.imshow([[v.value for v in row] for row in found], cmap="viridis")
    for y, row in enumerate(found):
        for x, value in enumerate(row):
            box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none"}
            matrix.text(x, y, f"{value.value:.3f}", ha="center", va="center", bbox=box)
    ticks = list(range(len(found)))
    matrix.set(title="SRCC: forgetting matrix", xlabel="val set of stage", ylabel="after stage")
    matrix.set(xticks=ticks, yticks=ticks, xticklabels=numbers, yticklabels=numbers)
    figure.savefig(path, dpi=110)
