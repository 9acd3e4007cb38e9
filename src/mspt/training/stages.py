"""A training run as data: the TOML that lists its stages, read and checked.

In:   RUN.toml (see runs/first-light.toml).
Out:  RunConfig, every promise of which is checked before an image is opened.
"""

import difflib
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mspt.errors import ConfigError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(_Strict):
    """Where the labelled images are; paths are relative to the run file."""

    train: Path
    val: Path


class OptimConfig(_Strict):
    """What all stages share."""

    mse_weight: float = Field(default=4.0, ge=0)  # keeps the scale, which PLCC alone loses
    plcc_weight: float = Field(default=0.5, ge=0)
    weight_decay: float = Field(default=0.02, ge=0)  # never on biases or batch-norm
    ema_decay: float = Field(default=0.998, ge=0, lt=1)


class StageConfig(_Strict):
    """One training stage; a run is a list of them, in order."""

    short_side: int = Field(ge=32, multiple_of=32)  # px; never below the stage before
    sources: frozenset[str] = Field(min_length=1)  # each stage keeps the earlier ones
    steps: int = Field(ge=1)
    batch: int = Field(default=16, ge=2)  # PLCC and batch-norm need more than one
    peak_lr: float = Field(gt=0)  # reached after warm-up, decays by cosine within the stage
    warmup_steps: int = Field(default=50, ge=0)

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps {self.warmup_steps} must be below steps {self.steps}, or peak_lr is "
                "never reached"
            )
        return self


class RunConfig(_Strict):
    """A whole run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=0, ge=0, lt=2**63)
    data: DataConfig
    optim: OptimConfig = OptimConfig()
    stages: tuple[StageConfig, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_progress(self) -> Self:
        for number, (before, after) in enumerate(pairwise(self.stages), 2):
            if after.short_side < before.short_side:
                raise ValueError(
                    f"stage {number}: short_side {after.short_side} px is below stage "
                    f"{number - 1}'s {before.short_side} px; raise it to at least that"
                )
            if dropped := sorted(before.sources - after.sources):
                raise ValueError(
                    f"stage {number}: sources {sorted(after.sources)} drop {dropped} of stage "
                    f"{number - 1}; stages only add sources"
                )
        return self


def load_run(path: Path) -> RunConfig:
    """Read and check a run file; data paths come out resolved against its folder.

    Raises:
        ConfigError: naming the file, the key, the value and the remedy.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error
    run = parse_run(raw, str(path))
    data = DataConfig(
        train=(path.parent / run.data.train).resolve(), val=(path.parent / run.data.val).resolve()
    )
    return run.model_copy(update={"data": data})


def parse_run(raw: dict[str, Any], where: str) -> RunConfig:
    """Check a run given as plain data; `where` names it in errors."""
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        found = error.errors()
        inner = [p for p in found if len(p["loc"]) > 1]  # a bad stage also makes `stages` too short
        found = [p for p in found if p["type"] != "too_short" or not inner]
        problems = [_explain(dict(problem)) for problem in found]
        raise ConfigError(f"{where}: " + "; ".join(problems)) from error


def _explain(problem: dict[str, Any]) -> str:
    """Turn one of pydantic's findings into a sentence; for an unknown key, name the nearest."""
    location = problem["loc"]
    where = ".".join(str(part + 1) if isinstance(part, int) else part for part in location)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        nearest = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0)
        return f"unknown key {where!r}; did you mean {nearest[0]!r}?"
    if problem["type"] == "missing":
        return f"key {where!r} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    if isinstance(problem["input"], dict):  # a whole table: its message names what is wrong in it
        return f"{where}: {message}" if location else message
    return f"{where} = {problem['input']!r}: {message}"


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    """Return the keys that the table at this place of the run file may have."""
    tables: dict[str, type[BaseModel]] = {
        "data": DataConfig,
        "optim": OptimConfig,
        "stages": StageConfig,
    }
    table = tables[str(location[0])] if location else RunConfig
    return list(table.model_fields)
