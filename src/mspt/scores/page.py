"""The report's page: one HTML file that needs nothing else.

In:   a Summary.
Out:  HTML; the frame and the looks stand in page/report.html, this module fills it.

Whatever comes from outside (file names, errors, titles) passes `_text`, which escapes it.
"""

import html
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from mspt.files import whole_file
from mspt.results import BANDS
from mspt.scores.read import ScoreRow
from mspt.scores.summary import PERCENTILES, Summary
from mspt.scores.thumbnails import THUMB_PX, thumbnail_uri

_BINS_PER_BAND = 4
_BAR_WIDTH, _PLOT_HEIGHT = 30, 160  # in the picture's own units; it stretches to the page's width
_REASONS = 10  # the most frequent ones shown
_LONGEST_ERROR = 300  # characters of an error message shown


def write_report(output: Path, summary: Summary, *, title: str | None = None) -> int:
    """Write the page at once; return how many thumbnails have no picture.

    Raises:
        ConfigError: if it cannot be written.
    """
    missing = 0

    def picture_of(row: ScoreRow) -> str | None:
        nonlocal missing
        uri = thumbnail_uri(row)
        missing += uri is None
        return uri

    title = title or f"Perceptual quality of {summary.photos:,} photos"
    page = render_report(summary, title=title, picture_of=picture_of)
    with whole_file(output) as draft:
        draft.write_text(page, encoding="utf-8", errors="backslashreplace")
    return missing


def render_report(
    summary: Summary, *, title: str, picture_of: Callable[[ScoreRow], str | None]
) -> str:
    """Return the page.

    Args:
        summary: what it says.
        title: of the page.
        picture_of: gives a row's picture as a data URI, or None if there is none.
    """
    template = resources.files("mspt.scores").joinpath("report.html").read_text("utf-8")
    return Template(template).substitute(
        title=_text(title),
        about=_text(_about(summary)),
        tiles=_tiles(summary),
        sections="\n".join(_sections(summary, picture_of)),
    )


def _about(summary: Summary) -> str:
    models = ", ".join(summary.models) or "unknown"
    several = "; scores of different models do not compare" if len(summary.models) > 1 else ""
    kind = "models" if len(summary.models) > 1 else "model"
    return f"From {summary.file}, {kind} {models}{several}."


def _tiles(summary: Summary) -> str:
    scores = summary.scores
    known = len(scores) > 0
    tiles = {
        "photos": f"{summary.photos:,}",
        "rows": f"{summary.rows:,}",
        "scored": f"{len(scores):,}",
        "not scored": f"{summary.failed.total():,}",
        "median score": f"{np.median(scores):.3f}" if known else "–",
        "mean score": f"{scores.mean():.3f}" if known else "–",
    }
    return _terms("tiles", tiles)


def _sections(summary: Summary, picture_of: Callable[[ScoreRow], str | None]) -> Iterator[str]:
    if len(summary.scores):
        yield _section("Scores", _histogram(summary), _percentiles(summary))
    if summary.best:
        yield _section("Best", _faces(summary.best, picture_of))
    if summary.worst:
        yield _section("Worst", _faces(summary.worst, picture_of))
    if summary.failed:
        yield _section("Not scored", _failures(summary))
    if summary.reasons:
        yield _section("Most frequent reasons", _reasons(summary.reasons, summary.rows))
    if summary.measures:
        yield _section("Measures", _measures(summary))


def _section(title: str, *parts: str) -> str:
    identity = title.lower().replace(" ", "-")
    inside = "\n".join(parts)
    return (
        f'<section aria-labelledby="{identity}">\n<h2 id="{identity}">{title}</h2>\n'
        f"{inside}\n</section>"
    )


def _histogram(summary: Summary) -> str:
    """Return bars and, below them, the five bands in words and numbers."""
    bins = len(BANDS) * _BINS_PER_BAND
    # By the same rule as `band_of`, so that no score stands beside its band.
    index = np.minimum((summary.scores * bins).astype(int), bins - 1)
    counts = np.bincount(index, minlength=bins)
    of_bands = counts.reshape(len(BANDS), -1).sum(axis=1)
    width = bins * _BAR_WIDTH
    said = ", ".join(f"{band} {count}" for band, count in zip(BANDS, of_bands, strict=True))
    share = of_bands / len(summary.scores)
    labels = "".join(
        f'<div><dt class="{band}">{band}</dt><dd>{count:,}</dd><dd>{part:.1%}</dd></div>'
        for band, count, part in zip(BANDS, of_bands, share, strict=True)
    )
    return (
        f'<svg class="histogram" viewBox="0 0 {width} {_PLOT_HEIGHT}" preserveAspectRatio="none" '
        f'role="img" aria-label="Histogram of scores from 0 to 1: {said}">{_bars(counts)}'
        f'<line class="axis" x1="0" x2="{width}" y1="{_PLOT_HEIGHT}" y2="{_PLOT_HEIGHT}"/></svg>\n'
        f'<dl class="bands">{labels}</dl>\n'
        f'<p class="faint">Each band is a fifth of the scale: bad below 0.2, excellent from 0.8. '
        f"A bar spans {1 / bins:g}; the highest counts {counts.max():,}.</p>"
    )


