"""Damage done to files: what transfers, disks and attackers do to bytes.

In:   files of one kind, and a random stream.
Out:  bytes that resemble one of them.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_MOST_CHANGES = 8
_LONGEST_SPAN = 256  # bytes

Mutation = Callable[[bytearray, Generator], None]


def mutate(seeds: Sequence[bytes], rng: Generator) -> bytes:
    """Return one of the files with a few changes; one in ten is joined from two files."""
    data = bytearray(seeds[rng.integers(len(seeds))])
    if rng.random() < 0.1:
        other = seeds[rng.integers(len(seeds))]
        data = data[: rng.integers(len(data) + 1)] + other[rng.integers(len(other) + 1) :]
    for _ in range(1 + rng.integers(_MOST_CHANGES)):
        if data:
            _MUTATIONS[rng.integers(len(_MUTATIONS))](data, rng)
    return bytes(data)


def _flip(data: bytearray, rng: Generator) -> None:
    data[_place(data, rng)] ^= 1 << int(rng.integers(8))


def _set_byte(data: bytearray, rng: Generator) -> None:
    data[_place(data, rng)] = int(rng.integers(256))


def _set_number(data: bytearray, rng: Generator) -> None:
    """Put one of the numbers at which sizes and counts go wrong, of 1, 2 or 4 bytes."""
    width = int(rng.choice([1, 2, 4]))
    number = int(rng.choice(_NUMBERS)) % 256**width
    order = "big" if rng.random() < 0.5 else "little"
    place = _place(data, rng)
    data[place : place + width] = number.to_bytes(width, order)


def _remove(data: bytearray, rng: Generator) -> None:
    del data[_span(data, rng)]


def _repeat(data: bytearray, rng: Generator) -> None:
    span = _span(data, rng)
    data[span.start : span.start] = data[span] * int(rng.integers(1, 5))


def _move(data: bytearray, rng: Generator) -> None:
    place = _place(data, rng)
    data[place:place] = data[_span(data, rng)]


def _insert(data: bytearray, rng: Generator) -> None:
    place = _place(data, rng)
    data[place:place] = rng.bytes(int(rng.integers(1, 16)))


def _cut(data: bytearray, rng: Generator) -> None:
    del data[_place(data, rng) :]


# Files that are cut short are the most usual damage and the least interesting one.
_MUTATIONS: Sequence[Mutation] = (
    *(_flip, _flip, _set_byte, _set_byte, _set_number, _set_number, _set_number),
    *(_remove, _repeat, _move, _insert, _cut),
)


def _place(data: bytearray, rng: Generator) -> int:
    """Return a place, half of the time near the beginning, where headers are."""
    if rng.random() < 0.5:
        return min(int(rng.exponential(64)), len(data) - 1)
    return int(rng.integers(len(data)))


def _span(data: bytearray, rng: Generator) -> slice:
    start = _place(data, rng)
    return slice(start, start + int(np.exp(rng.uniform(0, np.log(_LONGEST_SPAN)))))
