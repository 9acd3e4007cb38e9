"""Where a run keeps its scores, by any of the names that people have for a run."""

import tomllib
from pathlib import Path

from mspt.errors import ConfigError
from mspt.evaluation.scored import last_scores_path


def default_folder(name: str) -> Path:
    """Return where `mspt train` puts a run unless told otherwise."""
    return Path("out") / name


def find_scores(run: Path) -> Path:
    """Return the val scores of a run.

    Args:
        run: its folder, its run file (trained into its default folder), or a file of scores.

    Raises:
        ConfigError: if there is none, saying where it was sought.
    """
    if run.suffix == ".csv":
        return run
    folder = default_folder(_name_in(run)) if run.suffix == ".toml" else run
    found = last_scores_path(folder)
    if found is None:
        raise ConfigError(
            f"{run}: no scores in {folder / 'scores'}; train the run first, or name its folder "
            "(out/NAME) or a scores file"
        )
    return found


def _name_in(run_toml: Path) -> str:
    try:
        return str(tomllib.loads(run_toml.read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{run_toml}: cannot be read as a run file: {error!r}") from error
