"""How do scores agree with the labels of damaged images? By source, by kind, and in pairs.

In:   entries of a set and the scores of each model.
Out:  tables; the differences between models are paired on the same images.
"""

from collections.abc import Container, Iterator, Mapping, Sequence

from benchmarks.evidence.tables import percent, say, table

from mspt.evaluation.evaluate import Evaluation, Order, evaluate_scores
from mspt.evaluation.manifest import Entry
from mspt.evaluation.metrics import Vector
from mspt.evaluation.paired import Comparison, compare_scores
from mspt.evaluation.predictions import Predictions
from mspt.synthesis.synthesize import PRISTINE

TITLES = {PRISTINE: "undamaged", "phone": "faults of phones"}
FEW = 15  # images of a kind below which a rank agreement says nothing
FEW_PAIRS = 30  # below which the share in order says nothing
WEAKEST = 6  # kinds that the page shows


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


def sources_table(found: Mapping[str, Evaluation], unscaled: Container[str] = ()) -> Iterator[str]:
    """Yield SRCC with labels over all images and by source, then PLCC and the order of pairs.

    `unscaled` measures have no scale of 0..1, so that PLCC and RMSE say nothing of them.
    """
    first = next(iter(found.values()))
    rows = [
        ["SRCC, all", str(first.overall.images), *(say(e.overall.srcc) for e in found.values())]
    ]
    for source, part in first.by_source.items():
        cells = (say(e.by_source[source].srcc) for e in found.values())
        title = TITLES.get(source, source.replace("_", " "))
        rows.append([f"SRCC, {title}", str(part.images), *cells])
    for metric in ("plcc", "rmse"):
        cells = (
            "" if name in unscaled else say(getattr(e.overall, metric)) for name, e in found.items()
        )
        rows.append([f"{metric.upper()}, all", "", *cells])
    pairs = {
        "original above its damaged versions": "pristine_above_degraded",
        "severities in order": "severity_order",
    }
    for title, name in pairs.items():
        orders = [getattr(e, name) for e in found.values()]
        if orders[0] and orders[0].pairs >= FEW_PAIRS:
            rows.append([title, str(orders[0].pairs), *map(_share, orders)])
    yield from table(["", "images", *found], rows)


def _share(order: Order | None) -> str:
    return f"{percent(order.right.value)} %" if order else ""


def kinds_table(found: Mapping[str, Evaluation]) -> Iterator[str]:
    """Yield SRCC within the weakest kinds of damage that have enough images, weakest first."""
    first = next(iter(found.values()))
    kinds = {k: a for k, a in first.by_degradation.items() if a.images >= FEW and "+" not in k}
    weakest_first = sorted(kinds, key=lambda kind: kinds[kind].srcc.value)
    rows = (
        [kind.replace("_", " "), str(kinds[kind].images)]
        + [say(e.by_degradation[kind].srcc) for e in found.values()]
        for kind in weakest_first[:WEAKEST]
    )
    yield from table(["SRCC within a kind", "images", *found], rows)
