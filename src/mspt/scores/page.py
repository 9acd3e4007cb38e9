"""The report's page: one HTML file that needs nothing else.

In:   a Summary.
Out:  HTML; frame, looks and order are in report.html, a Jinja2 template that escapes what it gets.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from mspt.files import is_within, whole_file
from mspt.results import BANDS
from mspt.scores.read import ScoreRow, file_of
from mspt.scores.summary import PERCENTILES, Summary
from mspt.scores.thumbnails import THUMB_PX, thumbnail_uri

_BINS_PER_BAND = 4
_BAR_WIDTH, _PLOT_HEIGHT = 30, 160  # in the picture's own units; it stretches to the page's width
_REASONS = 10  # the most frequent ones shown
_LONGEST_ERROR = 300  # characters of an error message shown

Picture = Callable[[ScoreRow], str | None]


@dataclass(slots=True)
class Missing:
    """Thumbnails without a picture."""

    count: int = 0  # the photo is not found, or cannot be shown
    outside: set[str] = field(default_factory=set)  # photos that may not be opened


def write_report(
    output: str | Path, summary: Summary, *, title: str | None = None, within: Sequence[Path] = ()
) -> Missing:
    """Write the page at once; return which thumbnails have no picture.

    Args:
        output: the page.
        summary: what it says.
        title: of the page; default: how many photos it is about.
        within: folders whose photos may be opened; none: all.

    Raises:
        WriteError: if it cannot be written.
    """
    output, missing = Path(output), Missing()

    def may_open(row: ScoreRow) -> bool:
        return not within or is_within(file_of(row.path), within)

    def picture_of(row: ScoreRow) -> str | None:
        if not may_open(row):
            missing.outside.add(row.path)
            return None
        uri = thumbnail_uri(row)
        missing.count += uri is None
        return uri

    def link_to(row: ScoreRow) -> str | None:
        photo = file_of(row.path)
        if not may_open(row) or not os.path.isfile(photo):
            return None
        try:
            relative = os.path.relpath(photo, output.parent).replace(os.sep, "/")
        except ValueError:  # Windows: on another drive
            return Path(os.path.abspath(photo)).as_uri()
        return quote(os.fsencode(relative))  # bytes: names need not be UTF-8

    title = title or f"Perceptual quality of {summary.photos:,} photos"
    page = render_report(summary, title=title, picture_of=picture_of, link_to=link_to)
    with whole_file(output) as draft:
        draft.write_text(page, encoding="utf-8", errors="backslashreplace")
    return missing


def render_report(
    summary: Summary,
    *,
    title: str,
    picture_of: Picture,
    link_to: Picture = lambda row: None,
) -> str:
    """Return the page.

    Args:
        summary: what it says.
        title: of the page.
        picture_of: gives a row's picture as a data URI, or None if there is none.
        link_to: gives the address of a row's photo, or None if there is none.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": _number, "name": lambda path: os.path.basename(path) or path}
    template = environment.from_string(
        resources.files("mspt.scores").joinpath("report.html").read_text("utf-8")
    )
    known = len(summary.scores) > 0
    return template.render(
        title=title,
        summary=summary,
        median=f"{np.median(summary.scores):.3f}" if known else "–",
        mean=f"{summary.scores.mean():.3f}" if known else "–",
        histogram=_histogram(summary) if known else None,
        percentiles=dict(
            zip(PERCENTILES, np.percentile(summary.scores, PERCENTILES), strict=True)
            if known
            else ()
        ),
        picture_of=picture_of,
        link_to=link_to,
        thumb_px=THUMB_PX,
        longest_error=_LONGEST_ERROR,
        reasons=summary.reasons.most_common(_REASONS),
    )


def _histogram(summary: Summary) -> dict[str, Any]:
    """Return the bars in the picture's own units, and what each band holds."""
    bins = len(BANDS) * _BINS_PER_BAND
    # By the same rule as `band_of`, so that no score stands beside its band.
    index = np.minimum((summary.scores * bins).astype(int), bins - 1)
    counts = np.bincount(index, minlength=bins)
    of_bands = counts.reshape(len(BANDS), -1).sum(axis=1)
    return {
        "width": bins * _BAR_WIDTH,
        "height": _PLOT_HEIGHT,
        "span": f"{1 / bins:g}",
        "highest": int(counts.max()),
        "bars": list(_bars(counts.tolist())),
        "bands": [
            (band, int(count), count / len(summary.scores))
            for band, count in zip(BANDS, of_bands, strict=True)
        ],
    }


def _bars(counts: list[int]) -> Iterator[dict[str, Any]]:
    for position, count in enumerate(counts):
        # A single row among a million must still be seen.
        height = max(_PLOT_HEIGHT * count / max(counts), 1.5) if count else 0
        yield {
            "band": BANDS[position // _BINS_PER_BAND],
            "x": position * _BAR_WIDTH + 1,
            "y": f"{_PLOT_HEIGHT - height:.1f}",
            "width": _BAR_WIDTH - 2,
            "height": f"{height:.1f}",
            "low": f"{position / len(counts):.2f}",
            "high": f"{(position + 1) / len(counts):.2f}",
            "count": count,
        }


def _number(value: float, form: str) -> str:
    """Return a number in a form of format(), a dash for one that is undefined."""
    return "–" if math.isnan(value) else format(value, form)
