"""Checkpoints: a folder with weights, state and what resuming needs; nothing is pickled.

weights.safetensors    the averaged (EMA) network: what is evaluated and exported
training.safetensors   the raw network and the optimiser's moments
state.json             run config, a digest of its data, stage, step, InputSpec; no generator's
                       state, since what a step draws is a function of (seed, stage, step)
"""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mspt.errors import ConfigError, ModelError, WriteError
from mspt.spec import InputSpec
from mspt.training.backbones import Network, build_network
from mspt.training.config import RunConfig, parse_run

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, slots=True)
class State:
    """Where a run stands."""

    run: RunConfig
    stage: int  # 1, 2, 3; 0 for the start weights that a run file names
    step: int  # steps done within the stage
    spec: InputSpec
    data_digest: str  # of all images' names and mos: a resumed run must find the same
    scaler: dict[str, float] = field(default_factory=dict)  # fp16's loss scale
    parent: dict[str, Any] = field(default_factory=dict)  # training of the model it started from

    @property
    def is_last(self) -> bool:
        """Tell whether the run has come to its end."""
        return (self.stage, self.step) == (len(self.run.stages), self.run.stages[-1].steps)

    def to_json(self) -> str:
        """Return the form kept in state.json."""
        plain = {
            "run": self.run.model_dump(mode="json") | {"stages": self._stages()},
            "stage": self.stage,
            "step": self.step,
            "input_spec": json.loads(self.spec.to_json()),
            "data_digest": self.data_digest,
            "scaler": self.scaler,
            "parent": self.parent,
        }
        return json.dumps(plain, indent=2, sort_keys=True)

    def _stages(self) -> list[dict[str, Any]]:
        """Return the stages with their sources in a fixed order."""
        dumped = [stage.model_dump(mode="json") for stage in self.run.stages]
        return [stage | {"sources": sorted(stage["sources"])} for stage in dumped]


Tensors = dict[str, Tensor]


def save_checkpoint(folder: Path, state: State, weights: Tensors, training: Tensors) -> None:
    """Write a checkpoint so that a kill leaves either none or a whole one under `folder`.

    Raises:
        WriteError: if it cannot be written, saying why; nothing of it is left then.
    """
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        # safetensors wants dense memory; channels_last tensors are not.
        save_file({k: v.contiguous() for k, v in weights.items()}, draft / WEIGHTS)
        save_file({k: v.contiguous() for k, v in training.items()}, draft / "training.safetensors")
        (draft / "state.json").write_text(state.to_json(), encoding="utf-8")
        draft.replace(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise WriteError(
            f"{folder}: cannot be written: {reason}; make room, then go on with --resume"
        ) from error


def load_state(folder: Path) -> State:
    """Read where a checkpoint's run stood.

    Raises:
        ModelError: naming the file and what is wrong with it.
    """
    path = folder / "state.json"
    if not path.exists():
        raise ModelError(
            f"{folder} is not a checkpoint; they are called .../checkpoints/stageK-stepN"
        )
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        run = parse_run(plain["run"], str(path))
        stage, step = int(plain["stage"]), int(plain["step"])
        steps = run.stages[stage - 1].steps if 1 <= stage <= len(run.stages) else 0
        if not (0 <= stage <= len(run.stages) and 0 <= step <= steps):
            raise ValueError(f"stage {stage}, step {step} is not a place in the run")
        return State(
            run=run,
            stage=stage,
            step=step,
            spec=InputSpec.from_json(json.dumps(plain["input_spec"])),
            data_digest=str(plain["data_digest"]),
            scaler=dict(plain.get("scaler", {})),
            parent=dict(plain.get("parent", {})),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not a checkpoint's state ({error!r})") from error
    except ConfigError as error:
        raise ModelError(f"{path}: made by another version of mspt ({error})") from error


def load_tensors(path: Path) -> Tensors:
    """Read a safetensors file.

    Raises:
        ModelError: if it is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors: {error}") from error


def load_network(folder: Path) -> Network:
    """Return the averaged network of a checkpoint, in evaluation mode.

    Raises:
        ModelError: if names or shapes are not the network's, listing them.
    """
    network = build_network(load_state(folder).run.network)
    path = folder / WEIGHTS
    try:
        network.load_state_dict(load_tensors(path))
    except RuntimeError as error:
        raise ModelError(f"{path}: not weights of this network: {error}") from error
    return network.eval()


def load_mean(folders: Sequence[Path]) -> Network:
    """Return a network whose weights are the mean of several checkpoints' averaged ones.

    Runs that begin at the same weights may be averaged, others not: "Model soups", Wortsman et al.
    2022, arXiv 2203.05482.

    Raises:
        ModelError: if their networks or inputs differ, naming two.
    """
    first = load_state(folders[0])
    for folder in folders[1:]:
        other = load_state(folder)
        if (other.run.network, other.spec) != (first.run.network, first.spec):
            raise ModelError(
                f"{folders[0]} and {folder} have other networks or inputs ({first.run.network}, "
                f"{first.spec}; {other.run.network}, {other.spec}); their weights have no mean"
            )
    networks = [load_network(folder) for folder in folders]
    network, weights = networks[0], [each.state_dict() for each in networks]
    network.load_state_dict(
        {
            name: torch.stack([each[name].double() for each in weights]).mean(0).to(tensor.dtype)
            for name, tensor in weights[0].items()
        }
    )
    return network


def checkpoint_name(stage: int, step: int) -> str:
    """Return the folder's name."""
    return f"stage{stage}-step{step:06d}"


def place_of(checkpoint: Path) -> tuple[int, int]:
    """Return the stage and step that a checkpoint's name tells: the order of training."""
    stage, step = checkpoint.name.removeprefix("stage").split("-step")
    return int(stage), int(step)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the whole checkpoints of a run's folder; a copy by another name is none of them."""
    return [
        path
        for path in folder.glob("stage*-step*")
        if re.fullmatch(r"stage\d+-step\d+", path.name) and (path / "state.json").exists()
    ]


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint of a run's folder, if any."""
    return max(list_checkpoints(folder), key=place_of, default=None)
