"""Which images a training step sees, augmented without changing their quality.

In:   Frames of a stage and its settings.
Out:  Batch: uint8 pixels and mos, drawn ahead by threads so that training never waits.

What a step draws is a function of (seed, stage, step) alone: a resumed run, another number of
threads or of processes draws the same images in the same places. Images are mirrored and shifted
only: rescaling, colour or blur would change the label. Half of the images get a second, mildly
damaged view where a stage asks for it (`spoil`).
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from mspt.arrays import RGB
from mspt.parallel import map_in_order
from mspt.training.config import Stage
from mspt.training.frames import Frames
from mspt.training.mild_damage import add_mild_damage

_ORDER, _AUGMENT, _SPOIL = 1, 2, 4  # first part of every seed: no two things share a random stream
_SPOILED = 0.5  # of the second views, where a stage spoils any
_TOGETHER = 3  # images of an identity in a row, where ranked; its best may come before them

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Batch:
    """One process's part of a training step."""

    step: int
    rgb: Tensor  # uint8 (n, S, S, 3)
    mos: Tensor  # float32 (n,)
    identity: Tensor  # int64 (n,): equal where images show the same
    leads_only: Tensor  # bool (n,): is there to be ranked, not to be learnt by its own mos
    second: Tensor  # uint8 (n, S, S, 3): what the second view shows, rgb itself or spoiled
    lost: Tensor  # float32 (n,): share of its score that the second view lost; 0 where not spoiled

    @classmethod
    def as_drawn(
        cls,
        step: int,
        rgb: Tensor,
        mos: Tensor,
        identity: Tensor | None = None,
        leads_only: Tensor | None = None,
    ) -> "Batch":
        """Return a batch without spoiled views; no two images show the same unless said."""
        if identity is None:
            identity = torch.arange(len(mos))
        if leads_only is None:
            leads_only = torch.zeros(len(mos), dtype=torch.bool)
        return cls(step, rgb, mos, identity, leads_only, rgb, torch.zeros(len(mos)))

    def split(self, parts: int) -> Iterator["Batch"]:
        """Yield equal parts, images in order."""
        shares = (tensor.chunk(parts) for tensor in self._tensors())
        yield from (Batch(self.step, *tensors) for tensors in zip(*shares, strict=True))

    def to(self, device: torch.device) -> "Batch":
        """Return it on a device."""
        return Batch(self.step, *(t.to(device, non_blocking=True) for t in self._tensors()))

    def _tensors(self) -> tuple[Tensor, ...]:
        shown = (self.rgb, self.mos, self.identity, self.leads_only)
        return *shown, self.second, self.lost


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of every batch a process takes."""

    rank: int = 0
    count: int = 1

    def places(self, size: int, *, in_a_row: bool) -> range:
        """Return the part's places in a batch: in a row, or every `count`-th from `rank` on."""
        if in_a_row:
            return range(self.rank * size // self.count, (self.rank + 1) * size // self.count)
        return range(self.rank, size, self.count)


@dataclass(frozen=True, slots=True)
class Pool:
    """Images that a stage draws from, in an endless seeded shuffle.

    Each pass has an order of its own and sees every member exactly once. Ranked images of an
    identity come together, a few at a time, and the best one of them in the pool leads, once more,
    those that it is not among: that a photo is better than its damaged versions is what ranking is
    for. Learnt by its own `mos` as well (`learn_leads`), it is seen with every few of its versions.
    """

    members: Indices
    best: Indices | None = None  # for each member, the best image of its identity

    @classmethod
    def ranked(cls, images: Indices, identity: Indices, mos: npt.NDArray[np.float32]) -> "Pool":
        """Make a pool in which images of an identity come together.

        Args:
            images: (n,), the members.
            identity: (n,), equal where members show the same.
            mos: (n,), of the members.
        """
        by_mos = np.argsort(-mos, kind="stable")
        _, first, inverse = np.unique(identity[by_mos], return_index=True, return_inverse=True)
        best = np.empty_like(images)
        best[by_mos] = images[by_mos[first[inverse]]]
        return cls(images, best)

    def draw(
        self, count: int, step: int, *, key: tuple[int, ...]
    ) -> tuple[Indices, npt.NDArray[np.bool_]]:
        """Return the `count` images that step `step` takes, and which of them only lead others.

        The order of each pass is drawn with `key`.
        """
        places, size = np.arange(step * count, (step + 1) * count), len(self)
        passes = places // size
        orders = {n: self._shuffle(np.random.default_rng([*key, n])) for n in np.unique(passes)}
        drawn = [(orders[n], p % size) for n, p in zip(passes, places, strict=True)]
        images = np.array([order[0][place] for order, place in drawn])
        return images, np.array([order[1][place] for order, place in drawn])

    def __len__(self) -> int:
        """Return how many images a pass shows."""
        if self.best is None:
            return len(self.members)
        _, count = np.unique(self.best, return_counts=True)
        return len(self.members) + int(np.sum(-(-count // _TOGETHER) - 1))

    def _shuffle(self, rng: Generator) -> tuple[Indices, npt.NDArray[np.bool_]]:
        """Return the images of a pass in order, and which of them only lead others."""
        order = rng.permutation(len(self.members))
        if self.best is None:
            return self.members[order], np.zeros(len(order), dtype=bool)
        # Groups: a few images of one identity in a row, the identities one after another.
        order = order[np.argsort(self.best[order], kind="stable")]
        images, best = self.members[order], self.best[order]
        first_of_identity = np.searchsorted(best, best)
        opens_group = (np.arange(len(order)) - first_of_identity) % _TOGETHER == 0
        group = np.cumsum(opens_group) - 1
        # The groups in another order, each kept together.
        place_of_group = rng.permutation(group[-1] + 1)
        shuffled = np.argsort(place_of_group[group], kind="stable")
        # Before each group that lacks its identity's best image, that one leads.
        has_best = np.isin(group, group[images == best])
        leads_at = np.flatnonzero((opens_group & ~has_best)[shuffled])
        leads_only = np.insert(np.zeros(len(order), dtype=bool), leads_at, values=True)
        return np.insert(images[shuffled], leads_at, best[shuffled][leads_at]), leads_only


class BatchSource:
    """The batches of one stage."""

    def __init__(
        self,
        frames: Frames,
        stage: Stage,
        *,
        seed: int,
        shard: Shard = Shard(),
    ) -> None:
        """Set apart what is replayed.

        Args:
            frames: the stage's images.
            stage: from whose earlier sources `replay` of a batch comes.
            seed: of the run.
            shard: what this process takes.
        """
        self._frames, self._stage = frames, stage.config
        self._seed, self._number, self._shard = seed, stage.number, shard
        groups = [entry.group for entry in frames.entries]
        self._identity = np.unique(groups, return_inverse=True)[1].astype(np.int64)
        self._pools = list(self._split(stage.earlier))

    def _split(self, earlier: Set[str]) -> Iterator[tuple[Pool, int]]:
        """Yield the pools of images and how many of a batch come from each."""
        everything = np.arange(len(self._frames))
        if self._stage.replay is None:
            yield self._pool(everything), self._stage.batch
            return
        old = np.array([entry.source in earlier for entry in self._frames.entries])
        replayed = round(self._stage.replay * self._stage.batch)
        yield self._pool(everything[~old]), self._stage.batch - replayed
        if replayed:
            yield self._pool(everything[old]), replayed

    def _pool(self, members: Indices) -> Pool:
        if not self._stage.rank:
            return Pool(members)
        return Pool.ranked(members, self._identity[members], self._frames.mos[members])

    def draw(self, step: int) -> Batch:
        """Return the batch of a step."""
        run = (self._seed, self._number)
        drawn = [
            pool.draw(n, step, key=(_ORDER, *run, i)) for i, (pool, n) in enumerate(self._pools)
        ]
        chosen, leads_only = map(np.concatenate, zip(*drawn, strict=True))
        leads_only &= not self._stage.learn_leads
        mine = self._shard.places(len(chosen), in_a_row=bool(self._stage.rank))
        pixels = np.empty((len(mine), *self._frames.rgb.shape[1:]), dtype=np.uint8)
        for out, place in zip(pixels, mine, strict=True):
            rng = np.random.default_rng([_AUGMENT, *run, step, place])
            frame = self._frames.rgb[chosen[place]]
            augment(frame, rng, out, shift=self._stage.shift, flip=self._stage.flip)
        taken = chosen[list(mine)]
        parts = (pixels, self._frames.mos[taken], self._identity[taken], leads_only[list(mine)])
        second = self._spoil(pixels, [(*run, step, place) for place in mine])
        return Batch(step, *map(torch.from_numpy, (*parts, *second)))

    def _spoil(
        self, pixels: RGB, places: list[tuple[int, ...]]
    ) -> tuple[RGB, npt.NDArray[np.float32]]:
        """Return what second views show, and which share of their scores they lost."""
        lost = np.zeros(len(pixels), dtype=np.float32)
        if not self._stage.spoil:
            return pixels, lost
        second = pixels.copy()
        for index, place in enumerate(places):
            rng = np.random.default_rng([_SPOIL, *place])
            if rng.random() < _SPOILED:
                second[index], lost[index] = add_mild_damage(pixels[index], rng)
        return second, lost

    def stream(self, first: int, last: int, *, workers: int) -> Iterator[Batch]:
        """Yield the batches of the steps first..last-1 in order, drawn ahead by threads."""
        return map_in_order(self.draw, range(first, last), workers=workers, window=2)


def augment(rgb: RGB, rng: Generator, out: RGB, *, shift: float, flip: bool) -> None:
    """Move a square frame by up to `shift` of its side, borders mirrored; mirror half of them.

    Writes into `out`, of the frame's shape: drawing takes its time from the training beside it.
    """
    side = rgb.shape[0]
    reach = round(side * shift)
    up, left = (int(n) - reach for n in rng.integers(0, 2 * reach + 1, size=2))
    moved = out[:, ::-1] if flip and rng.random() < 0.5 else out
    (into_y, from_y), (into_x, from_x) = _overlap(up, side), _overlap(left, side)
    for channel in range(3):  # numpy copies mirrored pixels ten times faster so
        moved[into_y, into_x, channel] = rgb[from_y, from_x, channel]
    _mirror_borders(moved[into_y].swapaxes(0, 1), into_x)
    _mirror_borders(moved, into_y)


def _overlap(offset: int, side: int) -> tuple[slice, slice]:
    """Return where pixels land, and where they come from, when place i takes pixel i + offset."""
    start, stop = max(0, -offset), side - max(0, offset)
    return slice(start, stop), slice(start + offset, stop + offset)


def _mirror_borders(lines: RGB, filled: slice) -> None:
    """Fill the lines before and after the filled ones with their reflection, edge not repeated."""
    start, stop, count = filled.start, filled.stop, len(lines)
    lines[:start] = lines[start + 1 : 2 * start + 1][::-1]
    lines[stop:] = lines[2 * stop - count - 1 : stop - 1][::-1]


def batches_in_order(frames: Frames, size: int) -> Iterator[Tensor]:
    """Yield all frames as they are, uint8 (n, S, S, 3), `size` at a time."""
    for start in range(0, len(frames), size):
        yield torch.from_numpy(np.array(frames.rgb[start : start + size]))


def to_pixels(rgb: Tensor) -> Tensor:
    """Turn uint8 (N, S, S, 3) into the network's float32 (N, 3, S, S) in 0..1."""
    return rgb.permute(0, 3, 1, 2).float() / 255


def another_view(pixels: Tensor) -> Tensor:
    """Return pixels, (N, 3, S, S), mirrored and moved by one px: what should score the same."""
    moved = functional.pad(pixels.flip(-1), (1, 0, 1, 0), mode="replicate")
    return moved[..., :-1, :-1]
