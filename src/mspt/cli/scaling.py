"""`mspt cluster score`: the same rows, from a Ray cluster."""

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
    extra,
    max_image_option,
    read_face_options,
    report_gaps,
)
from mspt.cli.progress import Progress
from mspt.errors import ConfigError

if TYPE_CHECKING:
    from mspt.inference.session import Backend


@click.group()
def cluster() -> None:
    """Score on many machines: more photos than one can hold (docs/cluster.md)."""


@cluster.command("score")
@click.argument("inputs", nargs=-1)
@click.argument("output")
@click.option("--from", "source", metavar="LIST|-", help="Paths: lines, or a table's column.")
@click.option("--column", default="", metavar="NAME", help="Of tables: paths or encoded images.")
@click.option("--part", default=1000, show_default=True, help="Photos a part; its rows are a file.")
@click.option("--address", help="Of a running cluster, or auto; default: one started here.")
@click.option("--actors", type=click.IntRange(min=1), help="Default: all that have room.")
@click.option(
    "--cpus", type=click.IntRange(min=1), default=1, show_default=True, help="Cores of an actor."
)
@click.option("--model", default="base", show_default=True, help=MODEL_HELP)
@click.option("--backend", default="auto", show_default=True, help=BACKEND_HELP)
@MAX_MEGAPIXELS
@max_image_option(128)
@click.option("--factors", is_flag=True, help="Measure why: sharpness, noise ... and reasons.")
@click.option("--detect", is_flag=True, help="Find faces; a row for each, the largest first.")
@click.option("--detector", type=Named(), help=DETECTOR_HELP)
@click.option("--trust-detector", is_flag=True, help=TRUST_HELP)
@click.option("--max-faces", type=click.IntRange(min=1), help="Per photo, with --detect.")
@click.option("--min-face", type=click.IntRange(min=0), default=0, help="In px, with --detect.")
def score(
    inputs: tuple[str, ...],
    output: str,
    source: str | None,
    column: str,
    part: int,
    address: str | None,
    actors: int | None,
    cpus: int,
    model: str,
    backend: "Backend",
    max_megapixels: float,
    max_image: int,
    factors: bool,
    detect: bool,
    detector: Path | None,
    trust_detector: bool,
    max_faces: int | None,
    min_face: int,
) -> None:
    """Score INPUTS on a Ray cluster; write Parquet files into the folder OUTPUT.

    Inputs are photos, folders, patterns, .tar shards (WebDataset) and .parquet tables of paths or
    of encoded images. Both may lie on s3://, gs:// or hdfs://. Rows are those of mspt score, with
    the shard. Started again, a job that was stopped goes on with the parts that are missing.
    """
    from mspt.inference.scorer import Scorer
    from mspt.scores.lists import read_list

    with extra("cluster"):
        from mspt.cluster.job import run
        from mspt.cluster.plan import make_plan
    if not output:
        raise ConfigError("OUTPUT is empty; is a shell variable not set?")
    if not inputs and source is None:
        raise ConfigError("nothing to score: give INPUTS before OUTPUT, or --from LIST")
    faces = read_face_options(detect, detector, max_faces, min_face)
    plan = make_plan(
        inputs,
        listed=read_list(source, column=column, on_gaps=report_gaps) if source else (),
        column="" if source else column,
        part_photos=part,
        output=output,
    )
    if plan.passed_over:
        click.echo(plan.describe_others(), err=True)
    scorer = Scorer(
        model,
        backend=backend,
        detector=detector,
        trust_detector=trust_detector,
        factors=factors,
        max_pixels=round(1e6 * max_megapixels),
        max_bytes=2**20 * max_image,
    )
    with Progress(len(plan.parts), unit="parts") as progress:
        report = run(
            plan,
            output,
            scorer,
            faces=faces,
            address=address,
            actors=actors,
            cpus=cpus,
            on_progress=progress.update,
        )
    there = f", {report.there} of them there before" if report.there else ""
    click.echo(f"{output}: {report.parts} parts{there}; {report.rows} rows now")
    if report.failed:
        click.echo(f"{report.failed} of {report.rows} rows are not ok", err=True)
