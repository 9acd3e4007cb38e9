"""A training run as data: the TOML that lists its data and stages, read and checked.

In:   RUN.toml (docs/train-your-own.md explains every key).
Out:  RunConfig, every promise of which is checked before an image is opened.
"""

import difflib
import tomllib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mspt.budget import parse_budget
from mspt.errors import ConfigError
from mspt.inference.models import embedded_models
from mspt.spec import InputSpec, square_spec


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(_Strict):
    """One labelled set; paths are relative to the run file."""

    manifest: Path  # any form that evaluation/manifest.py reads
    images: Path | None = None  # folder that the names refer to; default: the manifest's
    source: str = ""  # of rows that name none
    split: Literal["", "train", "val"] = ""  # of rows that name none
    val_share: float = Field(default=0, ge=0, lt=1)  # else this share of identities becomes val
    mos_scale: tuple[float, float] = (0, 1)  # (worst, best) as labelled; mapped to 0..1

    @model_validator(mode="after")
    def _check_declarations(self) -> Self:
        if self.split and self.val_share:
            raise ValueError(
                f"split {self.split!r} and val_share {self.val_share:g}: give one of the two"
            )
        if self.mos_scale[0] == self.mos_scale[1]:
            raise ValueError(f"mos_scale {list(self.mos_scale)} has the same worst and best")
        return self


class LossConfig(_Strict):
    """How far scores lie from mos: the weights of the two parts."""

    mse: float = Field(default=4.0, ge=0)  # keeps the scale, which PLCC alone loses
    plcc: float = Field(default=0.5, ge=0)


