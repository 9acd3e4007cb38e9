"""What several tests need: the embedded model, a real face, a way to run the command line."""

import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mspt
from mspt.image.crop import RGB
from mspt.image.decode import read_rgb
from mspt.inference.scorer import Scorer

ROOT = Path(__file__).parents[1]
FACES = ROOT / "examples/faces"
ORIGINAL = FACES / "original.png"

RunCli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def scorer() -> Scorer:
    return mspt.load()


@pytest.fixture(scope="session")
def face() -> RGB:
    """A real face, uint8 (320, 320, 3)."""
    return read_rgb(ORIGINAL)


@pytest.fixture
def run_cli(tmp_path: Path) -> RunCli:
    """Run `mspt ARGS...` in an empty folder, as a user would."""

    def run(*args: str | Path, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        command: Sequence[str] = [sys.executable, "-m", "mspt", *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)

    return run


def encode(image: Image.Image | RGB, form: str, **options: object) -> bytes:
    """Return a picture as a file's bytes."""
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()
