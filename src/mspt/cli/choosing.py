"""`mspt filter, threshold, restore`: which photos to keep, by their scores."""

import json
import sys
from collections import deque
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mspt.cli.options import Named, quoted
from mspt.cli.progress import Progress
from mspt.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mspt.scores.copy import Way
    from mspt.scores.groups import By
    from mspt.scores.read import ScoreFile, ScoreRow
    from mspt.scores.select import Cut, PerPhoto, Survey

SCORES = click.argument("scores", type=Named())
WITHIN = click.option(
    "--within",
    type=Named(file_okay=False),
    multiple=True,
    metavar="DIR",
    help="Photos below may be taken, too.",
)
PER_PHOTO = click.option(
    "--per-photo",
    type=click.Choice(["worst", "largest", "mean"]),
    help="A photo counts by its worst or largest face, or by the mean of its faces.",
)
BEST_OF_GROUP = click.option(
    "--best-of-group",
    type=click.Choice(["burst", "alike"]),
    help="Of a burst, or of photos that look alike, only the best counts.",
)


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
    type=Named(file_okay=False),
    metavar="DIR",
    help="Copy the photos, under their names; overwrites nothing.",
)
@click.option("--tree", is_flag=True, help="With --copy-to: keep the folders that they are in.")
@click.option("--link", is_flag=True, help="With --copy-to: hard links, which take no space.")
@click.option("--move", is_flag=True, help="With --copy-to: move; `mspt restore` undoes it.")
@WITHIN
@PER_PHOTO
@BEST_OF_GROUP
@click.option(
    "-o",
    "--output",
    type=Named(dir_okay=False),
    help="Rows: .csv, .jsonl or .parquet; replaces a file of that name.",
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
    move: bool,
    within: tuple[Path, ...],
    per_photo: "PerPhoto | None",
    best_of_group: "By | None",
    output: Path | None,
) -> None:
    """Choose photos by one of --min-score, --top, --keep and --worst, or by --best-of-group.

    --best-of-group stands alone, or before one of the others. It leaves out what another photo of
    its group beats: `burst`, taken within 2 s by one camera, as EXIF tells; `alike`, near copies.
    Within .02 of the best score of a group, the photo of most pixels beats the others.

    Prints their paths, each once if any of its faces is chosen: in the order of SCORES with
    --min-score or --best-of-group alone, else the best first, with --worst the worst. Rows written
    with -o keep the order of SCORES. Of equal scores the earlier row is chosen. Rows without a
    score never are.

    With --invert it is the photos of which no face would be chosen, and the rows that would not.

    Paths are as they were typed for `mspt score`: copy from the folder where it ran. Photos
    elsewhere than below it, or below the folder of SCORES, are left unless --within names theirs.
    Exit code 1 if a photo could not be copied.
    """
    from mspt.scores.copy import allowed_folders
    from mspt.scores.read import check_written_suffix, open_scores, write_rows
    from mspt.scores.select import choose, describe_left_out, photos_of, survey

    given = sum(value is not None for value in (min_score, top, keep, worst))
    if given > 1 or not (given or best_of_group):
        raise ConfigError(
            "choose by exactly one of --min-score S, --top K, --keep P and --worst K, or by "
            "--best-of-group alone"
        )
    min_score = min_score if given else 0.0
    if all_faces and min_score is None:
        raise ConfigError("--all-faces says which photos pass a score: it needs --min-score S")
    if all_faces and per_photo:
        raise ConfigError(
            "--all-faces and --per-photo both say what a photo's faces mean; give one"
        )
    how = _way(copy_to, tree, link, move)
    if output:
        check_written_suffix(output)
    file = open_scores(scores)
    if output and output.exists() and output.samefile(scores):
        raise ConfigError(f"{output}: is the scores file itself; name another one")
    folders = allowed_folders(scores, within)
    beaten = (
        beaten_photos(file, best_of_group, per_photo, folders) if best_of_group else frozenset()
    )
    read_rows = partial(_rows_of, file, per_photo)
    found = survey(_rows_of(file.without(beaten), per_photo))
    cut, criterion = _cut(file, found, min_score, top, keep, worst, all_faces)
    consume = partial(write_rows, output, file.columns) if output else _pass_over
    allowed = replace(cut, barred=cut.barred | beaten)
    kept = _noted(choose(read_rows(), allowed), _pass_over if invert else consume)
    left = describe_left_out(found, cut, len(kept), criterion=criterion)
    chosen = kept
    if invert:
        good = {path for path, _ in kept}
        others = _noted(choose(read_rows(), allowed, invert=True), consume)
        chosen = [(path, score) for path, score in others if path not in good]
        rows = (survey(read_rows()) if beaten else found).rows
        left = f"{len(others)} of {rows} rows chosen by --invert; without it, {left}"
    click.echo(left, err=True)
    is_listed = as_list or not (output or copy_to)
    if not (is_listed or copy_to):
        return
    photos = photos_of(chosen, "file" if min_score is not None else "worst" if worst else "best")
    if is_listed:
        _print_photos(photos)
    if copy_to:
        _copy_photos(photos, copy_to, tree, how, folders)


