"""Make examples/faces: one face and ten damaged versions of it.

    python examples/make_faces.py [OUT_DIR]

The face is cut from astronaut.png (Eileen Collins, NASA, public domain; as shipped by
scikit-image). The demo scores these pictures, and the golden test pins their scores.
"""

import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from mspt.arrays import RGB
from mspt.image.decode import read_rgb
from mspt.synthesis.degradations import SINGLE

HERE = Path(__file__).parent
FACE_XYXY = (70, 0, 390, 320)  # head and shoulders, px of astronaut.png

# Kind of damage and severity 0..1.
VERSIONS = (
    ("gaussian_blur", 0.15),
    ("gaussian_blur", 0.45),
    ("motion_blur", 0.5),
    ("low_resolution", 0.6),
    ("gaussian_noise", 0.6),
    ("jpeg", 0.75),
    ("overexposure", 0.7),
    ("underexposure", 0.6),
    ("low_contrast", 0.8),
    ("color_cast", 0.8),
)


def make_faces() -> dict[str, RGB]:
    """Return file names and pictures, the undamaged one first."""
    x1, y1, x2, y2 = FACE_XYXY
    face = read_rgb(HERE / "astronaut.png")[y1:y2, x1:x2]
    faces = {"original.png": face}
    for kind, severity in VERSIONS:
        rng = np.random.default_rng(zlib.crc32(kind.encode()))
        faces[f"{kind}-{severity}.png"] = SINGLE[kind](face, severity, rng)
    return faces


def main(out_dir: Path) -> None:
    """Write the pictures."""
    out_dir.mkdir(parents=True, exist_ok=True)
    for name, rgb in make_faces().items():
        Image.fromarray(rgb).save(out_dir / name, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "faces")
