"""`mspt synthesize, label, train, export`: from photos to a model file."""

from pathlib import Path

import click

from mspt.cli.options import MODEL_HELP, SCALE_HELP, Named, extra, read_conditions, read_scale
from mspt.cli.progress import Progress
from mspt.errors import ConfigError


@click.command()
@click.argument("photos_manifest", type=Named())
@click.argument("out_dir", type=Named(file_okay=False))
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Keep only such rows.")
@click.option("--single", default=4, show_default=True, help="One-kind images per photo.")
@click.option("--second-order", default=2, show_default=True, help="Mixtures per photo.")
@click.option("--chained", default=2, show_default=True, help="Two or three kinds in a row.")
@click.option("--capture", default=2, show_default=True, help="Bad captures per photo.")
@click.option("--photo-filter", default=2, show_default=True, help="Photo filters per photo.")
@click.option("--small", default=0, show_default=True, help="Kept at fewer pixels, per photo.")
@click.option("--phone", default=0, show_default=True, help="Faults of phones per photo.")
@click.option("--mild", default=0, show_default=True, help="Hardly seen damage per photo.")
@click.option("--gray", default=0.1, show_default=True, help="Share of photos made gray first.")
@click.option("--min-side", default=600, show_default=True, help="Leave smaller photos out, px.")
@click.option(
    "--frame", default=640, show_default=True, help="Larger photos are reduced to it, px."
)
@click.option("--enlarge", is_flag=True, help="Smaller ones are enlarged to it before damage.")
@click.option("--seed", default=0, show_default=True, help="Of everything drawn.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes; default: all cores.")
def synthesize(
    photos_manifest: Path,
    out_dir: Path,
    where: tuple[str, ...],
    workers: int | None,
    gray: float,
    enlarge: bool,
    **plan_options: int,
) -> None:
    """Make degraded versions of pristine face photos, each labelled with a mos.

    PHOTOS_MANIFEST is a CSV with a column path or file, and identity and split if known. A run
    that was stopped goes on where it was.
    """
    with extra("synth"):
        from mspt.synthesis.contact_sheet import write_contact_sheet
        from mspt.synthesis.reference_metrics import check_installed
        from mspt.synthesis.synthesize import SynthesisPlan, read_photos
        from mspt.synthesis.synthesize import synthesize as make_images
    from mspt.evaluation.manifest import read_manifest
    from mspt.parallel import usable_cores

    photos = read_photos(photos_manifest, read_conditions(where))
    check_installed()
    plan_options |= {
        "min_side_px": plan_options.pop("min_side"),
        "frame_px": plan_options.pop("frame"),
    }
    with Progress(len(photos), unit="photos") as progress:
        manifest = make_images(
            photos,
            out_dir,
            SynthesisPlan(gray=gray, enlarge=enlarge, **plan_options),
            workers=workers or usable_cores(),
            on_progress=progress.update,
        )
    entries = read_manifest(manifest)
    write_contact_sheet(entries, out_dir / "contact-sheet.jpg")
    used = sum(entry.is_undamaged for entry in entries)
    click.echo(f"{len(entries)} images of {used} photos: {manifest}")
    if used < len(photos):
        small = f"short side below {plan_options['min_side_px']} px"
        click.echo(f"left out: {len(photos) - used} of {len(photos)} photos, {small}")
    click.echo(f"look at them, sorted by mos: {out_dir / 'contact-sheet.jpg'}")


@click.command()
@click.argument("manifest", type=Named())
@click.option("--model", "models", multiple=True, default=("base",), help=MODEL_HELP)
@click.option(
    "-o",
    "--output",
    type=Named(dir_okay=False),
    required=True,
    help="The manifest to write.",
)
@click.option("--mos-scale", default="0,1", show_default=True, help=SCALE_HELP)
def label(manifest: Path, models: tuple[str, ...], output: Path, mos_scale: str) -> None:
    """Give pseudo-labels to images that have no mos.

    MANIFEST may lack the mos of some rows or of all; --model may be repeated.

    Where at least ten images have a mos, scores are brought to its scale by a 4-parameter
    logistic. The labels of several models are averaged.
    """
    from mspt.evaluation.manifest import read_manifest, write_manifest
    from mspt.evaluation.pseudo_labels import label_entries
    from mspt.inference.scorer import Scorer
    from mspt.scores.write import printable_path

    scale = read_scale(mos_scale)
    _check_label_output(output, manifest)
    entries = read_manifest(manifest, mos_scale=scale, labels="optional")
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