def _way(copy_to: Path | None, tree: bool, link: bool, move: bool) -> "Way":
    if (tree or link or move) and not copy_to:
        raise ConfigError("--tree, --link and --move say how photos are copied; add --copy-to DIR")
    if link and move:
        raise ConfigError("--link leaves photos where they are, --move does not; give one")
    return "move" if move else "link" if link else "copy"


def _noted(
    rows: "Iterable[ScoreRow]", consume: "Callable[[Iterable[ScoreRow]], object]"
) -> list[tuple[str, float]]:
    """Hand rows over, one at a time; return the path and score of each."""
    noted = []

    def noting() -> "Iterator[ScoreRow]":
        for row in rows:
            noted.append((row.path, row.score or 0.0))
            yield row

    consume(noting())
    return noted


def _pass_over(rows: "Iterable[ScoreRow]") -> None:
    deque(rows, maxlen=0)


def _rows_of(file: "ScoreFile", how: "PerPhoto | None") -> "Iterator[ScoreRow]":
    from mspt.scores.select import per_photo

    return per_photo(file.rows(), how) if how else file.rows()


def beaten_photos(
    file: "ScoreFile", by: "By", how: "PerPhoto | None", folders: list[Path]
) -> frozenset[str]:
    """Return the photos that another of their group beats; say how many, and what was not seen."""
    from mspt.files import is_within
    from mspt.scores.copy import is_there, none_is_there
    from mspt.scores.groups import beaten, find_groups
    from mspt.scores.read import file_of

    photos = dict.fromkeys(row.path for row in file.rows())
    near = [path for path in photos if is_within(file_of(path), folders)]
    # Asked first: to look at a million photos takes its time.
    if near and not any(is_there(file_of(path)) for path in near):
        raise none_is_there(near)
    unread = list[str]()
    with Progress(len(near), unit="photos") as progress:
        groups = find_groups(near, by, progress.update, unread.append)
    if unread:
        click.echo(
            f"{len(unread)} of {len(near)} photos cannot be read, such as {unread[0]}: they are in "
            "no group",
            err=True,
        )
    left = beaten(_rows_of(file, how), groups)
    click.echo(
        f"groups ({by}): {len(groups)}; {len(left)} photos are beaten by another of theirs",
        err=True,
    )
    if len(near) < len(photos):
        click.echo(
            f"{len(photos) - len(near)} photos lie outside and were not looked at; --within DIR "
            "allows a folder",
            err=True,
        )
    return left


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
    from mspt.scores.write import one_line

    for photo in photos:
        click.echo(one_line(photo))


def _copy_photos(
    photos: list[str], folder: Path, keep_tree: bool, how: "Way", within: list[Path]
) -> None:
    from mspt.scores.copy import copy_photos, describe_copies

    with Progress(len(photos), unit="photos") as progress:
        report = copy_photos(
            photos,
            folder,
            on_progress=progress.update,
            keep_tree=keep_tree,
            how=how,
            within=within,
        )
    for line in describe_copies(report, folder, how):
        click.echo(line, err=True)
    if report.failed:
        sys.exit(1)


@click.command()
@click.argument("journal", type=Named())
@WITHIN
def restore(journal: Path, within: tuple[Path, ...]) -> None:
    """Move photos back that `mspt filter --move` moved; JOURNAL is DIR/mspt-moved.jsonl.

    Photos go back to folders below the working directory, and to those that --within names.
    Exit code 1 if a photo could not go back; then the journal stays.
    """
    from mspt.scores.copy import allowed_folders, failure_lines
    from mspt.scores.move import restore as move_back

    report = move_back(journal, allowed_folders(journal, within))
    click.echo(f"{report.restored} photos moved back", err=True)
    for line in failure_lines(report.failed):
        click.echo(line, err=True)
    if report.failed:
        sys.exit(1)


@click.command()
@SCORES
@click.option("--keep", type=float, metavar="P", help="Find the threshold that keeps this share.")
@PER_PHOTO
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def threshold(
    scores: Path, keep: float | None, per_photo: "PerPhoto | None", as_json: bool
) -> None:
    """Show what thresholds would keep, and the mean score of what is kept and dropped.

    A threshold is exact: `mspt filter --min-score` with it keeps as many rows as is said. Rows of
    equal score are kept or dropped together, so that a share may be a little off.
    """
    from dataclasses import asdict

    from mspt.scores.read import open_scores
    from mspt.scores.select import KEEP_RATES, operating_points, points_to_text, survey

    found = survey(_rows_of(open_scores(scores), per_photo))
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
        command = f"mspt filter {quoted(str(scores))} --min-score {point.threshold!r}"
        command += f" --per-photo {per_photo}" if per_photo else ""
        click.echo(f"\nto keep {100 * point.keep:g} %, {point.kept} rows: {command}")
