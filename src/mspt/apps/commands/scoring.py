"""`mspt score`: a row for every photo."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mspt.apps.options import BACKEND_HELP, MODEL_HELP
from mspt.apps.terminal import Progress
from mspt.errors import ConfigError

if TYPE_CHECKING:
    from mspt.inference.session import Backend
    from mspt.results import QualityScore


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Rows: .csv or .jsonl."
)
@click.option("--model", default="base", show_default=True, help=MODEL_HELP)
@click.option("--backend", default="auto", show_default=True, help=BACKEND_HELP)
@click.option("--workers", type=click.IntRange(min=1), help="Threads; default: all cores.")
@click.option("--strict", is_flag=True, help="Exit with 1 if any image could not be scored.")
def score(
    paths: tuple[str, ...],
    output: Path | None,
    model: str,
    backend: "Backend",
    workers: int | None,
    strict: bool,
) -> None:
    """Score face photos: files, folders (with all below them) and glob patterns.

    Prints `score  path` lines, or writes one row per image with -o.
    """
    from mspt.apps.inputs import find_images
    from mspt.apps.outputs import RowWriter
    from mspt.inference.scorer import Scorer

    images = find_images(paths, exclude=output)
    if not images:
        raise ConfigError(f"nothing to score: no file found at {', '.join(paths)}")
    scorer = Scorer(model, backend=backend)
    failed = 0
    show_progress = output is not None or not sys.stdout.isatty()
    with (
        RowWriter(output) if output else nullcontext() as rows,
        Progress(len(images), shown=show_progress) as progress,
    ):
        for done, result in enumerate(scorer.score_many(images, workers=workers), 1):
            if rows:
                rows.write(result)
            else:
                _print_score(result, progress)
            failed += result.status != "ok"
            progress.update(done, failed)
    if failed:
        click.echo(f"{failed} of {len(images)} images could not be scored", err=True)
    if strict and failed:
        sys.exit(1)


def _print_score(result: "QualityScore", progress: Progress) -> None:
    from mspt.apps.outputs import printable_path

    path = printable_path(result.path)
    if result.score is None:
        progress.log(f"{path}: {result.error}")
    shown = "-     " if result.score is None else f"{result.score:.4f}"
    click.echo(f"{shown}  {path}")
