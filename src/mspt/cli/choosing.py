"""`mspt filter, threshold, report`: what to do with the scores."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mspt.cli.progress import Progress
from mspt.errors import ConfigError

if TYPE_CHECKING:
    from mspt.scores.read import ScoreFile
    from mspt.scores.select import Cut, Survey

SCORES = click.argument("scores", type=click.Path(path_type=Path))


@click.command("filter")
@SCORES
@click.option("--min-score", type=float, metavar="S", help="Keep rows with at least this score.")
@click.option("--top", type=click.IntRange(min=1), metavar="K", help="Keep the K best rows.")
@click.option("--keep", type=float, metavar="P", help="Keep the best share P (0..1) of the rows.")
@click.option("--worst", type=click.IntRange(min=1), metavar="K", help="Choose the K worst rows.")
@click.option("--invert", is_flag=True, help="Choose the scored rows that would be left out.")
@click.option("--all-faces", is_flag=True, help="With --min-score: only if every face passes.")
@click.option("--list", "as_list", is_flag=True, help="Print the photos; the default action.")
@click.option(
    "--copy-to",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Copy the photos, under their names; overwrites nothing.",
)
@click.option("--tree", is_flag=True, help="With --copy-to: keep the folders that they are in.")
@click.option("--link", is_flag=True, help="With --copy-to: hard links, which take no space.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Rows: .csv, .jsonl or .parquet.",
)
def filter_(
    scores: Path,
    min_score: float | None,
    top: int | None,
    keep: float | None,
    worst: int | None,
    invert: bool,
    all_faces: bool,
    as_list: bool,
    copy_to: Path | None,
    tree: bool,
    link: bool,
    output: Path | None,
) -> None:
    """Choose photos by exactly one of --min-score, --top, --keep and --worst.

    Prints their paths, each once if any of its faces is chosen: in the order of SCORES with
    --min-score, else the best first, with --worst the worst. Rows written with -o keep the order of
    SCORES. Of equal scores the earlier row is chosen. Rows without a score never are.

    With --invert it is the photos of which no face would be chosen, and the rows that would not.

    Paths are as they were typed for `mspt score`: copy from the folder where it ran.
    Exit code 1 if a photo could not be copied.
    """
    from mspt.scores.read import check_written_suffix, open_scores, write_rows
    from mspt.scores.select import choose, describe_left_out, photos_of, survey

    if sum(value is not None for value in (min_score, top, keep, worst)) != 1:
        raise ConfigError("choose by exactly one of --min-score S, --top K, --keep P and --worst K")
    if all_faces and min_score is None:
        raise ConfigError("--all-faces says which photos pass a score: it needs --min-score S")
    if (tree or link) and not copy_to:
        raise ConfigError("--tree and --link say how photos are copied; add --copy-to DIR")
    if output:
        check_written_suffix(output)
    file = open_scores(scores)
    found = survey(file.rows())
    cut, criterion = _cut(file, found, min_score, top, keep, worst, all_faces)
    kept = [(row.path, row.score or 0.0) for row in choose(file.rows(), cut)]
    left = describe_left_out(found, cut, len(kept), criterion=criterion)
    chosen = kept
    if invert:
        good = {path for path, _ in kept}
        others = choose(file.rows(), cut, invert=True)
        chosen = [(row.path, row.score or 0.0) for row in others if row.path not in good]
        left = (
            f"{len(found.scores) - len(kept)} of {found.rows} rows chosen by --invert; without it, "
            f"{left}"
        )
    photos = photos_of(chosen, "file" if min_score is not None else "worst" if worst else "best")
    click.echo(left, err=True)
    if output:
        write_rows(output, file.columns, choose(file.rows(), cut, invert=invert))
    if as_list or not (output or copy_to):
        _print_photos(photos)
    if copy_to:
        _copy_photos(photos, copy_to, keep_tree=tree, link=link)


def _cut(
    file: "ScoreFile",
    found: "Survey",
    min_score: float | None,
    top: int | None,
    keep: float | None,
    worst: int | None,
    all_faces: bool,
) -> tuple["Cut", str]:
    """Return the cut that the options ask for, and why rows fall below it."""
    from mspt.scores.select import cut_at, cut_best, cut_worst, photos_below, share_count

    if min_score is not None:
        barred = photos_below(file.rows(), min_score) if all_faces else frozenset[str]()
        return cut_at(min_score, barred), f"below {min_score:g}"
    if worst is not None:
        return cut_worst(found.scores, worst), f"not among the {worst} worst"
    count = top if top is not None else share_count(len(found.scores), keep or 0.0)
    return cut_best(found.scores, count), f"not among the {count} best"


def _print_photos(photos: list[str]) -> None:
    from mspt.scores.write import printable_path

    for photo in photos:
        click.echo(printable_path(photo))


def _copy_photos(photos: list[str], folder: Path, *, keep_tree: bool, link: bool) -> None:
    from mspt.scores.copy import copy_photos, describe_copies

    with Progress(len(photos), unit="photos") as progress:
        report = copy_photos(
            photos, folder, on_progress=progress.update, keep_tree=keep_tree, link=link
        )
    for line in describe_copies(report, folder):
        click.echo(line, err=True)
    if report.failed:
        sys.exit(1)


@click.command()
@SCORES
@click.option("--keep", type=float, metavar="P", help="Find the threshold that keeps this share.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def threshold(scores: Path, keep: float | None, as_json: bool) -> None:
    """Show what thresholds would keep, and the mean score of what is kept and dropped.

    A threshold is exact: `mspt filter --min-score` with it keeps as many rows as is said. Rows of
    equal score are kept or dropped together, so that a share may be a little off.
    """
    from dataclasses import asdict

    from mspt.scores.read import open_scores
    from mspt.scores.select import KEEP_RATES, operating_points, points_to_text, survey

    found = survey(open_scores(scores).rows())
    if not len(found.scores):
        raise ConfigError(f"{scores}: none of its {found.rows} rows has a score")
    asked = operating_points(found.scores, [] if keep is None else [keep])
    points = operating_points(found.scores, KEEP_RATES)
    if as_json:
        answer = {
            "rows": found.rows,
            "scored": len(found.scores),
            "asked": asdict(asked[0]) if asked else None,
            "table": [asdict(point) for point in points],
        }
        click.echo(json.dumps(answer, indent=2))
        return
    click.echo(f"{len(found.scores)} of {found.rows} rows have a score\n")
    click.echo(points_to_text(points))
    for point in asked:
        command = f"mspt filter {shlex.quote(str(scores))} --min-score {point.threshold!r}"
        click.echo(f"\nto keep {100 * point.keep:g} %, {point.kept} rows: {command}")


@click.command()
@SCORES
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
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
def report(
    scores: Path,
    output: Path,
    title: str | None,
    thumbs: int,
    min_score: float | None,
    keep: float | None,
) -> None:
    """Write one HTML page about a scores file: no server, no script, nothing fetched.

    Histogram, percentiles, the best and worst faces, failures; with --min-score or --keep the faces
    on both sides of the cut, and all that is dropped. Faces are shown, with a link to the photo, if
    their photos are found: paths are as typed for `mspt score`, so run this in the folder where it
    ran.
    """
    from mspt.scores.page import write_report
    from mspt.scores.read import open_scores
    from mspt.scores.summary import summarise

    if output.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{output}: a report's name ends in .html")
    if min_score is not None and keep is not None:
        raise ConfigError("--min-score and --keep say where the cut is: give one of the two")
    summary = summarise(open_scores(scores), thumbs, min_score=min_score, keep=keep)
    missing = write_report(output, summary, title=title)
    if missing:
        click.echo(
            f"{missing} thumbnails have no picture: their photos are not found from this folder, "
            "or are frames of videos",
            err=True,
        )
    click.echo(f"{output}: {output.stat().st_size} bytes")
