"""A run whose promises hold: its data read and checked against its stages.

In:   RunConfig.
Out:  RunPlan, or an error that names both values; nothing has been trained or written yet.
"""

import hashlib
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mspt.budget import Cost, parse_budget
from mspt.errors import ConfigError, DataError
from mspt.evaluation.manifest import (
    SPLITS,
    Entry,
    check_present,
    find_doubles,
    read_manifest,
    relative_name,
    select_entries,
)
from mspt.evaluation.metrics import MIN_IMAGES
from mspt.training.backbones import build_network
from mspt.training.config import DataConfig, RunConfig, StageConfig
from mspt.training.cost import measure_cost


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run whose promises hold."""

    run: RunConfig  # every stage with its number of steps
    train: Sequence[Entry]
    val: Sequence[Entry]
    costs: Sequence[Cost]  # of one image, per stage

    @property
    def digest(self) -> str:
        """Return what changes when the images' names or labels do."""
        digest = hashlib.sha256()
        for e in (*self.train, *self.val):
            line = f"{e.path.name}|{e.mos}|{e.source}|{e.identity}|{e.split}\n"
            digest.update(line.encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]


def make_plan(run: RunConfig) -> RunPlan:
    """Read the manifests and check them and the budget against the stages.

    Raises:
        ConfigError: if data and run do not fit, or the budget is exceeded.
        DataError: if a manifest cannot be read, or a mos lies outside its declared scale.
    """
    train, val = read_run_data(run)
    check_present([*train, *val])
    stages = tuple(_with_steps(number, stage, train) for number, stage in enumerate(run.stages, 1))
    network = build_network(run.network)
    costs = [measure_cost(network, stage.short_side) for stage in stages]
    if run.budget and (excess := parse_budget(run.budget).excess(costs[-1])):
        raise ConfigError(
            f"{run.name}: stage {len(stages)} at {stages[-1].short_side} px breaks the budget "
            f"{run.budget}: {excess}; lower short_side or raise the budget"
        )
    return RunPlan(run.model_copy(update={"stages": stages}), train, val, costs)


def read_run_data(run: RunConfig) -> tuple[list[Entry], list[Entry]]:
    """Return the entries of train and of val; rows of other splits are left alone.

    Raises:
        DataError: if a split is empty, an identity is in both, an image is listed twice, or a
            stage finds too few images.
        DataError: as `read_manifest`.
    """
    sets = [(data, list(_read_set(data))) for data in run.data]
    _refuse_doubles(sets)
    entries = [entry for _, listed in sets for entry in listed]
    train, val = (select_entries(entries, split=split) for split in ("train", "val"))
    for split, found in (("train", train), ("val", val)):
        if not found:
            splits = sorted({entry.split for entry in entries})
            raise DataError(
                f"{run.name}: no image has the split {split!r} (there are {splits}); add a set, "
                "or declare split or val_share for one"
            )
    shared = {entry.group for entry in train} & {entry.group for entry in val}
    if shared:
        raise DataError(
            f"{len(shared)} identities are in both train and val, such as {min(shared)!r}; "
            "split by identity"
        )
    for number, stage in enumerate(run.stages, 1):
        _check_stage_data(number, stage, train, val)
    return train, val


def _refuse_doubles(sets: Sequence[tuple[DataConfig, Sequence[Entry]]]) -> None:
    """Refuse an image that is listed twice: it could be in train and in val."""
    listed = [(data.manifest, entry) for data, entries in sets for entry in entries]
    if twice := find_doubles(entry for _, entry in listed):
        (earlier, _), (later, entry) = (listed[place] for place in twice[0])
        raise DataError(
            f"{len(twice)} images are listed twice, such as {entry.path} (in {earlier} and {later})"
        )


def _read_set(data: DataConfig) -> Iterator[Entry]:
    """Yield the entries of one set, with what the run file declares of them."""
    undecided, drawn = 0, 0
    for entry in read_manifest(data.manifest, images=data.images, mos_scale=data.mos_scale):
        split = entry.split or data.split
        drawn += not split
        if split and split not in SPLITS:
            raise DataError(
                f"{data.manifest}: {entry.path.name} has the split {split!r}; it is one of "
                f"{', '.join(SPLITS)}"
            )
        if not split and data.val_share:
            split = "val" if _drawn_share(entry, data) < data.val_share else "train"
        undecided += not split
        yield replace(entry, source=entry.source or data.source, split=split)
    if data.val_share and not drawn:
        raise DataError(
            f"{data.manifest}: every row names its split, so that val_share {data.val_share:g} "
            "draws none; drop the key, or empty the column split"
        )
    if undecided:
        raise DataError(
            f"{data.manifest}: {undecided} rows name no split; add a column split, or declare "
            'split = "train" or val_share = 0.1 in the run file'
        )


def _drawn_share(entry: Entry, data: DataConfig) -> float:
    """Return a number in 0..1 that follows from who is shown, wherever the folder lies."""
    name = entry.identity or relative_name(entry.path, data.images or data.manifest.parent)
    return zlib.crc32(name.encode(errors="surrogateescape")) / 2**32


def _check_stage_data(
    number: int, stage: StageConfig, train: Sequence[Entry], val: Sequence[Entry]
) -> None:
    known = {entry.source for entry in train}
    if unknown := sorted(stage.sources - known):
        raise DataError(
            f"stage {number}: sources {unknown} are not in the training data, which has "
            f'{sorted(known)}; correct them, or name the images of a manifest by source = "..." '
            "under its [[data]]"
        )
    for name, entries, least, remedy in (
        ("train", train, stage.batch, "lower the batch"),
        ("val", val, MIN_IMAGES, "raise val_share"),
    ):
        count = len(select_entries(entries, sources=stage.sources))
        if count < least:
            raise DataError(
                f"stage {number}: {count} {name} images of its sources, but it needs {least}; "
                f"{remedy} or add images"
            )


def _with_steps(number: int, stage: StageConfig, train: Sequence[Entry]) -> StageConfig:
    """Return a stage with its length in steps."""
    if stage.steps:
        return stage
    images = len(select_entries(train, sources=stage.sources))
    steps = math.ceil(stage.epochs * images / stage.batch)
    counted = stage.model_copy(update={"steps": steps, "epochs": 0.0})
    try:
        counted.check_parts()
    except ValueError as error:
        raise ConfigError(
            f"stage {number}: {stage.epochs:g} epochs of {images} images are {steps} steps, but "
            f"{error}"
        ) from error
    return counted
