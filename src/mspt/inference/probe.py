"""The probe: a few pictures by whose scores a model file tells whether a backend computes it right.

In:   an InputSpec.
Out:  squares as the network sees them. `export` writes their scores, by onnxruntime, into the file.

They are one face at three resolutions (NASA's portrait of E. Collins, public domain).
"""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from mspt.arrays import RGB
from mspt.image.decode import decode_rgb
from mspt.image.preprocess import resize_rgb, resize_to_input
from mspt.spec import InputSpec

PROBE = Path(str(resources.files("mspt.inference").joinpath("probe.jpg")))
_SIDES_PX = (320, 96, 32)  # from a fair picture to a very bad one


def probe_face() -> RGB:
    """Return the face as it was photographed, square."""
    return decode_rgb(PROBE.read_bytes())


def probe_squares(spec: InputSpec) -> Iterator[RGB]:
    """Yield the probe's pictures, uint8 (S, S, 3)."""
    face = probe_face()
    for side in _SIDES_PX:
        yield resize_to_input(resize_rgb(face, side, side), spec)
