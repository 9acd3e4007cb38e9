"""InputSpec: the one definition of how an image becomes the network's input.

It travels inside every checkpoint and model file, so that training, evaluation, the ONNX file
and any port agree on the pixels. `image/preprocess.py` is its one implementation.
"""

import json
from dataclasses import asdict, dataclass
from typing import Literal, Self, get_args

from mspt.errors import ModelError

MAX_SIDE_PX = 2048  # of a network's input
FACE_MARGIN = 0.32  # see InputSpec.face_margin
Resample = Literal["catmull_rom", "bicubic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """How an upright RGB image is prepared for the network.

    Mean and std are absent on purpose: the network subtracts them itself.
    """

    short_side: int  # px of the image's short side after resizing, aspect ratio kept
    crop_side: int  # px of the centred square cut from it: what the network sees
    resample: Resample = "catmull_rom"  # antialiased, 8 bits; image/preprocess.py
    crop: Literal["centre_square"] = "centre_square"  # what is cut before the resize
    # Where faces are detected, the square around a face (image/crop.py) is cut instead, its margin
    # chosen so that it frames the face as the training photos do: there the centred square is 1.65
    # times as long as YuNet's box (median of 562 photos; benchmarks/studies/detection.py).
    face_margin: float = FACE_MARGIN

    def __post_init__(self) -> None:
        """Refuse a spec that no image could satisfy."""
        if type(self.crop_side) is not int or type(self.short_side) is not int:
            raise ModelError(
                f"InputSpec: short_side {self.short_side!r} and crop_side {self.crop_side!r} must "
                "be whole numbers of px"
            )
        if not 32 <= self.crop_side <= self.short_side <= MAX_SIDE_PX:
            raise ModelError(
                f"InputSpec: crop_side {self.crop_side} px must lie in 32..short_side "
                f"({self.short_side} px), which must be at most {MAX_SIDE_PX} px"
            )
        if not 0 <= self.face_margin <= 4:
            raise ModelError(f"InputSpec: face_margin {self.face_margin} must lie in 0..4")
        if self.resample not in get_args(Resample) or self.crop != "centre_square":
            raise ModelError(
                f"InputSpec: resample {self.resample!r} and crop {self.crop!r} are unknown to this "
                f"version, which knows {', '.join(get_args(Resample))} and centre_square; update "
                "mspt"
            )

    def to_json(self) -> str:
        """Return the form that is stored in model files and checkpoints."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the stored form.

        Raises:
            ModelError: if the text is not an InputSpec that this version can honour.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise ModelError(f"not an InputSpec: {text!r} ({error})") from error


def square_spec(side_px: int) -> InputSpec:
    """Return the spec of a network that sees the whole centred square at `side_px`."""
    return InputSpec(short_side=side_px, crop_side=side_px)
