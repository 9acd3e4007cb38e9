"""Layer 4: scores files: write, read, choose, copy, summarise, report. Public: `__all__`.

    from mspt import scores
    file = scores.open_scores("scores.csv")

`mspt filter`, `threshold` and `report` are made of these functions; docs/use-scores.md shows them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mspt.scores.copy import copy_photos
    from mspt.scores.groups import beaten, find_groups
    from mspt.scores.move import restore
    from mspt.scores.page import write_report
    from mspt.scores.read import ScoreFile, ScoreRow, open_scores, write_rows
    from mspt.scores.select import (
        choose,
        cut_at,
        cut_best,
        cut_worst,
        operating_points,
        per_photo,
        survey,
    )
    from mspt.scores.summary import summarise

_HOMES = {
    "copy": ("copy_photos",),
    "groups": ("beaten", "find_groups"),
    "move": ("restore",),
    "page": ("write_report",),
    "read": ("ScoreFile", "ScoreRow", "open_scores", "write_rows"),
    "select": (
        *("choose", "cut_at", "cut_best", "cut_worst", "operating_points", "per_photo", "survey"),
    ),
    "summary": ("summarise",),
}
__all__ = [
    "ScoreFile",
    "ScoreRow",
    "beaten",
    "choose",
    "copy_photos",
    "cut_at",
    "cut_best",
    "cut_worst",
    "find_groups",
    "open_scores",
    "operating_points",
    "per_photo",
    "restore",
    "summarise",
    "survey",
    "write_report",
    "write_rows",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - module attributes have any type
    """Load a public name from its home, when it is first used."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"mspt.scores.{home}"), name)
    raise AttributeError(f"module 'mspt.scores' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
