"""Tables between the markers of a page whose words are written by people.

A part stands between `<!-- name -->` and `<!-- /name -->`, each on a line of its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path


def fill_page(page: Path, parts: Mapping[str, Sequence[str]]) -> None:
    """Replace what stands between the markers of each part; the rest of the page stays.

    Raises:
        SystemExit: if the page lacks a marker, before anything is written.
    """
    text = page.read_text(encoding="utf-8")
    for name, lines in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not (found and closed):
            raise SystemExit(f"{page} has no place for {name}: add {begin} and {end}")
        text = "\n".join([head + begin, *lines, end]) + tail
    page.write_text(text, encoding="utf-8")
