"""The command line: `mspt score photos/`. Parses, calls one function, prints.

Exit codes: 0 done; 1 the answer is no (a row not ok with --strict, over budget); 2 wrong usage, or
input or output that cannot be used; 130 stopped by Ctrl-C.

Imports of the heavy parts wait until a command needs them, so that `mspt --help` is instant.
"""

import io
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mspt.errors import ConfigError, MissingExtraError, MsptError

if TYPE_CHECKING:
    from mspt.results import QualityScore

_MODEL_HELP = "Embedded model's name, or an .onnx file."
_SCALE_HELP = "WORST,BEST of the labels as written."


class _Group(click.Group):
    """Turns the errors of the library into one line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click declares it
        try:
            return super().invoke(ctx)
        except MsptError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(2)
        except BrokenPipeError:  # `mspt score ... | head` has seen enough
            sys.stderr.close()
            ctx.exit(0)
        except OSError as error:  # such as an output that cannot be written, or a full disk
            name = f"{error.filename}: " if error.filename else ""
            click.echo(f"error: {name}{error.strerror or error}", err=True)
            ctx.exit(2)
        except (KeyboardInterrupt, click.Abort):
            click.echo("stopped", err=True)
            ctx.exit(130)


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Say which extra to install when something inside finds a package missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(name, error) from error


def _show_progress(done: int, total: int) -> None:
    """Redraw one line of progress on a terminal; stay silent elsewhere."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        click.echo(f"\r{done}/{total} ({done / max(total, 1):.0%})", err=True, nl=False)
        click.echo(end, err=True, nl=False)


def _log(line: str) -> None:
    click.echo(line, err=True)


