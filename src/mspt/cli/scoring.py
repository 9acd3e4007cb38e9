"""`mspt score`: a row for every photo, or for every face; `mspt detector`: what finds faces."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mspt.cli.options import (
    BACKEND_HELP,
    DETECTOR_HELP,
    MAX_MEGAPIXELS,
    MODEL_HELP,
    TRUST_HELP,
    Named,
    max_image_option,
    read_face_options,
    report_gaps,
)
from mspt.cli.progress import Progress
from mspt.cli.stopping import listening
from mspt.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mspt.inference.session import Backend
    from mspt.inference.video import BestShots, Shot
    from mspt.results import QualityScore
    from mspt.scores.write import RowWriter


@click.command()
@click.argument("paths", nargs=-1)
@click.option("--from", "source", metavar="LIST|-", help="Paths: lines, or a table's column.")
@click.option("--column", default="", metavar="NAME", help="Of --from's table; default: path, ...")
@click.option("-0", "nul", is_flag=True, help="NUL ends each path of --from, as find -print0.")
@click.option(
    "--root",
    type=Named(file_okay=False),
    help="Folder of --from's paths; default: here.",
)
@click.option("--all-files", is_flag=True, help="A row for captions and the like in folders, too.")
@click.option(
    "-o",
    "--output",
    type=Named(dir_okay=False),
    help="Rows: .csv, .jsonl or .parquet.",
)
@click.option("--resume", is_flag=True, help="Go on behind the rows that OUTPUT has.")
@click.option("--overwrite", is_flag=True, help="Replace the rows that OUTPUT has.")
@click.option(
    "--spreadsheet-safe", is_flag=True, help="Write ./=A.jpg for =A.jpg, no spreadsheet's formula."
)
@click.option("--model", default="base", show_default=True, help=MODEL_HELP)
@click.option("--backend", default="auto", show_default=True, help=BACKEND_HELP)
@click.option("--workers", type=click.IntRange(min=1), help="Threads; default: all cores.")
@MAX_MEGAPIXELS
@max_image_option(128)
@click.option("--strict", is_flag=True, help="Exit with 1 if any row is not ok.")
@click.option("--detect", is_flag=True, help="Find faces; a row for each, the largest first.")
@click.option("--detector", type=Named(), help=DETECTOR_HELP)
@click.option("--trust-detector", is_flag=True, help=TRUST_HELP)
@click.option("--max-faces", type=click.IntRange(min=1), help="Per photo, with --detect.")
@click.option(
    "--min-face",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Shorter side of a face's box in px, with --detect; smaller faces do not count.",
)
@click.option("--factors", is_flag=True, help="Measure why: sharpness, noise ... and reasons.")
@click.option("--every", metavar="TIME", help="Open videos: a row per frame, such as 0.5s.")
@click.option("--best", type=click.IntRange(min=1), help="Write the best frames, with --every.")
@click.option(
    "--best-to",
    type=Named(file_okay=False),
    help="An empty folder for them; default: best-frames.",
)
def score(
    paths: tuple[str, ...],
    source: str | None,
    column: str,
    nul: bool,
    root: Path | None,
    all_files: bool,
    output: Path | None,
    resume: bool,
    overwrite: bool,
    spreadsheet_safe: bool,
    model: str,
    backend: "Backend",
    workers: int | None,
    max_megapixels: float,
    max_image: int,
    strict: bool,
    detect: bool,
    detector: Path | None,
    trust_detector: bool,
    max_faces: int | None,
    min_face: int,
    factors: bool,
    every: str | None,
    best: int | None,
    best_to: Path | None,
) -> None:
    """Score face photos: files, folders (with all below them) and glob patterns.

    Prints `score  path` lines, or writes one row per image with -o: one per face with --detect, one
    per frame of a video with --every. Rows that are there already are never replaced unasked.
    """
    from mspt.inference.inputs import find_images
    from mspt.inference.scorer import Scorer
    from mspt.inference.video import (
        BestShots,
        check_best_folder,
        count_shots,
        is_video,
        open_shots,
        parse_interval,
        score_shots,
    )
    from mspt.results import COLUMNS, FACTOR_COLUMNS
    from mspt.scores.asked import Asked
    from mspt.scores.resume import NOTHING, leave_out, prepare_output
    from mspt.scores.write import RowWriter, journal_of, unlike_formula

    faces = read_face_options(detect, detector, max_faces, min_face)
    _check_best_options(every, best, best_to)
    _check_output_options(output, resume, overwrite, best)
    every_s = parse_interval(every) if every else None
    listed = _read_list_options(source, column, nul, root, has_paths=bool(paths))
    found = find_images(
        paths,
        listed=listed,
        exclude=[output, journal_of(output)] if output else (),
        all_files=all_files,
    )
    images = found.files
    if found.passed_over:
        click.echo(f"{found.describe_others()}; --all-files gives each a row", err=True)
    if not images:
        raise ConfigError(f"nothing to score: no file found at {_some(paths + listed)}")
    if spreadsheet_safe:
        images = [unlike_formula(image) for image in images]
    if best and not any(map(is_video, images)):
        raise ConfigError(f"--best {best}: there is no video among the paths; drop it")
    max_pixels = round(1e6 * max_megapixels)
    scorer = Scorer(
        model,
        backend=backend,
        detector=detector,
        trust_detector=trust_detector,
        factors=factors,
        max_pixels=max_pixels,
        max_bytes=2**20 * max_image,
    )
    columns = COLUMNS + FACTOR_COLUMNS if factors else COLUMNS
    best_to = best_to or Path("best-frames")
    if best:
        check_best_folder(best_to)
    scorer.score_photos([], faces=faces)  # asks for the detector before old rows are replaced,
    open_shots(images, every_s, max_pixels)  # and for PyAV
    kept = NOTHING
    if output:
        kept = prepare_output(
            output,
            columns,
            resume=resume,
            overwrite=overwrite,
            asked=Asked(model=scorer.label, faces=faces, max_pixels=max_pixels, every_s=every_s),
            images=images,
        )
        images = leave_out(images, kept.photos)
    best_shots = BestShots(best or 0)
    show_progress = output is not None or not sys.stdout.isatty()
    total = count_shots(images, every_s) if show_progress else len(images)
    try:
        with (
            RowWriter(output, columns, kept.size) if output else nullcontext() as rows,
            Progress(total, shown=show_progress) as progress,
            listening() as stop,  # no longer while Parquet is packed, which may take its time
        ):
            shots = stop.until(open_shots(images, every_s, max_pixels))
            scored = score_shots(scorer, shots, workers=workers, faces=faces)
            written, failed = _write_rows(scored, rows, best_shots, progress)
    finally:  # also when stopped
        for path in best_shots.write(best_to) if best else ():
            click.echo(path, err=output is None)  # rows without -o have stdout to themselves
    if failed:
        click.echo(f"{failed} of {written} rows are not ok", err=True)
    if strict and failed:
        sys.exit(1)


def _write_rows(
    scored: "Iterable[tuple[Shot, list[QualityScore]]]",
    rows: "RowWriter | None",
    best_shots: "BestShots",
    progress: Progress,
) -> tuple[int, int]:
    """Write or print every result; return how many there were, and how many are not ok."""
    written = failed = 0
    for done, (shot, results) in enumerate(scored, 1):
        for result in results:
            if rows:
                rows.write(result)
            else:
                _print_score(result, progress)
            written += 1
            failed += result.status != "ok"
        best_shots.offer(shot, results)
        progress.update(done, failed)
    return written, failed


def _read_list_options(
    source: str | None, column: str, nul: bool, root: Path | None, *, has_paths: bool
) -> tuple[str, ...]:
    """Return the paths of --from."""
    from mspt.scores.lists import read_list

    if source is None:
        if not has_paths:
            raise ConfigError("nothing to score: give files, folders or patterns, or --from LIST")
        for name, given in (("--column", column), ("-0", nul), ("--root", root)):
            if given:
                raise ConfigError(f"{name} is about a list; add --from LIST")
        return ()
    return tuple(read_list(source, column=column, nul=nul, root=root, on_gaps=report_gaps))


def _some(paths: tuple[str, ...]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _check_output_options(
    output: Path | None, resume: bool, overwrite: bool, best: int | None
) -> None:
    if (resume or overwrite) and not output:
        raise ConfigError("--resume and --overwrite are about a file of rows; add -o FILE")
    if resume and best:
        raise ConfigError(
            f"--best {best} looks at all frames, --resume leaves out those that have rows; score "
            "them all again with --overwrite, or resume without --best"
        )
    if resume and overwrite:
        raise ConfigError("--resume keeps the rows that are there, --overwrite does not; give one")


def _check_best_options(every: str | None, best: int | None, best_to: Path | None) -> None:
    if best and not every:
        raise ConfigError(f"--best {best} is about frames of videos; add --every TIME")
    if best_to and not best:
        raise ConfigError(f"--best-to {best_to} says where the best frames go; add --best N")


def _print_score(result: "QualityScore", progress: Progress) -> None:
    from mspt.scores.write import printable_path

    path = printable_path(result.path)
    if result.score is None:
        progress.log(f"{path}: {result.error}")
    shown = "-     " if result.score is None else f"{result.score:.4f}"
    face = "" if result.face is None else f"  face {result.face + 1} of {result.n_faces}"
    reasons = f"  ({'; '.join(result.reasons)})" if result.reasons else ""
    click.echo(f"{shown}  {path}{face}{reasons}")


@click.group()
def detector() -> None:
    """The model that finds faces for `mspt score --detect`."""


@detector.command()
@click.option("--url", help="A mirror; the file must be the same.")
def fetch(url: str | None) -> None:
    """Download it once into the user's cache, checking its SHA-256."""
    from mspt.inference.faces import URL, fetch_detector

    click.echo(fetch_detector(url or URL))
