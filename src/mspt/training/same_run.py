"""Whether a checkpoint belongs to a run: the same images and labels, the same recipe.

In:   a checkpoint's State, the run as it is now, and the digest of its data.
Out:  nothing, or an error that says what differs.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mspt.errors import ConfigError
from mspt.training.checkpoint import State
from mspt.training.config import RunConfig

_NAMED = 5  # changed keys that an error lists


def check_same_run(folder: Path, state: State, run: RunConfig, data_digest: str) -> None:
    """Refuse to go on with another run's checkpoint.

    Raises:
        ConfigError: naming what differs.
    """
    if state.data_digest != data_digest:  # first: with other images, `epochs` are other steps
        raise ConfigError(
            f"{folder} was trained on other images or labels than the manifests list now; "
            "restore them or start elsewhere"
        )
    before, now = (dict(_flatten("", _kept(r))) for r in (state.run, run))
    if before != now:
        raise ConfigError(
            f"{folder} was trained by another run file ({_changes(before, now)}); restore that "
            "file or start elsewhere"
        )


def _kept(run: RunConfig) -> dict[str, Any]:
    """Return what a resumed run may not change: all but names, and where things are or run."""
    engine = {"device": True, "workers": True, "save_every": True, "cache": True}
    return run.model_dump(
        exclude={"name": True, "budget": True, "data": True, "init": True, "engine": engine}
    )


def _flatten(place: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield plain values by their place in the run file, stages counted from 1."""
    parts: Iterable[tuple[object, object]]
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, tuple | list):
        parts = enumerate(value, 1)
    else:
        yield place, sorted(value) if isinstance(value, frozenset) else value
        return
    for key, part in parts:
        yield from _flatten(f"{place}.{key}" if place else str(key), part)


def _changes(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """Name what differs, such as `stages.2.steps was 400, now 500`."""
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    said = [f"{key} was {before.get(key)!r}, now {now.get(key)!r}" for key in keys[:_NAMED]]
    return ", ".join(said) + (f", and {len(keys) - _NAMED} more" if len(keys) > _NAMED else "")
