"""`mspt evaluate, compare, profile`: how good is a model, which is better, what does it cost?"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mspt.cli.options import (
    BACKEND_HELP,
    DETECTOR_HELP,
    MODEL_HELP,
    SCALE_HELP,
    TRUST_HELP,
    Named,
    read_face_options,
    read_scale,
)
from mspt.errors import ConfigError

if TYPE_CHECKING:
    from mspt.inference.session import Backend


@click.command()
@click.argument("manifest", type=Named())
@click.option("--model", "models", multiple=True, default=("base",), help=MODEL_HELP)
@click.option("--backend", default="auto", show_default=True, help=BACKEND_HELP)
@click.option("--path-column", default="path", show_default=True, help="Of the images' names.")
@click.option("--mos-column", default="mos", show_default=True, help="Of the labels.")
@click.option(
    "-o",
    "--output",
    type=Named(dir_okay=False),
    help="The score of every image, for `mspt compare`: .csv.",
)
@click.option("--split", help="Only rows of this split.")
@click.option("--detect", is_flag=True, help="Score each photo's largest face, not the photo.")
@click.option("--detector", type=Named(), help=DETECTOR_HELP)
@click.option("--trust-detector", is_flag=True, help=TRUST_HELP)
@click.option("--mos-scale", default="0,1", show_default=True, help=SCALE_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    manifest: Path,
    models: tuple[str, ...],
    backend: "Backend",
    path_column: str,
    mos_column: str,
    output: Path | None,
    split: str | None,
    detect: bool,
    detector: Path | None,
    trust_detector: bool,
    mos_scale: str,
    as_json: bool,
) -> None:
    """Compare scores with the mos of a manifest: SRCC, PLCC, KRCC, RMSE with 95 % intervals."""
    from mspt.evaluation import tables as report
    from mspt.evaluation.evaluate import evaluate_scores, score_entries
    from mspt.evaluation.manifest import read_manifest, select_entries
    from mspt.evaluation.predictions import Predictions, write_predictions
    from mspt.inference.scorer import Scorer

    if len(models) > 1:
        raise ConfigError(
            f"--model is given {len(models)} times: evaluate each with -o FILE.csv, then "
            "`mspt compare` the files"
        )
    read_face_options(detect, detector, None, 0)
    if output and output.suffix.lower() != ".csv":
        raise ConfigError(f"{output}: scores for `mspt compare` are written as .csv")
    if output and output.exists():
        raise ConfigError(f"{output} exists; name another file, or delete it first")
    listed = read_manifest(
        manifest,
        mos_scale=read_scale(mos_scale),
        path_column=path_column,
        mos_column=mos_column,
    )
    entries = select_entries(listed, split=split)
    if not entries:
        known = ", ".join(sorted({entry.split for entry in listed} - {""}))
        there_are = f"there are: {known}" if known else "no row names a split"
        raise ConfigError(f"{manifest}: no row has the split {split!r}; {there_are}")
    scorer = Scorer(models[0], backend=backend, detector=detector, trust_detector=trust_detector)
    scores = score_entries(entries, scorer, largest_face=detect)
    evaluation = evaluate_scores(entries, scores, model=scorer.label)
    if output:
        write_predictions(output, Predictions(entries, scores))
    click.echo(report.to_json(evaluation) if as_json else report.to_text(evaluation))


@click.command()
@click.argument("run_a", type=Named())
@click.argument("run_b", type=Named())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(run_a: Path, run_b: Path, as_json: bool) -> None:
    """Tell which of two runs is better, and how sure that is.

    A paired bootstrap over identities on the val images of both, which must be the same.

    RUN_A and RUN_B: a run's folder (out/NAME; its last stage counts), its run file, the scores of
    one stage (out/NAME/scores/stageK.csv), or what `mspt evaluate -o` wrote.
    """
    from mspt.evaluation.paired import compare_scores
    from mspt.evaluation.predictions import read_predictions
    from mspt.evaluation.tables import comparison_to_text, to_json
    from mspt.training.run_folder import find_scores

    paths = [find_scores(run) for run in (run_a, run_b)]
    comparison = compare_scores(*map(read_predictions, paths))
    click.echo(to_json(comparison) if as_json else comparison_to_text(comparison, *map(str, paths)))


@click.command()
@click.option("--model", default="base", show_default=True, help=MODEL_HELP)
@click.option("--budget", metavar="FLOPS,PARAMS", help="Limits such as 0.5G,5M; exit 1 above.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def profile(model: str, budget: str | None, as_json: bool) -> None:
    """Print what a model costs: parameters, GFLOPs (fvcore), size, milliseconds per image."""
    from mspt.budget import parse_budget
    from mspt.evaluation.profile import profile_model, to_text

    limits = parse_budget(budget) if budget else None
    measured = profile_model(model)
    click.echo(measured.to_json() if as_json else to_text(measured))
    if limits and (excess := limits.excess(measured.cost)):
        click.echo(f"over budget: {excess}", err=True)
        sys.exit(1)
