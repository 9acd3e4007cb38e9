"""Where a run keeps its scores and checkpoints, by any of the names that people have for a run."""

import tomllib
from pathlib import Path

from mspt.errors import ConfigError, DataError
from mspt.evaluation.predictions import last_predictions_path


def default_folder(name: str) -> Path:
    """Return where `mspt train` puts a run unless told otherwise."""
    return Path("out") / name


def find_scores(run: Path) -> Path:
    """Return the val scores of a run.

    Args:
        run: its folder, its run file (trained into its default folder), or a file of scores.

    Raises:
        DataError: if there is none, saying where it was sought.
    """
    if run.suffix == ".csv":
        return run
    folder = _folder_of(run)
    found = last_predictions_path(folder)
    if found is None:
        raise DataError(
            f"{run}: no scores in {folder / 'scores'}; train the run first, or name its folder "
            "(out/NAME) or a scores file"
        )
    return found


def find_checkpoint(run: Path, stage: int | None = None) -> Path:
    """Return the newest checkpoint of a run, or the newest of one of its stages.

    Args:
        run: its folder, its run file (trained into its default folder), or a checkpoint's folder.
        stage: which one; default: the last that was begun.

    Raises:
        DataError: if there is none, saying where it was sought and what there is.
    """
    from mspt.training.checkpoint import list_checkpoints, place_of

    if (run / "state.json").exists():
        return run
    folder = _folder_of(run) / "checkpoints"
    checkpoints = sorted(list_checkpoints(folder), key=place_of)
    found = [c for c in checkpoints if stage is None or place_of(c)[0] == stage]
    if not found:
        there_are = ", ".join(path.name for path in checkpoints) or "none"
        of_stage = "" if stage is None else f" of stage {stage}"
        raise DataError(
            f"{run}: no checkpoint{of_stage} in {folder} (there are: {there_are}); train the run "
            "first, or name its folder (out/NAME)"
        )
    return found[-1]


def _folder_of(run: Path) -> Path:
    return default_folder(_name_in(run)) if run.suffix == ".toml" else run


def _name_in(run_toml: Path) -> str:
    try:
        return str(tomllib.loads(run_toml.read_text(encoding="utf-8-sig"))["name"])
    except FileNotFoundError as error:
        raise ConfigError(f"{run_toml}: no such file") from error
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{run_toml}: cannot be read as a run file: {error!r}") from error