def _bars(counts: Iterable[int]) -> str:
    numbers = [int(count) for count in counts]
    bars = []
    for position, count in enumerate(numbers):
        # A single row among a million must still be seen.
        height = max(_PLOT_HEIGHT * count / max(numbers), 1.5) if count else 0
        low, high = position / len(numbers), (position + 1) / len(numbers)
        bars.append(
            f'<rect class="{BANDS[position // _BINS_PER_BAND]}" x="{position * _BAR_WIDTH + 1}" '
            f'y="{_PLOT_HEIGHT - height:.1f}" width="{_BAR_WIDTH - 2}" height="{height:.1f}">'
            f"<title>{low:.2f} to {high:.2f}: {count:,}</title></rect>"
        )
    return "".join(bars)


def _percentiles(summary: Summary) -> str:
    values = np.percentile(summary.scores, PERCENTILES)
    cells = {f"{p} %": f"{value:.3f}" for p, value in zip(PERCENTILES, values, strict=True)}
    return (
        "<h3>Percentiles: the score that this share of the scored rows lies below</h3>\n"
        + _terms("tiles percentiles", cells)
    )


def _faces(rows: Iterable[ScoreRow], picture_of: Callable[[ScoreRow], str | None]) -> str:
    return f'<ol class="faces">{"".join(_face(row, picture_of(row)) for row in rows)}</ol>'


def _face(row: ScoreRow, uri: str | None) -> str:
    name = _text(os.path.basename(row.path) or row.path)
    if uri is None:
        picture = f'<div class="none" role="img" aria-label="no picture of {name}">not found</div>'
    else:
        picture = (
            f'<img src="{uri}" alt="face in {name}, score {row.score:.3f}" '
            f'width="{THUMB_PX}" height="{THUMB_PX}" loading="lazy">'
        )
    caption = f'<figcaption title="{_text(row.path)}"><b>{row.score:.3f}</b>{name}</figcaption>'
    return f"<li><figure>{picture}{caption}</figure></li>"


def _failures(summary: Summary) -> str:
    rows = []
    for status, count in summary.failed.most_common():
        examples = "".join(
            f"<div>{_text(row.path)}: "
            f"{_text(str(row.cells.get('error') or '')[:_LONGEST_ERROR])}</div>"
            for row in summary.examples[status]
        )
        rows.append((_text(status), f"{count:,}", examples))
    return _table(("status", "rows", "for example"), rows, numbers=(1,))


def _reasons(reasons: Counter[str], total: int) -> str:
    rows = [
        (_text(reason), f"{count:,}", f"{count / total:.1%}")
        for reason, count in reasons.most_common(_REASONS)
    ]
    return _table(("reason", "rows", "share"), rows, numbers=(1, 2))


def _measures(summary: Summary) -> str:
    rows = [
        (
            measure.name,
            f"{measure.rows:,}",
            *(_number(value) for value in measure.quantiles),
            "–" if math.isnan(measure.srcc) else f"{measure.srcc:+.3f}",
        )
        for measure in summary.measures
    ]
    header = ("measure", "rows", "10 %", "median", "90 %", "SRCC")
    note = (
        '<p class="faint">SRCC is the rank correlation with the score: +1 when the score always '
        "rises with the measure, -1 when it always falls, near 0 when neither.</p>"
    )
    return _table(header, rows, numbers=(1, 2, 3, 4, 5)) + "\n" + note


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"


def _terms(kind: str, values: dict[str, str]) -> str:
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in values.items())
    return f'<dl class="{kind}">{cells}</dl>'


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int]) -> str:
    """Return a table of cells that are HTML already; `numbers` are the columns set right."""
    kinds = ['class="number"' if column in numbers else "" for column in range(len(header))]
    head = "".join(
        f'<th scope="col" {kind}>{name}</th>' for kind, name in zip(kinds, header, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(f"<td {kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>'
        "</table></div>"
    )


def _text(text: str) -> str:
    return html.escape(text, quote=True)
