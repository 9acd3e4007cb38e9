"""An Evaluation or a Comparison as text for people or as JSON for programs."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from mspt.evaluation.evaluate import Agreement, Estimate, Evaluation, Order
from mspt.evaluation.paired import Comparison


def to_json(found: Evaluation | Comparison) -> str:
    """Return figures as JSON; undefined numbers (a constant side) are null."""
    return json.dumps(without_nan(asdict(found)), indent=2)


def without_nan(value: Any) -> Any:  # noqa: ANN401 - walks plain data of any shape
    """Return plain data with None for NaN, which JSON cannot say."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def to_text(evaluation: Evaluation) -> str:
    """Return the evaluation as tables."""
    return "\n".join(_lines(evaluation))


def _lines(evaluation: Evaluation) -> Iterator[str]:
    overall = evaluation.overall
    yield f"{evaluation.model} on {overall.images} images of {overall.identities} identities"
    yield "95 % intervals by bootstrap over identities"
    yield ""
    yield f"SRCC          {_interval(overall.srcc)}"
    yield f"PLCC          {_interval(overall.plcc)}   raw"
    yield f"PLCC          {_interval(overall.plcc_fitted)}   after a 4-parameter logistic"
    yield f"KRCC          {_interval(overall.krcc)}"
    yield f"RMSE          {_interval(overall.rmse)}   raw"
    yield f"RMSE          {_interval(overall.rmse_fitted)}   after a 4-parameter logistic"
    yield from _order_line(
        "pristine above its degraded versions", evaluation.pristine_above_degraded
    )
    yield from _order_line("severities of one degradation in order", evaluation.severity_order)
    yield from _part_lines("source", evaluation.by_source)
    yield from _part_lines("degradation", evaluation.by_degradation)


def _order_line(title: str, order: Order | None) -> Iterator[str]:
    if order is not None:
        right = order.right
        known = not math.isnan(right.low)
        interval = f"[{right.low:.1%}, {right.high:.1%}]" if known else "[too few identities]"
        yield f"{title}: {right.value:.1%} {interval} of {order.pairs} pairs"


def _part_lines(title: str, parts: dict[str, Agreement]) -> Iterator[str]:
    if not parts:
        return
    yield ""
    yield f"{title:20} images  SRCC                      PLCC raw"
    for name, part in parts.items():
        yield f"{name:20} {part.images:6}  {_interval(part.srcc)}  {_interval(part.plcc)}"


def _interval(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "undefined (too few images, or scores or mos do not vary)"
    if math.isnan(estimate.low):
        return f"{estimate.value:6.4f} [too few identities]"
    return f"{estimate.value:6.4f} [{estimate.low:7.4f}, {estimate.high:7.4f}]"


def comparison_to_text(comparison: Comparison, first: str, second: str) -> str:
    """Return a comparison as a table."""
    lines = [
        f"{comparison.images} images of {comparison.identities} identities; 95 % intervals by "
        "paired bootstrap over identities",
        f"first   {first}",
        f"second  {second}",
        "",
        "       first   second  second - first",
    ]
    for name, found in (("SRCC", comparison.srcc), ("PLCC", comparison.plcc)):
        gain = found.gain
        interval = f"[{gain.low:+.4f}, {gain.high:+.4f}]  "
        interval += "a difference" if found.is_sure else "no difference shown"
        if math.isnan(gain.low):
            interval = "[too few identities to tell]"
        values = f"{found.first:7.4f}  {found.second:7.4f}  {gain.value:+.4f}"
        lines.append(f"{name}  {values} {interval}")
    return "\n".join(lines)
