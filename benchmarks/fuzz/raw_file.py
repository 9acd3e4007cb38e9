"""A small camera RAW file (DNG 1.4): a JPEG, and the sensor's values in a SubIFD.

In:   the JPEG; the sensor's size.
Out:  the file's bytes. LibRaw opens it, and Pillow sees a TIFF that begins with a preview.
"""

import io
import struct

import numpy as np
from PIL import Image


def dng(preview: bytes, width: int, height: int, *, orientation: int = 1) -> bytes:
    """Return a small camera RAW file: a JPEG first, the sensor's values in a SubIFD (DNG 1.4)."""
    with Image.open(io.BytesIO(preview)) as image:
        shown = image.size
    values = np.full((height, width), 900, np.uint16).tobytes()
    matrix = [(10000, 10000), (0, 1), (0, 1)] + [(0, 1), (10000, 10000), (0, 1)] * 2

    def directory(at: int, tags: dict[int, tuple[int, list[int] | bytes]], following: int) -> bytes:
        """Pack tags, {number: (type, values)}, and behind them what is longer than four bytes."""
        entries, rest = b"", b""
        behind = at + 2 + 12 * len(tags) + 4
        for tag, (kind, what) in sorted(tags.items()):
            width_ = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8}[kind]
            letter = {3: "H", 4: "I", 5: "I", 10: "i"}.get(kind, "B")
            packed = (
                what if isinstance(what, bytes) else struct.pack(f"<{len(what)}{letter}", *what)
            )
            count = len(packed) // width_
            if len(packed) > 4:
                packed, rest = struct.pack("<I", behind + len(rest)), rest + packed
            entries += struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0")
        return struct.pack("<H", len(tags)) + entries + struct.pack("<I", following) + rest

    first, second = 8, 1000
    pixels = 2000
    stored = pixels + len(values)
    main = {
        254: (4, [1]), 256: (4, [shown[0]]), 257: (4, [shown[1]]), 258: (3, [8, 8, 8]),
        259: (3, [7]), 262: (3, [6]), 271: (2, b"Cam\0"), 272: (2, b"One\0"), 273: (4, [stored]),
        274: (3, [orientation]), 277: (3, [3]), 278: (4, [shown[1]]), 279: (4, [len(preview)]),
        330: (4, [second]), 50706: (1, bytes([1, 4, 0, 0])), 50708: (2, b"Cam One\0"),
        50721: (10, [n for pair in matrix for n in pair]),
    }  # fmt: skip
    sensor = {
        254: (4, [0]), 256: (4, [width]), 257: (4, [height]), 258: (3, [16]), 259: (3, [1]),
        262: (3, [32803]), 273: (4, [pixels]), 277: (3, [1]), 278: (4, [height]),
        279: (4, [len(values)]), 33421: (3, [2, 2]), 33422: (1, bytes([0, 1, 1, 2])),
    }  # fmt: skip
    head = b"II*\0" + struct.pack("<I", first) + directory(first, main, 0)
    return (
        (head.ljust(second, b"\0") + directory(second, sensor, 0)).ljust(pixels, b"\0")
        + values
        + preview
    )