def _check_label_output(output: Path, manifest: Path) -> None:
    """Refuse a name that would cost labels, or the time of scoring."""
    if output.suffix.lower() != ".csv":
        raise ConfigError(f"{output}: a manifest's name ends in .csv")
    if not output.parent.is_dir():
        raise ConfigError(f"{output}: there is no folder {output.parent}; make it first")
    if output.exists() and manifest.exists() and output.samefile(manifest):
        raise ConfigError(
            f"{output} is the input: labels on their own scale, further columns and images that "
            "cannot be scored would be lost; name another file"
        )
    if output.exists():
        raise ConfigError(f"{output} exists; name another file, or delete it first")


@click.command()
@click.argument("run_toml", type=Named())
@click.option("--out", type=Named(), help="Folder; default: out/NAME.")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint.")
@click.option("--dry-run", is_flag=True, help="Check run and data, print the plan, train nothing.")
def train(run_toml: Path, out: Path | None, resume: bool, dry_run: bool) -> None:
    """Train the network in stages, as a run file says."""
    from mspt.training.run_folder import default_folder

    with extra("train"):
        from accelerate import PartialState

        from mspt.training.config import load_run
        from mspt.training.dry_run import describe_plan
        from mspt.training.plan import make_plan
        from mspt.training.trainer import train as train_run

    run = load_run(run_toml)
    if dry_run:
        click.echo(describe_plan(make_plan(run)))
        return
    checkpoint = train_run(
        run,
        out or default_folder(run.name),
        resume=resume,
        log=lambda line: click.echo(line, err=True),
    )
    if PartialState().is_main_process:  # of several, under accelerate launch
        click.echo(checkpoint)


@click.command()
@click.argument("run", type=Named())
@click.argument("out", type=Named(dir_okay=False))
@click.option("--stage", type=click.IntRange(min=1), help="Which stage; default: the last begun.")
@click.option(
    "--reference",
    type=Named(),
    help="Manifest of the images that percentiles refer to, and on which torch and onnxruntime "
    "must agree; default: the run's val images.",
)
@click.option("--reference-name", help="How to call them.")
@click.option("--name", help="The model's name; default: OUT's.")
@click.option("--model-version", default="", help="Default: a digest of the weights.")
@click.option("--licence", default="unspecified", show_default=True, help="Of the weights.")
@click.option("--half", is_flag=True, help="Store weights in 16 bits, if scores move < .002.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.")
@click.option(
    "--mean-with",
    type=Named(),
    multiple=True,
    metavar="RUN",
    help="Average the weights of runs that began at the same ones; may be repeated.",
)
def export(
    run: Path,
    out: Path,
    stage: int | None,
    reference: Path | None,
    reference_name: str | None,
    name: str | None,
    model_version: str,
    licence: str,
    half: bool,
    overwrite: bool,
    mean_with: tuple[Path, ...],
) -> None:
    """Write a run's network as one ONNX file, if its scores equal torch's on real images.

    RUN is a run's folder (out/NAME), its run file, or a checkpoint's folder.
    """
    with extra("train"):
        from mspt.training.checkpoint import load_state
        from mspt.training.export import Release, export_model
        from mspt.training.plan import read_run_data
    from mspt.evaluation.manifest import read_manifest
    from mspt.training.run_folder import find_checkpoint

    if out.suffix != ".onnx":
        raise ConfigError(f"{out}: a model file's name ends in .onnx")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists; name another file, or replace it with --overwrite")
    checkpoints = [find_checkpoint(each, stage) for each in (run, *mean_with)]
    if len({checkpoint.resolve() for checkpoint in checkpoints}) < len(checkpoints):
        raise ConfigError("--mean-with names a run twice, or the run itself")
    states = [load_state(checkpoint) for checkpoint in checkpoints]
    if any(state.parent != states[0].parent for state in states):
        click.echo("note: these runs began at different weights; look at the scores", err=True)
    config = states[0].run
    entries = read_manifest(reference, labels="ignored") if reference else read_run_data(config)[1]
    release = Release(
        name=name or out.stem,
        version=model_version,
        licence=licence,
        reference_description=reference_name or str(reference or f"val images of {config.name}"),
        half=half,
    )
    for checkpoint, state in zip(checkpoints, states, strict=True):
        if not state.is_last:
            end = f"the end of {state.run.name}'s training"
            click.echo(f"note: {checkpoint.name} is not {end}", err=True)
    difference = export_model(checkpoints, out, entries, release)
    click.echo(f"{out}: {out.stat().st_size} bytes, at most {difference:.1e} away from torch")
