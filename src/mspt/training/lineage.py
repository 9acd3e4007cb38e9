"""Where a network's weights come from: its run, and every run it started from.

In:   a checkpoint's State, or what a run file names as `init`.
Out:  plain data for the model file's metadata; `parent` holds the same of the run before.
"""

from pathlib import Path
from typing import Any

from mspt.inference.models import find_model
from mspt.inference.session import Session
from mspt.training.checkpoint import State, load_state
from mspt.training.start_weights import is_model


def describe_training(state: State) -> dict[str, Any]:
    """Return what a reader of the model file may want to know of its training."""
    done = [stage.steps for stage in state.run.stages[: state.stage]]
    done[-1:] = [state.step] if done else []  # stage 0 is the start, before any step
    stages = [
        {
            "short_side": stage.short_side,
            "sources": sorted(stage.sources),
            "images_seen": steps * stage.batch,
        }
        for stage, steps in zip(state.run.stages, done, strict=False)  # stages not begun have none
    ]
    training = {"run": state.run.name, "seed": state.run.seed, "stages": stages}
    return training | ({"init": state.parent} if state.parent else {})


def describe_start(init: str) -> dict[str, Any]:
    """Return the training of the weights that a run starts from; nothing for random ones.

    Raises:
        ModelError: if `init` names a model file or a checkpoint that cannot be read.
    """
    if not init:
        return {}
    if is_model(init):
        info = Session(find_model(init)).info
        return {"model": info.label, "training": dict(info.training)}
    if Path(init).is_dir():
        return {"training": describe_training(load_state(Path(init)))}
    return {"weights": init if init.startswith("hub:") else Path(init).name}