class EngineConfig(_Strict):
    """How the machine is used."""

    device: Literal["auto", "cpu"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    accumulate: int = Field(default=1, ge=1)  # parts of a batch, one after another: saves memory
    workers: int = Field(default=0, ge=0)  # threads that draw batches; 0: half of the cores
    save_every: int = Field(default=100, ge=1)  # steps between checkpoints
    cache: Path | None = None  # folder of prepared images that several runs share; it is kept


class StageConfig(_Strict):
    """One training stage; a run is a list of them, in order."""

    short_side: int = Field(ge=32, multiple_of=32)  # px; never below the stage before
    sources: frozenset[str] = Field(min_length=1)  # each stage keeps the earlier ones
    steps: int = Field(default=0, ge=0)  # either steps ...
    epochs: float = Field(
        default=0, ge=0
    )  # ... or as many steps as so many passes over the images take
    batch: int = Field(default=16, ge=2)  # per step, over all processes
    peak_lr: float = Field(gt=0)  # reached after warm-up, decays within the stage
    warmup_steps: int = Field(default=50, ge=0)
    schedule: Literal["cosine", "thirds"] = "cosine"  # thirds: x0.1 after each third
    weight_decay: float = Field(default=0.02, ge=0)  # never on biases or batch-norm
    dropout: float = Field(default=0, ge=0, lt=1)  # before the classifier
    shift: float = Field(default=1 / 30, ge=0, le=0.25)  # of the side: how far images are moved
    flip: bool = True  # mirror half of the images
    ema_decay: float = Field(default=0.998, ge=0, lt=1)  # of the averaged weights
    replay: float | None = Field(default=None, ge=0, lt=1)  # share of a batch from earlier sources
    freeze_steps: int = Field(default=0, ge=0)  # first steps that train the head alone
    reestimate_bn: int = Field(default=0, ge=0)  # batches that renew batch-norm at the start
    l2sp: float = Field(default=0, ge=0)  # pull towards the stage's start weights, see carryover.py
    distill: float = Field(default=0, ge=0)  # MSE to the previous stage's scores, or the start's
    consistency: float = Field(default=0, ge=0)  # MSE to the scores of the mirrored batch
    spoil: float = Field(default=0, ge=0)  # hinge: mildly damaged views score lower
    rank: float = Field(default=0, ge=0)  # hinge on the order of images of one identity
    learn_leads: bool = False  # images that lead an identity's others count by their own mos, too

    @property
    def views(self) -> int:
        """How often a step looks at each image of its batch."""
        return 2 if self.consistency or self.spoil else 1

    @model_validator(mode="after")
    def _check_replay(self) -> Self:
        replayed = round((self.replay or 0) * self.batch)
        if self.replay and not 0 < replayed < self.batch:
            raise ValueError(
                f"replay {self.replay:g} of batch {self.batch} is {replayed} images, but both new "
                "and earlier ones need a place; change either"
            )
        return self

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if (self.steps > 0) == (self.epochs > 0):
            raise ValueError(
                f"steps {self.steps} and epochs {self.epochs:g}: give exactly one of the two"
            )
        if self.steps:
            self.check_parts()
        return self

    def check_parts(self) -> None:
        """Raise ValueError if a part of the stage would outlast it; needs steps."""
        for name in ("warmup_steps", "freeze_steps"):
            if (part := getattr(self, name)) >= self.steps:
                raise ValueError(f"{name} {part} must be below steps {self.steps}; lower it")


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage and its place in the run: what the trainer, the engine and the batches pass along."""

    number: int  # from 1
    config: StageConfig
    earlier: frozenset[str] = frozenset()  # sources of the stage before

    @property
    def spec(self) -> InputSpec:
        """What its network sees."""
        return square_spec(self.config.short_side)


class RunConfig(_Strict):
    """A whole run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=0, ge=0, lt=2**63)
    network: str = Field(default="mspt", pattern=r"^(mspt|timm:[A-Za-z0-9_.]+)$")
    init: str = ""  # start weights: a model (base, FILE.onnx), checkpoint or hub:OWNER/REPO
    budget: str = ""  # such as 0.5G,5M: what the last stage's network may cost
    data: tuple[DataConfig, ...] = Field(min_length=1)
    loss: LossConfig = LossConfig()
    engine: EngineConfig = EngineConfig()
    stages: tuple[StageConfig, ...] = Field(min_length=1)

    def stage(self, number: int) -> Stage:
        """Return a stage by its number, from 1."""
        earlier = self.stages[number - 2].sources if number > 1 else frozenset[str]()
        return Stage(number, self.stages[number - 1], earlier)

    @field_validator("data", "stages", mode="before")
    @classmethod
    def _check_is_a_list(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, dict):
            raise ValueError(  # noqa: TRY004 - pydantic wants ValueError
                f"is a list: write [[{info.field_name}]] with two brackets, once for each"
            )
        return value

    @field_validator("budget")
    @classmethod
    def _check_budget(cls, text: str) -> str:
        if text:
            try:
                parse_budget(text)
            except ConfigError as error:
                raise ValueError(str(error)) from error
        return text

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
                    f"{number - 1}; stages only add sources (replay sets how often old ones come)"
                )
            if after.replay is not None and after.sources == before.sources:
                raise ValueError(
                    f"stage {number}: replay {after.replay:g} needs sources that stage "
                    f"{number - 1} lacks; add some or drop replay"
                )
        return self

    @model_validator(mode="after")
    def _check_first_stage(self) -> Self:
        first = self.stages[0]
        if first.replay:
            raise ValueError(
                f"stage 1: replay {first.replay:g} refers to an earlier stage; drop it"
            )
        for name, value in (("distill", first.distill), ("l2sp", first.l2sp)):
            if value and not self.init:
                raise ValueError(f"stage 1: {name} {value:g} needs start weights; set init")
        return self


def load_run(path: Path) -> RunConfig:
    """Read and check a run file; its paths come out resolved against its folder.

    Raises:
        ConfigError: naming the file, the key, the value and the remedy.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error
    run = parse_run(raw, str(path))
    folder = path.parent.absolute()  # links stay: what they name lies beside them, not elsewhere

    def resolve(data: DataConfig) -> DataConfig:
        images = folder / data.images if data.images else None
        return data.model_copy(update={"manifest": folder / data.manifest, "images": images})

    init = run.init
    if init and not init.startswith("hub:") and init not in embedded_models():
        init = str(folder / init)
    cache = folder / run.engine.cache if run.engine.cache else None
    engine = run.engine.model_copy(update={"cache": cache})
    data = tuple(map(resolve, run.data))
    return run.model_copy(update={"data": data, "init": init, "engine": engine})


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
        "loss": LossConfig,
        "engine": EngineConfig,
        "stages": StageConfig,
    }
    table = tables[str(location[0])] if location else RunConfig
    return list(table.model_fields)
