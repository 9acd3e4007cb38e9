"""`mspt report`: what the scores say together, as a page."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mspt.cli.choosing import BEST_OF_GROUP, SCORES, WITHIN, beaten_photos
from mspt.cli.options import Named, quoted
from mspt.errors import ConfigError

if TYPE_CHECKING:
    from mspt.scores.groups import By


@click.command()
@SCORES
@click.option(
    "-o",
    "--output",
    type=Named(dir_okay=False),
    required=True,
    help="The .html file to write.",
)
@click.option("--title", help="Of the page; default: how many photos it is about.")
@click.option(
    "--thumbs",
    type=click.IntRange(0, 100),
    default=12,
    show_default=True,
    help="How many of the best and of the worst to show.",
)
@click.option("--min-score", type=float, metavar="S", help="Show what this threshold drops.")
@click.option("--keep", type=float, metavar="P", help="Show what is dropped if this share stays.")
@BEST_OF_GROUP
@WITHIN
def report(
    scores: Path,
    output: Path,
    title: str | None,
    thumbs: int,
    min_score: float | None,
    keep: float | None,
    best_of_group: "By | None",
    within: tuple[Path, ...],
) -> None:
    """Write one HTML page about a scores file: no server, no script, nothing fetched.

    Histogram, percentiles, the best and worst faces, failures; with --min-score or --keep the faces
    on both sides of the cut, and all that is dropped. Faces are shown, with a link to the photo, if
    their photos are found: paths are as typed for `mspt score`, so run this in the folder where it
    ran. Photos elsewhere than below it, or below the folder of SCORES, are not opened unless
    --within names their folder.
    """
    from mspt.scores.copy import allowed_folders
    from mspt.scores.page import write_report
    from mspt.scores.read import open_scores
    from mspt.scores.summary import summarise

    if output.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{output}: a report's name ends in .html")
    if min_score is not None and keep is not None:
        raise ConfigError("--min-score and --keep say where the cut is: give one of the two")
    file, folders = open_scores(scores), allowed_folders(scores, within)
    if best_of_group:
        file = file.without(beaten_photos(file, best_of_group, None, folders))
    summary = summarise(file, thumbs, min_score=min_score, keep=keep)
    missing = write_report(output, summary, title=title, within=folders)
    if missing.count:
        click.echo(
            f"{missing.count} thumbnails have no picture: their photos are not found from this "
            "folder, or are frames of videos or rows of tables",
            err=True,
        )
    if missing.outside:
        outside = sorted({os.path.dirname(os.path.abspath(photo)) for photo in missing.outside})
        allow = " ".join(f"--within {quoted(folder)}" for folder in outside[:3])
        more = f" and {len(outside) - 3} more" if len(outside) > 3 else ""
        click.echo(
            f"{len(missing.outside)} photos were not opened, as they lie elsewhere than SCORES; to "
            f"show them: {allow}{more}",
            err=True,
        )
    click.echo(f"{output}: {output.stat().st_size} bytes")
