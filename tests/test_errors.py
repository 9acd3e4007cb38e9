"""Errors: one tree, and a remedy where something optional is missing."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from mspt import errors
from mspt.image.formats import CameraRawError


def test_every_error_is_an_mspt_error_and_stands_in_the_tree() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    ours = [cls for cls in classes if cls.__module__ == "mspt.errors"]
    assert len(ours) > 5
    for cls in ours:
        assert issubclass(cls, errors.MsptError)
        assert cls.__name__ in errors.__doc__


def test_every_error_can_be_named_and_sent_to_another_process() -> None:
    """Scoring puts the photo's name before an error's words, processes pickle it."""
    waiting = [errors.MsptError]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        error = cls("a.jpg: why")
        assert str(error) == str(pickle.loads(pickle.dumps(error))) == "a.jpg: why"
    assert CameraRawError in errors.DecodeError.__subclasses__()
    assert str(CameraRawError()).startswith("camera RAW, which is not developed here; save it")


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("torch", ["train", "run.toml"], "train"),
        ("pydantic", ["train", "run.toml"], "train"),
        ("torch", ["export", ".", "m.onnx", "--reference", "m.csv"], "train"),
        ("piq", ["synthesize", "photos.csv", "out"], "synth"),
    ],
)
def test_a_missing_extra_is_named_with_its_remedy(
    missing: str, arguments: list[str], extra: str, tmp_path: Path
) -> None:
    (tmp_path / "photos.csv").write_text("path\na.png\n")
    code = (
        f"import sys; sys.modules[{missing!r}] = None; "
        f"from mspt.cli.main import main; main({arguments!r})"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2, done.stderr
    assert f"{missing} is not installed; in a checkout of mspt, run: " in done.stderr
    assert f'pip install -c constraints.txt ".[{extra}]"' in done.stderr
