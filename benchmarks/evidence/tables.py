"""How numbers and their intervals are written in the tables of the pages."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from mspt.evaluation.evaluate import Estimate


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for cells in rows:
        yield f"| {' | '.join(cells)} |"


def say(found: Estimate, form: str = ".3f") -> str:
    """Return an estimate with its interval, which too few people do not have."""
    if math.isnan(found.low):
        return f"{found.value:{form}} (too few)"
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"


def number(value: float) -> str:
    """Return a number as the short tables have it: .936."""
    return f"{value:.3f}".replace("0.", ".", 1)


def percent(value: float) -> str:
    """Return a share as the short tables have it, without its sign: 96.1, but 100."""
    return f"{100 * value:.1f}".replace("100.0", "100")


def brief(
    found: Estimate, form: Callable[[float], str] = number, *, with_interval: bool = True
) -> str:
    """Return an estimate as the short tables have it."""
    unit = " %" if form is percent else ""
    if not with_interval:
        return form(found.value) + unit
    interval = "" if math.isnan(found.low) else f" [{form(found.low)}, {form(found.high)}]"
    return f"{form(found.value)}{unit}{interval}"