@click.group(cls=_Group)
@click.version_option(package_name="mspt", message="%(prog)s %(version)s")
def main() -> None:
    """Say how good face photos look: perceptual quality from 0 (worst) to 1 (best).

    It is not a recognition score: it says how a photo looks, not how well a face matcher copes.
    """
    # Pillow's remarks on damaged files name no file; the file's own row says what matters.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    for stream in (sys.stdout, sys.stderr):  # a file name must never end a run
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@main.command()
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Rows: .csv or .jsonl."
)
@click.option("--model", default="base", show_default=True, help=_MODEL_HELP)
@click.option("--workers", type=click.IntRange(min=1), help="Threads; default: all cores.")
@click.option("--strict", is_flag=True, help="Exit with 1 if any image could not be scored.")
def score(
    paths: tuple[str, ...], output: Path | None, model: str, workers: int | None, strict: bool
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
    scorer = Scorer(model)
    failed = 0
    with RowWriter(output) if output else nullcontext() as rows:
        results = scorer.score_many(images, workers=workers)
        for result in _with_progress(results, len(images), show=output is not None):
            (rows.write if rows else _print_score)(result)
            failed += result.status != "ok"
    if failed:
        click.echo(f"{failed} of {len(images)} images could not be scored", err=True)
    if strict and failed:
        sys.exit(1)


def _print_score(result: "QualityScore") -> None:
    from mspt.apps.outputs import printable_path

    path = printable_path(result.path)
    if result.score is None:
        click.echo(f"{path}: {result.error}", err=True)
    shown = "-     " if result.score is None else f"{result.score:.4f}"
    click.echo(f"{shown}  {path}")


def _with_progress(
    results: Iterable["QualityScore"], total: int, *, show: bool
) -> Iterator["QualityScore"]:
    for done, result in enumerate(results, 1):
        yield result
        if show:
            _show_progress(done, total)


@main.command()
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--model", default="base", show_default=True, help=_MODEL_HELP)
@click.option("--split", help="Only rows of this split.")
@click.option("--mos-scale", default="0,1", show_default=True, help=_SCALE_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(manifest: Path, model: str, split: str | None, mos_scale: str, as_json: bool) -> None:
    """Compare scores with the mos of a manifest: SRCC, PLCC, KRCC, RMSE with 95 % intervals."""
    from mspt.evaluation import report
    from mspt.evaluation.evaluate import evaluate as evaluate_entries
    from mspt.evaluation.manifest import read_manifest, select_entries
    from mspt.inference.scorer import Scorer

    listed = read_manifest(manifest, mos_scale=_read_scale(mos_scale))
    entries = select_entries(listed, split=split)
    if not entries:
        known = ", ".join(sorted({entry.split for entry in listed}))
        raise ConfigError(f"{manifest}: no row has the split {split!r}; there are: {known}")
    evaluation = evaluate_entries(entries, Scorer(model))
    click.echo(report.to_json(evaluation) if as_json else report.to_text(evaluation))


@main.command()
@click.option("--model", default="base", show_default=True, help=_MODEL_HELP)
@click.option("--budget", metavar="GFLOPS,PARAMS", help="Limits such as 0.5G,5M; exit 1 above.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def profile(model: str, budget: str | None, as_json: bool) -> None:
    """Print what a model costs: parameters, GFLOPs (fvcore), size, milliseconds per image."""
    from mspt.apps.profile import profile_model, to_text
    from mspt.training.budget import parse_budget

    limits = parse_budget(budget) if budget else None
    measured = profile_model(model)
    click.echo(measured.to_json() if as_json else to_text(measured))
    if limits and (excess := limits.excess(measured.cost)):
        click.echo(f"over budget: {excess}", err=True)
        sys.exit(1)


@main.command()
@click.argument("photos_manifest", type=click.Path(path_type=Path))
@click.argument("out_dir", type=click.Path(path_type=Path, file_okay=False))
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Keep only such rows.")
@click.option("--single", default=4, show_default=True, help="One-kind images per photo.")
@click.option("--second-order", default=3, show_default=True, help="Mixtures per photo.")
@click.option("--capture", default=3, show_default=True, help="Bad captures per photo.")
@click.option("--min-side", default=600, show_default=True, help="Leave smaller photos out, px.")
@click.option("--frame", default=640, show_default=True, help="Side of the images made, px.")
@click.option("--seed", default=0, show_default=True, help="Of everything drawn.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes; default: all cores.")
def synthesize(
    photos_manifest: Path,
    out_dir: Path,
    where: tuple[str, ...],
    workers: int | None,
    **plan_options: int,
) -> None:
    """Make degraded versions of pristine face photos, each labelled with a mos.

    PHOTOS_MANIFEST is a CSV with a column path or file, and identity and split if known. A run
    that was stopped goes on where it was.
    """
    with _extra("synth"):
        from mspt.synthesis.contact_sheet import write_contact_sheet
        from mspt.synthesis.reference_metrics import check_installed
        from mspt.synthesis.synthesize import PRISTINE, SynthesisPlan, read_photos
        from mspt.synthesis.synthesize import synthesize as make_images
    from mspt.evaluation.manifest import read_manifest
    from mspt.parallel import usable_cores

    photos = read_photos(photos_manifest, _read_conditions(where))
    check_installed()
    plan_options |= {
        "min_side_px": plan_options.pop("min_side"),
        "frame_px": plan_options.pop("frame"),
    }
    manifest = make_images(
        photos,
        out_dir,
        SynthesisPlan(**plan_options),
        workers=workers or usable_cores(),
        on_progress=_show_progress,
    )
    entries = read_manifest(manifest)
    write_contact_sheet(entries, out_dir / "contact-sheet.jpg")
    used = sum(entry.source == PRISTINE for entry in entries)
    click.echo(f"{len(entries)} images of {used} photos: {manifest}")
    if used < len(photos):
        small = f"short side below {plan_options['min_side_px']} px"
        click.echo(f"left out: {len(photos) - used} of {len(photos)} photos, {small}")
    click.echo(f"look at them, sorted by mos: {out_dir / 'contact-sheet.jpg'}")


def _read_conditions(where: Iterable[str]) -> dict[str, str]:
    conditions = {}
    for condition in where:
        column, equals, value = condition.partition("=")
        if not equals:
            raise ConfigError(f"--where {condition!r} is not of the form COLUMN=VALUE")
        conditions[column] = value
    return conditions


@main.command()
@click.argument("run_toml", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder; default: out/NAME.")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint.")
@click.option("--dry-run", is_flag=True, help="Check run and data, print the plan, train nothing.")
def train(run_toml: Path, out: Path | None, resume: bool, dry_run: bool) -> None:
    """Train the network in stages, as a run file says."""
    from mspt.apps.runs import default_folder

    with _extra("train"):
        from mspt.training.plan import describe_plan, make_plan
        from mspt.training.stages import load_run
        from mspt.training.trainer import train as train_run

        run = load_run(run_toml)
        if dry_run:
            click.echo(describe_plan(make_plan(run)))
            return
        checkpoint = train_run(run, out or default_folder(run.name), resume=resume, log=_log)
        from accelerate import PartialState

        if PartialState().is_main_process:  # of several, under accelerate launch
            click.echo(checkpoint)


@main.command()
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(run_a: Path, run_b: Path, as_json: bool) -> None:
    """Tell which of two runs is better, and how sure that is.

    A paired bootstrap over identities on the val images of both, which must be the same.

    RUN_A and RUN_B: a run's folder (out/NAME; its last stage counts), its run file, or the
    scores of one stage (out/NAME/scores/stageK.csv).
    """
    from mspt.apps.runs import find_scores
    from mspt.evaluation.paired import compare_scores
    from mspt.evaluation.report import comparison_to_text, to_json
    from mspt.evaluation.scored import read_scored

    paths = [find_scores(run) for run in (run_a, run_b)]
    comparison = compare_scores(*map(read_scored, paths))
    click.echo(to_json(comparison) if as_json else comparison_to_text(comparison, *map(str, paths)))


@main.command()
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--model", "models", multiple=True, default=("base",), help=_MODEL_HELP)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The manifest to write.",
)
@click.option("--mos-scale", default="0,1", show_default=True, help=_SCALE_HELP)
def label(manifest: Path, models: tuple[str, ...], output: Path, mos_scale: str) -> None:
    """Give pseudo-labels to images that have no mos.

    MANIFEST may lack the mos of some rows or of all; --model may be repeated.

    Where at least ten images have a mos, scores are brought to its scale by a 4-parameter
    logistic. The labels of several models are averaged.
    """
    from mspt.apps.outputs import printable_path
    from mspt.evaluation.label import label_entries
    from mspt.evaluation.manifest import read_manifest, write_manifest
    from mspt.inference.scorer import Scorer

    scale = _read_scale(mos_scale)
    entries = read_manifest(manifest, mos_scale=scale, partly_labelled=True)
    labelling = label_entries(entries, [Scorer(model) for model in models])
    write_manifest(output, labelling.entries)
    for entry, reason in labelling.failed:
        click.echo(f"left out: {printable_path(str(entry.path))}: {reason}", err=True)
    made = len(labelling.entries) - labelling.labelled
    click.echo(
        f"{made} of {len(labelling.entries)} images labelled by {', '.join(models)}: {output}"
    )
    if labelling.labelled:
        click.echo(
            f"on the {labelling.labelled} images with a mos, which the logistic was fitted on: "
            f"SRCC {labelling.srcc:.4f}, PLCC {labelling.plcc:.4f}"
        )
    else:
        click.echo("no image has a mos: the labels are on the models' own scale")


def _read_scale(text: str) -> tuple[float, float]:
    try:
        worst, best = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--mos-scale {text!r} is not of the form WORST,BEST") from error
    if worst == best:
        raise ConfigError(f"--mos-scale {text!r}: worst and best are the same")
    return worst, best


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    help="Manifest of the images that percentiles refer to, and on which torch and onnxruntime "
    "must agree; default: the run's val images.",
)
@click.option("--reference-name", help="How to call them.")
@click.option("--name", help="The model's name; default: OUT's.")
@click.option("--model-version", default="1", show_default=True)
@click.option("--licence", default="unspecified", show_default=True, help="Of the weights.")
def export(
    checkpoint: Path,
    out: Path,
    reference: Path | None,
    reference_name: str | None,
    name: str | None,
    model_version: str,
    licence: str,
) -> None:
    """Write a checkpoint as one ONNX file, if its scores equal torch's on real images."""
    with _extra("train"):
        from mspt.training.checkpoint import load_state
        from mspt.training.export import Release, export_model
        from mspt.training.plan import read_run_data
    from mspt.evaluation.manifest import read_manifest

    if out.suffix != ".onnx":
        raise ConfigError(f"{out}: a model file's name ends in .onnx")
    run = load_state(checkpoint).run
    entries = read_manifest(reference) if reference else read_run_data(run)[1]
    release = Release(
        name=name or out.stem,
        version=model_version,
        licence=licence,
        reference_description=reference_name or str(reference or f"val images of {run.name}"),
    )
    with _extra("train"):
        difference = export_model(checkpoint, out, entries, release)
    click.echo(f"{out}: {out.stat().st_size} bytes, at most {difference:.1e} away from torch")
