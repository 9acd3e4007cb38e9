"""What several tests need: the embedded model, a real face, a way to run the command line."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image

import mspt
from mspt.arrays import RGB
from mspt.errors import ConfigError
from mspt.evaluation.manifest import Entry, write_manifest
from mspt.image.decode import read_rgb
from mspt.image.preprocess import resize_rgb
from mspt.inference.faces import find_detector
from mspt.inference.scorer import Scorer

ROOT = Path(__file__).parents[1]
FACES = ROOT / "examples/faces"
ORIGINAL = FACES / "original.png"
ASTRONAUT = ROOT / "examples/astronaut.png"


def _seek_detector() -> Path | None:
    """Return $MSPT_DETECTOR, the fetched file, or the one beside a developer's checkout."""
    try:
        return find_detector()
    except ConfigError:
        return next(iter((ROOT.parent / "shared/models").glob("yunet*.onnx")), None)


DETECTOR = _seek_detector()  # tests that need it are skipped only where none is to be had

if TYPE_CHECKING:
    from mspt.training.config import RunConfig

Raw = dict[str, Any]
RunCli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def scorer() -> Scorer:
    """The embedded model on the backend that every machine has."""
    return mspt.load(backend="onnxruntime")


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


def draw_group() -> Image.Image:
    """Return four faces, each smaller than the one before."""
    astronaut = Image.open(ASTRONAUT).convert("RGB")
    canvas = Image.new("RGB", (1400, 700), (90, 110, 90))
    for left, top, side in ((0, 0, 512), (550, 50, 300), (900, 0, 220), (1150, 100, 150)):
        canvas.paste(astronaut.resize((side, side), Image.Resampling.LANCZOS), (left, top))
    return canvas


def encode(image: Image.Image | RGB, form: str, **options: object) -> bytes:
    """Return a picture as a file's bytes."""
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def manifest(tmp_path: Path, face: RGB) -> Path:
    """24 small images of 12 identities: noisier means worse."""
    entries = []
    for number in range(24):
        noise = default_rng(number).normal(0, 3 * number, (80, 80, 3))
        rgb = np.clip(resize_rgb(face, 80, 80) + noise, 0, 255).astype(np.uint8)
        path = tmp_path / f"{number}.png"
        Image.fromarray(rgb).save(path)
        identity = number % 12
        entries.append(
            Entry(
                path=path,
                mos=1 - number / 24,
                source="a" if number % 3 else "b",
                split="val" if identity > 8 else "train",
                identity=f"id{identity}",
            )
        )
    write_manifest(tmp_path / "manifest.csv", entries)
    return tmp_path / "manifest.csv"


def raw_run(manifest: Path) -> Raw:
    """Return a tiny run of two stages, as TOML would give it."""
    first = {"short_side": 32, "sources": ["a"], "steps": 5, "batch": 4, "peak_lr": 1e-3}
    second = {"short_side": 64, "sources": ["a", "b"], "steps": 7, "batch": 4, "peak_lr": 1e-3}
    return {
        "name": "tiny",
        "data": [{"manifest": str(manifest)}],
        "stages": [first | {"warmup_steps": 2}, second | {"warmup_steps": 2}],
    }


@pytest.fixture
def run(manifest: Path) -> "RunConfig":
    from mspt.training.config import parse_run

    return parse_run(raw_run(manifest), "tiny")


def change(raw: Raw, where: str, value: object) -> Raw:
    """Set `stages.1.steps`-like keys of plain data; None deletes."""
    *path, last = (int(part) - 1 if part.isdigit() else part for part in where.split("."))
    table: Any = raw
    for part in path:
        table = table[part]
    if value is None:
        del table[last]
    else:
        table[last] = value
    return raw


def train_tiny(run: "RunConfig", out: Path, **options: Any) -> Path:
    """Train without a word; return the last checkpoint."""
    from mspt.training.trainer import train

    return train(run, out, log=lambda line: None, **options)


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    """Write a shard of these members."""
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path
