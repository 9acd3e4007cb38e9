"""Training images: decoded and resized once per stage, then drawn in seeded batches.

In:   manifest entries and an InputSpec.
Out:  Frames, memory-mapped uint8 (N, S, S, 3): exactly what scoring feeds to the network; and
      batches of them, augmented without changing their quality (mirrored and shifted only:
      rescaling, colour or blur would change the label).

Which images a step sees depends only on (seed, stage, step), so a resumed run draws the same.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from numpy.random import Generator
from torch import Tensor

from mspt.errors import ConfigError, ImageError
from mspt.evaluation.manifest import Entry
from mspt.image.crop import RGB
from mspt.image.decode import read_rgb
from mspt.image.preprocess import prepare_rgb
from mspt.inference.scorer import usable_cores
from mspt.spec import InputSpec

_SHIFT = 1 / 30  # of the side: how far a frame is moved at most, its border mirrored


@dataclass(frozen=True, slots=True)
class Frames:
    """Prepared images and their truth."""

    rgb: npt.NDArray[np.uint8]  # (N, S, S, 3), memory-mapped
    mos: npt.NDArray[np.float32]  # (N,)
    entries: Sequence[Entry]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.entries)


def build_frames(entries: Sequence[Entry], spec: InputSpec, cache_dir: Path) -> Frames:
    """Prepare all images once, in a file of `cache_dir` that later runs find again.

    Raises:
        ConfigError: naming the first image that cannot be used; none is replaced by another.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    path = cache_dir / f"frames-{spec.crop_side}-{_fingerprint(entries, spec)}.npy"
    if not path.exists():
        draft = path.with_suffix(".part")
        _write_frames(draft, entries, spec)
        draft.replace(path)
    mos = np.array([entry.mos for entry in entries], dtype=np.float32)
    return Frames(np.load(path, mmap_mode="r"), mos, entries)


def _write_frames(path: Path, entries: Sequence[Entry], spec: InputSpec) -> None:
    shape = (len(entries), spec.crop_side, spec.crop_side, 3)
    frames = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)

    def prepare(index: int) -> None:
        try:
            frames[index] = prepare_rgb(read_rgb(entries[index].path), spec)
        except ImageError as error:
            raise ConfigError(
                f"{entries[index].path}: {error}; repair the image or take it off the manifest"
            ) from error

    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(prepare, range(len(entries))))
    frames.flush()


def _fingerprint(entries: Sequence[Entry], spec: InputSpec) -> str:
    """Return what changes when the prepared pixels may: the files, their sizes, times, the spec."""
    digest = hashlib.sha256(spec.to_json().encode())
    for entry in entries:
        try:
            status = entry.path.stat()
        except OSError as error:
            raise ConfigError(f"{entry.path}: {error.strerror}; is the manifest right?") from error
        digest.update(f"{entry.path}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def draw_batch(
    frames: Frames, batch: int, *, seed: int, stage: int, step: int
) -> tuple[Tensor, Tensor]:
    """Return the pixels, uint8 (batch, S, S, 3), and mos, (batch,), of one training step.

    Each epoch sees every image at most once, in an order of its own.
    """
    batches_per_epoch = len(frames) // batch
    epoch, position = divmod(step, batches_per_epoch)
    order = np.random.default_rng([seed, stage, epoch]).permutation(len(frames))
    chosen = order[position * batch : (position + 1) * batch]
    rng = np.random.default_rng([seed, stage, epoch, position])
    pixels = np.stack([augment(frames.rgb[index], rng) for index in chosen])
    return torch.from_numpy(pixels), torch.from_numpy(frames.mos[chosen])


def augment(rgb: RGB, rng: Generator) -> RGB:
    """Mirror half of the frames and shift all of them a little; quality stays what it is."""
    side = rgb.shape[0]
    reach = round(side * _SHIFT)
    down, right = rng.integers(-reach, reach + 1, size=2)
    columns = _mirrored_range(side, right)
    if rng.random() < 0.5:
        columns = columns[::-1]
    shifted: RGB = rgb[_mirrored_range(side, down)][:, columns]
    return shifted


def _mirrored_range(side: int, shift: int) -> npt.NDArray[np.intp]:
    """Return the indices shift..shift+side, reflected at the borders of 0..side-1."""
    indices = np.abs(np.arange(side) + shift)
    return np.where(indices >= side, 2 * side - 2 - indices, indices)
