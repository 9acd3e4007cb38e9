"""Which of several models is the better one? The figures by which the embedded ones are chosen.

    python -m benchmarks.evidence.compare data/val base new=out/release/base.onnx ... \
        [--labels graded.csv]

In:   a set by `mspt synthesize` of `val` identities, and models: embedded ones by name, files as
      NAME=FILE.onnx.
Out:  Markdown tables by which models are chosen: agreement with the labels, order, steadiness,
      difference in SRCC paired over the first model, and SRCC by source.
Steadiness is measured on every sixth image. Intervals: 95 %, bootstrap over people.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.evidence.labelled import agreement_of, leads_of
from benchmarks.evidence.steady import MIRRORED, SHIFTED, Moves, changes, measure_moves
from benchmarks.evidence.tables import brief, percent
from PIL import Image

import mspt
from mspt.evaluation.evaluate import Estimate, Evaluation, score_entries
from mspt.evaluation.manifest import Entry, read_manifest
from mspt.evaluation.paired import Comparison

STEADINESS_EVERY = 6  # images


def number(value: float) -> str:
    """Return a number as the tables have it: .9329, with a sign if negative."""
    return f"{value:.4f}".replace("0.", ".", 1)


def signed(value: float) -> str:
    """Return a difference as those tables have it: +.0041."""
    return f"{value:+.4f}".replace("0.", ".", 1)


def compare(entries: Sequence[Entry], models: Mapping[str, str]) -> Iterator[str]:
    """Score all images with each model and yield the lines of both tables."""
    first = next(iter(models))
    values = {name: score_entries(entries, mspt.load(model)) for name, model in models.items()}
    agreement = agreement_of(entries, values)
    leads = leads_of(entries, values, first)
    steady = {name: measure_steadiness(entries, model) for name, model in models.items()}
    yield from overall_table(agreement, steady, leads)
    yield ""
    yield from sources_table(agreement)


def measure_steadiness(entries: Sequence[Entry], model: str) -> dict[str, Moves]:
    """Measure how far scores move when some of the images are mirrored, or shifted by a pixel."""
    some = entries[::STEADINESS_EVERY]
    images = [Image.open(entry.path).convert("RGB") for entry in some]
    chosen = {name: change for name, change in changes().items() if name in (MIRRORED, SHIFTED)}
    return measure_moves(model, images, [entry.group for entry in some], chosen)


def overall_table(
    agreement: Mapping[str, Evaluation],
    steady: Mapping[str, Mapping[str, Moves]],
    leads: Mapping[str, Comparison],
) -> Iterator[str]:
    """Yield the table of all images together; `leads` are those of the first over the others."""
    columns = ("SRCC", "PLCC", "pristine above", MIRRORED, SHIFTED, "SRCC, paired over the first")
    yield f"| | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for name, found in agreement.items():
        above = found.pristine_above_degraded
        cells = (
            name,
            brief(found.overall.srcc, number),
            brief(found.overall.plcc, number),
            brief(above.right, percent, with_interval=False) if above else "",
            *(number(steady[name][change].mean.value) for change in (MIRRORED, SHIFTED)),
            brief(turned(leads[name].srcc.gain), signed) if name in leads else "",
        )
        yield f"| {' | '.join(cells)} |"


def turned(gain: Estimate) -> Estimate:
    """Return the gain of the other one."""
    return Estimate(value=-gain.value, low=-gain.high, high=-gain.low)


def sources_table(agreement: Mapping[str, Evaluation]) -> Iterator[str]:
    """Yield the table of SRCC by source."""
    first = next(iter(agreement.values()))
    sources = list(first.by_source)
    yield f"| SRCC | {' | '.join(sources)} |"
    yield "|---" * (len(sources) + 1) + "|"
    for name, found in agreement.items():
        cells = (number(found.by_source[source].srcc.value) for source in sources)
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("val", type=Path)
    parser.add_argument("models", nargs="+", metavar="base|fast|NAME=FILE.onnx")
    parser.add_argument("--labels", default="graded.csv", help="which list of the set to go by")
    options = parser.parse_args()
    named = (model.partition("=") for model in options.models)
    models = {name: file or name for name, _, file in named}
    for line in compare(read_manifest(options.val / options.labels), models):
        print(line, flush=True)


if __name__ == "__main__":
    main()
